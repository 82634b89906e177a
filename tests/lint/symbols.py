# SPDX-License-Identifier: Apache-2.0
"""Every external symbol begins with the name of its object, and no file keeps
writable data.

Reads the object files of the build with nm.  The object of worker/comm_mpi.c
is "comm_mpi", or "comm" when there is a comm.h beside it; or it is that of the
header in the same folder which declares the symbol: one object may be spread
over several files.  Where the bare word is vague the folder goes in front.
"""

import os
import re
import subprocess

import common

_OBJECT = re.compile(r"^(\w+)/CMakeFiles/[^/]+\.dir/(.+\.c)\.o$")


def objects(build):
    """(object file, source path) of every compiled file of the project."""
    for folder in common.FOLDERS:
        if folder == "tests":
            continue
        for where, _, names in os.walk(os.path.join(build, folder)):
            for name in sorted(names):
                path = os.path.join(where, name)
                match = _OBJECT.match(os.path.relpath(path, build))
                if match:
                    yield path, f"{match.group(1)}/{match.group(2)}"


class Folder:
    """The headers of one folder and the words in them."""

    def __init__(self, root, folder):
        self._words = {}
        for path in common.files(root, (".h",), (folder,)):
            if os.path.dirname(path) == folder:
                name = os.path.basename(path).removesuffix(".h")
                self._words[name] = set(re.findall(
                    r"\w+", common.code(common.read(root, path))))
        self._in_front = [f for part in folder.split("/")
                          for f in (part, part.removesuffix("s"))]

    def objects(self, base, symbol):
        """The names that `symbol` of the file `base`.c may begin with."""
        parts = base.split("_")
        shorter = {"_".join(parts[:n]) for n in range(1, len(parts))}
        names = [base] + sorted(
            name for name, words in self._words.items()
            if name in shorter or symbol in words)
        return names + [f"{f}_{n}" for f in self._in_front for n in names]


def defined(path):
    """(name, class, section) of the symbols that an object file defines."""
    done = subprocess.run(["nm", "--defined-only", "--format=sysv", path],
                          capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        columns = [c.strip() for c in line.split("|")]
        if len(columns) == 7 and columns[0] and columns[0] != "Name":
            yield columns[0], columns[2], columns[6]


def is_writable(section):
    return (section.startswith((".data", ".bss", ".tdata", ".tbss", "*COM*"))
            and not section.startswith(".data.rel.ro"))


def line_of(text, name):
    match = re.search(r"\b%s\b" % re.escape(name), common.code(text))
    return text.count("\n", 0, match.start()) + 1 if match else 1


def check_object(report, path, source, folder):
    text = common.read(report.root, source)
    base = os.path.basename(source).removesuffix(".c")
    report.look_at(source)
    for name, kind, section in defined(path):
        plain = name.split(".")[0]  # gcc numbers statics: "table.3"
        if plain.startswith("__") or not re.match(r"\w", plain):
            continue
        names = folder.objects(base, plain)
        if kind.isupper() and plain != "main" and not any(
                plain == n or plain.startswith(n + "_") for n in names):
            report.add(source, line_of(text, plain),
                       f"{plain} does not begin with {base}_",
                       plain.split("_")[0] + "_")
        if is_writable(section):
            report.add(source, line_of(text, plain),
                       f"{plain} is writable data of the whole process", plain)


def main():
    report, build = common.start("symbols")
    folders = {}
    for path, source in objects(build or ""):
        if not os.path.exists(os.path.join(report.root, source)):
            continue  # left over in the build from a file that went
        where = os.path.dirname(source)
        if where not in folders:
            folders[where] = Folder(report.root, where)
        check_object(report, path, source, folders[where])
    if not folders:
        report.add("CMakeLists.txt", 1, "no object files: build first")
    report.finish()


if __name__ == "__main__":
    main()
