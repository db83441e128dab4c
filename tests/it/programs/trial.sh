#!/bin/sh
# A program that does what tests need done: sh trial.sh WHAT [ARGUMENT]

child() { sh "$0" "$@"; }

case "$1" in
    say)          echo "$2" ;;
    exit)         echo "exiting with $2"; exit "$2" ;;
    die)          kill -s "$2" $$; sleep 60 ;;
    wait)         echo waiting; sleep 600 & wait ;;
    ignore-term)  trap '' TERM; echo deaf; while :; do sleep 600; done ;;
    # Obeys, and says so.
    obey)         trap 'echo obeyed; exit 0' TERM; echo ready; while :; do sleep 600 & wait; done ;;
    # The leader obeys; what it has started does not.
    deaf-child)   child ignore-term & trap 'exit 0' TERM; while :; do sleep 600 & wait; done ;;
    # The leader exits and leaves a process of its group behind, which keeps the pipe open.
    leave)        child ignore-term & sleep 0.2; echo left; exit 0 ;;
    # The leader exits and leaves a process behind that has left the group and keeps the pipe open.
    daemon)       setsid sh "$0" ignore-term & sleep 0.2; echo left; exit 0 ;;
    # The leader lives on beside it.
    with-daemon)  setsid sh "$0" ignore-term & sleep 600 & wait ;;
    # The leader exits and leaves a process behind that prints for ever.
    leave-loud)   (trap '' TERM; while :; do echo loud; sleep 0.01; done) & sleep 0.1; echo left; exit 0 ;;
    # What the leader leaves has last words, later than it.
    last-words)   (trap 'sleep 0.8; echo last words; exit 0' TERM; echo ready; while :; do sleep 0.05; done) &
                  trap 'exit 0' TERM; while :; do sleep 600 & wait; done ;;
    dots)         while :; do printf .; sleep 0.05; done ;;
    zeros)        head -c 200000 /dev/zero; echo; echo after ;;
    foreign-json) printf '{"type":"other","key":"%s"}\n' "$(printf '%s' "$KEY" | sed 's/3/\\u0033/')" ;;
    big-object)   printf '{"type":"result","result":"'; head -c 200000 /dev/zero | tr '\0' x; printf '"}\n' ;;
    slow-agent)   while read -r line; do
                      echo "{\"type\":\"system\",\"session_id\":\"agent-7\"}"; sleep 1.5
                      echo "{\"type\":\"result\",\"result\":\"did $line\"}"
                  done ;;
    silent)       sleep "$2" ;;
    ticks)        while :; do echo tick; sleep 0.02; done ;;
    # Says in a file what it has printed.
    tally)        i=0; while :; do i=$((i + 1)); echo "line $i"; echo "$i" >>"$2"; done ;;
    count)        i=0; while [ "$i" -lt "$2" ]; do i=$((i + 1)); echo "line $i"; done ;;
    flood)        yes "$2" ;;
    lines)        yes "$3" | head -n "$2" ;;
    long-line)    head -c "$2" /dev/zero | tr '\0' x; echo; echo after ;;
    split-emoji)  printf '\360\237'; sleep 0.1; printf '\230\200 is one character\n' ;;
    not-utf8)     printf 'a\377b\n' ;;
    both)         echo out; echo err >&2 ;;
    unfinished)   printf 'no line feed' ;;
    environment)  env ;;
    secret)       printf 'the key is %s' "$KEY" | head -c 20; sleep 0.1; printf '%s\n' "$KEY" | tail -c +10 ;;
    echo-input)   while read -r line; do echo "read $line"; done; echo end ;;
    many)         i=0; while [ "$i" -lt "$2" ]; do i=$((i + 1)); child multiply & done; wait ;;
    multiply)     trap '' TERM; while :; do sleep 0.05 & wait; done ;;
    terminal)     [ -t 0 ] && [ -t 1 ] && stty size && echo "on a terminal" ;;
    # Gives up what it does when it is told to, by SIGINT or by a line.
    patient-agent) trap 'kill $!' INT
                  while read -r line; do
                      echo "given $line"
                      [ "$line" = slow ] && { sleep 600 & wait; line="nothing"; }
                      [ "$line" = asks ] && { read -r more; line="what $more says"; }
                      echo "{\"type\":\"result\",\"result\":\"did $line\"}"
                  done ;;
    agent)        while read -r line; do
                      echo '{"type":"system","session_id":"agent-7"}'
                      echo "{\"type\":\"result\",\"result\":\"did $line\",\"usage\":{\"input_tokens\":3,\"output_tokens\":4}}"
                  done ;;
    *)            echo "what is $1?" >&2; exit 64 ;;
esac
