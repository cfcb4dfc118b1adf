#!/bin/sh
# Of docker-cluster, which writes this file and its config: do not change them here.
# `up` makes this host what the config says, `down` takes away what is ours, `check` says what is not as it should be.
set -uf
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

CONFIG=/etc/docker-cluster/fabric/config

# How we know what is ours: the comment of rules, the alias of devices, and the protocol of routes (a number nobody else has).
MARK=docker-cluster
PROTOCOL=213

# Behind every other route.
LAST_METRIC=4242

# Lists are variables with lines. Each begins and ends with a newline, so that a whole line is found as newline, line, newline.
NL='
'
IFS=" $NL"
failed=0

# Says what is wrong; the exit code tells it as well.
say() {
    printf '%s\n' "$1"
    failed=1
}

# Runs a command whose failure must not keep the rest from being made.
try() { "$@" || failed=1; }

# Calls `word` of the fabric for each line of the config. Words stay words: nothing of it is run or expanded.
read_config() {
    if [ ! -r "$CONFIG" ]; then
        say "the file $CONFIG is missing"
        exit 1
    fi
    while read -r a b c d; do
        case $a in '' | '#'*) continue ;; esac
        word "$a" "$b" "$c" "$d"
    done < "$CONFIG"
}

unknown_word() { say "the config says $1, which this fabric does not know"; }

# Whether list $1 holds line $2.
holds() { case $1 in *"$NL$2$NL"*) return 0 ;; *) return 1 ;; esac; }

# Calls $1 with each line of list $2 that list $3 does not hold.
each_not_in() {
    IFS=$NL
    for line in $2; do
        IFS=" $NL"
        holds "$3" "$line" || "$1" "$line"
        IFS=$NL
    done
    IFS=" $NL"
}

# --- rules of iptables: lines such as `nat -A POSTROUTING ...`, exactly as iptables-save prints them; of ip6tables where `v` is 6

v=

# Chains of user rules that may have to be made: the engine's own, and the guard's. Rules of no other chain jump out of INPUT.
FOR_USER=DOCKER-USER
GUARD=DOCKER-CLUSTER

# iptables-save prints tables and chains in an order of its own. Sets `ordered` to list $1, chain by chain.
order() {
    ports_in="" for_user="" at_last="" elsewhere=""
    IFS=$NL
    for line in $1; do
        case $line in
            "filter -A INPUT "*) ports_in="$ports_in$line$NL" ;;
            "filter -A DOCKER-USER "*) for_user="$for_user$line$NL" ;;
            "nat -A POSTROUTING "*) at_last="$at_last$line$NL" ;;
            *) elsewhere="$elsewhere$line$NL" ;;
        esac
    done
    IFS=" $NL"
    ordered=$NL$ports_in$for_user$at_last$elsewhere
}

# Reads all rules of the host: ours into `ours`, all others into `others`, chains into `chains`. Orders ours and those in `wanted`.
read_rules() {
    ours=$NL others=$NL chains=$NL table=""
    IFS=$NL
    for line in $("ip${v}tables-save" 2>/dev/null); do
        case $line in
            '*'*) table=${line#?} ;;
            :*) chain=${line#:} chains="$chains$table ${chain%% *}$NL" ;;
            "-A "*" --comment $MARK "*) ours="$ours$table $line$NL" ;;
            "-A "*) others="$others$table $line$NL" ;;
        esac
    done
    IFS=" $NL"
    order "$ours"
    ours=$ordered
    order "$wanted"
    wanted=$ordered
}

# One rule of ours: table, then the rule as iptables-save prints it, up to its target.
rule() { wanted="$wanted$1 -A $2 -m comment --comment $MARK -j $3$NL"; }

# Whether there can be rules about this family. Asked only where something is to be done: to ask makes the table where there is none.
can_have_rules() { [ -z "$v" ] || ip6tables -w -S INPUT > /dev/null 2>&1; }

# Makes our rules those in `wanted`, at the top of their chains and in that order, in one go for each table: no packet meets half of them.
put_rules() {
    read_rules
    [ "$ours" != "$wanted" ] && can_have_rules || return 0
    make_chain "$FOR_USER"
    make_chain "$GUARD"
    for table in filter nat raw mangle; do put_table "$table"; done
}

# Makes chain $1 where a rule of ours is in it.
make_chain() {
    case $wanted in
        *"filter -A $1 "*) holds "$chains" "filter $1" || try "ip${v}tables" -w -N "$1" ;;
    esac
}

put_table() {
    old="" new=""
    IFS=$NL
    for line in $ours; do
        case $line in "$1 "*) old="$old-D ${line#"$1 -A "}$NL" ;; esac
    done
    # Each goes to the top, so the last one goes first.
    for line in $wanted; do
        case $line in "$1 "*) new="-I ${line#"$1 -A "}$NL$new" ;; esac
    done
    IFS=" $NL"
    [ -n "$old$new" ] || return 0
    printf '*%s\n%s%sCOMMIT\n' "$1" "$old" "$new" | "ip${v}tables-restore" -w --noflush || failed=1
}

# Takes our rules away, and the chains: the engine's if it was made here and no engine came to use it.
drop_rules() {
    wanted=$NL
    put_rules
    read_rules
    drop_chain "$FOR_USER"
    drop_chain "$GUARD"
}

# Takes chain $1 away, unless somebody uses it.
drop_chain() {
    case $others in
        *"-A $1 "* | *" -j $1$NL"*) ;;
        *) ! holds "$chains" "filter $1" || try "ip${v}tables" -w -X "$1" ;;
    esac
}

# Says which rules differ from those in `wanted`.
check_rules() {
    read_rules
    [ "$ours" != "$wanted" ] && can_have_rules || return 0
    found=$failed failed=0
    each_not_in rule_missing "$wanted" "$ours"
    each_not_in rule_left "$ours" "$wanted"
    [ "$failed" = 1 ] || say "the rules of docker-cluster are in the wrong order"
    failed=$((failed | found))
}

rule_missing() { say "the rule \`ip${v}tables -t ${1%% *} ${1#* }\` is missing"; }
rule_left() { say "the rule \`ip${v}tables -t ${1%% *} ${1#* }\` is no longer wanted"; }

# --- routes: lines such as `10.91.2.0/24 via 10.213.0.12`, `10.91.1.128/27 dev dc-shim` and `unreachable 10.91.0.0/16`

# Reads our routes into `routes`.
read_routes() {
    routes=$NL
    IFS=$NL
    for line in $(ip -o -4 route show proto "$PROTOCOL"); do
        IFS=" $NL"
        # shellcheck disable=SC2086  # split into words
        set -- $line
        case $1 in
            unreachable) routes="$routes$1 $2$NL" ;;
            *) routes="$routes$1 $2 $3$NL" ;;
        esac
        IFS=$NL
    done
    IFS=" $NL"
}

# Makes our routes those in `wanted`.
put_routes() {
    read_routes
    [ "$routes" != "$wanted" ] || return 0
    each_not_in add_route "$wanted" "$routes"
    # What led elsewhere has been replaced by now.
    read_routes
    each_not_in remove_route "$routes" "$wanted"
}

add_route() {
    # shellcheck disable=SC2086  # split into words
    set -- $1
    case $1 in
        unreachable) try ip route replace "$@" metric "$LAST_METRIC" proto "$PROTOCOL" ;;
        *) try ip route replace "$@" proto "$PROTOCOL" ;;
    esac
}

# shellcheck disable=SC2086  # split into words
remove_route() { try ip route del $1 proto "$PROTOCOL"; }

drop_routes() {
    wanted=$NL
    put_routes
}

# Says which routes differ from those in `wanted`.
check_routes() {
    read_routes
    each_not_in route_missing "$wanted" "$routes"
    each_not_in route_left "$routes" "$wanted"
}

route_missing() {
    # shellcheck disable=SC2086  # split into words
    set -- $1
    if [ "$1" = unreachable ]; then
        say "the route that keeps packets to $2 from leaving by the default route is missing"
        return
    fi
    there=$(ip -o -4 route show exact "$1")
    case $there in
        '') say "the route to $1 $(by "$2") $3 is missing" ;;
        *) say "the route to $1 is not $(by "$2") $3, but: ${there%%"$NL"*}" ;;
    esac
}

by() { case $1 in via) printf by ;; *) printf on ;; esac; }

route_left() { say "a route that is no longer wanted is there: $1"; }

# --- devices: ours have an alias

# Reads the names of our devices into `devices`.
read_devices() {
    devices=$NL
    IFS=$NL
    for line in $(ip -o link show); do
        case $line in
            *" alias $MARK"*)
                name=${line#*: } name=${name%%[:@]*}
                devices="$devices$name$NL"
                ;;
        esac
    done
    IFS=" $NL"
}

# Removes our devices that are not in `wanted`.
drop_devices() {
    read_devices
    each_not_in drop_device "$devices" "$wanted"
}

# One that went with another, such as the other end of a pair, is gone already.
drop_device() { [ ! -e "/sys/class/net/$1" ] || try ip link del dev "$1"; }

# Whether text $1 has the words $2 one after the other.
says() { case " $1 " in *[[:space:]]"$2"[[:space:]]*) return 0 ;; *) return 1 ;; esac; }

# Everything about device $1 in one line, or nothing.
about() { ip -d -o link show dev "$1" 2>/dev/null; }

is_up() { case $1 in *[\<,]UP[,\>]*) return 0 ;; *) return 1 ;; esac; }

# A bridge $1 with MTU $2, ours from now on: an engine that starts without it makes an empty one.
put_bridge() {
    [ -e "/sys/class/net/$1/bridge" ] || try ip link add dev "$1" type bridge
    # A bridge that was never told its address takes the lowest of its ports', and changes it when containers come and go.
    read -r mac < "/sys/class/net/$1/address"
    try ip link set dev "$1" address "$mac" mtu "$2" alias "$MARK" up
}

check_bridge() {
    it=$(about "$1")
    if [ -z "$it" ]; then
        say "the bridge $1 is missing"
        return
    fi
    says "$it" "alias $MARK" || say "the bridge $1 is not docker-cluster's: the engine made it, empty, when it found none"
    says "$it" "mtu $2" || say "the bridge $1 has another MTU than $2"
    is_up "$it" || say "the bridge $1 is down"
}

# --- a VXLAN device that sends to each peer what it does not know the place of: device, bridge, id, port, address, MTU; peers

vxlan_is_right() {
    says "$1" "vxlan id $id" && says "$1" "local $address" && says "$1" "dstport $port"
}

# Its id, port and address cannot be changed once it is there.
put_vxlan() {
    it=$(about "$device")
    if [ -n "$it" ] && ! vxlan_is_right "$it"; then
        try ip link del dev "$device"
        it=
    fi
    [ -n "$it" ] || try ip link add dev "$device" type vxlan id "$id" local "$address" dstport "$port" ttl 16
    try ip link set dev "$device" mtu "$mtu" alias "$MARK"
    read_peers
    each_not_in add_peer "$peers" "$places"
    each_not_in remove_peer "$places" "$peers"
}

# Reads the peers that the device sends to into `places`.
read_peers() {
    places=$NL
    IFS=$NL
    for line in $(bridge fdb show dev "$device" 2>/dev/null); do
        case $line in
            "00:00:00:00:00:00 dst "*)
                line=${line#* dst }
                places="$places${line%% *}$NL"
                ;;
        esac
    done
    IFS=" $NL"
}

add_peer() { try bridge fdb append 00:00:00:00:00:00 dev "$device" dst "$1"; }
remove_peer() { try bridge fdb del 00:00:00:00:00:00 dev "$device" dst "$1"; }

# On bridge $1, or on none.
check_vxlan() {
    it=$(about "$device")
    if [ -z "$it" ]; then
        say "the VXLAN device $device is missing"
        return
    fi
    vxlan_is_right "$it" || say "the VXLAN device $device has another id, address or port than $id, $address and $port"
    says "$it" "mtu $mtu" || say "the VXLAN device $device has another MTU than $mtu"
    is_up "$it" || say "the VXLAN device $device is down"
    [ -z "$1" ] || says "$it" "master $1" || say "the VXLAN device $device is not on the bridge $1"
    read_peers
    each_not_in peer_missing "$peers" "$places"
    each_not_in peer_left "$places" "$peers"
}

peer_missing() { say "the VXLAN device $device does not send to $1"; }
peer_left() { say "the VXLAN device $device sends to $1, which is no longer wanted"; }

# --- ports that listen on every address, and are for the other hosts only: `ports` (lines such as `udp 4789`), `peers` (addresses)

guard_ports() { each_not_in guard "$ports" "$NL"; }

guard() {
    # shellcheck disable=SC2086  # split into words
    set -- $1
    for peer in $peers; do
        rule filter "INPUT -s $peer/32 -p $1 -m $1 --dport $2" ACCEPT
    done
    rule filter "INPUT -p $1 -m $1 --dport $2" DROP
}

# --- what every fabric needs

# An engine that starts switches it on itself, and closes FORWARD to everybody else with that: where it is on already, the engine leaves
# FORWARD open. So at boot, before the engine, it is left to the engine.
forward() {
    systemctl -q is-active docker.service || return 0
    read -r forwarding < /proc/sys/net/ipv4/ip_forward
    [ "$forwarding" = 1 ] || echo 1 > /proc/sys/net/ipv4/ip_forward || failed=1
}

check_forwarding() {
    read -r forwarding < /proc/sys/net/ipv4/ip_forward
    [ "$forwarding" = 1 ] || say "this host does not forward packets (net.ipv4.ip_forward is $forwarding)"
}

main() {
    case ${1-} in
        up)
            read_config
            up
            ;;
        check)
            read_config
            check
            ;;
        down) down ;;
        *)
            echo "usage: $0 up|check|down" >&2
            exit 2
            ;;
    esac
    exit "$failed"
}

