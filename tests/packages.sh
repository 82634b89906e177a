#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes a Python that has the packages which tests need, by pip.
#
#   tests/packages.sh DIR    a virtual environment in DIR, unless it is there
#
# Put DIR/bin first in PATH and run the tests.  Exit status 1, with the reason,
# where pip cannot: those tests are then skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

# One version: what is compared with must not change by itself, nor what a seed
# draws.
packages=(tokenizers==0.23.3 numpy==2.2.6)
modules=numpy,tokenizers

case ${1-} in
'' | -*)
    sed -n '3,8s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
esac
dir=$1
there() { "$dir/bin/python3" -c "import $modules" 2>/dev/null; }
there && exit 0

# A pip that is here already saves the seconds that its own would take.
python3 -m venv --system-site-packages --without-pip "$dir"
if ! "$dir/bin/python3" -m pip --version >/dev/null 2>&1; then
    python3 -c 'import ensurepip' 2>/dev/null ||
        deploy/dependencies.sh python3-venv
    "$dir/bin/python3" -m ensurepip >/dev/null
fi
# Nothing but wheels, and none of what these need for more than the tests use.
timeout 300 "$dir/bin/python3" -m pip install --quiet --no-deps \
    --only-binary :all: --retries 1 --timeout 60 "${packages[@]}"
there
