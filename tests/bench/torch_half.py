#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A whole model in PyTorch's bf16 against its fp32, on the weights of
tests/worker/half_test.c.

usage: torch_half.py WEIGHTS [OURS]

WEIGHTS: the file that test_worker_half wrote.  Prints the relative norm of the
difference of all logits; with OURS, that of the engine, fails where OURS is
more than 1.5 times PyTorch's.  The associative memory's states are kept in the
model's type, as torch_peer_gpu.py keeps them.
"""
import math
import sys

import torch

import torch_peer_gpu as peer

SHAPE = (1024, 8, 16, 4, 64, 2816, 1e4)
VOCAB, SEGMENT, MEM, SEGMENTS = 512, 128, 16, 16


def load(path):
    d, layers, heads, kv, head, ffn, _ = SHAPE
    raw = torch.frombuffer(bytearray(open(path, "rb").read()),
                           dtype=torch.float32)
    at = 0

    def take(*shape):
        nonlocal at
        n = math.prod(shape)
        at += n
        return raw[at - n:at].view(shape)

    w = {"n1": take(layers, 1, d)}
    qkv = take(layers, (heads + 2 * kv) * head, d)
    w["q"], w["k"], w["v"] = qkv.split((heads * head, kv * head, kv * head), 1)
    w["o"] = take(layers, d, heads * head)
    w["n2"] = take(layers, 1, d)
    w["gate"], w["up"] = take(layers, 2 * ffn, d).split(ffn, 1)
    w["down"] = take(layers, d, ffn)
    w["mq"], w["mk"] = take(layers, peer.DM, d), take(layers, peer.DM, d)
    w["mv"], w["mb"] = take(layers, d, d), take(layers, 1, d)
    w["mbb"] = take(layers, 1, 1)
    w["embed"], w["memory"] = take(VOCAB, d), take(MEM, d)
    w["norm"], w["head"] = take(d), take(VOCAB, d)
    ids = take(SEGMENTS * SEGMENT).view(torch.int32).long()
    assert at == raw.numel(), "not the file of this model"
    return w, ids


def logits(w, ids, device, kind):
    w = {k: v.to(device, kind).contiguous() for k, v in w.items()}
    A, z = peer.state(SHAPE, w)
    out = []
    for s, part in enumerate(ids.to(device).split(SEGMENT)):
        x = torch.cat([w["embed"][part], w["memory"]])[None]
        turn = peer.rope(SHAPE, x.shape[1], device, kind)
        for layer in range(SHAPE[1]):
            if s:
                x = peer.read(w, x, A, z, layer, layer + 1)
            x = peer.block(SHAPE, w, x, turn, layer, layer + 1)
            peer.write(w, x[:, -MEM:], A, z, layer, layer + 1, s == 0)
        out.append(peer.norm(x[0, :-MEM], w["norm"]) @ w["head"].T)
    return torch.cat(out).double()


def main():
    torch.set_grad_enabled(False)
    torch.backends.cuda.matmul.allow_tf32 = False
    device = "cuda" if torch.cuda.is_available() else "cpu"
    w, ids = load(sys.argv[1])
    full = logits(w, ids, device, torch.float32)
    half = logits(w, ids, device, torch.bfloat16)
    theirs = float((half - full).norm() / full.norm())
    print(f"  PyTorch's bf16 against its fp32: {theirs:.3e}")
    if len(sys.argv) > 2:
        ours = float(sys.argv[2])
        print(f"  ours / PyTorch's: {ours / theirs:.3f}, at most 1.5")
        sys.exit(not ours <= 1.5 * theirs)


if __name__ == "__main__":
    main()
