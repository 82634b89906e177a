# SPDX-License-Identifier: Apache-2.0
"""What the checkers share: the tree, C without its comments, the report.

A checker is run as `CHECKER.py ROOT [BUILD]`, prints one line "path:line: what
is wrong" for each finding and exits with 1 if there is any.  exceptions.txt
lists what is allowed to differ, with the reason; an exception that nothing
needs any more is a finding too.
"""

import os
import re
import sys

FOLDERS = ("base", "proto", "sched", "kernels", "model", "worker", "daemon",
           "client", "tests")
C_SUFFIXES = (".c", ".h", ".cu", ".cuh")


def files(root, suffixes, folders=FOLDERS):
    """Paths relative to `root`, sorted.  Files may come and go meanwhile."""
    found = []
    for folder in folders:
        for where, dirs, names in os.walk(os.path.join(root, folder)):
            dirs[:] = [d for d in dirs if not d.startswith((".", "__"))]
            for name in names:
                if name.endswith(suffixes):
                    path = os.path.join(where, name)
                    found.append(os.path.relpath(path, root))
    return sorted(found)


def read(root, path):
    """The text of a file; "" when it is gone or none."""
    try:
        with open(os.path.join(root, path), encoding="utf-8",
                  errors="replace") as file:
            return file.read()
    except (FileNotFoundError, IsADirectoryError):
        return ""


_NOT_CODE = re.compile(
    r"""/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""",
    re.DOTALL)


def code(text, keep_strings=False):
    """C text with comments (and literals) blanked; the lines stay."""
    def blank(match):
        what = match.group(0)
        if keep_strings and what[0] in "\"'":
            return what
        return re.sub(r"[^\n]", " ", what)
    return _NOT_CODE.sub(blank, text)


class Exceptions:
    """The lines of exceptions.txt that belong to one checker."""

    def __init__(self, root, checker):
        self._lines = {}
        self._used = set()
        self._path = os.path.join("tests", "lint", "exceptions.txt")
        text = read(root, self._path)
        for number, line in enumerate(text.splitlines(), 1):
            words = line.split(None, 3)
            if not words or words[0].startswith("#") or words[0] != checker:
                continue
            if len(words) < 4:
                sys.exit(f"{self._path}:{number}: needs a checker, a path, "
                         "what is allowed, and a reason")
            self._lines[words[1], words[2]] = number

    def allows(self, path, what):
        key = (path, what)
        if key in self._lines:
            self._used.add(key)
            return True
        return False

    def unused(self, seen):
        """Those nothing asked for, of files that were looked at or are gone."""
        for key in sorted(self._lines.keys() - self._used):
            yield self._path, self._lines[key], key, key[0] in seen


class Report:
    """Collects findings and ends the checker."""

    def __init__(self, root, checker):
        self.root = root
        self.checker = checker
        self.exceptions = Exceptions(root, checker)
        self._seen = set()
        self._findings = []

    def look_at(self, path):
        self._seen.add(path)

    def add(self, path, line, message, what=None):
        """`what` is the word that exceptions.txt would have to name."""
        if what is not None and self.exceptions.allows(path, what):
            return
        self._findings.append((path, line, message))

    def finish(self):
        for path, line, (where, what), seen in self.exceptions.unused(
                self._seen):
            if seen or not os.path.exists(os.path.join(self.root, where)):
                self._findings.append(
                    (path, line, f"the exception for {what} in {where} is "
                     "not needed"))
        for path, line, message in sorted(self._findings):
            print(f"{path}:{line}: {message}")
        print(f"lint.{self.checker}: {len(self._seen)} files, "
              f"{len(self._findings)} findings")
        sys.exit(1 if self._findings else 0)


def start(checker):
    """(report, build directory or None) from the command line."""
    if len(sys.argv) not in (2, 3):
        sys.exit(f"usage: {checker}.py ROOT [BUILD]")
    root = os.path.abspath(sys.argv[1])
    build = os.path.abspath(sys.argv[2]) if len(sys.argv) == 3 else None
    return Report(root, checker), build
