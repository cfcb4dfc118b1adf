# A first `up` by hand, in parallel: swarm mode on three hosts with engines, the image, the network, and the proof.
# Arguments: FOLDER TAR IMAGE ADDRESS-1 ADDRESS-2 ADDRESS-3 VERIFY-LOOP; the folder has ssh-1 to ssh-3, which run a line as root.
set -eu
folder=$1 tar=$2 image=$3 verify=$7
on() { n=$1; shift; "$folder/ssh-$n" "$@"; }
for n in 1 2 3; do on $n "docker load -q >/dev/null" < "$tar" & done
on 1 "docker swarm init --advertise-addr $4 --data-path-addr $4 --listen-addr 0.0.0.0:2377 >/dev/null"
token=$(on 1 "docker swarm join-token -q manager" </dev/null)
# Managers join one after the other, as with `up`: two that join at once can cost the quorum.
active="until docker info --format '{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}}' | grep -q 'active true'; do sleep 0.25; done"
on 2 "docker swarm join --advertise-addr $5 --data-path-addr $5 --token $token $4:2377 >/dev/null; $active" </dev/null
on 3 "docker swarm join --advertise-addr $6 --data-path-addr $6 --token $token $4:2377 >/dev/null; $active" </dev/null
on 1 "docker network create -d overlay --attachable --subnet 10.90.0.0/16 bench >/dev/null" </dev/null
wait
loop=$(cat "$verify")
for n in 1 2 3; do
    others=$(echo "1 2 3" | tr -d $n)
    {
        for word in started "done"; do
            until [ "$(cat "$folder"/out-? 2>/dev/null | grep -cx $word)" = 3 ]; do sleep 0.05; done
            echo go
        done
    } |
        on $n "set -- bench $image $n $others; $loop" > "$folder/out-$n" 2>&1 &
done
wait
! grep -vx -e started -e "done" "$folder"/out-?
