#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The same work in PyTorch: the peer to stand beside in one run.

Three ways over a LLaMA-shaped model with random weights (no tokenizer, no head: hidden states only, as the papers time it):
  full        full causal attention over the whole input (flash attention through scaled_dot_product_attention)
  sequential  ARMT, one segment after the other, one layer after the other
  diagonal    ARMT with diagonal batching: stacked weights and torch.bmm over the cells of a diagonal

usage: torch_peer_gpu.py --preset 1b --tokens 131072 --segment 1024 --mem 128 [--modes full,sequential,diagonal]
                     [--device cuda] [--dtype bfloat16] [--repeat 3] [--json] [--check]
Prints seconds (median, after one warm-up), tokens/s and, on a GPU, the rate of an 8192^3 matrix product measured in the same
run (for a second, after half a second of warm-up). Arithmetic: docs/models.md, plain keys; states in the
model's type, as the authors' code keeps them. Random weights are scaled so that states stay bounded (value projection x 0.1, gate
bias -4); a run whose outputs or states are not finite has no result. --check compares diagonal with sequential.
"""
import argparse, json, math, statistics, time
import torch
import torch.nn.functional as F

PRESETS = {  # d, layers, heads, kv heads, head dim, ffn, rope theta
    "tiny": (64, 4, 4, 2, 16, 176, 1e4), "s256": (256, 4, 4, 4, 64, 704, 1e4), "s512": (512, 8, 8, 8, 64, 1408, 1e4), "160m": (768, 12, 12, 12, 64, 3072, 1e4),
    "1b": (2048, 16, 32, 8, 64, 8192, 5e5), "3b": (3072, 28, 24, 8, 128, 8192, 5e5), "8b": (4096, 32, 32, 8, 128, 14336, 5e5)}
DM = 64


def make(p, dev, dt, seed=0):
    d, L, nh, nkv, hd, ff, _ = p
    g = torch.Generator(device=dev).manual_seed(seed)
    w = lambda *s: (torch.randn(*s, generator=g, device=dev, dtype=torch.float32) / math.sqrt(s[-1])).to(dt)
    return {"q": w(L, nh * hd, d), "k": w(L, nkv * hd, d), "v": w(L, nkv * hd, d), "o": w(L, d, nh * hd),
            "gate": w(L, ff, d), "up": w(L, ff, d), "down": w(L, d, ff), "n1": torch.ones(L, 1, d, device=dev, dtype=dt),
            "n2": torch.ones(L, 1, d, device=dev, dtype=dt), "mq": w(L, DM, d), "mk": w(L, DM, d), "mv": 0.1 * w(L, d, d),
            "mb": w(L, 1, d), "mbb": torch.full((L, 1, 1), -4.0, device=dev, dtype=dt), "mem": w(1, 1, d)}   # small writes keep the states bounded


def rope(p, n, dev, dt):
    hd, theta = p[4], p[6]
    a = torch.arange(n, device=dev)[:, None] * theta ** (-torch.arange(0, hd, 2, device=dev).float() / hd)[None]
    return torch.cat([a.cos(), a.cos()], -1).to(dt), torch.cat([a.sin(), a.sin()], -1).to(dt)


def norm(x, w):
    return (x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + 1e-5)).to(x.dtype) * w


def attend(q, k, v):
    if hasattr(F, "scaled_dot_product_attention"):
        r = q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(r, 1), v.repeat_interleave(r, 1)
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    r = q.shape[1] // k.shape[1]; k, v = k.repeat_interleave(r, 1), v.repeat_interleave(r, 1)
    s = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    return s.masked_fill(torch.ones_like(s, dtype=torch.bool).triu(1), -math.inf).softmax(-1) @ v


def block(p, W, x, rot, lo, hi):
    """Layers lo..hi-1 on x[hi-lo, rows, d], one layer a cell."""
    d, L, nh, nkv, hd, ff, _ = p
    g, n, _ = x.shape
    lin = (lambda name, y: torch.bmm(y, W[name][lo:hi].transpose(1, 2))) if g > 1 else (lambda name, y: F.linear(y, W[name][lo]))
    h = norm(x, W["n1"][lo:hi])
    q, k, v = (lin(c, h).view(g, n, m, hd).transpose(1, 2) for c, m in (("q", nh), ("k", nkv), ("v", nkv)))
    rh = lambda t: torch.cat([-t[..., hd // 2:], t[..., :hd // 2]], -1)
    q, k = (t * rot[0] + rh(t) * rot[1] for t in (q, k))
    x = x + lin("o", attend(q, k, v).transpose(1, 2).reshape(g, n, nh * hd))
    h = norm(x, W["n2"][lo:hi])
    return x + lin("down", F.silu(lin("gate", h)) * lin("up", h))


def phi(x):
    u = torch.cat([x.relu(), (-x).relu()], -1)
    return torch.cat([u * u.roll(j, -1) for j in (1, 2, 3)], -1)


def read(W, x, A, z, lo, hi):
    q = phi(torch.bmm(x, W["mq"][lo:hi].transpose(1, 2)))
    den = torch.bmm(q, z[lo:hi, :, None]) + 1e-5
    return x + torch.bmm(q, A[lo:hi]) / den


def write(W, m, A, z, lo, hi, fresh):
    k = phi(torch.bmm(m, W["mk"][lo:hi].transpose(1, 2)))
    v = torch.bmm(m, W["mv"][lo:hi].transpose(1, 2))
    den = torch.bmm(k, z[lo:hi, :, None]) + 1e-5
    old = torch.bmm(k, A[lo:hi]) / den
    g = (1 - den / (k.pow(2).sum(-1, keepdim=True) + 1e-5)).clip(0, 1)
    if fresh:                                   # the deepest cell of the ramp-up is in its first segment
        old[-1] = 0; g[-1] = 1
    b = torch.sigmoid(torch.bmm(m, W["mb"][lo:hi].transpose(1, 2)) + W["mbb"][lo:hi])
    A[lo:hi] += torch.bmm((k * b).transpose(1, 2), v - old)
    z[lo:hi] += (g * k).sum(1)


def state(p, W):
    d, L = p[0], p[1]
    return W["q"].new_zeros(L, 6 * DM, d), W["q"].new_zeros(L, 6 * DM)


def segments(W, x, S, M):
    mem = W["mem"].expand(1, M, -1)
    return [torch.cat([s, mem], 1) for s in x.split(S, 1)]


def finish(out, A, z):
    y = torch.cat(out, 1)
    if not (torch.isfinite(y).all() and torch.isfinite(A).all() and torch.isfinite(z).all() and A.abs().sum() > 0):
        raise SystemExit("not finite, or nothing written: no result")
    return y


def sequential(p, W, x, S, M, keep=True):
    A, z = state(p, W); out = []
    for s, h in enumerate(segments(W, x, S, M)):
        rot = rope(p, h.shape[1], h.device, h.dtype)
        for l in range(p[1]):
            if s: h = read(W, h, A, z, l, l + 1)
            h = block(p, W, h, rot, l, l + 1)
            write(W, h[:, -M:], A, z, l, l + 1, s == 0)
        out.append(h[:, :-M] if keep else h[:, :1].clone())
    return finish(out, A, z)


def diagonal(p, W, x, S, M, keep=True):
    A, z = state(p, W); segs = segments(W, x, S, M); L, n = p[1], len(segs); out = []
    rot = rope(p, segs[0].shape[1], x.device, x.dtype)
    h = x.new_zeros(0, *segs[0].shape[1:])
    for t in range(n + L - 1):                  # cells (s, t - s): layers lo .. hi-1, deepest layer last
        lo, hi = max(0, t - n + 1), min(t + 1, L)
        if t < n: h = torch.cat([segs[t], h], 0)
        if t < L and hi - lo > 1: h[:-1] = read(W, h[:-1], A, z, lo, hi - 1)
        elif t >= L: h = read(W, h, A, z, lo, hi)
        h = block(p, W, h, rot, lo, hi)
        write(W, h[:, -M:], A, z, lo, hi, t < L)
        if hi == L and t >= L - 1:
            out.append(h[-1:, :-M].clone() if keep else h[-1:, :1].clone()); h = h[:-1]
    return finish(out, A, z)


def full(p, W, x, S, M, keep=True):
    rot = rope(p, x.shape[1], x.device, x.dtype)
    for l in range(p[1]): x = block(p, W, x, rot, l, l + 1)
    return x


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--preset", default="1b", choices=PRESETS); ap.add_argument("--tokens", type=int, default=131072)
    ap.add_argument("--segment", type=int, default=1024); ap.add_argument("--mem", type=int, default=128)
    ap.add_argument("--modes", default="full,sequential,diagonal"); ap.add_argument("--device", default="cuda")
    ap.add_argument("--dtype", default="bfloat16"); ap.add_argument("--repeat", type=int, default=3)
    ap.add_argument("--threads", type=int, default=0)
    ap.add_argument("--json", action="store_true"); ap.add_argument("--check", action="store_true")
    a = ap.parse_args()
    torch.set_grad_enabled(False)
    if a.threads: torch.set_num_threads(a.threads)
    p, dt = PRESETS[a.preset], getattr(torch, a.dtype)
    if a.tokens % a.segment: ap.error("--tokens must be a multiple of --segment")
    W = make(p, a.device, dt); x = torch.randn(1, a.tokens, p[0], device=a.device, dtype=torch.float32).to(dt)
    sync = torch.cuda.synchronize if a.device == "cuda" else lambda: None
    if a.check:
        u, v = sequential(p, W, x, a.segment, a.mem).float(), diagonal(p, W, x, a.segment, a.mem).float()
        print("diagonal against sequential, relative norm of the difference:", float((u - v).norm() / u.norm()))
    rate = None
    if a.device == "cuda":
        m = torch.randn(8192, 8192, device="cuda", dtype=dt); n = 0; t = time.perf_counter()
        while time.perf_counter() - t < 0.5: m @ m; sync()
        t = time.perf_counter()
        while time.perf_counter() - t < 1.0:
            for _ in range(10): m @ m
            sync(); n += 10
        rate = n * 2 * 8192 ** 3 / (time.perf_counter() - t) / 1e12
        print(f"8192^3 product: {rate:.0f} TFLOP/s")
    for mode in a.modes.split(","):
        f = {"full": full, "sequential": sequential, "diagonal": diagonal}[mode]
        f(p, W, x, a.segment, a.mem, False); sync(); ts = []
        for _ in range(a.repeat):
            t = time.perf_counter(); f(p, W, x, a.segment, a.mem, False); sync(); ts.append(time.perf_counter() - t)
        r = {"mode": mode, "preset": a.preset, "tokens": a.tokens, "segment": a.segment, "mem": a.mem, "seconds": statistics.median(ts),
             "tokens_per_second": a.tokens / statistics.median(ts), "device": a.device, "dtype": a.dtype, "product_tflops": rate}
        print(json.dumps(r) if a.json else f"{mode:10s} {r['seconds']:.3f} s  {r['tokens_per_second']:.0f} tokens/s")


if __name__ == "__main__":
    main()
