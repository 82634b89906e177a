#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a checkpoint as an HF directory that the engine loads (bf16).

usage: export.py --checkpoint ema.pt --tokenizer tokenizer.json --out DIR
"""
import argparse

import torch

import hf
from armt import Model, Shape


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--checkpoint", required=True)
    p.add_argument("--tokenizer", required=True)
    p.add_argument("--out", required=True)
    flags = p.parse_args()
    saved = torch.load(flags.checkpoint, map_location="cpu", weights_only=True)
    model = Model(Shape(**saved["shape"]))
    model.load_state_dict({k: v.float() for k, v in saved["w"].items()})
    hf.save(model, flags.out, flags.tokenizer)


if __name__ == "__main__":
    main()
