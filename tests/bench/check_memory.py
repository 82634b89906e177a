#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Peak memory of longwave-run at 100,000 and at 1,000,000 tokens.

usage: check_memory.py --run build/bin/longwave-run [--mpiexec mpirun] [--ids]

Reads generated text (or, with --ids, token ids) with a small model, alone and,
with --mpiexec, on two ranks in both placements.  Beyond the 8 bytes a token
that the ids may take, a million tokens may need 5 % more than a tenth of them.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(SOURCE, "tests", "e2e"))
from run_lib import write_ids  # noqa: E402

FEW, MANY = 100_000, 1_000_000
MPI_FLAGS = ["--allow-run-as-root", "--oversubscribe", "-n", "2"]


def make_input(work, n, ids):
    path = os.path.join(work, f"{n}.{'safetensors' if ids else 'txt'}")
    words = "a document without an end goes on line after line\n"
    text = (words * (n // len(words) + 1))[:n]
    if ids:
        write_ids(path, [b for b in text.encode()])
    else:
        with open(path, "w") as f:
            f.write(text)
    return path


def peak(args, way, model, path):
    command = way + [args.run, "--model", model, "--input", path, "--json",
                     "--device", "cpu"]
    if way:
        command += ["--threads", "1"]
    out = subprocess.run(command + args.flags, check=True,
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    summary = json.loads(out.stdout.splitlines()[-1])
    return summary["peak_rss_bytes"], summary["tokens"]


def check(args, name, way, model, inputs):
    few, n_few = peak(args, way, model, inputs[0])
    many, n_many = peak(args, way, model, inputs[1])
    beyond = many - 8 * (n_many - n_few)
    good = beyond <= 1.05 * few
    print(f"{'ok  ' if good else 'FAIL'} {name}: {few / 2**20:.1f} MiB at "
          f"{n_few} tokens, {many / 2**20:.1f} MiB at {n_many}, of these "
          f"{8 * (n_many - n_few) / 2**20:.1f} MiB are ids", flush=True)
    return good


def main():
    p = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--run", required=True)
    p.add_argument("--mpiexec")
    p.add_argument("--ids", action="store_true")
    args = p.parse_args()
    good = True
    with tempfile.TemporaryDirectory() as work:
        model = os.path.join(work, "model")
        subprocess.run([sys.executable,
                        os.path.join(SOURCE, "model", "make_tiny.py"),
                        "--out", model, "--layers", "4", "--d-model", "64",
                        "--ffn", "128", "--segment", "512"],
                       check=True, stdout=subprocess.DEVNULL)
        inputs = [make_input(work, n, args.ids) for n in (FEW, MANY)]
        args.flags = []
        good &= check(args, "alone", [], model, inputs)
        for placement in ("layers", "segments") if args.mpiexec else ():
            args.flags = ["--placement", placement]
            good &= check(args, "2 ranks, " + placement,
                          [args.mpiexec] + MPI_FLAGS, model, inputs)
    sys.exit(not good)


if __name__ == "__main__":
    main()
