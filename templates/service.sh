# Starts or restarts a unit; if it does not come up, its own last words are the error.
# Arguments: VERB UNIT
verb=$1 unit=$2
# A unit that has failed too often in a row is not tried again by systemd: this start is meant.
systemctl reset-failed "$unit" 2>/dev/null
said=$(systemctl "$verb" "$unit" 2>&1) && exit 0
echo "$said" >&2
journalctl -u "$unit" -n 12 --no-pager -o cat >&2
exit 1
