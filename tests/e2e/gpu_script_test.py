#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""deploy/test-gpu.sh with programs that stand in for a build's: what it says
where there is no GPU, where something fails, and where time runs out."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
KERNELS = ("rows", "steps", "sample_steps", "exact")

# What stands in for a program: exits as the file beside it says.
STUB = """#!/bin/sh
[ ! -f "$0.says" ] || cat "$0.says"
[ ! -f "$0.exits" ] || exit "$(cat "$0.exits")"
"""
BENCH = """#!/bin/sh
case "$*" in
*"--layers 1000"*) [ -f "$0.takes-all" ] && exit 0
    echo "1000 layers need 9 MiB, 8 are free: 7 layers would fit"; exit 1 ;;
esac
"""


class Script(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="longwave-gpu-script-")
        self.addCleanup(shutil.rmtree, self.root)
        self.build = os.path.join(self.root, "build-gpu")
        for folder in ("deploy", "tests/golden", "path", "build-gpu/bin",
                       "build-gpu/tests"):
            os.makedirs(os.path.join(self.root, folder))
        shutil.copy(os.path.join(ROOT, "deploy/test-gpu.sh"),
                    os.path.join(self.root, "deploy"))
        self.put("tests/golden/flatten.py", "")
        self.put("path/cmake", STUB)
        self.put("path/compute-sanitizer",
                 "#!/bin/sh\necho Device not supported\nexit 1\n")
        self.put("path/python3", "#!/bin/sh\n[ \"$1\" != -c ]\n")
        self.put("build-gpu/bin/longwave-bench", BENCH)
        for name in KERNELS:
            self.put(f"build-gpu/tests/test_kernels_{name}", STUB)
        for name in ("flat", "engine", "engine_need", "engine_ranks", "ahead",
                     "answer", "half", "read", "lost", "bench_check"):
            self.put(f"build-gpu/tests/test_worker_{name}", STUB)

    def put(self, path, text):
        path = os.path.join(self.root, path)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, 0o755)

    def run_script(self, *flags):
        """(exit status, {step: what became of it}, output)"""
        env = dict(os.environ, PATH=os.path.join(self.root, "path") + ":" +
                   os.environ["PATH"])
        p = subprocess.run(
            ["bash", os.path.join(self.root, "deploy/test-gpu.sh"), *flags],
            env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=100)
        table = p.stdout.split("== result", 1)[-1]
        steps = dict(re.findall(r"^(\S+) +\d+ s  (.*)$", table, re.MULTILINE))
        return p.returncode, steps, p.stdout

    def test_a_file_is_no_folder(self):
        self.put("file", "")
        code, _, out = self.run_script(os.path.join(self.root, "file"))
        self.assertEqual(code, 2, out)
        self.assertRegex(out, "^test-gpu.sh: .*file is no folder to build in\n$")
        code, _, out = self.run_script("one", "two")
        self.assertEqual((code, out[:6]), (2, "usage:"), out)

    def test_without_a_gpu_each_step_says_so(self):
        self.put("build-gpu/tests/test_kernels_steps.exits", "77")
        self.put("build-gpu/tests/test_kernels_steps.says",
                 "skipped: there is no GPU here\n")
        code, steps, out = self.run_script()
        self.assertEqual(code, 77, out)
        self.assertEqual(steps.pop("build"), "ok", out)
        self.assertIn("there is no GPU here", steps.pop("gpu"), out)
        for name in ("kernels_rows", "golden", "worker_engine_ranks",
                     "worker_ahead", "check-1b", "refusal",
                     "memcheck-exact", "1b-1024", "1b-decode", "1b-million",
                     "peer", "rows"):
            self.assertIn(name, steps, out)
        self.assertEqual(set(steps.values()), {"not run: there is no GPU"},
                         out)
        self.assertNotRegex(out, r"FAILED|grep:|cat:|No such file")

    def test_what_fails_is_said_and_the_rest_runs(self):
        code, steps, out = self.run_script("--only", "right", "--quick")
        self.assertEqual(code, 0, out)
        for name in ("gpu", "kernels_rows", "golden", "check-1b", "refusal"):
            self.assertEqual(steps.get(name), "ok", out)
        self.assertIn("no PyTorch", steps["whole-model-pytorch"], out)
        self.assertIn("compute-sanitizer cannot", steps["memcheck-rows"], out)
        self.put("build-gpu/tests/test_kernels_rows.exits", "3")
        self.put("build-gpu/bin/longwave-bench.takes-all", "")
        code, steps, out = self.run_script("--only", "right", "--quick")
        self.assertEqual(code, 1, out)
        self.assertEqual(steps["kernels_rows"], "FAILED (3)", out)
        self.assertEqual(steps["refusal"], "FAILED (1)", out)
        self.assertEqual(steps["golden"], "ok", out)

    def test_what_a_test_leaves_out_is_a_failure(self):
        says = "build-gpu/tests/test_worker_engine.says"
        self.put(says, "ok  a\n  not run: the GPU is gone\n")
        self.put("build-gpu/tests/test_worker_answer.exits", "77")
        self.put("build-gpu/tests/test_worker_engine_need.says",
                 "ok  rows_that_are_skipped\nok  what_is_not_run\n")
        code, steps, out = self.run_script("--only", "right", "--quick")
        self.assertEqual(code, 1, out)
        for name in ("worker_engine", "answers"):
            self.assertEqual(steps[name], "FAILED: left tests out", out)
        self.assertIn("the GPU is gone", out)
        self.assertEqual(steps["worker_engine_need"], "ok", out)

    def test_a_build_that_fails_ends_it(self):
        self.put("path/cmake.exits", "1")
        code, steps, out = self.run_script()
        self.assertEqual(code, 1, out)
        self.assertEqual(steps, {"build": "FAILED (1)"}, out)

    def test_it_goes_on_where_it_was_told_to(self):
        code, steps, out = self.run_script("--only", "right", "--from",
                                           "answers")
        self.assertEqual(code, 0, out)
        self.assertNotIn("golden", steps, out)
        self.assertEqual(steps["answers"], "ok", out)
        code, steps, out = self.run_script("--from", "nothing")
        self.assertEqual(code, 1, out)
        self.assertIn("there is no step nothing", out)
        code, steps, out = self.run_script("--within", "0")
        self.assertEqual(code, 3, out)
        self.assertIn("go on with --from build", out)


if __name__ == "__main__":
    if shutil.which("timeout") is None:
        sys.exit("there is no timeout(1)")
    unittest.main()
