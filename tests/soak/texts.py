#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Texts that are made to be slow: 16 MiB of one letter, of combining marks, of
spaces, of words without one.  Each takes four times what a quarter of it takes,
about, and `status` is answered within 50 ms all the time.

usage: texts.py [--mib 16] [--lax] [--bin build/bin] [FAMILY ...]

Families are those of tests/model/data, and without names all of them.  What the
event loop computed between a question and its answer is held to 50 ms, too,
and with --lax, for busy machines, that alone."""
import argparse
import json
import shutil
import sys
import time

import place
import soak
from session import Session, put

DATA = soak.ROOT / "tests/model/data"
FAMILIES = sorted(p.name.split(".")[0] for p in DATA.glob("*.ids.json"))
KINDS = {"letter": "a", "marks": "e" + "\N{COMBINING ACUTE ACCENT}" * 511 +
         "\N{COMBINING CEDILLA}" * 512, "spaces": " ",
         "no space": "thewhaleandtheseaofgreymeninshipswhosawnoland"}
STATUS_MS = 50
GROWTH = 8  # times the quarter's CPU time; a square would be 16
LIMIT_S = 300
MIB = 1 << 20


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    p.add_argument("--mib", type=soak.command.count, default=16)
    p.add_argument("--lax", action="store_true")
    p.add_argument("--bin", type=soak.programs,
                   default=str(soak.ROOT / "build/bin"))
    p.add_argument("families", nargs="*", default=FAMILIES)
    args = p.parse_args()
    for family in args.families:
        if family not in FAMILIES:
            p.error(f"there is no family '{family}'")
    return args


def text_of(kind, size):
    """About `size` bytes, whole characters."""
    word = KINDS[kind].encode()
    return (word * (size // len(word) + 1))[:size].decode(
        errors="ignore").encode()


def n_vocab(family):
    model = json.loads((DATA / f"{family}.json").read_text())
    return 1 + max([*model["model"]["vocab"].values(),
                    *(t["id"] for t in model["added_tokens"])])


class Prepared:
    """What came of a text, and how the daemon was meanwhile."""

    def __init__(self, here, name, text):
        pid = here.daemon.pid
        session, prober = Session(here.endpoint), Session(here.endpoint)
        before = place.cpu_seconds([pid])
        session.add(name, text)
        self.status_ms = self.loop_ms = self.segments = 0
        end = time.monotonic() + LIMIT_S
        while self.segments == 0 and time.monotonic() < end:
            time.sleep(0.02)
            self.probe(prober, pid)
            jobs = session.wait_for(session.ask_for("jobs"), ("job_list",), 20)
            last = jobs["job"][-1]
            if last["state"] > 2:
                raise RuntimeError(f"{name}: {last['text']}")
            self.segments = last["segments_total"]
        self.cpu_s = place.cpu_seconds([pid]) - before
        session.ask_for("cancel", put("Cancel", job=last["job"]))
        session.next(20)
        session.close()
        prober.close()

    def probe(self, session, pid):
        before, start = place.scheduled(pid), time.monotonic()
        got = session.wait_for(session.ask_for("get_status"), ("status",), 20)
        if not got:
            raise RuntimeError("no status")
        self.status_ms = max(self.status_ms, (time.monotonic() - start) * 1e3)
        self.loop_ms = max(self.loop_ms, place.scheduled(pid)[0] - before[0])


def examine(args, here, family, kind):
    """Errors."""
    size = args.mib * MIB
    quarter, whole = (Prepared(here, f"{family}, {kind}, {n}",
                               text_of(kind, n)) for n in (size // 4, size))
    print(json.dumps({
        "family": family, "text": kind, "mib": args.mib,
        "segments": whole.segments, "cpu_s_quarter":
        round(quarter.cpu_s, 2), "cpu_s": round(whole.cpu_s, 2), "status_ms_max": round(whole.status_ms, 1),
        "loop_cpu_ms_max": round(whole.loop_ms, 1)}), flush=True)
    errors = []
    if whole.segments == 0:
        errors.append("it was not tokenized in time")
    elif whole.cpu_s > GROWTH * max(quarter.cpu_s, 0.1):
        errors.append(f"{quarter.cpu_s:.2f} s became {whole.cpu_s:.2f} s")
    if whole.loop_ms > STATUS_MS or (whole.status_ms > STATUS_MS and
                                     not args.lax):
        errors.append(f"status took {whole.status_ms:.1f} ms, of which the "
                      f"loop computed {whole.loop_ms:.1f} ms")
    return [f"{family}, {kind}: {e}" for e in errors]


def main():
    args = arguments()
    errors = []
    for family in args.families:
        model = [*soak.MODEL, "--vocab", str(n_vocab(family))]
        with place.Place(args.bin, model) as here:
            shutil.copy(DATA / f"{family}.json",
                        here.dir / "model/tokenizer.json")
            here.start()
            for kind in KINDS:
                errors += examine(args, here, family, kind)
    for error in errors:
        print(error)
    print(f"{len(errors)} errors")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
