# Removes the data of an engine whose packages are gone. Arguments: folders; what is in them goes, for good.
set -eu
for folder in "$@"; do
    [ -d "$folder" ] || continue
    real=$(readlink -f "$folder")
    # Whatever is mounted below is not the engine's any more, and may be anybody's: what it holds must not go with the rest.
    while read -r _ _ _ _ mount _; do
        case $mount in "$real"/*) umount -- "$(printf '%b' "$mount")" || { echo "$mount is in use; nothing was removed" >&2; exit 1; } ;; esac
    done < /proc/self/mountinfo
    find "$real" -xdev -mindepth 1 -delete
    # The folder itself stays where it is the place of a disk.
    rmdir "$real" 2>/dev/null || true
done
