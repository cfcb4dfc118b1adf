# Stops units and takes them out of the boot. Arguments: units. One that is not there is off: a run that was cut off may have left only
# some of them.
set -eu
for unit in "$@"; do
    if ! systemctl cat "$unit" >/dev/null 2>&1; then
        # Its file may be gone while it still runs.
        if systemctl -q is-active "$unit"; then systemctl stop "$unit"; fi
        continue
    fi
    systemctl disable --now "$unit"
done
