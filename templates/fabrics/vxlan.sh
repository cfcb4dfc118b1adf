# One layer 2 over all hosts: a bridge, and a VXLAN device on it that knows the other hosts. No store, no swarm.

bridge= device= id= port= address= mtu= peers=$NL

# bridge NAME, device NAME, id NUMBER, port NUMBER, address ADDRESS (this host's), mtu BYTES, peer ADDRESS RANGE; own RANGE and the ranges of
# the others are for who divides the subnet.
word() {
    case $1 in
        own) ;;
        bridge) bridge=$2 ;;
        device) device=$2 ;;
        id) id=$2 ;;
        port) port=$2 ;;
        address) address=$2 ;;
        mtu) mtu=$2 ;;
        peer) peers="$peers$2$NL" ;;
        *) unknown_word "$1" ;;
    esac
}

want_rules() {
    wanted=$NL
    ports="${NL}udp $port$NL"
    guard_ports
}

# The port is closed before the device opens it.
up() {
    want_rules
    put_rules
    wanted="$NL$bridge$NL$device$NL"
    drop_devices
    put_bridge "$bridge" "$mtu"
    put_vxlan
    try ip link set dev "$device" master "$bridge" up
}

down() {
    wanted=$NL
    drop_devices
    drop_rules
}

check() {
    check_bridge "$bridge" "$mtu"
    check_vxlan "$bridge"
    want_rules
    check_rules
}

main "$@"
