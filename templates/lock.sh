# Holds the lock of a cluster on this host for as long as heartbeats come on standard input.
# Arguments: PATH INFO SECONDS. Prints "locked", or "held" and who holds it.
# The lock is the kernel's (flock), so a holder that dies in whatever way releases it, and /run is empty after a boot.
path=$1 info=$2 seconds=$3
exec 9>>"$path"
if ! flock -n 9; then echo held; cat "$path"; exit 0; fi
printf '%s\n' "$info" > "$path"
echo locked
while beat=$(timeout "$seconds" head -c 1) && [ -n "$beat" ]; do :; done
: > "$path"
