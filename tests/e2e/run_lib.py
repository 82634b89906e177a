# SPDX-License-Identifier: Apache-2.0
"""Starting longwave-run, alone or on ranks, and reading what it wrote."""
import argparse
import array
import json
import os
import struct
import subprocess
import sys

CODES = {"F32": "f", "BF16": "f", "I32": "i", "I64": "q"}
# Ranks share this host's cores, and their traffic stays here.
MPI_FLAGS = ["--allow-run-as-root", "--oversubscribe", "--mca", "pml", "ob1",
             "--mca", "btl", "vader,self", "--bind-to", "none"]

# What neither longwave-run nor `longwave ask` takes.
BAD_SAMPLING = {
    "--temperature": ("-0.1", "100.1", "nan", "hot"),
    "--top-k": ("-1", "2147483648", "x"),
    "--top-p": ("0", "-0.1", "1.1", "nan"),
    "--min-p": ("-0.1", "1.1", "nan"),
    "--repetition-penalty": ("0", "0.009", "100.1", "-1", "inf", "nan"),
    "--seed": ("-1", "18446744073709551616", "x"),
    "--generate": ("-1", "x"),
    "--stop": ("",),
}


def flags():
    p = argparse.ArgumentParser()
    for name in ("run", "mpiexec", "source", "work"):
        p.add_argument("--" + name, required=True)
    p.add_argument("--other", help="longwave-run of another version")
    args = p.parse_args()
    os.makedirs(args.work, exist_ok=True)
    args.golden = os.path.join(args.source, "tests", "golden")
    return args


def read_tensors(path):
    """{name: (shape, array)} of a safetensors file."""
    with open(path, "rb") as f:
        data = f.read()
    (n,) = struct.unpack("<Q", data[:8])
    out = {}
    for name, t in json.loads(data[8:8 + n]).items():
        if name == "__metadata__" or t["dtype"] not in CODES:
            continue
        first, end = t["data_offsets"]
        raw = data[8 + n + first:8 + n + end]
        if t["dtype"] == "BF16":
            raw = b"".join(b"\0\0" + raw[i:i + 2]
                           for i in range(0, len(raw), 2))
        values = array.array(CODES[t["dtype"]])
        values.frombytes(raw)
        out[name] = (t["shape"], values)
    return out


def write_ids(path, ids):
    header = json.dumps({"input_ids": {
        "dtype": "I64", "shape": [len(ids)],
        "data_offsets": [0, 8 * len(ids)]}}).encode()
    header += b" " * (-len(header) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(header)) + header)
        f.write(array.array("q", ids).tobytes())


def make_tiny(args, out=None, *more):
    """A small model with random weights and a byte-level tokenizer."""
    out = out or os.path.join(args.work, "model")
    subprocess.run([sys.executable, os.path.join(args.source, "model",
                                                 "make_tiny.py"),
                    "--out", out, "--layers", "3", "--d-model", "32",
                    "--ffn", "48", "--segment", "64", "--mem", "4",
                    "--d-mem", "8", *more], check=True, stdout=subprocess.DEVNULL)
    return out


def start(args, ranks, flags, timeout=60):
    """Runs the program; ranks 0 is without mpirun."""
    command = [args.run] + flags
    env = dict(os.environ)
    if ranks > 0:
        # Plug-ins of Open MPI leak and are gone at the end, so that no
        # suppression can name them; runs without mpirun look for leaks.
        env["ASAN_OPTIONS"] = "detect_leaks=0"
        command = [args.mpiexec] + MPI_FLAGS + ["-n", str(ranks)] + command
    return subprocess.run(command, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=timeout,
                          stdin=subprocess.DEVNULL, env=env)


def summary(args, ranks, flags, timeout=60):
    """The one line of --json of a run that must succeed."""
    done = start(args, ranks, flags + ["--json"], timeout)
    if done.returncode != 0:
        fail(f"{flags} on {ranks} ranks: exit {done.returncode}: "
             + done.stderr.decode(errors="replace"))
    lines = done.stdout.decode().splitlines()
    if len(lines) != 1:
        fail(f"{flags}: {len(lines)} lines on stdout")
    return json.loads(lines[0])


def fail(text):
    sys.exit("FAIL: " + text)


def expect(condition, text):
    if not condition:
        fail(text)
