# `verify` by hand, on one host: a container with nginx, the same four requests to every other one, and away with it.
# Arguments: NETWORK IMAGE HOST OTHER...   Waits for a line on standard input after the start and
# after the requests: all start before one asks, and all have asked before one goes.
network=$1 image=$2 me=$3; shift 3
docker run -d --rm --name "loop-$me" --hostname "loop-$me" --network "$network" --entrypoint sh "$image" -c '
    kilo=$(printf "%01000d" 0); large="$kilo$kilo$kilo"; large="$large$large$large$large$large"
    printf "%s\n" "daemon off; user root; worker_processes 1; pid /tmp/p; error_log /dev/stderr crit; events {}" \
        "http { access_log off; client_body_temp_path /tmp/b; proxy_temp_path /tmp/x; fastcgi_temp_path /tmp/f; uwsgi_temp_path /tmp/u; scgi_temp_path /tmp/s;" \
        "server { listen 80; location = /nonce { return 200 \"ok\n\"; } location = /large { set \$kilo $kilo; return 200 \"\$kilo\$kilo\$kilo\$kilo\$kilo\$kilo\$kilo\$kilo\$kilo\$kilo\$kilo\$kilo\$kilo\$kilo\$kilo\"; }" \
        "location = /upload { proxy_pass http://127.0.0.1/nonce; } } }" > /tmp/c; exec nginx -c /tmp/c' >/dev/null || exit 1
echo started
read -r go
docker exec "loop-$me" sh -c '
    head -c 20000 /dev/zero | tr "\0" x > /tmp/body
    # A name takes a moment until every host knows it: again and again, as `verify` does.
    get() { for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do wget -q -T 3 -t 1 -O /dev/null "$@" && return; sleep 0.2; done; echo "failed $*"; }
    for other in "$@"; do
        for what in nonce nonce large; do get "http://loop-$other/$what"; done
        get --post-file=/tmp/body "http://loop-$other/upload"
    done' sh "$@"
# The others may still be asking this one.
echo "done"
read -r go
docker rm -f "loop-$me" >/dev/null
