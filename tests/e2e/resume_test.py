# SPDX-License-Identifier: Apache-2.0
"""What is resumed goes on with the very model that began it, or not at all,
and equals what nothing ever happened to, wherever it was cut.

Numbers in the names of tests are those of the fault plan."""
import hashlib
import shutil
import signal
import sqlite3

import models
import wire
from harness import ANSWER, BIN, SEGMENT, WAIT, main, text_of, wait_for
from reading import FAULTY, QUESTION, SOON, Reading


def other_weights(directory, to):
    """The same model with one number changed."""
    shutil.copytree(directory, to)
    tensors, config = models.read(to)
    name = next(n for n in tensors if "norm" not in n)
    shape, data = tensors[name]
    tensors[name] = shape, data[:4] + data[:4] + data[8:]
    models.write(to, tensors, config)


class OtherModel(Reading):
    KEY = "the-same-key"

    def submit(self, peer, text):
        """Asks for the document under the key; the last reply."""
        data = text.encode()
        hashed = hashlib.blake2b(data, digest_size=32).digest()
        peer.send(wire.client_message(
            "add", wire.text(1, "d") + wire.number(3, len(data)) +
            wire.text(5, self.KEY) + wire.text(6, hashed), 1))
        kind, found = peer.reply(1)
        if kind == "more_input":
            peer.send(wire.client_message("chunk", b"", 1), data)
        while kind == "more_input":
            kind, found = peer.reply(1)
        return kind, found

    def begun(self):
        """A document half read and a question half answered are put away; the
        text, and the client who waits for the answer."""
        daemon = self.up(2)
        self.add("s", text_of(300))
        text = text_of(24 << 10)
        flags = (*ANSWER, "--generate", "900")
        self.expected = self.call("ask", "s", QUESTION, *flags)
        with self.slowed():
            with wire.Peer(self.endpoint) as peer:
                kind, found = self.submit(peer, text)
                self.assertEqual(kind, "accepted")
                self.number = found[1]
            self.wait_checkpoint("d")
            client = self.start_client("ask", "s", QUESTION, *flags)
            self.asked = wait_for("the question", lambda: next(
                (j["job"] for j in self.call("jobs")["jobs"]
                 if j["kind"] == "ask" and j["state"] == "running"), None))
            self.term(daemon)
        self.assertEqual(daemon.wait(WAIT), 0)
        return text, client

    def kept(self):
        """All that is durable of the two jobs."""
        db = sqlite3.connect(self.dir / self.data / "longwave.db")
        try:
            rows = [db.execute(f"SELECT * FROM {table} WHERE {column} IN "
                               f"({self.number}, {self.asked})").fetchall()
                    for table, column in (("job", "id"), ("token", "job"),
                                          ("checkpoint", "job"))]
        finally:
            db.close()
        files = {p: p.read_bytes() for folder in ("checkpoints", "inputs")
                 for p in (self.dir / self.data / folder).iterdir()}
        return rows, files

    def refused_and_untouched(self, text, client, *flags):
        """A daemon of another model."""
        daemon = self.start("--workers", "1", *SOON, *flags, data=self.data)
        self.wait_worlds(1)
        with wire.Peer(self.endpoint) as peer:
            for reply in (self.submit(peer, text), self.watched(peer)):
                self.assertEqual(reply[0], "refused")
                self.assertEqual(reply[1][1], b"state")
                self.assertIn(b"another model", reply[1][2])
                self.assertNotIn(4, reply[1])  # nothing has failed
        if client:
            _, err = client.communicate(timeout=WAIT)
            self.assertEqual(client.returncode, 1)
            self.assertIn(b"another model", err)
        jobs = {j["job"]: j for j in self.call("jobs")["jobs"]}
        for number in (self.number, self.asked):
            self.assertEqual(jobs[number]["state"], "queued")
            self.assertEqual(jobs[number]["code"], "state")
        name = "of " + " ".join(map(str, flags or ["weights"]))
        self.add(name, text_of(500))  # others are served
        self.refused("ask", "s", "a new question", code=1,
                     says="another model")
        self.assertEqual(self.down(daemon), 0)

    def watched(self, peer):
        peer.send(wire.client_message("watch", wire.number(1, self.asked), 9))
        return peer.reply(9)

    def test_t11_another_model(self):
        text, client = self.begun()
        before = self.kept()
        self.assertEqual(len(before[0][0]), 2)
        self.assertEqual(len(before[0][2]), 2)
        tiny = type(self).model
        type(self).model = self.dir / "others/model"
        (self.dir / "others").mkdir()
        other_weights(tiny, self.model)
        self.refused_and_untouched(text, client)
        self.assertEqual(self.kept(), before)
        type(self).model = tiny
        self.refused_and_untouched(text, None, "--segment", "8")
        self.assertEqual(self.kept(), before)
        daemon = self.up(2)
        with wire.Peer(self.endpoint) as peer:
            self.assertIn(self.watched(peer)[0], ("progress", "done"))
        job = self.job("d")
        self.assertEqual(job["job"], self.number)
        self.assertGreater(job["checkpoint_segments"] or
                           job["segments_done"], 0)
        self.finish("d", text)
        answer = wait_for("the answer", lambda: next(
            (j for j in self.call("jobs")["jobs"]
             if j["job"] == self.asked and j["state"] == "done"), None))
        self.assertEqual(answer["attempts"], 2)
        with wire.Peer(self.endpoint) as peer:
            kind, done = self.watched(peer)
        self.assertEqual(kind, "done")
        self.assertEqual(wire.varints(done[7]),
                         self.expected["generated_ids"])
        self.assertEqual(self.down(daemon), 0)


class Cuts(Reading):
    """T09: the daemon is killed when the state after segment n has just become
    durable, for every n; its world goes with it."""

    SEGMENTS = 10

    def result(self):
        """All that anybody can have of the document."""
        number = self.job("d")["job"]
        answer = self.ask("d", QUESTION, "--logprobs")
        return ([(self.dir / self.data / f"documents/{number}.{what}")
                 .read_bytes() for what in ("snap", "ids")],
                [answer[key] for key in ("generated_ids", "logprobs", "text")])

    def begin(self, program=BIN, **environment):
        return self.start("--workers", "2", "--checkpoint-segments", "1",
                          "--checkpoint-seconds", "0", data=self.data,
                          program=program, **environment)

    def cut(self, text, n):
        daemon = self.begin(FAULTY, LONGWAVE_FAULTS=f"checkpoint.row:{n}:kill")
        self.wait_worlds(1)
        (self.dir / "d.txt").write_text(text)
        client = self.start_client("add", self.dir / "d.txt", "--name", "d")
        daemon.wait(WAIT)
        self.assertEqual(daemon.returncode, -signal.SIGKILL)
        wait_for("the end of its world", lambda: not self.ranks())
        db = sqlite3.connect(self.dir / self.data / "longwave.db")
        segment, = db.execute("SELECT max(segment) FROM checkpoint").fetchone()
        db.close()
        daemon = self.begin()
        self.assertEqual(client.wait(WAIT), 0)
        result = self.result()
        self.assertGreater(self.job("d")["attempts"], 1)
        self.assertEqual(self.down(daemon), 0)
        return segment, result

    def test_t09_every_cut(self):
        text = text_of((self.SEGMENTS + 1) * SEGMENT)  # begins with BOS
        self.data = "whole"
        daemon = self.begin()
        self.add("d", text)
        expected = self.result()
        self.assertEqual(self.down(daemon), 0)
        cuts = []
        for n in range(1, self.SEGMENTS + 1):
            with self.subTest(n=n):
                self.data = f"cut-{n}"
                segment, result = self.cut(text, n)
                self.assertEqual(result, expected)
                cuts.append(segment)
        self.assertEqual(cuts, list(range(1, self.SEGMENTS + 1)))


if __name__ == "__main__":
    main()
