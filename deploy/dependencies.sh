#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what building, testing and running needs, on Debian 12 or newer.
#
#   deploy/dependencies.sh              install what is missing
#   deploy/dependencies.sh PACKAGE...   the same for other packages
#   deploy/dependencies.sh --list       print the packages and do nothing
#
# Packages that are there are left alone; without any missing, neither root
# nor a network is needed.
set -euo pipefail

packages=(
    build-essential cmake pkg-config python3
    libopenmpi-dev openmpi-bin              # ranks
    libzmq3-dev                             # sockets
    libprotobuf-c-dev protobuf-c-compiler   # messages
    libopenblas-dev                         # matrix products
    libsqlite3-dev                          # the journal
    libjansson-dev libsodium-dev            # JSON, hashes
    libpcre2-dev libutf8proc-dev            # tokenizer patterns, normal forms
    libcmocka-dev clang-format iproute2     # tests
)

case ${1-} in
-h | --help)
    sed -n '3,10s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
--list)
    printf '%s\n' "${packages[@]}"
    exit 0
    ;;
-*)
    echo "dependencies.sh: unknown argument $1" >&2
    exit 2
    ;;
esac
[ $# -gt 0 ] && packages=("$@")

if ! command -v apt-get >/dev/null; then
    echo "dependencies.sh: there is no apt-get here; install the equivalents of:" \
        "${packages[*]}" >&2
    exit 1
fi

missing=()
for package in "${packages[@]}"; do
    state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

root=()
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "dependencies.sh: needs root or sudo to install ${missing[*]}" >&2
        exit 1
    fi
    root=(sudo)
fi
apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q)
echo "installing ${missing[*]}" >&2
# The lists of a fresh machine are empty or old: fetched only when needed.
install() {
    "${root[@]}" "${apt[@]}" install -y --no-install-recommends "${missing[@]}"
}
said=$(mktemp)
trap 'rm -f "$said"' EXIT
if ! { install || { "${root[@]}" "${apt[@]}" update && install; }; } \
    >"$said" 2>&1; then
    cat "$said" >&2
    exit 1
fi
