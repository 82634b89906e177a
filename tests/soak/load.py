#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""200 clients ask 20 questions each at once about one document, three times
over: all are answered rightly, none twice; memory is flat; `status` stays
under 50 ms.  Then a flood against a short queue: what is over the limit is
refused, with the seconds to wait, and costs no memory.

Status is asked from a process of its own, which sees scheduling, too, and now
and then by a whole `longwave status`, with its start.  What
the daemon does about it is `status_loop_cpu_ms_max`: the most that its loop
computed between a question and its answer.  Beside the slowest one stands how
long the loop was ready meanwhile and had no CPU."""
import argparse
import json
import multiprocessing
import selectors
import subprocess
import sys
import threading
import time

import content
import place
import soak
from session import Session, add_request, ask_request, put

CLIENTS, QUESTIONS, ROUNDS = 200, 20, 4
STATUS_MS = 50
FLAT_MIB = 8
LENGTH = 8
FLOOD, FLOOD_QUEUE = 20000, 1000


def question(n):
    return f"who saw land {n} times".encode()


def whole_process_ms(program, endpoint):
    start = time.monotonic()
    subprocess.run([program, "status", "--connect", endpoint], check=True,
                   stdout=subprocess.DEVNULL, timeout=20)
    return (time.monotonic() - start) * 1e3


def probe(here, over, out):
    """(ms, ms of it that the daemon's loop ran, ms that it waited for a CPU)
    of every status, ten a second, until `over` is set; and the ms of some
    client processes."""
    pid = here.daemon.pid
    session = Session(here.endpoint)
    times, processes = [], []
    turn = 0
    while not over.is_set():
        if len(times) % 10 == 0:
            processes.append(whole_process_ms(here.bin / "longwave",
                                              here.endpoint))
        before = place.scheduled(pid)
        start = time.monotonic()
        got = session.wait_for(session.ask_for("get_status"), ("status",), 20)
        times.append(((time.monotonic() - start) * 1e3, *(
            b - a for a, b in zip(before, place.scheduled(pid)))))
        turn = got["longest_turn_ms"]
        time.sleep(0.1)
    out.put((times, processes, turn))


class Sampler(threading.Thread):
    """The most that each process had in memory, while it runs."""

    def __init__(self, pids):
        super().__init__(daemon=True)
        self.most = dict.fromkeys(pids, 0.0)
        self.over = threading.Event()

    def run(self):
        while not self.over.wait(0.05):
            for pid in self.most:
                self.most[pid] = max(self.most[pid], place.rss(pid))

    def end(self):
        self.over.set()
        self.join()
        return self.most


def read_document(here, text):
    session = Session(here.endpoint)
    request = session.ask_for(*add_request("book", text, ""))
    assert session.wait_for(request, ("done",), 120), "the document"
    session.close()


def one_round(here, number, expected):
    """Errors of a round in which everybody asks everything at once."""
    sessions = [Session(here.endpoint) for _ in range(CLIENTS)]
    poll = selectors.DefaultSelector()
    asked = {}
    errors = []
    for c, session in enumerate(sessions):
        for n in range(QUESTIONS):
            request = session.ask_for(*ask_request(
                "book", question(n), f"r{number}-c{c}-q{n}",
                content.sampling(n + 1, LENGTH)))
            asked[(c, request)] = [n, 0]
        poll.register(session, selectors.EVENT_READ, c)
    left = len(asked)
    end = time.monotonic() + 300
    while left > 0 and time.monotonic() < end:
        for key, _ in poll.select(1):
            while (got := key.fileobj.next(0)) is not None:
                entry = asked[(key.data, got[0])]
                if got[1] == "refused":
                    errors.append(f"refused: {got[2]['text']}")
                elif got[1] != "done":
                    continue
                elif got[2]["generated_ids"] != expected[entry[0]]:
                    errors.append(f"question {entry[0]}: another answer")
                entry[1] += 1
                left -= entry[1] == 1
    for (c, _), (n, times) in asked.items():
        if times != 1:
            errors.append(f"client {c}, question {n}: {times} answers")
    for session in sessions:
        session.close()
    return errors


def load(here):
    text = content.text_of(1)
    (here.dir / "book.txt").write_bytes(text)
    here.start("--workers", "1")
    here.wait_world()
    read_document(here, text)
    expected = [here.alone(here.dir / "book.txt", question(n).decode(), [
        "--generate", str(LENGTH), "--ignore-eos", "--temperature", "1",
        "--min-p", "0.01", "--seed", str(n + 1)]) for n in range(QUESTIONS)]
    over, out = multiprocessing.Event(), multiprocessing.Queue()
    prober = multiprocessing.Process(target=probe,
                                     args=(here, over, out))
    prober.start()
    rounds, errors = [], []
    for number in range(ROUNDS):
        sampler = Sampler(here.pids())
        sampler.start()
        start = time.monotonic()
        errors += one_round(here, number, expected)
        seconds = time.monotonic() - start
        most = list(sampler.end().values())
        rounds.append(most)
        print(json.dumps({
            "round": number + 1, "answers": CLIENTS * QUESTIONS,
            "seconds": round(seconds, 2),
            "rss_mib": [round(m, 1) for m in most]}), flush=True)
    over.set()
    times, processes, turn = out.get(timeout=60)
    prober.join()
    times.sort()
    processes.sort()
    slowest, _, waited = times[-1]
    print(json.dumps({
        "status_asked": len(times), "status_ms_median":
        round(times[len(times) // 2][0], 2), "status_ms_max":
        round(slowest, 2), "of_it_without_cpu_ms": round(waited, 2),
        "status_loop_cpu_ms_max": round(max(t[1] for t in times), 2),
        "process_ms_median": round(processes[len(processes) // 2], 2),
        "process_ms_max": round(processes[-1], 2),
        "longest_turn_ms": round(turn, 2)}))
    # The first round fills what is kept: jobs, pages, the allocator's pools.
    growth = max(b - a for a, b in zip(rounds[1], rounds[-1]))
    if growth > FLAT_MIB:
        errors.append(f"memory grew by {growth:.1f} MiB")
    if turn > STATUS_MS or slowest > STATUS_MS:
        errors.append(f"status took {slowest:.1f} ms, a turn {turn:.1f} ms")
    here.stop()
    return errors


def flood(here):
    """No world, a short queue, and input that never ends."""
    errors = []
    here.start("--max-queue", str(FLOOD_QUEUE), "--max-queued-bytes",
               str(64 << 20))
    session = Session(here.endpoint)
    daemon = here.pids()
    before = place.rss(daemon[0])
    sampler = Sampler(daemon)
    sampler.start()
    answers = {"accepted": 0, "refused": 0}
    for n in range(FLOOD):
        session.ask_for(*ask_request("book", b"x" * 200, f"flood-{n}",
                                     content.sampling(1, 8)))
        while n - sum(answers.values()) > 64:
            request, body, m = session.next(20)
            answers[body] = answers.get(body, 0) + 1
            if body == "refused" and (m["code"] != "limit" or
                                      m["retry_after_s"] == 0):
                errors.append(f"refused with {m['code']}: {m['text']}")
    request = session.ask_for("add", put("Add", name="huge", bytes=1 << 30))
    huge = session.wait_for(request, ("refused",), 20)
    if not huge or huge["code"] != "limit":
        errors.append("a document over the limit was not refused")
    growth = max(sampler.end().values()) - before
    print(json.dumps({"flood": FLOOD, **answers,
                      "rss_growth_mib": round(growth, 1)}))
    if answers["accepted"] > FLOOD_QUEUE or answers["refused"] == 0:
        errors.append(f"{answers['accepted']} were accepted")
    if growth > 64:
        errors.append(f"the flood cost {growth:.1f} MiB")
    return errors


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--bin", type=soak.programs,
                   default=str(soak.ROOT / "build/bin"))
    with place.Place(p.parse_args().bin) as here:
        errors = load(here) + flood(here)
    for error in errors[:20]:
        print(error)
    print(f"{len(errors)} errors")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
