# SPDX-License-Identifier: Apache-2.0
"""A directory with a tiny model and a daemon, for what is measured here."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import chaos
import soak
from session import Session

TICK = os.sysconf("SC_CLK_TCK")


class Place:
    """with Place(bin) as place: ...; everything is gone afterwards."""

    def __init__(self, programs, model=soak.MODEL):
        self.bin = pathlib.Path(programs).resolve()
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="longwave-load-"))
        self.endpoint = f"ipc://{self.dir}/client.sock"
        self.daemon = None
        subprocess.run([sys.executable, soak.ROOT / "model/make_tiny.py",
                        "--out", self.dir / "model", *model], check=True,
                       timeout=120)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.dir)

    def start(self, *flags, data=None, program=None):
        """A daemon that serves; with a world only once wait_world() ends.
        Its worlds are of the directory of programs in any case."""
        data = data or self.dir / "data"
        with open(self.dir / "daemon.log", "ab") as err:
            self.daemon = subprocess.Popen(
                [program or self.bin / "longwaved", "--model", self.dir / "model",
                 "--listen", self.endpoint, "--listen-worlds",
                 f"ipc://{self.dir}/world.sock", "--data", data, "--threads",
                 "1", "--json", *flags], stdout=subprocess.PIPE, stderr=err,
                env={**os.environ, "PATH":
                     f"{self.bin}:{os.environ['PATH']}"})
        if not self.daemon.stdout.readline():
            raise RuntimeError((self.dir / "daemon.log").read_text())

    def stop(self):
        if not self.daemon:
            return
        self.daemon.terminate()
        try:
            self.daemon.wait(60)
        finally:
            self.daemon.kill()
            self.daemon.wait()
            self.daemon.stdout.close()
            self.daemon = None
            for pids in chaos.ours(str(self.dir)).values():
                for pid in pids:
                    chaos.send(pid, 9)

    def wait_world(self, seconds=60):
        session = Session(self.endpoint)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            status = session.wait_for(session.ask_for("get_status"),
                                      ("status",), 5)
            if status and any(w["state"] == "ready" for w in status["world"]):
                session.close()
                return
            time.sleep(0.01)
        raise RuntimeError("no world")

    def pids(self):
        return [pid for kind in ("daemon", "rank")
                for pid in chaos.ours(str(self.dir))[kind]]

    def alone(self, path, question, flags):
        """The token ids that longwave-run answers."""
        done = subprocess.run(
            [self.bin / "longwave-run", "--model", self.dir / "model",
             "--input", path, "--question", question, *flags, "--threads",
             "1", "--json"], capture_output=True, timeout=300, check=True)
        return json.loads(done.stdout.splitlines()[-1])["generated_ids"]


def rss(pid):
    """MiB, 0 when it is gone."""
    try:
        text = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


def scheduled(pid):
    """ms that the first thread of a process ran, and that it could have run
    but had no CPU."""
    text = pathlib.Path(f"/proc/{pid}/task/{pid}/schedstat").read_text()
    ran, waited = map(int, text.split()[:2])
    return ran / 1e6, waited / 1e6


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
        total += sum(map(int, text.rsplit(")", 1)[1].split()[11:13]))
    return total / TICK
