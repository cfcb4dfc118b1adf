# Leaves the swarm, and takes it out of the record: what this host joins later is not docker-cluster's. Arguments: what
# `docker swarm leave` is given.
set -eu
made=/var/lib/docker-cluster/record/made
state=$(docker info --format '{{.Swarm.LocalNodeState}}')
[ "$state" = inactive ] || docker swarm leave "$@"
[ -e "$made" ] || exit 0
umask 077
grep -v '^swarm' "$made" > "$made.tmp" || true
mv -f "$made.tmp" "$made"
# A record in which nothing is left goes as well: no `down` would come for it.
[ -s "$made" ] || { rm -f "$made"; rmdir "${made%/*}" /var/lib/docker-cluster 2>/dev/null || true; }
