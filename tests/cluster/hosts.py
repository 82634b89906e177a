# SPDX-License-Identifier: Apache-2.0
"""Two hosts on one machine: network namespaces with addresses of their own
and a link between them whose rate, and delay, can be set.

Needs root and iproute2.  What is made here is taken away on exit, whatever
happens in between.
"""
import os
import signal
import socket
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
NET = "10.77.0"
# Flags of mpirun, as its variables; the launcher of 5 has its own.
OMPI = {"OMPI_MCA_plm_rsh_agent": os.path.join(HERE, "agent.sh"),
        "PRTE_MCA_plm_ssh_agent": os.path.join(HERE, "agent.sh"),
        "OMPI_MCA_btl": "self,tcp", "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
ECHO = """
import socket, sys
s = socket.create_server((sys.argv[1], 0))
print(s.getsockname()[1], flush=True)
c = s.accept()[0]
while c.send(c.recv(1)): pass
"""
CLOCK = """
import socket, sys, time
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 10)
best = 10
for i in range(5):
    start = time.monotonic()
    s.send(b"x"), s.recv(1)
    best = min(best, time.monotonic() - start)
print(best)
"""


def missing():
    """Why hosts cannot be made here, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    name = f"lwprobe{os.getpid()}"
    try:
        made = subprocess.run(["ip", "netns", "add", name],
                              capture_output=True, text=True, timeout=20)
    except FileNotFoundError:
        return "iproute2 is not installed"
    if made.returncode != 0:
        return f"no network namespaces here: {made.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", name], check=True, timeout=20)
    return None


def ip(*args):
    subprocess.run(["ip", *args], check=True, timeout=20)


class Hosts:
    """`rate` in bytes a second or None; `delay` in seconds, one way."""

    def __init__(self, rate=None, delay=0.0):
        self.rate, self.delay = rate, delay
        tag = f"lw{os.getpid() % 100000}"
        self.names = [f"{tag}a", f"{tag}b"]
        self.devices = [f"{tag}v0", f"{tag}v1"]
        self.addresses = [f"{NET}.1", f"{NET}.2"]
        self.relays = []

    def __enter__(self):
        try:
            for name in self.names:
                ip("netns", "add", name)
                ip("-n", name, "link", "set", "lo", "up")
            if self.delay > 0 and not self._can_delay():
                self._link_by_relay()
            else:
                self._link_by_veth()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_):
        for relay in self.relays:
            relay.kill()
            relay.wait()
            relay.stdout.close()
        for name in self.names:
            for pid in subprocess.run(["ip", "netns", "pids", name],
                                      capture_output=True, text=True,
                                      timeout=20).stdout.split():
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    pass
            subprocess.run(["ip", "netns", "del", name], capture_output=True,
                           timeout=20)

    def _up(self):
        for name, dev, address in zip(self.names, self.devices,
                                      self.addresses):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", dev)
            ip("-n", name, "link", "set", dev, "up")

    def _link_by_veth(self):
        a, b = self.names
        ip("link", "add", self.devices[0], "netns", a, "type", "veth", "peer",
           "name", self.devices[1], "netns", b)
        self._up()
        for name, dev in zip(self.names, self.devices):
            if self.rate or self.delay > 0:
                subprocess.run(self._shaper(name, dev), check=True, timeout=20)

    def _shaper(self, name, dev):
        rate = ["rate", f"{int(self.rate * 8)}bit"] if self.rate else []
        how = ["tbf", *rate, "burst", "256kb", "latency", "50ms"]
        if self.delay > 0:
            how = ["netem", "delay", f"{int(self.delay * 1e6)}us", *rate,
                   "limit", "10000"]
        return ["tc", "-n", name, "qdisc", "add", "dev", dev, "root", *how]

    def _can_delay(self):
        """Whether this kernel's shaper delays, which is tried on a device."""
        name = self.names[0]
        done = subprocess.run(self._shaper(name, "lo"), capture_output=True,
                              timeout=20)
        if done.returncode == 0:
            subprocess.run(["tc", "-n", name, "qdisc", "del", "dev", "lo",
                            "root"], check=True, timeout=20)
        return done.returncode == 0

    def _link_by_relay(self):
        ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for name, dev, end in zip(self.names, self.devices, ends):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            ip("-n", name, "tuntap", "add", "dev", dev, "mode", "tun")
            self.relays.append(subprocess.Popen(
                ["ip", "netns", "exec", name, sys.executable, "-B",
                 os.path.join(HERE, "relay.py"), dev, str(end.fileno()),
                 str(self.delay), str(self.rate or 1e12)],
                pass_fds=[end.fileno()], stdout=subprocess.PIPE, text=True))
        for end in ends:
            end.close()
        for relay in self.relays:
            if not relay.stdout.readline():
                raise RuntimeError("a relay does not start")
        self._up()

    def round_trip(self):
        """Seconds that a byte takes to the other host and back, the least of
        five."""
        server = subprocess.Popen(
            ["ip", "netns", "exec", self.names[1], sys.executable, "-c",
             ECHO, self.addresses[1]], stdout=subprocess.PIPE, text=True)
        try:
            port = server.stdout.readline().strip()
            out = subprocess.run(
                ["ip", "netns", "exec", self.names[0], sys.executable, "-c",
                 CLOCK, self.addresses[1], port], capture_output=True,
                text=True, timeout=20, check=True).stdout
        finally:
            server.kill()
            server.wait()
            server.stdout.close()
        return float(out)

    def write_hostfile(self, path, slots):
        with open(path, "w", encoding="utf-8") as f:
            for address in self.addresses:
                f.write(f"{address} slots={slots}\n")

    def _pairs(self):
        return " ".join(f"{a}={n}" for a, n in zip(self.addresses,
                                                   self.names))

    def start(self, command, env):
        """Starts a program on the first host."""
        return subprocess.Popen(
            ["ip", "netns", "exec", self.names[0], *command],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env={**os.environ, **env, "HOSTS": self._pairs()})

    def mpirun(self, work, command, slots=1, n=2, timeout=120, env=None):
        """Runs `command` on n ranks dealt out to both hosts."""
        hostfile = os.path.join(work, "hosts")
        self.write_hostfile(hostfile, slots)
        # What the plug-in for TCP keeps cannot be told from leaks of ours:
        # it is unloaded by then.  On one host leaks are looked for.
        env = {"ASAN_OPTIONS": "detect_leaks=0", **(env or {})}
        exported = [word for name in env for word in ("-x", name)]
        return subprocess.run(
            ["ip", "netns", "exec", self.names[0], "mpirun",
             "--allow-run-as-root", "--hostfile", hostfile, "-n", str(n),
             "--mca", "plm_rsh_agent", os.path.join(HERE, "agent.sh"),
             "--mca", "btl", "self,tcp", "--mca", "btl_tcp_if_include",
             f"{NET}.0/24", "--mca", "oob_tcp_if_include", f"{NET}.0/24",
             "--bind-to", "none", *exported, *command], capture_output=True,
            text=True, timeout=timeout, check=False,
            env={**os.environ, **env, "HOSTS": self._pairs()})
