# Holds this host for one run, whatever its cluster is called, for as long as heartbeats come on standard input.
# Arguments: CLUSTER INFO SECONDS. Prints "locked", or "held" and who holds it, or "cannot" and why; then a line for each heartbeat.
# The lock is the kernel's (flock), so a holder that dies in whatever way releases it, and /run is empty after a boot.
path=/run/docker-cluster.lock own=/run/docker-cluster-$1.lock info=$2 seconds=$3
# Who can read a file can lock it: nobody but root is to.
umask 077
command -v flock >/dev/null 2>&1 || { echo "cannot: there is no flock (util-linux) on it"; exit 0; }
true >>"$path" || { echo "cannot: $path cannot be written"; exit 0; }
# Who has just got it writes its name in the next moment, and who lets go takes its name away a moment before: while the file is empty it
# is tried again, for two seconds. Arguments: DESCRIPTOR FILE
lock() {
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        ! flock -n "$1" || return 0
        [ ! -s "$2" ] || return 1
        sleep 0.1
    done
    return 1
}
held() { echo held; cat "$1"; exit 0; }
exec 9>>"$path"
chmod 600 "$path"
lock 9 "$path" || held "$path"
# At once: who is refused is to read a name.
printf '%s\n' "$info" > "$path"
# Until 0.1 each cluster's name had a lock of its own: somebody with such a version may be at work under any of them, and must see ours.
for other in /run/docker-cluster-*.lock; do
    [ -e "$other" ] || continue
    exec 7>>"$other"
    lock 7 "$other" || { : > "$path"; held "$other"; }
    exec 7>&-
done
exec 8>>"$own"
chmod 600 "$own"
lock 8 "$own" || { : > "$path"; held "$own"; }
printf '%s\n' "$info" > "$own"
echo locked
# What waits for a heartbeat must not keep the lock when this shell is killed.
while beat=$(timeout "$seconds" head -c 1 8>&- 9>&-) && [ -n "$beat" ]; do echo "$beat"; done
: > "$path"
: > "$own"
