# Removes what docker-cluster keeps on a host for itself, and the folders that it made elsewhere, if nothing is in them.
# Arguments: HOME keep|forget; keep remembers the packages that were installed, for a later `down --purge`.
set -eu
cd "$1"
[ ! -e record/made ] || sed -n 's/^folder //p' record/made | while read -r folder; do
    case $folder in "$1"*) continue ;; esac
    [ ! -d "$folder" ] || find "$folder" -depth -type d -empty -delete
done
if [ "$2" = keep ]; then
    grep '^package ' record/made > .made
    rm -rf record secrets migration.json
    mkdir -m 700 record
    mv .made record/made
else
    cd /
    rm -rf -- "$1"
fi
