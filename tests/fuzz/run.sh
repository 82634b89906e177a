#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the fuzz targets with clang and looks for findings:
#
#   tests/fuzz/run.sh [SECONDS]     each target so long; 60 if not given
#
# Findings are build-fuzz/fuzz/TARGET-crash-*, and what was learned on the way
# is in build-fuzz/fuzz/TARGET/.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-60}

cmake -S . -B build-fuzz -DCMAKE_C_COMPILER=clang \
    -DCMAKE_BUILD_TYPE=RelWithDebInfo -DLONGWAVE_FUZZ=ON \
    -DLONGWAVE_SANITIZE=address,undefined -DLONGWAVE_FUZZ_SECONDS="$seconds"
cmake --build build-fuzz --target fuzz -j "$(nproc)"
ctest --test-dir build-fuzz --output-on-failure -j "$(nproc)" -R '^fuzz\.'
