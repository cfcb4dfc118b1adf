# The facts of one host, in one round trip. It only reads: no installs, no files written, no module loaded.
#
# Output: a line "@NAME" opens a section; every content line begins with "|", so that no content can open one. Runs as root
# under any POSIX sh.
LC_ALL=C; export LC_ALL
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; export PATH
# A section is cut at this many bytes: no honest fact is longer, and a host must not be able to fill our memory.
MAX=1048576
s() { echo "@$1"; shift; "$@" 2>/dev/null | head -c $MAX | sed 's/^/|/'; echo; }
f() { if [ -e "$2" ]; then s "$1" cat "$2"; fi; }
have() { command -v "$1" >/dev/null 2>&1; }
# A daemon that hangs must not hang the facts of its host.
t() { timeout -k 1 10 "$@"; }

s begin echo 1
s clock date +%s
f os-release /etc/os-release
s uname uname -srm
s hostname cat /proc/sys/kernel/hostname
f machine-id /etc/machine-id
f boot-id /proc/sys/kernel/random/boot_id

kernel_config() {
    if [ -r /proc/config.gz ]; then zcat /proc/config.gz; else cat "/boot/config-$(uname -r)"; fi
}
modules() {
    config=$(kernel_config 2>/dev/null | grep -E '^(# )?CONFIG_(VXLAN|BRIDGE|VETH|BRIDGE_NETFILTER|NF_NAT|IP_VS|INET_ESP|XFRM_USER)[ =]')
    while read -r module option; do
        if [ -d "/sys/module/$module" ]; then state=loaded
        elif printf '%s\n' "$config" | grep -q "^CONFIG_$option=y"; then state=builtin
        elif grep -qs "/$module\.ko" "/lib/modules/$(uname -r)/modules.builtin"; then state=builtin
        elif modprobe -n -q "$module" 2>/dev/null; then state=available
        elif printf '%s\n' "$config" | grep -q "^CONFIG_$option=m"; then state=missing
        elif printf '%s\n' "$config" | grep -q "CONFIG_$option is not set"; then state=missing
        elif [ -n "$config" ] && [ -n "$option" ]; then state=missing
        else state=unknown
        fi
        echo "$module $state"
    done <<END
vxlan VXLAN
bridge BRIDGE
veth VETH
br_netfilter BRIDGE_NETFILTER
nf_nat NF_NAT
ip_vs IP_VS
esp4 INET_ESP
END
}
s modules modules

s links ip -o link show
s addresses ip -o addr show
s routes ip -4 -o route show
s tcp sh -c 'cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep " 0A "'
s udp sh -c 'cat /proc/net/udp /proc/net/udp6 2>/dev/null'

if [ -d /run/systemd/system ]; then s init echo systemd; else s init cat /proc/1/comm; fi
managers() { for m in apt-get dnf yum zypper apk pacman; do have $m && echo $m; done; true; }
s package-managers managers
if have apt-cache; then s candidates sh -c 'apt-cache policy docker.io consul | grep -E "^[a-z]|Candidate:"'; fi

# The engine: the binary, where its options come from, and what it says of itself.
dockerd=$(command -v dockerd)
if [ -n "$dockerd" ]; then
    s dockerd-path echo "$dockerd"
    version=$(t dockerd --version 2>/dev/null)
    s dockerd-version echo "$version"
    case $version in
    *" version 1."*|*" version 17."*|*" version 18."*|*" version 19."*|*" version 20."*)
        backends() { for b in consul etcd zookeeper; do grep -qaF "libkv/store/$b" "$dockerd" && echo $b; done; true; }
        s kv-backends backends ;;
    esac
fi
f daemon-json /etc/docker/daemon.json
s daemon-json-mode stat -c '%a %u:%g' /etc/docker/daemon.json
f default-docker /etc/default/docker
f sysconfig-docker /etc/sysconfig/docker
if [ -d /run/systemd/system ]; then
    s units systemctl show -p Id -p LoadState -p ActiveState -p SubState -p UnitFileState -p FragmentPath -p DropInPaths -p NeedDaemonReload -p MainPID \
        docker.service docker.socket docker-cluster-consul.service docker-cluster-reconcile.service consul.service apt-daily.service unattended-upgrades.service
    s docker-exec sh -c 'systemctl cat docker.service | grep -E "^(ExecStart|EnvironmentFile|Environment)[[:space:]]*="'
    s docker-environment systemctl show -p Environment docker.service
fi
# The identity of the engine, without the private key that is beside it in the file.
s engine-key sed -n 's/.*"kid" *: *"\([A-Z0-9:]*\)".*/\1/p' /etc/docker/key.json
if have docker && [ -n "$dockerd" ]; then
    s docker-info t docker info --format '{{json .}}'
    containers() {
        ids=$(t docker ps -aq --no-trunc) || return
        [ -z "$ids" ] && return
        t docker inspect --format '{{json .Name}} {{json .State.Status}} {{json .HostConfig.RestartPolicy.Name}} {{json .Config.Labels}} {{json .NetworkSettings.Networks}} {{json .State.ExitCode}}' $ids
    }
    s containers containers
    networks() {
        ids=$(t docker network ls -q --no-trunc) || return
        [ -z "$ids" ] && return
        t docker network inspect --format '{{json .}}' $ids
    }
    s networks networks
    s images t docker images --no-trunc --format '{{.Repository}}:{{.Tag}} {{.ID}}'
fi
f swarm-cert /var/lib/docker/swarm/certificates/swarm-node.crt
if [ -f /var/lib/docker/swarm/certificates/swarm-node.crt ] && have docker; then
    nodes() {
        ids=$(t docker node ls -q) || return
        t docker node inspect --format '{{json .}}' $ids
    }
    s nodes nodes
fi

# The store and what docker-cluster has written here.
etc=/etc/docker-cluster
state=/var/lib/docker-cluster
consul=$(command -v consul || { [ -x /usr/local/lib/docker-cluster/consul ] && echo /usr/local/lib/docker-cluster/consul; })
if [ -n "$consul" ]; then
    s consul-path echo "$consul"
    s consul-version t "$consul" version
    s consul-sha256 sh -c 'sha256sum /usr/local/lib/docker-cluster/consul'
fi
if [ -f $etc/consul/ca.pem ] && [ -n "$consul" ]; then
    export CONSUL_HTTP_ADDR=https://127.0.0.1:8501 CONSUL_CACERT=$etc/consul/ca.pem CONSUL_CLIENT_CERT=$etc/consul/agent.pem CONSUL_CLIENT_KEY=$etc/consul/agent-key.pem
    ready() { if t "$consul" kv get -keys docker/ 2>&1; then echo ready; fi; }
    s store-ready ready
    s store-members t "$consul" members
fi
files() {
    for folder in $etc $state/secrets /usr/local/lib/docker-cluster; do
        [ -d $folder ] && find $folder -type f -exec stat -c '%a %U:%G %n' {} +
    done
    for unit in /etc/systemd/system/docker-cluster-*; do [ -f "$unit" ] && stat -c '%a %U:%G %n' "$unit"; done
    true
}
s files files
sums() {
    for folder in $etc $state/secrets /usr/local/lib/docker-cluster; do
        [ -d $folder ] && find $folder -type f -exec sha256sum {} +
    done
    for unit in /etc/systemd/system/docker-cluster-*; do [ -f "$unit" ] && sha256sum "$unit"; done
    [ -f /etc/docker/daemon.json ] && sha256sum /etc/docker/daemon.json
    true
}
s sums sums
f migration $state/migration.json
f store-config $etc/consul/agent.json
f agent-cert $etc/consul/agent.pem
f engine-cert $etc/consul/engine.pem
f ca-cert $etc/consul/ca.pem
records() { for r in $state/record/*.json; do [ -f "$r" ] && cat "$r" && echo; done; true; }
s records records
# What was there before, by file: `KEY file MODE OWNER SHA256` or `KEY absent [FOLDER]`.
origins() { for o in $state/record/*.origin; do [ -f "$o" ] && echo "$(basename "$o" .origin) $(cat "$o")"; done; true; }
s origins origins
f made $state/record/made
# The engine's options before docker-cluster came, and as it last wrote them: the names are checksums of the path.
f daemon-json-origin $state/record/5a7b8c1bcffb2a0f.bytes
f daemon-json-written $state/record/5a7b8c1bcffb2a0f.written
s sudo-user echo "${SUDO_USER:-root}"
s user-exists sh -c 'getent passwd docker-cluster-store || id docker-cluster-store'
s end echo 1
