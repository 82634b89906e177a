#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The outside check of the promises: clients write down what they see of a
daemon whose every process is killed at random, and a checker that knows only
what they wrote decides.

usage: soak.py [--seconds 600] [--clients 8] [--seed N] [--bin DIR] [--keep]

tests/soak/README.md tells more."""
import argparse
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.append(str(ROOT / "model"))
import command  # noqa: E402 (how it ends)

import chaos    # noqa: E402
import check    # noqa: E402
import content  # noqa: E402
import history  # noqa: E402

LAYERS = 3
# Long beside a write and beside a look at the readings: what runs meanwhile
# is then much less than another one.
INTERVAL = 1024
MODEL = ["--layers", str(LAYERS), "--d-model", "32", "--heads", "2",
         "--kv-heads", "1", "--ffn", "64", "--segment", "16", "--mem", "4",
         "--d-mem", "8"]
DAEMON = ["--workers", "2", "--threads", "1", "--checkpoint-segments",
          str(INTERVAL),
          "--checkpoint-seconds", "0", "--hang-seconds", "2"]


def programs(text):
    """The directory of a build's programs, for a flag."""
    path = pathlib.Path(text).resolve()
    if not (path / "longwaved").is_file():
        raise argparse.ArgumentTypeError(f"there is no longwaved in {text}")
    return path


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    p.add_argument("--seconds", type=command.count, default=600)
    p.add_argument("--clients", type=command.count, default=8)
    p.add_argument("--seed", type=int, default=None)
    p.add_argument("--bin", type=programs, default=str(ROOT / "build/bin"))
    p.add_argument("--keep", action="store_true",
                   help="leave the directory with histories and logs")
    return p.parse_args()


def asked(place):
    """What the clients asked: (text, question, seed, length) of each."""
    return sorted({tuple(e[k] for k in ("text", "question", "seed", "length"))
                   for e in history.read([place / "clients.jsonl"])
                   if e["e"] == "submit" and e["kind"] == "ask"})


def write_reference(args, place):
    """What an undisturbed run answers: longwave-run, no daemon at all."""
    log = history.Writer(place / "reference.jsonl")
    for number, size in enumerate(content.SIZES):
        (place / f"text-{number}").write_bytes(content.text_of(number))
        log.write("text", text=number, tokens=size + 1)  # and one to begin
    log.write("reading", interval=INTERVAL, layers=LAYERS)
    for number, question, seed, length in asked(place):
        done = subprocess.run(
            [args.bin / "longwave-run", "--model", place / "model", "--input",
             place / f"text-{number}", "--question",
             content.QUESTIONS[question], *content.flags(seed, length),
             "--threads", "1", "--json"], capture_output=True, timeout=300,
            check=True)
        ids = json.loads(done.stdout.splitlines()[-1])["generated_ids"]
        log.write("reference", text=number, question=question, seed=seed,
                  length=length, ids=ids)
    log.close()


def run(args, place):
    """Clients at work while everything is killed, then their audit."""
    endpoint = f"ipc://{place}/client.sock"
    daemon = [args.bin / "longwaved", "--model", place / "model", "--listen",
              endpoint, "--listen-worlds", f"ipc://{place}/world.sock",
              "--data", place / "data", *DAEMON]
    killer = subprocess.Popen(
        [sys.executable, HERE / "chaos.py", place / "chaos.jsonl",
         str(args.seed), str(args.seconds), place, *daemon],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    clients = subprocess.Popen(
        [sys.executable, HERE / "client.py", endpoint,
         place / "clients.jsonl", str(args.seed), str(args.clients)],
        stdin=subprocess.PIPE)
    try:
        killer.stdout.readline()
        clients.communicate(b"audit\n", timeout=900)
        killer.communicate(timeout=300)
    finally:
        for process in (clients, killer):
            if process.poll() is None:
                process.kill()
                process.wait()


def main():
    args = arguments()
    if args.seed is None:
        args.seed = random.randrange(1 << 32)
    place = pathlib.Path(tempfile.mkdtemp(prefix="longwave-soak-"))
    print(f"seed {args.seed}, {args.seconds:.0f} s, in {place}", flush=True)
    try:
        subprocess.run([sys.executable, ROOT / "model/make_tiny.py", "--out",
                        place / "model", *MODEL], check=True, timeout=60)
        run(args, place)
        write_reference(args, place)
        checker = check.Checker(history.read(
            place / f"{name}.jsonl"
            for name in ("chaos", "clients", "reference")))
        check.report(checker)
    finally:
        for pid in chaos.processes(str(place)):
            if pid != os.getpid():
                chaos.send(pid, 9)
    if not checker.found and not args.keep:
        shutil.rmtree(place)
    return 1 if checker.found else 0


if __name__ == "__main__":
    sys.exit(main())
