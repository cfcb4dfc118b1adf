# The facts of one host, in one round trip. It only reads: no installs, no files written, no module loaded.
#
# Output: a line "@NAME" opens a section; every content line begins with "|", so that no content can open one; a line "!" at the end says
# that the section is not whole, for whatever reason. Runs as root under any POSIX sh.
#
# The sections are a list. Where the host has Perl (every Debian and Ubuntu has), this shell only says what it wants, and one Perl
# process at the end of the pipe (facts.pl) reads files, asks the engine and the store, and writes all sections: a process of
# its own for each of them, and above all Docker's and Consul's clients, cost twenty times the CPU. Without Perl the same sections
# come from the functions here.
LC_ALL=C; export LC_ALL
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; export PATH
# A section is cut at this many bytes: no honest fact is longer, and a host must not be able to fill our memory.
MAX=1048576
# A list of the engine's may be so many times longer than other sections: a container is a kilobyte or two, with labels of Compose.
ROOMY=8
LACKS=97
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
# b NAME COMMAND...   a command that takes its time: Perl begins it at once, and waits for it at the end; without Perl as `s`
if [ -n "$perl" ]; then
    b() { echo "$mark&$*"; }
    s() { echo "$mark=$1"; shift; "$@" 2>/dev/null; echo; }
    f() { if [ -e "$2" ]; then echo "$mark<$1 $2"; fi; }
    n() { echo "$mark!$*"; }
else
    b() { s "$@"; }
    # Exit status LACKS of a function says that its list is not whole.
    s() {
        echo "@$1"
        most=$MAX
        case $1 in containers | networks | endpoints | images | nodes | swarm-content | volumes) most=$((MAX * ROOMY)) ;; esac
        shift
        said=$("$@" 2>/dev/null)
        lacks=$?
        if [ ${#said} -gt $most ]; then
            lacks=$LACKS
            # At the end of a line: half of one could be taken for another.
            said=$(printf '%s' "$said" | head -c $most | sed '$d')
        fi
        [ -z "$said" ] || printf '%s\n' "$said" | sed 's/^/|/'
        [ $lacks != $LACKS ] || echo '!'
    }
    f() { if [ -e "$2" ]; then s "$1" cat "$2"; fi; }
    n() { section=$1; shift; s "$section" "$(echo "$section" | tr - _)" "$@"; }
fi

# What the first argument asks for beyond the usual: "candidates", "endpoints", "removal", or "data", which is "removal" and sizes.
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
        config=$newline$(kernel_config 2>/dev/null | grep -E '^(# )?CONFIG_(VXLAN|BRIDGE|VETH|BRIDGE_NETFILTER|NF_NAT|IP_VS|MACVLAN|INET_ESP|XFRM_USER|OPENVSWITCH|WIREGUARD)[ =]')$newline
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
macvlan MACVLAN
esp4 INET_ESP
openvswitch OPENVSWITCH
wireguard WIREGUARD
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

# Who configures an interface, as far as that can be told: INTERFACE NAME, and for systemd-networkd the file that it goes by. Read at each
# look, and so without a process of its own.
managers_of_interfaces() {
    for path in /sys/class/net/*; do
        name=${path##*/}
        case $name in lo | veth* | docker* | br-* | dc*) continue ;; esac
        who= by=
        read -r index < "$path/ifindex"
        [ ! -f "/run/systemd/netif/links/$index" ] || while IFS= read -r line; do
            case $line in
                ADMIN_STATE=configured | ADMIN_STATE=configuring) who=systemd-networkd ;;
                NETWORK_FILE=*) by=${line#*=} ;;
            esac
        done < "/run/systemd/netif/links/$index"
        # What netplan lets systemd-networkd do is in a file as any other of it.
        for file in /etc/netplan/*.yaml /run/netplan/*.yaml; do [ -n "$who" ] || [ ! -f "$file" ] || who=netplan; done
        [ -n "$who" ] || [ ! -f "/run/NetworkManager/devices/$index" ] || while IFS= read -r line; do
            case $line in managed=true | managed=full | managed=managed) who=NetworkManager ;; esac
        done < "/run/NetworkManager/devices/$index"
        [ -n "$who" ] || [ ! -s "/run/network/ifstate.$name" ] || who=ifupdown
        [ -n "$who" ] || [ ! -f /run/network/ifstate ] || while IFS= read -r line; do
            case $line in "$name="*) who=ifupdown ;; esac
        done < /run/network/ifstate
        if [ "$who" = systemd-networkd ]; then echo "$name $who $by"; elif [ -n "$who" ]; then echo "$name $who"; fi
    done
}
# The files that systemd-networkd and ifupdown go by, each line with its file.
files_of_managers() {
    for links in /run/systemd/netif/links/*; do
        [ -f "$links" ] || continue
        while IFS= read -r line; do
            case $line in
                NETWORK_FILE=* | NETWORK_FILE_DROPINS=*)
                    line=${line#*=} line=${line#\"}
                    # Not quoted: a list.
                    for file in ${line%\"}; do [ ! -f "$file" ] || with_name "$file" < "$file"; done
                    ;;
            esac
        done < "$links"
    done
    [ -f /run/network/ifstate ] || return 0
    for file in /etc/network/interfaces /etc/network/interfaces.d/*; do [ ! -f "$file" ] || with_name "$file" < "$file"; done
}

# Without Perl.
clock() { date +%s; }
links() { ip -o link show; }
addresses() { ip -o addr show; }
routes() { ip -4 -o route show; }
tcp() { cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep " 0A "; }
udp() { cat /proc/net/udp /proc/net/udp6 2>/dev/null; }
candidates() {
    # Where only the store's program is missing: a member of a swarm needs none.
    if [ "$1" = store ] && [ -n "$(node_certificate)" ]; then return; fi
    apt-cache policy docker.io docker-cli docker-ce-cli consul | grep -E "^[a-z]|Candidate:"
    apt-cache madison docker.io docker-cli | cut -d"|" -f1,2
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
# A unit's file and its drop-ins in their order, each line with its file; without comments, which mean nothing anywhere.
unit_lines() {
    {
        systemctl show -p FragmentPath docker.service | sed 's/^FragmentPath=//'
        systemctl show -p DropInPaths docker.service | sed 's/^DropInPaths=//' | tr ' ' '\n'
    } | while IFS= read -r file; do
        [ -f "$file" ] || continue
        with_name "$file" < "$file" | grep -v '^[^	]*	[[:space:]]*[#;]'
    done
}
with_name() { while IFS= read -r line || [ -n "$line" ]; do printf '%s\t%s\n' "$1" "$line"; done; }
environment_files() {
    unit_lines | sed -n 's/^[^	]*	[[:space:]]*EnvironmentFile[[:space:]]*=[[:space:]]*-\{0,1\}//p' | while IFS= read -r pattern; do
        # Not quoted: it may be a pattern.
        for file in $pattern; do if [ -f "$file" ]; then with_name "$file" < "$file"; fi; done
    done
}
# The process of the engine that this host's socket belongs to; nothing if none runs. The socket itself is not asked: a connection
# would start an engine that is stopped (docker.socket), and facts only read.
engine_pid() {
    own=$(readlink /proc/self/ns/pid)
    read -r pid < /var/run/docker.pid
    for candidate in "/proc/${pid:-none}" /proc/[0-9]*; do
        read -r name < "$candidate/comm" || continue
        # One in a container is another host's engine, one of a user (rootless) has another socket, and one that is asked for its version,
        # as another look at this host does, is none; while that begins and when it has ended it has no words at all.
        case $name in dockerd*) [ "$(readlink "$candidate/ns/pid") $(stat -c %u "$candidate")" = "$own 0" ] || continue ;; *) continue ;; esac
        words=$(tr '\0' '\n' < "$candidate/cmdline")
        [ -n "$words" ] && ! printf '%s\n' "$words" | grep -qxE -e '--version|-v|--validate|--help' || continue
        echo "${candidate#/proc/}"
        return
    done
} 2>/dev/null
engine_process() {
    [ -n "$engine_pid" ] || return 0
    echo "pid $engine_pid"
    echo "exe $(readlink "/proc/$engine_pid/exe")"
    echo "unit $(sed -n 's#.*/\([^/]*\.\(service\|scope\)\)$#\1#p' "/proc/$engine_pid/cgroup" | head -n 1)"
    tr '\n\0' ' \n' < "/proc/$engine_pid/cmdline" | sed 's/^/arg /'
}
# Where the engine keeps what it has: by its own word, else by its options, else where it always was.
data_root() {
    root=
    [ -z "$awake" ] || [ -n "$hangs" ] || root=$(t docker info --format '{{.DockerRootDir}}')
    [ -n "$root" ] || root=$(unit_lines | sed -n "s/.*--data-root[= ][\"']\{0,1\}\([^[:space:]\"']*\).*/\1/p" | tail -n 1)
    [ -n "$root" ] || root=$(sed -n 's/.*"\(data-root\|graph\)"[[:space:]]*:[[:space:]]*"\([^"\\]*\)".*/\2/p' /etc/docker/daemon.json | head -n 1)
    echo "${root:-/var/lib/docker}"
}
node_certificate() {
    root=$(data_root)
    # With userns-remap it is a folder below, and a stopped engine does not say so.
    for path in "$root/swarm/certificates/swarm-node.crt" "$root"/[0-9]*.[0-9]*/swarm/certificates/swarm-node.crt; do
        if [ -f "$path" ]; then echo "$path"; return; fi
    done
}
swarm_cert() { path=$(node_certificate); [ -z "$path" ] || cat "$path"; }
underlay() { t /usr/local/lib/docker-cluster/underlay facts || echo 'wrong the mesh of this host could not be looked at'; }
# What a mesh of WireGuard is made with, as far as it is there.
mesh_programs() { for name in wg wireguard-go; do ! have $name || echo $name; done; }
fabric_wrong() { t /usr/local/lib/docker-cluster/fabric check; [ $? -le 1 ] || echo 'the links of this host could not be looked at'; }
engine_key() { sed -n 's/.*"kid" *: *"\([A-Z0-9:]*\)".*/\1/p' /etc/docker/key.json; }
# A list of the engine's. One that did not come in time, or that the engine refused, is not a list without members. An engine that
# hangs is asked once, one that is stopped never: a question would start it.
whole() {
    [ -n "$awake" ] || return 0
    [ -z "$hangs" ] || return $LACKS
    "$@" || return $LACKS
}
docker_info() { if [ -n "$awake" ] && [ -z "$hangs" ]; then t docker info --format '{{json .}}'; fi; }
containers() { whole list_containers; }
list_containers() {
    ids=$(t docker ps -aq --no-trunc) || return
    [ -n "$ids" ] || return 0
    t docker inspect --format '{{json .Name}} {{json .State.Status}} {{json .HostConfig.RestartPolicy.Name}} {{json .Config.Labels}} {{json .NetworkSettings.Networks}} {{json .State.ExitCode}}' $ids
}
networks() { whole list_networks; }
list_networks() {
    ids=$(t docker network ls -q --no-trunc) || return
    [ -n "$ids" ] || return 0
    t docker network inspect --format '{{json .}}' $ids
}
images() { whole t docker images --no-trunc --format '{{.Repository}}:{{.Tag}} {{.ID}}'; }
# Only a manager of a swarm that has a leader can tell them, and has to.
nodes() {
    told=$(whole t docker info --format '{{.Swarm.ControlAvailable}} {{.Swarm.Error}}') || return $LACKS
    [ "$told" = 'true ' ] || return 0
    whole list_nodes
}
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
    for unit in /etc/systemd/system/docker-cluster-* /etc/systemd/networkd.conf.d/docker-cluster.conf /etc/systemd/system/docker.service.d/zz-docker-cluster.conf /etc/bird/bird.conf /etc/network/interfaces /etc/network/interfaces.d/*; do [ -f "$unit" ] && stat -c '%a %U:%G %n' "$unit"; done
    true
}
sums() {
    for folder in $etc $state/secrets /usr/local/lib/docker-cluster; do
        [ -d $folder ] && find $folder -type f -exec sha256sum {} +
    done
    for unit in /etc/systemd/system/docker-cluster-* /etc/systemd/networkd.conf.d/docker-cluster.conf /etc/systemd/system/docker.service.d/zz-docker-cluster.conf /etc/bird/bird.conf /etc/network/interfaces /etc/network/interfaces.d/*; do [ -f "$unit" ] && sha256sum "$unit"; done
    [ -f /etc/docker/daemon.json ] && sha256sum /etc/docker/daemon.json
    true
}
origins() { for o in $state/record/*.origin; do [ -f "$o" ] && echo "$(basename "$o" .origin) $(cat "$o")"; done; true; }
# Which start of its unit a file was written for, by the file's key in the record: one that is still the present start has not read
# it yet.
written_before() { for o in $state/record/*.start; do [ -f "$o" ] && echo "$(basename "$o" .start) $(cat "$o")"; done; true; }
endpoints() {
    all=$(networks) || return $LACKS
    printf '%s\n' "$all" | grep '"Scope":"global"'
    true
}
records() { for r in $state/record/*.json; do [ -f "$r" ] && cat "$r" && echo; done; true; }
# What a swarm has beside networks: KIND "NAME" {LABELS}. Only a manager knows.
swarm_content() {
    told=$(whole t docker info --format '{{.Swarm.ControlAvailable}}') || return $LACKS
    [ "$told" = true ] || return 0
    whole list_swarm_content
}
list_swarm_content() {
    for kind in service secret config; do
        ids=$(t docker $kind ls -q) || return
        [ -z "$ids" ] || t docker $kind inspect --format "$kind {{json .Spec.Name}} {{json .Spec.Labels}}" $ids || return
    done
}
volumes() { whole list_volumes; }
list_volumes() {
    names=$(t docker volume ls -q --filter driver=local) || return
    # Docker's client tells sizes in words for people only.
    for name in $names; do echo "volume $name "; done
}
user_exists() { getent passwd docker-cluster-store || id docker-cluster-store; }

# What apt and dpkg say of what may be installed, and of what would be in its way. The same with Perl and without.
packages() {
    dpkg-query -W -f '${db:Status-Abbrev}|${Package}|${Version}\n' 'docker*' 'containerd*' 'moby-*' 'podman-docker' 'runc*' 'crun' 'cri-o*' 'kube*' 'lxc-docker*' consul |
        grep -v '^un'
}
halves() {
    dpkg-query -W -f '${db:Status-Abbrev}|${Package}\n' | sed -n '/^.[inctW]/!s/^[^|]*|//p'
    if ls /var/lib/dpkg/updates/[0-9]*; then echo "dpkg's journal"; fi >/dev/null
}
# FOR Remv PACKAGE VERSION, FOR Inst PACKAGE OLD-VERSION, FOR E: WORDS; FOR is what would be installed.
simulate() {
    for one in "$@"; do apt-cache policy "$one" | grep -q 'Candidate: [^(]' || return 0; done
    t apt-get -s install --no-install-recommends "$@" 2>&1 | sed -n "s/^\(Remv\|Inst\) \([^ ]*\) \[\([^]]*\)\].*/$1 \1 \2 \3/p; s/^E: /$1 E: /p; s/^ \([^ ]* : .*\)/$1 E: \1/p"
}
simulation() {
    if [ "$missing" = client ]; then simulate docker-cli; simulate docker-ce-cli; fi
    if [ "$missing" = engine ] || [ "$wanted" = candidates ]; then
        # From some version on the client is a package of its own, of the same version.
        if [ "$(version_of docker.io)" = "$(version_of docker-cli)" ]; then simulate docker.io docker-cli; else simulate docker.io; fi
    fi
    [ -n "$consul" ] || simulate consul
}
version_of() { apt-cache policy "$1" | sed -n 's/^ *Candidate: //p'; }
# Programs of an engine that somebody put here by hand, where packages put theirs.
by_hand() {
    for name in containerd ctr runc docker docker-init docker-proxy; do
        path=$(command -v $name) || continue
        case $path in /usr/bin/*|/bin/*|/usr/sbin/*|/sbin/*) ;; *) continue ;; esac
        dpkg-query -S "$path" >/dev/null || dpkg-query -S "/usr$path" >/dev/null || dpkg-query -S "${path#/usr}" >/dev/null || echo "$path"
    done
}
# Who else uses containerd.
on_containerd() {
    if systemctl is-active --quiet kubelet; then echo "kubelet (active)"; elif have kubelet; then echo "kubelet"; fi
    [ ! -d /etc/kubernetes ] || echo /etc/kubernetes
    for space in /run/containerd/io.containerd.runtime.*/*; do
        case $space in */moby|*'*') continue ;; esac
        count=$(ls "$space" | wc -l)
        [ "$count" -eq 0 ] || echo "$count in containerd's namespace ${space##*/}"
    done
}
# PATH KILOBYTES, or ? for a size that takes too long to find out; without an engine to ask, its volumes as well.
data_folders() {
    for path in /var/lib/docker /var/lib/containerd; do
        [ -n "$(ls -A $path 2>/dev/null)" ] || continue
        size=$(t du -sxk $path) || size='?'
        echo "$path ${size%%[!0-9?]*}"
    done
    [ -n "$dockerd" ] || for path in /var/lib/docker/volumes/*/_data; do
        [ ! -d "$path" ] || { path=${path%/_data}; echo "volume ${path##*/}"; }
    done
}

facts() {
# What there is to ask.
dockerd=$(command -v dockerd)
if [ -z "$dockerd" ]; then
    # One that is on no PATH: from snap, or a program that somebody put elsewhere.
    engine_pid=$(engine_pid)
    if [ -n "$engine_pid" ]; then dockerd=$(readlink "/proc/$engine_pid/exe")
    elif [ -x /snap/docker/current/bin/dockerd ]; then dockerd=/snap/docker/current/bin/dockerd; fi
fi
# Podman has a script that is called like Docker's client.
client=$(command -v docker)
# Its first line comes first, and without a process: a search through Docker's own, a program of 50 MB, takes longer than all else here.
first=
[ -z "$client" ] || IFS= read -r first < "$client"
case $first in '#!'*) ! grep -qs podman "$client" || client="podman $client" ;; esac
engine=
if [ -n "$dockerd" ] && { [ -n "$perl" ] || have docker; }; then engine=yes; fi
# Without Perl: whether there is an engine that a question does not start, and whether it hangs.
awake= hangs=
if [ -z "$perl" ] && [ -n "$engine" ]; then
    engine_pid=${engine_pid:-$(engine_pid)}
    if [ -n "$engine_pid" ] || systemctl -q is-active docker.service 2>/dev/null; then awake=yes; fi
fi
if [ -n "$awake" ]; then
    t docker version >/dev/null 2>&1
    case $? in 124 | 137) hangs=yes ;; esac
fi
consul=$(command -v consul || { [ -x /usr/local/lib/docker-cluster/consul ] && echo /usr/local/lib/docker-cluster/consul; })
agent=
if [ -n "$consul" ] && [ -f $etc/consul/ca.pem ]; then agent=yes; fi
# Perl, which was started meanwhile, begins what others take their time for.
[ -z "$perl" ] || echo "$mark?$engine $agent"

s begin echo 1
b uname uname -srm

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
if have iptables-save && have iptables-restore; then s iptables echo there; fi
if have iptables && { [ -d /sys/class/net/docker0 ] || [ -f /etc/iptables/rules.v4 ]; }; then b input-chain iptables -w 2 -S INPUT; fi

# What may carry the links of this host.
daemons=
for name in bird openvswitch-switch; do
    [ ! -e /lib/systemd/system/$name.service ] || daemons="$daemons $name.service"
done
if [ -d /run/systemd/system ]; then
    b units systemctl show -p Id -p LoadState -p ActiveState -p SubState -p UnitFileState -p FragmentPath -p DropInPaths -p NeedDaemonReload -p MainPID -p InvocationID \
        docker.service docker.socket docker-cluster-consul.service docker-cluster-reconcile.service docker-cluster-fabric.service docker-cluster-underlay.service docker-cluster-underlay-floor.service systemd-networkd.service containerd.service $firewalls $daemons
fi

# What is read here comes next, while the others work.
n clock
f os-release /etc/os-release
f hostname /proc/sys/kernel/hostname
f machine-id /etc/machine-id
f boot-id /proc/sys/kernel/random/boot_id
n modules

n links
n addresses
n routes
s managers managers_of_interfaces
s manager-lines files_of_managers
n tcp
n udp

if [ -d /run/systemd/system ]; then s init echo systemd; else f init /proc/1/comm; fi
s package-managers managers

# The engine: the binary, where its options come from, and what it says of itself.
f daemon-json /etc/docker/daemon.json
n daemon-json-mode
# The socket that every client looks for: its unit stays active when somebody removes it.
if [ -S /var/run/docker.sock ]; then s docker-sock echo there; fi
# The identity of the engine, without the private key that is beside it in the file.
n engine-key
# What an installation was about that was cut off.
f installing $state/record/packages.now
n files
n sums
f migration $state/migration.json
f store-config $etc/consul/agent.json
# What connects this host's containers with others', where that is docker-cluster's own: what was chosen, and what is not as it should be.
f fabric-config $etc/fabric/config
# The mesh that carries it, in the same way.
s mesh-programs mesh_programs
f underlay-config $etc/underlay/config
f agent-cert $etc/consul/agent.pem
f engine-cert $etc/consul/engine.pem
f ca-cert $etc/consul/ca.pem
f api-ca $etc/engine/ca.pem
f api-cert $etc/engine/server.pem
f swarm-manager-cert $etc/swarm/manager.pem
n records
# What was there before, by file: `KEY file MODE OWNER SHA256` or `KEY absent [FOLDER]`.
n origins
n written-before
f made $state/record/made
# The engine's options before docker-cluster came, and as it last wrote them: the names are checksums of the path.
f daemon-json-origin $state/record/5a7b8c1bcffb2a0f.bytes
written=$state/record/5a7b8c1bcffb2a0f.written
# A run was cut off before it gave it its name.
[ ! -e $state/record/.5a7b8c1bcffb2a0f.written ] || written=$state/record/.5a7b8c1bcffb2a0f.written
f daemon-json-written $written
s sudo-user echo "${SUDO_USER:-root}"

# What the others have found out meanwhile.
if [ -d /run/systemd/system ]; then
    n unit-lines
    n environment-files
fi
if [ -n "$dockerd" ]; then
    s dockerd-path echo "$dockerd"
    s docker-client echo "$client"
    if [ -n "$engine" ]; then
        n engine-process
        n docker-info
        n containers
        n networks
        n images
        if [ "$wanted" = endpoints ]; then n endpoints; fi
        n nodes
        case $wanted in removal|data) n swarm-content ;; esac
        if [ "$wanted" = data ]; then n volumes; fi
    fi
    n dockerd-version "$dockerd"
    n kv-backends "$dockerd"
fi
n swarm-cert

# The store.
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
elif [ "${client#podman}" != "$client" ] || [ -z "$client" ]; then missing=client
elif [ -z "$consul" ] && [ ! -f /var/lib/docker/swarm/certificates/swarm-node.crt ]; then missing=store; fi
if [ "$wanted" = candidates ]; then missing=${missing:-candidates}; fi
if have apt-cache && [ -n "$missing" ]; then
    n candidates "$missing"
    case $wanted in removal|data) ;; *) s packages packages; s on-containerd on_containerd ;; esac
    s halves halves
    s simulation simulation
    if [ "$missing" = engine ]; then s by-hand by_hand; fi
fi
case $wanted in removal|data) s packages packages; s on-containerd on_containerd ;; esac
if [ "$wanted" = data ]; then s data-folders data_folders; fi
# Our own looks at the links and at the mesh.
if [ -x /usr/local/lib/docker-cluster/fabric ]; then n fabric-wrong; fi
if [ -x /usr/local/lib/docker-cluster/underlay ] && [ -f $etc/underlay/config ]; then n underlay; fi
n user-exists
s end echo 1
}

if [ -z "$perl" ]; then facts; else facts | "$perl" /dev/fd/3 "$mark" $MAX 3<<'END_OF_PERL'
