# Installs packages with apt: PACKAGE or PACKAGE=VERSION each. What is there stays as it is: nothing is removed or downgraded for them,
# no file is written over, and somebody's own configuration is kept.
set -eu
folder=/var/lib/docker-cluster/record
(umask 077; mkdir -p "$folder"; touch "$folder/made")
# A list that a run left which was cut off is not this one's: what it names may be in use by now.
rm -f "$folder/packages.now"
export DEBIAN_FRONTEND=noninteractive LC_ALL=C NEEDRESTART_MODE=a
# Another apt (a timer, a person) may hold the lock: it is waited for this long, in seconds. An unattended upgrade of a slow
# machine takes some minutes.
LOCK=300
# Every fetch is tried this often: mirrors are many machines behind one name, and one of them may be out. A file of configuration that
# is there already is somebody's, and is not asked about: there is nobody to answer, and the rest of this script is on standard input.
apt() {
    apt-get -q -o "DPkg::Lock::Timeout=$LOCK" -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 \
        -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@" < /dev/null
}
give_up() { echo "$1" >&2; exit 1; }
# The lists have a lock of their own, which that option does not cover in every apt: it is polled, to the same limit.
wait_lists() {
    end=$(( $(date +%s) + LOCK ))
    until said=$(apt update 2>&1); do
        case $said in
            *"Could not get lock"*) [ "$(date +%s)" -lt "$end" ] || { echo "$said" >&2; return 1; } ;;
            *) echo "$said" >&2; return 1 ;;
        esac
        sleep 1
    done
    # A mirror that does not answer is only a warning to apt; without lists the installation then says so itself.
    echo "$said" | grep -E '^[WE]:' >&2 || true
}
state() { dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null || true; }
# Lines of the record of what was here before a package, by which its removal knows what to leave. Each names the package.
note() { grep -qxF -- "$1" "$folder/made" || printf '%s\n' "$1" >> "$folder/made"; }

# Half an installation (packages that only wait for a trigger are none): our own, which was cut off, is ended here; anybody else's is for them to end.
halves=$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' | while read -r state package; do
    case $state in ?[inctW]) ;; *) echo "$package" ;; esac
done)
for package in $halves; do
    grep -qxF "package $package" "$folder/made" || give_up "dpkg was interrupted before: $(echo $halves) are half installed. Nothing was done; run \`dpkg --configure -a\` there first."
done
if [ -n "$halves" ] || ls /var/lib/dpkg/updates/[0-9]* > /dev/null 2>&1; then
    dpkg --force-confdef --force-confold --configure -a < /dev/null >&2
fi

# The lists are fetched once for the installations of one run: they are good for this long, in minutes, unless somebody has changed
# where they come from, or the last installation failed.
LISTS_GOOD=5
fetched=/run/docker-cluster-apt-lists
if [ -n "$(find "$fetched" -mmin "-$LISTS_GOOD" 2>/dev/null)" ] && [ -z "$(find /etc/apt -newer "$fetched" 2>/dev/null)" ]; then
    mv -f "$fetched" "$fetched.now"
else
    rm -f "$fetched"
    wait_lists
    touch "$fetched.now" || true
fi

# What would happen, by apt's own word. The plan has looked as well; this is what counts.
simulated=$(apt install -s --no-install-recommends -- "$@") || { echo "$simulated" >&2; exit 1; }
gone=$(echo "$simulated" | sed -n 's/^Remv \([^ ]*\) .*/\1/p')
[ -z "$gone" ] || give_up "installing $* would remove $(echo $gone), which somebody may need. Nothing was done."
new=$(echo "$simulated" | sed -n 's/^Inst \([^ ]*\) .*/\1/p' | while read -r package; do
    # An upgrade of a package that is there is no addition.
    case $(state "$package") in ?i*) ;; *) echo "$package" ;; esac
done)

# What the packages bring is known before any of it is unpacked.
apt install -y --download-only --no-install-recommends --no-remove -- "$@"
archives=$(apt-config shell archives Dir::Cache::archives/d | sed "s/^archives='\(.*\)'\$/\1/")
brings() { for deb in "$archives${1%%:*}"_*.deb; do [ ! -e "$deb" ] || dpkg-deb --ctrl-tarfile "$deb" | tar -xO "./$2" 2>/dev/null || true; done; }
owned() { dpkg-query -S "$1" > /dev/null 2>&1 || dpkg-query -S "/usr$1" > /dev/null 2>&1 || dpkg-query -S "${1#/usr}" > /dev/null 2>&1; }
# dpkg writes over a file that no package owns, and does not tell. Links are on no list, and to unpack all of it only for those would
# take seconds: these are the ones of programs.
links() { case $1 in runc) echo /usr/bin/runc ;; docker.io) echo /usr/bin/docker-init ;; esac; }
over=$(for package in $new; do
    { brings "$package" md5sums | sed 's/^[0-9a-f]*  */\//'; links "$package"; } | while IFS= read -r path; do
        if [ -e "$path" ] && ! owned "$path"; then echo "$path"; fi
    done
done | sort -u)
[ -z "$over" ] || give_up "installing $* would write over files that somebody put there by hand: $(echo $over). Nothing was done; move them away first."
for package in $new; do
    # Of one that was removed and not purged the configuration is still here, and with it what its purge would do.
    case $(state "$package") in ?c*) note "config $package" ;; esac
    brings "$package" conffiles | sort -u | while IFS= read -r path; do
        case $path in /*) ;; *) continue ;; esac
        if [ -e "$path" ] || [ -L "$path" ]; then note "conffile $package $path"; fi
    done
    case $package in
        docker.io)
            [ -z "$(ls -A /var/lib/docker 2>/dev/null)" ] || note "data docker.io /var/lib/docker"
            getent group docker > /dev/null || note "group docker.io docker" ;;
        # Its purge removes the user as well, and this one is somebody's.
        consul) ! getent passwd consul > /dev/null || note "config consul" ;;
        containerd) [ -z "$(ls -A /var/lib/containerd 2>/dev/null)" ] || note "data containerd /var/lib/containerd" ;;
    esac
done
# What this adds is written down before it is there: `down --purge` takes it away again, and so does a failure half-way.
for package in $new; do note "package $package"; done
sync "$folder/made" 2>/dev/null || sync
for package in $new; do echo "$package"; done > "$folder/packages.now"
apt install -y --no-install-recommends --no-remove -- "$@"
# What an engine brings came along for it, whoever was first. That somebody asks for it by name is told by that from now on.
if echo "$new" | grep -qx iptables; then apt-mark auto iptables > /dev/null; fi
rm -f "$folder/packages.now"
mv -f "$fetched.now" "$fetched" || true
