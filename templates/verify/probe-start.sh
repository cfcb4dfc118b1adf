# Starts the probe of this host: a container with nginx on the network under test. Removes leftovers of killed runs first.
# Arguments: CLUSTER NETWORK IMAGE NAME LIFETIME NONCE PUBLISH [RUN...]. PUBLISH is ADDRESS::80 where others ask this host for it, else empty;
# the runs are those that were killed.
# Exit status 3: the image is not here. 4: the engine or its store's agent is down, and nobody is starting it.
# 5: the engine is stopped.
set -eu
cluster=$1 network=$2 image=$3 name=$4 lifetime=$5 nonce=$6 publish=$7
shift 7
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
# The configuration is made inside, from arguments, so that any image with sh, nginx and wget will do. The large body is
# longer than any Ethernet frame, jumbo frames included: it only arrives if full packets do.
start() {
    docker run -d --rm "$@" --name "$name" --hostname "$name" --network "$network" ${publish:+-p "$publish"} \
        --label "$label=$cluster" --label "docker-cluster.expires=$((now + lifetime))" \
        --entrypoint sh "$image" -c '
        nonce=$1
        # A variable, repeated: nginx takes no parameter longer than 4096 bytes.
        kilo=$(printf "%01000d" 0); large="\$kilo\$kilo\$kilo\$kilo\$kilo"; large="$large$large$large"
        printf "%s\n" "daemon off; user root; worker_processes 1; pid /tmp/probe.pid; error_log /dev/stderr crit;" \
            "events { worker_connections 256; }" \
            "http { access_log off; default_type text/plain; keepalive_timeout 0; client_max_body_size 1m;" \
            "client_body_temp_path /tmp/body; proxy_temp_path /tmp/proxy; fastcgi_temp_path /tmp/fcgi; uwsgi_temp_path /tmp/uwsgi; scgi_temp_path /tmp/scgi;" \
            "server { listen 80; location = /nonce { return 200 \"$nonce\n\"; } location = /large { set \$kilo $kilo; return 200 \"$nonce $large\n\"; }" \
            "location = /upload { proxy_pass http://127.0.0.1/nonce; } } }" > /tmp/probe.conf
        # The engine removes the container when nginx ends: a run that was killed leaves nothing for longer than this.
        (sleep "$2"; kill 1) &
        exec nginx -c /tmp/probe.conf' probe "$nonce" "$lifetime" 2>&1 >/dev/null
}
failed() {
    printf '%s\n' "$words" >&2
    case $words in
    *"No such image"*) exit 3 ;;
    # An engine finds no network while its store's agent is down.
    *"not found"*) if stays_down docker-cluster-consul.service; then exit 4; fi ;;
    esac
    exit 1
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
