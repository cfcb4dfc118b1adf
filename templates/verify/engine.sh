# Whether a service of this host is down and stays so: not on its way up, or about to be.
stays_down() {
    state=$(systemctl show -p LoadState -p ActiveState -p Job "$1" 2>/dev/null) || return 1
    case $state in *Job=[1-9]*) return 1 ;; *LoadState=loaded*ActiveState=inactive* | *LoadState=loaded*ActiveState=failed*) return 0 ;; esac
    return 1
}
# Whether the engine is stopped. Its socket may be there all the same, and the first question to it would start the engine: a look must not.
engine_is_stopped() { ! kill -0 "$(cat /var/run/docker.pid 2>/dev/null)" 2>/dev/null && stays_down docker.service; }
