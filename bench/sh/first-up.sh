# A first `up` by hand, in parallel: swarm mode on hosts with engines, the image, the network, and the proof.
# Arguments: FOLDER TAR IMAGE VERIFY-LOOP ADDRESS...; the folder has ssh-1, ssh-2 and so on, which run a line as root on that host.
set -eu
folder=$1 tar=$2 image=$3 verify=$4
shift 4
all=$(seq 1 $#)
on() { n=$1; shift; "$folder/ssh-$n" "$@"; }
for n in $all; do on "$n" "docker load -q >/dev/null" < "$tar" & done
first=$1
on 1 "docker swarm init --advertise-addr $first --data-path-addr $first --listen-addr 0.0.0.0:2377 >/dev/null"
manager=$(on 1 "docker swarm join-token -q manager" </dev/null)
worker=$(on 1 "docker swarm join-token -q worker" </dev/null)
active="until docker info --format '{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}}' | grep -q 'active true'; do sleep 0.25; done"
n=1
for address in "$@"; do
    join="docker swarm join --advertise-addr $address --data-path-addr $address $first:2377 >/dev/null --token"
    case $n in
        1) ;;
        # Managers join one after the other, as with `up`: two that join at once can cost the quorum.
        2 | 3) on $n "$join $manager; $active" </dev/null ;;
        *) on $n "$join $worker" </dev/null & ;;
    esac
    n=$((n + 1))
done
on 1 "docker network create -d overlay --attachable --subnet 10.90.0.0/16 bench >/dev/null" </dev/null
wait
loop=$(cat "$verify")
for n in $all; do
    others=$(for other in $all; do [ "$other" = "$n" ] || printf '%s ' "$other"; done)
    {
        for word in started "done"; do
            until [ "$(cat "$folder"/out-* 2>/dev/null | grep -cx $word)" = $# ]; do sleep 0.05; done
            echo go
        done
    } |
        on "$n" "set -- bench $image $n $others; $loop" > "$folder/out-$n" 2>&1 &
done
wait
! grep -hvx -e started -e "done" "$folder"/out-*
