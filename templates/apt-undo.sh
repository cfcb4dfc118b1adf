# Takes away what an installation with apt that failed half-way has left.
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
folder=/var/lib/docker-cluster/record
[ -s "$folder/packages.now" ] || exit 0
there=$(while read -r package; do
    # Half-installed and half-configured ones count, packages of which only the configuration is left do not.
    case $(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null) in ''|un*|rc*) ;; *) echo "$package" ;; esac
done < "$folder/packages.now")
# shellcheck disable=SC2086 # a list of names
[ -z "$there" ] || dpkg --purge --force-remove-reinstreq --force-depends $there
while read -r package; do
    grep -vxF "package $package" "$folder/made" > "$folder/.made.tmp" || true
    mv -f "$folder/.made.tmp" "$folder/made"
done < "$folder/packages.now"
rm -f "$folder/packages.now"
