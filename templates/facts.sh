# The facts of one host, in one round trip. It only reads: no installs, no files written, no module loaded.
#
# Output: a line "@NAME" opens a section; every content line begins with "|", so that no content can open one. Runs as root
# under any POSIX sh.
#
# The sections are a list. Where the host has Perl (every Debian and Ubuntu has), this shell only says what it wants, and one Perl
# process at the end of the pipe (facts.pl) reads files, asks the engine and the store, and writes all sections: a process of
# its own for each of them, and above all Docker's and Consul's clients, cost twenty times the CPU. Without Perl the same sections
# come from the functions here.
LC_ALL=C; export LC_ALL
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; export PATH
# A section is cut at this many bytes: no honest fact is longer, and a host must not be able to fill our memory.
MAX=1048576
have() { command -v "$1" >/dev/null 2>&1; }
# A daemon that hangs must not hang the facts of its host.
t() { timeout -k 1 10 "$@"; }
# What opens a section on the way to Perl: no content can know it.
read -r mark < /proc/sys/kernel/random/uuid
perl=$(command -v perl)
# What a host's own settings would make of Perl is not what the other half is written for.
unset PERL_UNICODE PERL5OPT PERL5LIB

# s NAME COMMAND...   the output of a command or of a function of this script
# f NAME PATH         a file, if it is there
# n NAME [ARGUMENT]   what Perl does by itself, in one process; without Perl the function `NAME` here, with - as _
if [ -n "$perl" ]; then
    s() { echo "$mark=$1"; shift; "$@" 2>/dev/null; echo; }
    f() { if [ -e "$2" ]; then echo "$mark<$1 $2"; fi; }
    n() { echo "$mark!$*"; }
else
    s() { echo "@$1"; shift; "$@" 2>/dev/null | head -c $MAX | sed 's/^/|/'; echo; }
    f() { if [ -e "$2" ]; then s "$1" cat "$2"; fi; }
    n() { section=$1; shift; s "$section" "$(echo "$section" | tr - _)" "$@"; }
fi

# What the first argument asks for beyond the usual: "candidates" or "endpoints".
wanted=${1:-}
etc=/etc/docker-cluster
state=/var/lib/docker-cluster
newline='
'

kernel_config() {
    if [ -r /proc/config.gz ]; then zcat /proc/config.gz; else cat "/boot/config-$release"; fi
}
# Whether the kernel's configuration has that line.
configured() {
    # Read when the first module is not loaded, and once.
    if [ -z "$config" ]; then
        config=$newline$(kernel_config 2>/dev/null | grep -E '^(# )?CONFIG_(VXLAN|BRIDGE|VETH|BRIDGE_NETFILTER|NF_NAT|IP_VS|INET_ESP|XFRM_USER)[ =]')$newline
    fi
    case $config in *"$newline$1$newline"*) return 0 ;; *) return 1 ;; esac
}
modules() {
    config=
    read -r release < /proc/sys/kernel/osrelease
    while read -r module option; do
        if [ -d "/sys/module/$module" ]; then found=loaded
        elif configured "CONFIG_$option=y"; then found=builtin
        elif grep -qs "/$module\.ko" "/lib/modules/$release/modules.builtin"; then found=builtin
        elif modprobe -n -q "$module" 2>/dev/null; then found=available
        elif configured "CONFIG_$option=m"; then found=missing
        elif configured "# CONFIG_$option is not set"; then found=missing
        elif [ "$config" != "$newline$newline" ]; then found=missing
        else found=unknown
        fi
        echo "$module $found"
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
managers() { for m in apt-get dnf yum zypper apk pacman; do have $m && echo $m; done; true; }

# The zones of firewalld: the administrator's own files, and the packaged one of the default zone.
firewalld_zones() {
    zone=$(sed -n 's/^DefaultZone=//p' /etc/firewalld/firewalld.conf 2>/dev/null | head -n 1)
    for file in /etc/firewalld/zones/*.xml "/usr/lib/firewalld/zones/${zone:-public}.xml"; do
        [ -f "$file" ] || continue
        name=${file##*/}
        echo "zone ${name%.xml}"
        cat "$file"
        echo
    done
}

# Without Perl.
clock() { date +%s; }
links() { ip -o link show; }
addresses() { ip -o addr show; }
routes() { ip -4 -o route show; }
tcp() { cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep " 0A "; }
udp() { cat /proc/net/udp /proc/net/udp6 2>/dev/null; }
candidates() {
    apt-cache policy docker.io consul | grep -E "^[a-z]|Candidate:"
    apt-cache madison docker.io | cut -d"|" -f1,2
}
dockerd_version() { t "$1" --version; }
kv_backends() {
    case $(t "$1" --version 2>/dev/null) in
    *" version 1."*|*" version 17."*|*" version 18."*|*" version 19."*|*" version 20."*) ;;
    *) return ;;
    esac
    for b in consul etcd zookeeper; do grep -qaF "libkv/store/$b" "$1" && echo $b; done; true
}
daemon_json_mode() { stat -c '%a %u:%g' /etc/docker/daemon.json; }
docker_exec() { systemctl cat docker.service | grep -E "^(ExecStart|EnvironmentFile|Environment)[[:space:]]*="; }
docker_environment() { systemctl show -p Environment docker.service; }
engine_key() { sed -n 's/.*"kid" *: *"\([A-Z0-9:]*\)".*/\1/p' /etc/docker/key.json; }
# A list of the engine's ends with "incomplete" where the answer did not come in time. An engine that hangs is asked once.
whole() {
    if [ -n "$hangs" ]; then echo incomplete; return; fi
    "$@"
    case $? in 124 | 137) echo incomplete ;; esac
}
docker_info() { [ -n "$hangs" ] || t docker info --format '{{json .}}'; }
containers() { whole list_containers; }
list_containers() {
    ids=$(t docker ps -aq --no-trunc) || return
    [ -z "$ids" ] && return
    t docker inspect --format '{{json .Name}} {{json .State.Status}} {{json .HostConfig.RestartPolicy.Name}} {{json .Config.Labels}} {{json .NetworkSettings.Networks}} {{json .State.ExitCode}}' $ids
}
networks() { whole list_networks; }
list_networks() {
    ids=$(t docker network ls -q --no-trunc) || return
    [ -z "$ids" ] && return
    t docker network inspect --format '{{json .}}' $ids
}
images() { whole t docker images --no-trunc --format '{{.Repository}}:{{.Tag}} {{.ID}}'; }
nodes() { whole list_nodes; }
list_nodes() {
    ids=$(t docker node ls -q) || return
    t docker node inspect --format '{{json .}}' $ids
}
consul_version() { t "$1" version; }
as_agent() {
    CONSUL_HTTP_ADDR=https://127.0.0.1:8501 CONSUL_CACERT=$etc/consul/ca.pem CONSUL_CLIENT_CERT=$etc/consul/agent.pem CONSUL_CLIENT_KEY=$etc/consul/agent-key.pem t "$@"
}
store_ready() { if as_agent "$1" kv get -keys docker/ 2>&1; then echo ready; fi; }
store_members() { as_agent "$1" members; }
files() {
    for folder in $etc $state/secrets /usr/local/lib/docker-cluster; do
        [ -d $folder ] && find $folder -type f -exec stat -c '%a %U:%G %n' {} +
    done
    for unit in /etc/systemd/system/docker-cluster-*; do [ -f "$unit" ] && stat -c '%a %U:%G %n' "$unit"; done
    true
}
sums() {
    for folder in $etc $state/secrets /usr/local/lib/docker-cluster; do
        [ -d $folder ] && find $folder -type f -exec sha256sum {} +
    done
    for unit in /etc/systemd/system/docker-cluster-*; do [ -f "$unit" ] && sha256sum "$unit"; done
    [ -f /etc/docker/daemon.json ] && sha256sum /etc/docker/daemon.json
    true
}
origins() { for o in $state/record/*.origin; do [ -f "$o" ] && echo "$(basename "$o" .origin) $(cat "$o")"; done; true; }
endpoints() { networks | grep -E '"Scope":"global"|^incomplete$'; }
records() { for r in $state/record/*.json; do [ -f "$r" ] && cat "$r" && echo; done; true; }
user_exists() { getent passwd docker-cluster-store || id docker-cluster-store; }

# What there is to ask.
dockerd=$(command -v dockerd)
engine=
if [ -n "$dockerd" ] && have docker; then engine=yes; fi
hangs=
if [ -z "$perl" ] && [ -n "$engine" ]; then
    t docker version >/dev/null 2>&1
    case $? in 124 | 137) hangs=yes ;; esac
fi
consul=$(command -v consul || { [ -x /usr/local/lib/docker-cluster/consul ] && echo /usr/local/lib/docker-cluster/consul; })
agent=
if [ -n "$consul" ] && [ -f $etc/consul/ca.pem ]; then agent=yes; fi

facts() {
s begin echo 1
n clock
f os-release /etc/os-release
s uname uname -srm
f hostname /proc/sys/kernel/hostname
f machine-id /etc/machine-id
f boot-id /proc/sys/kernel/random/boot_id
n modules

n links
n addresses
n routes
n tcp
n udp

if [ -d /run/systemd/system ]; then s init echo systemd; else f init /proc/1/comm; fi
s package-managers managers

# The firewall, where it may throw away what no rule lets in: the files of those who keep one, and the kernel's own chain where an engine, or
# somebody else, has rules in it already. To ask for it elsewhere could load modules.
firewalls=
f ufw-conf /etc/ufw/ufw.conf
if [ -f /etc/ufw/ufw.conf ]; then
    f ufw-default /etc/default/ufw
    f ufw-rules /etc/ufw/user.rules
fi
if [ -d /etc/firewalld ]; then
    firewalls=firewalld.service
    f firewalld-conf /etc/firewalld/firewalld.conf
    s firewalld-zones firewalld_zones
fi
if [ -f /etc/nftables.conf ]; then
    firewalls="$firewalls nftables.service"
    f nftables-conf /etc/nftables.conf
fi
if have iptables && { [ -d /sys/class/net/docker0 ] || [ -f /etc/iptables/rules.v4 ]; }; then s input-chain iptables -w 2 -S INPUT; fi

# The engine: the binary, where its options come from, and what it says of itself.
f daemon-json /etc/docker/daemon.json
n daemon-json-mode
f default-docker /etc/default/docker
f sysconfig-docker /etc/sysconfig/docker
if [ -d /run/systemd/system ]; then
    s units systemctl show -p Id -p LoadState -p ActiveState -p SubState -p UnitFileState -p FragmentPath -p DropInPaths -p NeedDaemonReload -p MainPID -p Environment \
        docker.service docker.socket docker-cluster-consul.service docker-cluster-reconcile.service $firewalls
    n docker-exec
    n docker-environment
fi
# The socket that every client looks for: its unit stays active when somebody removes it.
if [ -S /var/run/docker.sock ]; then s docker-sock echo there; fi
# The identity of the engine, without the private key that is beside it in the file.
n engine-key
if [ -n "$dockerd" ]; then
    s dockerd-path echo "$dockerd"
    if [ -n "$engine" ]; then
        n docker-info
        n containers
        n networks
        n images
        if [ "$wanted" = endpoints ]; then n endpoints; fi
        if [ -f /var/lib/docker/swarm/certificates/swarm-node.crt ]; then n nodes; fi
    fi
    n dockerd-version "$dockerd"
    n kv-backends "$dockerd"
fi
f swarm-cert /var/lib/docker/swarm/certificates/swarm-node.crt

# The store and what docker-cluster has written here.
if [ -n "$consul" ]; then
    s consul-path echo "$consul"
    if [ -n "$agent" ]; then
        n store-ready "$consul"
        n store-members "$consul"
    fi
    n consul-version "$consul"
fi
# What apt would install is only asked where something may be missing, or where somebody wants to upgrade: it reads all of apt's
# lists. A member of a swarm needs no Consul.
missing=
if [ -z "$dockerd" ]; then missing=engine
elif [ -z "$consul" ] && [ ! -f /var/lib/docker/swarm/certificates/swarm-node.crt ]; then missing=store; fi
if have apt-cache && { [ -n "$missing" ] || [ "$wanted" = candidates ]; }; then n candidates; fi
n files
n sums
f migration $state/migration.json
f store-config $etc/consul/agent.json
f agent-cert $etc/consul/agent.pem
f engine-cert $etc/consul/engine.pem
f ca-cert $etc/consul/ca.pem
n records
# What was there before, by file: `KEY file MODE OWNER SHA256` or `KEY absent [FOLDER]`.
n origins
f made $state/record/made
# The engine's options before docker-cluster came, and as it last wrote them: the names are checksums of the path.
f daemon-json-origin $state/record/5a7b8c1bcffb2a0f.bytes
f daemon-json-written $state/record/5a7b8c1bcffb2a0f.written
s sudo-user echo "${SUDO_USER:-root}"
n user-exists
s end echo 1
}

if [ -z "$perl" ]; then facts; else facts | "$perl" /dev/fd/3 "$mark" $MAX "$engine" "$agent" 3<<'END_OF_PERL'
