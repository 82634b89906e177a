# SPDX-License-Identifier: Apache-2.0
"""Programs with fault points (base/fault.h) that fail where it hurts most.

Numbers in the names of tests are those of the fault plan (tests/README.md)."""
import json
import os
import re
import shutil
import signal
import sqlite3
import time

import wire
from harness import ANSWER, BIN, WAIT, FreshPlace, main, processes_of, \
    text_of, wait_for

FAULTY = BIN.parent / "tests/faults"
SLOW = os.environ.get("LONGWAVE_SANITIZED")
SOON = ("--checkpoint-segments", "64", "--checkpoint-seconds", "0")


class Faulty(FreshPlace):
    def up(self, *flags, faults=None, once=True, **options):
        """A daemon; with `faults` one that has fault points."""
        more = {}
        if faults is not None:
            more["LONGWAVE_FAULTS"] = faults
            if once:
                at = self.dir / f"once-{self.data}"
                shutil.rmtree(at, ignore_errors=True)
                at.mkdir()
                more["LONGWAVE_FAULTS_ONCE"] = str(at)
        return self.start(*SOON, *flags, data=self.data,
                          program=FAULTY if faults is not None else BIN,
                          **options, **more)

    def down(self, daemon):
        daemon.send_signal(signal.SIGTERM)
        self.assertEqual(self.ended(daemon), 0)

    def jobs(self):
        return self.call("jobs")["jobs"]

    def job(self, name):
        return next((j for j in self.jobs() if j["document"] == name), None)

    def read(self, name, kilobytes):
        path = self.dir / f"{name}.txt"
        path.write_text(text_of(kilobytes << 10))
        return self.start_client("add", path, "--name", name)

    def good_end(self, client):
        out, err = client.communicate(timeout=WAIT)
        self.assertEqual(client.returncode, 0, err)
        return json.loads(out.splitlines()[-1])

    def incidents(self):
        db = sqlite3.connect(self.dir / self.data / "longwave.db")
        try:
            return [row[0] for row in db.execute("SELECT text FROM incident")]
        finally:
            db.close()


class Killed(Faulty):
    """T02: acknowledged is what comes to its end, wherever the daemon or the
    lead of its world is killed."""

    POINTS = ["submit.heard:3", "submit.row:3", "commit.begin:5",
              "commit.end:5", "ack.before:2", "ack.after:3",
              "dispatch.before:2", "dispatch.after:2", "checkpoint.file:1",
              "checkpoint.row:1", "result.heard:1", "result.row:1",
              "result.sent:1"]
    LEAD = ["world.start:1", "lead.begin:2", "lead.state:2", "lead.done:2",
            "world.group:90"]

    def submit(self, acked, n, prefix):
        """A client that asks once and never again; what it was promised."""
        try:
            with wire.Peer(self.endpoint) as peer:
                for i in range(n):
                    text = f"{prefix} {i} " + text_of(60)
                    peer.send(wire.client_message(
                        "add", wire.text(1, f"{prefix}-{i}") +
                        wire.number(3, len(text)), i + 1), text.encode())
                for i in range(n):
                    kind, found = peer.reply(i + 1)
                    if kind == "accepted":
                        acked[f"{prefix}-{i}"] = found[1]
        except (ConnectionError, OSError):
            pass

    def run_point(self, point, daemon_dies):
        self.data = "t02-" + point.replace(":", "-")
        acked = {}
        daemon = self.up("--workers", "1", faults=point + ":kill")
        clients = [self.read("book", 6), self.read("tale", 4)]
        self.submit(acked, 4, "once")
        if daemon_dies:
            daemon.wait(WAIT)
            self.assertEqual(daemon.returncode, -signal.SIGKILL)
            daemon.stdout.close()
            wait_for("the end of its world", lambda: not any(
                "longwave-worker" in line
                for line in processes_of(self.dir).values()))
            daemon = self.up("--workers", "1")
        for client in clients:
            self.good_end(client)
        fired = list((self.dir / f"once-{self.data}").iterdir())
        self.assertEqual(len(fired), 1, point)
        # Nothing that was acknowledged is missing, nothing is there twice.
        wait_for("all ends", lambda: all(
            j["state"] == "done" for j in self.jobs()))
        by_name = {}
        for job in self.jobs():
            self.assertNotIn(job["document"], by_name, point)
            by_name[job["document"]] = job["job"]
        for name, number in acked.items():
            self.assertEqual(by_name[name], number, point)
        self.assertLessEqual({"book", "tale"}, set(by_name))
        documents = {d["document"] for d in self.call("list")["documents"]}
        self.assertEqual(documents, set(by_name), point)
        self.down(daemon)

    def test_every_point_has_a_test(self):
        """Some test of the tree names it."""
        root = wire.ROOT
        points = re.findall(r'X\(\w+, "([a-z.]+)"\)',
                            (root / "base/fault.h").read_text())
        self.assertGreater(len(points), 25)
        texts = [p.read_text() for kind in ("py", "c")
                 for p in (root / "tests").rglob(f"*.{kind}")]
        self.assertEqual([p for p in points if not any(
            re.search(f'"{re.escape(p)}[":]', text) or
            re.search(f"[ ,]{re.escape(p)}:", text) for text in texts)], [])

    def test_t02_the_daemon(self):
        for point in self.POINTS:
            with self.subTest(point):
                self.run_point(point, True)

    def test_t02_the_lead(self):
        for point in self.LEAD:
            with self.subTest(point):
                self.run_point(point, False)


class Ends(Faulty):
    """T14: a rank that ends in some way of its own ends its world; the daemon
    knows how, and the job goes on."""

    # mpirun turns status 0 without MPI_Finalize into 1.  A sanitizer catches
    # the signal and exits with a status of its own.
    WAYS = {"exit=0": "ended with status 1", "exit=3": "ended with status 3",
            "abort=42": "ended with status 42",
            "segv": "ended" if SLOW else
            "ended with status 139: a rank was ended by signal 11",
            "kill": "ended with status 137: a rank was ended by signal 9",
            "eio": ""}

    def test_t14_ways_to_go(self):
        for how, says in self.WAYS.items():
            with self.subTest(how):
                self.data = "t14-" + how
                daemon = self.up("--workers", "2",
                                 faults="world.group:150:" + how)
                client = self.read("d", 60)
                self.assertEqual(self.good_end(client)["tokens"],
                                 (60 << 10) + 1)
                job = self.job("d")
                self.assertEqual((job["state"], job["attempts"]), ("done", 2))
                last = self.status()["last_error"]
                self.assertRegex(last, says + r"\b")
                self.assertNotIn("status 0", last)
                self.assertIsNone(daemon.poll())
                self.down(daemon)
                self.assertTrue(any(re.search(says + r"\b", text)
                                    for text in self.incidents()),
                                self.incidents())


class Numbers(Faulty):
    """T33: a state that is no number any more is caught by the next rank."""

    def test_t33_once(self):
        daemon = self.up("--workers", "2", "--placement", "segments",
                         faults="hop.data:600:nan")
        self.add("small", text_of(300))
        self.assertEqual(self.good_end(self.read("d", 60))["tokens"],
                         (60 << 10) + 1)
        job = self.job("d")
        self.assertEqual((job["state"], job["attempts"]), ("done", 2))
        self.assertEqual(self.ask("d", "who saw land")["generated_ids"],
                         self.run_alone(text_of(60 << 10), "who saw land"))
        self.assertTrue(any("numbers" in t for t in self.incidents()))
        self.down(daemon)

    def test_t33_again_and_again(self):
        daemon = self.up("--workers", "2", "--placement", "segments",
                         faults="hop.data:600+:nan", once=False)
        client = self.read("d", 60)
        _, err = client.communicate(timeout=WAIT)
        self.assertEqual(client.returncode, 1)
        self.assertIn(b"numbers", err)
        job = self.job("d")
        self.assertEqual((job["code"], job["attempts"]), ("numeric", 2))
        self.down(daemon)


if __name__ == "__main__":
    main()
