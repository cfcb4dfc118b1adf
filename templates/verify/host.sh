# What of this host decides whether the overlay's packets pass, for the report on a pair that fails. Reads only.
# Arguments: ADDRESS NETWORK. Lines: KEY VALUE.
address=$1 network=$2
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
say() { [ -n "$2" ] && printf '%s %s\n' "$1" "$2"; }
first() { head -c 400 "$1" 2>/dev/null | head -n 1; }
say neighbours-refused "$(neighbours_refused)"
say sources-refused "$(sources_refused)"
read -r of_all 2>/dev/null < /proc/sys/net/ipv4/conf/all/rp_filter
for path in /proc/sys/net/ipv4/conf/*/rp_filter; do
    # The kernel gives these a byte at a time, and no end of the line: `read` says that it failed.
    read -r its 2>/dev/null < "$path"
    name=${path%/rp_filter} name=${name##*/}
    # The kernel takes the greater of the two; 2 is content with any way back.
    [ "${its:-0}" -gt "${of_all:-0}" ] || its=$of_all
    case $name in all | default | lo) ;; *) [ "$its" != 1 ] || say strict-source "$name" ;; esac
done
say forwarding "$(first /proc/sys/net/ipv4/ip_forward)"
say bridge-netfilter "$(first /proc/sys/net/bridge/bridge-nf-call-iptables)"
say forward-policy "$(iptables -w 2 -S FORWARD 2>/dev/null | sed -n 's/^-P FORWARD //p')"
device=$(ip -o -4 address show 2>/dev/null | awk -v want="$address" '{ split($4, net, "/"); if (net[1] == want) { print $2; exit } }')
device=${device%%@*}
say device "$device"
if [ -n "$device" ]; then
    driver=$(readlink "/sys/class/net/$device/device/driver")
    say driver "${driver##*/}"
    say mtu "$(first "/sys/class/net/$device/mtu")"
    say tunnel-checksum-offload "$(ethtool -k "$device" 2>/dev/null | sed -n 's/^tx-udp_tnl-csum-segmentation: \([a-z]*\).*/\1/p')"
fi
# Rules that throw packets away, for a firewall of the host's own that is in the way.
iptables-save 2>/dev/null | grep -E -e '-j (DROP|REJECT)' | head -n 40 | while read -r rule; do say rule "$rule"; done
nft list ruleset 2>/dev/null | grep -E '\b(drop|reject)\b' | grep -E '4789|7946|udp|tcp' | head -n 20 | while read -r rule; do say nft "$rule"; done
# The engine's own last words on networks.
if [ -d /run/systemd/system ]; then
    journalctl -q -u docker --no-pager -n 300 -o cat --since -10min 2>/dev/null | grep -E 'level=(warning|error|fatal)' | tail -n 15 | cut -c 1-400 |
        while read -r line; do say engine "$line"; done
fi
# The endpoints that this engine knows, by id: a remote one is ep-ID. An engine whose store has no leader takes half a minute to say that
# it knows no such network; one that is well and busy, a few seconds.
# An engine that hangs is asked once, and one that is stopped never: the question would start it.
if engine_is_stopped; then exit 0; fi
known=$(timeout -k 1 10 docker network inspect --format '{{.Id}}{{"\n"}}{{range $key, $value := .Containers}}{{$key}} {{$value.EndpointID}} {{$value.Name}}{{"\n"}}{{end}}' "$network" 2>/dev/null)
status=$?
case $status in 124 | 137) hangs=yes ;; *) hangs= ;; esac
if [ $status = 0 ]; then
    if [ "$(printf '%s\n' "$known" | grep -c .)" -lt 2000 ]; then say endpoints-known yes; fi
    printf '%s\n' "$known" | sed 1d | grep . | head -n 2000 | while read -r line; do say endpoint "$line"; done
fi
# Which containers there are: an engine goes on listing the endpoint of one that was removed while the store was away.
if [ -z "$hangs" ] && containers=$(timeout -k 1 10 docker ps -aq --no-trunc 2>/dev/null) && [ "$(printf '%s\n' "$containers" | grep -c .)" -lt 2000 ]; then
    say containers-known yes
    printf '%s\n' "$containers" | grep . | while read -r line; do say container "$line"; done
fi
# Whom the probe of this host was told of, when it asked for those of the others.
[ -n "$hangs" ] || for probe in $(timeout -k 1 10 docker ps -q --filter label=docker-cluster.probe 2>/dev/null | head -n 4); do
    timeout -k 1 10 docker exec "$probe" cat /proc/net/arp 2>/dev/null | awk '$3 == "0x2" { print $1, $4 }' | head -n 200 | while read -r line; do say heard "$line"; done
done
# The network as the kernel has it here, in a namespace that the engine names after it: its own FORWARD policy, which br_netfilter
# applies to what the network's bridge forwards, and behind which host the network believes each MAC address to be.
id=$(printf '%s\n' "$known" | sed -n 's/^\([0-9a-z]\{10\}\)[0-9a-z]*$/\1/p;q')
for space in /var/run/docker/netns/*-"${id:-none}"; do
    [ -e "$space" ] || continue
    say space "$space"
    say space-forward-policy "$(nsenter --net="$space" iptables -w 2 -S FORWARD 2>/dev/null | sed -n 's/^-P FORWARD //p')"
    say space-bridge-netfilter "$(nsenter --net="$space" cat /proc/sys/net/bridge/bridge-nf-call-iptables 2>/dev/null | head -n 1)"
    # What the engine has entered stays; what the kernel has learned from packets that came is no word of the engine's.
    nsenter --net="$space" bridge fdb show 2>/dev/null |
        sed -n -e '/ dst /!d' -e 's/^\([0-9a-f:]*\) .* dst \([0-9.]*\) .*\(permanent\|static\).*/\1 \2 told/p' -e t -e 's/^\([0-9a-f:]*\) .* dst \([0-9.]*\) .*/\1 \2 learned/p' |
        head -n 2000 | while read -r line; do say behind "$line"; done
    nsenter --net="$space" ip -4 neigh show 2>/dev/null | sed -n 's/^\([0-9.]*\) .* lladdr \([0-9a-f:]*\) .*/\1 \2/p' | head -n 2000 |
        while read -r line; do say neighbour "$line"; done
done
exit 0
