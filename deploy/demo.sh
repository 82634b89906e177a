#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Reads a book of a million tokens on two ranks and asks it a question.
#
#   deploy/demo.sh              the New Testament, 1.0 million tokens
#   deploy/demo.sh --all        the whole Bible, 4.4 million tokens
#   deploy/demo.sh --text FILE  any other UTF-8 text
#   deploy/demo.sh --question TEXT
#
# Installs what is missing (Debian packages), builds, starts a daemon and a
# world of two ranks, reads, asks, prints a summary, and stops everything.
# The model is a small one with random weights: what is shown is the work, not
# the wit.  Its answers mean nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

verses=Mat1:1-Rev22:21
book="the New Testament (King James Version, Debian package bible-kjv)"
text=
question="Who was in the beginning?"
while [ $# -gt 0 ]; do
    case $1 in
    --all)
        verses=Gen1:1-Rev22:21
        book="the Bible (King James Version, Debian package bible-kjv)"
        ;;
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
    if [ $status != 0 ]; then
        echo "demo.sh: failed; the last lines of the logs:" >&2
        tail -n 5 "$dir"/*.log >&2 2>/dev/null || true
    fi
    rm -rf "$dir"
    exit $status
}
trap cleanup EXIT
trap 'exit 130' INT TERM

step "text and model"
if [ -z "$text" ]; then
    text=$dir/book.txt
    bible -f "$verses" </dev/null >"$text"
fi
printf '%s: %s bytes, %s words\n' "$book" "$(wc -c <"$text")" \
    "$(wc -w <"$text")"
python3 model/make_tiny.py --out "$dir/model" --layers 4 --d-model 128 \
    --segment 256 --mem 8 --d-mem 16
echo "a model with 4 layers and random weights, one token a byte:"
echo "it shows how reading works; its answers mean nothing"

step "daemon and workers"
export LONGWAVE_ENDPOINT=ipc://$dir/client.sock
worlds=ipc://$dir/world.sock
longwaved --model "$dir/model" --data "$dir/data" \
    --listen "$LONGWAVE_ENDPOINT" --listen-worlds "$worlds" \
    2>"$dir/longwaved.log" &
daemon=$!

mpi=(mpirun -n 2 --bind-to none --mca btl vader,self)
[ "$(id -u)" = 0 ] && mpi+=(--allow-run-as-root)
[ "$(nproc)" -lt 2 ] && mpi+=(--oversubscribe)
threads=$(($(nproc) / 2))
"${mpi[@]}" longwave-worker --model "$dir/model" --daemon "$worlds" \
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
longwave add "$text" --name book --json >"$dir/add.json"

step "asking"
echo "question: $question"
longwave ask book "$question" --generate 48 --ignore-eos --temperature 0.7 \
    --json >"$dir/ask.json"

step "summary"
python3 - "$dir" <<'PYTHON'
import json, sys
add, ask = (json.loads(open(f"{sys.argv[1]}/{name}.json").read().splitlines()[-1])
            for name in ("add", "ask"))
print("answer (of random weights, so without meaning):")
print("   ", "".join(c if c.isprintable() else "." for c in ask["text"]))
rows = (
    ("tokens read", f"{add['tokens']:,} in {add['segments']:,} segments"),
    ("speed", f"{add['tokens_per_second']:,.0f} tokens/s, "
              f"{add['seconds']:.1f} s in all"),
    ("snapshot", f"{add['snapshot_bytes'] / 1024:,.0f} KiB, for any length"),
    ("first token of the answer", f"{ask['seconds_to_first_token']:.3f} s"),
)
for name, value in rows:
    print(f"{name:<28}{value}")
PYTHON

step "shutdown"
longwave shutdown
wait "$daemon"
daemon=
wait "$world"
world=
echo "daemon and workers have ended"
