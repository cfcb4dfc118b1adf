# Removes the data of an engine whose packages are gone. Arguments: folders; what is in them goes, for good.
set -eu
for folder in "$@"; do
    [ -d "$folder" ] || continue
    real=$(readlink -f "$folder")
    # What a container's end has left mounted is taken off. Anything else is a place of somebody's own, whose data would go with the rest.
    while read -r _ _ _ _ mount _; do
        mount=$(printf '%b' "$mount")
        case $mount in
            "$real"/overlay2/*|"$real"/containers/*|"$real"/aufs/*|"$real"/io.containerd.*) umount -- "$mount" ;;
            "$real"/*) echo "$mount is mounted below $folder, and nothing was removed; unmount it first" >&2; exit 1 ;;
        esac
    done < /proc/self/mountinfo
    find "$real" -xdev -mindepth 1 -delete
    # The folder itself stays where it is the place of a disk.
    rmdir "$real" 2>/dev/null || true
done
