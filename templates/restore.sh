# Puts a file back as it was before docker-cluster came.
# Arguments: KEY PATH SHA256 WAY RECORD; WAY is original, aside (it has changes of others and is moved out of the way), or merged: then
# what is left of it comes on standard input. RECORD is drop, or keep: then the record stays, and what is there
# now is kept in it, so that put-back.sh brings back what worked.
set -eu
umask 077
key=$1 path=$2 sum=$3 way=$4 record=$5
folder=/var/lib/docker-cluster/record
given=$path
if [ -L "$path" ]; then path=$(readlink -f "$path"); fi
if [ -e "$path" ] && [ "$(sha256sum < "$path" | cut -d' ' -f1)" != "$sum" ]; then
    echo "$path was changed a moment ago, by somebody else; nothing was done to it. Run the same command again." >&2
    exit 1
fi
kind=absent
[ ! -e "$folder/$key.origin" ] || read -r kind _ < "$folder/$key.origin"
if [ "$record" = keep ]; then
    # As in put-file.sh: the description comes last, and says that the bytes are whole.
    rm -f "$folder/$key.was"
    if [ -e "$path" ]; then
        cp -p -- "$path" "$folder/$key.was.bytes"
        printf 'file %s %s\n' "$(stat -c '%a %u:%g' -- "$path")" "$sum" > "$folder/.$key.tmp"
    else
        echo absent > "$folder/.$key.tmp"
    fi
    cp -p "$folder/$key.json" "$folder/$key.was.record"
    if [ -e "$folder/$key.written" ]; then cp -p "$folder/$key.written" "$folder/$key.was.written"; else rm -f "$folder/$key.was.written"; fi
    mv -f "$folder/.$key.tmp" "$folder/$key.was"
fi
# say_now FILE: its checksum, before it is put in place, so that put-back.sh does not take it for somebody's work.
say_now() { [ "$record" != keep ] || sha256sum < "$1" | cut -d' ' -f1 > "$folder/$key.now"; }
if [ "$way" = aside ] && [ -e "$path" ]; then
    kept=$given.kept number=1
    while [ -e "$kept" ]; do number=$((number + 1)); kept=$given.kept.$number; done
    cp -p -- "$path" "$kept"
fi
tmp=
trap '[ -z "$tmp" ] || rm -f "$tmp"' EXIT
if [ "$way" = merged ]; then
    tmp=$(mktemp "$(dirname "$path")/.docker-cluster.XXXXXX")
    cat > "$tmp"
    chown --reference="$path" "$tmp"
    chmod --reference="$path" "$tmp"
    say_now "$tmp"
    mv -f "$tmp" "$path"
elif [ "$kind" = file ]; then
    tmp=$(mktemp "$(dirname "$path")/.docker-cluster.XXXXXX")
    cp -p "$folder/$key.bytes" "$tmp"
    say_now "$tmp"
    mv -f "$tmp" "$path"
else
    rm -f "$path"
fi
[ "$record" = keep ] || rm -f "$folder/$key.origin" "$folder/$key.bytes" "$folder/$key.was" "$folder/$key.was.bytes" "$folder/$key.was.record" "$folder/$key.was.written" "$folder/$key.written" "$folder/$key.start" "$folder/$key.now" "$folder/$key.json"
