#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the engine on a host with a GPU, nvcc, CMake and a C compiler, runs the
# tests of operations on it, and prints the table for docs/benchmarks.md: the
# engine, and PyTorch's peer where python3 has PyTorch.
#
#   deploy/test-gpu.sh [BUILD]     BUILD: the folder to build in, build-gpu
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build-gpu}

step() { printf '\n== %s\n' "$*"; }

step "build"
cmake -S . -B "$build" -DLONGWAVE_ENGINE_ONLY=ON -DLONGWAVE_CUDA=ON
cmake --build "$build" -j "$(nproc)"

step "operations, against sums in double and plain kernels"
ctest --test-dir "$build" -R '^kernels' --output-on-failure

step "golden cases, and schedules, batches and ranks that leave the same bits"
ctest --test-dir "$build" -R '^worker' --output-on-failure --verbose |
    grep -v '^Test command\|^Working Directory\|^Test timeout' || exit 1

step "compute-sanitizer"
if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck; do
        (cd tests && compute-sanitizer --tool "$tool" --error-exitcode 9 \
            "../$build/tests/test_kernels_rows")
    done
else
    echo "not run: there is no compute-sanitizer"
fi

bench() { "$build/bin/longwave-bench" --device cuda --repeat 5 "$@"; }

step "speed"
bench --preset armt-llama-1b --segment 1024 --mem 128 --tokens 131072
for segment in 512 2048 4096; do
    bench --preset armt-llama-1b --segment "$segment" --mem 128 --tokens 131072
done
bench --preset armt-llama-160m --segment 512 --mem 128 --tokens 131072
bench --preset armt-llama-160m --segment 1024 --mem 128 --tokens 131072
bench --preset armt-llama-8b --segment 1024 --mem 128 --tokens 131072 \
    --schedule diagonal

step "a whole model in bf16, and the same in PyTorch"
weights=$(mktemp)
trap 'rm -f "$weights"' EXIT
half=$("$build/tests/test_worker_half" "$weights")
echo "$half"

step "PyTorch"
if python3 -c 'import torch' 2>/dev/null; then
    python3 tests/bench/torch_half.py "$weights" \
        "$(sed -n 's/.*relative norm of the difference //p' <<<"$half")"
    python3 tests/bench/torch_peer_gpu.py --preset 1b --tokens 131072 \
        --segment 1024 --mem 128 --modes sequential,diagonal
else
    echo "not run: python3 has no PyTorch"
fi
