# Installs packages with apt: PACKAGE or PACKAGE=VERSION each. What is there stays as it is.
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C NEEDRESTART_MODE=a
# Another apt (a timer, a person) may hold the lock: it is waited for this long, in seconds. An unattended upgrade of a slow
# machine takes some minutes.
LOCK=300
# Every fetch is tried this often: mirrors are many machines behind one name, and one of them may be out.
apt() { apt-get -q -o "DPkg::Lock::Timeout=$LOCK" -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 "$@"; }
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
# What this adds is written down before it is there: `down --purge` takes it away again, and so does a failure half-way.
folder=/var/lib/docker-cluster/record
(umask 077; mkdir -p "$folder"; touch "$folder/made")
apt install -s --no-install-recommends -- "$@" | sed -n 's/^Inst \([^ ]*\) .*/\1/p' | while read -r package; do
    # An upgrade of a package that is there is no addition.
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || echo "$package"
done > "$folder/packages.now"
while read -r package; do
    grep -qxF "package $package" "$folder/made" || echo "package $package" >> "$folder/made"
done < "$folder/packages.now"
apt install -y --no-install-recommends -- "$@"
rm -f "$folder/packages.now"
mv -f "$fetched.now" "$fetched" || true
