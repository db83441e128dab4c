#!/bin/sh
# Programs that do what a program must not do: sh hostile.sh WHAT. Each says when it has done it.

again() { sh "$0" "$@"; }
idle()  { while :; do sleep 600 & wait $!; done; }
ready() { echo ready; }
# So many times a character, without a line feed.
much() { head -c "$1" /dev/zero | tr '\0' "$2"; }

case "$1" in
    deaf)           trap '' HUP INT QUIT TERM; ready; idle ;;
    closes-output)  ready; exec >&- 2>&-; idle ;;
    closes-input)   exec <&-; ready; idle ;;
    never-reads)    ready; idle ;;
    # The leader joins the group of what it has started. What leads a group can begin no session of its own.
    leaves-group)   exec perl -e '$| = 1; $SIG{TERM} = "IGNORE"; my $other = fork;
                        if (!$other) { setpgrp(0, 0); sleep 600 while 1 }
                        until (getpgrp($other) == $other) { select undef, undef, undef, 0.01 }
                        setpgrp(0, $other); print getpgrp(0) == $$ ? "stayed\n" : "ready\n"; sleep 600 while 1' ;;
    halts)          ready; kill -s STOP $$; idle ;;
    halts-all)      ready; kill -s STOP 0; idle ;;
    signals-itself) trap '' TERM; kill -s TERM $$; kill -s CONT $$; kill -s TERM 0; ready; idle ;;
    garbage)        head -c 100000 /dev/urandom; printf '\0\033[2J\033]0;title\007\r\b\n'; ready; idle ;;
    floods)         ready; yes "a line of a flood"; idle ;;
    # What is asked to end begins to multiply.
    multiplies)     trap 'n=0; while [ $n -lt 150 ]; do n=$((n + 1)); again deaf-link & done' TERM; ready; idle ;;
    deaf-link)      trap '' TERM; idle ;;
    # Each link of a chain starts the next one, and is gone.
    chain)          again link & ready; idle ;;
    link)           trap '' TERM; again link & exit ;;
    chain-away)     setsid sh "$0" link-away & ready; idle ;;
    link-away)      trap '' TERM; setsid sh "$0" link-away & exit ;;
    # It has dropped its marks. Its parent is there.
    drops-marks)    env -i setsid sleep 600 & ready; idle ;;
    removes-folder) rmdir "$PWD"; ready; idle ;;
    false-results)  for _ in 1 2 3; do echo '{"type":"result","result":"done","usage":{"input_tokens":1}}'; done
                    echo '{"type":"system","session_id":""}'; echo '{"type":7}'; echo '{}'; echo '[]'
                    ready; idle ;;
    deep)           printf '{"a":'; much 1000 '['; much 1000 ']'; echo '}'; ready; idle ;;
    huge)           printf '{"type":"result","result":"'; much 5242880 'x'; echo '"}'; ready; idle ;;
    # These end by themselves.
    kills-all)      kill -s KILL 0; idle ;;
    terms-itself)   kill -s TERM $$; idle ;;
    exits-at-once)  exit 0 ;;
    # It leaves what has another session of the system.
    becomes-daemon) exec setsid --fork sh "$0" deaf ;;
    # Nobody in its tree is the parent of what it leaves, which has dropped its marks.
    hides)          (env -i setsid sh -c 'echo "hidden $$"; exec sleep 600' &) ; sleep 0.2; ready; idle ;;
    *)              echo "what is $1?" >&2; exit 64 ;;
esac
