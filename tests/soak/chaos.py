# SPDX-License-Identifier: Apache-2.0
"""Kills every process of a daemon and its worlds at random, from a seed, and
starts the daemon again as a service manager would.

usage: chaos.py HISTORY SEED SECONDS DIRECTORY COMMAND...

COMMAND is a longwaved whose command line, and so that of all its processes,
has the name of DIRECTORY.  After SECONDS nobody is killed any more and `calm`
is printed; at the end of stdin the daemon is ended in order, and what is left
behind is written down."""
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time

import history

MEAN_PAUSE = 2.5  # seconds between two kills
RESTART = 0.1  # seconds until the service manager starts it again
END = 60  # seconds for the daemon to put everything away
VICTIMS = {"daemon": 3, "keeper": 1, "mpirun": 2, "rank": 4, "world": 1,
           "all": 1, "terminate": 1, "freeze": 1}


def processes(directory):
    """{pid: name of what runs} of the directory's processes."""
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            line = (entry / "cmdline").read_bytes().split(b"\0")
            name = (entry / "comm").read_text().strip()
            state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            continue
        if state != "Z" and any(directory.encode() in word for word in line):
            found[int(entry.name)] = name
    return found


def ours(directory):
    """{"daemon": [pids], "keeper": ..., "mpirun": ..., "rank": ...}"""
    kinds = {"longwaved": "daemon", "longwave-launch": "keeper",
             "mpirun": "mpirun", "longwave-worker": "rank"}
    out = {kind: [] for kind in kinds.values()}
    for pid, name in sorted(processes(directory).items()):
        for head, kind in kinds.items():
            if name == head[:15]:
                out[kind].append(pid)
    return out


def send(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass  # it went by itself meanwhile


class Service:
    """The daemon, started whenever it has gone."""

    def __init__(self, command, log, directory):
        self.command, self.log = command, log
        self.err = open(os.path.join(directory, "daemon.log"), "ab")
        self.wanted = True
        self.code = None
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self):
        while self.wanted:
            self.log.write("start")
            process = subprocess.Popen(self.command, stderr=self.err,
                                       stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL)
            self.process = process
            self.code = process.wait()
            self.log.write("exit", code=self.code)
            if self.wanted:
                time.sleep(RESTART)

    def end(self):
        self.wanted = False
        self.process.terminate()
        self.thread.join(END)
        return not self.thread.is_alive()


def strike(log, chance, directory):
    """One blow; the pids it hit."""
    what = chance.choices(list(VICTIMS), VICTIMS.values())[0]
    alive = ours(directory)
    if what == "all":
        pids = [pid for kind in alive.values() for pid in kind]
        chance.shuffle(pids)
    elif what == "world":
        pids = alive["mpirun"] + alive["rank"]
    elif what == "freeze":
        pids = alive["rank"] and [chance.choice(alive["rank"])]
    else:
        kind = "daemon" if what == "terminate" else what
        pids = alive[kind] and [chance.choice(alive[kind])]
    number = {"terminate": signal.SIGTERM,
              "freeze": signal.SIGSTOP}.get(what, signal.SIGKILL)
    if pids:
        log.write("kill", what=what, pids=pids)
    for pid in pids:
        send(pid, number)
    if what == "freeze" and pids:
        time.sleep(chance.uniform(0.5, 5))
        send(pids[0], signal.SIGCONT)


def left_behind(directory):
    """What should not be there once the daemon has ended."""
    end = time.monotonic() + 10
    while any(ours(directory).values()) and time.monotonic() < end:
        time.sleep(0.1)
    place = pathlib.Path(directory)
    left = [f"{kind} {pid}" for kind, pids in ours(directory).items()
            for pid in pids]
    left += [str(p.name) for p in place.glob("*.sock")]
    data = os.stat(place / "data")
    left += [str(p) for p in pathlib.Path("/dev/shm").glob(
        f"longwave-{data.st_dev:x}-{data.st_ino:x}-*")]
    for folder in ("checkpoints", "inputs"):
        left += [f"{folder}/{p.name}"
                 for p in (place / "data" / folder).glob("*")]
    return left


def main():
    path, seed, seconds, directory, *command = sys.argv[1:]
    log = history.Writer(path)
    chance = random.Random(f"chaos:{seed}")
    service = Service(command, log, directory)
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        time.sleep(min(chance.expovariate(1 / MEAN_PAUSE),
                       max(0, end - time.monotonic())))
        strike(log, chance, directory)
    print("calm", flush=True)
    log.write("calm")
    sys.stdin.read()
    log.write("left", ended=service.end(), code=service.code,
              left=left_behind(directory))
    log.close()


if __name__ == "__main__":
    main()
