#!/bin/sh
# A program of the simulation: sh numbered.sh WHAT. It numbers what it prints, and says before it exits by itself how many
# lines that were.

i=0
line()  { i=$((i + 1)); echo "line $i"; }
lines() { n=0; while [ "$n" -lt "$1" ]; do n=$((n + 1)); line; done; }
last()  { echo "last $i"; }
ticks() { while :; do line; sleep 0.1; done; }
idle()  { while :; do sleep 600 & wait $!; done; }

case "$1" in
    quick)        lines 20; last ;;
    slow)         while [ "$i" -lt 8 ]; do line; sleep 0.05; done; last ;;
    code)         lines 5; last; exit 3 ;;
    dies)         lines 5; last; kill -s ABRT $$; sleep 60 ;;
    ticks)        ticks ;;
    obeys)        trap 'last; exit 0' TERM; ticks ;;
    obeys-ill)    trap 'last; exit 7' TERM; ticks ;;
    # Its leader obeys at once, what it has started later.
    last-words)   (trap 'sleep 0.7; last; exit 0' TERM; ticks) & trap 'exit 0' TERM; idle ;;
    deaf)         trap '' TERM; ticks ;;
    # The leader exits, and leaves something behind that has left the group and keeps the pipe open.
    daemon)       setsid sh "$0" deaf-idle & lines 10; last ;;
    with-daemon)  setsid sh "$0" deaf-idle & ticks ;;
    # Processes that have children of their own.
    tree)         for _ in 1 2; do sh "$0" branch & done; ticks ;;
    branch)       sh "$0" deaf-idle & idle ;;
    deaf-idle)    trap '' TERM; idle ;;
    silent)       idle ;;
    flood)        lines 20000; last ;;
    endless)      while :; do lines 500; sleep 0.05; done ;;
    reads)        while read -r _; do line; done; last ;;
    agent)        while read -r asked; do
                      i=$((i + 1)); sleep 0.12
                      echo "{\"type\":\"result\",\"result\":\"answer $i to $asked\"}"
                  done
                  echo "{\"type\":\"result\",\"result\":\"last $i\"}" ;;
    *)            echo "what is $1?" >&2; exit 64 ;;
esac
