# SPDX-License-Identifier: Apache-2.0
"""Whether the cores of a machine are as fast as they were: a core that is a
part of a larger machine is slower by a third or more while its neighbour
works, which nothing here tells but the time that work takes.

A short fixed piece of work, one engine on each of two cores at once, is timed
before and behind what is measured.  What ran while either was slow is run
again.
"""
import json
import os
import subprocess
import time

TRIES = 4   # of one run
REST = 0.5  # seconds between looks


class Steady:
    """`bench`: longwave-bench; `part`: what a look may be longer than the
    quickest one; `patience`: seconds in all for waiting and running again."""

    def __init__(self, bench, part=0.1, patience=180):
        self.bench, self.part, self.patience = bench, part, patience
        self.cores = sorted(os.sched_getaffinity(0))[:2]
        self.best = None
        self.n_run = self.n_again = self.n_doubtful = 0
        for _ in range(3):
            self.look()

    def look(self):
        """Seconds of the slower of both engines, and whether that is fast."""
        both = [subprocess.Popen(
            ["taskset", "-c", str(core), self.bench, "--device", "cpu",
             "--preset", "s256", "--segment", "256", "--mem", "16", "--tokens",
             "4096", "--threads", "1", "--schedule", "diagonal", "--repeat",
             "1", "--json"], stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL) for core in self.cores]
        done = [json.loads(p.communicate(timeout=60)[0].splitlines()[-1])
                for p in both]
        seconds = max(d["runs"][0]["seconds"] for d in done)
        self.best = min(seconds, self.best or seconds)
        return seconds, seconds <= (1 + self.part) * self.best

    def wait(self):
        """Until the cores are fast, while there is patience."""
        start = time.monotonic()
        while (not self.look()[1] and
               time.monotonic() - start < self.patience):
            time.sleep(REST)
        self.patience -= time.monotonic() - start

    def run(self, work):
        """What work() returns, when the cores were fast before and behind it
        or there is no patience left."""
        self.n_run += 1
        for _ in range(TRIES):
            self.wait()
            start = time.monotonic()
            result = work()
            if self.look()[1]:
                return result
            if self.patience <= 0:
                break
            self.patience -= time.monotonic() - start
            self.n_again += 1
        self.n_doubtful += 1
        return result

    def say(self):
        return (f"{self.n_run} runs, {self.n_again} of them again because the "
                f"cores were slow, {self.n_doubtful} kept nevertheless")
