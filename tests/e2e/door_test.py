# SPDX-License-Identifier: Apache-2.0
"""Who may come in by TCP, and what belongs to whom."""
import json
import os
import pathlib
import signal
import subprocess

import wire
from harness import (BIN, MPIRUN, WAIT, Place, main, processes_of, text_of,
                     wait_for)


def keygen(path, *flags):
    done = subprocess.run([BIN / "longwave", "keygen", path, *flags, "--json"],
                          capture_output=True, timeout=WAIT, check=True)
    return json.loads(done.stdout)["public_key"]


def authorize(key, authorized, *flags):
    subprocess.run([BIN / "longwave", "authorize", key, "--authorized",
                    authorized, *flags], capture_output=True, timeout=WAIT,
                   check=True)


class Start(Place):
    """T25: what is not safe is not served."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key = cls.dir / "daemon.key"
        cls.list = cls.dir / "authorized"
        keygen(cls.key)
        authorize(keygen(cls.dir / "someone.key"), cls.list)

    def exits(self, code, *flags, says=""):
        done = subprocess.run(
            [BIN / "longwaved", "--model", self.model, "--data",
             self.dir / "data", "--listen", self.endpoint, "--listen-worlds",
             self.worlds, *map(str, flags)], capture_output=True, timeout=WAIT)
        said = done.stderr.decode()
        self.assertEqual(done.returncode, code, said)
        self.assertIn(says, said)
        self.assertEqual(said.count("error:"), 1, said)
        self.assertEqual(done.stdout, b"")
        self.assertEqual(list(self.dir.glob("*.sock")), [])

    def test_t25_addresses_without_keys(self):
        for flag in ("--listen", "--listen-worlds"):
            for at in ("tcp://0.0.0.0:0", "tcp://*:0", "tcp://[::]:0",
                       "tcp://192.0.2.1:7000"):
                self.exits(78, flag, at, says="key")
                self.exits(78, flag, at, "--allow-local-users", says="key")
            self.exits(78, flag, "tcp://127.0.0.1:0",
                       says="--allow-local-users")

    def test_t25_keys_without_a_list(self):
        at = ("--listen", "tcp://127.0.0.1:0", "--key", self.key)
        self.exits(78, *at, says="--authorized")
        self.exits(78, *at, "--authorized", self.dir / "nothing")
        empty = self.dir / "empty"
        empty.write_text("# nobody\n")
        self.exits(78, *at, "--authorized", empty, says="no key")
        wrong = self.dir / "wrong"
        wrong.write_text("client nonsense\n")
        self.exits(78, *at, "--authorized", wrong, says="line 1")

    def test_t25_files_that_others_may_read_or_write(self):
        at = ("--listen", "tcp://127.0.0.1:0", "--key", self.key,
              "--authorized", self.list)
        try:
            self.key.chmod(0o644)
            self.exits(78, *at, says="others may read")
            self.key.chmod(0o600)
            self.list.chmod(0o666)
            self.exits(78, *at, says="others may write")
        finally:
            self.key.chmod(0o600)
            self.list.chmod(0o600)

    def test_secrets_stay_in_their_files(self):
        path = self.dir / "mine.key"
        public = keygen(path)
        text = path.read_text()
        secret = next(line.split(" = ")[1] for line in text.splitlines()
                      if line.startswith("secret"))
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.assertIn(public, (self.dir / "mine.key.pub").read_text())
        self.assertNotIn(secret, (self.dir / "mine.key.pub").read_text())
        again = subprocess.run([BIN / "longwave", "keygen", path],
                               capture_output=True, timeout=WAIT)
        self.assertEqual(again.returncode, 1)
        self.assertEqual(path.read_text(), text)  # it was left alone
        self.assertNotIn(secret.encode(), again.stderr + again.stdout)


class Keys(Place):
    """A daemon that listens on TCP, and keys of those whom it knows."""

    FLAGS = ()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.local = cls.endpoint
        cls.endpoint = cls.worlds = "tcp://127.0.0.1:*"
        cls.list = cls.dir / "authorized"
        keygen(cls.dir / "daemon.key")
        for name, roles in (("ann", "client"), ("bob", "client"),
                            ("boss", "client,admin"), ("node", "world")):
            cls.new_key(name)
            cls.let_in(name, roles)
        cls.new_key("stranger")
        cls.daemon = cls.start("--key", cls.dir / "daemon.key", "--authorized",
                               cls.list, *cls.FLAGS)

    @classmethod
    def tearDownClass(cls):
        cls.call("shutdown", who="boss")
        cls.ended(cls.daemon)
        super().tearDownClass()

    @classmethod
    def new_key(cls, name):
        keygen(cls.dir / f"{name}.key", "--server-key",
               cls.dir / "daemon.key.pub")

    @classmethod
    def let_in(cls, name, roles):
        authorize(cls.dir / f"{name}.key.pub", cls.list, "--role", roles,
                  "--name", name)

    @classmethod
    def client(cls, *arguments, who="boss", **options):
        env = {k: v for k, v in os.environ.items()
               if k not in ("LONGWAVE_KEY", "LONGWAVE_SERVER_KEY")}
        if who:
            env["LONGWAVE_KEY"] = str(cls.dir / f"{who}.key")
        return super().client(*arguments, env={**env, **options.pop("env", {})},
                              **options)

    def world(self, who, timeout=WAIT):
        # Open MPI unloads its plug-ins before their leaks are looked at.
        env = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
        with open(self.dir / f"world-{who}.log", "ab") as err:
            process = subprocess.Popen(
                [*MPIRUN, "-n", "1", BIN / "longwave-worker", "--model",
                 self.model, "--daemon", self.worlds, "--threads", "1",
                 "--connect-timeout", str(timeout), "--key",
                 self.dir / f"{who}.key"],
                stdin=subprocess.DEVNULL, stdout=err, stderr=err, env=env)
        self.running.append(process)
        return process


class Door(Keys):
    FLAGS = ("--workers", "1")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.wait_worlds(1)  # which came in with the daemon's own key

    def names(self, who):
        return [d["document"] for d in self.call("list", who=who)["documents"]]

    def stays_out(self, who, *flags, code=1, **options):
        done = self.client("list", "--timeout", "1", *flags, who=who,
                           **options)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(done.stdout, b"")
        return done.stderr.decode()

    def test_keys_are_needed_by_clients_too(self):
        done = subprocess.run(
            [BIN / "longwave", "list", "--connect", "tcp://192.0.2.1:7000"],
            capture_output=True, timeout=WAIT)
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"needs a key", done.stderr)

    def test_t26_strangers(self):
        self.assertIn("does not let the key", self.stays_out(
            "stranger", "--timeout", WAIT // 2))
        self.stays_out(None)  # without a key
        wrong = self.dir / "wrong.key"
        keygen(wrong, "--server-key", self.dir / "stranger.key.pub")
        authorize(f"{wrong}.pub", self.list)
        self.stays_out("wrong")  # it would talk to another daemon only
        self.stays_out("node")   # a world is no client
        peers = [wire.connect(self.endpoint) for _ in range(3)]
        peers[0].sendall(b"\x5a" * 4096)
        peers[1].sendall(wire.GREETING)  # no security
        peers[2].sendall(wire.GREETING.replace(b"NULL\0", b"CURVE") +
                         b"\xff" * 300)
        for peer in peers:
            try:
                while peer.recv(4096):
                    pass
            except ConnectionError:
                pass
            peer.close()
        self.assertEqual(self.names("ann"), [])

    def test_t26_revoked_keys(self):
        self.new_key("former")
        self.let_in("former", "client")
        wait_for("the list to be read", lambda: self.client(
            "list", "--timeout", "1", who="former").returncode == 0)
        done = subprocess.run(
            [BIN / "longwave", "authorize", self.dir / "former.key.pub",
             "--authorized", self.list, "--revoke"], timeout=WAIT,
            capture_output=True, check=True)
        self.assertEqual(done.returncode, 0)
        wait_for("the key to be out", lambda: self.client(
            "list", "--timeout", "1", who="former").returncode != 0)
        self.assertEqual(self.names("ann"), [])

    def test_documents_belong_to_their_keys(self):
        self.call("add", "-", "--name", "diary", input=b"dear diary, " * 5,
                  who="ann")
        mine = self.call("ask", "diary", "who?", "--generate", "4", who="ann")
        self.assertLessEqual(len(mine["generated_ids"]), 4)
        self.assertEqual(self.names("ann"), ["diary"])
        self.assertEqual(self.names("bob"), [])
        self.refused("show", "diary", who="bob", says="no document")
        self.refused("ask", "diary", "who?", who="bob", says="no document")
        self.refused("rm", "diary", who="bob", says="no document")
        # Nor is the name taken.
        self.call("add", "-", "--name", "diary", input=b"another one",
                  who="bob")
        theirs = self.call("show", "diary", who="bob")
        self.assertNotEqual(theirs["tokens"],
                            self.call("show", "diary", who="ann")["tokens"])
        self.assertEqual(self.names("boss"), ["diary", "diary"])
        self.refused("show", "diary", who="boss", says="several")
        self.call("rm", "diary", who="bob")
        self.assertEqual(self.names("ann"), ["diary"])
        self.call("rm", "diary", who="boss")
        self.assertEqual(self.names("ann"), [])

    def test_jobs_belong_to_their_keys(self):
        path = self.dir / "long.txt"
        path.write_text(text_of(6 << 20))
        process = subprocess.Popen(
            [BIN / "longwave", "add", path, "--name", "long", "--connect",
             self.endpoint, "--key", self.dir / "ann.key", "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.running.append(process)

        def job_of(who):
            return next((j for j in self.call("jobs", who=who)["jobs"]
                         if j["document"] == "long"), None)
        job = wait_for("the job", lambda: job_of("ann"))["job"]
        self.assertIsNone(job_of("bob"))
        self.assertEqual(job_of("boss")["job"], job)
        self.refused("cancel", job, who="bob", says="no job")
        self.call("cancel", job, who="boss")
        process.communicate(timeout=WAIT)
        self.assertEqual(process.returncode, 1)
        self.refused("cancel", job, who="bob", says="no job")
        self.refused("cancel", job, who="ann", code=1, says="has ended")

    def test_only_admins_stop_the_daemon(self):
        self.refused("shutdown", who="ann", code=1, says="admin")
        self.assertEqual(self.names("ann"), self.names("ann"))

    def test_worlds_by_tcp(self):
        for who in ("ann", "boss", "stranger"):  # none of them is a world
            self.assertEqual(self.world(who).wait(WAIT), 2)
        self.assertEqual(len(self.status()["worlds"]), 1)
        process = self.world("node")
        self.wait_worlds(2)
        process.send_signal(signal.SIGTERM)
        process.wait(WAIT)
        self.wait_worlds(1)

    def test_keys_are_named_in_files_alone(self):
        secrets = [line.split(" = ")[1]
                   for path in self.dir.glob("*.key")
                   for line in path.read_text().splitlines()
                   if line.startswith("secret")]
        self.assertGreater(len(secrets), 4)
        for pid, line in processes_of(self.dir).items():
            environment = pathlib.Path(f"/proc/{pid}/environ").read_text()
            for secret in secrets:
                self.assertNotIn(secret, line)
                self.assertNotIn(secret, environment)
        for log in self.dir.glob("*.log"):
            text = log.read_text()
            for secret in secrets:
                self.assertNotIn(secret, text)


class Share(Keys):
    """T23: a key has its part of the queue and no more, and has it again."""

    FLAGS = ("--max-queue", "8", "--key-share", "50")

    def adding(self, who, name):
        path = self.dir / f"{who}-{name}.txt"
        path.write_text(text_of(100))
        process = subprocess.Popen(
            [BIN / "longwave", "add", path, "--name", name, "--connect",
             self.endpoint, "--key", self.dir / f"{who}.key"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE)
        self.running.append(process)
        return process

    def wait_queued(self, n):
        wait_for(f"{n} jobs", lambda: self.status()["jobs_queued"] == n)

    def over_its_share(self, name):
        process = self.adding("ann", name)
        said = process.communicate(timeout=WAIT)[1].decode()
        self.assertNotEqual(process.returncode, 0)
        self.assertIn("your share of the queue is full", said)
        self.assertRegex(said, r"try again in [1-9]\d* s")

    def test_t23_a_share_of_the_queue(self):
        clients = [self.adding("ann", f"a{i}") for i in range(4)]
        self.wait_queued(4)
        self.over_its_share("a4")
        self.assertEqual(self.status()["jobs_queued"], 4)  # it is nowhere
        clients += [self.adding("bob", f"b{i}") for i in range(2)]
        self.wait_queued(6)
        self.over_its_share("a4")
        self.world("node")
        for process in clients:
            err = process.communicate(timeout=WAIT)[1]
            self.assertEqual(process.returncode, 0, err)
        again = self.adding("ann", "a4")
        err = again.communicate(timeout=WAIT)[1]
        self.assertEqual(again.returncode, 0, err)


if __name__ == "__main__":
    main()
