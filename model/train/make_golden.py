#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes what this code computes for a model, for the engine to reproduce.

A text of some segments with facts in the first ones and a question at the end;
logits of a few rows, the answer's among them.

usage: make_golden.py --model DIR --data DIR --out FILE
"""
import argparse
import os
import random
import sys

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import command  # noqa: E402 (before what may be missing: how it ends)
import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

import evaluate
import facts
import hf
from words import EVAL

SEGMENTS = 4


def compute(m, ids):
    rows, state, weights = [], m.empty(1), m.weights()
    with torch.no_grad():
        for part in ids.split(m.s.segment, 1):
            if part.shape[1] == m.s.segment:
                x, state = m.segment(part, state, weights)[:2]
            else:
                x = m.frozen(part, state, weights)
            rows.append(m.logits(x[:, :part.shape[1]]))
    return torch.cat(rows, 1)[0], state


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--model", required=True)
    p.add_argument("--data", required=True)
    p.add_argument("--out", required=True)
    flags = p.parse_args()
    m = hf.load(flags.model)
    lang = facts.Language(Tokenizer.from_file(flags.model + "/tokenizer.json"),
                          EVAL)
    prose = facts.Prose(flags.data + "/eval.bin")
    prose.find_ends(lang)
    text, asked = evaluate.document("key", lang, prose, random.Random(7),
                                    SEGMENTS, m.s.segment, 0)
    for question, value, _ in asked:
        answer = lang.ids(" " + value)
        ids = np.concatenate([text.reshape(-1), question, answer]
                             ).astype(np.int32)
        logits, state = compute(m, torch.from_numpy(ids)[None])
        n = len(ids)
        said = logits[n - len(answer) - 1:n - 1].argmax(-1).tolist()
        print(f"{n} tokens; told {answer}, said {said}")
        if said == answer:      # a fact that the model does remember
            break
    at = torch.tensor([0, m.s.segment, 2 * m.s.segment + 7]
                      + list(range(n - len(answer) - 1, n)), dtype=torch.int32)
    save_file({"input_ids": torch.from_numpy(ids), "rows": at,
               "logits": logits[at.long()].contiguous()}, flags.out)


if __name__ == "__main__":
    main()
