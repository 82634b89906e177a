# SPDX-License-Identifier: Apache-2.0
"""Ranks that stand still where the rest of their world does not show it."""
import os
import signal
import time

import wire
from harness import BIN, MPIRUN, WAIT, main, wait_for
from reading import DONE, LAYERS, RUNNING, SOON, Reading, Slowed, crowd

HANG = 2  # seconds without a step


class Hangs(Reading):
    def up_replicas(self, n):
        """A daemon whose world is `n` replicas of one rank each."""
        command = " ".join(["exec", *MPIRUN, "-n", str(n),
                            str(BIN / "longwave-worker"), "--model",
                            str(self.model), "--replicas", str(n)])
        daemon = self.start("--launch", command, *SOON, "--hang-seconds",
                            str(HANG), data=self.data)
        self.wait_worlds(1)
        return daemon

    def n_blamed(self, why):
        return sum(text.startswith("the world of 2 ranks hangs: no " + why)
                   for text in self.incidents())

    def test_t13_one_of_two_replicas_hangs(self):
        """It is found out while the other one reads on, however slowly.  Both readings are suspects then: one waits for the
        other."""
        daemon = self.up_replicas(2)
        old = self.ranks()
        with Slowed(old, HANG / 10) as slowed, \
                wire.Peer(self.endpoint) as peer:
            texts = [self.read(name, 400) for name in "ab"]
            for name in "ab":
                self.wait_checkpoint(name)
            slowed.halt(old[1])
            wait_for("another attempt", lambda: any(
                j["attempts"] > 1 and j["state"] == RUNNING
                for j in peer.jobs()))
            self.assertNotIn(DONE, [j["state"] for j in peer.jobs()])
        self.assertTrue(self.n_blamed("step"))
        self.assertFalse(set(old) & set(self.ranks()))
        for name, (text, client) in zip("ab", texts):
            self.assertGreater(self.finish(name, text, client)["attempts"], 1)
        self.assertEqual(self.down(daemon), 0)

    def hang_at_rest(self, placement):
        daemon = self.up(2, "--hang-seconds", str(HANG), "--placement",
                         placement)
        self.wait_worlds(1)
        old = self.ranks()
        os.kill(old[1], signal.SIGSTOP)
        start = time.monotonic()
        wait_for("blame", lambda: self.n_blamed("answer"))
        took = time.monotonic() - start
        self.assertLess(took, HANG + 1 + 5 * crowd())  # asked every second
        wait_for("another world", lambda: len(self.ranks()) == 2 and not
                 set(self.ranks()) & set(old))
        text, client = self.read("d", 10)
        self.finish("d", text, client)
        self.assertEqual(self.down(daemon), 0)

    def test_t13_a_rank_hangs_while_it_rests(self):
        self.hang_at_rest("segments")

    def test_t13_a_rank_hangs_that_holds_no_layers(self):
        """It has nothing to do ever."""
        self.hang_at_rest(f"layers:{LAYERS},0")

    def test_worlds_do_not_outlive_their_daemon(self):
        """Who was not started by it ends by itself after 10 s, also where a
        rank hangs: then it takes as long once more."""
        daemon = self.start(data=self.data)
        ends = []
        for n in range(2):
            known = set(self.ranks())
            mpirun = self.start_world(2)
            self.wait_worlds(n + 1)
            ends.append((mpirun, sorted(set(self.ranks()) - known)))
        os.kill(ends[1][1][1], signal.SIGSTOP)
        daemon.kill()
        start = time.monotonic()
        for mpirun, _ in ends:
            self.assertNotEqual(mpirun.wait(WAIT), 0)
        took = time.monotonic() - start
        self.assertTrue(15 < took < 20 + 5 * crowd(), took)
        self.assertIn("is gone: silent for 10",
                      (self.dir / "world.log").read_text())
        self.assertEqual(self.ranks(), [])


if __name__ == "__main__":
    main()
