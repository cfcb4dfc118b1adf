# Removes packages with apt or, where an installation failed half-way, with dpkg. Arguments: purge PACKAGE..., or undo, which takes what
# the installation wrote down.
#
# Their configuration goes with them, their data does not: a purge runs the packages' own scripts, and some of those delete what the
# program has written since (/var/lib/docker with all volumes, /var/lib/consul). What was on the host before the packages, and what
# somebody has changed or asked for since, stays.
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
# Seconds that another apt is waited for, as when they were installed.
LOCK=300
folder=/var/lib/docker-cluster/record
saved=$folder/conffiles
way=$1
shift
state() { dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null || true; }
noted() { grep -qsxF -- "$1" "$folder/made"; }
apt() { apt-get -q -y -o "DPkg::Lock::Timeout=$LOCK" -o Dpkg::Use-Pty=0 "$@" < /dev/null; }
# Puts files of configuration back that a purge took along. Also what a run before this one saved that was cut off.
put_back() {
    [ -d "$saved" ] || return 0
    (cd "$saved" && find . ! -type d) | sed 's/^\.//' | while IFS= read -r path; do
        # One that is there is as it was, but for its mode, or somebody's of a later day.
        if { [ ! -e "$path" ] && [ ! -L "$path" ]; } || cmp -s -- "$saved$path" "$path"; then
            (umask 022; mkdir -p "$(dirname "$path")")
            cp -a -- "$saved$path" "$path"
        fi
        rm -f -- "$(dirname "$path")/.docker-cluster.keeps"
    done
    rm -rf -- "$saved"
}
put_back

if [ "$way" = undo ]; then
    [ -s "$folder/packages.now" ] || exit 0
    # shellcheck disable=SC2046 # a list of names
    set -- $(cat "$folder/packages.now")
fi
there=$(for package in "$@"; do
    case $(state "$package") in ''|un*) continue ;; esac
    if [ "$package" = consul ] && systemctl is-active --quiet consul; then
        echo "consul stays: somebody runs it, as consul.service" >&2
        continue
    fi
    # What came along for others, and was asked for by name since, is somebody's own by now.
    case $package in docker.io|docker-cli|docker-ce-cli|consul|bird2|openvswitch-switch|ethtool|wireguard-tools|wireguard-go) ;; *)
        if [ "$way" = purge ] && [ -n "$(apt-mark showmanual "$package" 2>/dev/null)" ]; then
            echo "$package stays: somebody has asked for it since" >&2
            continue
        fi ;;
    esac
    echo "$package"
done)
if [ "$way" = purge ] && [ -n "$there" ]; then
    # If the removal would take something along that is not on the list, it was installed since, and needs what is on it.
    # shellcheck disable=SC2086 # a list of names
    along=$(apt -s remove -- $there | sed -n 's/^Remv \([^ ]*\) .*/\1/p' | while read -r package; do
        echo " $there " | tr '\n' ' ' | grep -qF " $package " || echo "$package"
    done)
    if [ -n "$along" ]; then
        echo "$(echo $along) needs packages that docker-cluster installed; nothing was removed. Remove it first, or keep them." >&2
        exit 1
    fi
fi
# Those whose configuration goes as well.
purged=$(for package in $there; do
    # It was so before: removed, with its configuration kept.
    if noted "config $package"; then continue; fi
    # Its purge deletes the folder, whoever filled it, and the user that its files belong to.
    if [ "$package" = consul ] && [ -n "$(ls -A /var/lib/consul 2>/dev/null)" ]; then
        echo "the configuration of consul stays: its purge would delete what is in /var/lib/consul" >&2
        continue
    fi
    echo "$package"
done)
# Of that, what is not ours to take is saved; before the removal, which takes the x off scripts in /etc/init.d.
for package in $purged; do
    dpkg-query -W -f '${Conffiles}\n' "$package" | while read -r path sum _; do
        [ -f "$path" ] || continue
        if noted "conffile $package $path" || [ "$(md5sum < "$path" | cut -d' ' -f1)" != "$sum" ]; then
            # With a link, what it points at as well: dpkg removes both. The folder keeps its owner and mode by not being empty.
            for one in "$path" "$(readlink -f "$path")"; do
                (umask 077; mkdir -p "$saved$(dirname "$one")")
                [ -e "$saved$one" ] || [ -L "$saved$one" ] || cp -a -- "$one" "$saved$one"
                : > "$(dirname "$one")/.docker-cluster.keeps"
            done
        fi
    done
done
if [ -d "$saved" ]; then sync; fi

installed=$(for package in $there; do case $(state "$package") in ?c*) ;; *) echo "$package" ;; esac; done)
# shellcheck disable=SC2086 # a list of names
if [ -n "$installed" ]; then
    if [ "$way" = undo ]; then
        dpkg --remove --force-remove-reinstreq --force-depends $installed < /dev/null
    else
        apt remove -- $installed
    fi
fi
for package in $purged; do
    # This is what the purge of docker.io runs to empty /var/lib/docker; its removal has put it there.
    if [ "$package" = docker.io ]; then rm -f /var/lib/docker/nuke-graph-directory.sh; fi
done
# shellcheck disable=SC2086 # a list of names
if [ -n "$purged" ]; then
    if [ "$way" = undo ]; then
        dpkg --purge --force-remove-reinstreq --force-depends $purged < /dev/null
    else
        apt purge -- $purged
    fi
fi
put_back
# The package made it and does not remove it. Whoever is in it was put there by somebody.
case $(state docker.io) in ''|un*)
    # Another engine, which somebody has put in its place, gives its socket to that group.
    if noted "group docker.io docker" && [ -z "$(getent group docker | cut -d: -f4)" ] && ! command -v dockerd >/dev/null && ! systemctl cat docker.socket >/dev/null 2>&1; then
        groupdel docker 2>/dev/null || true
    fi ;;
esac

[ "$way" = undo ] || exit 0
while read -r package; do
    awk -v package="$package" '!($2 == package && $1 ~ /^(package|config|conffile|data|group)$/)' "$folder/made" > "$folder/.made.tmp"
    mv -f "$folder/.made.tmp" "$folder/made"
done < "$folder/packages.now"
rm -f "$folder/packages.now"
