# The interface of the LAN becomes a port of a bridge, and what it had (MAC, addresses, routes) moves to the bridge. Where nobody configures
# the interface, this script moves it, at each boot as well. Where systemd-networkd or ifupdown does, its own files say it, and it moves;
# this script only tells it to look at them, and takes them away again.
#
# Beside the usual verbs: `manager INTERFACE` says who configures it, `move SECONDS` does what `up` does and has it taken back (`revert`)
# after that time, unless `keep` comes first, over a connection that the bridge carries.

bridge="" out="" manager=nobody files=$NL

# ifupdown has one file for all; the one that is to be is prepared, and the one that was is kept for the way back.
INTERFACES=/etc/network/interfaces
PREPARED=/etc/docker-cluster/fabric/interfaces
BEFORE=/etc/docker-cluster/fabric/interfaces.before

# What the interface had, for the way back. It need not outlive a boot, which begins without the bridge.
SAVED=/run/docker-cluster/bridged
BACK=docker-cluster-fabric-back

# bridge NAME, interface NAME, manager nobody|systemd-networkd|ifupdown, file PATH (networkd's, ours)
word() {
    case $1 in
        own | peer) ;;
        bridge) bridge=$2 ;;
        interface) out=$2 ;;
        manager) manager=$2 ;;
        file) files="$files$2$NL" ;;
        *) unknown_word "$1" ;;
    esac
}

is_port() { [ -e "/sys/class/net/$bridge/brif/$out" ]; }

# Writes what device $1 has: lines such as `address 10.213.0.11/24 brd 10.213.0.255` and `route default via 10.213.0.1`. What the kernel
# makes of an address is not written, nor what routers announce: both come again by themselves.
save() {
    mkdir -p "${SAVED%/*}"
    {
        IFS=$NL
        for line in $(ip -o addr show dev "$1" scope global); do
            case $line in
                *" inet6 "*" dynamic"*) continue ;;
                *" inet "*) line=${line#* inet } ;;
                *" inet6 "*) line=${line#* inet6 } ;;
            esac
            echo "address ${line%% scope *}"
        done
        for line in $(ip -o -4 route show dev "$1") $(ip -o -6 route show dev "$1"); do
            case $line in *" proto kernel "* | *" proto ra "*) ;; *) echo "route $line" ;; esac
        done
        IFS=" $NL"
    } > "$SAVED.new" && mv "$SAVED.new" "$SAVED"
}

# Gives device $1 what was saved. Routes come after the addresses, which lead to their gateways.
restore() {
    while read -r kind what; do
        # shellcheck disable=SC2086  # split into words
        case $kind in
            address) try ip addr replace $what dev "$1" ;;
            route) try ip route replace $what dev "$1" ;;
        esac
    done < "$SAVED"
}

has_address() { [ -n "$(ip -o -4 addr show dev "$1" scope global)" ]; }

# An address that has an end is renewed by a program that knows nothing of the bridge.
is_lent() { case $(ip -o -4 addr show dev "$out") in *" dynamic "*) return 0 ;; *) return 1 ;; esac; }

up() {
    if is_port; then
        like_its_port
    elif [ "$manager" = systemd-networkd ]; then
        try networkctl reload
    elif [ "$manager" = ifupdown ]; then
        hand_to_ifupdown
    elif [ ! -e "/sys/class/net/$out" ]; then
        say "there is no interface $out"
    elif is_lent; then
        say "the address of $out is lent (DHCP), and would go back to it"
    else
        move_to_bridge
    fi
}

like_its_port() {
    read -r mac < "/sys/class/net/$out/address"
    read -r mtu < "/sys/class/net/$out/mtu"
    try ip link set dev "$bridge" address "$mac" mtu "$mtu" alias "$MARK" up
}

# Without its MAC, the bridge would take the lowest of its ports' and change it when containers come and go.
move_to_bridge() {
    read -r mac < "/sys/class/net/$out/address"
    read -r mtu < "/sys/class/net/$out/mtu"
    # A port that only fell off its bridge has nothing of its own.
    ! has_address "$out" || save "$out"
    # The engine makes an empty one where it finds none.
    [ -e "/sys/class/net/$bridge" ] || try ip link add dev "$bridge" type bridge forward_delay 0
    try ip link set dev "$bridge" address "$mac" mtu "$mtu" alias "$MARK" up
    try ip link set dev "$out" master "$bridge"
    try ip addr flush dev "$out" scope global
    [ ! -r "$SAVED" ] || restore "$bridge"
}

# Takes back what the bridge has now; `revert` takes back what the interface had, whatever the bridge has.
down() {
    [ ! -r "$CONFIG" ] || read_config
    case $manager in
        systemd-networkd) hand_back ;;
        ifupdown) take_from_ifupdown ;;
        *) take_all_back ;;
    esac
}

take_all_back() {
    read_devices
    for bridge in $devices; do
        ! has_address "$bridge" || save "$bridge"
        take_back
    done
}

revert() {
    read_config
    case $manager in
        systemd-networkd) hand_back ;;
        ifupdown) take_from_ifupdown ;;
        *) [ ! -e "/sys/class/net/$bridge" ] || take_back ;;
    esac
    systemctl stop "$BACK.timer" 2>/dev/null
    exit "$failed"
}

# Each is taken down by the file that brought it up.
hand_to_ifupdown() {
    cp -p "$INTERFACES" "$BEFORE" || exit 1
    ifdown --force "$out" 2>/dev/null
    try cp "$PREPARED" "$INTERFACES"
    try ifup "$out"
    try ifup "$bridge"
}

take_from_ifupdown() {
    [ -r "$BEFORE" ] || return 0
    ifdown --force "$bridge" "$out" 2>/dev/null
    try mv "$BEFORE" "$INTERFACES"
    [ ! -e "/sys/class/net/$bridge" ] || try ip link del dev "$bridge"
    try ifup "$out"
}

# Without our files, its own say again what the interface has.
hand_back() {
    for file in $files; do rm -f "$file"; done
    [ ! -e "/sys/class/net/$bridge" ] || try ip link del dev "$bridge"
    try networkctl reload
}

# The bridge has one port that is no container's: the one whose MAC it has.
take_back() {
    read -r mac < "/sys/class/net/$bridge/address"
    out=
    set +f
    for name in "/sys/class/net/$bridge/brif"/*; do
        read -r its < "$name/../address"
        [ "$its" != "$mac" ] || out=${name##*/}
    done
    set -f
    [ -z "$out" ] || try ip link set dev "$out" nomaster
    try ip link del dev "$bridge"
    [ -z "$out" ] || [ ! -r "$SAVED" ] || restore "$out"
    rm -f "$SAVED"
}

check() {
    it=$(about "$bridge")
    if [ -z "$it" ]; then
        say "the bridge $bridge is missing"
        return
    fi
    is_up "$it" || say "the bridge $bridge is down"
    is_port || say "$out is not on the bridge $bridge"
    if [ -e "/sys/class/net/$out" ]; then
        read -r mac < "/sys/class/net/$out/address"
        says "$it" "link/ether $mac" || say "the bridge $bridge has another MAC address than $out"
        read -r mtu < "/sys/class/net/$out/mtu"
        says "$it" "mtu $mtu" || say "the bridge $bridge has another MTU than $out"
    fi
    ! has_address "$out" || say "$out still has an address, which belongs on $bridge"
    has_address "$bridge" || say "the bridge $bridge has no address"
    check_restored
}

# What was there before is there now.
check_restored() {
    [ -r "$SAVED" ] || return 0
    now=$NL$(ip -o -4 route show dev "$bridge")$NL
    while read -r kind what; do
        case "$kind $what" in
            "route "*:*) ;;
            "route default"*) case $now in *"${NL}default "*) ;; *) say "the default route is missing" ;; esac ;;
        esac
    done < "$SAVED"
}

# Who configures interface $1: a name, or `nobody`.
manager() {
    read -r index < "/sys/class/net/$1/ifindex"
    if [ -e "/run/systemd/network/10-netplan-$1.network" ] || grep -qs -r -F "$1" /etc/netplan /run/netplan; then
        echo netplan
    elif grep -qs '^ADMIN_STATE=\(configured\|configuring\)$' "/run/systemd/netif/links/$index"; then
        echo systemd-networkd
    elif [ -e "/run/NetworkManager/devices/$index" ] &&
        ! grep -qs '^managed=\(false\|unmanaged\)' "/run/NetworkManager/devices/$index"; then
        echo NetworkManager
    elif grep -qs "^$1=" /run/network/ifstate || [ -e "/run/network/ifstate.$1" ]; then
        echo ifupdown
    else
        echo nobody
    fi
}

case ${1-} in
    manager) manager "$2" ;;
    move)
        # What has begun must end, also when the connection that began it does not live to see it. A timer is late by a minute unless told.
        trap '' HUP PIPE
        systemd-run --quiet --collect --unit="$BACK" --on-active="$2" --timer-property=AccuracySec=200ms "$0" revert || exit 1
        main up
        ;;
    revert) revert ;;
    keep)
        # After it has been taken back there is nothing to keep.
        systemctl stop "$BACK.timer" || exit 1
        read_config
        is_port || say "$out is not on the bridge $bridge"
        exit "$failed"
        ;;
    *) main "$@" ;;
esac
