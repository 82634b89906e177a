# SPDX-License-Identifier: Apache-2.0
"""Every memory through a daemon: read, ask, and the answer is that of one run
over document and question together, under both rules of generation; and what
is said of one that leaves the range of its training."""
import array
import subprocess
import unittest

import models
from harness import BIN, SEGMENT, WAIT, Place, main, text_of

LENGTHS = [1, SEGMENT - 1, 3 * SEGMENT - 1, 3 * SEGMENT, 10 * SEGMENT + 5]
QUESTIONS = ["?", "a question that is longer than a segment, so it is cut too"]


class Kind(Place):
    """A model of a kind; subclasses name it."""
    kind = None
    placement = "segments"
    answer = ()

    @classmethod
    def setUpClass(cls):
        if cls is Kind:
            raise unittest.SkipTest("no kind")
        super().setUpClass()
        models.remake(cls.model, cls.kind)
        cls.one = cls.start("--workers", "1")

    def compare(self, lengths, name):
        for n in lengths:
            self.add(f"{name}{n}", text_of(n))
            for question in QUESTIONS:
                self.assertEqual(
                    self.ask(f"{name}{n}", question,
                             *self.answer)["generated_ids"],
                    self.run_alone(text_of(n), question, *self.answer),
                    f"{n} bytes, {question}")

    def test_one_run(self):
        self.compare(LENGTHS, "one")

    def test_two_ranks(self):
        """Two worlds serve one daemon; the second one reads here too."""
        self.assertEqual(self.stop(self.one), 0)
        daemon = self.start("--workers", "2", "--placement", self.placement)
        self.compare([5 * SEGMENT + 3], "two")
        self.assertEqual(self.stop(daemon), 0)
        type(self).one = self.start("--workers", "1")
        # What two ranks have read, one rank answers.
        self.assertEqual(
            self.ask(f"two{5 * SEGMENT + 3}", "?",
                     *self.answer)["generated_ids"],
            self.run_alone(text_of(5 * SEGMENT + 3), "?", *self.answer))


class Rmt(Kind):
    kind = "rmt"


class Bare(Kind):
    kind = "bare"


class Window(Kind):
    """The answer fills two segments: they are written, and read again."""
    kind = "window"
    answer = ("--generate", str(2 * SEGMENT + 3))


class Llama(Kind):
    kind = "llama"
    placement = "layers"

    def test_room(self):
        """What does not fit is refused with what it needs and what there
        is."""
        self.assertEqual(self.stop(self.one), 0)
        type(self).one = self.start("--workers", "1", "--max-context", "64",
                                    data="small")
        self.refused("add", "-", "--name", "long",
                     input=text_of(200).encode(),
                     says="201 of them, the answer's too, need 75.4 KiB, and "
                          "a worker has room for 64, 24.0 KiB")
        self.add("short", text_of(45))
        self.ask("short", "who")
        self.refused("ask", "short", "who", "--generate", "32",
                     says="has room for 64")
        self.assertEqual(len(self.ask("short", "who", "--generate", "15")
                             ["generated_ids"]), 15)


class Gpt2(Kind):
    """Positions end: a job has no more tokens than there are."""
    kind = "gpt2"
    placement = "layers"

    def test_positions(self):
        self.refused("add", "-", "--name", "long",
                     input=text_of(600).encode(),
                     says="has room for 512")


class Given(Place):
    """What is said beside config.json makes another model."""

    def test_flags(self):
        flags = ("--segment", "8", "--key-norm", "none")
        daemon = self.start("--workers", "1", *flags)
        text = text_of(10 * SEGMENT)
        self.assertEqual(self.add("d", text)["segments"],
                         (len(text) + 1 + 7) // 8)
        expected = self.run_alone(text, QUESTIONS[1], *flags)
        self.assertEqual(self.ask("d", QUESTIONS[1])["generated_ids"],
                         expected)
        self.assertNotEqual(self.run_alone(text, QUESTIONS[1]), expected)
        self.assertEqual(self.start_world(1).wait(WAIT), 2)
        self.assertIn("another model",
                      (self.dir / "world.log").read_text())
        self.assertEqual(self.start_world(1, "--segment", "8").wait(WAIT), 2)
        self.assertIn("another checkpoint",
                      (self.dir / "world.log").read_text())
        self.assertEqual(self.stop(daemon), 0)


class Strained(Place):
    """What is written is larger from segment to segment."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.made = models.read(cls.model)

    def grow(self, times, trained):
        """A model whose writes are so many times as large."""
        tensors, config = self.made
        tensors = dict(tensors)
        for name, (shape, data) in self.made[0].items():
            if name.endswith("W_mv.weight"):
                values = array.array("f", data)
                tensors[name] = shape, array.array(
                    "f", (times * x for x in values)).tobytes()
        models.write(self.model, tensors,
                     {**config, "trained_state_norms": trained})

    def test_out_of_range(self):
        """Said with every answer, and by show; once, for people too."""
        self.grow(1000, [500.0] * 3)
        daemon = self.start("--workers", "1")
        self.assertNotIn("warning", self.add("calm", text_of(SEGMENT)))
        self.assertNotIn("warning", self.ask("calm", "who"))
        self.assertRegex(self.add("wild", text_of(30 * SEGMENT))["warning"],
                         "^the memory of layer [012] has a norm of .*e\\+.* "
                         "times the largest that training knew \\(500\\): "
                         "answers may mean nothing$")
        said = self.ask("wild", "who")["warning"]
        shown = self.call("show", "wild")
        self.assertEqual(shown["warning"], said)
        self.assertGreater(max(shown["state_norms"]), 1000)
        plain = subprocess.run(
            [BIN / "longwave", "ask", "wild", "who", "--generate", "4",
             "--connect", self.endpoint], capture_output=True, timeout=WAIT,
            check=True)
        self.assertEqual(plain.stderr.decode(),
                         f"longwave: warning: {said}\n")
        self.assertEqual(self.stop(daemon), 0)

    def test_no_numbers(self):
        """Nothing is kept of a memory that has run away."""
        self.grow(1e33, None)
        daemon = self.start("--workers", "1", data="lost")
        self.refused("add", "-", "--name", "lost", code=1,
                     input=text_of(30 * SEGMENT).encode(),
                     says="numbers that are not finite")
        self.assertEqual(self.call("list")["documents"], [])
        self.assertEqual(self.stop(daemon), 0)


if __name__ == "__main__":
    main()
