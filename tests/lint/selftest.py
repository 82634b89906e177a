# SPDX-License-Identifier: Apache-2.0
"""Shows that each checker passes a good tree and fails on each bad one."""

import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
HEAD = "/* SPDX-License-Identifier: Apache-2.0 */\n/* A file. */\n"
GOOD_C = HEAD + ('#include "base/a.h"\n\n#include <string.h>\n\n'
                 "int\na_size(const char *text)\n{\n"
                 "    return (int)strlen(text);\n}\n")
GOOD_H = HEAD + ("#ifndef BASE_A_H\n#define BASE_A_H\n\n"
                 "int a_size(const char *text);\n\n#endif\n")
GOOD = {"base/a.c": GOOD_C, "base/a.h": GOOD_H}


def long_function(n_lines):
    return HEAD + "void\nf(void)\n{\n" + "    ;\n" * (n_lines - 3) + "}\n"


class Lint(unittest.TestCase):
    def run_checker(self, checker, files, compiled=()):
        """(exit status, output) of a checker on a tree of these files."""
        with tempfile.TemporaryDirectory() as root:
            for path, text in files.items():
                path = os.path.join(root, path)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)
            build = os.path.join(root, "build")
            for path in compiled:
                folder, rest = path.split("/", 1)
                made = os.path.join(build, folder, "CMakeFiles", "lw_x.dir",
                                    rest + ".o")
                os.makedirs(os.path.dirname(made), exist_ok=True)
                subprocess.run(
                    [os.environ.get("CC", "cc"), "-fPIC", "-I", root, "-c",
                     os.path.join(root, path), "-o", made], check=True)
            done = subprocess.run(
                [sys.executable, "-B", os.path.join(HERE, checker + ".py"),
                 root, build], capture_output=True, text=True, check=False)
            return done.returncode, done.stdout + done.stderr

    def passes(self, checker, files, compiled=()):
        code, text = self.run_checker(checker, files, compiled)
        self.assertIn(code, (0, 77), text)

    def fails(self, checker, files, *wanted, compiled=()):
        code, text = self.run_checker(checker, files, compiled)
        self.assertEqual(code, 1, text)
        for part in wanted:
            self.assertIn(part, text)


class Includes(Lint):
    def test_good(self):
        self.passes("includes", GOOD)
        self.passes("includes", {
            **GOOD, "tests/base/a_test.c": HEAD + '#include "base/a.h"\n',
            "kernels/k.h": HEAD, "model/m.h": HEAD + '#include "base/a.h"\n',
            "daemon/d.c": HEAD + '#include "model/m.h"\n',
            "worker/w.c": HEAD + "#include <mpi.h>\n"})

    def test_upward(self):
        self.fails("includes",
                   {**GOOD, "proto/p.h": HEAD,
                    "base/b.c": HEAD + '#include "proto/p.h"\n'},
                   "base/b.c:3: base/ may not include proto/")
        self.fails("includes",
                   {**GOOD, "worker/w.h": HEAD,
                    "tests/base/t.c": HEAD + '#include "worker/w.h"\n'},
                   "tests/base/t.c:3:")

    def test_daemon_reaches_kernels(self):
        self.fails("includes",
                   {"kernels/k.h": HEAD,
                    "model/layers.h": HEAD + '#include "kernels/k.h"\n',
                    "model/more.h": HEAD + '#include "model/layers.h"\n',
                    "daemon/d.c": HEAD + '\n#include "model/more.h"\n'},
                   "daemon/d.c:4:", "model/layers.h -> kernels/k.h")

    def test_foreign_headers(self):
        for name, path in (("zmq.h", "daemon/d.c"), ("mpi.h", "base/b.c"),
                           ("cuda_runtime.h", "worker/w.c"),
                           ("cublas_v2.h", "kernels/cpu/k.c"),
                           ("cblas.h", "kernels/k.c"), ("sqlite3.h", "base/b.c"),
                           ("jansson.h", "model/m.c"), ("sodium.h", "proto/p.c"),
                           ("pcre2.h", "daemon/d.c"), ("cmocka.h", "base/b.c"),
                           ("client.pb-c.h", "client/c.c")):
            self.fails("includes", {path: HEAD + f"#include <{name}>\n"},
                       f"{path}:3: <{name}> belongs to")
        self.fails("includes", {"proto/p.c": HEAD + "#include <curl/curl.h>\n"},
                   "proto/p.c:3: <curl/curl.h> has no owner")

    def test_one_file_only(self):
        self.fails("includes", {"worker/a.c": HEAD + "#include <mpi.h>\n",
                                "worker/b.c": HEAD + "#include <mpi.h>\n"},
                   "worker/b.c:3: <mpi.h> belongs to one file: worker/a.c")

    def test_own_header_first(self):
        self.fails("includes",
                   {**GOOD, "base/a.c": HEAD + '#include <string.h>\n'
                    '#include "base/a.h"\n'}, "base/a.c:3: the first include")
        self.passes("includes", {
            **GOOD, "base/a.c": HEAD + '#include "base/a_state.h"\n',
            "base/a_state.h": HEAD + '#include "base/a.h"\n'})

    def test_paths(self):
        self.fails("includes", {**GOOD, "base/b.c": HEAD + '#include "a.h"\n'},
                   "base/b.c:3:")
        self.fails("includes",
                   {**GOOD, "base/b.c": HEAD + '#include "base/no.h"\n'},
                   "base/b.c:3: there is no base/no.h")

    def test_header_alone(self):
        self.fails("includes", {**GOOD, "base/b.h": HEAD + "size_t b(void);\n"},
                   "base/b.h:3: does not compile alone")

    def test_comments_do_not_count(self):
        self.passes("includes", {
            **GOOD, "base/b.c": HEAD + '/*\n#include <mpi.h>\n*/\n'})


class Sizes(Lint):
    def test_good(self):
        self.passes("sizes", {**GOOD, "base/f.c": long_function(60),
                              "kernels/f.c": long_function(100),
                              "tests/base/f.c": long_function(100)})

    def test_long_functions(self):
        self.fails("sizes", {"base/f.c": long_function(61)},
                   "base/f.c:4: f has 61 lines")
        self.fails("sizes", {"kernels/f.c": long_function(101)},
                   "kernels/f.c:4: f has 101 lines")

    def test_long_files(self):
        self.fails("sizes", {"base/f.c": "\n" * 801}, "base/f.c:800:")
        self.fails("sizes", {"base/f.h": "\n" * 301}, "base/f.h:300:")
        self.passes("sizes", {"base/f.c": "\n" * 800, "base/f.h": "\n" * 300})

    def test_parameters(self):
        six = "int a, int b, int c, int d, int e, int (*f)(int, int)"
        self.passes("sizes", {"base/f.c": f"void\nf({six})\n{{\n}}\n"})
        self.fails("sizes",
                   {"base/f.c": f"\nstatic void\nf({six},\n  int g)\n{{\n}}\n"},
                   "base/f.c:3: f has 7 parameters")

    def test_exceptions(self):
        allowed = "sizes base/f.c f because it is a test\n"
        bad = {"base/f.c": long_function(61)}
        self.passes("sizes", {**bad, "tests/lint/exceptions.txt": allowed})
        self.fails("sizes", {"base/f.c": long_function(60),
                             "tests/lint/exceptions.txt": "\n" + allowed},
                   "tests/lint/exceptions.txt:2: the exception for f")
        self.fails("sizes", {"tests/lint/exceptions.txt": allowed},
                   "tests/lint/exceptions.txt:1:")
        self.fails("sizes", {"tests/lint/exceptions.txt": "sizes base/f.c f\n"},
                   "exceptions.txt:1: needs")


class Symbols(Lint):
    def test_good(self):
        self.passes("symbols", GOOD, compiled=["base/a.c"])
        self.passes("symbols", {
            "sched/plan.c": "const int sched_plan_new = 1; static int x(void)"
            "{ return 1; } int sched_plan_y(void) { return x(); }",
            "kernels/cpu/add.c": "void kernel_add(void) { }",
            "base/log_more.c": "void log_more(void) { } void log_x(void) { }",
            "base/log.h": "", "worker/load.c": "void load_it(void) { }"
            "void weights_load(void) { }",
            "worker/weights.h": "void weights_load(void);",
            "base/main.c": "int main(void) { return 0; }",
        }, compiled=["sched/plan.c", "kernels/cpu/add.c", "base/log_more.c",
                     "worker/load.c", "base/main.c"])

    def test_foreign_prefix(self):
        self.fails("symbols", {"base/a.c": "\nint b_size(void) { return 1; }"},
                   "base/a.c:2: b_size does not begin with a_",
                   compiled=["base/a.c"])
        self.fails("symbols", {"base/a.c": "int asize(void) { return 1; }"},
                   "base/a.c:1: asize", compiled=["base/a.c"])

    def test_writable_data(self):
        for text in ("int a_x;", "static int x = 1; int *a_y(void) "
                     "{ return &x; }", "int *a_y(void) { static int x; "
                     "return &x; }"):
            self.fails("symbols", {"base/a.c": text}, "base/a.c:1:",
                       "writable data", compiled=["base/a.c"])
        self.passes("symbols", {"base/a.c": "const int *const a_x = 0; "
                                "const char *const a_y[] = {\"z\"};"},
                    compiled=["base/a.c"])

    def test_nothing_built(self):
        self.fails("symbols", GOOD, "build first")


class Banned(Lint):
    def test_good(self):
        self.passes("banned", {
            **GOOD, "base/m.c": "void f(void) { free(malloc(1)); }",
            "worker/w.c": "void f(void) { snprintf(0, 0, \"exit(1)\"); "
            "my_exit(1); v.exit(2); v->exit(3); /* exit(4) */ }"})

    def test_calls(self):
        for name in ("strcpy", "sprintf", "gets", "atoi", "alloca", "rand",
                     "strtok", "strcat"):
            self.fails("banned", {"base/b.c": f"\nx = {name}(y);\n"},
                       f"base/b.c:2: {name}()")
        for name in ("getenv", "exit", "abort", "malloc", "_exit"):
            self.fails("banned", {"worker/w.c": f"\n{name} (y);\n"},
                       f"worker/w.c:2: {name}()")
            self.passes("banned", {"base/b.c": f"{name} (y);\n"})

    def test_words(self):
        for word in ("TO" + "DO", "FIX" + "ME"):
            self.fails("banned", {"docs/d.md": f"\n{word}: later\n"},
                       "docs/d.md:2:")


class Proto(Lint):
    def test_good(self):
        self.passes("proto", {"proto/a.proto": 'package p;\nmessage A {\n'
                              'optional B b = 1;\nmessage N { int32 x = 1; }\n'
                              'oneof k { N n = 2; B c = 3; }\n}\n'
                              'message B { repeated string a = 1; }\n'})

    def test_direct(self):
        self.fails("proto", {"proto/a.proto": "message A {\n  A a = 1;\n}\n"},
                   "proto/a.proto:2: message A contains itself")

    def test_through_others(self):
        self.fails("proto", {
            "proto/a.proto": 'package p;\nmessage A {\n  p.B b = 1;\n}\n',
            "proto/b.proto": "package p;\nmessage B {\n  oneof k {\n"
            "    map<string, C> c = 1;\n  }\n  message C { A a = 1; }\n}\n"},
            "proto/a.proto:3: message p.A", "proto/b.proto:4: message p.B")


class Format(Lint):
    def test_good(self):
        with open(os.path.join(HERE, "..", "..", ".clang-format"),
                  encoding="utf-8") as file:
            self.passes("format", {**GOOD, ".clang-format": file.read()})

    def test_head(self):
        self.fails("format", {"base/a.c": "int x;\n"}, "base/a.c:1:")
        self.fails("format", {"base/a.c": HEAD.split("\n")[0] + "\nint x;\n"},
                   "base/a.c:2:")

    def test_layout(self):
        files = {"base/a.c": HEAD + "int   x;\n"}
        code, _ = self.run_checker("format", {"base/a.c": HEAD + "int x;\n"})
        if code == 77:
            self.skipTest("no clang-format")
        self.fails("format", files, "base/a.c:3: not as clang-format")


if __name__ == "__main__":
    unittest.main()
