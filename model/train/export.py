#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a checkpoint as an HF directory that the engine loads (bf16).

usage: export.py --checkpoint ema.pt --tokenizer tokenizer.json --out DIR
                 [--log train.jsonl]

With the log of the training the configuration says how large the states were
within the trained length: the largest mean over the documents of a batch."""
import argparse
import json
import os
import sys

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import command  # noqa: E402 (before what may be missing: how it ends)
import torch

import hf
from armt import Model
from shape import Shape


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--checkpoint", required=True)
    p.add_argument("--tokenizer", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--log")
    flags = p.parse_args()
    norms = None
    if flags.log:
        with open(flags.log, encoding="utf-8") as f:
            seen = [line["norm"] for line in map(json.loads, f)
                    if "norm" in line]
        norms = [max(layer) for layer in zip(*seen)]
    saved = torch.load(flags.checkpoint, map_location="cpu", weights_only=True)
    model = Model(Shape(**saved["shape"]))
    model.load_state_dict({k: v.float() for k, v in saved["w"].items()})
    hf.save(model, flags.out, flags.tokenizer, norms=norms)


if __name__ == "__main__":
    main()
