# SPDX-License-Identifier: Apache-2.0
"""longwave-eval and the sample model through a daemon: the answers are those
of the code that trained it, and what cannot be is told in one sentence."""
import json
import os
import re
import shutil
import subprocess
import sys
import unittest

from harness import BIN, ROOT, WAIT, Place, main

PROGRAM = ROOT / "client/eval/longwave-eval"
SAMPLE = ROOT / "model/sample"
PROSE = ROOT / "tests/client/prose.txt"
# What model/train/eval_torch.py was told.
GOLDEN = ["--seed", "golden", "--tasks", "key,person,silent", "--tokens",
          "2000,8000", "--questions", "7", "--documents", "1", "--jobs", "1"]
SMALL = ["--seed", "1", "--tasks", "key", "--tokens", "1500", "--questions",
         "1", "--documents", "1", "--jobs", "1"]
TOLD = ("task", "tokens", "document", "question", "answer", "said", "off")


def answers(path):
    with open(path, encoding="utf-8") as f:
        rows = [json.loads(line) for line in f]
    return [{key: row[key] for key in TOLD} for row in rows]


class Evaluation(Place):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.tiny, cls.model = cls.model, SAMPLE
        cls.daemon = cls.start("--workers", "1")

    def evaluate(self, *flags, connect=None, **options):
        command = [sys.executable, "-B", PROGRAM, "--prose", PROSE,
                   "--longwave", BIN / "longwave", "--connect",
                   connect or self.endpoint, *flags]
        return subprocess.run(command, stderr=subprocess.PIPE, text=True,
                              check=False, timeout=3 * WAIT,
                              **{"stdout": subprocess.PIPE, **options})

    def told(self, sentence, code, *flags, **options):
        run = self.evaluate(*SMALL, *flags, **options)
        self.assertEqual(run.returncode, code, run.stderr)
        said = [line for line in run.stderr.splitlines()
                if not re.fullmatch(r"key at .*%, \d+ s", line)]
        self.assertEqual(len(said), 1, run.stderr)
        self.assertRegex(said[0], "^longwave-eval: .*" + sentence)
        self.assertNotIn("error:", said[0])
        self.assertEqual(self.call("list")["documents"], [])

    def test_answers_are_those_of_the_code_that_trained_it(self):
        out = {name: self.dir / name for name in ("json", "plot", "answers")}
        run = self.evaluate(*GOLDEN, *(x for name, path in out.items()
                                       for x in ("--" + name, path)))
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertEqual(answers(out["answers"]),
                         answers(ROOT / "tests/e2e/sample_answers.jsonl"),
                         "model/train/eval_torch.py writes that file")
        got = json.loads(out["json"].read_text())
        self.assertEqual(got["seed"], "golden")
        self.assertEqual([(c["task"], c["tokens"]) for c in got["cells"]],
                         [(task, n) for n in (2000, 8000)
                          for task in ("key", "person", "silent")])
        for cell in got["cells"]:
            self.assertLess(abs(cell["tokens_read"] / cell["tokens"] - 1), 0.1)
            self.assertEqual(len(cell["state_norms"]), 6)
            low, high = cell["interval"]
            self.assertTrue(0 <= low <= cell["accuracy"] <= high <= 1)
            self.assertLessEqual(cell["memory_off"],
                                 cell["most_frequent"] + 0.05)
        self.assertEqual(len(run.stdout.splitlines()), 1 + 6 + 1)
        self.assertEqual(out["plot"].read_text().count("<circle"), 6)
        self.assertEqual(self.call("list")["documents"], [])

    def test_prose_that_repeats_is_told(self):
        run = self.evaluate(*SMALL, "--tokens", "8000")
        self.assertIn("8,000*", run.stdout)
        self.assertIn("longer than the prose", run.stdout)

    def test_what_cannot_be_used_is_bad_input(self):
        self.told("is not an endpoint", 2, connect="rubbish")
        self.told("key at 20 tokens: too few facts", 2, "--tokens", "20")

    def test_what_does_not_work_has_failed(self):
        self.told("no daemon listens", 1, connect=f"ipc://{self.dir}/none")
        for flag in ("--json", "--answers", "--plot"):
            self.told("/dev/full: No space left", 1, flag, "/dev/full")
        with open("/dev/full", "w", encoding="utf-8") as full:
            self.told("standard output: No space left", 1, stdout=full)

    def test_a_model_without_a_tokenizer(self):
        self.assertEqual(self.stop(self.daemon), 0)
        bare = self.dir / "bare"
        shutil.copytree(self.tiny, bare)
        os.unlink(bare / "tokenizer.json")
        try:
            type(self).model = bare
            daemon = self.start("--workers", "1", data="bare.data")
            self.wait_worlds(1)
            self.told("tokenizer", 2)
            self.assertEqual(self.stop(daemon), 0)
        finally:
            type(self).model = SAMPLE
            type(self).daemon = self.start("--workers", "1")


class Demo(unittest.TestCase):
    def test_a_book_that_cannot_be_read_is_told_before_anything_is_built(self):
        for text in ("/no/such/book", str(ROOT), "no such book"):
            run = subprocess.run(
                [ROOT / "deploy/demo.sh", "--text", text], timeout=WAIT,
                capture_output=True, text=True, check=False, cwd="/tmp")
            path = os.path.join("/tmp", text)
            self.assertEqual(
                (run.returncode, run.stdout, run.stderr),
                (2, "", f"demo.sh: --text {path}: "
                        "not a file that can be read\n"))


if __name__ == "__main__":
    main()
