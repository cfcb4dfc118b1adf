# Whether the engine of this host is stopped, and would be started by a question to its socket (docker.socket): then it is not asked.
engine_sleeps() {
    systemctl -q is-active docker.socket 2>/dev/null || return 1
    case $(systemctl show -p ActiveState -p Job docker.service 2>/dev/null) in
    *Job=[1-9]*) return 1 ;;
    *ActiveState=inactive* | *ActiveState=failed*) return 0 ;;
    esac
    return 1
}
