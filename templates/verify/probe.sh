# Asks the probes of all other hosts from the probe of this one. Runs inside the probe container, under any POSIX sh.
# Arguments: SECONDS from now that a pair may take, SECONDS from now while the engine has not learned of the target, SECONDS that a pair
# is tried at least, HOW MANY pairs at a time, then for each probe NAME NONCE TARGET ADDRESS: what is asked, which may be its name, its address, or
# an address and a port, and the address behind a name. One line per target on standard output:
#   NAME ok MICROSECONDS | NAME failed name|http|large|upload address=ok|no WORDS
# A pair costs four requests, and here every process counts: these two set $up, in seconds, and $at, in nanoseconds.
uptime() { read -r up _ < /proc/uptime; up=${up%.*}; }
uptime
common=$(( up + $1 )) late=$(( up + $2 )) least=$3 workers=$4; shift 4
case $(date +%N) in [0-9]*) now() { at=$(date +%s%N); } ;;
    # busybox has no nanoseconds; the uptime has hundredths.
    *) now() { read -r up _ < /proc/uptime; at=${up%.*}${up#*.}0000000; } ;; esac
# The engine's client puts the proxies of its configuration into every container, and busybox's wget knows no exceptions.
unset http_proxy HTTP_PROXY https_proxy HTTPS_PROXY all_proxy ALL_PROXY
# GNU wget tries twenty times and says nothing when quiet; busybox's has neither habit nor option.
case $(wget --help 2>&1) in *--tries*) how='-nv -t 1' ;; *) how=-q ;; esac
# In memory, which every engine gives a container: a file of its own file system is many times the work, two a pair.
temp=/tmp; if [ -w /dev/shm ]; then temp=/dev/shm; fi
# In a shell of their own in any case, which they may become.
get() { exec wget $how -T 3 -O - "http://$1/$2" 2>"$temp/probe.$3"; }
# A body larger than any Ethernet frame, jumbo frames included. The target answers when it has all of it. As an argument: busybox's wget
# had no --post-file before 1.32.
body=$(printf %020000d 0)
put() { exec wget $how -T 3 -O - --post-data="$body" "http://$1/upload" 2>"$temp/probe.$2"; }
probe() {
    name=$1 nonce=$2 target=$3 address=$4
    uptime
    at_least=$(( up + least ))
    while :; do
        deadline=$common
        answer=$(get "$target" nonce "$name")
        if [ "$answer" = "$nonce" ]; then
            # Twice the same way costs a millisecond: the first one also paid for the name and the neighbour table.
            now; begin=$at; again=$(get "$target" nonce "$name"); now; end=$at
            large=$(get "$target" large "$name")
            case "$again $large" in
            "$nonce $nonce "*) [ ${#large} -gt 12000 ] && down=ok || down=no ;;
            *) down=no ;;
            esac
            if [ $down = ok ]; then
                [ "$(put "$target" "$name")" = "$nonce" ] && { echo "$name ok $(( (end - begin) / 1000 ))"; return; }
                layer=upload answer="the long body got no answer: $(cat "$temp/probe.$name")"
            else
                layer=large answer="the short answer arrived, the long one did not: $(echo "$large" | head -c 100)"
            fi
            by=ok
        else
            layer=http answer=$(cat "$temp/probe.$name")
            case $answer in *"bad address"*|*"unable to resolve"*|*"Name or service"*|*"Temporary failure"*|*"Name does not resolve"*) layer=name ;; esac
            by=no
            # Only names are behind the engines' news of each other.
            if [ "$target" = "$name" ]; then
                if [ "$(get "$address" nonce "$name.address")" = "$nonce" ]; then by=ok; fi
                # The engine itself answers ARP for the containers that it knows of: without an answer it does not know this one yet.
                if [ $layer = name ] || ! grep -q "^$address .* 0x2 " /proc/net/arp; then deadline=$late; fi
            fi
        fi
        [ $at_least -le $deadline ] || deadline=$at_least
        uptime
        if [ "$up" -ge "$deadline" ]; then
            echo "$name failed $layer address=$by $(echo "$answer" | tr '\n' ' ' | head -c 200)"; return
        fi
        sleep 0.2
    done
}
# Each worker takes every so many-th target: one that is dead holds up those behind it, and nobody else.
work() {
    turn=$1; shift
    while [ $# -ge 4 ]; do
        if [ $turn -eq 0 ]; then probe "$1" "$2" "$3" "$4"; turn=$workers; fi
        turn=$(( turn - 1 )); shift 4
    done
}
worker=0
while [ $worker -lt "$workers" ]; do work $worker "$@" & worker=$(( worker + 1 )); done
wait
