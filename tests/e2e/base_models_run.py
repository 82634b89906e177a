#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Base models alone, read in segments in diagonal order, give the logits that
transformers gives for one pass with full attention.  Where it is installed, new
models are made and compared too."""
import os
import subprocess
import sys

import run_lib
from run_lib import expect

LIMIT = 1e-4


def logits(args, model, ranks, flags):
    out = os.path.join(args.work, "logits.safetensors")
    run_lib.summary(args, ranks, [
        "--model", model, "--input",
        os.path.join(model, "expected.safetensors"), "--logits", out, *flags])
    with open(out, "rb") as f:
        data = f.read()
    return data, run_lib.read_tensors(out)["logits"][1]


def check(args, model, ways):
    want = run_lib.read_tensors(os.path.join(
        model, "expected.safetensors"))["logits"][1]
    first, got = logits(args, model, *ways[0])
    expect(len(got) == len(want), f"{model}: {len(got)} logits")
    error = max(abs(a - b) for a, b in zip(got, want))
    size = max(map(abs, want))
    print(f"{os.path.basename(model)}: {error / size:.1e}")
    expect(error <= LIMIT * size, f"{model}: {error} of {size}")
    for ranks, flags in ways[1:]:
        expect(logits(args, model, ranks, flags)[0] == first,
               f"{model}: {ranks} ranks, {flags}")


def main():
    args = run_lib.flags()
    folder = os.path.join(args.source, "tests", "base_models")
    ways = ((0, []), (0, ["--schedule", "sequential"]),
            (2, ["--placement", "layers"]))
    n = 0
    for case in sorted(os.listdir(folder)):
        model = os.path.join(folder, case)
        if os.path.isdir(model):
            check(args, model, ways)
            n += 1
    expect(n == 9, f"{n} cases")
    try:
        import transformers  # noqa: F401, pylint: disable=unused-import
    except ImportError:
        print("transformers is not installed: no new models are made")
        return
    made = os.path.join(args.work, "made")
    subprocess.run([sys.executable, os.path.join(folder, "make.py"), made],
                   check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    for case in sorted(os.listdir(made)):
        check(args, os.path.join(made, case), ways[:1])


if __name__ == "__main__":
    main()
