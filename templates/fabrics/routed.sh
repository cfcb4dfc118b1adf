# Each host has a subnet of its own, and a route to each other host's. The bridge is the engine's.

subnet="" own="" bridge="" out="" to_others=$NL learned=$NL ports=$NL peers=$NL daemon="" conf=""

# cluster-subnet SUBNET, own SUBNET, bridge NAME, out INTERFACE (towards the other hosts), peer SUBNET ADDRESS.
# Where a routing daemon brings the routes: learned SUBNET instead of peer, port PROTOCOL NUMBER, neighbour ADDRESS (who may use it),
# daemon bird FILE (its configuration).
word() {
    case $1 in
        cluster-subnet) subnet=$2 ;;
        own) own=$2 ;;
        bridge) bridge=$2 ;;
        out) out=$2 ;;
        peer) to_others="$to_others$2 via $3$NL" ;;
        learned) learned="$learned$2$NL" ;;
        port) ports="$ports$2 $3$NL" ;;
        daemon) daemon=$2 conf=$3 ;;
        neighbour) peers="$peers$2$NL" ;;
        *) unknown_word "$1" ;;
    esac
}

# The last one keeps what has no route to another host from leaving by the default route, in clear and with the host's address.
want_routes() { wanted="${to_others}unreachable $subnet$NL"; }

# Packets keep their senders within the cluster, whatever the order of rules: the engine's own masquerade is off for this network.
want_rules() {
    wanted=$NL
    rule filter "DOCKER-USER -s $subnet -d $own -o $bridge" ACCEPT
    rule nat "POSTROUTING -s $own ! -d $subnet ! -o $bridge" MASQUERADE
    guard_ports
}

up() {
    forward
    want_routes
    put_routes
    want_rules
    put_rules
}

down() {
    drop_rules
    drop_routes
}

check() {
    check_forwarding
    check_own
    want_routes
    check_routes
    check_daemon
    check_learned
    want_rules
    check_rules
    check_engine
}

# The engine's bridge has this host's part: what comes for it would leave again by the default route otherwise.
check_own() {
    if [ ! -e "/sys/class/net/$bridge" ]; then
        say "the bridge $bridge is missing"
        return
    fi
    case $(ip -o -4 route show exact "$own") in
        *" dev $bridge "* | *" dev $bridge") ;;
        *) say "the bridge $bridge does not have the addresses $own" ;;
    esac
}

# The number that BIRD gives to the routes it puts into the kernel.
BIRD=12

# BIRD and its sessions, by what it says of them itself, and by what the kernel counts where one has no answer.
check_daemon() {
    [ -n "$daemon" ] || return 0
    if ! all=$(birdc -r show protocols 2>&1); then
        say "BIRD does not run on this host"
        return
    fi
    since=$(birdc -r show status | sed -n 's/^Last reconfiguration on //p')
    [ "$(date -d "${since:-now}" +%s)" -ge "$(stat -c %Y "$conf")" ] ||
        say "BIRD has not read $conf since it was written"
    mute=$NL
    IFS=$NL
    for line in $all; do
        IFS=" $NL"
        # shellcheck disable=SC2086  # name, protocol, table, state, since, what it says
        set -- $line
        if [ "${2-}" = BGP ]; then check_session "$@"; fi
        IFS=$NL
    done
    IFS=" $NL"
    [ "$mute" = "$NL" ] || check_mute
}

check_session() {
    address=${1#with_}
    IFS=_
    # shellcheck disable=SC2086  # split into numbers
    set -- "$*" $address
    IFS=" $NL"
    with=$2.$3.$4.$5
    case $1 in
        *_Established*) ;;
        *) say_error "$with" "$1" || mute="$mute$with$NL" ;;
    esac
}

# What neighbour $1 is known to have, by what BIRD says in $2. It keeps the last error of a session for as long as it has no other, and one
# that is not answered makes none. So an error is the present one only in the state that follows it: a wait after one of BGP's (Idle), and a
# pause after a connection that was refused (Active).
say_error() {
    case $2 in
        *_Idle_*Bad_peer_AS*) why="they differ about the number of their autonomous system" ;;
        *_Active_*Connection_refused*) why="it refuses TCP port 179: BIRD does not run there, or its firewall refuses" ;;
        *) return 1 ;;
    esac
    say "the BGP session with $1 is down: $why"
}

# What is signed with another password is thrown away without an answer, as what a firewall drops. But the kernel counts it, and our rule
# for that neighbour counts that it came. Both sides try again every two seconds, so that these looks, half a second apart, see it.
LOOKS="1 2 3 4 5 6 7 8"

check_mute() {
    half_open=$NL
    read_counters
    before=$came unsigned_before=$unsigned signed_before=$signed other_before=$other
    for _ in $LOOKS; do
        sleep 0.5
        read_counters
        all=$mute mute=$NL
        each_not_in still_mute "$all" "$NL"
        missing=0
        each_not_in count_missing "$mute" "$NL"
        [ "$mute" != "$NL" ] || break
        [ "$missing" != 0 ] || [ "$((unsigned + signed + other))" = "$((unsigned_before + signed_before + other_before))" ] || break
    done
    each_not_in say_mute "$mute" "$NL"
}

# One that has just come up is well, and one that has an answer now has its error.
still_mute() {
    state=$(birdc -r show protocols "with_$(printf %s "$1" | tr . _)" | tr -s ' \n' _)
    case $state in
        *_Established*) ;;
        *) say_error "$1" "$state" || mute="$mute$1$NL" ;;
    esac
}

# Whether something came from neighbour $1 meanwhile, and the kernel has taken none of it: then it has the right password, and the answer
# does not get there.
has_come() {
    ! holds "$half_open" "$1" || return 1
    IFS=$NL
    for count in $came; do
        IFS=" $NL"
        case $count in
            "$1 "*)
                ! holds "$before" "$count"
                return
                ;;
        esac
        IFS=$NL
    done
    IFS=" $NL"
    return 1
}

count_missing() { has_come "$1" || missing=$((missing + 1)); }

say_mute() {
    password=$(sed -n "/neighbor $1 as/,/^}/s/^ *password .*/ one/p" "$conf")
    differ=
    if has_come "$1"; then
        case $password in
            '') [ "$signed" = "$signed_before" ] || differ="this host has none, and the other side has one" ;;
            *)
                [ "$unsigned" = "$unsigned_before" ] || differ="this host has one, and the other side has none"
                [ "$other" = "$other_before" ] || differ="the two have different ones"
                ;;
        esac
    fi
    if [ -n "$differ" ]; then
        say "the BGP session with $1 is down for its password: $differ"
    elif [ -n "$password" ]; then
        say "the BGP session with $1 is down: it does not answer on TCP port 179, which a firewall on the way may drop, or it has another password"
    else
        say "the BGP session with $1 is down: it does not answer on TCP port 179, which a firewall on the way may drop"
    fi
}

# The kernel's counters, those of our rules as lines `ADDRESS PACKETS` in `came`, and in `half_open` more of who has had an answer of the
# kernel's and sends nothing after that.
read_counters() {
    unsigned=0 signed=0 other=0 names=""
    while read -r of numbers; do
        [ "$of" = TcpExt: ] || continue
        if [ -z "$names" ]; then
            names=$numbers
            continue
        fi
        # shellcheck disable=SC2086  # split into numbers
        set -- $numbers
        for name in $names; do
            case $name in
                TCPMD5NotFound) unsigned=$1 ;;
                TCPMD5Unexpected) signed=$1 ;;
                TCPMD5Failure) other=$1 ;;
            esac
            shift
        done
    done < /proc/net/netstat
    came=$NL
    IFS=$NL
    for line in $(ss -Htn state syn-recv "sport = :179" 2>/dev/null); do
        IFS=" $NL"
        # shellcheck disable=SC2086  # two queues, here, there
        set -- $line
        half_open="$half_open${4%:*}$NL"
        IFS=$NL
    done
    for line in $(iptables-save -t filter -c 2>/dev/null); do
        case $line in
            *" -A INPUT -s "*" --dport 179 "*" --comment $MARK -j ACCEPT")
                packets=${line#?} packets=${packets%%:*} line=${line#* -s }
                came="$came${line%%/*} $packets$NL"
                ;;
        esac
    done
    IFS=" $NL"
}

check_learned() {
    [ "$learned" != "$NL" ] || return 0
    by_daemon=$NL
    IFS=$NL
    for line in $(ip -o -4 route show proto "$BIRD"); do
        case $line in
            # BIRD puts a route whose next hop it cannot resolve into the kernel as one that leads nowhere.
            unreachable*) ;;
            *) by_daemon="$by_daemon${line%% *}$NL" ;;
        esac
    done
    IFS=" $NL"
    each_not_in not_learned "$learned" "$by_daemon"
}

not_learned() { say "no route to $1 has been learned"; }

# What the engine itself has for this network, and must not.
check_engine() {
    ! holds "$others" "nat -A POSTROUTING -s $own ! -o $bridge -j MASQUERADE" ||
        say "the engine hides the senders of $own from other hosts (its masquerade is on)"
    case $others in
        *"filter -A FORWARD -j DOCKER-USER$NL"*) ;;
        *) say "the chain FORWARD does not lead to DOCKER-USER: the engine has not run since boot, or somebody removed its rules" ;;
    esac
    # Engines from 28 on have such a rule for each container, and one before it for each interface that the network trusts.
    IFS=$NL
    for line in $others; do
        case $line in
            "raw -A PREROUTING -d "*" ! -i $bridge -j DROP")
                container=${line#raw -A PREROUTING -d } container=${container%% *}
                holds "$others" "raw -A PREROUTING -d $container -i $out -j ACCEPT" ||
                    say "the engine drops what comes to ${container%/32} by $out: its network does not trust that interface"
                ;;
        esac
    done
    IFS=" $NL"
}

main "$@"
