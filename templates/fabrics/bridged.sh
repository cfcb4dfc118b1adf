# The interface of the LAN becomes a port of a bridge, and what it had (MAC, addresses, routes) moves to the bridge. Where nobody configures
# the interface, this script moves it, at each boot as well. Where systemd-networkd or ifupdown does, they move it by their own files, at
# each boot as well; this script makes them try it first.
#
# Beside the usual verbs: `move SECONDS` does what `up` does and has it taken back (`revert`) after that time, unless `keep` comes first,
# over a connection that the bridge carries. `join` makes the bridge, for ifupdown.
umask 022

bridge="" out="" manager=nobody file=""

# What ifupdown is to read, for a try: its own files become so when the bridge is kept, and are not this script's.
INTERFACES=/etc/docker-cluster/fabric/interfaces

# Files of systemd-networkd for a try, which a boot ends, and for good. They come before all others.
TRIED=/run/systemd/network
KEPT=/etc/systemd/network
OURS=00-docker-cluster

# What the interface had, for the way back. It need not outlive a boot, which begins without the bridge.
SAVED=/run/docker-cluster/bridged
BACK=docker-cluster-fabric-back

# How often it is looked whether systemd-networkd has done what it was told, and how long it is waited in between, in seconds: some eight
# seconds in all. It takes half a second, and the timer leaves twenty.
LOOKS=30
PAUSE=0.2

# bridge NAME, interface NAME, manager systemd-networkd|ifupdown, file PATH (systemd-networkd's own, of the interface)
word() {
    case $1 in
        own | peer) ;;
        bridge) bridge=$2 ;;
        interface) out=$2 ;;
        manager) manager=$2 ;;
        file) file=$2 ;;
        *) unknown_word "$1" ;;
    esac
}

is_port() { [ -e "/sys/class/net/$bridge/brif/$out" ]; }

# Prints what device $1 has: lines such as `address 10.213.0.11/24 brd 10.213.0.255` and `route default via 10.213.0.1`. What the kernel
# makes of an address is not among them, nor what routers announce: both come again by themselves.
had() {
    IFS=$NL
    for line in $(ip -o addr show dev "$1" scope global 2>/dev/null); do
        case $line in
            *" inet6 "*" dynamic"*) continue ;;
            *" inet "*) line=${line#* inet } ;;
            *" inet6 "*) line=${line#* inet6 } ;;
        esac
        echo "address ${line%% scope *}"
    done
    for line in $(ip -o -4 route show dev "$1" 2>/dev/null) $(ip -o -6 route show dev "$1" 2>/dev/null); do
        case $line in *" proto kernel "* | *" proto ra "*) ;; *) echo "route $line" ;; esac
    done
    IFS=" $NL"
}

save() {
    mkdir -p "${SAVED%/*}"
    had "$1" > "$SAVED.new" && mv "$SAVED.new" "$SAVED"
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

# What tells a line of what a device has from others, without what each program writes in its own way: `address 10.213.0.11/24`.
key() {
    # shellcheck disable=SC2086  # split into words
    set -- $1
    key="$1 $2"
    [ "${3-}" != via ] || key="$key via $4"
}

# Sets `keys` to the keys of text $1.
keys() {
    keys=$NL
    IFS=$NL
    for line in $1; do
        IFS=" $NL"
        key "$line"
        keys=$keys$key$NL
        IFS=$NL
    done
    IFS=" $NL"
}

# Sets `lacking` to what was saved and device $1 does not have, and `surplus` to what it has beside that, each as keys.
compare() {
    keys "$(cat "$SAVED")"
    saved=$keys
    keys "$(had "$1")"
    lacking="" surplus=""
    each_not_in note_lacking "$saved" "$keys"
    each_not_in note_surplus "$keys" "$saved"
}

note_lacking() { lacking=$lacking$1$NL; }
note_surplus() { surplus=$surplus$1$NL; }

# Says what the bridge does not get from the program that configures it: it is not in that program's files, or is otherwise there.
say_lacking() {
    looks=$LOOKS
    compare "$bridge"
    while [ -n "$lacking" ] && [ "$looks" -gt 0 ]; do
        looks=$((looks - 1))
        sleep "$PAUSE"
        compare "$bridge"
    done
    each_not_in lacks "$NL$lacking" "$NL"
}

lacks() { say "the bridge $bridge did not get what $out had: the $1"; }

# Makes device $1 what was saved, whatever the files of the program that configures it say.
as_saved() {
    [ -r "$SAVED" ] || return 0
    compare "$1"
    device=$1
    each_not_in take_surplus "$NL$surplus" "$NL"
    [ -z "$lacking" ] || restore "$1"
    rm -f "$SAVED"
}

take_surplus() {
    # shellcheck disable=SC2086  # split into words
    case $1 in
        "address "*) try ip addr del ${1#* } dev "$device" ;;
        "route "*) try ip route del ${1#* } dev "$device" ;;
    esac
}

has_address() { [ -n "$(ip -o -4 addr show dev "$1" scope global 2>/dev/null)" ]; }

# An address that has an end is renewed by a program that knows nothing of the bridge.
is_lent() { case $(ip -o -4 addr show dev "$out") in *" dynamic "*) return 0 ;; *) return 1 ;; esac; }

up() {
    if is_port; then
        [ "$manager" != systemd-networkd ] || put_files "$KEPT"
        like_its_port
    elif [ ! -e "/sys/class/net/$out" ]; then
        say "there is no interface $out"
    elif is_lent; then
        say "the address of $out is lent (DHCP), and would go back to it"
    else
        # A port that only fell off its bridge has nothing of its own.
        ! has_address "$out" || save "$out"
        case $manager in
            systemd-networkd) move_by_networkd ;;
            ifupdown) move_by_ifupdown ;;
            *) move_to_bridge ;;
        esac
    fi
}

like_its_port() {
    read -r mac < "/sys/class/net/$out/address"
    read -r mtu < "/sys/class/net/$out/mtu"
    try ip link set dev "$bridge" address "$mac" mtu "$mtu" alias "$MARK" up
    # A boot may have begun with an address there.
    try ip addr flush dev "$out" scope global
}

# Without its MAC, the bridge would take the lowest of its ports' and change it when containers come and go.
join() {
    # The engine makes an empty one where it finds none.
    [ -e "/sys/class/net/$bridge" ] || try ip link add dev "$bridge" type bridge forward_delay 0
    try ip link set dev "$out" master "$bridge" up
    like_its_port
}

move_to_bridge() {
    join
    [ ! -r "$SAVED" ] || restore "$bridge"
}

# Takes back what the bridge has now; `revert` takes back what the interface had, whatever the bridge has.
down() {
    [ ! -r "$CONFIG" ] || read_config
    case $manager in
        nobody) take_all_back ;;
        *)
            ! has_address "$bridge" || save "$bridge"
            give_back
            ;;
    esac
}

take_all_back() {
    read_devices
    for bridge in $devices; do
        ! has_address "$bridge" || save "$bridge"
        take_back
    done
}

# The timer's way back and that of a run must not meet.
alone() {
    mkdir -p "${SAVED%/*}"
    exec 9> "$SAVED.lock"
    flock 9
}

revert() {
    alone
    read_config
    case $manager in
        nobody) [ ! -e "/sys/class/net/$bridge" ] || take_back ;;
        *) give_back ;;
    esac
    systemctl stop "$BACK.timer" 2>/dev/null
    exit "$failed"
}

# Gives the interface back to the program that configures it. What its files say need not be what the interface had.
give_back() {
    case $manager in
        systemd-networkd) drop_files "$TRIED" && drop_files "$KEPT" ;;
        ifupdown) ifdown --force -i "$INTERFACES" "$bridge" 2>/dev/null ;;
    esac
    [ ! -e "/sys/class/net/$bridge" ] || try ip link del dev "$bridge"
    case $manager in
        systemd-networkd)
            try networkctl reload
            configured
            ;;
        ifupdown) try ifup "$out" 9>&- ;;
    esac
    as_saved "$out"
}

# --- systemd-networkd: a bridge, the interface as its port, and the interface's own file, untouched, for the bridge in its place

# Calls $1 with the path in folder $2 and the text of each of our files.
each_file() {
    read -r mac < "/sys/class/net/$out/address"
    "$1" "$2/$OURS.netdev" "[NetDev]${NL}Name=$bridge${NL}Kind=bridge${NL}MACAddress=$mac$NL$NL[Bridge]${NL}ForwardDelaySec=0"
    # What its own file says of the hardware stays with the hardware.
    hardware=$(sed -n '/^\[Link\]/,/^\[[^L]/s/^\(MTUBytes\|MACAddress\) *=/&/p' "$file" 2>/dev/null)
    "$1" "$2/$OURS.network" "[Match]${NL}Name=$out$NL$NL${hardware:+[Link]$NL$hardware$NL$NL}[Network]${NL}Bridge=$bridge${NL}LinkLocalAddressing=no${NL}IPv6AcceptRA=no"
    # An empty value takes back what was said before.
    "$1" "$2/${file##*/}.d/docker-cluster.conf" "[Match]${NL}MACAddress=${NL}PermanentMACAddress=${NL}Path=${NL}Driver=${NL}Type=${NL}Kind=${NL}Property=${NL}Name=${NL}Name=$bridge"
}

holds_text() { [ "$(cat "$1" 2>/dev/null)" = "$2" ]; }

put_text() {
    ! holds_text "$1" "$2" || return 0
    mkdir -p "${1%/*}" && printf '%s\n' "$2" > "$1.new" && mv "$1.new" "$1" || failed=1
    changed=1
}

check_text() { holds_text "$1" "$2" || say "the file $1, by which systemd-networkd makes the bridge, is not as it should be"; }

# Puts our files into folder $1.
put_files() {
    changed=0
    each_file put_text "$1"
    [ $changed = 0 ] || try networkctl reload
}

drop_files() {
    rm -f "$1/$OURS.netdev" "$1/$OURS.network" "$1/${file##*/}.d/docker-cluster.conf"
    rmdir "$1/${file##*/}.d" 2>/dev/null || true
}

# Waits until systemd-networkd has done with the interface what its own file says.
configured() {
    read -r index < "/sys/class/net/$out/ifindex"
    looks=$LOOKS
    while [ "$looks" -gt 0 ]; do
        looks=$((looks - 1))
        state=$NL$(cat "/run/systemd/netif/links/$index" 2>/dev/null)$NL
        if holds "$state" "NETWORK_FILE=$file"; then
            case $state in *"${NL}ADMIN_STATE=configured$NL"* | *"${NL}ADMIN_STATE=failed$NL"*) return ;; esac
        fi
        sleep "$PAUSE"
    done
}

move_by_networkd() {
    put_files "$TRIED"
    if [ -e "$KEPT/$OURS.network" ]; then
        # A bridge that somebody removed is made again only by a start, and a port that fell off is put back only when it is looked at anew.
        [ -e "/sys/class/net/$bridge" ] || try systemctl restart systemd-networkd.service
        try networkctl reconfigure "$out"
    fi
    [ ! -r "$SAVED" ] || say_lacking
    ! is_port || like_its_port
}

# --- ifupdown: in its files the bridge stands where the interface stood, and is made by `join`

move_by_ifupdown() {
    try ifdown --force "$out"
    try ifup -i "$INTERFACES" "$bridge"
    [ ! -r "$SAVED" ] || say_lacking
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
        [ "$manager" != systemd-networkd ] || each_file check_text "$KEPT"
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

# Over a connection that the bridge carries. After it has been taken back there is nothing to keep.
keep() {
    systemctl stop "$BACK.timer" || exit 1
    alone
    read_config
    is_port || say "$out is not on the bridge $bridge"
    if [ "$manager" = systemd-networkd ] && [ "$failed" = 0 ]; then
        drop_files "$TRIED"
        put_files "$KEPT"
        [ ! -r "$SAVED" ] || say_lacking
        [ "$failed" = 0 ] || give_back
    fi
    exit "$failed"
}

# What has begun must end, also when the connection that began it does not live to see it. What it says is why it failed.
case ${1-} in
    move | revert | keep)
        trap '' HUP PIPE
        exec >&2
        ;;
esac
case ${1-} in
    move)
        # A timer is late by a minute unless told.
        systemd-run --quiet --collect --unit="$BACK" --on-active="$2" --timer-property=AccuracySec=200ms "$0" revert || exit 1
        main up
        ;;
    join)
        read_config
        join
        exit "$failed"
        ;;
    revert) revert ;;
    keep) keep ;;
    *) main "$@" ;;
esac
