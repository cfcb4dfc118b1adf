# The ports of an overlay listen on every address of this host, and are for those who take part in it only. A chain of our own passes
# on what comes from them, and throws away what else comes to these ports. It only closes: what it passes on still meets every other rule
# of this host, such as those by which the engine refuses packets in clear.

ports=$NL peers=$NL peers6=$NL interfaces=$NL

# port PROTOCOL NUMBER: what is guarded. peer ADDRESS NAME: who sends from there may come in; the name is for who reads it.
# allow NETWORK: so may everybody there. only-from INTERFACE: so may what comes by it, whatever its address; without a peer, nothing else may.
word() {
    case $1 in
        port) ports="$ports$2 $3$NL" ;;
        peer)
            case $2 in
                *:*) peers6="$peers6$2/128$NL" ;;
                *) peers="$peers$2/32$NL" ;;
            esac
            ;;
        allow)
            case $2 in
                *:*) peers6="$peers6$2$NL" ;;
                *) peers="$peers$2$NL" ;;
            esac
            ;;
        only-from) interfaces="$interfaces$2$NL" ;;
        *) unknown_word "$1" ;;
    esac
}

want_rules() {
    wanted=$NL
    each_not_in into_guard "$ports" "$NL"
    rule filter "$GUARD -i lo" RETURN
    each_not_in from_interface "$interfaces" "$NL"
    case $v in
        6) each_not_in from_address "$peers6" "$NL" ;;
        *) each_not_in from_address "$peers" "$NL" ;;
    esac
    rule filter "$GUARD" DROP
}

# shellcheck disable=SC2086  # split into words
into_guard() {
    set -- $1
    rule filter "INPUT -p $1 -m $1 --dport $2" "$GUARD"
}

from_interface() { rule filter "$GUARD -i $1" RETURN; }
from_address() { rule filter "$GUARD -s $1" RETURN; }

# Calls $1 for each family of addresses that this host has.
in_each_family() {
    v=
    "$1"
    [ -e /proc/net/if_inet6 ] || return 0
    v=6
    "$1"
}

put() {
    want_rules
    put_rules
}

compare() {
    want_rules
    check_rules
}

up() { in_each_family put; }
down() { in_each_family drop_rules; }
check() { in_each_family compare; }

main "$@"
