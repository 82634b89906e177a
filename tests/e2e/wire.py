# SPDX-License-Identifier: Apache-2.0
"""Peers that speak ZeroMQ's and protobuf's bytes themselves, so that a test
can say what no honest client would.  ZMTP 3.1 without security, as a DEALER."""
import os
import pathlib
import re
import select
import socket
import struct
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"NULL".ljust(20, b"\0") \
    + bytes(32)
READY = b"\x05READY\x0bSocket-Type\0\0\0\x06DEALER"
WAIT = 60 if os.environ.get("LONGWAVE_SANITIZED") else 20
JOBS = (1 << 24) - 1  # the request of Peer.jobs()


# ------------------------------------------------------------------ protobuf
def varint(n):
    n &= (1 << 64) - 1
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def number(field, value):
    return varint(field << 3) + varint(value)


def real(field, value, form="<d"):
    return varint(field << 3 | (1 if form == "<d" else 5)) \
        + struct.pack(form, value)


def text(field, value):
    value = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(value)) + value


def fields(data):
    """[(field number, value)] of a message; lengths are left as bytes."""
    out = []
    at = 0

    def take():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        tag = take()
        if tag & 7 == 0:
            value = take()
        elif tag & 7 == 2:
            n = take()
            value, at = data[at:at + n], at + n
        else:
            n = 8 if tag & 7 == 1 else 4
            value, at = data[at:at + n], at + n
        out.append((tag >> 3, value))
    return out


def varints(data):
    """The numbers of a packed field."""
    out, value, shift = [], 0, 0
    for byte in data:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            out.append(value)
            value = shift = 0
    return out


class Proto:
    """Names and numbers of a .proto of the project."""

    def __init__(self, which):
        source = re.sub(r"//.*", "",
                        (ROOT / f"proto/{which}.proto").read_text())
        source = re.sub(r"oneof body \{(.*?)\}", r"\1", source,
                        flags=re.DOTALL)
        self.message = {}  # name: [(type, name, number)]
        for match in re.finditer(r"message (\w+) \{(.*?)\}", source,
                                 re.DOTALL):
            self.message[match.group(1)] = [
                (kind, name, int(n)) for kind, name, n in re.findall(
                    r"(?:repeated )?(\w+) (\w+) = (\d+)", match.group(2))]
        top = f"{which.capitalize()}Message"
        self.body = {name: (kind, n) for kind, name, n in self.message[top]
                     if n >= 10}
        self.enums = set(re.findall(r"enum (\w+)", source))


CLIENT = Proto("client")
WORLD = Proto("world")


def client_message(body, inner, request=1, major=1):
    return number(1, major) + number(2, 1) + number(3, request) \
        + text(CLIENT.body[body][1], inner)


def world_message(body, inner, incarnation=0, job=0, attempt=0):
    return number(1, 1) + number(2, 1) + number(3, incarnation) \
        + number(4, job) + number(5, attempt) + text(WORLD.body[body][1], inner)


# ---------------------------------------------------------------------- ZMTP
def connect(endpoint):
    """A socket that has said nothing yet."""
    if endpoint.startswith("ipc://"):
        s = socket.socket(socket.AF_UNIX)
        s.connect(endpoint[6:])
    else:
        host, port = endpoint[6:].rsplit(":", 1)
        s = socket.create_connection((host, int(port)))
    s.settimeout(WAIT)
    return s


class Peer:
    """One connection that has shaken hands."""

    def __init__(self, endpoint):
        self.socket = connect(endpoint)
        self.data = b""
        self.socket.sendall(GREETING)
        self.take(64)
        self.socket.sendall(b"\x04" + bytes([len(READY)]) + READY)
        self.frame()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def take(self, n):
        while len(self.data) < n:
            more = self.socket.recv(1 << 16)
            if not more:
                raise ConnectionError("hung up on")
            self.data += more
        out, self.data = self.data[:n], self.data[n:]
        return out

    def frame(self):
        """(flags, bytes) of the next frame."""
        flags = self.take(1)[0]
        size = struct.unpack(">Q", self.take(8))[0] if flags & 2 \
            else self.take(1)[0]
        return flags, self.take(size)

    def send(self, *frames):
        out = b""
        for i, data in enumerate(frames):
            more = i + 1 < len(frames)
            out += bytes([2 | more]) + struct.pack(">Q", len(data)) + data
        self.socket.sendall(out)

    def part(self, data):
        """A frame of a message that goes on."""
        self.socket.sendall(b"\x03" + struct.pack(">Q", len(data)) + data)

    def announce(self, size):
        """The head of a frame of which nothing follows."""
        self.socket.sendall(b"\x02" + struct.pack(">Q", size))

    def receive(self):
        """The frames of the next message; commands are passed over."""
        out = []
        while True:
            flags, data = self.frame()
            if flags & 4:
                continue
            out.append(data)
            if not flags & 1:
                return out

    def replies(self, requests):
        """{request: (body's name, {field: value})}: the next reply to each,
        in whatever order they come."""
        end = time.monotonic() + WAIT
        names = {n: name for name, (_, n) in CLIENT.body.items()}
        out = {}
        while len(out) < len(requests):
            if time.monotonic() > end:
                raise AssertionError("no reply")
            found = dict(fields(self.receive()[0]))
            request = found.get(3, 0)
            if request in requests and request not in out:
                body = next(n for n in found if n >= 10)
                out[request] = names[body], dict(fields(found[body]))
        return out

    def reply(self, request):
        """The next one to this request."""
        return self.replies([request])[request]

    def jobs(self):
        """{field: value} of every job, numbers as they are."""
        names = {n: name for _, name, n in CLIENT.message["Job"]}
        listed = CLIENT.body["job_list"][1]
        self.send(client_message("jobs", b"", JOBS))
        while True:
            found = dict(fields(self.receive()[0]))
            if found.get(3) != JOBS or listed not in found:
                continue
            rows = ({names[n]: value for n, value in fields(item)}
                    for _, item in fields(found[listed]))
            return [{**dict.fromkeys(names.values(), 0), **row}
                    for row in rows]

    def is_hung_up_on(self, seconds=WAIT):
        """Whether the other side closes within some seconds."""
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.socket], [], [], left)[0]:
                return False
            try:
                if not self.socket.recv(1 << 16):
                    return True
            except ConnectionError:
                return True
