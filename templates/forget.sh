# Removes what docker-cluster keeps on a host for itself, and the folders that it made elsewhere, if nothing is in them.
# Arguments: HOME keep|forget; keep remembers the packages that were installed, and what was there before them, for a later
# `down --purge`.
set -eu
cd "$1"
[ ! -e record/made ] || sed -n 's/^folder //p' record/made | while read -r folder; do
    case $folder in "$1"*) continue ;; esac
    [ ! -d "$folder" ] || find "$folder" -depth -type d -empty -delete
done
rm -f /run/docker-cluster-apt-lists /run/docker-cluster-apt-lists.now
if [ "$2" = keep ]; then
    umask 077
    mkdir -p kept
    grep -E '^(package|config|conffile|data|group) ' record/made > kept/made
    # A purge that was cut off has put somebody's configuration here.
    [ ! -d record/conffiles ] || mv record/conffiles kept/
    rm -rf old
    mv record old
    mv kept record
    rm -rf old secrets underlay migration.json
else
    cd /
    rm -rf -- "$1"
fi
