#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Commands in Python: files and flags that cannot be used cost one sentence
and exit status 2, and Ctrl-C ends without a trace."""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
GOLDEN = os.path.join(ROOT, "tests", "golden", "armt-llama")


class Commands(unittest.TestCase):
    def setUp(self):
        self.work = tempfile.mkdtemp(prefix="longwave-commands-")
        self.addCleanup(shutil.rmtree, self.work)
        self.file = self.put("file", "text")
        self.folder = self.at("folder")
        os.mkdir(self.folder)
        self.none = self.at("none", "at", "all")

    def at(self, *names):
        return os.path.join(self.work, *names)

    def put(self, name, text):
        with open(self.at(name), "w", encoding="utf-8") as out:
            out.write(text)
        return self.at(name)

    def command(self, name, *flags):
        return [sys.executable, "-B", os.path.join(ROOT, name),
                *map(str, flags)]

    def refused(self, says, name, *flags, code=2):
        done = subprocess.run(self.command(name, *flags), text=True,
                              capture_output=True, timeout=60, check=False,
                              stdin=subprocess.DEVNULL)
        told = done.stderr
        self.assertEqual((done.returncode, done.stdout), (code, ""), told)
        self.assertNotIn("Traceback", told)
        # argparse shows the usage before it.
        lines = [line for line in told.splitlines()
                 if line.startswith(os.path.basename(name))]
        self.assertEqual(len(lines), 1, told)
        self.assertTrue(told.endswith(lines[0] + "\n"), told)
        self.assertIn(says, lines[0])

    def test_make_tiny(self):
        def refused(says, *flags):
            self.refused(says, "model/make_tiny.py", *flags)

        refused(f"{self.file} is there already", "--out", self.file)
        refused("Not a directory", "--out", self.at("file", "below"))
        refused("/proc/none", "--out", "/proc/none")
        os.mkdir(os.path.join(self.folder, "config.json"))
        refused("Is a directory", "--out", self.folder)
        refused("--layers", "--out", self.at("new"), "--layers", "many")
        refused("at least 1", "--out", self.at("new"), "--layers", "0")
        self.assertFalse(os.path.exists(self.at("new")))
        with open(self.file, encoding="utf-8") as left:
            self.assertEqual(left.read(), "text")

    def test_convert(self):
        def refused(says, *flags, source=GOLDEN, out="new"):
            self.refused(says, "model/convert.py", "--in", source, "--out",
                         self.at(out), *flags)

        refused("is not there", source=self.none)
        refused("neither", source=self.folder)
        refused("is there already", out="file")
        refused("--segment-size", "--segment-size", "many")
        refused("--memory-heads", "--memory-heads", "0")
        refused("--lora-alpha", "--lora-alpha", "x")
        refused("No such file", "--base-config", self.none)
        refused("no JSON object", "--base-config", self.file)
        few = self.put("few.json", '{"model_type": "llama"}')
        refused("no known model", "--base-config", few)
        for text in ("", "x", "12345678[]", "\x02" + "\0" * 7 + "[]",
                     "\x08" + "\0" * 7 + '{"a":{}}'):
            bad = self.put("bad.safetensors", text)
            refused("bad.safetensors", source=bad)
        self.assertFalse(os.path.exists(self.at("new")))

    def test_the_demo(self):
        def refused(says, *flags):
            self.refused(says, "deploy/demo_book.py", *flags)

        refused("No such file", "hide", self.none, self.at("new"))
        refused("Is a directory", "hide", self.folder, self.at("new"))
        refused("100 sentences", "hide", self.file, self.at("new"))
        refused("--bytes", "hide", self.file, self.at("new"), "--bytes", "x")
        with open(self.at("bytes"), "wb") as out:
            out.write(b"\xff\xfe")
        refused("utf-8", "hide", self.at("bytes"), self.at("new"))
        refused("No such file", "ask", self.none, "name")
        self.assertFalse(os.path.exists(self.at("new")))
        for text in (self.none, self.folder):
            done = subprocess.run(
                ["bash", os.path.join(ROOT, "deploy/demo.sh"), "--text",
                 text], capture_output=True, text=True, timeout=60,
                check=False)
            self.assertEqual((done.returncode, done.stdout, done.stderr),
                             (2, "", f"demo.sh: --text {text}: not a file "
                              "that can be read\n"))

    def test_the_soak(self):
        for name in ("soak", "load", "costs", "texts"):
            self.refused("there is no longwaved in", f"tests/soak/{name}.py",
                         "--bin", self.none)
        shutil.copy(sys.executable, self.at("folder", "longwaved"))
        for flag in ("--seconds", "--clients"):
            self.refused(flag, "tests/soak/soak.py", "--bin", self.folder,
                         flag, "0")
        self.refused("there is no family", "tests/soak/texts.py", "--bin",
                     self.folder, "none")
        self.refused("No such file", "tests/soak/check.py", self.none)

    def test_training_without_its_modules(self):
        """Where they are, it is a file that is missing."""
        for name, *flags in (
                ("export", "--checkpoint", self.none, "--tokenizer",
                 self.none, "--out", self.at("new")),
                ("evaluate", "--model", self.none, "--data", self.none),
                ("make_golden", "--model", self.none, "--data", self.none,
                 "--out", self.at("new")),
                ("check_golden", self.none)):
            done = subprocess.run(
                self.command(f"model/train/{name}.py", *flags), text=True,
                capture_output=True, timeout=120, check=False)
            self.assertIn(done.returncode, (1, 2), done.stderr)
            self.assertNotIn("Traceback", done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)

    def test_a_fault_keeps_its_trace(self):
        path = self.put("fault.py", f"import sys\nsys.path.append("
                        f"{os.path.join(ROOT, 'model')!r})\n"
                        "import command\nassert not command\n")
        done = subprocess.run([sys.executable, "-B", path], text=True,
                              capture_output=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("Traceback", done.stderr)

    def test_ctrl_c(self):
        """A large model that is being written."""
        made = subprocess.Popen(
            self.command("model/make_tiny.py", "--out", self.at("new"),
                         "--layers", "64", "--d-model", "1024"),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        weights = self.at("new", "model.safetensors")
        end = time.monotonic() + 30
        while not os.path.exists(weights) and time.monotonic() < end:
            time.sleep(0.02)
        made.send_signal(signal.SIGINT)
        self.assertEqual(made.communicate(timeout=30), ("", ""))
        self.assertEqual(made.returncode, 130)


if __name__ == "__main__":
    unittest.main()
