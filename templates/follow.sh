# Runs a command that has no end of its own, until the end of standard input: what reads the output of one on a host cannot tell it that
# nobody reads any more, and it would run there until it has something to say.
exec 3<&0 </dev/null
"$@" 3<&- &
command=$!
{ cat <&3; kill "$command"; } >/dev/null 2>&1 &
watch=$!
exec 3<&-
wait "$command"
status=$?
kill "$watch" 2>/dev/null
exit "$status"
