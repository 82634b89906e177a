# SPDX-License-Identifier: Apache-2.0
"""Functions with a better one in base/, and words that mean unfinished."""

import re

import common

# Nobody needs these: no bounds, no errors, or hidden state.
NEVER = ("strcpy strcat sprintf vsprintf gets atoi atol atof alloca rand srand "
         "strtok").split()
# base/ has the checked form of the first two lines; only main() may exit.
BASE_ONLY = ("getenv secure_getenv setenv putenv "
             "malloc calloc realloc strdup strndup "
             "abort assert exit _exit quick_exit").split()
WORDS = ("TO" + "DO", "FIX" + "ME", "X" + "XX")
TEXT = (".c", ".h", ".cu", ".cuh", ".proto", ".py", ".sh", ".txt", ".cmake",
        ".md", ".sql", ".service")
EVERYWHERE = common.FOLDERS + ("deploy", "docs")


def line_of(text, at):
    return text.count("\n", 0, at) + 1


def check_calls(report, path, text):
    names = list(NEVER)
    if not path.startswith(("base/", "tests/")):
        names += BASE_ONLY
    calls = re.compile(r"(?<![\w.>])(%s)\s*\(" % "|".join(names))
    for match in calls.finditer(common.code(text)):
        name = match.group(1)
        report.add(path, line_of(text, match.start()), f"{name}() is banned",
                   name)


def check_words(report, path, text):
    for match in re.finditer(r"\b(%s)\b" % "|".join(WORDS), text):
        report.add(path, line_of(text, match.start()),
                   f"{match.group(1)}: finish it, or open an issue",
                   match.group(1))


def main():
    report, _ = common.start("banned")
    for path in common.files(report.root, TEXT, EVERYWHERE):
        text = common.read(report.root, path)
        report.look_at(path)
        check_words(report, path, text)
        if path.endswith(common.C_SUFFIXES):
            check_calls(report, path, text)
    report.finish()


if __name__ == "__main__":
    main()
