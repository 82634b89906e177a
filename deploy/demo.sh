#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Hides facts in a book of a million tokens, reads it on two ranks, and asks.
#
#   deploy/demo.sh              the King James Bible, 1.1 million tokens
#   deploy/demo.sh --text FILE  any other UTF-8 text of some size
#   deploy/demo.sh --question TEXT   one question more
#
# Installs what is missing (Debian packages), builds, starts a daemon and a
# world of two ranks with the sample model, reads the beginning of the book and
# then all of it, asks the same kinds of questions about both, prints what is
# right and what is wrong, and stops everything.
set -euo pipefail
from=$PWD
cd "$(dirname "$0")/.."

book="the King James Bible (Debian package bible-kjv)"
text=
question=
short_bytes=64000 # some 16,000 tokens: what the model was made for
while [ $# -gt 0 ]; do
    case $1 in
    --text | --question)
        [ $# -ge 2 ] || { echo "demo.sh: $1 needs a value" >&2; exit 2; }
        if [ "$1" = --text ]; then text=$2 book=$2; else question=$2; fi
        shift
        ;;
    -h | --help)
        sed -n '3,13s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    *)
        echo "demo.sh: unknown argument $1" >&2
        exit 2
        ;;
    esac
    shift
done
case $text in
"" | /*) ;;
*) text=$from/$text ;;
esac
# Known after minutes of building, else.
if [ -n "$text" ] && ! { [ -f "$text" ] && [ -r "$text" ]; }; then
    echo "demo.sh: --text $text: not a file that can be read" >&2
    exit 2
fi

step() { printf '\n== %s\n' "$*"; }

step "packages"
deploy/dependencies.sh
[ -n "$text" ] || deploy/dependencies.sh bible-kjv
echo "all there"

step "build"
cmake -S . -B build >/dev/null
cmake --build build -j "$(nproc)" --target \
    longwaved longwave-worker longwave | tail -n 1
export PATH=$PWD/build/bin:$PATH

# Everything of the demo lives in one directory that goes at the end.
dir=$(mktemp -d "${TMPDIR:-/tmp}/longwave-demo.XXXXXX")
daemon=
world=
cleanup() {
    status=$?
    trap - EXIT
    # Still running only if something failed on the way.
    for pid in $world $daemon; do
        kill "$pid" 2>/dev/null || true
    done
    wait 2>/dev/null || true
    # What was refused has been told, and who stopped it knows.
    case $status in
    0 | 2 | 130) ;;
    *)
        if ls "$dir"/*.log >/dev/null 2>&1; then
            echo "demo.sh: failed; the last lines of the logs:" >&2
            tail -n 5 "$dir"/*.log >&2 || true
        fi
        status=1
        ;;
    esac
    rm -rf "$dir"
    exit $status
}
trap cleanup EXIT
trap 'exit 130' INT TERM

step "text and model"
if [ -z "$text" ]; then
    text=$dir/book.txt
    # Verses without their numbers.
    bible -f Gen1:1-Rev22:21 </dev/null | sed 's/^[^ ]* *//' >"$text"
fi
printf '%s: %s bytes, %s words\n' "$book" "$(wc -c <"$text")" \
    "$(wc -w <"$text")"
model=model/sample
echo "the sample model: see $model/README.md for what it can and cannot do"
echo "facts hidden in the beginning of the book:"
deploy/demo_book.py hide "$text" "$dir/short" --bytes $short_bytes --seed short
echo "facts hidden in all of it:"
deploy/demo_book.py hide "$text" "$dir/long" --seed long

step "daemon and workers"
export LONGWAVE_ENDPOINT=ipc://$dir/client.sock
worlds=ipc://$dir/world.sock
longwaved --model "$model" --data "$dir/data" \
    --listen "$LONGWAVE_ENDPOINT" --listen-worlds "$worlds" \
    2>"$dir/longwaved.log" &
daemon=$!

mpi=(mpirun -n 2 --bind-to none --mca btl vader,self)
[ "$(id -u)" = 0 ] && mpi+=(--allow-run-as-root)
[ "$(nproc)" -lt 2 ] && mpi+=(--oversubscribe)
threads=$(($(nproc) / 2))
# One document at a time: both ranks are to read it, whatever other programs
# make of the links that are measured.
"${mpi[@]}" longwave-worker --model "$model" --daemon "$worlds" --replicas 1 \
    --threads $((threads > 0 ? threads : 1)) 2>"$dir/workers.log" &
world=$!
for _ in $(seq 300); do
    longwave status --json 2>/dev/null | grep -q '"ready"' && break
    for pid in "$daemon" "$world"; do
        kill -0 "$pid" 2>/dev/null || exit 1
    done
    sleep 0.1
done
longwave status
echo "(one flag does both: longwaved --model DIR --workers 2)"

step "reading"
for length in short long; do
    longwave add "$dir/$length/text.txt" --name $length --json \
        >"$dir/$length/add.json"
done

for length in short long; do
    step "asking: $length"
    deploy/demo_book.py ask "$dir/$length" $length
    longwave show $length
done
if [ -n "$question" ]; then
    echo "question: $question"
    longwave ask long "$question" --generate 48
fi

step "summary"
python3 - "$dir" <<'PYTHON'
import json, sys
for length in ("short", "long"):
    with open(f"{sys.argv[1]}/{length}/add.json") as f:
        add = json.loads(f.read().splitlines()[-1])
    print(f"{length:<6}{add['tokens']:>10,} tokens in {add['segments']:,} "
          f"segments: {add['seconds']:.1f} s, "
          f"{add['tokens_per_second']:,.0f} tokens/s; snapshot "
          f"{add['snapshot_bytes'] / 1024:,.0f} KiB")
PYTHON

step "shutdown"
longwave shutdown
wait "$daemon"
daemon=
wait "$world"
world=
echo "daemon and workers have ended"
