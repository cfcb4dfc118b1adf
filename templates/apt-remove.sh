# Removes packages with apt, their configuration included. Arguments: their names. What somebody else's package needs stays.
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
# Seconds that another apt is waited for, as when they were installed.
LOCK=300
there=$(for package in "$@"; do
    case $(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null) in ''|un*) ;; *) echo "$package" ;; esac
done)
[ -n "$there" ] || exit 0
# If the removal would take something along that is not on the list, it was installed since, and needs what is on it.
# shellcheck disable=SC2086 # a list of names
along=$(apt-get -s purge -- $there | sed -n 's/^\(Remv\|Purg\) \([^ ]*\) .*/\2/p' | while read -r package; do
    echo " $there " | tr '\n' ' ' | grep -qF " $package " || echo "$package"
done)
if [ -n "$along" ]; then
    echo "$(echo $along) needs packages that docker-cluster installed; nothing was removed. Remove it first, or keep them." >&2
    exit 1
fi
# shellcheck disable=SC2086 # a list of names
apt-get -q -y -o "DPkg::Lock::Timeout=$LOCK" -o Dpkg::Use-Pty=0 purge -- $there
