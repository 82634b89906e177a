# SPDX-License-Identifier: Apache-2.0
"""longwave-run over two hosts: the same bytes as on one, over a link that is
slow or far, with both placements; what does not fit together is refused.

usage: hosts_test.py RUN SOURCE
Programs of the recipes are looked for beside RUN.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

import hosts

SOURCE = sys.argv.pop()
RUN = sys.argv.pop()
CASE = os.path.join(SOURCE, "tests", "golden", "armt-llama-ragged")
LAYERS = 4  # of the model whose hops are timed
RAW = [RUN, "--threads", "1", "--json"]


def read(path):
    with open(path, "rb") as f:
        return f.read()


class TwoHosts(unittest.TestCase):
    def setUp(self):
        self.work = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.work)
        self.ids = os.path.join(CASE, "expected.safetensors")

    def outputs(self, name):
        return [os.path.join(self.work, f"{name}.{kind}")
                for kind in ("logits", "state")]

    def command(self, name, *flags, model=CASE):
        logits, state = self.outputs(name)
        return [*RAW, "--model", model, "--input", self.ids, "--logits",
                logits, "--state", state, *flags]

    def check_same(self, net):
        alone = subprocess.run(self.command("one"), capture_output=True,
                               text=True, timeout=60, check=False)
        self.assertEqual(alone.returncode, 0, alone.stderr)
        for placement in ("layers", "segments"):
            done = net.mpirun(self.work, self.command(
                placement, "--placement", placement))
            self.assertEqual(done.returncode, 0, done.stderr)
            summary = json.loads(done.stdout.splitlines()[-1])
            self.assertEqual(summary["ranks"], 2)
            for a, b in zip(self.outputs("one"), self.outputs(placement)):
                self.assertEqual(read(a), read(b), (placement, a))

    def test_the_same_bytes_over_a_gigabit(self):
        with hosts.Hosts(rate=125e6) as net:
            self.check_same(net)

    def test_the_same_bytes_over_a_far_link(self):
        with hosts.Hosts(rate=125e6, delay=0.005) as net:
            self.assertGreater(net.round_trip(), 0.009)
            self.check_same(net)

    def hop_of_groups(self, net, placement, model, text):
        """How long a hop takes, as a part of a group of one cell; and the part
        of hops that is behind groups."""
        done = net.mpirun(self.work, [
            *RAW, "--model", model, "--input", text, "--all-rows",
            "--placement", placement])
        self.assertEqual(done.returncode, 0, done.stderr)
        got = json.loads(done.stdout.splitlines()[-1])
        hops = got["segments"] - 1
        if placement == "segments":
            hops *= LAYERS
        return (got["hop_seconds"] / hops / (2 * got["seconds"] /
                                             got["cells"]),
                got["hop_hidden_seconds"] / got["hop_seconds"])

    def test_hops_travel_while_groups_run(self):
        """A rank that did not look at its line while a group runs would have
        what hops behind it: a group's time later, or three quarters.  Where
        groups are so slow that hops are next to nothing beside them (a
        sanitizer), how much of them is hidden says little."""
        model = os.path.join(self.work, "model")
        text = os.path.join(self.work, "text")
        subprocess.run(
            [sys.executable, "-B",
             os.path.join(SOURCE, "model", "make_tiny.py"), "--out", model,
             "--layers", str(LAYERS), "--d-model", "512", "--heads", "8",
             "--kv-heads", "8", "--ffn", "1408", "--mem", "16"], check=True,
            stdout=subprocess.DEVNULL)
        with open(text, "w", encoding="utf-8") as f:
            f.write("a ship " * 1500)
        with hosts.Hosts(rate=250e6) as net:
            for placement in ("layers", "segments"):
                times, hidden = min(
                    self.hop_of_groups(net, placement, model, text)
                    for _ in range(3))
                print(f"{placement}: a hop takes {times:.2f} of a group, "
                      f"{hidden:.2f} of it behind groups", file=sys.stderr)
                self.assertLess(times, 0.55, placement)
                self.assertGreater(hidden, 0.5 if times > 0.1 else 0.1,
                                   placement)

    def test_a_link_is_measured(self):
        """No link is taken to be faster than it is, though its shaper lets
        some through at once."""
        with hosts.Hosts(rate=12.5e6) as net:
            done = net.mpirun(self.work, self.command("auto"))
        self.assertEqual(done.returncode, 0, done.stderr)
        plan = json.loads(done.stdout.splitlines()[-1])["plan"]
        for rank in plan["ranks"]:
            self.assertLess(rank["link_bytes_per_second"], 1.3 * 12.5e6)

    def test_the_recipe(self):
        """deploy/cluster.sh: a daemon, and a world over both hosts."""
        hostfile = os.path.join(self.work, "the hosts")
        ends = [f"ipc://{self.work}/{name}" for name in ("clients", "worlds")]
        recipe = os.path.join(SOURCE, "deploy", "cluster.sh")
        environment = {"PATH": os.path.dirname(RUN) + ":"
                       + os.environ["PATH"], **hosts.OMPI}

        def start(*flags):
            return net.start(["sh", recipe, CASE, hostfile, *flags,
                              "--data", os.path.join(self.work, "data"),
                              "--listen", ends[0], "--listen-worlds", ends[1]],
                             environment)

        def status():
            done = subprocess.run(
                [os.path.join(os.path.dirname(RUN), "longwave"), "status",
                 "--json", "--connect", ends[0]], capture_output=True,
                text=True, timeout=20, check=False)
            return json.loads(done.stdout) if done.returncode == 0 else None

        with hosts.Hosts() as net:
            net.write_hostfile(hostfile, 1)
            refused = start("-n", "3")
            self.assertEqual(refused.wait(20), 2)
            self.assertEqual(refused.stderr.read(), "cluster.sh: "
                             f"{hostfile} has 2 slots, 3 ranks were asked "
                             "for\n")
            refused.stderr.close()
            daemon = start("-t", "1", "-i", hosts.NET + ".0/24")
            end = time.monotonic() + 60
            worlds = []
            while not worlds and time.monotonic() < end:
                time.sleep(0.2)
                worlds = [w for w in (status() or {"worlds": []})["worlds"]
                          if w["state"] == "ready"]
            daemon.terminate()
            said = daemon.communicate(timeout=30)[1]
            self.assertEqual([w["ranks"] for w in worlds], [2], said)
            self.assertEqual(daemon.returncode, 0, said)

    def test_other_weights_on_one_host_are_refused(self):
        other = os.path.join(self.work, "model")
        shutil.copytree(CASE, other)
        path = os.path.join(other, "model.safetensors")
        data = bytearray(read(path))
        data[-1] ^= 1
        with open(path, "wb") as f:
            f.write(data)
        script = os.path.join(self.work, "run.sh")
        with open(script, "w", encoding="utf-8") as f:
            f.write("#!/bin/sh\n"
                    "model=$1; other=$2; shift 2\n"
                    "[ \"$OMPI_COMM_WORLD_RANK\" = 1 ] && model=$other\n"
                    "exec \"$@\" --model \"$model\"\n")
        os.chmod(script, 0o755)
        with hosts.Hosts() as net:
            done = net.mpirun(self.work, [script, CASE, other, *RAW, "--input",
                                          self.ids])
        self.assertEqual(done.returncode, 2, done.stderr)
        said = [line for line in done.stderr.splitlines()
                if line.startswith("longwave-run")]
        self.assertEqual(len(said), 1, done.stderr)
        self.assertIn("rank 1 differs from rank 0 in its weights", said[0])


if __name__ == "__main__":
    reason = hosts.missing()
    if reason:
        print(f"skipped: {reason}")
        sys.exit(77)
    unittest.main()
