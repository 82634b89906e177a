#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The engine and PyTorch's peer on one GPU, one after the other, and how many
times as fast the engine is.

usage: gpu_peer.py --bench build-gpu/bin/longwave-bench [--preset 1b]
                   [--segment 1024] [--mem 128] [--tokens 131072] [--repeat 5]
                   [--rows FILE]

--rows: also appended to FILE, a line of JSON (gpu_rows.py).

Needs a python3 with PyTorch.  Prints both products' rates too: a card that
was slower for one of them shows there.
"""
import argparse
import json
import os
import subprocess
import sys

PEER = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                    "torch_peer_gpu.py")


def run(command):
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE,
                         timeout=600, text=True).stdout
    return [json.loads(x) for x in out.splitlines() if x.startswith("{")]


def main():
    p = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--bench", required=True)
    p.add_argument("--preset", default="1b")
    p.add_argument("--rows")
    for name, value in (("segment", 1024), ("mem", 128), ("tokens", 131072),
                        ("repeat", 5)):
        p.add_argument("--" + name, type=int, default=value)
    a = p.parse_args()
    shape = ["--segment", str(a.segment), "--mem", str(a.mem), "--tokens",
             str(a.tokens), "--repeat", str(a.repeat)]
    ours = run([a.bench, "--device", "cuda", "--preset",
                "armt-llama-" + a.preset, "--schedule", "diagonal",
                "--json"] + shape)[-1]
    seconds = ours["runs"][0]["seconds"]
    print(f"{ours['device_name']}: {seconds:.4f} s, 8192^3 "
          f"{ours['product_flops_per_second'] / 1e12:.0f} TFLOP/s")
    peers = run([sys.executable, PEER, "--preset", a.preset, "--modes",
                     "diagonal,sequential", "--json"] + shape)
    for peer in peers:
        print(f"PyTorch, {peer['mode']}: {peer['seconds']:.4f} s, 8192^3 "
              f"{peer['product_tflops']:.0f} TFLOP/s: the engine is "
              f"{peer['seconds'] / seconds:.2f} times as fast")
    if a.rows:
        with open(a.rows, "a", encoding="utf-8") as out:
            json.dump({"ours": ours, "peers": peers}, out)
            out.write("\n")


if __name__ == "__main__":
    main()
