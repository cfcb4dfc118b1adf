#!/bin/sh
# Written by docker-cluster: starts containers that the engine could not attach to the overlay at its own start because the
# store had no leader yet. Such a container is left exited with 255 although its restart policy says otherwise.
network={{ network }}
until {{ store }} kv get -keys docker/ >/dev/null 2>&1; do sleep 2; done
until docker network inspect "$network" >/dev/null 2>&1; do sleep 2; done
for id in $(docker ps -aq --no-trunc --filter status=exited --filter exited=255 --filter "network=$network"); do
    case $(docker inspect --format '{% raw %}{{.HostConfig.RestartPolicy.Name}}{% endraw %}' "$id") in
    always|unless-stopped|on-failure) docker start "$id" ;;
    esac
done
