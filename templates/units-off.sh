# Stops units and takes them out of the boot. Arguments: units. One that is not there is off: a run that was cut off may have left only
# some of them.
set -eu
for unit in "$@"; do
    systemctl cat "$unit" >/dev/null 2>&1 || continue
    systemctl disable --now "$unit"
done
