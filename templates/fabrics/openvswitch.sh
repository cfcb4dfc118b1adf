# A switch of Open vSwitch on each host, joined to the others by VXLAN, and the bridge of the containers plugged into it. Where the kernel
# has no module for it, the switch forwards in user space, and VXLAN is the kernel's own device as one of its ports: it sends to all
# others, but never from one to another, so nothing can go round in circles. Ports of the switch's own are protected from each other.

switch="" datapath="" bridge="" inner="" outer="" device="" id="" port="" address="" mtu="" peers=$NL

# switch NAME, datapath netdev|system, bridge NAME, plug INNER OUTER (the pair that joins bridge and switch), device NAME, id NUMBER,
# port NUMBER, address ADDRESS (this host's), mtu BYTES, peer ADDRESS RANGE; own RANGE and the
# ranges of the others are for who divides the subnet.
word() {
    case $1 in
        own) ;;
        switch) switch=$2 ;;
        datapath) datapath=$2 ;;
        bridge) bridge=$2 ;;
        plug) inner=$2 outer=$3 ;;
        device) device=$2 ;;
        id) id=$2 ;;
        port) port=$2 ;;
        address) address=$2 ;;
        mtu) mtu=$2 ;;
        peer) peers="$peers$2$NL" ;;
        *) unknown_word "$1" ;;
    esac
}

# Its server is asked; the daemon that forwards may be away, and must not be waited for without end.
ovs() { ovs-vsctl --timeout=10 "$@"; }

want_rules() {
    wanted=$NL
    ports="${NL}udp $port$NL"
    guard_ports
}

want_devices() {
    wanted="$NL$bridge$NL$inner$NL$outer$NL"
    [ "$datapath" = system ] || wanted="$wanted$device$NL"
}

# The ports of the switch. Those of its own are called after the peer: 10.213.0.12 is vx0ad5000c.
want_ports() {
    wanted="$NL$outer$NL"
    case $datapath in
        system) each_not_in want_port "$peers" "$NL" ;;
        *) wanted="$wanted$device$NL" ;;
    esac
}

want_port() { name_of "$1" && wanted="$wanted$name$NL"; }

name_of() {
    IFS=".$IFS"
    # shellcheck disable=SC2086  # split into numbers
    set -- $1
    IFS=" $NL"
    name=$(printf 'vx%02x%02x%02x%02x' "$@")
}

up() {
    want_rules
    put_rules
    want_devices
    drop_devices
    put_bridge "$bridge" "$mtu"
    put_plug
    [ "$datapath" = system ] || put_device
    put_switch
}

put_plug() {
    [ -e "/sys/class/net/$outer" ] || try ip link add dev "$inner" type veth peer name "$outer"
    try ip link set dev "$inner" master "$bridge" mtu "$mtu" alias "$MARK" up
    try ip link set dev "$outer" mtu "$mtu" alias "$MARK" up
    # The kernel leaves checksums to the last device, and the switch does not know that they are missing: ping would pass, TCP would not.
    try ethtool -K "$inner" tx off > /dev/null
}

put_device() {
    put_vxlan
    # The kernel joins packets of one connection to a large one, and the switch throws away what is larger than its MTU: ping would pass, TCP
    # would crawl.
    try ethtool -K "$device" gro off > /dev/null
    try ip link set dev "$device" up
}

put_switch() {
    try ovs --may-exist add-br "$switch" -- set bridge "$switch" datapath_type="$datapath" external_ids:"$MARK"=yes
    read_ports
    want_ports
    each_not_in remove_port "$present" "$wanted"
    put_port "$outer"
    case $datapath in
        system) each_not_in add_tunnel "$peers" "$NL" ;;
        *) put_port "$device" ;;
    esac
    check_made
}

# The switch holds on to a device that went, and does not see the new one of the same name. What it uses is promiscuous.
put_port() {
    is_used "$1" || try ovs --if-exists del-port "$switch" "$1"
    try ovs --may-exist add-port "$switch" "$1"
}

is_used() { case $(about "$1") in *[\<,]PROMISC[,\>]*) return 0 ;; *) return 1 ;; esac; }

# What the database holds need not be there: the daemon may have failed at it, which ovs-vsctl does not count as an error.
check_made() {
    if [ -z "$(ovs --bare --columns=datapath_id find bridge name="$switch")" ]; then
        say "Open vSwitch could not make the switch $switch (datapath $datapath): see /var/log/openvswitch/ovs-vswitchd.log"
    fi
    for name in $(ovs --bare --columns=name find interface ofport=-1); do
        say "Open vSwitch could not set up the port $name: $(ovs get interface "$name" error)"
    done
}

# Reads the ports of the switch into `present`.
read_ports() {
    present=$NL
    for port_there in $(ovs list-ports "$switch" 2>/dev/null); do present="$present$port_there$NL"; done
}

remove_port() { try ovs del-port "$switch" "$1"; }

add_tunnel() {
    name_of "$1"
    try ovs --may-exist add-port "$switch" "$name" -- set port "$name" protected=true \
        -- set interface "$name" type=vxlan options:remote_ip="$1" options:local_ip="$address" \
        options:key="$id" options:dst_port="$port"
}

# The switch first: its database would bring the ports back.
down() {
    if command -v ovs-vsctl > /dev/null; then
        for name in $(ovs --bare --columns=name find bridge external_ids:"$MARK"=yes); do try ovs del-br "$name"; done
    fi
    wanted=$NL
    drop_devices
    drop_rules
}

check() {
    check_bridge "$bridge" "$mtu"
    check_plug
    [ "$datapath" = system ] || check_vxlan ""
    check_switch
    want_rules
    check_rules
}

check_plug() {
    it=$(about "$inner")
    if [ -z "$it" ]; then
        say "the pair $inner and $outer, which joins the bridge to the switch, is missing"
        return
    fi
    says "$it" "master $bridge" || say "$inner is not on the bridge $bridge"
    is_up "$it" || say "$inner is down"
    if ! command -v ethtool > /dev/null; then
        say "the program ethtool, which sets who computes checksums, is missing"
        return
    fi
    says "$(ethtool -k "$inner" 2>/dev/null)" "tx-checksumming: off" ||
        say "$inner leaves checksums to others (tx-checksumming is on): ping passes, TCP does not"
    [ "$datapath" = system ] || says "$(ethtool -k "$device" 2>/dev/null)" "generic-receive-offload: off" ||
        say "$device joins packets (generic-receive-offload is on) to what is too large for the switch: ping passes, TCP crawls"
}

check_switch() {
    pid=
    [ ! -r /run/openvswitch/ovs-vswitchd.pid ] || read -r pid < /run/openvswitch/ovs-vswitchd.pid
    [ -n "$pid" ] && [ -e "/proc/$pid" ] || say "Open vSwitch does not run (ovs-vswitchd)"
    check_made
    read_ports
    want_ports
    each_not_in port_missing "$wanted" "$present"
    for name in "$outer" "$device"; do
        if [ -e "/sys/class/net/$name" ] && ! is_used "$name"; then say "the switch $switch does not use its port $name"; fi
    done
    each_not_in port_left "$present" "$wanted"
}

port_missing() { say "the switch $switch has no port $1"; }
port_left() { say "the switch $switch has a port that is no longer wanted: $1"; }

main "$@"
