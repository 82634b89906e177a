#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""model/convert.py on the golden checkpoints: without their config.json they
are refused with the list of what is missing, and with flags they become
directories that say and compute the same.  Pickles, with torch, likewise."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
GOLDEN = os.path.join(ROOT, "tests", "golden")
CONVERT = os.path.join(ROOT, "model", "convert.py")
RUN = os.environ.get("LONGWAVE_RUN", "")

try:
    import torch
except ImportError:
    torch = None


def load(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def text_of(value):
    return {True: "true", False: "false"}.get(value, str(value))


class Convert(unittest.TestCase):
    def setUp(self):
        self.work = tempfile.mkdtemp(prefix="longwave-convert-")
        self.addCleanup(shutil.rmtree, self.work)

    def path(self, *parts):
        return os.path.join(self.work, *parts)

    def convert(self, source, *flags, code=0):
        done = subprocess.run(
            [sys.executable, CONVERT, "--in", source, "--out",
             self.path("out"), *flags], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, check=False, text=True)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stderr

    def bare(self, case):
        """The golden checkpoint without its config, and the base's config."""
        config = load(os.path.join(GOLDEN, case, "config.json"))
        os.makedirs(self.path("in"), exist_ok=True)
        shutil.copyfile(os.path.join(GOLDEN, case, "model.safetensors"),
                        self.path("in", "model.safetensors"))
        with open(self.path("base.json"), "w", encoding="utf-8") as file:
            json.dump(config["base_model_config"], file)
        return config

    def flags_of(self, config):
        names = {"segment_size": "segment-size", "key_norm": "key-norm",
                 "correction": "correction", "use_denom": "use-denom",
                 "sliding_window": "sliding-window",
                 "segment_alignment": "alignment", "generation": "generation"}
        out = ["--base-config", self.path("base.json")]
        for field, flag in names.items():
            if field in config:
                out += ["--" + flag, text_of(config[field])]
        if config.get("gating"):
            out += ["--memory-heads", str(config["n_heads"])]
        return out

    def test_golden_configs(self):
        for case in sorted(os.listdir(GOLDEN)):
            if not os.path.isdir(os.path.join(GOLDEN, case)):
                continue
            with self.subTest(case):
                want = self.bare(case)
                self.convert(self.path("in"), *self.flags_of(want))
                got = load(self.path("out", "config.json"))
                for field, value in want.items():
                    if field in ("architectures", "act_type", "freeze_mem",
                                 "layers_attr"):
                        continue
                    self.assertEqual(got[field], value, field)
                if want["model_type"] == "armt":
                    self.assertEqual(got["architectures"],
                                     want["architectures"])
                shutil.rmtree(self.path("out"))

    def test_what_is_missing_is_listed(self):
        self.bare("armt-llama")
        said = self.convert(self.path("in"), code=2)
        for flag in ("base-config", "segment-size", "key-norm", "correction",
                     "use-denom", "sliding-window", "alignment",
                     "generation"):
            self.assertIn("--" + flag, said)
        self.assertFalse(os.path.exists(self.path("out")))
        said = self.convert(self.path("in"), "--base-config",
                            self.path("base.json"), "--segment-size", "16",
                            code=2)
        self.assertNotIn("--segment-size", said)
        self.assertIn("--key-norm", said)
        self.bare("rmt-llama")
        said = self.convert(self.path("in"), code=2)
        self.assertIn("--segment-size", said)
        self.assertNotIn("--key-norm", said)

    def test_refusals(self):
        config = self.bare("armt-llama")
        flags = self.flags_of(config)
        self.assertIn("not there", self.convert(self.path("none"), code=2))
        base = dict(config["base_model_config"], vocab_size=98)
        with open(self.path("base.json"), "w", encoding="utf-8") as file:
            json.dump(base, file)
        self.assertIn("token table",
                      self.convert(self.path("in"), *flags, code=2))
        base["model_type"] = "gemma"
        with open(self.path("base.json"), "w", encoding="utf-8") as file:
            json.dump(base, file)
        self.assertIn("gemma", self.convert(self.path("in"), *flags, code=2))

    def logits(self, model):
        out = self.path("logits.safetensors")
        subprocess.run([RUN, "--model", model, "--input", os.path.join(
            GOLDEN, "armt-llama", "expected.safetensors"), "--logits", out,
            "--json"], check=True, stdout=subprocess.DEVNULL)
        with open(out, "rb") as file:
            return file.read()

    def pickle(self, path, shared, nested):
        """The golden checkpoint as a training run pickles it."""
        sys.path.insert(0, HERE)
        import run_lib
        tensors = run_lib.read_tensors(os.path.join(
            GOLDEN, "armt-llama", "model.safetensors"))
        state = {name: torch.tensor(list(values)).reshape(shape)
                 for name, (shape, values) in tensors.items()}
        if shared:
            for name in list(state):
                second = name.replace("memory_cell.model.model.layers.",
                                      "memory_cell.layers.")
                state[second] = state[name]
        torch.save({"state_dict": state, "step": 3} if nested else state,
                   path)

    def check_same(self, source):
        config = self.bare("armt-llama")
        self.convert(source, *self.flags_of(config))
        original = os.path.join(GOLDEN, "armt-llama")
        self.assertEqual(self.logits(self.path("out")), self.logits(original))
        shutil.rmtree(self.path("out"))

    @unittest.skipUnless(RUN, "LONGWAVE_RUN names no program")
    def test_same_logits(self):
        self.bare("armt-llama")
        self.check_same(self.path("in"))

    @unittest.skipUnless(torch and RUN, "torch is not installed")
    def test_pickles(self):
        os.makedirs(self.path("bin"))
        for shared, nested in ((False, False), (True, True)):
            self.pickle(self.path("bin", "pytorch_model.bin"), shared, nested)
            self.check_same(self.path("bin"))
        os.rename(self.path("bin", "pytorch_model.bin"),
                  self.path("bin", "part-1.bin"))
        with open(self.path("bin", "pytorch_model.bin.index.json"), "w",
                  encoding="utf-8") as file:
            json.dump({"weight_map": {"x": "part-1.bin"}}, file)
        self.check_same(self.path("bin"))
        self.check_same(self.path("bin", "part-1.bin"))

    @unittest.skipUnless(torch, "torch is not installed")
    def test_pickle_runs_no_code(self):
        ran = self.path("ran")

        class Harm:
            def __reduce__(self):
                return os.mkdir, (ran,)
        import pickle
        with open(self.path("evil.bin"), "wb") as file:
            pickle.dump({"w": Harm()}, file)
        done = subprocess.run(
            [sys.executable, CONVERT, "--in", self.path("evil.bin"), "--out",
             self.path("out")], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"weights only", done.stderr)
        self.assertFalse(os.path.exists(ran))

    @unittest.skipUnless(RUN, "LONGWAVE_RUN names no program")
    def test_the_program_names_the_command(self):
        """A directory with a pickle alone is refused with what converts it."""
        os.makedirs(self.path("in"))
        shutil.copyfile(os.path.join(GOLDEN, "armt-llama", "config.json"),
                        self.path("in", "config.json"))
        with open(self.path("in", "pytorch_model.bin"), "wb") as file:
            file.write(b"\x80\x04.")
        done = subprocess.run(
            [RUN, "--model", self.path("in"), "--input", os.path.join(
                GOLDEN, "armt-llama", "expected.safetensors")],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
            text=True)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("convert.py --in " + self.path("in"), done.stderr)


if __name__ == "__main__":
    if torch is None:
        print("torch is not installed: pickles are not tested",
              file=sys.stderr)
    unittest.main(verbosity=1)
