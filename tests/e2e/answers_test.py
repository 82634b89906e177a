# SPDX-License-Identifier: Apache-2.0
"""An answer after `add` has the very tokens of one run over document and
question together, however the ranks share the work."""
import concurrent.futures
import subprocess
import unittest

from harness import BIN, SEGMENT, WAIT, Place, main, text_of, wait_for

# The begin-of-text token is one token of the document.
LENGTHS = [1, SEGMENT - 2, SEGMENT - 1, SEGMENT, 3 * SEGMENT - 1, 3 * SEGMENT,
           10 * SEGMENT + 5]
QUESTIONS = ["?", "who saw land",
             "a question that is longer than a segment, so it is cut too"]


def most_lost(world, used, other):
    """What a placement is foretold to take of the other, by what was measured
    and, where ranks were not equally fast, by their mean."""
    return max(world[used + s] / world[other + s]
               for s in ("_seconds", "_seconds_if_alike")
               if world[other + s] > 0)


class Answers:
    """The tests; subclasses say which world runs them."""

    def test_one_run(self):
        for n in LENGTHS:
            text = text_of(n)
            done = self.add(f"d{n}", text)
            self.assertEqual(done["tokens"], n + 1)
            self.assertEqual(done["segments"], (n + SEGMENT) // SEGMENT)
            for question in QUESTIONS:
                expected = self.run_alone(text, question)
                got = self.ask(f"d{n}", question)
                self.assertEqual(got["generated_ids"], expected,
                                 f"{n} bytes, {question}")
            jobs = [j for j in self.call("jobs")["jobs"]
                    if j["document"] == f"d{n}" and j["kind"] == "add"]
            self.assertEqual([j["segments_done"] for j in jobs],
                             [done["segments"]])
            self.assertEqual([j["segments_total"] for j in jobs],
                             [done["segments"]])

    def test_sampling(self):
        """A penalty counts the same tokens, and the same numbers come."""
        long = ("--generate", "24")
        for n in (2, 3 * SEGMENT + 7):
            text = text_of(n)
            self.add(f"s{n}", text)
            for question in QUESTIONS:
                plain = self.run_alone(text, question, *long)
                for penalty in ("1.3", "0.5"):
                    flags = (*long, "--repetition-penalty", penalty)
                    expected = self.summary_alone(text, question, *flags,
                                                  "--logprobs", "1")
                    got = self.ask(f"s{n}", question, *flags, "--logprobs")
                    self.assertEqual(got["generated_ids"],
                                     expected["generated_ids"], question)
                    self.assertNotEqual(got["generated_ids"], plain)
                    self.assertEqual(
                        got["logprobs"],
                        [{"id": t["id"], "logprob": t["logprob"]}
                         for t in expected["logprobs"]])
            self.assertNotIn("logprobs", self.ask(f"s{n}", "?"))

    def test_asking_changes_nothing(self):
        self.add("same", text_of(100))
        first = self.ask("same", "who")
        self.ask("same", "something quite different from that")
        self.assertEqual(self.ask("same", "who")["generated_ids"],
                         first["generated_ids"])

    def test_side_by_side(self):
        texts = {f"p{i}": text_of(700 + 130 * i) for i in range(3)}
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            list(pool.map(self.add, texts.keys(), texts.values()))
            answers = {name: pool.submit(self.ask, name, QUESTIONS[2])
                       for name in list(texts) * 2}
        for name, text in texts.items():
            self.assertEqual(answers[name].result()["generated_ids"],
                             self.run_alone(text, QUESTIONS[2]))


class OneRank(Answers, Place):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.daemon = cls.start("--workers", "1")

    def test_z_orderly_end(self):
        self.assertEqual(self.stop(self.daemon), 0)


class TwoRanks(OneRank):
    @classmethod
    def setUpClass(cls):
        Place.setUpClass.__func__(cls)
        cls.daemon = cls.start("--workers", "2", "--placement", "layers")

    def test_y_hops_are_told(self):
        self.add("hops", text_of(400))
        world = wait_for("hops in the status", lambda: next(
            (w for w in self.status()["worlds"] if w["hop_seconds"] > 0), None))
        self.assertLessEqual(world["hop_hidden_seconds"], world["hop_seconds"])
        said = subprocess.run(
            [BIN / "longwave", "status", "--connect", self.endpoint],
            capture_output=True, text=True, timeout=WAIT, check=True).stdout
        self.assertRegex(said, r"hops: \d+\.\d+ s under way between ranks, \d+ % of")


class WorldsOfTheirOwn(Answers, Place):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.daemon = cls.start()
        cls.world = cls.start_world(2, "--placement", "segments")
        cls.other = cls.start_world(2, "--placement", "auto")
        cls.wait_worlds(2)

    def test_status_has_what_the_ranks_measured(self):
        worlds = self.status()["worlds"]
        for w in worlds:
            self.assertGreater(w["flops_per_second"], 1e6)
            self.assertGreater(w["link_bytes_per_second"], 1e4)
            self.assertGreater(w["link_seconds"], 0)
        # By name nothing is simulated.
        chosen, = [w for w in worlds if w["plan_segments"] > 0]
        self.assertEqual([w["placement"] for w in worlds if w is not chosen],
                         ["segments"])
        self.assertGreater(chosen["layers_seconds"], 0)
        self.assertGreater(chosen["segments_seconds"], 0)
        used = chosen["placement"]
        self.assertIn(used, ("layers", "segments", "2 replicas"))
        # Replicas of one rank read in one way, whatever it is called.
        if used == "2 replicas":
            self.assertEqual(chosen["layers_seconds"],
                             chosen["segments_seconds"])
        else:
            other = "segments" if used == "layers" else "layers"
            self.assertLessEqual(most_lost(chosen, used, other),
                                 most_lost(chosen, other, used))
        said = subprocess.run(
            [BIN / "longwave", "status", "--connect", self.endpoint],
            capture_output=True, text=True, timeout=WAIT, check=True).stdout
        self.assertEqual(said.count("measured: "), 2)
        self.assertEqual(said.count("in each stream would take"), 1)
        self.assertEqual(said.count("if its ranks were equally fast"),
                         chosen["layers_seconds_if_alike"] > 0)

    def test_z_orderly_end(self):
        self.assertEqual(self.stop(self.daemon), 0)
        self.assertEqual(self.world.wait(WAIT), 0)
        self.assertEqual(self.other.wait(WAIT), 0)


class Replicas(Answers, Place):
    """Two groups of two ranks in one world, which take jobs in turn."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.daemon = cls.start()
        cls.world = cls.start_world(4, "--replicas", "2", "--placement",
                                    "layers")
        cls.wait_worlds(1)

    def test_status_says_how_ranks_are_used(self):
        self.assertEqual(self.status()["worlds"][0]["placement"],
                         "2 replicas, layers")

    def test_z_orderly_end(self):
        self.assertEqual(self.stop(self.daemon), 0)
        self.assertEqual(self.world.wait(WAIT), 0)


class WithTemplate(Place):
    """What a template puts around text comes once, and before no ids."""

    def test_one_run(self):
        template = self.dir / "template"
        template.write_text("Read:\n{document}\nSay: {question}"
                            "<|end_of_text|>\n")
        flags = ("--template", str(template))
        daemon = self.start("--workers", "1", *flags)
        for n in (1, 3 * SEGMENT - 8, 5 * SEGMENT):
            done = self.add(f"d{n}", text_of(n))
            self.assertEqual(done["tokens"], n + 1 + len("Read:\n"))
            for question in QUESTIONS:
                expected = self.run_alone(text_of(n), question, *flags)
                got = self.ask(f"d{n}", question)
                self.assertEqual(got["generated_ids"], expected, question)
        self.assertNotEqual(expected, self.run_alone(text_of(n), question))
        self.assertEqual(self.stop(daemon), 0)

    def test_another_template(self):
        """A document is asked with the template that it was read with."""
        template = self.dir / "another"
        template.write_text("{document}\n{question}\n")
        daemon = self.start("--workers", "1", data="other")
        self.add("d", text_of(50))
        self.assertEqual(self.stop(daemon), 0)
        daemon = self.start("--workers", "1", "--template", str(template),
                            data="other")
        self.refused("ask", "d", "who", code=1, says="another template")
        self.add("e", text_of(50))
        self.ask("e", "who")
        self.assertEqual(self.stop(daemon), 0)


if __name__ == "__main__":
    main()
