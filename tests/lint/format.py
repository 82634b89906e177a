# SPDX-License-Identifier: Apache-2.0
"""The first two lines of C files, and clang-format where it is installed.

Versions of clang-format disagree with each other, so only Debian 12's counts.
"""

import re
import shutil
import subprocess
import sys

import common

CLANG_FORMAT_MAJOR = 14
SKIPPED = 77  # ctest shows the test as skipped
LICENSE = "/* SPDX-License-Identifier: Apache-2.0 */"


def find_clang_format():
    for name in (f"clang-format-{CLANG_FORMAT_MAJOR}", "clang-format"):
        path = shutil.which(name)
        if path is None:
            continue
        version = subprocess.run([path, "--version"], capture_output=True,
                                 text=True, check=False).stdout
        match = re.search(r"version (\d+)", version)
        if match and int(match.group(1)) == CLANG_FORMAT_MAJOR:
            return path
    return None


def check_head(report, path):
    lines = (common.read(report.root, path).splitlines() + ["", ""])[:2]
    if lines == ["", ""]:
        return
    if lines[0] != LICENSE:
        report.add(path, 1, f"the first line is not {LICENSE}")
    elif not re.match(r"/\* [A-Z`\"a-z0-9].", lines[1]):
        report.add(path, 2, "the second line does not say what the file is")


def check_format(report, tool, paths):
    done = subprocess.run([tool, "--dry-run", "-Werror", *paths],
                          cwd=report.root, capture_output=True, text=True,
                          check=False)
    seen = set()
    for line in done.stderr.splitlines():
        match = re.match(r"(.+?):(\d+):\d+: error: ", line)
        if match and match.group(1) not in seen:
            seen.add(match.group(1))
            report.add(match.group(1), int(match.group(2)),
                       "not as clang-format -i leaves it (from here on)")
    if done.returncode != 0 and not seen:
        report.add(".clang-format", 1,
                   f"clang-format failed: {done.stderr.strip()[:200]}")


def main():
    report, _ = common.start("format")
    paths = common.files(report.root, (".c", ".h"))
    for path in paths:
        report.look_at(path)
        check_head(report, path)
    tool = find_clang_format()
    if tool is not None:
        check_format(report, tool, paths)
        report.finish()
    try:
        report.finish()
    except SystemExit as end:
        if end.code != 0:
            raise
    print(f"skipped: no clang-format {CLANG_FORMAT_MAJOR}")
    sys.exit(SKIPPED)


if __name__ == "__main__":
    main()
