#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures what docs/cluster.md promises of plans, on a quiet machine of two
cores: two ranks of one thread read a document with both placements and with
--placement auto, over memory and over links of a Gbit/s and less.

usage: check_plan.py --run build/bin/longwave-run [--rounds N] [--only TEXT]
                     [--settings FIRST-LAST] [--json FILE] [--minutes X]

A round is a run of each: layers, segments, auto, in an order that changes from
round to round.  Only rounds count in which both cores were the ranks' own and
as fast as they were, which is told without a look at what the round took:
  - of the time that a rank computed in a run its thread had 95 % of the core
    (CPU time by the clock, as each rank counts both; what is missing somebody
    else had), and
  - a fixed piece of work on both cores, before and behind the round, took at
    most 15 % longer than the quickest one so far (steady.py).
Others are thrown away, which is said with the reason, and run again while there
is time.  Of the rounds that count, medians:
  auto      what auto took beside the run of the better placement (the one
            with the lesser median) in the same round
  sim       the time that auto's simulations told before, beside the one
            measured in the same round
  groups    of all ranks, simulated beside measured
  bytes     moved between ranks, likewise
and of all rounds, also those thrown away:
  measuring seconds that a rank measured before auto chose
A setting with fewer than 3 rounds that count fails: it is not known.  A placement that takes ten times as long as the other runs once.
Exit status 1 when a line does not hold.  Shaped links need root, iproute2 and
the traffic shaper tbf; without them these settings are left out, which is
said.
"""
import argparse
import json
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "cluster"))
sys.path.insert(0, HERE)
import hosts  # noqa: E402
import steady  # noqa: E402

GBIT = 125e6
# Tokens of a segment, of a document; memory width; bytes a second.
GRID = [
    (128, 16384, "small", None), (128, 16384, "large", None),
    (512, 16384, "small", None), (1024, 16384, "large", None),
    (2048, 20480, "small", None), (4096, 24576, "large", None),
    (128, 16384, "small", GBIT), (256, 16384, "large", GBIT),
    (1024, 16384, "small", GBIT), (4096, 24576, "large", GBIT),
    (128, 16384, "large", GBIT / 10), (512, 16384, "small", GBIT / 10),
    (2048, 20480, "large", GBIT / 10), (4096, 24576, "small", GBIT / 10),
]
MODES = ("layers", "segments", "auto")
D_MEM = {"small": 16, "large": 128}
BOUNDS = {"auto": 1.05, "sim": 0.15, "groups": 0.01, "bytes": 0.01,
          "measuring": 1.0}
SHARE = 0.95  # of its core that a rank must have had
SLOWER = 0.15  # that the fixed work may be
ENOUGH = 3  # rounds that count, at the least


def make_model(work, d_mem):
    out = os.path.join(work, f"model{d_mem}")
    subprocess.run(
        [sys.executable, os.path.join(ROOT, "model", "make_tiny.py"), "--out",
         out, "--layers", "4", "--d-model", "256", "--heads", "4",
         "--kv-heads", "4", "--ffn", "704", "--mem", "16", "--d-mem",
         str(d_mem)], check=True, stdout=subprocess.DEVNULL)
    return out


def make_ids(work, n):
    path = os.path.join(work, f"ids{n}.safetensors")
    data = struct.pack(f"<{n}i", *((i * 7919 + i // 251) % 250
                                   for i in range(n)))
    head = json.dumps({"input_ids": {"dtype": "I32", "shape": [n],
                                     "data_offsets": [0, len(data)]}}).encode()
    head += b" " * (-len(head) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head + data)
    return path


def make_pin(work):
    """Each rank on a core of its own, on whatever host it believes to be."""
    path = os.path.join(work, "pin.sh")
    with open(path, "w", encoding="utf-8") as f:
        f.write("#!/bin/sh\n"
                "exec taskset -c $OMPI_COMM_WORLD_RANK \"$@\"\n")
    os.chmod(path, 0o755)
    return path


class Setting:
    def __init__(self, args, work, row):
        self.segment, self.tokens, self.state, self.rate = row
        link = "memory" if not self.rate else f"{self.rate * 8e-6:.0f} Mbit/s"
        self.name = f"{self.segment}, {self.state} state, {link}"
        self.args, self.work = args, work
        self.rounds, self.thrown, self.measuring = [], [], []
        self.slow = {}  # runs of a placement that is not run again

    def run_once(self, mode, net):
        command = [os.path.join(self.work, "pin.sh"), self.args.run,
                   "--threads", "1", "--device", "cpu", "--json", "--model",
                   os.path.join(self.work, f"model{D_MEM[self.state]}"),
                   "--segment", str(self.segment), "--input",
                   os.path.join(self.work, f"ids{self.tokens}.safetensors"),
                   "--placement", mode]
        if net:
            done = net.mpirun(self.work, command, timeout=120)
        else:
            done = subprocess.run(
                ["mpirun", "--allow-run-as-root", "--oversubscribe",
                 "--bind-to", "none", "-n", "2", *command],
                capture_output=True, text=True, timeout=120, check=False)
        if done.returncode != 0:
            sys.exit(f"{self.name}, {mode}: {done.stderr}")
        return json.loads(done.stdout.splitlines()[-1])

    def run_round(self, number, net):
        """One run of each, and why it does not count, or None."""
        order = [MODES[(number + i) % 3] for i in range(3)]
        done = {mode: self.slow.get(mode) or self.run_once(mode, net)
                for mode in order[::-1 if number % 2 else 1]}
        self.measuring.append(done["auto"]["plan"]["measuring_seconds"])
        both = [done[mode]["seconds"] for mode in MODES[:2]]
        for mode, x, other in zip(MODES, both, both[::-1]):
            if x > 10 * other:
                self.slow[mode] = done[mode]
        why = None
        for mode in MODES:
            for rank, work in enumerate(done[mode]["work"]):
                part = work["cpu_seconds"] / max(work["seconds"], 1e-9)
                if part < SHARE and mode not in self.slow:
                    why = (f"{mode}: rank {rank} had {100 * part:.0f} % of "
                           "its core")
        return done, why

    def run_all(self, net=None):
        end = time.monotonic() + self.args.patience
        number = 0
        fast = self.args.pace.look()
        while (len(self.rounds) < self.args.rounds and
               (number < self.args.rounds or time.monotonic() < end)):
            done, why = self.run_round(number, net)
            before, fast = fast, self.args.pace.look()
            for when, (seconds, good) in (("before", before),
                                          ("behind", fast)):
                if not good:
                    why = why or (f"the cores were slow {when} it, "
                                  f"{seconds:.3f} s in place of "
                                  f"{self.args.pace.best:.3f} s")
            number += 1
            if why:
                self.thrown.append(why)
                print(f"  {self.name}: round {number} does not count, {why}",
                      flush=True)
            else:
                self.rounds.append(done)

    def middle(self, mode):
        return statistics.median(r[mode]["seconds"] for r in self.rounds)

    def told(self, one, mode):
        return next(p for p in one["auto"]["plan"]["placements"]
                    if p["placement"] == mode)

    def error(self, mode, key):
        """Of what was simulated beside what was measured in the same round."""
        return statistics.median(self.told(r, mode)[key] / r[mode][key]
                                 for r in self.rounds) - 1

    def result(self):
        out = {"name": self.name, "segment": self.segment,
               "tokens": self.tokens, "state": self.state, "rate": self.rate,
               "rounds": len(self.rounds), "thrown": self.thrown,
               "measuring": max(self.measuring)}
        if not self.rounds:
            return out
        better = min(MODES[:2], key=self.middle)
        ratios = [r["auto"]["seconds"] / r[better]["seconds"]
                  for r in self.rounds]
        out.update(
            better=better, auto=statistics.median(ratios), ratios=ratios,
            chosen=sorted({r["auto"]["placement"] for r in self.rounds}),
            auto_seconds=self.middle("auto"))
        for mode in MODES[:2]:
            out[mode] = {
                "seconds": self.middle(mode),
                "told": statistics.median(self.told(r, mode)["seconds"]
                                          for r in self.rounds),
                "sim": self.error(mode, "seconds"),
                "groups": self.error(mode, "groups_all"),
                "bytes": self.error(mode, "bytes_moved")}
        out["runs"] = self.rounds
        return out


def percent(x):
    return f"{100 * x:+.1f}%"


HEAD = ["setting", "rounds", "layers", "segments", "auto", "beside the better",
        "told layers", "told segments", "groups", "bytes"]


def show_head():
    print("| " + " | ".join(HEAD) + " |")
    print("|" + "---|" * len(HEAD), flush=True)


def show(r):
    n = f"{r['rounds']} of {r['rounds'] + len(r['thrown'])}"
    cells = [r["name"], n]
    if r["rounds"] > 0:
        both = [r[mode] for mode in MODES[:2]]
        cells += [*(f"{m['seconds']:.3f} s" for m in both),
                  f"{r['auto_seconds']:.3f} s, {'/'.join(r['chosen'])}",
                  f"{r['auto']:.3f}",
                  *(f"{m['told']:.3f} s, {percent(m['sim'])}" for m in both),
                  ", ".join(percent(m["groups"]) for m in both),
                  ", ".join(percent(m["bytes"]) for m in both)]
    print("| " + " | ".join(cells) + " |", flush=True)


def lines(r, least):
    """What is judged of a setting: name, whether it holds, value."""
    yield "measuring", r["measuring"] < BOUNDS["measuring"], r["measuring"]
    yield "rounds", r["rounds"] >= least, r["rounds"]
    if r["rounds"] == 0:
        return
    yield "auto", r["auto"] <= BOUNDS["auto"], r["auto"]
    for mode in MODES[:2]:
        for what in ("sim", "groups", "bytes"):
            value = r[mode][what]
            yield f"{mode} {what}", abs(value) <= BOUNDS[what], value


def judge(results, least):
    """The number of lines that do not hold."""
    bad = n = 0
    for r in results:
        for what, holds, value in lines(r, least):
            n += 1
            bad += not holds
            if not holds:
                print(f"FAIL {r['name']}: {what} {value:.3f}")
    thrown = sum(len(r["thrown"]) for r in results)
    kept = sum(r["rounds"] for r in results)
    print(f"{kept} rounds count and {thrown} do not; {n - bad} of {n} lines "
          f"hold; measuring took {max(r['measuring'] for r in results):.2f} s "
          "at most")
    return bad


def numbers(text):
    """FIRST-LAST, or one number, of the settings from 1 on."""
    first, _, last = text.partition("-")
    chosen = range(int(first), int(last or first) + 1)
    if not chosen or chosen[0] < 1 or chosen[-1] > len(GRID):
        raise ValueError(text)
    return chosen


def measure(args, work):
    settings = [Setting(args, work, GRID[i - 1]) for i in args.settings]
    settings = [s for s in settings if args.only in s.name]
    results = []
    reason = hosts.missing()
    show_head()
    for rate in (None, GBIT, GBIT / 10):
        same = [s for s in settings if s.rate == rate]
        if not same:
            continue
        if rate and reason:
            print(f"left out, {reason}: {', '.join(s.name for s in same)}")
        elif rate:
            with hosts.Hosts(rate=rate) as net:
                for s in same:
                    s.run_all(net)
                    results.append(s.result())
                    show(results[-1])
        else:
            for s in same:
                s.run_all()
                results.append(s.result())
                show(results[-1])
    return results


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--run", required=True, help="longwave-run")
    p.add_argument("--rounds", type=int, default=5,
                   help="that count, of each setting")
    p.add_argument("--only", default="", help="settings with this in the name")
    p.add_argument("--settings", type=numbers, metavar="FIRST-LAST",
                   default=numbers(f"1-{len(GRID)}"),
                   help=f"these of 1-{len(GRID)} alone")
    p.add_argument("--json", help="write the results there")
    p.add_argument("--minutes", type=float, default=20,
                   help="of which settings have equal parts to run again what "
                   "does not count")
    args = p.parse_args()
    args.run = os.path.abspath(args.run)
    os.environ.update(OMPI_ALLOW_RUN_AS_ROOT="1",
                      OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    args.patience = 60 * args.minutes / len(args.settings)
    args.pace = steady.Steady(
        os.path.join(os.path.dirname(args.run), "longwave-bench"), SLOWER)
    work = tempfile.mkdtemp()
    try:
        make_pin(work)
        for d_mem in D_MEM.values():
            make_model(work, d_mem)
        for tokens in {row[1] for row in GRID}:
            make_ids(work, tokens)
        results = measure(args, work)
    finally:
        shutil.rmtree(work)
    if not results:
        sys.exit("no setting was measured")
    if args.json:
        with open(args.json, "w", encoding="utf-8") as f:
            json.dump(results, f, indent=1)
    sys.exit(1 if judge(results, min(ENOUGH, args.rounds)) else 0)


if __name__ == "__main__":
    main()
