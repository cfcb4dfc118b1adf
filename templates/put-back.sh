# Puts files back as they were before they were last written.
# Arguments: KEY PATH, KEY PATH and so on.
set -eu
folder=/var/lib/docker-cluster/record
tmp=
trap '[ -z "$tmp" ] || rm -f "$tmp"' EXIT
while [ $# -ge 2 ]; do
    key=$1 path=$2
    shift 2
    [ -e "$folder/$key.was" ] || continue
    if [ -L "$path" ]; then path=$(readlink -f "$path"); fi
    # Somebody may have changed it since it was written: their work is kept beside it.
    written=$(sed -n 's/.*"sha256":"\([0-9a-f]*\)".*/\1/p' "$folder/$key.json" 2>/dev/null || true)
    restored=$(cat "$folder/$key.now" 2>/dev/null || true)
    now=
    [ ! -e "$path" ] || now=$(sha256sum < "$path" | cut -d' ' -f1)
    if [ -n "$now" ] && [ -n "$written" ] && [ "$now" != "$written" ] && [ "$now" != "$restored" ]; then
        kept=$path.kept number=1
        while [ -e "$kept" ]; do number=$((number + 1)); kept=$path.kept.$number; done
        cp -p -- "$path" "$kept"
        echo "$path was changed by somebody since it was written; their version is kept as $kept" >&2
    fi
    read -r kind _ < "$folder/$key.was"
    if [ "$kind" = file ]; then
        tmp=$(mktemp "$(dirname "$path")/.docker-cluster.XXXXXX")
        cp -p "$folder/$key.was.bytes" "$tmp"
        mv -f "$tmp" "$path"
    else
        rm -f "$path"
    fi
    if [ -e "$folder/$key.was.written" ]; then mv -f "$folder/$key.was.written" "$folder/$key.written"; else rm -f "$folder/$key.written"; fi
    rm -f "$folder/$key.start" "$folder/$key.now"
    # The record says again what it said before, or nothing: a file that never worked is not one of ours.
    if [ -e "$folder/$key.was.record" ]; then mv -f "$folder/$key.was.record" "$folder/$key.json"; else rm -f "$folder/$key.json" "$folder/$key.origin" "$folder/$key.bytes" "$folder/$key.written"; fi
    rm -f "$folder/$key.was" "$folder/$key.was.bytes"
done
