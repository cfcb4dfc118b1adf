# Puts a file in place, whole or not at all, and keeps what was there before.
# Arguments: PATH MODE OWNER SHA256 KEY RECORD_JSON; the bytes come on standard input, after this script is read.
# The script itself is an argument of sh -c, so that standard input is all content.
set -eu
umask 077
path=$1 mode=$2 owner=$3 sum=$4 key=$5 record=$6
folder=/var/lib/docker-cluster/record
dir=$(dirname "$path")
mkdir -p "$folder"
if [ ! -d "$dir" ]; then (umask 022; mkdir -p "$dir"); fi
tmp=$(mktemp "$dir/.docker-cluster.XXXXXX")
trap 'rm -f "$tmp"' EXIT
cat > "$tmp"
# A connection that broke half-way ends the input early: only the whole content is taken.
if [ "$(sha256sum < "$tmp" | cut -d' ' -f1)" != "$sum" ]; then
    echo "$path: the content arrived incomplete; nothing was changed" >&2
    exit 1
fi
chown "$owner" "$tmp"
chmod "$mode" "$tmp"
# What was there before is kept once: the first time that this file is written.
if [ ! -e "$folder/$key.origin" ]; then
    if [ -e "$path" ]; then
        cp -p -- "$path" "$folder/$key.bytes"
        printf 'file %s %s\n' "$(stat -c '%a %u:%g' -- "$path")" "$(sha256sum < "$path" | cut -d' ' -f1)" > "$folder/.$key.tmp"
    else
        echo absent > "$folder/.$key.tmp"
    fi
    mv -f "$folder/.$key.tmp" "$folder/$key.origin"
fi
printf '%s\n' "$record" > "$folder/.$key.tmp"
sync "$tmp" "$folder/.$key.tmp" 2>/dev/null || sync
mv -f "$folder/.$key.tmp" "$folder/$key.json"
# A symbolic link stays a link: what it points at is replaced.
if [ -L "$path" ]; then path=$(readlink -f "$path"); fi
mv -f "$tmp" "$path"
trap - EXIT
