# Containers are hosts of the LAN, and the engine makes all of it. What it cannot: a host does not reach its own containers through the
# interface that carries them. Where that is wanted, a device of the same kind leads to them.

parent= device= out= address= range=

# parent INTERFACE (the LAN's); shim DEVICE INTERFACE ADDRESS RANGE: an address that is free in the LAN, and what this host's containers
# get; own RANGE and the ranges of the others are for who divides the LAN.
word() {
    case $1 in
        own | peer) ;;
        parent) parent=$2 ;;
        shim) device=$2 out=$3 address=${4%% *} range=${4#* } ;;
        *) unknown_word "$1" ;;
    esac
}

want_routes() {
    wanted=$NL
    [ -z "$device" ] || wanted="$NL$range dev $device$NL"
}

# Whether device $1, in one line, is what the config says: where it is and what address it has cannot be told apart from another's.
shim_is_right() {
    says "$1" "$device@$out:" && says "$1" "macvlan mode bridge" &&
        says "$(ip -o -4 addr show dev "$device")" "inet $address/32"
}

# Nobody else may bring up an interface that has no address.
up() {
    is_up "$(about "$parent")" || try ip link set dev "$parent" up
    wanted=$NL
    [ -z "$device" ] || put_shim
    drop_devices
    want_routes
    put_routes
}

put_shim() {
    it=$(about "$device")
    if [ -n "$it" ] && ! shim_is_right "$it"; then
        try ip link del dev "$device"
        it=
    fi
    if [ -z "$it" ]; then
        try ip link add dev "$device" link "$out" type macvlan mode bridge
        try ip addr add "$address/32" dev "$device"
    fi
    try ip link set dev "$device" alias "$MARK" up
    wanted=$NL$device$NL
}

down() {
    wanted=$NL
    drop_routes
    drop_devices
}

check() {
    check_parent
    [ -z "$device" ] || check_shim
    want_routes
    check_routes
}

check_parent() {
    it=$(about "$parent")
    if [ -z "$it" ]; then
        say "the device $parent, which carries this host's containers, is missing"
    elif ! is_up "$it"; then
        say "the device $parent, which carries this host's containers, is down"
    fi
}

check_shim() {
    it=$(about "$device")
    if [ -z "$it" ]; then
        say "the device $device, by which this host reaches its own containers, is missing"
        return
    fi
    shim_is_right "$it" || say "the device $device is not on $out with the address $address"
    is_up "$it" || say "the device $device is down"
}

main "$@"
