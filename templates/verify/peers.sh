# Who is on the network, by the word of this host's engine, and which addresses are this host's own. Reads only.
# Arguments: NETWORK [version], the second to be told the engine's version as well.
# Lines: `peer ADDRESS`, `own ADDRESS`, `sealed` for a network that was made to be encrypted, `version VERSION`. No peers where the engine does
# not have the network open, and for an overlay over a store.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
if engine_is_stopped; then exit 0; fi
# An engine with a store is in no swarm (it refuses to be in both), and its client, which would say so as well, takes longer to start.
if [ -z "${2:-}" ] && grep -qs '"cluster-store"' /etc/docker/daemon.json; then exit 0; fi
if [ "${2:-}" = version ]; then timeout -k 1 10 docker version --format 'version {{.Server.Version}}' 2>/dev/null; fi
said=$(timeout -k 1 10 docker network inspect --format '{{range .Peers}}peer {{.IP}}{{"\n"}}{{end}}{{range $key, $value := .Options}}{{if eq $key "encrypted"}}sealed{{"\n"}}{{end}}{{end}}' "$1" 2>/dev/null) || exit 0
printf '%s\n' "$said"
case $said in *peer*) ip -o address show 2>/dev/null | sed -n 's/^.* inet6\{0,1\} \([0-9a-f.:]*\).*/own \1/p' ;; esac
