
# A mesh of WireGuard between the hosts, and nothing for the others outside of it. The key is made here and never leaves.

CONFIG=/etc/docker-cluster/underlay/config
MARK=dc-underlay
PROTOCOL=214
KEYS=/var/lib/docker-cluster/underlay
KEY=$KEYS/private
NEXT=$KEYS/private.next

# What makes the links of the fabric, where they are docker-cluster's own.
LINKS=/usr/local/lib/docker-cluster/fabric

# Nothing is taken under a key that was agreed on so many seconds ago: who was not heard since is not reached.
OLD=180

# How long a program that was just started may take to make its device, in tenths of a second.
PATIENCE=100

device="" driver="" own="" mesh="" port="" mtu="" mates=$NL nexts=$NL parts=$NL tcp="" udp=""

# device NAME, driver kernel|go, own ADDRESS/PREFIX, mesh SUBNET, port NUMBER, mtu NUMBER,
# peer NAME KEY ADDRESS ENDPOINT|- KEEPALIVE, next NAME KEY (one that it is about to use), behind ADDRESS SUBNET (of containers there),
# guard tcp|udp PORT
word() {
    case $1 in
        device) device=$2 ;;
        driver) driver=$2 ;;
        own) own=$2 ;;
        mesh) mesh=$2 ;;
        port) port=$2 ;;
        mtu) mtu=$2 ;;
        peer) mates="$mates$2 $3 $4$NL" ;;
        behind) parts="$parts$2 $3$NL" ;;
        next) nexts="$nexts$2 $3$NL" ;;
        guard)
            case $2 in
                tcp) tcp="$tcp${tcp:+,}$3" ;;
                udp) udp="$udp${udp:+,}$3" ;;
                *) unknown_word "guard $2" ;;
            esac
            ;;
        *) unknown_word "$1" ;;
    esac
}

# --- keys

# Makes a key in file $1 if there is none. A cut leaves no half of one under its name.
make_key() {
    [ ! -s "$1" ] || return 0
    mkdir -p "$KEYS" && chmod 700 "$KEYS" && wg genkey > "$1.new" && mv "$1.new" "$1" || failed=1
}

# The public half of the key in file $1.
public() { [ ! -s "$1" ] || wg pubkey < "$1"; }

# The present key is the next one from now on. The others are told by what this one sends at once.
switch_key() {
    if [ -s "$NEXT" ]; then
        mv "$NEXT" "$KEY"
        try wg set "$device" private-key "$KEY"
    fi
    knock
}

# Turning a keepalive on sends one.
knock() {
    IFS=$NL
    for line in $mates; do
        IFS=" $NL"
        # shellcheck disable=SC2086  # split into words
        set -- $line
        try wg set "$device" peer "$2" persistent-keepalive 0
        try wg set "$device" peer "$2" persistent-keepalive "$5"
        IFS=$NL
    done
    IFS=" $NL"
}

# The next key of host $1, or nothing.
next_of() {
    case $nexts in
        *"$NL$1 "*)
            key=${nexts#*"$NL$1 "}
            printf %s "${key%%"$NL"*}"
            ;;
    esac
}

# The key by which a host has its address: the next one, once it has been given it. `allowed` is what WireGuard says.
key_of() {
    next=$(next_of "$1")
    if [ -n "$next" ]; then
        now=$NL$allowed$NL now=${now#*"$NL$next	"} now=${now%%"$NL"*}
        case " $now " in *" $3/32 "*) printf %s "$next"; return ;; esac
    fi
    printf %s "$2"
}

# What comes from and goes to the host with address $1: that, and its containers'. Words with $2 between them.
reached() {
    printf %s "$1/32"
    IFS=$NL
    for part in $parts; do
        case $part in "$1 "*) printf '%s%s' "$2" "${part#* }" ;; esac
    done
    IFS=" $NL"
}

# Host $1 has the next of its keys from now on, if it was heard with it: its address goes with it.
adopt() {
    next=$(next_of "$1")
    [ -n "$next" ] || return 0
    at=$NL$(wg show "$device" latest-handshakes)$NL at=${at#*"$NL$next	"} at=${at%%"$NL"*}
    case $at in
        '' | 0 | *[!0-9]*)
            say "$1 was not heard with its next key"
            return
            ;;
    esac
    IFS=$NL
    for line in $mates; do
        IFS=" $NL"
        # shellcheck disable=SC2086  # split into words
        set -- "$1" $line
        if [ "$1" = "$2" ]; then
            # No endpoint is given: that from which it was heard is the one that is right.
            try wg set "$device" peer "$next" allowed-ips "$(reached "$4" ,)" persistent-keepalive "$6"
            [ "$3" = "$next" ] || wg set "$device" peer "$3" remove
        fi
        IFS=$NL
    done
    IFS=" $NL"
}

# --- the device

# What WireGuard reads: with the key, and so never in a file or an argument.
settings() {
    allowed=$(wg show "$device" allowed-ips)
    printf '[Interface]\nPrivateKey = '
    cat "$KEY"
    printf 'ListenPort = %s\n' "$port"
    IFS=$NL
    for line in $mates; do
        IFS=" $NL"
        # shellcheck disable=SC2086  # split into words
        set -- $line
        used=$(key_of "$1" "$2" "$3")
        printf '[Peer]\nPublicKey = %s\nAllowedIPs = %s\nPersistentKeepalive = %s\n' "$used" "$(reached "$3" ,)" "$5"
        [ "$4" = - ] || printf 'Endpoint = %s\n' "$4"
        next=$(next_of "$1")
        [ -z "$next" ] || [ "$next" = "$used" ] || printf '[Peer]\nPublicKey = %s\n' "$next"
        IFS=$NL
    done
    IFS=" $NL"
}

put_device() {
    case $driver in
        kernel) [ -e "/sys/class/net/$device" ] || try ip link add dev "$device" type wireguard ;;
        go)
            waited=0
            until [ -S "/var/run/wireguard/$device.sock" ] || [ "$waited" -ge "$PATIENCE" ]; do
                sleep 0.1
                waited=$((waited + 1))
            done
            ;;
    esac
    settings | wg syncconf "$device" /dev/stdin || failed=1
    for address in $(addresses); do
        [ "$address" = "$own" ] || try ip addr del "$address" dev "$device"
    done
    try ip addr replace "$own" dev "$device"
    try ip link set dev "$device" mtu "$mtu" alias "$MARK" up
}

# The addresses of the device.
addresses() {
    # shellcheck disable=SC2046  # split into words
    set -- $(ip -o -4 addr show dev "$device" 2>/dev/null)
    while [ $# -gt 0 ]; do
        [ "$1" != inet ] || printf '%s\n' "$2"
        shift
    done
}

check_device() {
    it=$(about "$device")
    if [ -z "$it" ]; then
        say "the interface $device is missing"
        return
    fi
    is_up "$it" || say "the interface $device is down"
    says "$it" "mtu $mtu" || say "the interface $device has another MTU than $mtu"
    [ "$(addresses)" = "$own" ] || say "the interface $device has another address than $own"
    [ "$(wg show "$device" public-key)" = "$(public "$KEY")" ] || say "the interface $device has another key than this host's"
    [ "$(wg show "$device" listen-port)" = "$port" ] || say "the interface $device listens on another port than $port"
    read_heard
    wanted=$NL
    IFS=$NL
    for line in $mates; do
        IFS=" $NL"
        # shellcheck disable=SC2086  # split into words
        set -- $line
        used=$(key_of "$1" "$2" "$3")
        for net in $(reached "$3" " "); do wanted="$wanted$used $net $1$NL"; done
        find_heard "$used"
        # Packets go to where a host was heard last. Where that was before, nobody may be any more, and it is never left by itself.
        [ "$4" = - ] || [ "$4" = "$place" ] || is_fresh || say "$1 is not heard at $place, and is to be reached at $4"
        next=$(next_of "$1")
        [ -z "$next" ] || [ "$next" = "$used" ] || wanted="$wanted$next (none) $1$NL"
        IFS=$NL
    done
    IFS=" $NL"
    found=$NL
    key=
    # A tab ends a key.
    IFS=" 	$NL"
    for word in $allowed; do
        case $word in
            *.*/* | '(none)') found="$found$key $word$NL" ;;
            *) key=$word ;;
        esac
    done
    IFS=" $NL"
    check_mates
}

# Compares the lines in `wanted` (KEY NET NAME) with those in `found` (KEY NET).
check_mates() {
    bare=$NL
    IFS=$NL
    for line in $wanted; do
        bare="$bare${line% *}$NL"
        holds "$found" "${line% *}" && continue
        net=${line#* }
        say "the interface $device does not know ${net#* } by its key (${net% *})"
    done
    for line in $found; do
        holds "$bare" "$line" || say "the interface $device has a peer that is not wanted: $line"
    done
    IFS=" $NL"
}

# --- nothing outside of it

# Behind the mesh's own route, for the time when that is not there: without it packets for the others leave by the default route, in clear.
want_routes() { wanted="${NL}unreachable $mesh$NL"; }

# An overlay's port listens on every address, whatever the engine was told. What is for the other hosts comes from the mesh, or from here.
want_rules() {
    wanted=$NL
    for protocol in tcp udp; do
        case $protocol in tcp) ports=$tcp ;; udp) ports=$udp ;; esac
        [ -n "$ports" ] || continue
        rule raw "PREROUTING -i lo -p $protocol -m multiport --dports $ports" ACCEPT
        rule raw "PREROUTING ! -i $device -p $protocol -m multiport --dports $ports -m addrtype --dst-type LOCAL" DROP
    done
}

# The same for IPv6, over which nothing of the cluster goes: engines listen there as well. `ours6` are the rules that are there.
want_rules6() {
    wanted6= ours6=
    [ -e /proc/net/if_inet6 ] && rules6=$(ip6tables-save -t raw 2>/dev/null) || return 1
    IFS=$NL
    for line in $rules6; do
        case $line in "-A "*" --comment $MARK "*) ours6="$ours6${line#-A }$NL" ;; esac
    done
    IFS=" $NL"
    for protocol in tcp udp; do
        case $protocol in tcp) ports=$tcp ;; udp) ports=$udp ;; esac
        [ -z "$ports" ] || wanted6="${wanted6}PREROUTING ! -i lo -p $protocol -m multiport --dports $ports -m addrtype --dst-type LOCAL -m comment --comment $MARK -j DROP$NL"
    done
}

# Makes our rules for IPv6 those in `wanted6`, in one go.
put_rules6() {
    [ "$ours6" != "$wanted6" ] || return 0
    change=
    IFS=$NL
    for line in $ours6; do change="$change-D $line$NL"; done
    for line in $wanted6; do change="$change-A $line$NL"; done
    IFS=" $NL"
    printf '*raw\n%sCOMMIT\n' "$change" | ip6tables-restore -w --noflush || failed=1
}

floor() {
    want_routes
    put_routes
    want_rules
    put_rules
    ! want_rules6 || put_rules6
}

# --- what it is asked

check_all() {
    if ! command -v wg >/dev/null; then
        say "the program wg is missing"
        return
    fi
    [ -s "$KEY" ] || say "the key of this host is missing"
    check_device
    want_routes
    check_routes
    want_rules
    check_rules
    ! want_rules6 || [ "$ours6" = "$wanted6" ] || say "the rules of ip6tables are not those that keep everything inside of the mesh"
}

# What WireGuard says of the others.
read_heard() {
    now=$(date +%s)
    heard=$(wg show "$device" latest-handshakes 2>/dev/null)
    places=$(wg show "$device" endpoints 2>/dev/null)
    allowed=$(wg show "$device" allowed-ips 2>/dev/null)
}

# When the host with key $1 was heard last, in seconds before now (`never`), and where: `age`, `place`.
find_heard() {
    at=${NL}$heard$NL at=${at#*"$NL$1	"} at=${at%%"$NL"*}
    place=${NL}$places$NL place=${place#*"$NL$1	"} place=${place%%"$NL"*}
    case $at in
        0 | '' | *[!0-9]*) age=never ;;
        *) age=$((now - at)) ;;
    esac
}

is_fresh() { [ "$age" != never ] && [ "$age" -le "$OLD" ]; }

# What is known of the others, for the probe: who was heard when, in seconds, and where.
tell() {
    printf 'key %s\n' "$(public "$KEY")"
    read_heard
    IFS=$NL
    for line in $mates; do
        IFS=" $NL"
        # shellcheck disable=SC2086  # split into words
        set -- $line
        used=$(key_of "$1" "$2" "$3")
        find_heard "$used"
        printf 'heard %s %s %s\n' "$1" "$age" "${place:--}"
        IFS=$NL
    done
    IFS=" $NL"
}

# The names of the peers that are reached.
heard() {
    tell | while read -r word name age _; do
        [ "$word" != heard ] || ! is_fresh || printf '[%s]\n' "$name"
    done
}

drop() {
    drop_rules
    ! want_rules6 || put_rules6
    drop_routes
    wanted=$NL
    drop_devices
    rm -rf "$KEYS"
}

umask 077
case ${1-} in
    # The public half, of a key that is made if there is none.
    key)
        make_key "$KEY"
        public "$KEY"
        exit "$failed"
        ;;
    next-key)
        make_key "$NEXT"
        public "$NEXT"
        exit "$failed"
        ;;
    public)
        public "$KEY"
        exit
        ;;
    # Also without a config: a run that was cut off may have left none.
    down)
        drop
        exit "$failed"
        ;;
esac
read_config
case ${1-} in
    floor) floor ;;
    up)
        floor
        put_device
        # What led over an interface that was gone for a moment went with it.
        [ ! -x "$LINKS" ] || "$LINKS" up > /dev/null 2>&1 || :
        ;;
    run)
        mkdir -p /dev/net
        [ -e /dev/net/tun ] || mknod /dev/net/tun c 10 200
        # One that was killed has left it, and the next would not start.
        rm -f "/var/run/wireguard/$device.sock"
        export WG_PROCESS_FOREGROUND=1
        exec wireguard-go -f "$device"
        ;;
    switch) switch_key ;;
    adopt) adopt "${2-}" ;;
    knock) knock ;;
    heard) heard ;;
    check) check_all ;;
    facts)
        tell
        check_all | while read -r line; do printf 'wrong %s\n' "$line"; done
        exit 0
        ;;
    *)
        echo "usage: $0 floor|up|check|down|facts|heard|key|next-key|public|switch|adopt NAME" >&2
        exit 2
        ;;
esac
exit "$failed"
