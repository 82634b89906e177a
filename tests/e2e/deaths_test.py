# SPDX-License-Identifier: Apache-2.0
"""Processes that die or never live: a clear sentence, and the daemon stays."""
import json
import os
import signal
import sqlite3
import subprocess
import time

from harness import BIN, MPIRUN, WAIT, FreshPlace, Place, main, processes_of, \
    text_of, wait_for


def is_five():
    version = subprocess.run(["mpirun", "--version"], capture_output=True,
                             timeout=WAIT, check=False).stdout
    return b"Open MPI) 5." in version


class Deaths(FreshPlace):
    def kill_rank(self):
        os.kill(max(self.ranks()), signal.SIGKILL)

    def slow_add(self, name):
        path = self.dir / f"{name}.txt"
        path.write_text(text_of(6 << 20))
        process = self.start_client("add", path, "--name", name)
        wait_for("a running job", self.is_running)
        return process

    def is_running(self):
        return any(j["state"] == "running" and j["segments_done"] > 0
                   for j in self.call("jobs")["jobs"])

    def test_a_local_world_is_restarted(self):
        daemon = self.start("--workers", "2", data="restart")
        self.wait_worlds(1)
        self.add("before", text_of(99))
        answer = self.ask("before", "who")["generated_ids"]
        process = self.slow_add("book")
        self.kill_rank()
        # The job goes on, on the world that was restarted.
        wait_for("the second attempt", lambda: self.is_running()
                 and "signal 9" in self.status()["last_error"])
        job = self.call("jobs")["jobs"][-1]["job"]
        self.call("cancel", job)
        process.communicate(timeout=WAIT)
        self.assertEqual(self.ask("before", "who")["generated_ids"], answer)
        self.assertEqual(self.stop(daemon), 0)

    def test_another_world_takes_over(self):
        daemon = self.start(data="over")
        world = self.start_world(2)
        self.wait_worlds(1)
        process = self.slow_add("book")
        self.kill_rank()
        self.assertNotEqual(world.wait(WAIT), 0)
        other = self.start_world(1)
        # The dead one says nothing: it is given up after its timeout.
        wait_for("the second attempt", lambda: self.is_running()
                 and "silent" in self.status()["last_error"])
        self.call("cancel", self.call("jobs")["jobs"][-1]["job"])
        process.communicate(timeout=WAIT)
        self.assertEqual(self.stop(daemon), 0)
        self.assertEqual(other.wait(WAIT), 0)

    def test_a_launcher_that_is_missing(self):
        empty = self.dir / "empty"
        empty.mkdir()
        daemon = self.start("--workers", "1", data="missing",
                            PATH=str(empty))
        wait_for("the sentence",
                 lambda: "mpirun" in self.status()["last_error"])
        # It stays up and keeps what it is given.
        waiting = self.start_client("add", self.dir / "model/config.json",
                                    "--name", "d")
        wait_for("the job", lambda: any(
            j["state"] == "queued" for j in self.call("jobs")["jobs"]))
        self.assertIsNone(daemon.poll())
        self.assertEqual(self.stop(daemon), 0)
        waiting.kill()
        waiting.communicate(timeout=WAIT)

    def test_a_command_that_fails(self):
        daemon = self.start("--launch", "exit 5", data="launch")
        wait_for("the sentence",
                 lambda: "status 5" in self.status()["last_error"])
        self.assertEqual(self.stop(daemon), 0)

    def test_a_command_that_no_worker_takes(self):
        """It is not started again and again: nothing else would come of it."""
        daemon = self.start("--launch", f"echo start >>{self.dir}/starts; exec "
                            f"{BIN}/longwave-worker --threads abc",
                            data="usage")
        wait_for("the sentence", lambda: "cannot be used"
                 in self.status()["last_error"])
        time.sleep(1)
        self.assertEqual((self.dir / "starts").read_text(), "start\n")
        self.assertEqual(self.stop(daemon), 0)

    def test_launched_by_a_command(self):
        command = " ".join(["exec", "mpirun", "--oversubscribe",
                            "--allow-run-as-root" if os.geteuid() == 0 else "",
                            "-n", "2", str(BIN / "longwave-worker")])
        daemon = self.start("--launch", command, data="command")
        self.add("d", text_of(50))
        self.assertEqual(len(self.ask("d", "who")["generated_ids"]), 8)
        self.assertEqual(self.stop(daemon), 0)

    def test_a_world_of_another_model(self):
        other = self.dir / "other"
        subprocess.run(["cp", "-r", self.model, other], check=True)
        config = (other / "config.json").read_text()
        (other / "config.json").write_text(
            config.replace('"segment_size": 16', '"segment_size": 8'))
        daemon = self.start(data="mismatch")
        model, self.__class__.model = self.model, other
        try:
            world = self.start_world(1)
        finally:
            self.__class__.model = model
        self.assertEqual(world.wait(WAIT), 2)
        self.assertIn("another model", self.status()["last_error"])
        self.assertEqual(self.stop(daemon), 0)

    def test_the_daemon_is_killed(self):
        self.start("--workers", "2", data="killed")
        self.wait_worlds(1)
        self.running[-1].kill()
        # Its world has nobody left to serve.
        wait_for("the end of the world",
                 lambda: not processes_of(self.dir))


class Storm(FreshPlace):
    """T24: worlds that never live, start after start."""

    def setUp(self):
        super().setUp()
        mpirun = " ".join(MPIRUN)
        worker = f"{BIN}/longwave-worker"
        # A rank that dies so early may leave mpirun 5 waiting for ever.
        soon = ["--start-seconds", "5"] if is_five() else []
        self.ways = {  # how, flags, environment, what the sentence says
            "dies in MPI_Init": (
                ["--workers", "2", *soon], {"OMPI_MCA_coll": "nonesuch"},
                "ended"),
            "no worker": (
                ["--launch", f"exec {mpirun} -n 1 {self.dir}/no/worker"], {},
                "status"),
            "no launcher": (
                ["--workers", "1"], {"PATH": str(self.dir)}, "mpirun"),
            "no host": (
                ["--launch", f"exec {mpirun} --mca plm_rsh_agent /bin/false "
                 f"--host nowhere.invalid -n 1 {worker}"], {}, "status"),
        }

    def ends(self):
        """Worlds that the journal says have ended."""
        db = sqlite3.connect(self.dir / self.data / "longwave.db")
        try:
            return db.execute("SELECT count(*) FROM incident WHERE job = 0"
                              ).fetchone()[0]
        finally:
            db.close()

    def submitted(self):
        waiting = self.start_client("add", self.dir / "model/config.json",
                                    "--name", "d")
        wait_for("the job", lambda: any(
            j["state"] == "queued" for j in self.call("jobs")["jobs"]))
        waiting.kill()
        waiting.communicate(timeout=WAIT)

    def is_queued(self):
        job, = self.call("jobs")["jobs"]
        self.assertEqual((job["state"], job["attempts"]), ("queued", 0))

    def test_t24_the_daemon_stays(self):
        for how, (flags, environment, says) in self.ways.items():
            with self.subTest(how):
                self.data = "stays-" + how.replace(" ", "-")
                daemon = self.start(*flags, data=self.data, **environment)
                self.submitted()
                wait_for("three ends", lambda: self.ends() >= 3)
                self.assertIsNone(daemon.poll())
                status = self.status()
                self.assertIn(says, status["last_error"])
                self.assertNotIn("status 0", status["last_error"])
                self.assertEqual(status["jobs_queued"], 1)
                self.is_queued()
                self.assertEqual(self.stop(daemon), 0)
        # The last one's job is done as soon as a world lives.
        daemon = self.start("--workers", "1", data=self.data)
        wait_for("the end", lambda: self.call("list")["documents"])
        self.assertEqual(self.stop(daemon), 0)

    def test_t24_or_gives_up(self):
        for how, (flags, environment, _) in self.ways.items():
            with self.subTest(how):
                self.data = "ends-" + how.replace(" ", "-")
                start = time.monotonic()
                daemon = self.start(*flags, "--exit-without-world",
                                    data=self.data, **environment)
                self.submitted()
                self.assertEqual(self.ended(daemon), 1)
                # 5 ends in 10 minutes; it need not wait for the minutes.
                self.assertLess(time.monotonic() - start, WAIT)
                self.assertEqual(self.ends(), 5)
        daemon = self.start(data=self.data)
        self.is_queued()
        self.assertEqual(self.stop(daemon), 0)


class Start(Place):
    """A longwaved that cannot start says why, and exits."""

    def fails(self, *flags, code, says):
        done = subprocess.run([BIN / "longwaved", *map(str, flags)],
                              capture_output=True, timeout=WAIT)
        sentence = done.stderr.decode()
        self.assertEqual(done.returncode, code, sentence)
        self.assertEqual(done.stdout, b"")
        self.assertIn(says, sentence)
        self.assertEqual(sentence.count("\n"), 1, sentence)

    def test_refusals(self):
        ours = ["--model", self.model, "--listen", self.endpoint,
                "--listen-worlds", self.worlds, "--data", self.dir / "data"]
        self.fails(*ours[2:], code=2, says="--model")
        self.fails("--model", self.dir / "none", *ours[2:], code=2,
                   says="none")
        self.fails(*ours, "--workers", "many", code=2, says="--workers")
        self.fails(*ours, "--workers", "1", "--launch", "x", code=2,
                   says="--launch")
        self.fails(*ours, "--what", code=2, says="--what")
        self.fails(*ours[:2], "--listen", "tcp://127.0.0.1:*", *ours[4:],
                   code=78, says="--allow-local-users")
        self.fails(*ours[:2], "--listen", "tcp://0.0.0.0:5555", *ours[4:],
                   "--allow-local-users", code=78, says="0.0.0.0")
        self.fails(*ours[:2], "--listen", "nonsense", *ours[4:], code=2,
                   says="nonsense")
        daemon = self.start()
        self.fails(*ours, code=1, says="in use by another daemon")
        self.fails(*ours[:-1], self.dir / "data2", code=1, says="in use")
        self.assertEqual(self.stop(daemon), 0)

    def test_models(self):
        config = (self.model / "config.json").read_text()
        broken = self.dir / "broken"
        broken.mkdir()
        for text, says in ((config[:-20], "config.json"),
                           (config.replace('"segment_size": 16',
                                           '"segment_size": -1'), "segment"),
                           (config.replace('"frozen"', '"thawed"'), "thawed"),
                           (config.replace('"left"', '"right"'),
                            "segment_alignment")):
            (broken / "config.json").write_text(text)
            self.fails("--model", broken, "--data", self.dir / "data3",
                       "--listen", self.endpoint, "--listen-worlds",
                       self.worlds, code=2, says=says)

    def test_loopback(self):
        daemon = subprocess.Popen(
            [BIN / "longwaved", "--model", self.model, "--data",
             self.dir / "data4", "--listen", "tcp://127.0.0.1:*",
             "--listen-worlds", self.worlds, "--allow-local-users", "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.running.append(daemon)
        at = json.loads(daemon.stdout.readline())["listen"]
        self.assertRegex(at, r"^tcp://127\.0\.0\.1:\d+$")
        done = subprocess.run([BIN / "longwave", "status", "--connect", at],
                              capture_output=True, timeout=WAIT)
        self.assertEqual(done.returncode, 0, done.stderr)
        daemon.terminate()
        self.assertEqual(daemon.wait(WAIT), 0)
        daemon.stdout.close()


if __name__ == "__main__":
    main()
