#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What durability costs, and how soon work goes on after a crash.

usage: costs.py [BIN_DIR]      (default build/bin)

- checkpoints: a document is read without them, and with one every 4 segments
  (far more than the usual one in 5 s), interleaved; CPU time of daemon and
  ranks, which other work on the machine changes less than a clock does.
  Their difference a checkpoint, in 5 s of reading, is the cost.
- ask: from sending to the acknowledgement, which waits for the journal, and
  to the end; the data directory on disk, and in memory where fsync is free.
- restart: from SIGKILL of a rank, or of mpirun, until the job is dispatched
  again (its next attempt), beside what the first start of a world takes."""
import json
import pathlib
import shutil
import signal
import statistics
import sys
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
REPEAT = 2
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
    text = (content.text_of(4) * 4)[:64 * SEGMENTS]
    with place.Place(programs, MODEL) as here:
        seen = {0: [], EVERY: []}
        for n in range(REPEAT):
            for every in seen:
                here.start("--workers", "1", "--checkpoint-segments",
                           str(every), "--checkpoint-seconds", "0")
                here.wait_world()
                seen[every].append(read(here, f"d{n}-{every}", text))
                here.stop()
    cpu = {k: min(c for c, _ in v) for k, v in seen.items()}
    wall = {k: min(w for _, w in v) for k, v in seen.items()}
    n = SEGMENTS // EVERY - 1
    each = (cpu[EVERY] - cpu[0]) / n
    print(json.dumps({
        "checkpoints": n, "cpu_s_without": round(cpu[0], 2),
        "cpu_s_with": round(cpu[EVERY], 2), "wall_s_without":
        round(wall[0], 2), "wall_s_with": round(wall[EVERY], 2),
        "cpu_ms_each": round(each * 1e3, 2),
        f"percent_at_every_{EVERY}_segments":
        round(100 * (cpu[EVERY] / cpu[0] - 1), 2),
        "percent_at_one_in_5_s": round(100 * each / INTERVAL_S, 3)}),
        flush=True)


def ask_once(session, n):
    """(ms to the acknowledgement, ms to the end)"""
    start = time.monotonic()
    request = session.ask_for(*ask_request(
        "book", b"who saw land", f"key-{n}", content.sampling(n + 1, 8)))
    assert session.wait_for(request, ("accepted",), 20)
    accepted = time.monotonic()
    assert session.wait_for(request, ("done",), 20)
    return (accepted - start) * 1e3, (time.monotonic() - start) * 1e3


def asks(programs):
    with place.Place(programs) as here:
        memory = pathlib.Path(tempfile.mkdtemp(dir="/dev/shm",
                                               prefix="longwave-costs-"))
        seen = {"disk": [], "memory": []}
        try:
            for part in range(4):
                where = ("disk", "memory")[part % 2]
                here.start("--workers", "1", data=memory / "data"
                           if where == "memory" else None)
                here.wait_world()
                session = Session(here.endpoint)
                if part < 2:
                    request = session.add("book", content.text_of(0))
                    assert session.wait_for(request, ("done",), 60)
                seen[where] += [ask_once(session, part * 1000 + n)
                                for n in range(250)]
                session.close()
                here.stop()
        finally:
            shutil.rmtree(memory)
    out = {}
    for where, times in seen.items():
        out[f"{where}_ack_ms"], out[f"{where}_end_ms"] = (
            round(statistics.median(t[i] for t in times), 2) for i in (0, 1))
    print(json.dumps({"asks": 500, **out}), flush=True)


def segments_done(session):
    jobs = session.wait_for(session.ask_for("jobs"), ("job_list",), 20)
    return jobs["job"][-1]["segments_done"], jobs["job"][-1]["attempts"]


def back_at_work(here, victim):
    """Seconds from the start of a world until it served, and from the kill
    until the job was dispatched again."""
    start = time.monotonic()
    here.start("--workers", "2", "--checkpoint-segments", "64",
               "--checkpoint-seconds", "0")
    here.wait_world()
    ready = time.monotonic() - start
    session = Session(here.endpoint)
    session.add("book", content.text_of(4) * 4)
    done = 0
    while done < 200:
        done, attempts = segments_done(session)
        time.sleep(0.01)
        assert time.monotonic() < start + 60
    chaos.send(chaos.ours(str(here.dir))[victim][0], signal.SIGKILL)
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
    for victim in ("rank", "mpirun"):
        with place.Place(programs) as here:
            seen = [back_at_work(here, victim) for _ in range(5)]
        print(json.dumps({
            "killed": victim, "times": len(seen), "first_start_s_median":
            round(statistics.median(s for s, _ in seen), 2),
            "back_s_median": round(statistics.median(b for _, b in seen), 2),
            "back_s_max": round(max(b for _, b in seen), 2)}), flush=True)


def main():
    programs = sys.argv[1] if len(sys.argv) > 1 else soak.ROOT / "build/bin"
    restarts(programs)
    asks(programs)
    checkpoints(programs)


if __name__ == "__main__":
    main()
