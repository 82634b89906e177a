# SPDX-License-Identifier: Apache-2.0
"""What a daemon hears that no honest peer would say: it answers with a
refusal or hangs up, and serves the others.  No world is needed for that."""
import json
import math
import os
import select
import signal
import subprocess
import threading
import time
import unittest

import wire
from harness import ANSWER, WAIT, FreshPlace, Place, main, text_of, \
    wait_for

MIB = 1 << 20
PER_PEER = 4 * MIB  # that may wait for one who does not read
SECRET = "OnlyTheOwnerMayReadThis"
CODES = {"arg", "wire", "limit", "unsupported", "notfound", "state", "denied"}


def memory(pid, what="VmRSS"):
    """Bytes of a line of /proc/PID/status."""
    with open(f"/proc/{pid}/status", encoding="ascii") as lines:
        for line in lines:
            if line.startswith(what + ":"):
                return int(line.split()[1]) << 10
    raise AssertionError(what)


def forget_peak(pid):
    with open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


@unittest.skipIf(os.environ.get("LONGWAVE_SANITIZED"),
                 "sanitizers keep what is freed")
class Memory(Place):
    """Bytes of a daemon that is under attack."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.daemon = cls.start()
        cls.status()

    @classmethod
    def tearDownClass(cls):
        cls.stop(cls.daemon)
        super().tearDownClass()

    def answers_within(self, seconds):
        best = math.inf
        for _ in range(3):
            start = time.monotonic()
            self.status()
            best = min(best, time.monotonic() - start)
        self.assertLess(best, seconds)

    def test_t18_frames_that_are_announced(self):
        before = memory(self.daemon.pid)
        peers = [wire.Peer(self.endpoint) for _ in range(20)]
        for peer in peers:
            peer.announce(4 << 30)
            try:
                peer.socket.sendall(bytes(MIB))
            except OSError:
                pass  # hung up on already
        self.answers_within(1)
        for peer in peers:
            self.assertTrue(peer.is_hung_up_on())
            peer.close()
        self.assertLess(memory(self.daemon.pid) - before, 32 * MIB)
        self.answers_within(1)

    def attacks(self):
        """1 MiB of each: empty sub-messages, empty texts, fields that nobody
        knows, packed numbers; where a daemon speaks, and in requests."""
        body = {name: n for name, (_, n) in wire.CLIENT.body.items()}
        head = wire.number(1, 1) + wire.number(3, 1)
        size = MIB - 64
        for name in ("documents", "job_list"):
            yield head + wire.text(body[name], b"\x0a\0" * (size // 2))
        yield head + wire.text(body["done"],
                               wire.text(7, b"\1" * (size - 16)))
        stops = b"\x3a\0" * (size // 2 - 8)
        yield head + wire.text(body["ask"], wire.text(4, stops))
        # As many texts as may be, and as long as they may be in all.
        stop = wire.text(7, "x" * 250)
        yield head + wire.text(body["ask"], wire.text(
            4, stop * ((size - 64) // len(stop))))
        for unknown in (b"\x98\x06\0", b"\x9a\x06\0"):
            yield head + unknown * (size // 3)
            yield head + wire.text(body["show"], wire.text(1, "d")
                                   + unknown * ((size - 64) // 3))
        yield head + wire.text(body["show"], wire.text(1, b"n" * (size - 16)))

    def test_t20_amplification(self):
        with wire.Peer(self.endpoint) as peer:
            peer.send(wire.client_message("list", b""))
            peer.reply(1)
            idle = memory(self.daemon.pid)
            for _ in range(2):
                for i, attack in enumerate(self.attacks()):
                    self.assertGreater(len(attack), MIB - 512)
                    forget_peak(self.daemon.pid)
                    peer.send(attack)
                    kind, found = peer.reply(1)
                    self.assertEqual(kind, "refused", i)
                    self.assertIn(found[1].decode(), CODES)
                    peak = memory(self.daemon.pid, "VmHWM") - idle
                    self.assertLess(peak, 8 * MIB, i)
        self.answers_within(1)


@unittest.skipIf(os.environ.get("LONGWAVE_SANITIZED"),
                 "sanitizers keep what is freed")
class Endless(Memory):
    """By TCP: who never comes to the end of a message is hung up on."""

    @classmethod
    def setUpClass(cls):
        Place.setUpClass.__func__(cls)
        cls.endpoint = "tcp://127.0.0.1:*"
        cls.daemon = cls.start("--allow-local-users")
        cls.status()

    def test_t22_a_message_without_an_end(self):
        before = memory(self.daemon.pid)
        for spoke_before in (False, True):
            with wire.Peer(self.endpoint) as peer:
                if spoke_before:
                    peer.send(wire.client_message("list", b""))
                    peer.reply(1)
                with self.assertRaises(OSError):
                    # Not faster than a daemon on a busy machine looks.
                    for _ in range(2048):
                        peer.part(bytes(MIB))
                        time.sleep(0.001)
            self.answers_within(1)
        # 64 MiB, and what comes until that is seen.
        self.assertLess(memory(self.daemon.pid, "VmHWM") - before, 512 * MIB)


@unittest.skipIf(os.environ.get("LONGWAVE_SANITIZED"),
                 "sanitizers keep what is freed")
class Crowd(Place):
    """T22: those who say nothing, and those who never listen."""

    ANSWERS = 5  # of each deaf peer, which it never reads
    FLAGS = (*ANSWER[2:], "--generate", "4")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.daemon = cls.start("--workers", "1")
        cls.wait_worlds(1)
        cls.add("d", text_of(300))

    @classmethod
    def tearDownClass(cls):
        cls.stop(cls.daemon)
        super().tearDownClass()

    def serve_others(self, until, answers):
        """Questions of an honest client, as long as it takes."""
        while not until.wait(0.1):
            start = time.monotonic()
            done = self.client("ask", "d", "who", *self.FLAGS)
            answers.append((done, time.monotonic() - start))

    def flood(self, peers, rounds):
        """More refusals, with the name in each, than may wait for a peer."""
        show = wire.client_message("show", wire.text(1, "n" * 240), 9)
        show = b"\x02" + len(show).to_bytes(8, "big") + show
        for _ in range(rounds):
            for peer in peers:
                try:
                    peer.socket.sendall(show * 100)
                except OSError:
                    pass  # hung up on already

    def ask_in_vain(self, peer):
        question = b"who"
        for i in range(self.ANSWERS):
            peer.send(wire.client_message(
                "ask", wire.text(1, "d") + wire.number(3, len(question)) +
                wire.text(4, wire.number(1, 4) + wire.number(6, 1)),
                100 + i), question)

    def is_dropped(self, peer):
        """Hung up on, whether or not anything is read before."""
        poll = select.poll()
        poll.register(peer.socket, select.POLLRDHUP)
        return bool(poll.poll(0))

    def test_t22_slow_and_silent_peers(self):
        expected = self.call("ask", "d", "who", *self.FLAGS)["generated_ids"]
        before = memory(self.daemon.pid)
        files = len(os.listdir(f"/proc/{self.daemon.pid}/fd"))
        idle = wire.Peer(self.endpoint)  # has spoken, and waits for nothing
        idle.send(wire.client_message("list", b""))
        silent = [wire.connect(self.endpoint) for _ in range(25)]
        silent += [wire.Peer(self.endpoint).socket for _ in range(25)]
        deaf = [wire.Peer(self.endpoint) for _ in range(10)]
        until, answers = threading.Event(), []
        honest = threading.Thread(target=self.serve_others,
                                  args=(until, answers))
        honest.start()
        for peer in deaf:
            self.ask_in_vain(peer)
        # Five go beyond the bytes that may wait, the others wait too long.
        self.flood(deaf, 60)
        self.flood(deaf[:5], 300)
        wait_for("the end of those who never read",
                 lambda: all(map(self.is_dropped, deaf)))
        # So is whoever does not shake hands, or says nothing after it.
        for s in silent:
            s.settimeout(WAIT)
            while s.recv(1 << 12):
                pass
            s.close()
        until.set()
        honest.join(WAIT)
        # Others were served all the time, and their answers are theirs.
        self.assertGreater(len(answers), 2)
        for done, seconds in answers:
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(json.loads(done.stdout)["generated_ids"],
                             expected)
            self.assertLess(seconds, WAIT / 4)
        # What waits for the deaf is bounded, however much they ask for, and
        # all of it is free for those who come after them.
        peak = memory(self.daemon.pid, "VmHWM")
        self.assertLess(peak - before, len(deaf) * PER_PEER)
        others = [wire.Peer(self.endpoint) for _ in range(10)]
        self.flood(others, 60)
        self.flood(others[:5], 300)
        wait_for("what they may have waiting",
                 lambda: all(map(self.is_dropped, others[:5])))
        self.assertLess(memory(self.daemon.pid, "VmHWM") - peak, PER_PEER)
        for peer in others:
            peer.close()
        # Their results are kept although nobody heard them.
        wait_for("their answers", lambda: sum(
            j["kind"] == "ask" and j["state"] == "done"
            for j in self.call("jobs")["jobs"]) >=
            len(deaf) * self.ANSWERS + len(answers) + 1)
        for peer in deaf:
            peer.close()
        # It is told, nothing of theirs is kept, and the others stay.
        log = (self.dir / "daemon.log").read_text()
        self.assertGreaterEqual(
            log.count("does not take its messages is hung up"), len(deaf))
        self.assertIn("without a message in 10 s: hung up", log)
        wait_for("the end of their connections", lambda: len(os.listdir(
            f"/proc/{self.daemon.pid}/fd")) <= files + 2)
        self.assertEqual(idle.reply(1)[0], "documents")
        idle.send(wire.client_message("list", b"", 2))
        self.assertEqual(idle.reply(2)[0], "documents")
        idle.close()


class Queue(FreshPlace):
    """T23: what is over a limit is refused before it is acknowledged, and
    there is room again when the queue has been worked off."""

    def submit(self, names, size):
        """What the daemon replies to each."""
        with wire.Peer(self.endpoint) as peer:
            for i, name in enumerate(names):
                data = text_of(size).encode()
                peer.send(wire.client_message(
                    "add", wire.text(1, name) + wire.number(3, size), i + 1),
                    data)
            return list(peer.replies(range(1, len(names) + 1)).values())

    def expect(self, replies, n_accepted, n_before=0):
        accepted = [kind for kind, _ in replies if kind == "accepted"]
        refused = [found for kind, found in replies if kind == "refused"]
        self.assertEqual(len(accepted), n_accepted)
        self.assertEqual(len(refused), len(replies) - n_accepted)
        for found in refused:
            self.assertEqual(found[1], b"limit")
            self.assertGreater(found[3], 0)  # seconds to wait
        # What was refused is nowhere.
        self.assertEqual(self.status()["jobs_queued"],
                         n_before + n_accepted)

    def fill(self, names, size, places, *flags):
        daemon = self.start(*flags, data=self.data)
        self.expect(self.submit(names, size), places)
        world = self.start_world(1)
        wait_for("an empty queue", lambda: {
            j["state"] for j in self.call("jobs")["jobs"]} == {"done"})
        self.assertEqual(len(self.call("jobs")["jobs"]), places)
        # There is room again for those who were refused.
        again = self.submit(names[-places:], size)
        self.assertEqual({kind for kind, _ in again}, {"accepted"})
        self.assertEqual(self.stop(daemon), 0)
        self.assertEqual(world.wait(WAIT), 0)

    def test_t23_jobs(self):
        self.fill([f"d{i}" for i in range(20)], 100, 8, "--max-queue", "8")

    @unittest.skipIf(os.geteuid() != 0, "only root mounts")
    def test_t23_disk(self):
        at = self.dir / self.data
        at.mkdir(mode=0o700)
        mount = ["mount", "-t", "tmpfs", "-o", "size=32m,mode=700", "tmpfs",
                 at]
        if subprocess.run(mount, stderr=subprocess.DEVNULL).returncode != 0:
            self.skipTest("nothing can be mounted here")
        try:
            self.fill_disk(at)
        finally:
            subprocess.run(["umount", "-l", at], check=True)

    def fill_disk(self, at):
        daemon = self.start(data=self.data)
        n = 0

        def is_full():
            nonlocal n
            replies = self.submit([f"d{n}"], 100)
            if replies[0][0] == "accepted":
                n += 1
                return False
            self.expect(replies, 0, n)
            return True

        self.assertFalse(is_full())
        ballast = at / "ballast"
        space = os.statvfs(at)
        ballast.write_bytes(bytes((space.f_bavail - space.f_blocks // 25) *
                                  space.f_frsize))
        wait_for("a disk that is full", is_full)
        ballast.unlink()
        wait_for("room", lambda: not is_full())
        daemon.send_signal(signal.SIGTERM)
        self.assertEqual(self.ended(daemon), 0)

    def test_t23_bytes(self):
        self.fill([f"d{i}" for i in range(8)], 10_000, 4,
                  "--max-queued-bytes", "40000")


class Words(Place):
    """Messages with something wrong in them."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.daemon = cls.start("--max-input", str(MIB), "--max-queue", "8",
                               "--max-tokens", "1000")
        cls.peer = wire.Peer(cls.endpoint)
        cls.request = 0

    @classmethod
    def tearDownClass(cls):
        cls.peer.close()
        cls.stop(cls.daemon)
        super().tearDownClass()

    def say(self, body, inner, raw=None):
        """What the daemon replies first."""
        Words.request += 1
        message = wire.client_message(body, inner, self.request)
        self.peer.send(*([message] if raw is None else [message, raw]))
        return self.peer.reply(self.request)

    def refused(self, body, inner, raw=None):
        kind, found = self.say(body, inner, raw)
        self.assertEqual(kind, "refused", (body, inner[:40]))
        self.assertIn(found[1].decode(), CODES)
        return found[1].decode()

    def is_alive(self):
        self.assertEqual(self.say("get_status", b"")[0], "status")

    def test_t19_deep_nesting(self):
        def nested(field, levels):
            """A message in a message, from inside out."""
            parts = []
            size = 0
            tag = wire.varint(field << 3 | 2)
            for _ in range(levels):
                head = tag + wire.varint(size)
                parts.append(head)
                size += len(head)
            return b"".join(reversed(parts))

        head = wire.number(1, 1) + wire.number(3, 77)
        known = [wire.CLIENT.body[n][1] for n in ("ask", "documents",
                                                  "status")]
        for levels in (9, 100, 10_000, 1_000_000):
            for field in (*known, 1000):
                inner = nested(1 if field != 1000 else field, levels)
                attack = head + wire.text(field, inner)
                with wire.Peer(self.endpoint) as peer:
                    if len(inner) >= 4 * MIB:  # longer than any message
                        with self.assertRaises(ConnectionError):
                            peer.send(attack)
                            peer.reply(77)
                    elif len(inner) >= MIB:  # than one without raw bytes
                        peer.send(attack)
                        self.assertEqual(peer.reply(0)[0], "refused")
                    elif field != 1000:
                        peer.send(attack)
                        self.assertEqual(peer.reply(77)[0], "refused")
                    else:  # what nobody knows is passed over, if it is short
                        peer.send(attack + wire.text(
                            wire.CLIENT.body["list"][1], b""))
                        self.assertEqual(
                            peer.reply(77)[0],
                            "documents" if levels < 10_000 else "refused")
                self.is_alive()

    def cancel_all(self):
        for job in self.call("jobs")["jobs"]:
            if job["state"] not in ("done", "failed", "canceled"):
                self.client("cancel", job["job"])

    # Values of every field of what clients send, and what must be refused.
    GOOD = {
        "add": {"name": "d", "bytes": 4},
        "chunk": {"offset": 0},
        "ask": {"document": "d", "bytes": 4},
        "show": {"document": "d"},
        "remove": {"document": "d"},
        "cancel": {"job": 1},
        "watch": {"job": 1},
    }
    TEXTS = [b"", b"\xff\xfe", b"a\x1b[2Jb", b"a\nb", b"a\0b", b"x" * 300,
             b"x" * 70_000, "\u0085".encode(), b"\xed\xa0\x80"]
    NUMBERS = [0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63,
               2**64 - 1, -1]
    REALS = [0.0, -1.0, 1e-45, 3e38, math.inf, -math.inf, math.nan]

    def values(self, kind):
        if kind in ("string", "bytes"):
            return [lambda n, v=v: wire.text(n, v) for v in self.TEXTS]
        if kind in ("float", "double"):
            form = "<f" if kind == "float" else "<d"
            return [lambda n, v=v: wire.real(n, v, form) for v in self.REALS]
        return [lambda n, v=v: wire.number(n, v) for v in self.NUMBERS]

    def variants(self, message, good):
        """Every field at every odd value, the others as they should be."""
        for kind, name, n in wire.CLIENT.message[message]:
            rest = b"".join(
                wire.number(m, good[other]) if isinstance(good[other], int)
                else wire.text(m, good[other])
                for _, other, m in wire.CLIENT.message[message]
                if other in good and other != name)
            if kind in wire.CLIENT.message:
                for inner in self.variants(kind, {"max_tokens": 4}):
                    yield rest + wire.text(n, inner)
            else:
                for value in self.values(kind):
                    yield rest + value(n)

    def test_t21_every_field_at_its_ends(self):
        n = 0
        for body, good in self.GOOD.items():
            kind = wire.CLIENT.body[body][0]
            for inner in self.variants(kind, good):
                n += 1
                if body == "chunk":  # has no reply of its own
                    Words.request += 1
                    self.peer.send(wire.client_message(
                        body, inner, self.request), b"data")
                    continue
                reply, found = self.say(body, inner)
                if reply == "refused":
                    self.assertIn(found[1].decode(), CODES)
                elif reply in ("accepted", "more_input"):
                    self.cancel_all()
        self.assertGreater(n, 150)
        self.is_alive()

    def test_t21_what_must_be_refused(self):
        t, num = wire.text, wire.number
        add = t(1, "d") + num(3, 4)
        refused = self.refused
        refused("add", t(1, "") + num(3, 4))
        refused("add", t(1, "a/b") + num(3, 4))
        refused("add", t(1, "../../etc/passwd") + num(3, 4))
        refused("add", t(1, b"\xff") + num(3, 4))
        refused("add", t(1, b"a\x1b[2J") + num(3, 4))
        refused("add", t(1, "n" * 256) + num(3, 4))
        self.assertEqual(refused("add", t(1, "d")), "arg")  # no bytes
        self.assertEqual(refused("add", t(1, "d") + num(3, MIB + 1)), "limit")
        self.assertEqual(refused("add", t(1, "d") + num(3, 2**64 - 1)),
                         "limit")
        refused("add", add + num(2, 2))  # a kind of input that is none
        refused("add", t(1, "d") + num(2, 1) + num(3, 5))  # ids take 4 bytes
        refused("add", add + t(4, "another-model"))
        refused("add", add + t(5, "k" * 65))
        refused("add", add + t(6, b"short"))
        refused("cancel", num(1, 2**64 - 1))
        refused("watch", num(1, 0))
        refused("remove", t(1, "nobody"))
        # What only a daemon says, nothing, and another version.
        refused("accepted", num(1, 1))
        for message in (wire.number(1, 1) + wire.number(3, 5),
                        wire.client_message("list", b"", 5, major=2)):
            self.peer.send(message)
            self.assertEqual(self.peer.reply(5)[0], "refused")

    def test_t21_sampling(self):
        """Every number of it: what is outside, and what just is not."""
        never = (-1e-3, -math.inf, math.inf, math.nan)
        reals = {"temperature": ((0, 100), (100.001,)),
                 "top_p": ((0, 1), (1.001,)),
                 "min_p": ((0, 1), (1.001,)),
                 "repetition_penalty": ((0, 0.01, 100),
                                        (0.0099, 1e-45, 100.001))}
        field = {name: n for _, name, n in wire.CLIENT.message["Sampling"]}
        self.assertEqual(
            {name for kind, name, _ in wire.CLIENT.message["Sampling"]
             if kind == "float"}, set(reals))
        asked = wire.text(1, "nobody") + wire.number(3, 4)
        tokens = wire.number(field["max_tokens"], 4)

        def code(sampling):
            return self.refused("ask", asked + wire.text(4, sampling))

        for name, (good, bad) in reals.items():
            for value in good:
                self.assertEqual(
                    code(tokens + wire.real(field[name], value, "<f")),
                    "notfound", f"{name} {value}")
            for value in (*bad, *never):
                self.assertEqual(
                    code(tokens + wire.real(field[name], value, "<f")),
                    "arg", f"{name} {value}")
        stop = field["stop"]
        for bad in (wire.number(field["max_tokens"], 0),
                    wire.number(field["max_tokens"], 2**16 + 1),
                    tokens + wire.text(stop, ""),
                    tokens + wire.text(stop, "x" * 257),
                    tokens + wire.text(stop, b"\xff"),
                    tokens + wire.text(stop, "x") * 17):
            self.assertEqual(code(bad), "arg", bad[:40])
        for name in ("top_k", "seed", "ignore_eos", "logprobs"):
            self.assertEqual(
                code(tokens + wire.number(field[name], 2**32 - 1)),
                "notfound", name)

    def test_t34_a_key_with_another_content(self):
        """What an answer depends on is content: its stop strings, too."""
        done = self.client("add", "-", "--name", "t34", input=b"some words")
        self.assertEqual(done.returncode, 0, done.stderr)

        def ask(question=b"why", stop=("end",)):
            sampling = wire.number(1, 4) + b"".join(
                wire.text(stops, word) for word in stop)
            return self.say("ask", wire.text(1, "t34") + wire.number(
                3, len(question)) + wire.text(4, sampling) + wire.text(
                    5, "t34-key"), question)

        stops = next(n for _, name, n in wire.CLIENT.message["Sampling"]
                     if name == "stop")
        kind, first = ask()
        self.assertEqual(kind, "accepted")
        self.assertEqual(ask()[1][1], first[1])
        for other in ({"stop": ()}, {"stop": ("ends",)},
                      {"stop": ("end", "end")}, {"question": b"who"}):
            kind, found = ask(**other)
            self.assertEqual((kind, found[1]), ("refused", b"arg"), other)
        self.cancel_all()

    def test_t21_tokens_and_bytes_have_limits(self):
        for data, says in ((b"", "empty"), (b"x" * 1001, "1000"),
                           (b"x" * (MIB + 1), "limit")):
            done = self.client("add", "-", "--name", "long", input=data)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn(says, done.stderr.decode())

    def test_t21_contents_stay_out_of_the_log(self):
        document = SECRET.encode() * 40 + b"\xff"
        done = self.client("add", "-", "--name", "d", input=document)
        self.assertEqual(done.returncode, 2)
        self.refused("add", wire.text(1, SECRET + "/") + wire.number(3, 4))
        log = (self.dir / "daemon.log").read_text()
        self.assertNotIn(SECRET, log)

    def test_frames_of_another_shape(self):
        with wire.Peer(self.endpoint) as peer:
            for frames in ([b""], [b"", b""], [b"a", b"b", b"c"],
                           [b"x"] * 100, [b"\xff" * 1000]):
                peer.send(*frames)
        self.is_alive()

    def test_worlds_are_not_believed(self):
        """T21 for the world protocol: no field can end the daemon."""
        for body, (kind, _) in wire.WORLD.body.items():
            with wire.Peer(self.worlds) as peer:
                for type_, _, n in wire.WORLD.message[kind]:
                    if type_ in wire.WORLD.message:
                        continue
                    for value in self.values(type_):
                        peer.send(wire.world_message(body, value(n), 1, 1, 1),
                                  b"data")
                peer.send(wire.world_message(body, b"\xff" * 9))
            self.is_alive()
        self.assertEqual(self.status()["worlds"], [])


if __name__ == "__main__":
    main()
