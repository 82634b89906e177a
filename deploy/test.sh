#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds, and runs every test: the release build
# with warnings as errors (with Python's tokenizers and numpy, if pip can get
# them, for the tests that need them), the engine alone, the same tests
# under AddressSanitizer and UndefinedBehaviorSanitizer, and each fuzz target
# for 20 seconds, where clang is there or can be installed.
#
#   deploy/test.sh [--quick]     --quick: the release build only
set -euo pipefail
cd "$(dirname "$0")/.."

quick=0
for arg in "$@"; do
    case $arg in
    --quick) quick=1 ;;
    -h | --help)
        sed -n '3,9s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    *)
        echo "test.sh: unknown argument $arg" >&2
        exit 2
        ;;
    esac
done

deploy/dependencies.sh
jobs=$(nproc)

# Open MPI refuses to run as root, or with more ranks than cores, unless told.
export OMPI_MCA_rmaps_base_oversubscribe=1
if [ "$(id -u)" = 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi

step() { printf '\n== %s\n' "$*"; }

step "packages that tests need"
if tests/packages.sh build/venv; then
    export PATH=$PWD/build/venv/bin:$PATH
else
    echo "test.sh: not to be had; tests that need them are skipped" >&2
fi

step "release build"
cmake -S . -B build -DLONGWAVE_WERROR=ON
cmake --build build -j "$jobs"
step "tests"
ctest --test-dir build --output-on-failure
[ "$quick" = 1 ] && exit 0

step "engine alone"
cmake -S . -B build-engine -DLONGWAVE_ENGINE_ONLY=ON -DLONGWAVE_WERROR=ON
cmake --build build-engine -j "$jobs"
build-engine/bin/longwave-bench --layers 4 --d-model 128 --segment 64 \
    --mem 8 --tokens 4096 --threads 2 --repeat 1

step "sanitizers"
cmake -S . -B build-asan -DLONGWAVE_WERROR=ON -DCMAKE_BUILD_TYPE=RelWithDebInfo \
    -DLONGWAVE_SANITIZE=address,undefined
cmake --build build-asan -j "$jobs"
# Open MPI and its plug-ins keep memory until the process ends.
export LSAN_OPTIONS="suppressions=$PWD/tests/lsan.supp:print_suppressions=0"
ctest --test-dir build-asan --output-on-failure -LE lint

step "fuzz targets"
if deploy/dependencies.sh clang libclang-rt-dev; then
    tests/fuzz/run.sh 20
else
    echo "test.sh: clang is not to be had; only the corpora were replayed" >&2
fi
