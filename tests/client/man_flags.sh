#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Checks that a manual page has every flag of a program, and that --help says
# what 0 means where it is a default and no mere number:
# man_flags.sh PAGE PROGRAM [SUBCOMMAND ...]
set -eu
page=$1
program=$2
shift 2
missing=0

check() {
    flags=$("$program" "$@" --help | sed -n 's/^  --\([a-z0-9-]*\).*/\1/p')
    [ -n "$flags" ] || { echo "$program $*: no flags in --help"; exit 1; }
    for flag in $flags; do
        grep -q -e "Fl -$flag\( \|\$\)" "$page" || {
            echo "$page: --$flag of '$program $*' is missing"
            missing=1
        }
    done
    # A flag's text may go on in further lines.
    silent=$("$program" "$@" --help | awk '
        function look() {
            if (text ~ /\(default +0\)/ && text !~ / 0: / &&
                text !~ /^ +--seed /)
                print text
        }
        /^  [ -]/ { if (/^  --/) { look(); text = $0 } else text = text $0
                    next }
        { look(); text = "" }
        END { look() }')
    [ -z "$silent" ] || {
        echo "'$program $* --help' does not say what 0 means:"
        echo "$silent"
        missing=1
    }
}

[ $# -gt 0 ] || check
for subcommand in "$@"; do
    check "$subcommand"
done
exit $missing
