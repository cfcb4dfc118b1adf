# How often since it started this host's kernel could not take another neighbour into its table: packets to that one are thrown away.
# All network namespaces of a machine, those of containers included, share the table.
neighbours_refused() {
    total=0
    if [ -r /proc/net/stat/arp_cache ]; then
        {
            read -r names
            case $names in *table_fulls*) while read -r numbers; do total=$((total + 0x${numbers##* })); done ;; esac
        } < /proc/net/stat/arp_cache
    fi
    echo $total
}
# The same of packets that did not come by the interface which leads back to their sender.
sources_refused() {
    awk '/^TcpExt:/ { if (!count) { count = split($0, names); next }
        split($0, values); for (i = 2; i <= count; i++) if (names[i] == "IPReversePathFilter") found = values[i] } END { print found + 0 }' /proc/net/netstat
}
