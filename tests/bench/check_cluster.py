#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures what docs/cluster.md says of ranks on this host, on a quiet machine.

usage: check_cluster.py [--bin build/bin] [--rounds N] [--only WORD]

  scaling   two ranks of a thread against one, bound to distinct cores, both
            placements, and how much of the hops was hidden; beside them what
            the machine leaves to two engines that share no work at all
  overhead  one rank under mpirun against the engine alone (longwave-bench)
  idle      what ranks without a job take of a core, and how soon they answer

All rows of all layers are computed, as for logits: what a reading leaves out of
the last layer is no work of the second rank's, and layers would not be even.
Runs that are compared take turns.  Of scaling the ratios of each round count,
whose median and range are given, beside what two engines apart reached in that
very round; of overhead the best of each.  Exit status 1 when a line does not
hold.
"""
import argparse
import array
import json
import os
import pathlib
import random
import statistics
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SEGMENT, MEM, LAYERS = 256, 16, 8
MPIRUN = ["mpirun", "--mca", "pml", "ob1", "--mca", "btl", "vader,self"]
if os.geteuid() == 0:
    MPIRUN.append("--allow-run-as-root")
IDLE_SECONDS = 10
failures = 0


def say(text, value, good, limit):
    global failures
    failures += not good
    print(f"{'ok  ' if good else 'FAIL'} {text}: {value} ({limit})", flush=True)


def make_model(where):
    """The preset s512, as a directory."""
    subprocess.run(
        [sys.executable, ROOT / "model" / "make_tiny.py", "--out", where,
         "--layers", str(LAYERS), "--d-model", "512", "--heads", "8", "--kv-heads",
         "8", "--ffn", "1408", "--segment", str(SEGMENT), "--mem", str(MEM),
         "--d-mem", "64", "--vocab", "512"],
        check=True, stdout=subprocess.DEVNULL)


def make_ids(path, n):
    draw = random.Random(1)
    header = json.dumps({"input_ids": {
        "dtype": "I32", "shape": [n], "data_offsets": [0, 4 * n]}}).encode()
    header += b" " * (-len(header) % 8)
    ids = array.array("i", [draw.randrange(2, 250) for _ in range(n)])
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(header)) + header + ids.tobytes())


def summary(command):
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL).stdout
    return json.loads(out.splitlines()[-1])


def spread(values):
    return (f"{statistics.median(values):.3f} ({min(values):.3f} to "
            f"{max(values):.3f})")


def best(runs, key="seconds"):
    return min(r[key] for r in runs)


class Bench:
    def __init__(self, args, work):
        self.args = args
        self.model = work / "model"
        self.ids = work / "ids.safetensors"
        make_model(self.model)
        make_ids(self.ids, args.segments * SEGMENT)

    def run(self, ranks, threads, *flags, bind="core"):
        return summary(
            [*MPIRUN, "-n", str(ranks), "--bind-to", bind,
             self.args.bin / "longwave-run", "--device", "cpu", "--model",
             self.model, "--input", self.ids, "--threads", str(threads),
             "--all-rows", "--json", *flags])

    def apart(self):
        """Two engines at once, each with the whole document and a core."""
        both = [subprocess.Popen(
            ["taskset", "-c", str(core), self.args.bin / "longwave-run",
             "--device", "cpu", "--model", self.model, "--input", self.ids,
             "--threads", "1", "--all-rows", "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            for core in sorted(os.sched_getaffinity(0))[:2]]
        done = [json.loads(p.communicate()[0].splitlines()[-1]) for p in both]
        return max(done, key=lambda r: r["seconds"])

    def engine(self, threads):
        done = summary(
            [self.args.bin / "longwave-bench", "--device", "cpu", "--preset",
             "s512", "--segment", str(SEGMENT), "--mem", str(MEM), "--tokens",
             str(self.args.segments * SEGMENT), "--threads", str(threads),
             "--schedule", "diagonal", "--repeat", "1", "--json"])
        return done["runs"][0]

    def round(self, back):
        """Everything once, each in seconds; `back`: in the other order."""
        turns = {"one": lambda: self.run(1, 1),
                 "layers": lambda: self.run(2, 1, "--placement", "layers"),
                 "segments": lambda: self.run(2, 1, "--placement", "segments"),
                 "apart": self.apart}
        done = {name: turns[name]() for name in list(turns)[::-1 if back else 1]}
        print("     " + ", ".join(f"{name} {done[name]['seconds']:.3f} s"
                                  for name in turns), flush=True)
        return done

    def scaling(self):
        rounds = [self.round(i % 2 == 1) for i in range(self.args.rounds)]
        apart = [2 * r["one"]["seconds"] / r["apart"]["seconds"]
                 for r in rounds]
        print(f"     two engines apart: {spread(apart)} times the work of one")
        for name in ("layers", "segments"):
            ratios = [r["one"]["seconds"] / r[name]["seconds"] for r in rounds]
            # Cells that the second rank waits for, of those of one rank.
            ramp = LAYERS / 2 if name == "layers" else 1
            bound = 2 / (1 + ramp / (self.args.segments * LAYERS / 2))
            middle = statistics.median(ratios)
            say(f"2 ranks against 1, {name}", spread(ratios), middle >= 1.85,
                f"at least 1.85; the ramp leaves {bound:.3f}")
            parts = [2 * x / (bound * y) for x, y in zip(ratios, apart)]
            print(f"     of what two engines apart reached in the same round, "
                  f"less the ramp: {spread(parts)}")
            hops = min((r[name] for r in rounds), key=lambda r: r["seconds"])
            print(f"     hops {hops['hop_seconds']:.3f} s of 2 x "
                  f"{hops['seconds']:.3f} s, {hops['hop_hidden_seconds']:.3f} "
                  f"s of them hidden; {hops['bytes_moved'] / 1e6:.1f} MB")

    def overhead(self):
        threads = os.cpu_count()
        kept = {"mpirun": [], "alone": []}
        for _ in range(self.args.rounds):
            kept["mpirun"].append(self.run(1, threads, bind="none"))
            kept["alone"].append(self.engine(threads))
        ratio = best(kept["mpirun"]) / best(kept["alone"])
        say("1 rank under mpirun against the engine alone", f"{ratio:.3f}",
            ratio <= 1.03, "at most 1.03")


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text("utf-8")
    fields = fields.rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def idle(args):
    """Ranks of a daemon's world that have read a document and wait."""
    os.environ["LONGWAVE_BIN"] = str(args.bin)
    sys.path.insert(0, str(ROOT / "tests" / "e2e"))
    import harness  # pylint: disable=import-outside-toplevel

    place = harness.Place
    place.setUpClass()
    try:
        daemon = place.start("--workers", "2", "--threads", "1")
        place.wait_worlds(1)
        place.add("book", harness.text_of(500))
        time.sleep(1)
        workers = [pid for pid, line in harness.processes_of(place.dir).items()
                   if "longwave-worker" in line.split()[0]]
        before = {pid: cpu_seconds(pid) for pid in workers}
        time.sleep(IDLE_SECONDS)
        for pid in workers:
            part = (cpu_seconds(pid) - before[pid]) / IDLE_SECONDS
            say("an idle rank takes of a core", f"{100 * part:.1f} %",
                part < 0.06, "below 6 %")
        say("ranks that were looked at", len(workers), len(workers) == 2, "2")
        first = []
        for _ in range(9):
            time.sleep(0.5)
            first.append(1e3 * place.ask("book", "who saw land")
                         ["seconds_to_first_token"])
        soon = statistics.median(first)
        say("first token of a small model after half a second of rest",
            f"{soon:.2f} ms", soon < 5, "below 5 ms, computing included")
        place.stop(daemon)
    finally:
        place.tearDownClass()


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--bin", type=pathlib.Path, default=ROOT / "build" / "bin")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--segments", type=int, default=64)
    p.add_argument("--only", choices=("scaling", "overhead", "idle"))
    args = p.parse_args()
    args.bin = args.bin.resolve()
    with tempfile.TemporaryDirectory() as work:
        bench = None
        if args.only != "idle":
            bench = Bench(args, pathlib.Path(work))
        if args.only in (None, "scaling"):
            bench.scaling()
        if args.only in (None, "overhead"):
            bench.overhead()
        if args.only in (None, "idle"):
            idle(args)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
