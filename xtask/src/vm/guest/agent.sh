#!/bin/bash
# The far end of the harness. Reads "LENGTH\n" and a script of that many bytes, runs it as root,
# answers "DONE STATUS STDOUT-LENGTH STDERR-LENGTH\n" and both outputs as they are.
exec 3<>/dev/virtio-ports/agent
work=$(mktemp -d /run/agent.XXXXXX)
printf 'READY %s\n' "$(cat /proc/sys/kernel/random/boot_id)" >&3
while IFS= read -r length <&3; do
    head -c "$length" <&3 >"$work/script"
    (cd / && exec bash "$work/script") </dev/null >"$work/out" 2>"$work/err" 3>&-
    status=$?
    printf 'DONE %s %s %s\n' "$status" "$(stat -c %s "$work/out")" "$(stat -c %s "$work/err")" >&3
    cat "$work/out" "$work/err" >&3
done
