# SPDX-License-Identifier: Apache-2.0
"""Documents that are being read while something happens to those who read."""
import contextlib
import json
import os
import signal
import sqlite3
import threading
import time

import wire
from harness import BIN, WAIT, FreshPlace, text_of, wait_for

FAULTY = BIN.parent / "tests/faults"  # programs with fault points
EVERY = 64  # segments between two checkpoints
SOON = ("--checkpoint-segments", str(EVERY), "--checkpoint-seconds", "0")
LAYERS = 3
QUESTION = "who saw land"
RUNNING, DONE = 2, 3  # JobState of client.proto
SETTLE = 1.5  # seconds: less than a world may be silent
SLOW = os.environ.get("LONGWAVE_SANITIZED")


def crowd():
    """How many processes want to run on each core that is ours, for a minute
    or right now: what should take a second may take so many."""
    cpu, start = time.thread_time(), time.monotonic()
    while time.thread_time() - cpu < 0.05:
        pass
    now = (time.monotonic() - start) / 0.05
    return max(1, os.getloadavg()[0] / len(os.sched_getaffinity(0)), now)


class Slowed:
    """with Slowed(pids) as slowed: ...; processes that run 2 ms at a time and
    rest for longer, but not as long as one that hangs.  What they do takes
    long on the fastest machine, and there is time to look at it."""

    RUN = 0.002

    def __init__(self, pids, rest=0.04):
        self.rest = rest
        self.pids = set(pids)
        self.still = set()
        self.guard = threading.Lock()
        self.enough = threading.Event()
        self.thread = threading.Thread(target=self.pulse)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.enough.set()
        self.thread.join()

    @staticmethod
    def send(pids, number):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def beat(self, number, seconds):
        with self.guard:
            self.send(self.pids - self.still, number)
        self.enough.wait(seconds)

    def pulse(self):
        while not self.enough.is_set():
            self.beat(signal.SIGSTOP, self.rest)
            self.beat(signal.SIGCONT, self.RUN)

    def halt(self, *pids):
        """These stand still from now on, also when all is over."""
        with self.guard:
            self.still.update(pids)
            self.send(pids, signal.SIGSTOP)

    def go_on(self):
        """Those that stood still are as before."""
        with self.guard:
            self.send(self.still, signal.SIGCONT)
            self.still.clear()


class Reading(FreshPlace):
    def up(self, ranks=2, *flags, **options):
        """A daemon with a world of its own, all of whose ranks work: auto may
        leave a reading as small as these to the lead."""
        return self.start("--workers", str(ranks), "--placement", "segments",
                          *SOON, *flags, data=self.data, **options)

    @staticmethod
    def term(daemon):
        """It is told to end, and has heard of it."""
        said = b"shutting down"
        before = daemon.log.read_bytes().count(said)
        daemon.send_signal(signal.SIGTERM)
        wait_for("its beginning to end",
                 lambda: daemon.log.read_bytes().count(said) > before)

    def down(self, daemon):
        daemon.send_signal(signal.SIGTERM)
        return self.ended(daemon)

    def slowed(self):
        """All that is read or answered from here on takes a while: one rank of
        a world keeps the others waiting."""
        return Slowed(self.ranks()[:1])

    def job(self, name):
        return next((j for j in self.call("jobs")["jobs"]
                     if j["document"] == name), None)

    def read(self, name, kilobytes=100):
        """Its text, and the client."""
        text = text_of(kilobytes << 10)
        path = self.dir / f"{name}.txt"
        path.write_text(text)
        return text, self.start_client("add", path, "--name", name)

    def wait_read(self, name, segments):
        def far_enough():
            job = self.job(name)
            return job if job and job["segments_done"] >= segments else None
        return wait_for(f"{segments} segments", far_enough)

    def wait_checkpoint(self, name, segments=1):
        with wire.Peer(self.endpoint) as peer:
            self.wait_reading(
                peer, name, lambda j: j["checkpoint_segments"] >= segments)
        return self.job(name)

    def wait_reading(self, peer, name, check):
        """The reading, as on the wire, once check() likes it; asks a thousand
        times a second.  One that ends before that was too short."""
        end = time.monotonic() + WAIT
        while time.monotonic() < end:
            job = next((j for j in peer.jobs()
                        if j["document"] == name.encode()), None)
            if job:
                self.assertNotEqual(job["state"], DONE,
                                    "it ended before it was looked at")
                if check(job):
                    return job
            time.sleep(0.001)
        raise AssertionError("the reading did not get there")

    def halt(self, slowed, peer, name, check):
        """Stops all ranks at a moment that check() likes at which no checkpoint
        is under way any more; the reading as it is then, once nothing comes
        any more that they had said before."""
        before = self.wait_reading(peer, name, check)
        for _ in range(3):
            slowed.halt(*self.ranks())
            end = time.monotonic() + SETTLE
            still = 0
            while time.monotonic() < end:
                job = self.wait_reading(peer, name, lambda j: True)
                same = all(job[what] == before[what] for what in (
                    "segments_done", "checkpoint_segments", "attempts"))
                still = still + 1 if same else 0
                if still > 5 and job["segments_done"] - \
                        job["checkpoint_segments"] <= EVERY + LAYERS:
                    return job
                before = job
                time.sleep(0.05)
            # A part of it is in a rank that stands still: another moment.
            slowed.go_on()
            before = self.wait_reading(
                peer, name, lambda j: j["checkpoint_segments"] >
                before["checkpoint_segments"])
        raise AssertionError(f"{before}: an interval has {EVERY} segments")

    def files(self, name):
        """Snapshot and last ids of a document."""
        number = next(j["job"] for j in self.call("jobs")["jobs"]
                      if j["document"] == name)
        return [(self.dir / self.data / f"documents/{number}.{what}")
                .read_bytes() for what in ("snap", "ids")]

    def incidents(self):
        """What the journal says went wrong."""
        db = sqlite3.connect(self.dir / self.data / "longwave.db")
        try:
            return [row[0] for row in db.execute("SELECT text FROM incident")]
        finally:
            db.close()

    def finish(self, name, text, client=None):
        """The client, which saw nothing of it all, hears of the end; the
        answer is that of one undisturbed run."""
        if client:
            out, err = client.communicate(timeout=WAIT)
            self.assertEqual(client.returncode, 0, err)
            done = json.loads(out.splitlines()[-1])
            self.assertEqual(done["tokens"], len(text) + 1)
        wait_for("the end", lambda: self.job(name)["state"] == "done")
        self.assertEqual(self.ask(name, QUESTION)["generated_ids"],
                         self.run_alone(text, QUESTION))
        job = self.job(name)
        self.assertEqual(job["state"], "done")
        return job
