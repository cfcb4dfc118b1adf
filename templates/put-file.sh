# Puts a file in place, whole or not at all, and keeps what was there before.
# Arguments: PATH MODE OWNER SHA256 KEY RECORD_JSON UNIT (which reads it when it starts, or nothing); MODE is octal, or keep: then mode
# and owner are those of the file that is there. The bytes come on standard input, after this script is read.
# The script itself is an argument of sh -c, so that standard input is all content.
#
# In the record, per file: KEY.origin and KEY.bytes (before the first write), KEY.was and KEY.was.bytes (before the last one),
# KEY.written (what was written, unless it is secret), KEY.start (which start of UNIT was the present one then) and KEY.json (by whom,
# when, checksums). KEY.was.record and KEY.was.written are those of before the last write.
set -eu
umask 077
path=$1 mode=$2 owner=$3 sum=$4 key=$5 record=$6 unit=$7
folder=/var/lib/docker-cluster/record
mkdir -p "$folder"
# A symbolic link stays a link: what it points at is replaced.
if [ -L "$path" ]; then target=$(readlink -f "$path"); else target=$path; fi
dir=$(dirname "$target")
# A folder that is made for this file is written down, so that it can go when nothing is in it any more.
if [ ! -d "$dir" ]; then
    made=$dir
    while [ ! -d "$(dirname "$made")" ]; do made=$(dirname "$made"); done
    printf 'folder %s\n' "$made" >> "$folder/made"
    (umask 022; mkdir -p "$dir")
fi
tmp=$(mktemp "$dir/.docker-cluster.XXXXXX")
trap 'rm -f "$tmp"' EXIT
cat > "$tmp"
# A connection that broke half-way ends the input early: only the whole content is taken.
if [ "$(sha256sum < "$tmp" | cut -d' ' -f1)" != "$sum" ]; then
    echo "$path: the content arrived incomplete; nothing was changed" >&2
    exit 1
fi
if [ "$mode" = keep ]; then
    if [ -e "$target" ]; then
        chown --reference="$target" "$tmp"
        chmod --reference="$target" "$tmp"
    else
        chown root:root "$tmp"
        chmod 0644 "$tmp"
    fi
else
    chown "$owner" "$tmp"
    chmod "$mode" "$tmp"
fi
# keep NAME: what is there now, as NAME and, if there is anything, its bytes as BYTES. The description comes last: it says that the
# bytes are whole.
keep() {
    if [ -e "$target" ]; then
        cp -p -- "$target" "$folder/.$key.tmp"
        mv -f "$folder/.$key.tmp" "$folder/$2"
        printf 'file %s %s\n' "$(stat -c '%a %u:%g' -- "$target")" "$(sha256sum < "$target" | cut -d' ' -f1)" > "$folder/.$key.tmp"
    else
        echo absent > "$folder/.$key.tmp"
    fi
    mv -f "$folder/.$key.tmp" "$folder/$1"
}
# A run that was cut off right before its last line.
if [ -e "$folder/.$key.written" ] && grep -qF "$(sha256sum < "$folder/.$key.written" | cut -d' ' -f1)" "$folder/$key.json" 2>/dev/null; then
    mv -f "$folder/.$key.written" "$folder/$key.written"
fi
[ -e "$folder/$key.origin" ] || keep "$key.origin" "$key.bytes"
keep "$key.was" "$key.was.bytes"
if [ -e "$folder/$key.json" ]; then cp -p "$folder/$key.json" "$folder/$key.was.record"; else rm -f "$folder/$key.was.record"; fi
if [ -e "$folder/$key.written" ]; then cp -p "$folder/$key.written" "$folder/$key.was.written"; else rm -f "$folder/$key.was.written"; fi
start=$(cat "$folder/$key.start" 2>/dev/null || true)
rm -f "$folder/$key.start" "$folder/$key.now"
if [ -n "$unit" ]; then systemctl show -p InvocationID "$unit" | sed -n 's/^InvocationID=//p' > "$folder/$key.start"; fi
# What everybody may read is kept as it was written, for the day when it is merged with what others made of it.
case $mode in *4|*5|keep) cp "$tmp" "$folder/.$key.written" ;; *) rm -f "$folder/.$key.written" ;; esac
printf '%s\n' "$record" > "$folder/.$key.tmp"
sync "$tmp" "$folder/.$key.tmp" "$folder/.$key.written" 2>/dev/null || sync
# The record first, then the file, then what was written: wherever this ends, the checksum in the record tells which of the two texts of
# the file is there.
mv -f "$folder/.$key.tmp" "$folder/$key.json"
if ! mv -f "$tmp" "$target"; then
    # It cannot be replaced (immutable, a mount of its own): nothing was written.
    if [ -e "$folder/$key.was.record" ]; then mv -f "$folder/$key.was.record" "$folder/$key.json"; else rm -f "$folder/$key.json" "$folder/$key.origin" "$folder/$key.bytes"; fi
    rm -f "$folder/$key.was" "$folder/$key.was.bytes" "$folder/$key.was.written" "$folder/$key.start" "$folder/.$key.written"
    [ -z "$start" ] || printf '%s\n' "$start" > "$folder/$key.start"
    exit 1
fi
[ ! -e "$folder/.$key.written" ] || mv -f "$folder/.$key.written" "$folder/$key.written"
trap - EXIT
