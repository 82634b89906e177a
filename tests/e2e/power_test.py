# SPDX-License-Identifier: Apache-2.0
"""What a disk may do: lose what was not made durable, fail, be full.

tests/faults/shim.c stands between the daemon that ships and its disk.  A log
of all that it wrote and said is cut at many places; of what was not durable
by then a part is lost, as when the power goes.  Numbers in names are those of
the fault plan (tests/README.md)."""
import errno
import json
import os
import pathlib
import random
import shutil
import signal
import struct
import subprocess
import unittest

import wire
from harness import BIN, WAIT, FreshPlace, main, processes_of, text_of, \
    wait_for
from reading import Slowed

SHIM = BIN.parent / "tests/faults/libshim.so"
WRITE, SYNC, TRUNCATE, RENAME, UNLINK, SENT, FAILED = range(1, 8)
N_CUT = int(os.environ.get("LONGWAVE_CUTS", "50"))
QUESTION = "who saw land"
INLINE = 65536  # bytes that come with the request


def read_log(path):
    """[(kind, path, at, data or length)]"""
    data = path.read_bytes()
    out = []
    at = 0
    while at + 24 <= len(data):
        kind, path_len, offset, n = struct.unpack_from("<IIQQ", data, at)
        at += 24
        name = data[at:at + path_len].decode()
        at += path_len
        body = b""
        if kind in (WRITE, RENAME, SENT):
            body = data[at:at + n]
            at += n
        out.append((kind, name, offset, body))
    return out


def said(body):
    """(name of the client message, its fields) of a frame, or None."""
    try:
        found = dict(wire.fields(body))
        if found.get(1) != 1 or found.get(3, 0) >= 1 << 24:
            return None  # an incarnation: it is for a world
        number = next(n for n in found if n >= 40)
        name = next(k for k, (_, n) in wire.CLIENT.body.items()
                    if n == number)
        return name, dict(wire.fields(found[number]))
    except (IndexError, StopIteration, TypeError, struct.error):
        return None


class Inode:
    def __init__(self):
        self.durable = b""
        self.later = []  # writes and truncations since

    @staticmethod
    def apply(data, change):
        kind, at, body = change
        if kind == TRUNCATE:
            return data[:at] + bytes(max(0, at - len(data)))
        data = data + bytes(max(0, at - len(data)))
        return data[:at] + body + data[at + len(body):]

    def sync(self):
        for change in self.later:
            self.durable = self.apply(self.durable, change)
        self.later = []

    def after_cut(self, rng, keep):
        """Each of the late changes is there, or not, or in part."""
        data = self.durable
        for kind, at, body in self.later:
            if rng.random() >= keep:
                continue
            if kind == WRITE and rng.random() < 0.2:
                body = body[:len(body) // 1024 * 512]
            data = self.apply(data, (kind, at, body))
        return data


class Disk:
    """Files as they are, and as they will be after a power cut.  A directory's
    own changes come in order; how many of the late ones made it is chance."""

    def __init__(self):
        self.live = {}
        self.durable = {}
        self.late = {}  # directory: changes of names

    def inode(self, path):
        if path not in self.live:
            self.live[path] = Inode()
            self.change(path, ("add", path, self.live[path]))
        return self.live[path]

    def change(self, path, what):
        self.late.setdefault(os.path.dirname(path), []).append(what)

    @staticmethod
    def settle(names, changes):
        for what, path, more in changes:
            if what == "add":
                names[path] = more
                continue
            names.pop(path, None)
            if what == "move":
                names[more[0]] = more[1]

    def take(self, kind, path, at, body):
        if kind in (WRITE, TRUNCATE):
            self.inode(path).later.append((kind, at, body))
        elif kind == SYNC and path in self.live:
            self.live[path].sync()
        elif kind == SYNC:
            self.settle(self.durable, self.late.pop(path, []))
        elif kind == RENAME and path in self.live:
            to = body.decode()
            self.live[to] = self.live.pop(path)
            # One change: the old name goes and the new one comes.
            self.change(path, ("move", path, (to, self.live[to])))
        elif kind == UNLINK:
            self.live.pop(path, None)
            self.change(path, ("drop", path, None))

    def cut(self, rng, keep):
        names = dict(self.durable)
        for changes in self.late.values():
            n = rng.randint(0, len(changes))
            self.settle(names, changes[:n])
        return {p: i.after_cut(rng, keep) for p, i in names.items()}


@unittest.skipIf(os.environ.get("LONGWAVE_SANITIZED"),
                 "a sanitizer must be loaded first")
class Shimmed(FreshPlace):
    def setUp(self):
        super().setUp()
        self.log = self.dir / f"{self.data}.shim"

    def up(self, *flags, data=None, shim=True, fail=None, watched=None):
        more = {}
        if shim:
            self.log.unlink(missing_ok=True)
            more = {"LD_PRELOAD": str(SHIM), "SHIM_LOG": str(self.log),
                    "SHIM_DIR": str(watched or
                                    self.dir / (data or self.data))}
        if fail:
            more["SHIM_FAIL"] = fail
        return self.start("--checkpoint-segments", "64",
                          "--checkpoint-seconds", "0", *flags,
                          data=data or self.data, **more)

    def submit(self, n, prefix, acked, size=80):
        """Asks n times and never again; what it was promised."""
        if not (self.dir / "client.sock").exists():
            return
        try:
            with wire.Peer(self.endpoint) as peer:
                for i in range(n):
                    name = f"{prefix}-{i:03}"
                    text = (f"input of {name}. " + text_of(size)).encode()
                    add = wire.client_message(
                        "add", wire.text(1, name) +
                        wire.number(3, len(text)), i + 1)
                    if len(text) <= INLINE:
                        peer.send(add, text)
                    else:
                        peer.send(add)
                        kind = peer.reply(i + 1)[0]
                        if kind == "refused":
                            continue  # there is no room: nothing promised
                        self.assertEqual(kind, "more_input")
                        peer.send(wire.client_message("chunk", b"", i + 1),
                                  text)
                    kind, found = peer.reply(i + 1)
                    while kind == "more_input":
                        kind, found = peer.reply(i + 1)
                    if kind == "accepted":
                        acked[name] = found[1]
        except OSError:
            pass

    def ordered(self, log, ack, what, where):
        """What was written was made durable, before the acknowledgement."""
        wrote = next(i for i, (kind, path, _, body) in enumerate(log)
                     if kind == WRITE and where in path and what in body)
        synced = next(i for i, (kind, path, *_) in enumerate(log)
                      if i > wrote and kind == SYNC and path == log[wrote][1])
        self.assertLess(synced, ack, what)

    def big(self, name, kilobytes):
        path = self.dir / f"{name}.txt"
        path.write_text(f"input of {name}. " + text_of(kilobytes << 10))
        return self.start_client("add", path, "--name", name)


class Order(Shimmed):
    def test_t05_fsync_then_ack(self):
        daemon = self.up()
        acked = {}
        self.submit(20, "small", acked)
        client = self.big("large", 300)  # its input is a file of its own
        wait_for("the large one", lambda: len(self.call("jobs")["jobs"]) == 21)
        wait_for("its acknowledgement", lambda: any(
            j["document"] == "large" and j["state"] == "queued"
            for j in self.call("jobs")["jobs"]))
        daemon.kill()
        client.kill()
        self.assertEqual(len(acked), 20)
        log = read_log(self.log)
        n_ack = 0
        acks = {}
        for i, (kind, _, _, body) in enumerate(log):
            found = said(body) if kind == SENT else None
            if found and found[0] == "accepted":
                acks[found[1][1]] = i
                n_ack += 1
        self.assertEqual(n_ack, 21)
        for name, number in acked.items():
            self.ordered(log, acks[number], name.encode(), "longwave.db")
            self.ordered(log, acks[number], f"input of {name}".encode(),
                         "longwave.db")
        number = max(acks)
        self.ordered(log, acks[number], b"large", "longwave.db")
        self.ordered(log, acks[number], b"input of large", "inputs/")
        self.renamed(log, acks[number])

    def test_t05_directories(self):
        """That there is a data directory is durable, too."""
        daemon = self.up(data=f"{self.data}/below/data", watched=self.dir)
        acked = {}
        self.submit(1, "only", acked)
        daemon.kill()
        self.assertEqual(len(acked), 1)
        log = read_log(self.log)
        ack = next(i for i, (kind, _, _, body) in enumerate(log)
                   if kind == SENT and (said(body) or "?")[0] == "accepted")
        synced = {path for kind, path, *_ in log[:ack] if kind == SYNC}
        made = self.dir / self.data
        for where in (self.dir, made, made / "below", made / "below/data"):
            self.assertIn(str(where), synced)

    def renamed(self, log, ack):
        moved = next(i for i, (kind, path, *_) in enumerate(log)
                     if kind == RENAME and "inputs/" in path)
        synced = next(i for i, (kind, path, *_) in enumerate(log)
                      if i > moved and kind == SYNC and
                      path.endswith("/inputs"))
        self.assertLess(synced, ack)


class Power(Shimmed):
    def record(self):
        """A busy life: small jobs, a large one with checkpoints, answers."""
        daemon = self.up("--workers", "1")
        self.wait_worlds(1)
        acked = {}
        with Slowed(self.ranks()):
            client = self.big("book", 48)
            self.submit(12, "early", acked)
            wait_for("a checkpoint", lambda: any(
                j["checkpoint_segments"] > 128
                for j in self.call("jobs")["jobs"]))
            self.submit(12, "late", acked)
        self.ask("early-000", QUESTION)
        client.communicate(timeout=WAIT)
        self.assertEqual(client.returncode, 0)
        self.ask("book", QUESTION)
        daemon.kill()
        daemon.wait(WAIT)
        wait_for("the end of its world", lambda: not processes_of(self.dir))
        for path in self.dir.glob("*.sock"):
            path.unlink()
        self.assertEqual(len(acked), 24)
        log = read_log(self.log)
        # Its next start removes what its world left in shared memory.
        daemon = self.up("--workers", "1", shim=False)
        self.wait_worlds(1)
        daemon.send_signal(signal.SIGTERM)
        self.assertEqual(self.ended(daemon), 0)
        return log

    def restore(self, log, at, rng, name):
        """A data directory after a cut before log[at]; who was told what."""
        disk = Disk()
        acked, done = set(), set()
        for kind, path, offset, body in log[:at]:
            found = said(body) if kind == SENT else None
            if found and found[0] == "accepted":
                acked.add(found[1][1])
            elif found and found[0] == "done":
                done.add(found[1].get(1, 0))
            elif kind != SENT:
                disk.take(kind, path, offset, body)
        old = self.dir / self.data
        new = self.dir / name
        for folder in ("", "documents", "inputs", "checkpoints"):
            (new / folder).mkdir(mode=0o700)
        for path, data in disk.cut(rng, rng.choice((0, 0.5, 1))).items():
            to = new / pathlib.Path(path).relative_to(old)
            to.write_bytes(data)
            to.chmod(0o600)
        return acked, done - {0}

    def test_t06_power_cuts(self):
        log = self.record()
        text = (self.dir / "book.txt").read_text()
        expected = self.run_alone(text, QUESTION)
        first = next(i for i, r in enumerate(log) if r[0] == SENT and
                     (said(r[3]) or ("",))[0] == "accepted")
        n_resumed = 0
        for seed in range(N_CUT):
            rng = random.Random(seed)
            at = rng.randint(first // 2, len(log))
            acked, done = self.restore(log, at, rng, f"cut{seed}")
            with self.subTest(seed=seed, at=at):
                n_resumed += self.check(seed, acked, done, expected)
            shutil.rmtree(self.dir / f"cut{seed}")
        self.assertGreater(n_resumed, 0)

    def check(self, seed, acked, done, expected):
        whole = seed % 5 == 0  # with a world, to the end
        daemon = self.up(*(["--workers", "1"] if whole else []),
                         data=f"cut{seed}", shim=False)
        jobs = {j["job"]: j for j in self.call("jobs")["jobs"]}
        self.assertLessEqual(acked, set(jobs))
        for number in done & set(jobs):
            self.assertEqual(jobs[number]["state"], "done")
        n_resumed = sum(j["checkpoint_segments"] > 0 for j in jobs.values())
        if whole:
            wait_for("all ends", lambda: all(
                j["state"] == "done" for j in self.call("jobs")["jobs"]))
            if any(j["document"] == "book" and j["job"] in acked
                   for j in jobs.values()):
                self.assertEqual(self.ask("book", QUESTION)["generated_ids"],
                                 expected)
        daemon.send_signal(signal.SIGTERM)
        self.assertEqual(self.ended(daemon), 0)
        return n_resumed


class Failing(Shimmed):
    """T12: no acknowledgement rests on what the disk refused."""

    def life(self, fail):
        """Exit status of a daemon whose disk fails so, and what it promised."""
        shutil.rmtree(self.dir / self.data, ignore_errors=True)
        acked = {}
        try:
            daemon = self.up(fail=fail)
        except AssertionError:
            daemon = self.running.pop()
            daemon.stdout.close()
            return daemon.returncode, acked
        self.submit(3, "a", acked)
        self.submit(1, "large", acked, size=70_000)
        if daemon.poll() is None:
            daemon.send_signal(signal.SIGTERM)
        code = daemon.wait(WAIT)
        daemon.stdout.close()
        self.running.remove(daemon)
        return code, acked

    def reopened(self, acked):
        for path in self.dir.glob("*.sock"):
            path.unlink()
        daemon = self.up(shim=False)
        jobs = {j["document"]: j["job"] for j in self.call("jobs")["jobs"]}
        for name, number in acked.items():
            self.assertEqual(jobs.get(name), number)
        daemon.send_signal(signal.SIGTERM)
        self.assertEqual(self.ended(daemon), 0)
        self.running.remove(daemon)

    @staticmethod
    def acknowledgements(log, acked):
        """(place, name of the job) of each in the log."""
        names = {number: name for name, number in acked.items()}
        for i, (kind, _, _, body) in enumerate(log):
            found = said(body) if kind == SENT else None
            if found and found[0] == "accepted" and found[1][1] in names:
                yield i, names[found[1][1]].encode()

    def durable_before(self, log, at, numbers, acked):
        """An acknowledgement that left after the error rests on nothing that
        it touched: its row was durable by then."""
        names = {number: name for name, number in acked.items()}
        for number in numbers:
            row = names[number].encode()
            wrote = next(i for i, (kind, path, _, body) in enumerate(log)
                         if kind == WRITE and "longwave.db" in path
                         and row in body)
            self.assertTrue(any(kind == SYNC and path == log[wrote][1]
                                for kind, path, *_ in log[wrote:at]),
                            names[number])

    def sweep(self, kind):
        n = 1
        while n < 400:
            with self.subTest(kind=kind, n=n):
                code, acked = self.life(f"{kind}:{n}:{errno.EIO}")
                log = read_log(self.log)
                at = next((i for i, r in enumerate(log) if r[0] == FAILED),
                          None)
                if at is None:
                    self.assertEqual((code, len(acked)), (0, 4))
                    return n
                after = [said(r[3]) for r in log[at:] if r[0] == SENT]
                after = [a[1][1] for a in after if a and a[0] == "accepted"]
                # What SQLite does for a directory it does not look at.
                ignored = log[at][1] == str(self.dir / self.data)
                if kind == SYNC and not (ignored and code == 0):
                    self.assertEqual(code, 74, log[at])
                    self.durable_before(log, at, after, acked)
                for i, row in self.acknowledgements(log, acked):
                    self.ordered(log, i, row, "longwave.db")
                self.reopened(acked)
            n += 1
        raise AssertionError("it never came clean")

    def test_t12_every_fsync(self):
        self.assertGreater(self.sweep(SYNC), 5)

    def test_t12_every_write(self):
        self.assertGreater(self.sweep(WRITE), 10)


@unittest.skipIf(os.geteuid() != 0, "only root mounts")
class Full(Shimmed):
    def test_t12_no_space(self):
        at = self.dir / "small"
        at.mkdir(mode=0o700)
        mount = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", at]
        if subprocess.run(mount, stderr=subprocess.DEVNULL).returncode != 0:
            self.skipTest("nothing can be mounted here")
        try:
            self.fill(at)
        finally:
            subprocess.run(["umount", "-l", at], check=True)

    def fill(self, at):
        daemon = self.up(data="small", shim=False)
        acked = {}
        self.submit(60, "s", acked, size=50_000)
        self.submit(4, "t", acked, size=400_000)
        self.assertGreater(len(acked), 3)
        self.assertLess(len(acked), 64)
        self.assertIsNone(daemon.poll())
        self.status()
        daemon.kill()
        daemon.wait(WAIT)
        daemon.stdout.close()
        self.running.remove(daemon)
        subprocess.run(["mount", "-o", "remount,size=64m", at], check=True)
        for path in self.dir.glob("*.sock"):
            path.unlink()
        daemon = self.up(data="small", shim=False)
        jobs = {j["document"]: j["job"] for j in self.call("jobs")["jobs"]}
        for name, number in acked.items():
            self.assertEqual(jobs.get(name), number)
        self.submit(1, "after", acked)  # there is room again
        self.assertIn("after-000", acked)
        daemon.send_signal(signal.SIGTERM)
        self.assertEqual(self.ended(daemon), 0)
        self.running.remove(daemon)


if __name__ == "__main__":
    main()
