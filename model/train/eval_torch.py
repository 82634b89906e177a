#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""longwave-eval with the code that trained the model in the daemon's place.

Takes longwave-eval's flags and makes the same documents and questions, so
that both say the same.  What the tests hold the daemon to was written by

  eval_torch.py --model model/sample --prose tests/client/prose.txt --jobs 1
      --seed golden --tasks key,person,silent --tokens 2000,8000
      --questions 7 --documents 1 --answers tests/e2e/sample_answers.jsonl
"""
import argparse
import importlib.util
import os
import sys
import threading
from importlib.machinery import SourceFileLoader

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import command  # noqa: E402 (before what may be missing: how it ends)
import torch
from tokenizers import Tokenizer

import hf

HERE = os.path.dirname(os.path.abspath(__file__))


def longwave_eval():
    """The program as a module; its name has no ending."""
    path = os.path.join(HERE, "..", "..", "client", "eval", "longwave-eval")
    spec = importlib.util.spec_from_loader(
        "longwave_eval", SourceFileLoader("longwave_eval", path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Documents:
    """What the daemon is asked for: add, show, ask, remove."""

    def __init__(self, path):
        self.device = torch.device("cuda" if torch.cuda.is_available()
                                   else "cpu")
        self.model = hf.load(path).to(self.device)
        self.weights = self.model.weights()
        self.tokenizer = Tokenizer.from_file(path + "/tokenizer.json")
        self.end = self.tokenizer.token_to_id("<|end_of_text|>")
        self.documents = {}
        self.lock = threading.Lock()    # cores and GPU are used by one alone

    def written(self, ids, state):
        """The state after all segments but the last, and that one's ids."""
        size = self.model.s.segment
        while len(ids) > size:
            part = torch.tensor([ids[:size]], device=self.device)
            state = self.model.segment(part, state, self.weights)[1]
            ids = ids[size:]
        return state, ids

    @torch.no_grad()
    def add(self, name, text):
        with self.lock:
            ids = self.tokenizer.encode(text).ids
            self.documents[name] = (len(ids), *self.written(
                ids, self.model.empty(1)))
        return self.show(name)

    def show(self, name):
        tokens, state, pending = self.documents[name]
        norms = [0.0 if a is None else a.norm().item() for a in state]
        segments = -(-tokens // self.model.s.segment)
        return {"tokens": tokens, "segments": segments,
                "pending_tokens": len(pending), "state_norms": norms,
                "snapshot_bytes": int(segments > 1)}

    @torch.no_grad()
    def ask(self, name, question, tokens):
        """Greedy, rule "frozen"."""
        said = []
        with self.lock:
            _, state, pending = self.documents[name]
            state, ids = self.written(pending + self.tokenizer.encode(
                question, add_special_tokens=False).ids, state)
            while len(said) < tokens and self.end not in said:
                rows = self.model.frozen(
                    torch.tensor([ids + said], device=self.device), state,
                    self.weights)
                said.append(self.model.logits(rows[0, -1]).argmax().item())
        return self.tokenizer.decode(said).strip()

    def remove(self, name):
        del self.documents[name]


def main():
    p = argparse.ArgumentParser(add_help=False)
    p.add_argument("--model")
    model = p.parse_known_args()[0].model
    program = longwave_eval()
    if model:
        program.Daemon = lambda flags: Documents(model)
        sys.argv += ["--longwave", sys.executable]  # is never started
    return program.main()


if __name__ == "__main__":
    sys.exit(main())
