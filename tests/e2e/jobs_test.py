# SPDX-License-Identifier: Apache-2.0
"""What clients can do with documents and jobs, and what they cannot."""
import json
import os
import signal
import subprocess
import time

import run_lib
from harness import BIN, SEGMENT, WAIT, Place, main, text_of, wait_for
from reading import Slowed


def catches(process, number):
    """Whether it has its own way with a signal by now."""
    with open(f"/proc/{process.pid}/status", encoding="ascii") as lines:
        caught = next(line for line in lines if line.startswith("SigCgt:"))
    return int(caught.split()[1], 16) >> (number - 1) & 1


class Jobs(Place):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.daemon = cls.start("--workers", "1", "--max-question", "200",
                               "--max-input", str(8 << 20))
        cls.wait_worlds(1)

    def slow_add(self, name, kilobytes=6000):
        """A document that takes a while; the process and its job."""
        path = self.dir / f"{name}.txt"
        path.write_text(text_of(kilobytes << 10))
        with Slowed(self.ranks()):
            process = self.start_client("add", path, "--name", name)
            job = wait_for("a running job", lambda: next(
                (j for j in self.call("jobs")["jobs"]
                 if j["document"] == name and j["state"] == "running"
                 and j["segments_done"] > 0), None))
        return process, job["job"]

    def test_list_show_remove(self):
        self.add("b", text_of(50))
        self.add("a", text_of(20))
        names = [d["document"] for d in self.call("list")["documents"]]
        self.assertEqual([n for n in names if n in "ab"], ["a", "b"])
        shown = json.loads(self.client("show", "b").stdout)
        self.assertEqual(shown["tokens"], 51)
        self.assertEqual(shown["segments"], 4)
        job = next(j for j in self.call("jobs")["jobs"]
                   if j["document"] == "b")
        self.assertEqual((job["segments_done"], job["segments_total"]), (4, 4))
        self.assertEqual(shown["pending_tokens"], 51 - 3 * SEGMENT)
        self.assertEqual(len(shown["model"]), 64)
        self.assertTrue(shown["state_norms"])
        self.assertTrue(all(x > 0 for x in shown["state_norms"]))
        self.call("rm", "b")
        self.refused("show", "b", says="no document named 'b'")
        self.add("b", text_of(5))
        self.assertEqual(
            json.loads(self.client("show", "b").stdout)["tokens"], 6)

    def check_long_inputs(self):
        """What nobody would want to read to its end: a pipe that has none,
        and a file of which the size is enough."""
        with subprocess.Popen(["yes"], stdout=subprocess.PIPE) as pipe:
            done = subprocess.run(
                [BIN / "longwave", "add", "-", "--name", "endless",
                 "--connect", self.endpoint], stdin=pipe.stdout,
                capture_output=True, timeout=WAIT, check=False)
            pipe.kill()
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"- has more bytes than the limit of 8388608",
                      done.stderr)
        sparse = self.dir / "sparse"
        with open(sparse, "wb") as out:
            out.truncate(1 << 40)
        self.refused("add", sparse, "--name", "sparse",
                     says="1099511627776 bytes, and the limit is 8388608")

    def test_refusals(self):
        self.add("doc", text_of(40))
        before = self.call("list")
        refused = self.refused
        refused("add", "-", "--name", "doc", input=b"again", code=1,
                says="there already")
        refused("add", "-", "--name", "e", input=b"", says="empty")
        refused("add", "-", "--name", "u", input=b"good \xff bad",
                says="UTF-8")
        refused("add", "-", "--name", "u", input=b"x" * 70000 + b"\xe2\x28",
                says="byte 7000")
        refused("add", "-", "--name", "big", input=b"x" * (9 << 20),
                says="limit")
        self.check_long_inputs()
        refused("add", "-", "--name", "a/b", input=b"x", says="'/'")
        refused("ask", "nobody", "who?", says="no document named 'nobody'")
        refused("ask", "doc", "", says="empty")
        refused("ask", "doc", "x" * 201, says="200 tokens")
        refused("ask", "doc", "x", "--generate", "60000", says="limit")
        refused("rm", "nobody", says="no document")
        refused("cancel", "999", says="no job 999")
        ids = self.dir / "ids.safetensors"
        for bad in (b"\xff\xff\xff\xff", (4000).to_bytes(4, "little")):
            head = json.dumps({"input_ids": {
                "dtype": "I32", "shape": [1], "data_offsets": [0, 4]}})
            ids.write_bytes(len(head).to_bytes(8, "little") + head.encode()
                            + bad)
            refused("add", ids, "--ids", "--name", "i", says="token id")
            refused("ask", "doc", "--ids", ids, says="token id")
        self.assertEqual(self.call("list"), before)
        self.assertEqual(self.status()["jobs_running"], 0)

    def test_bad_sampling(self):
        self.add("sampled", text_of(40))
        for flag, values in run_lib.BAD_SAMPLING.items():
            for value in values:
                if flag != "--stop":
                    self.refused("ask", "sampled", "x", f"{flag}={value}",
                                 says=flag)
        self.refused("ask", "sampled", "x", "--stop", "", says="stop")
        self.refused("ask", "sampled", "x", "--stop", "y" * 257, says="stop")

    def test_stop_strings(self):
        self.add("stops", text_of(40))
        whole = self.ask("stops", "who")
        text = whole["text"]
        stop = next((text[i:i + 2] for i in range(1, len(text) - 2)
                     if text[i:i + 2].isascii()), None)
        self.assertIsNotNone(stop, text)
        cut = self.ask("stops", "who", "--stop", stop)
        self.assertEqual(cut["finish"], "stop")
        self.assertEqual(cut["text"], text[:text.index(stop)])

    def test_status_is_quick_while_reading(self):
        process, _ = self.slow_add("long")
        worst = 0
        for _ in range(20):
            start = time.monotonic()
            self.status()
            worst = max(worst, time.monotonic() - start)
        self.assertIsNone(process.poll())
        # Bounds for any machine; latency.py beside this checks the real ones.
        self.assertLess(self.status()["longest_turn_ms"], 500)
        self.assertLess(worst, 5)
        answer = self.ask_small("beside")
        self.assertEqual(len(answer["generated_ids"]), 8)
        self.assertIsNone(process.poll(), "the question waited")
        self.call("cancel", self.job_of("long"))
        process.communicate(timeout=WAIT)

    def ask_small(self, name):
        self.add(name, "a short text")
        return self.ask(name, "who")

    def job_of(self, name):
        return next(j["job"] for j in self.call("jobs")["jobs"]
                    if j["document"] == name and j["state"] == "running")

    def test_cancel(self):
        process, job = self.slow_add("never")
        self.call("cancel", job)
        _, err = process.communicate(timeout=WAIT)
        self.assertEqual(process.returncode, 1)
        self.assertIn(b"canceled", err)
        self.refused("show", "never", says="no document")
        self.refused("cancel", job, code=1, says="has ended")
        self.add("never", text_of(30))  # the name is free again

    def test_a_client_that_is_killed(self):
        process, job = self.slow_add("orphan", 300)
        process.kill()
        process.communicate(timeout=WAIT)
        # All input was sent: the job goes on without its client.
        wait_for("the end of the job", lambda: any(
            d["document"] == "orphan"
            for d in self.call("list")["documents"]))
        self.assertEqual(len(self.ask("orphan", "who")["generated_ids"]), 8)
        self.assertEqual(next(j["state"] for j in self.call("jobs")["jobs"]
                              if j["job"] == job), "done")

    def test_a_client_that_is_killed_while_sending(self):
        process = self.start_client("add", "/dev/stdin", "--name", "half")
        process.stdin.write(b"x" * 1000)
        process.stdin.flush()
        process.kill()
        process.communicate(timeout=WAIT)
        self.assertEqual(len(self.ask_small("after")["generated_ids"]), 8)

    def test_results_are_fetched_by_number(self):
        """Of jobs that have ended, and that run; whoever asked."""
        self.add("told", text_of(100))
        done = self.ask("told", "who saw land")
        again = self.call("watch", done["job"])
        for name in ("job", "document", "generated_ids", "text", "finish",
                     "tokens"):
            self.assertEqual(again[name], done[name], name)
        process, job = self.slow_add("watched", 300)
        process.kill()
        process.communicate(timeout=WAIT)
        read = self.call("watch", job)
        self.assertEqual((read["job"], read["document"], read["tokens"]),
                         (job, "watched", (300 << 10) + 1))
        self.assertEqual(self.call("watch", job)["tokens"], read["tokens"])
        process, job = self.slow_add("left")
        watcher = self.start_client("watch", job)
        wait_for("its readiness", lambda: catches(watcher, signal.SIGINT))
        watcher.send_signal(signal.SIGINT)
        _, err = watcher.communicate(timeout=WAIT)
        self.assertEqual(watcher.returncode, 1, err)
        self.assertEqual(self.job_of("left"), job)  # it runs on
        self.call("cancel", job)
        process.communicate(timeout=WAIT)
        self.refused("watch", job, code=1, says="canceled")
        self.refused("watch", 999999, says="no job")
        self.refused("watch", "seven", says="not the number")

    def test_names_are_no_commands(self):
        """On a terminal; C0 and C1 are in no name, but this is."""
        name = "re\u202etxt.exe"
        self.add(name, text_of(30))
        main_end, terminal = os.openpty()
        done = subprocess.run(
            [BIN / "longwave", "list", "--connect", self.endpoint],
            stdout=terminal, stderr=subprocess.PIPE, timeout=WAIT)
        os.close(terminal)
        said = os.read(main_end, 1 << 16).decode()
        os.close(main_end)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("retxt.exe", said)
        self.assertNotIn("\u202e", said)
        self.assertIn(rb"re\u202etxt.exe", self.client("show", name).stdout)
        self.call("rm", name)
        self.refused("show", name, says="re???txt.exe")

    def test_an_answer_nobody_waits_for(self):
        self.add("asked", text_of(100))
        process = self.start_client("ask", "asked", "who", "--generate",
                                    "1000", "--ignore-eos")
        wait_for("the job", lambda: any(
            j["document"] == "asked" and j["kind"] == "ask"
            for j in self.call("jobs")["jobs"]))
        process.kill()
        process.communicate(timeout=WAIT)
        wait_for("its end", lambda: self.status()["jobs_running"] == 0)

    def test_z_restart(self):
        self.add("kept", text_of(333))
        before = self.ask("kept", "who saw land")["generated_ids"]
        process, job = self.slow_add("resumed", 300)
        self.daemon.send_signal(signal.SIGKILL)  # no chance to tidy up
        self.daemon.wait(WAIT)
        self.daemon.stdout.close()
        wait_for("the end of its world", lambda: not self.ranks())
        Jobs.daemon = self.start("--workers", "1")
        # The client finds the daemon and its job again by itself.
        out, err = process.communicate(timeout=WAIT)
        self.assertEqual(process.returncode, 0, err)
        self.assertEqual(json.loads(out)["job"], job)
        kept = json.loads(self.client("show", "kept").stdout)
        self.assertEqual(kept["tokens"], 334)
        self.assertEqual(self.ask("kept", "who saw land")["generated_ids"],
                         before)
        found = next(j for j in self.call("jobs")["jobs"] if j["job"] == job)
        self.assertEqual(found["state"], "done")

    def test_zz_sigterm(self):
        self.daemon.send_signal(signal.SIGTERM)
        self.assertEqual(self.ended(self.daemon), 0)
        left = sorted(os.listdir(self.dir / "data/tmp"))
        self.assertEqual(left, [])


if __name__ == "__main__":
    main()
