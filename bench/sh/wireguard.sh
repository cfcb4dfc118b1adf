# `routed` over WireGuard by hand, on one of two hosts: wg-quick, a bridge network, two routes and the rules. As root.
#   key                                       installs what it needs, makes the key, prints the public one
#   up OWN OTHER OTHER-ADDRESS OTHER-KEY IMAGE  OWN and OTHER are 1 and 2; starts a container on the network and prints its address
set -eu
export DEBIAN_FRONTEND=noninteractive
case $1 in
    key)
        { apt-get -q update && apt-get -q install -y --no-install-recommends wireguard-tools wireguard-go; } >/dev/null 2>&1
        umask 077
        wg genkey > /etc/wireguard/key
        wg pubkey < /etc/wireguard/key
        ;;
    up)
        own=$2 other=$3
        mkdir -p /dev/net
        [ -e /dev/net/tun ] || mknod /dev/net/tun c 10 200
        umask 077
        cat > /etc/wireguard/wg0.conf <<CONF
[Interface]
PrivateKey = $(cat /etc/wireguard/key)
Address = 10.99.0.$own/24
ListenPort = 51820
[Peer]
PublicKey = $5
AllowedIPs = 10.99.0.$other/32, 10.91.$other.0/24
Endpoint = $4:51820
PersistentKeepalive = 25
CONF
        # It routes to what is in AllowedIPs.
        wg-quick up wg0 >/dev/null 2>&1
        mtu=$(cat /sys/class/net/wg0/mtu)
        docker network create -d bridge --subnet "10.91.$own.0/24" -o com.docker.network.bridge.enable_ip_masquerade=false \
            -o com.docker.network.driver.mtu="$mtu" hand >/dev/null
        iptables -w -I DOCKER-USER -s 10.91.0.0/16 -d 10.91.0.0/16 -j ACCEPT
        docker run -d --name hand --network hand --entrypoint sleep "$6" 100000 >/dev/null
        docker inspect --format '{{.NetworkSettings.Networks.hand.IPAddress}} {{.State.Pid}}' hand
        ;;
esac
