# SPDX-License-Identifier: Apache-2.0
"""deploy/cluster.sh and slurm.sbatch without a cluster: what they start, and
what they refuse before anything starts; and what mpirun says by itself of too
few slots.

usage: recipe_test.py RUN SOURCE
"""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

SOURCE = sys.argv.pop()
RUN = sys.argv.pop()
MODEL = os.path.join(SOURCE, "tests", "golden", "armt-llama")
RECIPE = os.path.join(SOURCE, "deploy", "cluster.sh")
SBATCH = os.path.join(SOURCE, "deploy", "slurm.sbatch")


class Recipe(unittest.TestCase):
    def setUp(self):
        self.work = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.work)
        self.write("longwaved", "#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
        os.chmod(os.path.join(self.work, "longwaved"), 0o755)

    def write(self, name, text):
        path = os.path.join(self.work, name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        return path

    def start(self, *args):
        path = self.work + ":" + os.environ["PATH"]
        return subprocess.run(["sh", RECIPE, *args], capture_output=True,
                              text=True, timeout=20, check=False,
                              env=dict(os.environ, PATH=path))

    def started(self, *args):
        """The command that the daemon is given, and its other flags."""
        done = self.start(MODEL, *args)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        model, value, launch, command, *rest = done.stdout.splitlines()
        self.assertEqual([model, value, launch],
                         ["--model", MODEL, "--launch"])
        return command, rest

    def refused(self, sentence, *args):
        done = self.start(*args)
        self.assertEqual((done.returncode, done.stdout, done.stderr),
                         (2, "", f"cluster.sh: {sentence}\n"))

    def test_every_slot_has_a_rank(self):
        hosts = self.write("the hosts", "# slots=9\nhead slots=2 # two\n\n"
                           "node1\nnode2 slots = 3\n")
        command, rest = self.started(hosts, "--data", "there")
        self.assertEqual(command, f"exec mpirun --hostfile '{hosts}' -n 6 "
                         "--bind-to none longwave-worker --model "
                         f"'{MODEL}' ")
        self.assertEqual(rest, ["--data", "there"])
        self.assertIn(" -n 4 ", self.started(hosts, "-n", "4")[0])
        self.assertTrue(self.started(hosts, "-t", "3")[0]
                        .endswith(" --threads 3"))

    def test_what_does_not_fit_is_refused(self):
        hosts = self.write("hosts", "head slots=2\nnode1\n")
        none = self.write("none", "# no host\n")
        self.refused(f"{hosts} has 3 slots, 4 ranks were asked for", MODEL,
                     hosts, "-n", "4")
        self.refused(f"{none} names no host", MODEL, none)
        self.refused(f"{none} names no host", MODEL, none, "-n", "1")
        self.refused(f"there is no hostfile {hosts}.no", MODEL, hosts + ".no")
        self.refused(f"there is no model in {self.work}", self.work, hosts)
        for ranks in ("x", "-1", "99999999999999999999"):
            self.refused(f'"{ranks}" is no number of ranks', MODEL, hosts,
                         "-n", ranks)
        self.refused(f"there is no hostfile {self.work}", MODEL, self.work)

    def test_flags_that_no_world_takes_are_refused(self):
        """A world with such a command line would end each time it starts."""
        hosts = self.write("hosts", "head slots=2\nnode1\n")
        for threads in ("abc", "-1", "1.5", "2 --fast", "99999999"):
            self.refused(f'"{threads}" is no number of threads', MODEL, hosts,
                         "-t", threads)
        self.refused("a rank has at most 1024 threads", MODEL, hosts, "-t",
                     "1025")
        for network in ("10.0.0.0/24 -n 9", "$(id)", "--mca", "a;b"):
            self.refused(f'"{network}" is no network', MODEL, hosts, "-i",
                         network)
        for flag in ("-n", "-t", "-i"):
            self.refused(f"{flag} needs a value", MODEL, hosts, flag)
            self.refused(f"{flag} needs a value", MODEL, hosts, flag, "")
        odd = self.write("o'dd", "head\n")
        self.refused("a path with ' in it cannot be handed on", MODEL, odd)
        for network in ("10.0.0.0/24", "fd00::/8", "eth0,ib_1"):
            self.assertIn(f" --mca btl_tcp_if_include {network} ",
                          self.started(hosts, "-i", network, "-t", "0")[0])
        shown = self.start("--help")
        self.assertEqual((shown.returncode, shown.stderr), (0, ""))
        self.assertIn("usage: cluster.sh MODEL", shown.stdout)

    def slurm(self, kinds, *args, daemon="exit 3", **variables):
        """The script in an allocation of four tasks, whose srun knows `kinds`
        of MPI, and a daemon that does `daemon`."""
        for name, text in (("srun", f"echo '{kinds}' >&2"), ("longwaved",
                           f"printf '%s\\n' \"$@\"\n{daemon}")):
            os.chmod(self.write(name, f"#!/bin/sh\n{text}\n"), 0o755)
        return subprocess.Popen(
            ["bash", SBATCH, *args], stdout=subprocess.PIPE, text=True,
            stderr=subprocess.PIPE,
            env={**os.environ, "SLURM_NTASKS": "4", **variables,
                 "PATH": self.work + ":" + os.environ["PATH"]})

    def test_slurm_starts_a_world_of_all_tasks(self):
        for kinds, start in (("none pmi2", "mpirun -n 4 --bind-to none"),
                             ("none pmix pmix_v4", "srun --mpi=pmix")):
            for variables, threads in (({}, 0),
                                       ({"SLURM_CPUS_PER_TASK": "6"}, 6)):
                script = self.slurm(kinds, MODEL, "/there", **variables)
                out, err = script.communicate(timeout=20)
                self.assertEqual((script.returncode, err), (3, ""))
                self.assertEqual(out.splitlines(), [
                    "--model", MODEL, "--data", "/there", "--launch",
                    f"exec {start} longwave-worker --model '{MODEL}' "
                    f"--threads {threads}"])
        script = self.slurm("none", MODEL)
        self.assertIn("usage: sbatch", script.communicate(timeout=20)[1])
        self.assertEqual(script.returncode, 2)

    def test_slurm_refuses_what_cannot_start(self):
        for flags, variables, says in (
                (["a 'model'", "/there"], {}, "a path with ' in it"),
                ([MODEL, "/there"], {"SLURM_NTASKS": ""}, "no allocation")):
            script = self.slurm("none", *flags, **variables)
            out, err = script.communicate(timeout=20)
            self.assertEqual((script.returncode, out), (2, ""))
            self.assertRegex(err, f"^slurm.sbatch: .*{says}.*\n$")

    def test_slurm_lets_the_daemon_end(self):
        """The signal of an allocation's end is the daemon's, and its end the
        script's."""
        script = self.slurm("none", MODEL, "/there", daemon=(
            "trap 'sleep 0.3; echo ended; exit 5' TERM\necho up\n"
            "while :; do sleep 0.05; done"))
        lines = iter(script.stdout.readline, "")
        self.assertIn("up\n", lines)
        script.terminate()
        out, err = script.communicate(timeout=20)
        self.assertEqual((script.returncode, out, err), (5, "ended\n", ""))

    def test_mpirun_starts_none_where_slots_are_missing(self):
        """It says so at length, and with a status of its own."""
        hosts = self.write("hosts", "localhost slots=2\n")
        own = {"OMPI_ALLOW_RUN_AS_ROOT": "1",
               "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        env = {name: value for name, value in os.environ.items()
               if "oversubscribe" not in name}
        done = subprocess.run(
            ["mpirun", "--hostfile", hosts, "-n", "3", RUN, "--version"],
            capture_output=True, text=True, timeout=60, check=False,
            env={**env, **own})
        self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
        self.assertIn("slots", done.stderr)


if __name__ == "__main__":
    unittest.main()
