# Forgets a file that was put back, once what reads it has shown that it does well with it. Argument: its KEY.
set -eu
cd /var/lib/docker-cluster/record
rm -f "$1.json" "$1.origin" "$1.bytes" "$1.written" "$1.was" "$1.was.bytes" "$1.was.record" "$1.was.written" "$1.start" "$1.now"
