#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures what docs/cluster.md promises of plans, on a quiet machine of two
cores: two ranks of one thread read a document with both placements and with
--placement auto, over memory and over links of a Gbit/s and less.

usage: check_plan.py --run build/bin/longwave-run [--rounds N] [--only TEXT]
                     [--settings FIRST-LAST] [--json FILE] [--any-pace]

For every setting the runs take turns, forth and back in every other round, and
what ran while the cores were slow runs again (steady.py).  It says
  auto      what auto took in its own turns, beside the better placement of the
            same round, the median; and "choice", the loss by what it chose:
            where auto takes a placement as it is, their runs are the same ones,
            so medians of all runs of each placement are compared
  sim       the time that auto's simulation told before, beside the one measured
            in the same round, the median
  groups    of all ranks, simulated beside measured
  bytes     moved between ranks, likewise
as a table in Markdown.  Judged are choice, sim, groups and bytes.  About 8
minutes with 2 rounds; --settings 1-7 and 8-14 are halves of it.  Exit status 1
when a line does not hold.  Shaped links need root, iproute2 and the traffic
shaper tbf; without them these settings are left out, which is said.
"""
import argparse
import functools
import json
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile

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
BOUNDS = {"choice": 1.05, "sim": 0.15, "groups": 0.01, "bytes": 0.01}


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
        self.runs = {mode: [] for mode in MODES}

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

    def run_all(self, rounds, net=None):
        for i in range(rounds):
            for mode in MODES[::-1 if i % 2 else 1]:
                once = functools.partial(self.run_once, mode, net)
                pace = self.args.pace
                self.runs[mode].append(pace.run(once) if pace else once())

    def middle(self, mode):
        return statistics.median(r["seconds"] for r in self.runs[mode])

    def told(self, mode):
        """What was simulated, of each round."""
        return [next(p for p in r["plan"]["placements"]
                     if p["placement"] == mode) for r in self.runs["auto"]]

    def error(self, mode, key):
        """Of what was simulated beside what was measured in the same round."""
        return statistics.median(
            p[key] / r[key]
            for p, r in zip(self.told(mode), self.runs[mode])) - 1

    def own_turns(self):
        rounds = zip(*(self.runs[mode] for mode in MODES))
        return statistics.median(
            auto["seconds"] / min(layers["seconds"], segments["seconds"])
            for layers, segments, auto in rounds)

    def choice(self):
        """The loss by what auto chose, the mean of all rounds."""
        as_is = [r for r in self.runs["auto"] if "division" not in r["plan"]
                 or len(set(r["plan"]["division"])) == 1]
        if len(as_is) < len(self.runs["auto"]):
            return self.own_turns()
        time = {}
        for mode in MODES[:2]:
            same = self.runs[mode] + [r for r in as_is
                                      if r["placement"] == mode]
            time[mode] = statistics.median(r["seconds"] for r in same)
        return statistics.mean(time[r["placement"]] / min(time.values())
                               for r in as_is)

    def result(self):
        chosen = {r["placement"] for r in self.runs["auto"]}
        out = {"name": self.name, "segment": self.segment,
               "tokens": self.tokens, "state": self.state, "rate": self.rate,
               "chosen": sorted(chosen), "auto_seconds": self.middle("auto"),
               "auto": self.own_turns(), "choice": self.choice()}
        for mode in MODES[:2]:
            out[mode] = {
                "seconds": self.middle(mode),
                "predicted": statistics.median(p["seconds"]
                                               for p in self.told(mode)),
                "sim": self.error(mode, "seconds"),
                "groups": self.error(mode, "groups_all"),
                "bytes": self.error(mode, "bytes_moved")}
        out["runs"] = {mode: [r["seconds"] for r in runs]
                       for mode, runs in self.runs.items()}
        plan = self.runs["auto"][-1]["plan"]
        out["measuring_seconds"] = max(r["plan"]["measuring_seconds"]
                                       for r in self.runs["auto"])
        out["ranks"] = plan["ranks"]
        return out


def percent(x):
    return f"{100 * x:+.1f}%"


HEAD = ["setting", "layers", "segments", "auto", "own turns", "choice",
        "sim layers", "sim segments", "groups", "bytes"]


def show_head():
    print("| " + " | ".join(HEAD) + " |")
    print("|" + "---|" * len(HEAD), flush=True)


def show(r):
    both = [r[mode] for mode in MODES[:2]]
    cells = [r["name"], *(f"{m['seconds']:.3f} s" for m in both),
             f"{r['auto_seconds']:.3f} s, {'/'.join(r['chosen'])}",
             f"{r['auto']:.3f}", f"{r['choice']:.3f}",
             *(percent(m["sim"]) for m in both),
             ", ".join(percent(m["groups"]) for m in both),
             ", ".join(percent(m["bytes"]) for m in both)]
    print("| " + " | ".join(cells) + " |", flush=True)


def judge(results):
    """The number of lines that do not hold."""
    bad = 0
    for r in results:
        found = [("choice", r["choice"] <= BOUNDS["choice"], r["choice"])]
        for mode in MODES[:2]:
            for what in ("sim", "groups", "bytes"):
                value = r[mode][what]
                found.append((f"{mode} {what}", abs(value) <= BOUNDS[what],
                              value))
        for what, holds, value in found:
            if not holds:
                bad += 1
                print(f"FAIL {r['name']}: {what} {value:.3f}")
    for what, bound in BOUNDS.items():
        worst = max(r[what] if what == "choice" else
                    max(abs(r[m][what]) for m in MODES[:2]) for r in results)
        print(f"worst {what}: {worst:.3f} (bound {bound})")
    print(f"worst auto in its own turns: {max(r['auto'] for r in results):.3f}")
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
                    s.run_all(args.rounds, net)
                    results.append(s.result())
                    show(results[-1])
        else:
            for s in same:
                s.run_all(args.rounds)
                results.append(s.result())
                show(results[-1])
    return results


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--run", required=True, help="longwave-run")
    p.add_argument("--rounds", type=int, default=2)
    p.add_argument("--only", default="", help="settings with this in the name")
    p.add_argument("--settings", type=numbers, metavar="FIRST-LAST",
                   default=numbers(f"1-{len(GRID)}"),
                   help=f"these of 1-{len(GRID)} alone")
    p.add_argument("--json", help="write the results there")
    p.add_argument("--any-pace", action="store_true",
                   help="run nothing again because the cores were slow")
    args = p.parse_args()
    args.run = os.path.abspath(args.run)
    os.environ.update(OMPI_ALLOW_RUN_AS_ROOT="1",
                      OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    args.pace = None if args.any_pace else steady.Steady(
        os.path.join(os.path.dirname(args.run), "longwave-bench"))
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
    if args.pace:
        print(args.pace.say())
    if args.json:
        with open(args.json, "w", encoding="utf-8") as f:
            json.dump(results, f, indent=1)
    sys.exit(1 if judge(results) else 0)


if __name__ == "__main__":
    main()
