# Holds this host for one run, whatever its cluster is called, for as long as heartbeats come on standard input.
# Arguments: CLUSTER INFO SECONDS. Prints "locked", or "held" and who holds it, or "cannot" and why; then a line for each heartbeat.
# The lock is the kernel's (flock), so a holder that dies in whatever way releases it, and /run is empty after a boot.
path=/run/docker-cluster.lock own=/run/docker-cluster-$1.lock info=$2 seconds=$3
# Who can read a file can lock it: nobody but root is to.
umask 077
command -v flock >/dev/null 2>&1 || { echo "cannot: there is no flock (util-linux) on it"; exit 0; }
true >>"$path" || { echo "cannot: $path cannot be written"; exit 0; }
# Who has just got it writes its name in the next moment: an empty file is looked at again, for two seconds.
held() {
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do [ ! -s "$1" ] || break; sleep 0.1; done
    echo held; cat "$1"; exit 0
}
exec 9>>"$path"
chmod 600 "$path"
flock -n 9 || held "$path"
# At once: who is refused is to read a name.
printf '%s\n' "$info" > "$path"
# Until 0.1 each cluster's name had a lock of its own: somebody with such a version may be at work under any of them, and must see ours.
for other in /run/docker-cluster-*.lock; do
    [ ! -e "$other" ] || flock -n "$other" true || { : > "$path"; held "$other"; }
done
exec 8>>"$own"
chmod 600 "$own"
flock -n 8 || { : > "$path"; held "$own"; }
printf '%s\n' "$info" > "$own"
echo locked
# What waits for a heartbeat must not keep the lock when this shell is killed.
while beat=$(timeout "$seconds" head -c 1 8>&- 9>&-) && [ -n "$beat" ]; do echo "$beat"; done
: > "$path"
: > "$own"
