# Who is on the network, by the word of this host's engine, and which addresses are this host's own. Reads only. Argument: NETWORK.
# Lines: `peer ADDRESS`, `own ADDRESS`. None where the engine does not have the network open, and for an overlay over a store.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
peers=$(timeout -k 1 10 docker network inspect --format '{{range .Peers}}peer {{.IP}}{{"\n"}}{{end}}' "$1" 2>/dev/null) || exit 0
[ -n "$peers" ] || exit 0
printf '%s\n' "$peers"
ip -o address show 2>/dev/null | sed -n 's/^.* inet6\{0,1\} \([0-9a-f.:]*\).*/own \1/p'
