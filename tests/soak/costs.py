#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What durability costs, and how soon work goes on after a crash.

- checkpoints: a document is read without them, and with one every 4 segments
  (far more than the usual one in 5 s), in pairs; CPU time of daemon and ranks,
  which other work on the machine changes less than a clock does, and the
  clock's.  Their difference a checkpoint, in 5 s of reading, is the cost.
- ask: from sending to the acknowledgement, which waits for the journal, to the
  first token and to the end; the data directory on disk, in memory where fsync
  is free, and without any journal (tests/soak/nojournal.c).  Medians and where
  they are at 95 %, of each and of the differences, which are taken in pairs.
- restart: from SIGKILL of a rank, or of mpirun, or SIGSTOP of a rank, until the
  job is dispatched again (its next attempt), beside what the first start of a
  world takes.  A hang is noticed after HANG_S."""
import argparse
import contextlib
import json
import pathlib
import shutil
import signal
import statistics
import tempfile
import time

import chaos
import content
import place
import soak
from session import Session, ask_request

# A state of 4.7 MB: 8 layers of 6 x 48 x 512 numbers.
MODEL = ["--layers", "8", "--d-model", "512", "--heads", "8", "--kv-heads",
         "4", "--ffn", "1408", "--segment", "64", "--mem", "8", "--d-mem",
         "48"]
SEGMENTS = 64
EVERY = 4
PAIRS = 12
RUNS, ASKS, WARM = 5, 200, 20
HANG_S = 2
INTERVAL_S = 5.0  # --checkpoint-seconds by default


def read(here, name, text):
    """(CPU seconds of all processes, wall seconds) of reading."""
    session = Session(here.endpoint)
    pids = here.pids()
    cpu, start = place.cpu_seconds(pids), time.monotonic()
    request = session.add(name, text)
    assert session.wait_for(request, ("done",), 300), "the document"
    out = place.cpu_seconds(pids) - cpu, time.monotonic() - start
    session.close()
    return out


def checkpoints(programs):
    """Pairs of readings, of which the one that is first alternates."""
    text = (content.text_of(4) * 4)[:64 * SEGMENTS]
    n = SEGMENTS // EVERY - 1
    seen = {0: [], EVERY: []}
    with place.Place(programs, MODEL) as here:
        for pair in range(PAIRS):
            for every in (0, EVERY) if pair % 2 else (EVERY, 0):
                here.start("--workers", "1", "--checkpoint-segments",
                           str(every), "--checkpoint-seconds", "0")
                here.wait_world()
                seen[every].append(read(here, f"d{pair}-{every}", text))
                here.stop()
    out = {"checkpoints": n, "pairs": PAIRS}
    for i, what in enumerate(("cpu", "wall")):
        each = [(w[i] - o[i]) / n for w, o in zip(seen[EVERY], seen[0])]
        out[f"{what}_s_without"] = interval([o[i] for o in seen[0]])
        out[f"{what}_ms_each"] = interval([1e3 * e for e in each])
        out[f"{what}_percent_at_one_in_5_s"] = interval(
            [100 * e / INTERVAL_S for e in each])
    print(json.dumps(out), flush=True)


def interval(values):
    """[low, median, high]: where the median is, at 95 %, by ranks."""
    values = sorted(values)
    n = len(values)
    reach = 0.98 * n ** 0.5
    return [round(values[max(0, min(n - 1, int(i)))], 2)
            for i in (n / 2 - reach, n / 2, n / 2 + reach)]


def ask_once(session, n):
    """ms to the acknowledgement, to the first token, and to the end."""
    start = time.monotonic()
    request = session.ask_for(*ask_request(
        "book", b"who saw land", f"key-{n}", content.sampling(n + 1, 8)))
    out = []
    for body in ("accepted", "token", "done"):
        assert session.wait_for(request, (body,), 20), body
        out.append((time.monotonic() - start) * 1e3)
    return out


class Asked(contextlib.ExitStack):
    """A daemon with a document, and what it took to ask it."""

    def __init__(self, programs, memory=False, program=None):
        super().__init__()
        self.times = []
        try:
            here = self.enter_context(place.Place(programs))
            if memory:
                self.data = self.enter_context(tempfile.TemporaryDirectory(
                    dir="/dev/shm", prefix="longwave-costs-"))
            here.start("--workers", "1", program=program,
                       data=pathlib.Path(self.data) / "data" if memory
                       else None)
            here.wait_world()
            self.session = Session(here.endpoint)
            request = self.session.add("book", content.text_of(0))
            assert self.session.wait_for(request, ("done",), 60)
        except BaseException:
            self.close()
            raise


def asked_by_turns(programs):
    """{daemon: its times}; all are there at once, so that what else the
    machine does is the same for them."""
    with contextlib.ExitStack() as stack:
        seen = {name: stack.enter_context(Asked(programs, **how))
                for name, how in {
                    "disk": {}, "memory": {"memory": True},
                    "none": {"program": programs.parent /
                             "tests/longwaved-nojournal"}}.items()}
        for n in range(ASKS + WARM):
            turn = list(seen.values())
            for one in turn[n % 3:] + turn[:n % 3]:
                one.times.append(ask_once(one.session, n))
        for one in seen.values():
            one.session.close()
    return {name: one.times[WARM:] for name, one in seen.items()}


def asks(programs):
    """Several times over: the same programs started anew differ by more than
    the interval that one run gives."""
    runs = [asked_by_turns(programs) for _ in range(RUNS)]
    for i, what in enumerate(("ack", "first_token", "end")):
        out = {}
        for a, b in (("disk", "memory"), ("memory", "none"), ("disk", "none")):
            pairs = [[x[i] - y[i] for x, y in zip(run[a], run[b])]
                     for run in runs]
            out[f"{a}-{b}"] = interval(sum(pairs, []))
            out[f"{a}-{b}_runs"] = [interval(p)[1] for p in pairs]
        print(json.dumps({
            "asks": RUNS * ASKS, "ms_to": what, **{
                name: interval([t[i] for run in runs for t in run[name]])
                for name in runs[0]}, **out}), flush=True)


def segments_done(session):
    jobs = session.wait_for(session.ask_for("jobs"), ("job_list",), 20)
    return jobs["job"][-1]["segments_done"], jobs["job"][-1]["attempts"]


def back_at_work(here, victim, blow):
    """Seconds from the start of a world until it served, and from the blow
    until the job was dispatched again."""
    start = time.monotonic()
    here.start("--workers", "2", "--placement", "segments",  # both ranks read
               "--checkpoint-segments", "64", "--checkpoint-seconds", "0",
               "--hang-seconds", str(HANG_S))
    here.wait_world()
    ready = time.monotonic() - start
    session = Session(here.endpoint)
    session.add("book", content.text_of(4) * 4)
    done = 0
    while done < 200:
        done, attempts = segments_done(session)
        time.sleep(0.01)
        assert time.monotonic() < start + 60
    chaos.send(chaos.ours(str(here.dir))[victim][-1], blow)  # no lead
    kill = time.monotonic()
    while segments_done(session)[1] == attempts:
        time.sleep(0.005)
        assert time.monotonic() < kill + 60
    out = ready, time.monotonic() - kill
    here.daemon.kill()  # the rest of the document is of no interest
    session.close()
    here.stop()
    shutil.rmtree(here.dir / "data")
    return out


def restarts(programs):
    for victim, blow in (("rank", signal.SIGKILL), ("mpirun", signal.SIGKILL),
                         ("rank", signal.SIGSTOP)):
        with place.Place(programs) as here:
            seen = [back_at_work(here, victim, blow) for _ in range(5)]
        print(json.dumps({
            "victim": victim, "blow": blow.name, "hang_s": HANG_S, "times": len(seen), "first_start_s_median":
            round(statistics.median(s for s, _ in seen), 2),
            "back_s_median": round(statistics.median(b for _, b in seen), 2),
            "back_s_max": round(max(b for _, b in seen), 2)}), flush=True)


def main():
    parts = {"restarts": restarts, "asks": asks, "checkpoints": checkpoints}
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--bin", type=soak.programs,
                   default=str(soak.ROOT / "build/bin"))
    p.add_argument("parts", nargs="*", metavar="PART",
                   help=", ".join(parts) + "; all where none is named")
    flags = p.parse_args()
    for part in flags.parts:
        if part not in parts:
            p.error(f"there is no part '{part}'")
    for part in flags.parts or parts:
        parts[part](flags.bin)


if __name__ == "__main__":
    main()
