#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Everything that can be tested and measured on a host with a GPU, nvcc (in PATH
# or in /usr/local/cuda) with the C++ compiler that it needs, CMake and a C
# compiler: builds the engine alone, runs every test of operations and
# engine, the sanitizer, PyTorch's peer where python3 has PyTorch, and the table
# of docs/benchmarks.md, whose rows it writes.
#
#   deploy/test-gpu.sh [--quick] [--only right|fast] [--within SECONDS]
#                      [--from STEP] [BUILD]
#     --quick  about 4 minutes instead of 8: fewer runs of fewer models, and
#              docs/benchmarks.md stays as it is
#     --only   whether it is right, or how fast it is
#     --within begins nothing behind so many seconds and ends what runs then;
#              says with which step to go on, where all were not done
#     --from   leaves out the steps before STEP, and adds to the rows of the
#              call before, in the same BUILD
#     BUILD    the folder to build in, build-gpu; logs are in BUILD/test-gpu
#
# Goes on after a failure; the last thing printed is a table of what passed,
# failed and was not run.  Exit status 1 if anything failed, 3 if time ran out,
# 77 where there is no GPU: then nothing but the build was tried.
# shellcheck disable=SC2317 # functions are run by name
set -uo pipefail
set -a # timeout runs functions in a shell of their own
cd "$(dirname "$0")/.." || exit 1
PATH=$PATH:/usr/local/cuda/bin # the toolkit's sanitizer
quick=no
only=both
within=
from=
while [ $# -gt 0 ]; do
    case $1 in
    --quick) quick=yes ;;
    --only)
        only=${2:-}
        shift
        ;;
    --within)
        within=${2:-}
        shift
        ;;
    --from)
        from=${2:-}
        shift
        ;;
    -*) only=unknown ;;
    *) break ;;
    esac
    shift
done
usage() {
    echo "usage: deploy/test-gpu.sh [--quick] [--only right|fast]" \
        "[--within SECONDS] [--from STEP] [BUILD]" >&2
    exit 2
}
case $only in
both | right | fast) ;;
*) usage ;;
esac
case $within in
*[!0-9]*) usage ;;
esac
[ $# -le 1 ] || usage
build=${1:-build-gpu}
mkdir -p "$build/test-gpu" 2>/dev/null || {
    echo "test-gpu.sh: $build is no folder to build in" >&2
    exit 2
}
build=$(cd "$build" && pwd)
logs=$build/test-gpu
table=$logs/table
rows=$logs/rows.jsonl
: >"$table"
[ -n "$from" ] || : >"$rows"
n_failed=0
no_gpu= # why there is none
next=   # the first step that time did not suffice for
last=$from

note() { # NAME RESULT SECONDS
    printf '%-26s %6s s  %s\n' "$1" "$3" "$2" >>"$table"
}

out_of_time() { # NAME SECONDS
    note "$1" "not run: no time left" "$2"
    next=${next:-$1}
}

# What a test leaves out for want of a GPU is a failure where there is one.
leaves_out() { # COMMAND LOG
    case $1 in
    in_tests | golden | sanitize) grep -Eq '(not run|skipped): ' "$2" ;;
    *) false ;;
    esac
}

# run NAME LIMIT COMMAND...: LIMIT in seconds; 77 means that it cannot run here,
# which no test of the build's may say once the first one found a GPU.
run() {
    local name=$1 limit=$2 log=$logs/$1.log start=$SECONDS code
    local left=$((${within:-100000} - SECONDS))
    shift 2
    [ "$name" != "$from" ] || from=
    case $name in
    build | gpu) ;;
    *) [ -z "$from" ] || return 77 ;;
    esac
    if [ -n "$no_gpu" ]; then
        note "$name" "not run: $no_gpu" 0
        return 77
    fi
    if [ "$left" -lt 1 ]; then
        out_of_time "$name" 0
        return 77
    fi
    printf '\n== %s\n' "$name"
    timeout -k 10 "$((left < limit ? left : limit))" bash -c '"$@"' "$name" "$@" >"$log" 2>&1
    code=$?
    if [ "$name" != gpu ]; then
        [ "$code" -ne 0 ] || ! leaves_out "$1" "$log" || code=left-out
        [ "$code" != 77 ] || [ "$1" != in_tests ] || code=left-out
    fi
    case $code in
    0) note "$name" ok $((SECONDS - start)) ;;
    77)
        note "$name" "not run: $(tail -n 1 "$log" | cut -c 1-60)" 0
        [ "$name" != gpu ] || no_gpu="there is no GPU"
        ;;
    124 | 137)
        if [ "$left" -lt "$limit" ]; then
            out_of_time "$name" $((SECONDS - start))
            return 77
        fi
        note "$name" "FAILED: not done in $limit s" $((SECONDS - start))
        n_failed=$((n_failed + 1))
        ;;
    left-out)
        note "$name" "FAILED: left tests out" $((SECONDS - start))
        n_failed=$((n_failed + 1))
        code=1
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
    [ -z "$from" ] || echo "there is no step $last"
    [ -z "$next" ] || echo "go on with --from $next"
    [ "$n_failed" -eq 0 ] && [ -z "$from" ] || exit 1
    [ -z "$no_gpu" ] || exit 77
    [ -z "$next" ] || exit 3
    exit 0
}

# A program of the build's tests, from where its files are.
in_tests() {
    (cd tests && "$build/tests/$1" "${@:2}")
}

# Figures that a log has.
show() {
    [ -n "$no_gpu" ] || grep -h "$2" "$logs/$1.log"
}

need_python() {
    [ -n "$python" ] || { echo "there is no python3" && return 77; }
}
need_torch() {
    need_python || return
    "$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' \
        2>/dev/null ||
        { echo "python3 has no PyTorch for this GPU" && return 77; }
}

build_all() {
    cmake -S . -B "$build" -DLONGWAVE_ENGINE_ONLY=ON -DLONGWAVE_CUDA=ON &&
        cmake --build "$build" -j "$(nproc)"
}

# ------------------------------------------------------------ is it right? --

golden() {
    need_python || return
    "$python" tests/golden/flatten.py tests/golden "$logs/golden" &&
        in_tests test_worker_flat "$logs/golden"
}

torch_half() { # WEIGHTS
    need_torch || return
    "$python" tests/bench/torch_half.py "$1" \
        "$(sed -n 's/.*relative norm of the difference //p' \
            "$logs/whole-model-bf16.log")"
}

# A model at its full width against the same one in double, on fresh numbers.
check() { # FLAGS...
    "$build/bin/longwave-bench" --device cuda --check "$@"
}

# A model that no device holds: how much it needs, and what would fit.
refuse() {
    local code
    "$build/bin/longwave-bench" --device cuda --preset armt-llama-8b \
        --layers 1000 --segment 64 --mem 8 --tokens 128 --repeat 1
    code=$?
    [ "$code" -eq 1 ] && grep -q 'layers would fit' "$logs/refusal.log"
}

sanitize() { # NAME TOOL PROGRAM ARGUMENTS...
    command -v compute-sanitizer >/dev/null ||
        { echo "there is no compute-sanitizer" && return 77; }
    cd tests || return
    compute-sanitizer --tool "$2" --error-exitcode 9 "$build/tests/$3" \
        "${@:4}" && return
    local code=$?
    # Some hypervisors keep debuggers out.
    grep -q 'Device not supported' "$logs/$1.log" &&
        echo "compute-sanitizer cannot use this GPU" && return 77
    return "$code"
}

check_models() {
    run check-160m-f32 120 check --preset armt-llama-160m --compute f32 \
        --segment 512 --mem 128 --layers 4
    run check-1b 120 check --preset armt-llama-1b --segment 1024 --mem 128 \
        --layers 2
    if [ "$quick" = no ]; then
        run check-160m 120 check --preset armt-llama-160m --segment 512 \
            --mem 128
        run check-8b 120 check --preset armt-llama-8b --segment 512 --mem 128 \
            --layers 1
    fi
    for name in "$logs"/check-*.log; do
        [ -n "$no_gpu" ] || cat "$name"
    done
}

sanitize_all() {
    for program in rows sample_steps steps; do
        run "memcheck-$program" 120 sanitize "memcheck-$program" memcheck \
            "test_kernels_$program"
    done
    run memcheck-exact 120 sanitize memcheck-exact memcheck \
        test_kernels_exact small
    # It looks at every access to shared memory: a few draws take a while.
    run racecheck-sample_steps 120 sanitize racecheck-sample_steps racecheck \
        test_kernels_sample_steps 3
}

is_it_right() {
    local program name weights=$logs/weights
    for program in "$build"/tests/test_kernels_*; do
        name=${program##*/test_}
        run "$name" 120 in_tests "test_$name"
    done
    show kernels_exact units
    run golden 120 golden
    show golden 'largest error'
    for program in engine engine_need engine_ranks ahead lost bench_check; do
        run "worker_$program" 120 in_tests "test_worker_$program"
    done
    run reading 60 in_tests test_worker_read
    run answers 60 in_tests test_worker_answer
    show answers temperature
    run whole-model-bf16 60 in_tests test_worker_half "$weights"
    show whole-model-bf16 'relative norm'
    run whole-model-pytorch 90 torch_half "$weights"
    show whole-model-pytorch PyTorch
    rm -f "$weights"
    check_models
    run refusal 60 refuse
    show refusal 'would fit'
    sanitize_all
}

# ------------------------------------------------------------- is it fast? --

bench() { # FLAGS...
    "$build/bin/longwave-bench" --device cuda --repeat "$repeat" --json "$@"
}
speed() { # NAME FLAGS...
    run "$1" 180 bench "${@:2}" && tail -n 1 "$logs/$1.log" >>"$rows"
}

peer() { # ROUNDS
    need_torch || return
    "$python" tests/bench/gpu_peer.py --bench "$build/bin/longwave-bench" \
        --repeat "$1" --rows "$rows"
}

write_rows() {
    need_python || return
    if [ "$quick" = yes ] || [ -n "$next" ]; then
        "$python" tests/bench/gpu_rows.py "$rows"
    elif [ "$n_failed" -gt 0 ]; then
        "$python" tests/bench/gpu_rows.py "$rows"
        echo "docs/benchmarks.md stays as it is: there were failures"
    else
        "$python" tests/bench/gpu_rows.py "$rows" docs/benchmarks.md
    fi
}

is_it_fast() {
    local rounds=1 long=(--mem 128 --tokens 131072)
    local short=(--segment 1024 --mem 128 --tokens 2048 --decode 200)
    repeat=2
    [ "$quick" = yes ] || rounds=3 repeat=5
    speed 1b-1024 --preset armt-llama-1b --segment 1024 "${long[@]}"
    speed 1b-512 --preset armt-llama-1b --segment 512 "${long[@]}"
    speed 1b-read --preset armt-llama-1b --segment 1024 "${long[@]}" --read
    speed 160m-512 --preset armt-llama-160m --segment 512 "${long[@]}"
    speed 1b-decode --preset armt-llama-1b "${short[@]}"
    if [ "$quick" = no ]; then
        speed 1b-2048 --preset armt-llama-1b --segment 2048 "${long[@]}"
        speed 1b-4096 --preset armt-llama-1b --segment 4096 "${long[@]}"
        speed 160m-1024 --preset armt-llama-160m --segment 1024 "${long[@]}"
        speed 1b-decode-16 --preset armt-llama-1b "${short[@]}" --jobs 16
        repeat=3
        speed 8b-decode --preset armt-llama-8b "${short[@]}"
        speed 8b-1024 --preset armt-llama-8b --segment 1024 "${long[@]}" \
            --schedule diagonal
        repeat=1
        speed 1b-million --preset armt-llama-1b --segment 1024 --mem 128 \
            --tokens 1048576 --schedule diagonal
    fi
    run peer 120 peer "$rounds"
    show peer fast
    run rows 10 write_rows && cat "$logs/rows.log"
}

python=$(command -v python3 || true)
run build 600 build_all || finish
run gpu 60 in_tests test_kernels_steps
[ "$only" = fast ] || is_it_right
[ "$only" = right ] || is_it_fast
finish
