#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How long a checkpoint takes to load, beside reading its file, and how much
memory it costs.

usage: load_speed.py RUN [--gib X] [--dtype bf16|f32] [--turns N] [--cold]
                     [--work DIR]

Makes an ARMT over LLaMA of about X GiB (default 2) once in DIR, then loads it
with `RUN --verbose` on an input of one token.  Two times of it are taken: what
it says that its weights took, and from the start of the process until it says
that its engine is ready.  Reading is measured twice: through one buffer of
4 MiB again and again, and into new memory of the file's size, which is what
whoever keeps the weights must do; both with read(2).  The three take turns;
the least of each is what counts.  No limit is asserted; the figures are
printed.

The file is in the page cache, so what is compared is the work and not the
disk; with --cold its pages are dropped before each turn, so it is the disk.
Before each turn as much memory as it will take is written and given back, so
that on a virtual machine no turn waits for its host to find memory.
"""
import argparse
import json
import mmap
import os
import re
import subprocess
import sys
import time


def sizes(gib, width):
    d, ff, vocab, layers = 2048, 8192, 32000, 1
    per_layer = 4 * d * d + 3 * d * ff + 2 * d + 2 * 64 * d + d * d + d + 1
    while (2 * vocab * d + (layers + 1) * per_layer) * width < gib * 2 ** 30:
        layers += 1
    return d, ff, vocab, layers


def tensors(d, ff, vocab, layers):
    root = "memory_cell.model."
    yield "memory_cell.memory", [4, d]
    yield root + "lm_head.weight", [vocab, d]
    yield root + "model.embed_tokens.weight", [vocab, d]
    yield root + "model.norm.weight", [d]
    for n in range(layers):
        at = f"{root}model.layers.{n}."
        for name, shape in (
                ("W_mb.bias", [1]), ("W_mb.weight", [1, d]),
                ("W_mk.weight", [64, d]), ("W_mq.weight", [64, d]),
                ("W_mv.weight", [d, d]), ("layer.input_layernorm.weight", [d]),
                ("layer.mlp.down_proj.weight", [d, ff]),
                ("layer.mlp.gate_proj.weight", [ff, d]),
                ("layer.mlp.up_proj.weight", [ff, d]),
                ("layer.post_attention_layernorm.weight", [d]),
                ("layer.self_attn.k_proj.weight", [d, d]),
                ("layer.self_attn.o_proj.weight", [d, d]),
                ("layer.self_attn.q_proj.weight", [d, d]),
                ("layer.self_attn.v_proj.weight", [d, d])):
            yield at + name, shape


def make(path, args):
    width = 2 if args.dtype == "bf16" else 4
    d, ff, vocab, layers = sizes(args.gib, width)
    os.makedirs(path, exist_ok=True)
    base = {"model_type": "llama", "vocab_size": vocab, "hidden_size": d,
            "intermediate_size": ff, "num_hidden_layers": layers,
            "num_attention_heads": 32, "rms_norm_eps": 1e-5}
    with open(os.path.join(path, "config.json"), "w", encoding="utf-8") as f:
        json.dump({"model_type": "armt", "base_model_config": base,
                   "num_mem_tokens": 4, "d_mem": 64, "segment_size": 16}, f)
    fields, at, items = {}, 0, list(tensors(d, ff, vocab, layers))
    for name, shape in items:
        n = width
        for length in shape:
            n *= length
        fields[name] = {"dtype": args.dtype.upper(), "shape": shape,
                        "data_offsets": [at, at + n]}
        at += n
    head = json.dumps(fields).encode()
    head += b" " * (-len(head) % 8)
    # Small finite numbers of either type, none of them equal for long.
    block = bytes(b if i % width < width - 1 else 0x3B
                  for i, b in enumerate(os.urandom(1 << 20)))
    with open(os.path.join(path, "model.safetensors"), "wb") as f:
        f.write(len(head).to_bytes(8, "little") + head)
        for left in range(at, 0, -len(block)):
            f.write(block[:min(left, len(block))])
    one = json.dumps({"input_ids": {"dtype": "I32", "shape": [1],
                                    "data_offsets": [0, 4]}}).encode()
    one += b" " * (-len(one) % 8)
    with open(os.path.join(path, "one.ids"), "wb") as f:
        f.write(len(one).to_bytes(8, "little") + one + bytes(4))


def read_seconds(path):
    """The whole file through one buffer, as fast as it comes."""
    start, buffer = time.monotonic(), bytearray(1 << 22)
    with open(path, "rb", buffering=0) as f:
        while f.readinto(buffer):
            pass
    return time.monotonic() - start


def new_memory(size):
    """In huge pages if there are any."""
    memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


def read_all_seconds(path):
    """The whole file into new memory."""
    start, size, at = time.monotonic(), os.path.getsize(path), 0
    memory = new_memory(size)
    with open(path, "rb", buffering=0) as f, memoryview(memory) as view:
        while at < size:
            at += f.readinto(view[at:at + (1 << 22)])
    seconds = time.monotonic() - start
    memory.close()
    return seconds


def load(args, model):
    """Seconds for the weights, seconds until ready, MiB of weights, bytes."""
    start, ready, found, lines = time.monotonic(), None, None, []
    with subprocess.Popen(
            [args.run, "--model", model, "--input",
             os.path.join(model, "one.ids"), "--verbose", "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        for line in run.stderr:
            lines.append(line)
            found = found or re.search(
                r"(\d+) MiB of weights in ([0-9.]+) s", line)
            if ready is None and "beside the weights" in line:
                ready = time.monotonic() - start
        out = run.stdout.read()
    if run.returncode != 0 or found is None or ready is None:
        sys.exit("".join(lines))
    rss = json.loads(out.splitlines()[-1])["peak_rss_bytes"]
    return float(found[2]), ready, int(found[1]), rss


def apart(function, *args):
    """What it returns, from a process of its own: a peak of memory is also that
    of whoever started a program."""
    ends = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(ends[1], json.dumps(function(*args)).encode())
        os._exit(0)
    os.close(ends[1])
    with open(ends[0], encoding="utf-8") as f:
        text = f.read()
    if os.waitpid(child, 0)[1] != 0 or not text:
        sys.exit("a measurement failed")
    return json.loads(text)


def prepare(path, cold):
    """The file in the page cache or not, and then memory that is at hand: a
    host that is told of free pages takes them back within two seconds."""
    with open(path, "rb", buffering=0) as f:
        if cold:
            os.fsync(f.fileno())
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if not cold:
        read_seconds(path)
    size = os.path.getsize(path) + (128 << 20)
    memory = new_memory(size)
    for at in range(0, size, mmap.PAGESIZE):
        memory[at] = 1
    memory.close()


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("run", metavar="RUN", help="longwave-run")
    p.add_argument("--gib", type=float, default=2)
    p.add_argument("--dtype", choices=("bf16", "f32"), default="bf16")
    p.add_argument("--turns", type=int, default=5)
    p.add_argument("--cold", action="store_true")
    p.add_argument("--work", default="/tmp/longwave-load-speed")
    args = p.parse_args()
    model = os.path.join(args.work, f"{args.dtype}-{args.gib:g}")
    weights = os.path.join(model, "model.safetensors")
    if not os.path.exists(weights):
        make(model, args)
    best = [float("inf")] * 4
    for _ in range(args.turns):
        now = []
        for measure in (read_seconds, read_all_seconds):
            apart(prepare, weights, args.cold)
            now.append(apart(measure, weights))
        apart(prepare, weights, args.cold)
        seconds, ready, mib, rss = load(args, model)
        now += [seconds, ready]
        best = [min(pair) for pair in zip(best, now)]
        print(f"file {os.path.getsize(weights) / 2**20:.0f} MiB, through a "
              f"buffer {now[0]:.2f} s, into new memory {now[1]:.2f} s; weights "
              f"{mib} MiB in {seconds:.2f} s, ready after {ready:.2f} s; peak "
              f"{rss / 2**20:.0f} MiB", flush=True)
    print(f"least: {best[0]:.2f} s, {best[1]:.2f} s; weights {best[2]:.2f} s, "
          f"ready {best[3]:.2f} s: {best[2] / best[1]:.2f} and "
          f"{best[3] / best[1]:.2f} of reading into new memory")


if __name__ == "__main__":
    main()
