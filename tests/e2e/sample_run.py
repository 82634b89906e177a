#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The sample model on the engine: the logits that the code which trained it
computes, and a fact from segments that only the memory has."""
import os

import run_lib
from run_lib import expect

TOLERANCE = 1e-4  # max|x - ref| / max|ref|


def check(args):
    model = os.path.join(args.source, "model", "sample")
    golden = os.path.join(model, "golden.safetensors")
    expected = run_lib.read_tensors(golden)
    logits = os.path.join(args.work, "logits")
    run_lib.summary(args, 0, ["--model", model, "--input", golden,
                              "--logits", logits, "--device", "cpu"])
    (n, vocab), got = run_lib.read_tensors(logits)["logits"]
    rows, ref = expected["rows"][1], expected["logits"][1]
    expect(n == expected["input_ids"][0][0], f"{n} rows of logits")
    most = max(abs(x) for x in ref)
    worst = 0.0
    for i, row in enumerate(rows):
        mine = got[row * vocab:(row + 1) * vocab]
        want = ref[i * vocab:(i + 1) * vocab]
        worst = max(worst, *(abs(a - b) for a, b in zip(mine, want)))
        # Written so that a NaN fails.
        expect(worst <= TOLERANCE * most, f"row {row}: error {worst / most}")
    ids = expected["input_ids"][1]
    # The last rows but one predict the answer, which was told long before.
    for row in rows[3:-1]:
        mine = got[row * vocab:(row + 1) * vocab]
        expect(mine.index(max(mine)) == ids[row + 1],
               f"row {row} does not say what was told")
    print(f"sample: {len(rows)} rows within {worst / most:.1e}")


if __name__ == "__main__":
    check(run_lib.flags())
