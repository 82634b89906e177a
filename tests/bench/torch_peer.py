#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The same work in PyTorch, as a peer to stand beside in one run.

ARMT over a LLaMA-shaped model with random weights, hidden states only: no
tokenizer and no head.  Two schedules:
  sequential  one segment after the other, one layer after the other
  diagonal    stacked weights and torch.bmm over the cells of a diagonal
Weights are scaled so that states stay bounded (value projection x 0.1, gate
bias -4); a run whose outputs or states are not finite has no result.

usage: torch_peer.py --preset s512 --tokens 16384 --segment 256 --mem 16
                     --threads 2 [--modes sequential,diagonal] [--json]
Prints the median seconds after one warm-up, and tokens/s.
"""
import argparse
import json
import math
import statistics
import time

import torch
import torch.nn.functional as F

# width, layers, heads, key/value heads, width of a head, MLP, theta
PRESETS = {"tiny": (64, 4, 4, 2, 16, 176, 1e4),
           "s256": (256, 4, 4, 4, 64, 704, 1e4),
           "s512": (512, 8, 8, 8, 64, 1408, 1e4)}
D_MEM = 64


class Model:
    def __init__(self, preset):
        (self.d, self.n_layer, self.n_head, self.n_kv, self.d_head, self.d_ffn,
         self.theta) = PRESETS[preset]
        g = torch.Generator().manual_seed(0)

        def w(*shape):
            return torch.randn(*shape, generator=g) / math.sqrt(shape[-1])
        d, n, hd = self.d, self.n_layer, self.d_head
        self.w = {
            "q": w(n, self.n_head * hd, d), "k": w(n, self.n_kv * hd, d),
            "v": w(n, self.n_kv * hd, d), "o": w(n, d, self.n_head * hd),
            "gate": w(n, self.d_ffn, d), "up": w(n, self.d_ffn, d),
            "down": w(n, d, self.d_ffn),
            "norm1": torch.ones(n, 1, d), "norm2": torch.ones(n, 1, d),
            "mq": w(n, D_MEM, d), "mk": w(n, D_MEM, d),
            "mv": 0.1 * w(n, d, d), "mb": w(n, 1, d),
            "bias": torch.full((n, 1, 1), -4.0), "memory": w(1, 1, d)}

    def rotation(self, n_row):
        i = torch.arange(0, self.d_head, 2).float()
        angle = (torch.arange(n_row)[:, None]
                 * self.theta ** (-i / self.d_head)[None])
        return (torch.cat([angle.cos()] * 2, -1),
                torch.cat([angle.sin()] * 2, -1))

    def state(self):
        return (torch.zeros(self.n_layer, 6 * D_MEM, self.d),
                torch.zeros(self.n_layer, 6 * D_MEM))


def norm(x, w):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * w


def attend(q, k, v):
    r = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(r, 1), v.repeat_interleave(r, 1)
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    s = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    hidden = torch.ones_like(s, dtype=torch.bool).triu(1)
    return s.masked_fill(hidden, -math.inf).softmax(-1) @ v


def block(m, x, rot, lo, hi):
    """Layers lo .. hi-1 on x[hi - lo, rows, d], a layer for each cell."""
    g, n, _ = x.shape

    def linear(name, y):
        if g > 1:
            return torch.bmm(y, m.w[name][lo:hi].transpose(1, 2))
        return F.linear(y, m.w[name][lo])

    def rotate(t):
        half = m.d_head // 2
        turned = torch.cat([-t[..., half:], t[..., :half]], -1)
        return t * rot[0] + turned * rot[1]
    h = norm(x, m.w["norm1"][lo:hi])
    q, k, v = (linear(name, h).view(g, n, count, m.d_head).transpose(1, 2)
               for name, count in (("q", m.n_head), ("k", m.n_kv),
                                   ("v", m.n_kv)))
    mixed = attend(rotate(q), rotate(k), v)
    x = x + linear("o", mixed.transpose(1, 2).reshape(g, n, -1))
    h = norm(x, m.w["norm2"][lo:hi])
    return x + linear("down", F.silu(linear("gate", h)) * linear("up", h))


def features(x):
    u = torch.cat([x.relu(), (-x).relu()], -1)
    return torch.cat([u * u.roll(j, -1) for j in (1, 2, 3)], -1)


def read(m, x, A, z, lo, hi):
    q = features(torch.bmm(x, m.w["mq"][lo:hi].transpose(1, 2)))
    den = torch.bmm(q, z[lo:hi, :, None]) + 1e-5
    return x + torch.bmm(q, A[lo:hi]) / den


def write(m, rows, A, z, lo, hi, fresh):
    k = features(torch.bmm(rows, m.w["mk"][lo:hi].transpose(1, 2)))
    v = torch.bmm(rows, m.w["mv"][lo:hi].transpose(1, 2))
    den = torch.bmm(k, z[lo:hi, :, None]) + 1e-5
    old = torch.bmm(k, A[lo:hi]) / den
    g = (1 - den / (k.pow(2).sum(-1, keepdim=True) + 1e-5)).clip(0, 1)
    if fresh:  # the deepest cell of the ramp is in its first segment
        old[-1] = 0
        g[-1] = 1
    gate = torch.bmm(rows, m.w["mb"][lo:hi].transpose(1, 2))
    b = torch.sigmoid(gate + m.w["bias"][lo:hi])
    A[lo:hi] += torch.bmm((k * b).transpose(1, 2), v - old)
    z[lo:hi] += (g * k).sum(1)


def segments(m, x, size, n_mem):
    memory = m.w["memory"].expand(1, n_mem, -1)
    return [torch.cat([s, memory], 1) for s in x.split(size, 1)]


def finish(outputs, A, z):
    finite = all(torch.isfinite(t).all() for t in (*outputs, A, z))
    if not finite or A.abs().sum() == 0:
        raise SystemExit("not finite, or nothing written: no result")


def sequential(m, x, size, n_mem):
    A, z = m.state()
    outputs = []
    for s, h in enumerate(segments(m, x, size, n_mem)):
        rot = m.rotation(h.shape[1])
        for layer in range(m.n_layer):
            if s > 0:
                h = read(m, h, A, z, layer, layer + 1)
            h = block(m, h, rot, layer, layer + 1)
            write(m, h[:, -n_mem:], A, z, layer, layer + 1, s == 0)
        outputs.append(h[:, :1].clone())
    finish(outputs, A, z)


def diagonal(m, x, size, n_mem):
    A, z = m.state()
    outputs = []
    cut = segments(m, x, size, n_mem)
    n, n_layer = len(cut), m.n_layer
    rot = m.rotation(cut[0].shape[1])
    h = x.new_zeros(0, *cut[0].shape[1:])
    for t in range(n + n_layer - 1):  # cells (t - l, l), deepest layer last
        lo, hi = max(0, t - n + 1), min(t + 1, n_layer)
        if t < n:
            h = torch.cat([cut[t], h], 0)
        if t < n_layer and hi - lo > 1:
            h[:-1] = read(m, h[:-1], A, z, lo, hi - 1)
        elif t >= n_layer:
            h = read(m, h, A, z, lo, hi)
        h = block(m, h, rot, lo, hi)
        write(m, h[:, -n_mem:], A, z, lo, hi, t < n_layer)
        if hi == n_layer and t >= n_layer - 1:
            outputs.append(h[-1:, :1].clone())
            h = h[:-1]
    finish(outputs, A, z)


def main():
    p = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--preset", default="s512", choices=PRESETS)
    p.add_argument("--tokens", type=int, default=16384)
    p.add_argument("--segment", type=int, default=256)
    p.add_argument("--mem", type=int, default=16)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--repeat", type=int, default=3)
    p.add_argument("--modes", default="sequential,diagonal")
    p.add_argument("--json", action="store_true")
    a = p.parse_args()
    if a.tokens % a.segment:
        p.error("--tokens must be a multiple of --segment")
    torch.set_grad_enabled(False)
    torch.set_num_threads(a.threads)
    m = Model(a.preset)
    x = torch.randn(1, a.tokens, m.d)
    for mode in a.modes.split(","):
        run = {"sequential": sequential, "diagonal": diagonal}[mode]
        run(m, x, a.segment, a.mem)
        seconds = []
        for _ in range(a.repeat):
            start = time.perf_counter()
            run(m, x, a.segment, a.mem)
            seconds.append(time.perf_counter() - start)
        middle = statistics.median(seconds)
        result = {"mode": mode, "preset": a.preset, "tokens": a.tokens,
                  "segment": a.segment, "mem": a.mem, "seconds": middle,
                  "tokens_per_second": a.tokens / middle,
                  "threads": a.threads, "torch": torch.__version__}
        print(json.dumps(result) if a.json else
              f"{mode:12s}{middle:10.4f} s{a.tokens / middle:10.0f} tokens/s")


if __name__ == "__main__":
    main()
