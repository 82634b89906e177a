# SPDX-License-Identifier: Apache-2.0
"""Ranks that are left when one dies go on, where Open MPI lets them."""
import os
import shutil
import signal
import subprocess
import sys
import time

from harness import BIN, MPIRUN, WAIT, main, processes_of, wait_for
from reading import SOON, Reading

ULFM = [*MPIRUN, "--with-ft", "ulfm"]


def missing():
    """Why ranks cannot be outlived here, or None."""
    if not shutil.which("mpirun"):
        return "no mpirun"
    done = subprocess.run([*ULFM, "-n", "1", "true"], capture_output=True,
                          timeout=WAIT, check=False)
    return None if done.returncode == 0 else "this mpirun has no --with-ft"


class Survive(Reading):
    def launchers(self):
        return {pid for pid, line in processes_of(self.dir).items()
                if line.startswith(("mpirun", "prterun"))}

    def world(self):
        return next((w for w in self.status()["worlds"]
                     if w["state"] == "ready"), None)

    def wait_ranks(self, n):
        wait_for(f"a world of {n}", lambda: (self.world() or {"ranks": 0})
                 ["ranks"] == n)

    def up_surviving(self, ranks, *flags, placement="segments", own=()):
        """A daemon whose world is started by a command, `own` flags in it."""
        command = " ".join(["exec", *ULFM, "-n", str(ranks),
                            str(BIN / "longwave-worker"), "--model",
                            str(self.model), *own])
        daemon = self.start("--launch", command, "--placement", placement,
                            *SOON, *flags, data=self.data)
        self.wait_ranks(ranks)
        return daemon

    def kill_each(self, daemon, victims):
        """Ranks, which are numbered as their processes are, die in turn."""
        launcher = self.launchers()
        left = self.ranks()
        reading = None
        for n, victim in enumerate(victims):
            with self.slowed():
                reading = reading or self.read("d", 60)
                self.wait_checkpoint("d", 1 + n * 64)
                start = time.monotonic()
                os.kill(left.pop(victim), signal.SIGKILL)
            self.wait_ranks(len(left))
            print(f"{len(left)} ranks were back after "
                  f"{time.monotonic() - start:.2f} s", file=sys.stderr)
        job = self.finish("d", *reading)
        self.assertGreater(job["attempts"], len(victims))
        self.assertEqual(self.launchers(), launcher)
        self.assertEqual(self.ranks(), left)
        self.assertEqual(self.down(daemon), 0)

    def test_a_rank_dies(self):
        self.kill_each(self.up_surviving(3), [1])

    def test_the_lead_dies(self):
        self.kill_each(self.up_surviving(3), [0])

    def test_what_was_named_for_all_ranks(self):
        """A division of layers, and replicas, cannot hold for fewer."""
        self.kill_each(self.up_surviving(3, placement="layers:1,1,1"), [1])
        daemon = self.up_surviving(4, own=("--replicas", "2"))
        launcher = self.launchers()
        os.kill(self.ranks()[3], signal.SIGKILL)
        self.wait_ranks(3)
        self.assertEqual(self.launchers(), launcher)
        self.assertEqual(self.down(daemon), 0)

    def test_until_one_is_left(self):
        self.kill_each(self.up_surviving(3), [2, 0])

    def test_a_rank_dies_at_rest(self):
        daemon = self.up_surviving(2)
        os.kill(self.ranks()[1], signal.SIGKILL)
        self.wait_ranks(1)
        text, client = self.read("d", 10)
        self.finish("d", text, client)
        self.assertEqual(self.down(daemon), 0)

    def test_all_die(self):
        """Then it is started as ever."""
        daemon = self.up_surviving(2)
        for pid in self.ranks():
            os.kill(pid, signal.SIGKILL)
        wait_for("the start", lambda: self.ranks())
        self.wait_ranks(2)
        self.assertEqual(self.down(daemon), 0)


if __name__ == "__main__":
    why = missing()
    if why:
        print(why)
        sys.exit(77)
    main()
