# SPDX-License-Identifier: Apache-2.0
"""Whether the cores of a machine are as fast as they were: a core that is a
part of a larger machine is slower by a third or more while its neighbour
works, which nothing here tells but the time that work takes.

A short fixed piece of work, one engine on each of two cores at once.
"""
import json
import os
import subprocess


class Steady:
    """`bench`: longwave-bench; `part`: what a look may be longer than the
    quickest one."""

    def __init__(self, bench, part):
        self.bench, self.part = bench, part
        self.cores = sorted(os.sched_getaffinity(0))[:2]
        self.best = None
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
