#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How long a checkpoint takes to load, beside reading its file, and how much
memory it costs.

usage: load_speed.py RUN [--gib X] [--dtype bf16|f32] [--turns N]
                     [--work DIR]

Makes an ARMT over LLaMA of about X GiB (default 2) once in DIR, then loads it
with `RUN --verbose` on an input of one token.  The file is in the page cache,
so what is compared is the work and not the disk.  Reading is measured twice:
through one buffer of 4 MiB again and again, and into new memory of the file's
size, which is what whoever keeps the weights must do; both with read(2).  The
three take turns; the least of each is what counts.  No limit is asserted; the
figures are printed.
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


def read_all_seconds(path):
    """The whole file into new memory, in huge pages if there are any."""
    start, size = time.monotonic(), os.path.getsize(path)
    memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    at = 0
    with open(path, "rb", buffering=0) as f, memoryview(memory) as view:
        while at < size:
            at += f.readinto(view[at:at + (1 << 22)])
    memory.close()
    return time.monotonic() - start


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("run", metavar="RUN", help="longwave-run")
    p.add_argument("--gib", type=float, default=2)
    p.add_argument("--dtype", choices=("bf16", "f32"), default="bf16")
    p.add_argument("--turns", type=int, default=5)
    p.add_argument("--work", default="/tmp/longwave-load-speed")
    args = p.parse_args()
    model = os.path.join(args.work, f"{args.dtype}-{args.gib:g}")
    weights = os.path.join(model, "model.safetensors")
    if not os.path.exists(weights):
        make(model, args)
    size = os.path.getsize(weights)
    best = [float("inf")] * 3
    for _ in range(args.turns):
        seconds, whole = read_seconds(weights), read_all_seconds(weights)
        done = subprocess.run(
            [args.run, "--model", model, "--input",
             os.path.join(model, "one.ids"), "--verbose", "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        text = done.stderr.decode()
        found = re.search(r"(\d+) MiB of weights in ([0-9.]+) s", text)
        if done.returncode != 0 or found is None:
            sys.exit(text)
        rss = json.loads(done.stdout.splitlines()[-1])["peak_rss_bytes"]
        now = (seconds, whole, float(found[2]))
        best = [min(pair) for pair in zip(best, now)]
        print(f"file {size / 2**20:.0f} MiB, through a buffer {seconds:.2f} s, "
              f"into new memory {whole:.2f} s; weights {found[1]} MiB in "
              f"{found[2]} s; peak {rss / 2**20:.0f} MiB", flush=True)
    print(f"least: {best[0]:.2f} s, {best[1]:.2f} s, weights {best[2]:.2f} s: "
          f"{best[2] / best[1]:.2f} of reading into new memory")


if __name__ == "__main__":
    main()
