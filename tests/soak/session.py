# SPDX-License-Identifier: Apache-2.0
"""One connection to a daemon as an outside client has it: ZeroMQ's bytes and
protobuf's from tests/e2e/wire.py, none of the project's libraries.  Replies
are dictionaries; a connection that goes is an OSError."""
import hashlib
import pathlib
import select
import struct
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from wire import CLIENT, Peer, client_message, fields, number, real, \
    text  # noqa: E402

INLINE = 65536
CHUNK = 1 << 20
BODIES = {n: (name, kind) for name, (kind, n) in CLIENT.body.items()}
LISTS = {"generated_ids", "state_norm"}
NESTED = {"Job", "Document", "World"}


def packed(data):
    """The varints of a packed field, as int32."""
    out = []
    value = shift = 0
    for byte in data:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            value &= 0xffffffff
            out.append(value - (1 << 32) if value >> 31 else value)
            value = shift = 0
    return out


def decode(kind, data):
    """{name: value} of a message; what is absent has its default."""
    schema = {n: (k, name) for k, name, n in CLIENT.message[kind]}
    out = {}
    for k, name, _ in CLIENT.message[kind]:
        if name == "generated_ids" or k in NESTED:
            out[name] = []
        else:
            out[name] = "" if k in ("string", "bytes") else 0
    for n, value in fields(data):
        k, name = schema.get(n, (None, None))
        if k in NESTED:
            out[name].append(decode(k, value))
        elif name == "generated_ids":
            out[name] += packed(value)
        elif k in ("double", "float"):
            out[name] = struct.unpack("<d" if k == "double" else "<f",
                                      value)[0] if len(value) in (4, 8) else 0
        elif k in ("string", "bytes"):
            out[name] = value.decode(errors="replace")
        elif name:
            out[name] = value
    return out


def put(kind, **values):
    """The bytes of a message."""
    schema = {name: (k, n) for k, name, n in CLIENT.message[kind]}
    out = b""
    for name, value in values.items():
        k, n = schema[name]
        if k in ("double", "float"):
            out += real(n, value, "<d" if k == "double" else "<f")
        elif k in ("string", "bytes", "Sampling"):
            out += text(n, value)
        else:
            out += number(n, int(value))
    return out


class Session(Peer):
    """`next(seconds)` gives (request, body's name, values) or None."""

    def __init__(self, endpoint):
        super().__init__(endpoint)
        self.socket.settimeout(20)
        self.last = 0
        self.more = []  # frames of a message that has not ended

    def fileno(self):
        return self.socket.fileno()

    def ask_for(self, body, inner=b"", raw=None):
        """Sends one request; its number."""
        self.last += 1
        self.send(client_message(body, inner, self.last),
                  *([] if raw is None else [raw]))
        return self.last

    def ask_for_more(self, request, offset, piece):
        """Sends a piece of the input of a request."""
        self.send(client_message("chunk", put("Chunk", offset=offset),
                                 request), piece)

    def add(self, name, data, seconds=60):
        """Submits a document of any length; its request, acknowledged."""
        request = self.ask_for(*add_request(name, data, ""))
        sent = 0
        while True:
            m = self.wait_for(request, ("more_input", "accepted"), seconds)
            if m is None:
                raise ConnectionError("no acknowledgement")
            if "job" in m:
                return request
            while sent < min(m["input_credit"], len(data)):
                piece = data[sent:min(sent + CHUNK, m["input_credit"])]
                self.ask_for_more(request, sent, piece)
                sent += len(piece)

    def _one_frame(self):
        """(flags, bytes) when a whole one is there, else None."""
        d = self.data
        head = 9 if d and d[0] & 2 else 2
        if len(d) < head:
            return None
        size = struct.unpack(">Q", d[1:9])[0] if head == 9 else d[1]
        if len(d) < head + size:
            return None
        self.data = d[head + size:]
        return d[0], d[head:head + size]

    def _command(self, data):
        if data[:5] == b"\x04PING":
            pong = b"\x04PONG" + data[7:]
            self.socket.sendall(b"\x04" + bytes([len(pong)]) + pong)

    def _one_message(self):
        while True:
            frame = self._one_frame()
            if frame is None:
                return None
            flags, data = frame
            if flags & 4:
                self._command(data)
                continue
            self.more.append(data)
            if flags & 1:
                continue
            found = dict(fields(self.more[0]))
            self.more = []
            n = next((n for n in found if n in BODIES), None)
            if n is None:
                continue
            name, kind = BODIES[n]
            return found.get(3, 0), name, decode(kind, found[n])

    def next(self, seconds):
        end = time.monotonic() + seconds
        while True:
            got = self._one_message()
            if got:
                return got
            left = max(0, end - time.monotonic())
            if not select.select([self.socket], [], [], left)[0]:
                return None
            more = self.socket.recv(1 << 18)
            if not more:
                raise ConnectionError("the daemon has hung up")
            self.data += more

    def wait_for(self, request, bodies, seconds):
        """The values of the first reply to a request that is one of
        `bodies`, or None."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            got = self.next(max(0, end - time.monotonic()))
            if got and got[0] == request and got[1] in bodies:
                return got[2]
        return None


def add_request(name, data, key):
    """(body, inner bytes, raw frame or None) of an Add."""
    values = {"name": name, "bytes": len(data), "key": key}
    if len(data) > INLINE:
        values["input_hash"] = hashlib.blake2b(data, digest_size=32).digest()
    return "add", put("Add", **values), data if len(data) <= INLINE else None


def ask_request(document, data, key, sampling):
    inner = put("Ask", document=document, bytes=len(data), key=key,
                sampling=put("Sampling", **sampling))
    return "ask", inner, data
