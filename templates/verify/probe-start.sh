# Starts the probe of this host: a container with nginx on the network under test. Removes leftovers of killed runs first.
# Arguments: CLUSTER NETWORK IMAGE NAME LIFETIME NONCE PUBLISH SERVE [RUN...]. PUBLISH is ADDRESS::80 where others ask this host for it, else empty;
# SERVE is probe-serve.sh; the runs are those that were killed.
# Exit status 3: the image is not here. 4: the engine or its store's agent is down, and nobody is starting it.
# 5: the engine is stopped.
set -eu
cluster=$1 network=$2 image=$3 name=$4 lifetime=$5 nonce=$6 publish=$7 serve=$8
shift 8
now=$(date +%s)
label=docker-cluster.probe
if engine_is_stopped; then case $state in *ActiveState=failed*) echo "it has failed" >&2; exit 4 ;; *) exit 5 ;; esac; fi
# An engine that hangs or is down shows it at its first question.
probes=$(timeout -k 1 15 docker ps -a --filter "label=$label" --format '{{.Names}} {{.Label "docker-cluster.expires"}}') ||
    { case $? in 124 | 137) echo "it does not answer" >&2 ;; *) if stays_down docker.service; then exit 4; fi ;; esac; exit 1; }
# A leftover is a probe whose time is over, or one of a run that its own machine knows to be dead. Others are at work.
printf '%s\n' "$probes" | while read -r other expires; do
    [ -n "$other" ] || continue
    [ "${expires:-0}" -ge "$now" ] || docker rm -f "$other" >/dev/null 2>&1 || true
    for run in "$@"; do
        case $other in "dc-probe-$run-"*) docker rm -f "$other" >/dev/null 2>&1 || true ;; esac
    done
done
start() {
    docker run -d --rm "$@" --name "$name" --hostname "$name" --network "$network" ${publish:+-p "$publish"} \
        --label "$label=$cluster" --label "docker-cluster.expires=$((now + lifetime))" \
        --entrypoint sh "$image" -c "$serve" probe "$nonce" "$lifetime" 2>&1 >/dev/null
}
# An image that is not here is not for the engine to fetch, as it would without a word. Docker's client before 20.10 cannot be told so, and
# asks first, which takes as long as a start of the client.
words=$(start --pull never) || case $words in
    *"unknown flag"*)
        docker image inspect "$image" >/dev/null 2>&1 || exit 3
        words=$(start) || failed
        ;;
    *) failed ;;
esac
# Its address, for the probes that go without a name, its MAC address, by which the other hosts look for it, what is counted until the end,
# and the port that is published.
docker inspect --format "{{with index .NetworkSettings.Networks \"$network\"}}{{.IPAddress}} {{.MacAddress}}{{end}} $(neighbours_refused) $(sources_refused)\
{{range index .NetworkSettings.Ports \"80/tcp\"}} {{.HostPort}}{{end}}" "$name"
