# Ports that listen on every address of this host, such as an overlay's, are for the other hosts only.

ports=$NL peers=$NL

# port PROTOCOL NUMBER, peer ADDRESS
word() {
    case $1 in
        port) ports="$ports$2 $3$NL" ;;
        peer) peers="$peers$2$NL" ;;
        *) unknown_word "$1" ;;
    esac
}

want_rules() {
    wanted=$NL
    guard_ports
}

up() {
    want_rules
    put_rules
}

down() { drop_rules; }

check() {
    want_rules
    check_rules
}

main "$@"
