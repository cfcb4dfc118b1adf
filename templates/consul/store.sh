#!/bin/sh
# Written by docker-cluster: consul with the environment that reaches the local agent.
#   store wait SECONDS   waits until the store has a leader; always succeeds, so that a host without quorum still boots
#   store ARGUMENT...    runs consul with these arguments
export CONSUL_HTTP_ADDR=https://127.0.0.1:{{ port }} CONSUL_CACERT={{ folder }}/ca.pem
export CONSUL_CLIENT_CERT={{ folder }}/agent.pem CONSUL_CLIENT_KEY={{ folder }}/agent-key.pem
consul={{ consul }}
[ "$1" = wait ] || exec "$consul" "$@"
end=$(( $(date +%s) + $2 ))
while :; do
    said=$("$consul" kv get -keys docker/ 2>&1 >/dev/null) && exit 0
    # A refused token has been looked up, which takes a leader: the first start, before tokens are registered.
    case $said in *' 403'*) exit 0 ;; esac
    [ "$(date +%s)" -lt "$end" ] || { echo "no leader within $2 s, going on without: $said" >&2; exit 0; }
    sleep 0.5
done
