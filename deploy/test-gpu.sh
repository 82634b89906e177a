#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Everything that can be tested and measured on a host with a GPU, nvcc, CMake
# and a C compiler: builds the engine alone, runs every test of operations and
# engine, the sanitizer, PyTorch's peer where python3 has PyTorch, and the table
# of docs/benchmarks.md, whose rows it writes.
#
#   deploy/test-gpu.sh [--quick] [BUILD]
#     --quick  about 4 minutes instead of 8: fewer runs of fewer models, and
#              docs/benchmarks.md stays as it is
#     BUILD    the folder to build in, build-gpu; logs are in BUILD/test-gpu
#
# Goes on after a failure; the last thing printed is a table of what passed,
# failed and was not run.  Exit status 1 if anything failed.
# shellcheck disable=SC2317 # functions are run by name
set -uo pipefail
set -a # timeout runs functions in a shell of their own
cd "$(dirname "$0")/.." || exit 1
quick=no
if [ "${1:-}" = --quick ]; then
    quick=yes
    shift
fi
build=${1:-build-gpu}
mkdir -p "$build/test-gpu"
build=$(cd "$build" && pwd)
logs=$build/test-gpu
table=$logs/table
rows=$logs/rows.jsonl
: >"$table"
: >"$rows"
n_failed=0

note() { # NAME RESULT SECONDS
    printf '%-26s %6s s  %s\n' "$1" "$3" "$2" >>"$table"
}

# run NAME LIMIT COMMAND...: LIMIT in seconds; 77 means that it cannot run here.
run() {
    local name=$1 limit=$2 log=$logs/$1.log start=$SECONDS code
    shift 2
    printf '\n== %s\n' "$name"
    timeout -k 10 "$limit" bash -c '"$@"' "$name" "$@" >"$log" 2>&1
    code=$?
    case $code in
    0) note "$name" ok $((SECONDS - start)) ;;
    77) note "$name" "not run: $(tail -n 1 "$log" | cut -c 1-60)" 0 ;;
    124 | 137)
        note "$name" "FAILED: not done in $limit s" $((SECONDS - start))
        n_failed=$((n_failed + 1))
        ;;
    *)
        note "$name" "FAILED ($code)" $((SECONDS - start))
        n_failed=$((n_failed + 1))
        ;;
    esac
    if [ "$code" -ne 0 ] && [ "$code" -ne 77 ]; then
        grep -v '^ok  ' "$log" | tail -n 20
    fi
    return "$code"
}

finish() {
    printf '\n== result (%s s)\n' "$SECONDS"
    cat "$table"
    [ "$n_failed" -eq 0 ]
    exit
}

# A program of the build's tests, from where its files are.
in_tests() {
    (cd tests && "$build/tests/$1" "${@:2}")
}

build_all() {
    cmake -S . -B "$build" -DLONGWAVE_ENGINE_ONLY=ON -DLONGWAVE_CUDA=ON &&
        cmake --build "$build" -j "$(nproc)"
}

# Figures that a log has.
show() {
    grep -h "$2" "$logs/$1.log"
}

# ------------------------------------------------------------ is it right? --

run build 600 build_all || finish
for program in "$build"/tests/test_kernels_*; do
    name=${program##*/test_}
    run "$name" 120 in_tests "test_$name"
done
show kernels_exact units

python=$(command -v python3 || true)
golden() {
    [ -n "$python" ] || { echo "there is no python3" && return 77; }
    "$python" tests/golden/flatten.py tests/golden "$logs/golden" &&
        in_tests test_worker_flat "$logs/golden"
}
run golden 120 golden
show golden 'largest error'
run schedules 120 in_tests test_worker_engine

weights=$logs/weights
run whole-model-bf16 60 in_tests test_worker_half "$weights"
show whole-model-bf16 'relative norm'
has_torch() {
    [ -n "$python" ] && "$python" -c 'import torch' 2>/dev/null
}
torch_half() {
    has_torch || { echo "python3 has no PyTorch" && return 77; }
    "$python" tests/bench/torch_half.py "$weights" \
        "$(sed -n 's/.*relative norm of the difference //p' \
            "$logs/whole-model-bf16.log")"
}
run whole-model-pytorch 90 torch_half
show whole-model-pytorch PyTorch
rm -f "$weights"

# A model at its full width against the same one in double, on fresh numbers.
check() { # FLAGS...
    "$build/bin/longwave-bench" --device cuda --check "$@"
}
run check-160m-f32 120 check --preset armt-llama-160m --compute f32 \
    --segment 512 --mem 128 --layers 4
run check-1b 120 check --preset armt-llama-1b --segment 1024 --mem 128 \
    --layers 2
if [ "$quick" = no ]; then
    run check-160m 120 check --preset armt-llama-160m --segment 512 --mem 128
    run check-8b 120 check --preset armt-llama-8b --segment 512 --mem 128 \
        --layers 1
fi
for name in "$logs"/check-*.log; do
    cat "$name"
done

sanitize() { # TOOL PROGRAM LOG
    command -v compute-sanitizer >/dev/null ||
        { echo "there is no compute-sanitizer" && return 77; }
    (cd tests && compute-sanitizer --tool "$1" --error-exitcode 9 \
        "$build/tests/$2") || {
        local code=$?
        # A hypervisor may keep debuggers out.
        grep -q 'Device not supported' "$logs/$3.log" &&
            echo "compute-sanitizer cannot use this GPU" && return 77
        return "$code"
    }
}
for program in rows sample_steps steps; do
    run "memcheck-$program" 120 sanitize memcheck "test_kernels_$program" \
        "memcheck-$program"
done
run racecheck-sample_steps 120 sanitize racecheck test_kernels_sample_steps \
    racecheck-sample_steps

# ------------------------------------------------------------- is it fast? --

[ "$quick" = yes ] && repeat=2 || repeat=5
bench() { # FLAGS...
    "$build/bin/longwave-bench" --device cuda --repeat "$repeat" --json "$@"
}
speed() { # NAME FLAGS...
    local name=$1
    shift
    run "$name" 180 bench "$@" && tail -n 1 "$logs/$name.log" >>"$rows"
}
long=(--tokens 131072 --mem 128)
speed 1b-1024 --preset armt-llama-1b --segment 1024 "${long[@]}"
speed 1b-512 --preset armt-llama-1b --segment 512 "${long[@]}"
speed 160m-512 --preset armt-llama-160m --segment 512 "${long[@]}"
speed 1b-decode --preset armt-llama-1b --segment 1024 --mem 128 --tokens 2048 \
    --decode 200
if [ "$quick" = no ]; then
    speed 1b-2048 --preset armt-llama-1b --segment 2048 "${long[@]}"
    speed 1b-4096 --preset armt-llama-1b --segment 4096 "${long[@]}"
    speed 160m-1024 --preset armt-llama-160m --segment 1024 "${long[@]}"
    speed 1b-decode-16 --preset armt-llama-1b --segment 1024 --mem 128 \
        --tokens 2048 --decode 200 --jobs 16
    repeat=3
    speed 8b-1024 --preset armt-llama-8b --segment 1024 "${long[@]}" \
        --schedule diagonal
    repeat=1
    speed 1b-million --preset armt-llama-1b --segment 1024 --mem 128 \
        --tokens 1048576 --schedule diagonal
fi

peer() {
    has_torch || { echo "python3 has no PyTorch" && return 77; }
    "$python" tests/bench/gpu_peer.py --bench "$build/bin/longwave-bench" \
        --repeat "$1" --rows "$rows"
}
[ "$quick" = yes ] && rounds=1 || rounds=3
run peer 120 peer "$rounds"
show peer fast

write_rows() {
    [ -n "$python" ] || { echo "there is no python3" && return 77; }
    if [ "$quick" = yes ]; then
        "$python" tests/bench/gpu_rows.py "$rows"
    else
        "$python" tests/bench/gpu_rows.py "$rows" docs/benchmarks.md
    fi
}
run rows 10 write_rows
cat "$logs/rows.log"
finish
