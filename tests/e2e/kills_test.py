# SPDX-License-Identifier: Apache-2.0
"""Ranks and daemons that are killed again and again while there is work.

Numbers in the names of tests are those of the fault plan."""
import json
import os
import signal
import sqlite3
import threading
import time

import wire
from harness import ANSWER, WAIT, main, text_of, wait_for
from reading import EVERY, SLOW, Reading

RUNNING, DONE = 2, 3  # JobState of client.proto


class Sweep(Reading):
    """T01: rank r is killed at segment n."""

    RANKS = 2
    KILLS = 12
    KILOBYTES = 48

    def wait_reading(self, peer, check):
        """The reading, once check() likes it; asks a thousand times a
        second."""
        end = time.monotonic() + WAIT
        while time.monotonic() < end:
            job = next((j for j in peer.jobs() if j["document"] == b"killed"),
                       None)
            if job and check(job):
                return job
            time.sleep(0.001)
        raise AssertionError("the reading did not get there")

    def kill(self, peer, rank, segment):
        """What one kill cost: segments that are read again, and seconds until
        a world goes on."""
        pid = self.ranks()[rank]
        before = self.wait_reading(
            peer, lambda j: j["segments_done"] >= segment)
        start = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        after = self.wait_reading(
            peer, lambda j: j["attempts"] > before["attempts"]
            and j["state"] == RUNNING)
        return (after["redone_segments"] - before["redone_segments"],
                time.monotonic() - start)

    def files(self, name):
        """Snapshot and last ids of a document."""
        number = next(j["job"] for j in self.call("jobs")["jobs"]
                      if j["document"] == name)
        return [(self.dir / self.data / f"documents/{number}.{what}")
                .read_bytes() for what in ("snap", "ids")]

    def test_t01_twelve_kills(self):
        daemon = self.up(self.RANKS)
        text = text_of(self.KILOBYTES << 10)
        self.add("golden", text)
        (self.dir / "killed.txt").write_text(text)
        client = self.start_client("add", self.dir / "killed.txt", "--name",
                                   "killed")
        last = len(text) // 16 - 2 * EVERY
        costs = []
        with wire.Peer(self.endpoint) as peer:
            for i in range(self.KILLS):
                costs.append(self.kill(peer, i % self.RANKS,
                                       20 + i * last // self.KILLS))
        self.assertEqual(client.wait(WAIT), 0)
        self.assertEqual(self.files("killed"), self.files("golden"))
        self.assertEqual(self.job("killed")["attempts"], self.KILLS + 1)
        # As many processes as want to run share each core.
        crowd = max(1, os.getloadavg()[0] / os.cpu_count())
        for redone, seconds in costs:
            # An interval, and what runs (the layers' cells, too) while one
            # checkpoint is written: less than another one, for then the lead
            # waits.
            self.assertLess(redone, 2 * EVERY, costs)
            if not SLOW:
                self.assertLess(seconds, 2 * crowd, costs)
        self.assertGreater(max(redone for redone, _ in costs), 0)
        self.assertIn("signal 9", self.status()["last_error"])
        self.assertEqual(self.down(daemon), 0)


class Retries(Reading):
    """T08: clients that only know how to ask again."""

    CLIENTS = 4
    EACH = 50
    QUESTIONS = ("who saw land", "what ships", "which sea", "no men", "grey")
    FLAGS = (*ANSWER[2:], "--generate", "4")

    def ask_many(self, answers, failures):
        for i in range(self.EACH):
            question = self.QUESTIONS[i % len(self.QUESTIONS)]
            done = self.client("ask", "d", question, *self.FLAGS)
            if done.returncode == 0:
                answers.append((question, json.loads(done.stdout)))
            else:
                failures.append((i, done.stderr))

    def kill_daemon(self):
        daemon = next(p for p in self.running if p.poll() is None)
        daemon.kill()
        daemon.wait(WAIT)
        wait_for("the end of its world", lambda: not self.ranks())
        self.up(2)

    def kill_rank(self):
        wait_for("a world", self.ranks)
        os.kill(self.ranks()[-1], signal.SIGKILL)

    def rows(self):
        """(key, state) of every question that is in the journal."""
        db = sqlite3.connect(self.dir / self.data / "longwave.db")
        try:
            return db.execute(
                "SELECT key, state FROM job WHERE kind = 1").fetchall()
        finally:
            db.close()

    def test_t08_two_hundred_submissions(self):
        self.up(2)
        self.add("d", text_of(300))
        expected = {q: self.call("ask", "d", q, *self.FLAGS)["generated_ids"]
                    for q in self.QUESTIONS}
        answers, failures = [], []
        threads = [threading.Thread(target=self.ask_many,
                                    args=(answers, failures))
                   for _ in range(self.CLIENTS)]
        for thread in threads:
            thread.start()
        n = self.CLIENTS * self.EACH
        for i, kill in enumerate((self.kill_daemon, self.kill_rank,
                                  self.kill_daemon, self.kill_rank)):
            wait_for("some answers",
                     lambda: len(answers) + len(failures) >= (i + 1) * n // 6)
            kill()
        for thread in threads:
            thread.join(WAIT)
        self.assertEqual(failures, [])
        self.assertEqual(len(answers), n)
        for question, answer in answers:
            self.assertEqual(answer["generated_ids"], expected[question])
        jobs = {answer["job"] for _, answer in answers}
        self.assertEqual(len(jobs), n)
        daemon = next(p for p in self.running if p.poll() is None)
        self.assertEqual(self.down(daemon), 0)
        rows = self.rows()
        self.assertEqual(len(rows), n + len(self.QUESTIONS))
        self.assertEqual(len({key for key, _ in rows}), len(rows))
        self.assertEqual({state for _, state in rows}, {DONE})


if __name__ == "__main__":
    main()
