# SPDX-License-Identifier: Apache-2.0
"""Who includes whom: the arrows between the folders, one owner for every
foreign header, headers that compile alone, and a file's own header first."""

import concurrent.futures
import json
import os
import re
import shlex
import subprocess

import common

# The arrows of docs/architecture.md: a folder and what it may include.
ARROWS = {
    "base": {"base"},
    "proto": {"base", "proto"},
    "client": {"base", "proto", "client"},
    "sched": {"base", "sched"},
    "kernels": {"base", "kernels"},
    "model": {"base", "kernels", "model"},
    "worker": {"base", "proto", "sched", "kernels", "model", "worker"},
    "daemon": {"base", "proto", "sched", "model", "daemon"},
}
# Of these, nothing may reach kernels/ through any number of headers.
TEXT_ONLY = "daemon"

# Foreign headers: pattern, where they may be included, by how many files.
MANY = 1000
OWNERS = (
    (r"czmq|zmq|zmq_utils", "proto/", MANY),
    (r"protobuf-c/.*|.*\.pb-c", "proto/", MANY),
    (r"mpi|mpi-ext", "worker/", 1),
    (r"cuda.*|cublas.*|nvtx.*|nvToolsExt.*", "kernels/cuda/", MANY),
    (r"cblas|openblas.*|lapacke", "kernels/cpu/", MANY),
    (r"omp", "", 1),
    (r"sqlite3", "daemon/", 1),
    (r"jansson", "base/", 1),
    (r"sodium", "base/", 1),
    (r"pcre2", "model/", MANY),
    (r"utf8proc", "model/", MANY),
    (r"cmocka", "tests/", MANY),
)
SYSTEM = re.compile(
    r"(assert|ctype|errno|float|inttypes|limits|locale|math|setjmp|signal|"
    r"stdalign|stdarg|stdatomic|stdbool|stddef|stdint|stdio|stdlib|"
    r"stdnoreturn|string|strings|time|wchar|"
    r"dirent|dlfcn|fcntl|fnmatch|ftw|getopt|glob|ifaddrs|libgen|link|malloc|"
    r"net/if|netdb|poll|pthread|pwd|sched|semaphore|spawn|syslog|termios|unistd|"
    r"arpa/\w+|netinet/\w+|linux/\w+|sys/\w+|\w+mmintrin|arm_neon|cpuid)\.h")
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]',
                      re.MULTILINE)


def includes_of(text):
    """(line, "<" or '"', name) of every include, not of those in comments."""
    for match in _INCLUDE.finditer(common.code(text, keep_strings=True)):
        yield (text.count("\n", 0, match.start()) + 1, match.group(1),
               match.group(2))


def allowed_folders(path):
    """What the file at `path` may include; tests see what they test."""
    parts = path.split("/")
    if parts[0] != "tests":
        return ARROWS[parts[0]]
    return ARROWS.get(parts[1], set(ARROWS)) | {"tests"}


def check_project_include(report, path, line, name):
    folder = name.split("/")[0]
    if "/" not in name or folder not in common.FOLDERS:
        report.add(path, line, f'"{name}" is no path from the project\'s root',
                   name)
    elif folder not in allowed_folders(path):
        report.add(path, line,
                   f"{path.split('/')[0]}/ may not include {folder}/ ({name})",
                   name)
    elif not name.endswith(".pb-c.h") and not os.path.exists(
            os.path.join(report.root, name)):
        report.add(path, line, f"there is no {name}")


def check_foreign_include(report, path, line, name, users):
    for pattern, owner, n_file in OWNERS:
        if not re.fullmatch(pattern, name.removesuffix(".h")):
            continue
        where = path.removeprefix("tests/") if owner != "tests/" else path
        users.setdefault(pattern, set()).add(path)
        if not where.startswith(owner):
            report.add(path, line, f"<{name}> belongs to {owner}", name)
        elif len(users[pattern]) > n_file:
            report.add(path, line, f"<{name}> belongs to one file: "
                       f"{sorted(users[pattern] - {path})[0]}", name)
        return True
    return False


def check_own_header_first(report, path, found):
    """Directly, or through a private header that itself begins with it."""
    own = path.removesuffix(".c") + ".h"
    if not path.endswith(".c") or not os.path.exists(
            os.path.join(report.root, own)):
        return
    first = found[0][2] if found else ""
    behind = next(includes_of(common.read(report.root, first)), ("",) * 3)[2]
    if own not in (first, behind):
        line = found[0][0] if found else 1
        report.add(path, line, f"the first include is not {own}", own)


def check_file(report, path, found, users):
    for line, bracket, name in found:
        if check_foreign_include(report, path, line, name, users):
            continue
        if bracket == '"':
            check_project_include(report, path, line, name)
        elif not SYSTEM.fullmatch(name):
            report.add(path, line, f"<{name}> has no owner in {__file__}"
                       .replace(report.root + "/", ""), name)
    check_own_header_first(report, path, found)


def way_to_kernels(graph, start):
    """The headers that lead from `start` to kernels/, or None."""
    stack = [[start]]
    seen = set()
    while stack:
        way = stack.pop()
        if way[-1].startswith("kernels/"):
            return way
        if way[-1] in seen:
            continue
        seen.add(way[-1])
        stack += [way + [name] for _, bracket, name in graph.get(way[-1], ())
                  if bracket == '"']
    return None


def check_text_only(report, graph):
    for path, found in graph.items():
        if not path.startswith(TEXT_ONLY + "/"):
            continue
        for line, _, name in found:
            way = way_to_kernels(graph, name)
            if way is not None:
                report.add(path, line, f"{TEXT_ONLY}/ reaches the kernels: "
                           + " -> ".join(way), name)


def compile_flags(build):
    """Search paths and definitions of the build, of all its targets."""
    flags = ["-D_GNU_SOURCE", '-DLONGWAVE_VERSION="0"']
    try:
        with open(os.path.join(build or "", "compile_commands.json"),
                  encoding="utf-8") as file:
            commands = json.load(file)
    except (OSError, ValueError):
        return flags
    for command in commands:
        words = shlex.split(command["command"])
        for at, word in enumerate(words):
            if word == "-isystem" and words[at + 1] not in flags:
                flags += [word, words[at + 1]]
            elif word.startswith("-I") and word not in flags:
                flags.append(word)
    return flags


def compile_alone(root, flags, path):
    """None, or (line, message) of the first error."""
    # cmocka's header asks for four others; tests/expect.h has them.
    done = subprocess.run(
        [os.environ.get("CC", "cc"), "-std=c17", "-fsyntax-only", "-x", "c",
         "-I", root, *flags, "-"],
        input=f'#include "{path}"\n', cwd=root, capture_output=True, text=True,
        check=False)
    if done.returncode == 0:
        return None
    for line in done.stderr.splitlines():
        match = re.match(r"(.+?):(\d+):(?:\d+:)? (?:fatal )?error: (.*)", line)
        if match:
            here = match.group(1).endswith(path)
            return (int(match.group(2)) if here else 1,
                    f"does not compile alone: {match.group(3)}")
    return 1, f"does not compile alone: {done.stderr.strip()[:200]}"


def check_headers(report, build, paths):
    flags = compile_flags(build)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = pool.map(
            lambda path: compile_alone(report.root, flags, path), paths)
        for path, result in zip(paths, results):
            if result is not None and os.path.exists(
                    os.path.join(report.root, path)):
                report.add(path, *result, "alone")


def main():
    report, build = common.start("includes")
    users = {}
    graph = {}
    paths = common.files(report.root, common.C_SUFFIXES)
    for path in paths:
        report.look_at(path)
        found = list(includes_of(common.read(report.root, path)))
        graph[path] = found
        check_file(report, path, found, users)
    check_text_only(report, graph)
    check_headers(report, build, [p for p in paths if p.endswith(".h")])
    report.finish()


if __name__ == "__main__":
    main()
