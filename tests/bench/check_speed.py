#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures what docs/benchmarks.md promises of speed, on a quiet machine.

usage: check_speed.py --bench build/bin/longwave-bench [--torch PYTHON]

Runs that are compared take turns, and the best of each counts.  With --torch,
a Python that has PyTorch runs the peer between them.  Exit status 1 when a
line does not hold.
"""
import argparse
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
failures = 0


def bench(args, **flags):
    command = [args.bench, "--device", "cpu", "--json"]
    for name, value in flags.items():
        command += ["--" + name.replace("_", "-"), str(value)]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    result = json.loads(out.stdout)
    return {r["schedule"]: r for r in result["runs"]}


def peer(args, **flags):
    command = [args.torch, os.path.join(HERE, "torch_peer.py"), "--json"]
    for name, value in flags.items():
        command += ["--" + name, str(value)]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    lines = [json.loads(line) for line in out.stdout.splitlines()]
    return {r["mode"]: r["seconds"] for r in lines}


def check(text, value, least):
    global failures
    good = value >= least
    failures += not good
    print(f"{'ok  ' if good else 'FAIL'} {text}: {value:.2f} (at least "
          f"{least:.2f})", flush=True)


def best(runs, schedule):
    return min(r[schedule]["seconds"] for r in runs)


def scaling(args):
    """Two threads against one, and the sequential schedule beside it."""
    for d, segment in ((128, 64), (128, 128), (256, 64), (256, 128)):
        runs = {1: [], 2: []}
        shape = {"preset": "s256", "layers": 4, "d_model": d, "mem": 16,
                 "segment": segment, "tokens": args.tokens}
        for _ in range(args.rounds):
            for threads, kept in runs.items():
                kept.append(bench(args, threads=threads, **shape))
        name = f"d {d}, segment {segment}"
        one, two = best(runs[1], "diagonal"), best(runs[2], "diagonal")
        sequential = best(runs[2], "sequential")
        check(f"{name}: 2 threads against 1, diagonal", one / two, 1.8)
        check(f"{name}: diagonal against sequential, 2 threads",
              sequential / two, 1.0)


def near_the_machine(args):
    runs = [bench(args, preset="s512", segment=256, mem=16, threads=2,
                  tokens=args.tokens) for _ in range(args.rounds)]
    fraction = max(r["diagonal"]["fraction_of_product"] for r in runs)
    check("s512: useful FLOPs against the bare product", fraction, 0.75)


def beside_torch(args):
    for preset, segment, least in (("s512", 256, 1.0), ("s256", 64, 1.5)):
        ours, theirs = [], []
        shape = {"preset": preset, "segment": segment, "mem": 16,
                 "tokens": args.tokens, "threads": 2}
        for _ in range(args.rounds):
            ours.append(bench(args, schedule="diagonal", **shape))
            theirs.append(peer(args, modes="diagonal", **shape)["diagonal"])
        check(f"{preset}: against PyTorch's diagonal",
              min(theirs) / best(ours, "diagonal"), least)


def main():
    p = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--bench", required=True)
    p.add_argument("--torch", help="a Python with PyTorch")
    p.add_argument("--tokens", type=int, default=16384)
    p.add_argument("--rounds", type=int, default=3)
    args = p.parse_args()
    scaling(args)
    near_the_machine(args)
    if args.torch:
        beside_torch(args)
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
