#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The documents and the counting of longwave-eval.

usage: eval_test.py SOURCE"""
import argparse
import hashlib
import importlib.util
import os
import random
import subprocess
import sys
import tempfile
import unittest
from importlib.machinery import SourceFileLoader

SOURCE = os.path.abspath(sys.argv.pop(1))
sys.path[:0] = [os.path.join(SOURCE, "client", "eval"),
                os.path.join(SOURCE, "model", "train")]
import report   # noqa: E402
import tasks    # noqa: E402
import words    # noqa: E402

PROGRAM = os.path.join(SOURCE, "client", "eval", "longwave-eval")
SPEC = importlib.util.spec_from_loader(
    "longwave_eval", SourceFileLoader("longwave_eval", PROGRAM))
longwave_eval = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(longwave_eval)

PROSE = tasks.Prose(" ".join(f"Here is sentence number {i} of the prose."
                             for i in range(2000)))


def one(task, seed=1, size=8000):
    return tasks.document(task, random.Random(seed), PROSE, size)


class Documents(unittest.TestCase):
    def test_a_seed_gives_one_document(self):
        for task in tasks.TASKS:
            self.assertEqual(one(task).text, one(task).text)
            self.assertNotEqual(one(task).text, one(task, 2).text)

    def test_an_answer_was_told_last_where_its_question_says(self):
        for task in tasks.TASKS:
            for seed in range(20):
                doc = one(task, seed)
                for q in doc.questions:
                    if not q.told:
                        self.assertEqual(q.answer, tasks.SILENT)
                        continue
                    told = doc.text[:q.needs]
                    self.assertTrue(told.endswith("."), told[-60:])
                    self.assertIn(q.answer, told)
                    self.assertAlmostEqual(q.place, q.needs / len(doc.text))

    def test_facts_stand_between_sentences(self):
        """With a space on both sides, whatever the paragraphs begin with."""
        prose = tasks.Prose("\n".join(
            f'"Is this line {i}?" she said. It was.' for i in range(500)))
        for task in tasks.TASKS:
            for seed in range(20):
                doc = tasks.document(task, random.Random(seed), prose, 8000)
                for q in doc.questions:
                    if q.told:
                        self.assertRegex(doc.text[q.needs:q.needs + 1],
                                         r"^\s?$")

    def test_places_are_uniform_over_the_text(self):
        """Of 1,600 facts a tenth of the text has 160; six deviations off
        would be 72."""
        places = [q.place for seed in range(200)
                  for q in one("key", seed, 20000).questions]
        for i in range(10):
            here = sum(int(p * 10) == i for p in places)
            self.assertAlmostEqual(here, len(places) / 10, delta=72)

    def test_numbers_of_the_tasks(self):
        self.assertEqual(len(one("key").questions), 8)
        self.assertEqual(len(one("person").questions), 7)
        self.assertEqual(len(one("object").questions), 3)
        mixed = [q.told for q in one("silent").questions]
        self.assertEqual((mixed.count(True), mixed.count(False)), (8, 8))

    def test_moves_and_carriers(self):
        """Eight persons of five moves each between ten places; three things
        that three persons have one after another."""
        persons, things = tasks.words("names"), tasks.words("objects")
        for seed in range(50):
            facts = tasks.tell_moves(random.Random(seed), 3)
            who = {}
            for _, subject, value in facts:
                who.setdefault(subject, []).append(value)
            self.assertEqual([len(who[p]) for p in who if p in persons],
                             [5] * 8)
            carriers = [who[o] for o in who if o in things]
            self.assertEqual([len(set(c)) for c in carriers], [3] * 3)
            self.assertEqual([len(c) for c in carriers], [3] * 3)
            places = {x for p in who if p in persons for x in who[p]}
            self.assertLessEqual(len(places), 10)
            doc = one("person", seed)
            last = max(doc.text.rfind(p) for p in persons)
            self.assertFalse([q for q in doc.questions if doc.text[
                last:].split()[0].strip(".") in q.text.split()])

    def test_a_person_who_moved_is_where_he_went_last(self):
        doc = one("person", 5)
        for q in doc.questions:
            name = next(n for n in tasks.words("names")
                        if f" {n} " in q.text or f" {n}?" in q.text)
            last = doc.text.rindex(name)
            self.assertIn(q.answer, doc.text[last:last + 60])

    def test_sizes_and_prose_that_repeats(self):
        self.assertAlmostEqual(len(one("key").text), 8000, delta=400)
        long = 3 * len(PROSE.text)
        self.assertAlmostEqual(len(one("key", size=long).text), long,
                               delta=400)

    def test_training_shares_nothing(self):
        for name, mine in words.EVAL.items():
            theirs = words.TRAIN[name]
            if isinstance(mine, str):
                mine, theirs = mine.split(), theirs.split()
            self.assertFalse(set(mine) & set(theirs), name)
        # As another kind of word training may have one.
        kinds = ("names", "adjectives", "nouns", "places", "objects")
        mine, theirs = ({w for kind in kinds for w in side[kind].split()}
                        for side in (words.EVAL, words.TRAIN))
        self.assertEqual(sorted(mine & theirs), [
            "attic", "cellar", "chapel", "laboratory", "ladder", "lantern",
            "museum", "square"])


def row(right, told=True, document=0, said="x", place=0.5, age=200):
    return {"right": right, "told": told, "document": document, "said": said,
            "place": place, "age": age, "answer": "x", "off": False,
            "last": False}


class Counting(unittest.TestCase):
    about = {"tokens": 1000, "segments": 4, "repeats": False, "norms": None}

    def test_a_mixed_set_counts_by_halves(self):
        rows = [row(True)] * 9 + [row(False)] + [row(False, told=False)] * 2
        self.assertAlmostEqual(report.accuracy(rows), 0.45)

    def test_intervals_are_drawn_by_document(self):
        """All answers of a document are alike: it counts as one."""
        rows = [row(d % 2 == 0, document=d) for d in range(6)
                for _ in range(100)]
        low, high = report.interval(rows, 1)
        self.assertLess(low, 0.2)
        self.assertGreater(high, 0.8)

    def test_baselines_count_by_halves_too(self):
        """Who always says that it was not mentioned has one half right."""
        rows = [{**row(True, told=False), "answer": "not mentioned"}] * 9 + [
            {**row(True), "last": True}] * 3
        cell = report.cell("silent", 1000, rows, self.about, 1)
        self.assertEqual(cell["most_frequent"], 0.5)
        self.assertEqual(cell["last_value"], 0.5)

    def test_places_and_silence(self):
        rows = [row(True, place=0.1), row(False, place=0.99,
                                          said="not mentioned")]
        cell = report.cell("key", 1000, rows, self.about, 1)
        self.assertEqual(cell["by_place"], [1, None, None, None, 0])
        self.assertEqual(cell["told_called_silent"], 0.5)
        self.assertIsNone(cell["newer_than_100_segments"])
        self.assertIn("1,000", report.table([cell]))
        self.assertTrue(report.plot([cell]).endswith("</svg>\n"))


class Plan(unittest.TestCase):
    def test_ten_millions_of_the_first_task_alone(self):
        def cells(tokens, names):
            return longwave_eval.cells_of(
                argparse.Namespace(tokens=tokens, tasks=names))
        self.assertEqual(len(cells(None, list(tasks.TASKS))), 4 * 4 + 1)
        self.assertEqual(cells(None, ["key"])[-1], (10000000, "key"))
        self.assertEqual(cells(None, ["person"])[-1], (1000000, "person"))
        self.assertEqual(cells([64], ["key"]), [(64, "key")])

    def test_a_seed_is_of_all_parts_of_the_weights(self):
        with tempfile.TemporaryDirectory() as d:
            for name in ("b.safetensors", "a.safetensors", "config.json"):
                with open(os.path.join(d, name), "w", encoding="utf-8") as f:
                    f.write(name)
            self.assertEqual(longwave_eval.seed_of(d), hashlib.sha256(
                b"a.safetensorsb.safetensors").hexdigest()[:8])
            with open(os.path.join(d, "model.safetensors"), "wb") as f:
                f.write(b"one")
            self.assertEqual(longwave_eval.seed_of(d),
                             hashlib.sha256(b"one").hexdigest()[:8])


class Played:
    """A daemon in which a word is a token and a segment has a hundred."""

    def __init__(self):
        self.added = []

    def add(self, name, text):
        self.added.append(name)
        return {"tokens": 1 + len(text.split())}

    def remove(self, name):
        self.added.remove(name)

    def ask(self, *_):
        return "42"


class Sight(unittest.TestCase):
    def test_a_length_is_of_the_whole_prose(self):
        """Half of it has three times as many tokens: as many as there are on
        average are reckoned with, within a fifth."""
        eval_ = object.__new__(longwave_eval.Eval)
        eval_.daemon, eval_.tag = Played(), "t"
        eval_.daemon.show = lambda name: {"snapshot_bytes": 0}
        eval_.prose = tasks.Prose("a b c d e. " * 20000
                                  + "abcdef ghij. " * 17000)
        for seed in range(5):
            eval_.flags = argparse.Namespace(seed=seed)
            self.assertAlmostEqual(eval_.probe(), 3.2, delta=0.6)

    def test_only_what_is_outside_the_last_two_segments_is_scored(self):
        """Long words first, shorter ones at the end: places in the text are not
        those in tokens."""
        eval_ = object.__new__(longwave_eval.Eval)
        eval_.daemon, eval_.tag = Played(), "t"
        eval_.flags = argparse.Namespace(generate=4)
        text = " ".join(["abcde"] * 400 + ["abcd"] * 240)
        shown = {"tokens": 641, "segments": 7, "pending_tokens": 41}
        for behind, scored in ((140, 0), (141, 1), (200, 1), (400, 1),
                               (1, 0)):
            at = len(" ".join(text.split()[:640 - behind]))
            q = tasks.Question("?", "42", at, at / len(text), True)
            rows = eval_.question(tasks.Document(text, [q], ""), q, "d",
                                  shown, 0)
            self.assertEqual(len(rows), scored, behind)
        self.assertEqual(eval_.daemon.added, [])


class Usage(unittest.TestCase):
    """What cannot be used costs one sentence and status 2, before anything
    is asked of a daemon."""

    def refuses(self, told, *flags, prose=PROSE.text.encode()):
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "prose.txt")
            with open(path, "wb") as f:
                f.write(prose)
            run = subprocess.run(
                [sys.executable, "-B", PROGRAM, "--longwave", "false",
                 "--prose", path, *flags],
                capture_output=True, text=True, check=False, timeout=120)
        self.assertEqual((run.returncode, run.stdout), (2, ""), run.stderr)
        self.assertRegex(run.stderr, "^longwave-eval: .*" + told)
        self.assertEqual(run.stderr.count("\n"), 1, run.stderr)

    def test_flags(self):
        self.refuses("--seed or --model")
        for told, flag, value in (
                ("--tasks", "--tasks", "key,riddle"),
                ("--tokens", "--tokens", "1000,-3"),
                ("--tokens", "--tokens", ""),
                ("--jobs", "--jobs", "0"),
                ("--questions", "--questions", "many"),
                ("unrecognized", "--nothing", "1"),
                ("no program", "--longwave", "/no/such/program"),
                ("cannot open", "--model", "/no/such/model"),
                ("cannot open", "--plot", "/no/such/folder/plot")):
            seed = [] if flag == "--model" else ["--seed", "1"]
            self.refuses(told, *seed, flag, value)

    def test_prose(self):
        self.refuses("no UTF-8", "--seed", "1", prose=b"\xff\xfe")
        self.refuses("100 sentences", "--seed", "1", prose=b"Short.")
        self.refuses("cannot open", "--seed", "1", "--prose", "/no/such/file")

    def test_outputs_replace_no_input_and_no_other_output(self):
        with tempfile.TemporaryDirectory() as d:
            def at(name):
                return os.path.join(d, name)

            for name in ("prose", "config.json"):
                with open(at(name), "w", encoding="utf-8") as f:
                    f.write(PROSE.text)
            os.symlink("prose", at("link"))
            model = at("model")
            os.mkdir(model)
            os.rename(at("config.json"), os.path.join(model, "config.json"))
            seed = ["--seed", "1", "--prose", at("prose")]
            self.refuses("that is a file of --prose", *seed, "--json",
                         at("link"))
            self.refuses("that is a file of the model", *seed, "--model",
                         model, "--plot", os.path.join(model, "config.json"))
            self.refuses("that is a file of --json", *seed, "--json",
                         at("new"), "--answers", os.path.join(d, ".", "new"))
            with open(at("prose"), encoding="utf-8") as f:
                self.assertEqual(f.read(), PROSE.text)
            self.assertFalse(os.path.exists(at("new")))

    def test_ctrl_c_is_no_failure_to_explain(self):
        with tempfile.TemporaryDirectory() as d:
            for name, text in (("prose", PROSE.text), ("slow", (
                    "#!/bin/sh\necho up\nkill -INT $PPID\nsleep 5\n"))):
                with open(os.path.join(d, name), "w", encoding="utf-8") as f:
                    f.write(text)
            os.chmod(os.path.join(d, "slow"), 0o755)
            run = subprocess.run(
                [sys.executable, "-B", PROGRAM, "--seed", "1", "--longwave",
                 os.path.join(d, "slow"), "--prose", os.path.join(d, "prose")],
                capture_output=True, text=True, check=False, timeout=30)
        self.assertEqual((run.returncode, run.stdout, run.stderr),
                         (130, "", ""))


if __name__ == "__main__":
    unittest.main()
