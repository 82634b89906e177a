# SPDX-License-Identifier: Apache-2.0
"""A daemon, its workers and clients under test, in a directory of their own.

Needs nothing but Python and the programs in LONGWAVE_BIN.  Every wait is
bounded; whatever a test started is gone when it ends, and that is checked.
"""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

BIN = pathlib.Path(os.environ["LONGWAVE_BIN"])
ROOT = pathlib.Path(__file__).resolve().parents[2]
SEGMENT = 16
# Seconds that nothing here should take, on a loaded machine too: with a sanitizer
# a world alone needs 5 to 10 to start when others want the cores as well.
WAIT = 180 if os.environ.get("LONGWAVE_SANITIZED") else 60
MODEL_FLAGS = ["--layers", "3", "--d-model", "32", "--heads", "2",
               "--kv-heads", "1", "--ffn", "64", "--segment", str(SEGMENT),
               "--mem", "4", "--d-mem", "8"]
# Drawn tokens differ from place to place where the likeliest may not.
ANSWER = ["--generate", "8", "--ignore-eos", "--temperature", "1", "--min-p",
          "0.01", "--seed", "3"]
MPIRUN = ["mpirun", "--oversubscribe", "--bind-to", "none", "--mca",
          "odls_base_sigkill_timeout", "0"]
SHARED = pathlib.Path("/dev/shm")
# Of directories that were removed without their daemon's help: a new one may
# have the number of an old one.
FOREIGN = set(SHARED.glob("longwave-*"))
if os.geteuid() == 0:
    MPIRUN.append("--allow-run-as-root")
os.umask(0o022)  # what others may write is refused, whoever runs this


def wait_for(what, check, seconds=WAIT):
    """The first true value of check(), within some seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = check()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"{what} did not happen within {seconds} s")


def processes_of(directory):
    """Processes that have the directory's name in their command line."""
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
            state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            continue
        if str(directory).encode() in line and state != "Z":
            found[int(entry.name)] = line.decode(errors="replace")
    return found


def shared_memory_of(directory):
    """What worlds of the daemons below the directory have in shared memory:
    nothing once a daemon has ended, or has recovered."""
    heads = [f"longwave-{info.st_dev:x}-{info.st_ino:x}-*"
             for info in (p.stat() for p in directory.iterdir()
                          if p.is_dir())]
    return [p for head in heads for p in SHARED.glob(head)
            if p not in FOREIGN]


def text_of(n):
    """n bytes of text, which are n tokens, that do not repeat soon."""
    words = "the whale and sea of grey men in ships who saw no land".split()
    out = []
    size = 0
    i = 7
    while size <= n:
        i = (i * 48271) % 2147483647
        word = words[i % len(words)] + " "
        out.append(word)
        size += len(word)
    return "".join(out)[:n]


class Place(unittest.TestCase):
    """A scratch directory with a model; subclasses start what they need."""

    @classmethod
    def setUpClass(cls):
        cls.dir = pathlib.Path(tempfile.mkdtemp(prefix="longwave-e2e-"))
        cls.model = cls.dir / "model"
        cls.endpoint = f"ipc://{cls.dir}/client.sock"
        cls.worlds = f"ipc://{cls.dir}/world.sock"
        cls.running = []
        subprocess.run([sys.executable, ROOT / "model/make_tiny.py", "--out",
                        cls.model, *MODEL_FLAGS], check=True, timeout=WAIT)

    @classmethod
    def tearDownClass(cls):
        for process in cls.running:
            if process.poll() is None:
                process.kill()
                process.wait(WAIT)
        for pid in processes_of(cls.dir):
            os.kill(pid, signal.SIGKILL)
        for place in shared_memory_of(cls.dir):
            shutil.rmtree(place, ignore_errors=True)
        shutil.rmtree(cls.dir)

    # ------------------------------------------------------------- daemon
    @classmethod
    def start(cls, *flags, data="data", log="daemon.log", program=BIN,
              **environment):
        """Starts a longwaved and waits until it serves; it says where, if a
        port was left to it."""
        command = [program / "longwaved", "--model", cls.model, "--listen",
                   cls.endpoint, "--listen-worlds", cls.worlds, "--data",
                   cls.dir / data, "--threads", "1", "--json", *flags]
        with open(cls.dir / log, "ab") as err:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=err,
                env={**os.environ, **environment})
        process.log = cls.dir / log
        cls.running.append(process)
        line = process.stdout.readline()
        if not line:
            process.wait(WAIT)
            raise AssertionError((cls.dir / log).read_text())
        told = json.loads(line)
        cls.endpoint, cls.worlds = told["listen"], told["listen_worlds"]
        return process

    @classmethod
    def start_world(cls, ranks, *flags):
        """A world of its own, started as on a cluster."""
        # Open MPI unloads its plug-ins before their leaks are looked at, so
        # that no suppression knows them; the exit status is to be ours.
        env = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
        with open(cls.dir / "world.log", "ab") as err:
            process = subprocess.Popen(
                [*MPIRUN, "-n", str(ranks), BIN / "longwave-worker", "--model",
                 cls.model, "--daemon", cls.worlds, "--threads", "1", *flags],
                stdin=subprocess.DEVNULL, stdout=err, stderr=err, env=env)
        cls.running.append(process)
        return process

    @classmethod
    def ranks(cls):
        """Processes of worlds, in the order of their numbers."""
        return sorted(pid for pid, line in processes_of(cls.dir).items()
                      if line.split()[0].endswith("/longwave-worker"))

    @classmethod
    def wait_worlds(cls, n):
        def ready():
            worlds = cls.status()["worlds"]
            return sum(w["state"] == "ready" for w in worlds) == n
        wait_for(f"{n} worlds", ready)

    @classmethod
    def stop(cls, process):
        """Orderly: exit status 0, no process and no socket left."""
        cls.call("shutdown")
        return cls.ended(process)

    @classmethod
    def ended(cls, process):
        code = process.wait(WAIT)
        process.stdout.close()
        if code != 0:  # as some tests expect, but others must be told why
            print(process.log.read_text(errors="replace")[-8000:],
                  file=sys.stderr)
        wait_for("the end of all processes",
                 lambda: not processes_of(cls.dir))
        left = sorted(p.name for p in cls.dir.glob("*.sock"))
        assert not left, f"sockets are left: {left}"
        left = shared_memory_of(cls.dir)
        assert not left, f"shared memory is left: {left}"
        return code

    # ------------------------------------------------------------- client
    @classmethod
    def client(cls, *arguments, **options):
        return subprocess.run(
            [BIN / "longwave", *map(str, arguments), "--connect",
             cls.endpoint, "--json"], capture_output=True, timeout=WAIT,
            **options)

    @classmethod
    def start_client(cls, *arguments):
        process = subprocess.Popen(
            [BIN / "longwave", *map(str, arguments), "--connect",
             cls.endpoint, "--json"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        cls.running.append(process)
        return process

    @classmethod
    def call(cls, *arguments, **options):
        """The JSON object of a command that must succeed."""
        done = cls.client(*arguments, **options)
        if done.returncode != 0:
            raise AssertionError(f"{arguments}: {done.stderr.decode()}")
        return json.loads(done.stdout.splitlines()[-1])

    @classmethod
    def status(cls):
        return cls.call("status")

    @classmethod
    def add(cls, name, text):
        return cls.call("add", "-", "--name", name,
                        input=text if isinstance(text, bytes)
                        else text.encode())

    @classmethod
    def ask(cls, name, question, *flags):
        return cls.call("ask", name, question, *ANSWER, *flags)

    def refused(self, *arguments, code=2, says="", **options):
        """The command fails with one sentence that says so."""
        done = self.client(*arguments, **options)
        said = done.stderr.decode()
        self.assertEqual(done.returncode, code, said)
        sentence = said.splitlines()[-1]
        self.assertIn(says, sentence)
        self.assertEqual(said.count("error:"), 1, said)

    # ---------------------------------------------------------- reference
    @classmethod
    def run_alone(cls, text, question, *flags):
        """The ids of one run over document and question together."""
        return cls.summary_alone(text, question, *flags)["generated_ids"]

    @classmethod
    def summary_alone(cls, text, question, *flags):
        """All that the run says."""
        path = cls.dir / "input.txt"
        path.write_text(text)
        done = subprocess.run(
            [BIN / "longwave-run", "--model", cls.model, "--input", path,
             "--question", question, *ANSWER, "--threads", "1", "--json",
             *flags],
            capture_output=True, timeout=WAIT)
        if done.returncode != 0:
            raise AssertionError(done.stderr.decode())
        return json.loads(done.stdout.splitlines()[-1])


class FreshPlace(Place):
    """Every test has a data directory of its own, named after it, and leaves
    no process behind."""

    def setUp(self):
        self.data = self.id().rsplit(".", 1)[-1]
        FOREIGN.update(SHARED.glob("longwave-*"))  # of tests that failed

    def tell(self):
        """What somebody needs who was not there when it failed."""
        result = self._outcome and getattr(self._outcome, "result", None)
        failures = getattr(result, "failures", []) + \
            getattr(result, "errors", [])
        if not any(test is self for test, _ in failures):
            return
        for pid, line in processes_of(self.dir).items():
            print(f"{pid}: {line}", file=sys.stderr)
        for log in sorted(self.dir.glob("*.log")):
            print(f"--- {log.name}", log.read_text(errors="replace")[-4000:],
                  sep="\n", file=sys.stderr)

    def tearDown(self):
        self.tell()
        for pid in processes_of(self.dir):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for process in self.running:
            if process.poll() is None:
                process.kill()
            process.wait(WAIT)
            for pipe in (process.stdout, process.stderr, process.stdin):
                if pipe:
                    pipe.close()
        self.running.clear()
        wait_for("the end of all processes",
                 lambda: not processes_of(self.dir))
        for path in self.dir.glob("*.sock"):
            path.unlink()


def main():
    unittest.main(verbosity=2)
