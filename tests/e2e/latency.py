#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures how fast `status` answers while a million tokens are sent,
tokenized, read and stored, and that a question costs the same after ten
thousand tokens as after a million.

usage: latency.py [BIN_DIR]      (default build/bin); not run by ctest

A status is timed from outside, as a whole client process; what starting one
costs is measured apart and taken off.
"""
import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
os.environ["LONGWAVE_BIN"] = str(pathlib.Path(
    sys.argv[1] if len(sys.argv) > 1 else ROOT / "build/bin").resolve())

import harness  # noqa: E402  (needs LONGWAVE_BIN)
from harness import BIN, Place, text_of  # noqa: E402

STATUS_MS = 50
TOKENS = 1_000_000
SMALL = 10_048  # its last segment is as long as that of TOKENS


class Bench(Place):
    """A daemon with a local world of one rank and all cores."""

    @classmethod
    def begin(cls):
        harness.MODEL_FLAGS[:] = [
            "--layers", "4", "--d-model", "64", "--ffn", "176", "--segment",
            "128", "--mem", "8", "--d-mem", "8"]
        cls.setUpClass()
        cls.daemon = cls.start("--workers", "1", "--threads",
                               str(os.cpu_count()))
        cls.wait_worlds(1)

    @classmethod
    def timed_status(cls):
        """Milliseconds of a whole client process that asks for the status."""
        start = time.perf_counter()
        cls.status()
        return (time.perf_counter() - start) * 1e3

    @classmethod
    def first_token(cls, name):
        times = [cls.ask(name, "who saw land")["seconds_to_first_token"]
                 for _ in range(9)]
        return statistics.median(times) * 1e3


def start_up_ms():
    """What a client process costs that asks nobody anything."""
    times = []
    for _ in range(20):
        start = time.perf_counter()
        subprocess.run([BIN / "longwave", "--version"], check=True,
                       capture_output=True)
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def measure():
    Bench.add("small", text_of(SMALL))
    path = Bench.dir / "book.txt"
    path.write_text(text_of(TOKENS))
    reader = Bench.start_client("add", path, "--name", "book")
    times = []
    while reader.poll() is None:
        times.append(Bench.timed_status())
        time.sleep(0.02)
    out, err = reader.communicate()
    assert reader.returncode == 0, err.decode()
    turn = Bench.status()["longest_turn_ms"]
    base = start_up_ms()
    print(out.decode().strip())
    print(f"{len(times)} times status: median "
          f"{statistics.median(times):.1f} ms, longest {max(times):.1f} ms, "
          f"of which starting the client {base:.1f} ms")
    print(f"longest turn of the daemon's loop: {turn:.1f} ms")
    small, book = Bench.first_token("small"), Bench.first_token("book")
    print(f"first token after {SMALL:,} tokens {small:.2f} ms, "
          f"after {TOKENS:,} tokens {book:.2f} ms")
    return max(times) - base < STATUS_MS and turn < STATUS_MS


def main():
    Bench.begin()
    try:
        good = measure()
        Bench.stop(Bench.daemon)
    finally:
        Bench.tearDownClass()
    print("status within 50 ms:", "yes" if good else "NO")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
