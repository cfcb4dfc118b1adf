# Each host has a subnet of its own, and a route to each other host's. The bridge is the engine's.

subnet="" own="" bridge="" out="" to_others=$NL learned=$NL ports=$NL peers=$NL

# cluster-subnet SUBNET, own SUBNET, bridge NAME, out INTERFACE (towards the other hosts), peer SUBNET ADDRESS.
# Where a routing daemon brings the routes: learned SUBNET instead of peer, port PROTOCOL NUMBER, neighbour ADDRESS (who may use it).
word() {
    case $1 in
        cluster-subnet) subnet=$2 ;;
        own) own=$2 ;;
        bridge) bridge=$2 ;;
        out) out=$2 ;;
        peer) to_others="$to_others$2 via $3$NL" ;;
        learned) learned="$learned$2$NL" ;;
        port) ports="$ports$2 $3$NL" ;;
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
    [ -e "/sys/class/net/$bridge" ] || say "the bridge $bridge is missing"
    want_routes
    check_routes
    check_learned
    want_rules
    check_rules
    check_engine
}

# The number that BIRD gives to the routes it puts into the kernel.
BIRD=12

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
