#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a golden case without denominators and prints the largest errors.

usage: check_golden.py tests/golden/armt-llama-nodenom
"""
import os
import sys

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import command  # noqa: E402 (before what may be missing: how it ends)
import torch
from safetensors.torch import load_file

import hf


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    path = sys.argv[1]
    m = hf.load(path)
    want = load_file(os.path.join(path, "expected.safetensors"))
    ids = want["input_ids"].long()[None]
    state, rows, first = m.empty(1), [], None
    weights = m.weights()
    with torch.no_grad():
        for part in ids.split(m.s.segment, 1):
            x, state = m.segment(part, state, weights)[:2]
            rows.append(m.logits(x[:, :part.shape[1]]))
            first = first or state
    got = {"logits": torch.cat(rows, 1)[0],
           "W_mem.after_first": torch.stack(first)[:, 0],
           "W_mem.final": torch.stack(state)[:, 0]}
    worst = 0.0
    for name, value in got.items():
        ref = want[name]
        err = ((value - ref).abs().max() / ref.abs().max()).item()
        worst = max(worst, err)
        print(f"{name}: {err:.1e}")
    return worst > 1e-4


if __name__ == "__main__":
    sys.exit(main())
