# SPDX-License-Identifier: Apache-2.0
"""Files, functions and lists of parameters stay within the hard limits."""

import re

import common

FILE_LINES = {".c": 800, ".cu": 800, ".h": 300, ".cuh": 300}
FUNCTION_LINES = 60
LONG_FUNCTION_LINES = 100  # kernels, and tests with their tables
PARAMETERS = 6

_NAME = re.compile(r"^(?:[A-Za-z_][\w \t*]*[ \t*])?([A-Za-z_]\w*)\(")


def functions(text):
    """(name, first line, last line, number of parameters) of definitions.

    The house format puts the name, the opening and the closing brace of a
    function into column 0, and nothing else of it.
    """
    lines = text.split("\n")
    for at, line in enumerate(lines):
        if line != "{":
            continue
        first = at - 1
        while first > 0 and (lines[first][:1].isspace() or
                             not lines[first].strip()):
            first -= 1
        match = _NAME.match(lines[first])
        if match is None:
            continue
        last = at
        while last < len(lines) - 1 and not lines[last].startswith("}"):
            last += 1
        head = " ".join(lines[first:at])
        yield match.group(1), first + 1, last + 1, parameters(
            head[match.end(1):])


def parameters(text):
    """Number of parameters in "(int a, void (*f)(int, int))"."""
    depth = commas = 0
    for character in text:
        depth += (character == "(") - (character == ")")
        commas += character == "," and depth == 1
    inside = text.strip()[1:-1].strip()
    return 0 if inside in ("", "void") else commas + 1


def check_file(report, path):
    text = common.read(report.root, path)
    report.look_at(path)
    limit = FILE_LINES[path[path.rindex("."):]]
    n_lines = text.count("\n")
    if n_lines > limit:
        report.add(path, limit, f"{n_lines} lines, over {limit}", "lines")
    long = path.startswith(("kernels/", "tests/"))
    limit = LONG_FUNCTION_LINES if long else FUNCTION_LINES
    for name, first, last, n_parameter in functions(common.code(text)):
        if last - first + 1 > limit:
            report.add(path, first,
                       f"{name} has {last - first + 1} lines, over {limit}",
                       name)
        if n_parameter > PARAMETERS:
            report.add(path, first, f"{name} has {n_parameter} parameters, "
                       f"over {PARAMETERS}", name)


def main():
    report, _ = common.start("sizes")
    for path in common.files(report.root, common.C_SUFFIXES):
        check_file(report, path)
    report.finish()


if __name__ == "__main__":
    main()
