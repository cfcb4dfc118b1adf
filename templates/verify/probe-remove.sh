# Removes a probe, unless the engine is stopped: then there is none that runs. Argument: NAME
if engine_is_stopped; then exit 0; fi
exec docker rm -f "$1"
