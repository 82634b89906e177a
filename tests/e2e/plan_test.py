# SPDX-License-Identifier: Apache-2.0
"""longwave-plan as a program: its JSON against formulas, its plot, its
refusals.

usage: plan_test.py PROGRAM
"""
import json
import os
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

PROGRAM = sys.argv.pop(1)
TINY = ["--preset", "s256", "--segment", "64", "--mem", "16", "--type", "f32"]


def plan(*flags):
    return subprocess.run([PROGRAM, *TINY, *flags], capture_output=True,
                          text=True, timeout=60)


def plans(*flags):
    done = plan("--json", *flags)
    assert done.returncode == 0, done.stderr
    line, = done.stdout.splitlines()
    return json.loads(line)


class Plan(unittest.TestCase):
    def test_one_rank_runs_the_diagonals(self):
        for row in plans("--ranks", "1", "--tokens", "6400")["plans"]:
            self.assertEqual(row["groups"], 100 + 4 - 1)
            self.assertEqual(row["bytes_moved"], 0)

    def test_bytes_are_those_of_the_hops(self):
        both = plans("--ranks", "4", "--tokens", "6400", "--outer-gbs", "1e6",
                     "--inner-gbs", "1e6", "--tflops", "0.01")["plans"]
        layers, segments = both
        self.assertEqual(layers["ranks_per_world"], 4)
        self.assertEqual(layers["bytes_moved"], 100 * 3 * 80 * 256 * 4)
        self.assertEqual(segments["ranks_per_world"], 4)
        self.assertEqual(segments["bytes_moved"], 99 * 4 * 384 * 257 * 4)

    def test_a_state_that_grows_is_counted_whole(self):
        config = {"model_type": "llama", "vocab_size": 100, "hidden_size": 32,
                  "intermediate_size": 64, "num_hidden_layers": 3,
                  "num_attention_heads": 4, "num_key_value_heads": 2,
                  "rms_norm_eps": 1e-5, "segment_size": 64}
        used = []
        with tempfile.TemporaryDirectory() as model:
            with open(os.path.join(model, "config.json"), "w",
                      encoding="utf-8") as out:
                json.dump(config, out)
            for tokens in (6400, 64000):
                done = subprocess.run(
                    [PROGRAM, "--model", model, "--type", "f32", "--ranks",
                     "1", "--tokens", str(tokens), "--streams", "2",
                     "--json"], capture_output=True, text=True, timeout=60)
                self.assertEqual(done.returncode, 0, done.stderr)
                row = json.loads(done.stdout)["plans"][0]
                used.append(row["memory_bytes_per_rank"])
        # Streams, layers, keys and values of two heads of 8 numbers.
        self.assertEqual(used[1] - used[0],
                         2 * 3 * (2 * 2 * 8 * 4) * (64000 - 6400))

    def test_the_path_is_the_time(self):
        for row in (*plans("--ranks", "4", "--documents", "5")["plans"],
                    *plans("--preset", "armt-llama-8b", "--segment", "1024",
                           "--type", "bf16", "--mem", "0")["plans"]):
            self.assertAlmostEqual(sum(row["path"].values()) / row["seconds"],
                                   1, places=6)
            self.assertGreaterEqual(min(row["path"].values()), 0)

    def test_a_long_document_is_simulated_in_part(self):
        """Ten million segments: an answer comes, the groups are those of all
        of them, and what was not simulated is said."""
        done = plan("--json", "--segment", "1", "--tokens", "10000000",
                    "--ranks", "1")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("of 10000000 segments a document", done.stderr)
        got = json.loads(done.stdout)
        self.assertEqual(got["segments"], 10000000)
        for row in got["plans"]:
            self.assertEqual(row["groups"], 10000000 + 4 - 1)
        short = plan("--json", "--tokens", "6400", "--ranks", "1")
        self.assertEqual(short.stderr, "")

    def test_the_table_has_plain_numbers(self):
        """Of a long reading, too."""
        table = plan("--segment", "1", "--tokens", "100000000", "--ranks", "4",
                     "--inner-gbs", "1e6", "--tflops", "0.01")
        self.assertEqual(table.returncode, 0, table.stderr)
        layers, segments = table.stdout.splitlines()[4:6]
        self.assertEqual(layers.split()[7], "5222")
        self.assertEqual(segments.split()[6], "157901")

    def test_auto_is_the_sooner(self):
        rows = plans("--sweep", "--tokens", "64000", "--documents",
                     "3")["plans"]
        self.assertEqual([r["ranks"] for r in rows[::2]],
                         [2 ** i for i in range(11)])
        for pair in zip(rows[::2], rows[1::2]):
            chosen, = [r for r in pair if r["auto"]]
            self.assertEqual(chosen["seconds"],
                             min(r["seconds"] for r in pair))

    def test_this_machine_is_measured(self):
        measured = plans("--cluster", "here", "--threads", "1", "--tokens",
                         "640")
        self.assertGreater(measured["cluster"]["flops_per_second"], 1e8)

    def test_ranks_are_measured_under_mpirun(self):
        """Each rank and link, and one plan alone is printed; a figure that is
        given stands in for those that were measured."""
        for more, ranks in ([], 2), (["--inner-gbs", "0.5"], 2), (
                ["--ranks", "8"], 8):
            done = subprocess.run(
                ["mpirun", "--allow-run-as-root", "--oversubscribe", "--mca",
                 "btl", "vader,self", "--bind-to", "none", "-n", "2", PROGRAM,
                 *TINY, "--cluster", "here", "--threads", "1", "--tokens",
                 "6400", "--json", *more], capture_output=True, text=True,
                timeout=60, env={**os.environ,
                                 "ASAN_OPTIONS": "detect_leaks=0"})
            self.assertEqual(done.returncode, 0, done.stderr)
            line, = done.stdout.splitlines()
            got = json.loads(line)
            self.assertEqual(got["plans"][0]["ranks"], ranks)
            link = got["cluster"]["inner"]
            self.assertGreater(link["latency_seconds"], 0)
            if more[:1] == ["--inner-gbs"]:
                self.assertEqual(link["bytes_per_second"], 5e8)

    def test_the_plot_replaces_no_model(self):
        with tempfile.TemporaryDirectory() as model:
            path = os.path.join(model, "config.json")
            text = json.dumps({
                "model_type": "llama", "vocab_size": 100, "hidden_size": 32,
                "intermediate_size": 64, "num_hidden_layers": 3,
                "num_attention_heads": 4, "num_key_value_heads": 2,
                "rms_norm_eps": 1e-5, "segment_size": 64})
            with open(path, "w", encoding="utf-8") as out:
                out.write(text)
            os.symlink(path, os.path.join(model, "link"))
            for name in ("config.json", "link"):
                done = subprocess.run(
                    [PROGRAM, "--model", model, "--tokens", "6400",
                     "--ranks", "1", "--svg", os.path.join(model, name)],
                    capture_output=True, text=True, timeout=60)
                self.assertEqual(done.returncode, 2)
                self.assertIn("that is a file of the model's", done.stderr)
            with open(path, encoding="utf-8") as got:
                self.assertEqual(got.read(), text)

    def test_the_plot_is_svg(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "plan.svg")
            plans("--sweep", "--tokens", "6400", "--svg", path)
            root = xml.etree.ElementTree.parse(path).getroot()
            circles = [e for e in root if e.tag.endswith("circle")]
            self.assertEqual(len(circles), 22)

    def test_refusals_are_one_sentence(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        nowhere = os.path.join(folder.name, "nowhere")
        for flags, code, word in (
                (["--cluster", "9xh200"], 2, "8xh200, 128xh200, 64xcpu and "
                 "here"),
                (["--type", "int4"], 2, "int4"),
                (["--ranks", "2000"], 2, "ranks"),
                (["--memory-gb", "0.0001"], 2, "no number of ranks would do"),
                (["--memory-gb", "0.01", "--ranks", "1"], 2,
                 "2 ranks with layers would do"),
                (["--segment", "1", "--tokens", "1000000000", "--documents",
                  "60000"], 2, "too many to simulate"),
                (["--model", nowhere], 2, nowhere),
                (["--svg", os.path.join(nowhere, "p.svg")], 1, nowhere)):
            done = plan(*flags)
            self.assertEqual(done.returncode, code, (flags, done.stderr))
            self.assertEqual(done.stdout, "")
            line, = done.stderr.splitlines()
            self.assertIn(word, line)


if __name__ == "__main__":
    unittest.main()
