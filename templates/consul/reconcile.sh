#!/bin/sh
# Written by docker-cluster: what engines with a network in the store do not do by themselves.
network={{ network }}
until {{ store }} kv get -keys docker/ >/dev/null 2>&1; do sleep 2; done
until docker network inspect "$network" >/dev/null 2>&1; do sleep 2; done
# A container that the engine could not attach to the overlay at its own start, because the store had no leader yet, is left exited
# with 255 although its restart policy says otherwise.
for id in $(docker ps -aq --no-trunc --filter status=exited --filter exited=255 --filter "network=$network"); do
    case $(docker inspect --format '{% raw %}{{.HostConfig.RestartPolicy.Name}}{% endraw %}' "$id") in
    always|unless-stopped|on-failure) docker start "$id" ;;
    esac
done
{%- if server %}
# An engine learns the names of other hosts' containers from a watch of the network in the store, which ends for good at its first
# error (a leader that changes is enough), until something changes below docker/nodes/: only then libnetwork's host discovery watches
# anew. The engines' heartbeats were such changes, but Consul no longer counts a write of what is there already. An entry without
# an address is passed over by the engines, and its flags make each write a change. Every server does it, so that one at least is
# up; a client has no need to.
while :; do
    {{ store }} kv put -flags="$(date +%s)" docker/nodes/docker-cluster >/dev/null 2>&1
    # Well within the time that `verify` gives a pair.
    sleep 10
done
{%- endif %}
