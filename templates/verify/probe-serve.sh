# The probe: a web server with a short answer, a long one, and one to a long question. Runs inside the container, under any POSIX sh.
# Arguments: NONCE LIFETIME
# The configuration is made inside, from arguments, so that any image with sh, nginx and wget will do. The large body is
# longer than any Ethernet frame, jumbo frames included: it only arrives if full packets do.
nonce=$1
# In memory, which every engine gives a container: its own file system is many times the work. For the same reason an upload has a buffer
# that it fits into.
temp=/tmp; if [ -w /dev/shm ]; then temp=/dev/shm; fi
# A variable, repeated: nginx takes no parameter longer than 4096 bytes.
kilo=$(printf "%01000d" 0); large="\$kilo\$kilo\$kilo\$kilo\$kilo"; large="$large$large$large"
printf "%s\n" "daemon off; user root; worker_processes 1; pid $temp/probe.pid; error_log /dev/stderr crit;" \
    "events { worker_connections 256; }" \
    "http { access_log off; default_type text/plain; keepalive_timeout 0; client_max_body_size 1m; client_body_buffer_size 32k;" \
    "client_body_temp_path $temp/body; proxy_temp_path $temp/proxy; fastcgi_temp_path $temp/fcgi; uwsgi_temp_path $temp/uwsgi; scgi_temp_path $temp/scgi;" \
    "server { listen 80; location = /nonce { return 200 \"$nonce\n\"; } location = /large { set \$kilo $kilo; return 200 \"$nonce $large\n\"; }" \
    "location = /upload { proxy_pass http://127.0.0.1/nonce; } } }" > "$temp/probe.conf"
# The engine removes the container when nginx ends: a run that was killed leaves nothing for longer than this.
(sleep "$2"; kill 1) &
exec nginx -c "$temp/probe.conf"
