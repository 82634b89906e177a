#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes cases of options that no published code was run for: a plain float64
computation of the formulas (docs/models.md), segment by segment.

  make_options.py OUT     makes the cases below OUT; needs numpy, safetensors
"""
import json
import os
import sys

import numpy as np
from safetensors.numpy import save_file

V, D, L, NH, NKV, HD, FF, S, M, DM = 61, 24, 3, 4, 2, 6, 32, 16, 3, 4
N_TOKEN, N_STEP = 61, 12
CASES = {
    # a sink without a window, and a layer without a memory
    "armt-sink-bare": dict(use_sink=True, sliding_window=False,
                           wrap_layers=[True, False, True],
                           architectures=["ARMTForCausalLM"]),
    # a window without a sink; the layer without a memory has none
    "armt-window-bare": dict(use_sink=False, sliding_window=True,
                             wrap_layers=[True, True, False],
                             architectures=["InnerLoopARMTForCausalLM"]),
}


def weights(rng, cfg):
    def draw(*shape):
        return (rng.standard_normal(shape) * 1.3 /
                shape[-1] ** 0.5).astype(np.float32)

    w = {"model.model.embed_tokens.weight": draw(V, D) * 4,
         "model.lm_head.weight": draw(V, D) * 2,
         "model.model.norm.weight": 1 + 0.2 * draw(1, D)[0],
         "memory": draw(M, D) * 4}
    if cfg["use_sink"]:
        w["sink"] = draw(1, D) * 4
    for l in range(L):
        at = f"model.model.layers.{l}."
        lay = at + "layer."
        for name, shape in (("self_attn.q_proj", (NH * HD, D)),
                            ("self_attn.k_proj", (NKV * HD, D)),
                            ("self_attn.v_proj", (NKV * HD, D)),
                            ("self_attn.o_proj", (D, NH * HD)),
                            ("mlp.gate_proj", (FF, D)),
                            ("mlp.up_proj", (FF, D)),
                            ("mlp.down_proj", (D, FF))):
            w[lay + name + ".weight"] = draw(*shape)
        for name in ("input_layernorm", "post_attention_layernorm"):
            w[lay + name + ".weight"] = 1 + 0.2 * draw(1, D)[0]
        if cfg["wrap_layers"][l]:
            w[at + "W_mq.weight"] = draw(DM, D) * 2
            w[at + "W_mk.weight"] = draw(DM, D) * 2
            w[at + "W_mv.weight"] = draw(D, D)
            w[at + "W_mb.weight"] = draw(1, D)
            w[at + "W_mb.bias"] = draw(1, 1)[0]
    return w


def phi(x):
    u = np.concatenate([np.maximum(x, 0), np.maximum(-x, 0)], -1)
    f = np.concatenate([u * np.roll(u, j, -1) for j in (1, 2, 3)], -1)
    return f / np.maximum(np.linalg.norm(f, axis=-1, keepdims=True), 1e-12)


def rms(x, w):
    return w * x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5)


def rope(x, pos):
    a = pos[:, None] * 10000.0 ** (-2.0 * np.arange(HD // 2) / HD)
    c, s = np.cos(a)[:, None], np.sin(a)[:, None]
    lo, hi = x[..., :HD // 2], x[..., HD // 2:]
    return np.concatenate([lo * c - hi * s, hi * c + lo * s], -1)


class Plain:
    def __init__(self, cfg, w):
        self.cfg, self.w = cfg, {k: v.astype(np.float64) for k, v in w.items()}
        self.n_sink = int(cfg["use_sink"])

    def layer(self, l, x, state, n_tok, n_mem):
        w, lay = self.w, f"model.model.layers.{l}.layer."
        at = f"model.model.layers.{l}."
        bare = not self.cfg["wrap_layers"][l]
        if not bare and state["A"] is not None:
            q = phi(x @ w[at + "W_mq.weight"].T)
            x = x + (q @ state["A"]) / (q @ state["z"] + 1e-5)[:, None]
        n = rms(x, w[lay + "input_layernorm.weight"])
        pos = np.arange(len(x), dtype=np.float64)
        q, k, v = ((n @ w[lay + f"self_attn.{c}_proj.weight"].T).reshape(
            len(x), -1, HD) for c in "qkv")
        q, k = rope(q, pos), rope(k, pos)
        seen = np.tril(np.ones((len(x), len(x)), bool))
        keys, values = k, v
        window = state["kv"] if self.cfg["sliding_window"] and not bare else None
        if window is not None:
            n_w = len(window[0])
            t = np.arange(len(x)) - self.n_sink
            see = np.arange(n_w)[None] >= t[:, None]
            see[t >= n_tok] = True
            see[t < 0] = False
            seen = np.concatenate([see, seen], 1)
            keys = np.concatenate([window[0], k])
            values = np.concatenate([window[1], v])
        mixed = np.empty_like(q)
        for h in range(NH):
            g = h // (NH // NKV)
            s = q[:, h] @ keys[:, g].T / HD ** 0.5
            s = np.exp(np.where(seen, s, -np.inf) - np.where(
                seen, s, -np.inf).max(-1, keepdims=True))
            mixed[:, h] = s / s.sum(-1, keepdims=True) @ values[:, g]
        x = x + mixed.reshape(len(x), -1) @ w[lay + "self_attn.o_proj.weight"].T
        n = rms(x, w[lay + "post_attention_layernorm.weight"])
        g = n @ w[lay + "mlp.gate_proj.weight"].T
        up = n @ w[lay + "mlp.up_proj.weight"].T
        x = x + (g / (1 + np.exp(-g)) * up) @ w[lay + "mlp.down_proj.weight"].T
        if n_mem and not bare:
            self.write(at, state, x[-n_mem:])
        if n_mem:
            tok = slice(self.n_sink, self.n_sink + n_tok)
            state["kv"] = (k[tok], v[tok])
        return x

    def write(self, at, state, m):
        w = self.w
        k, v = phi(m @ w[at + "W_mk.weight"].T), m @ w[at + "W_mv.weight"].T
        b = 1 / (1 + np.exp(-(m @ w[at + "W_mb.weight"].T +
                              w[at + "W_mb.bias"])))
        p, g = 0.0, np.ones(len(m))
        A, z = np.zeros((6 * DM, D)), np.zeros(6 * DM)
        if state["A"] is not None:
            A, z = state["A"], state["z"]
            den = k @ z + 1e-5
            p = (k @ A) / den[:, None]
            g = np.clip(1 - den / (k * k).sum(-1), 0, 1)
        state["A"] = A + k.T @ (b * (v - p))
        state["z"] = z + (g[:, None] * k).sum(0)

    def run(self, ids, frozen):
        """Logits of all tokens; frozen: (first, ids) are not written."""
        w = self.w
        states = [dict(A=None, z=None, kv=None) for _ in range(L)]
        cuts = [ids[i:i + S] for i in range(0, len(ids), S)]
        if frozen is not None:
            cuts = [ids[i:i + S] for i in range(0, frozen, S)] + [ids[frozen:]]
        out = []
        for i, seg in enumerate(cuts):
            still = frozen is not None and i == len(cuts) - 1
            rows = [w["sink"]] if self.n_sink else []
            rows.append(w["model.model.embed_tokens.weight"][seg])
            if not still:
                rows.append(w["memory"])
            x = np.concatenate(rows)
            for l in range(L):
                x = self.layer(l, x, states[l], len(seg), 0 if still else M)
            x = rms(x[self.n_sink:self.n_sink + len(seg)],
                    w["model.model.norm.weight"])
            out.append(x @ w["model.lm_head.weight"].T)
        return np.concatenate(out)


def numbers(cfg, w, ids):
    p = Plain(cfg, w)
    rolls = cfg["architectures"][0].startswith("Inner")
    out, rows = list(ids), []
    for _ in range(N_STEP):
        first = None if rolls else (len(ids) - 1) // S * S
        rows.append(p.run(out, first)[-1])
        out.append(int(rows[-1].argmax()))
    gen = np.stack(rows)
    top = np.sort(gen, -1)
    return {"input_ids": np.array(ids, np.int32),
            "logits": p.run(ids, None).astype(np.float32),
            "gen_ids": np.array(out[len(ids):], np.int32),
            "gen_logits": gen.astype(np.float32)}, float(
                (top[:, -1] - top[:, -2]).min())


def make(out, name):
    cfg = dict(CASES[name], model_type="armt", key_norm="l2", segment_size=S,
               num_mem_tokens=M, d_mem=DM, dtype="float32",
               base_model_config=dict(
                   model_type="llama", vocab_size=V, hidden_size=D,
                   intermediate_size=FF, num_hidden_layers=L,
                   num_attention_heads=NH, num_key_value_heads=NKV,
                   head_dim=HD, rms_norm_eps=1e-5, rope_theta=10000.0,
                   tie_word_embeddings=False))
    for seed in range(200):
        rng = np.random.default_rng(seed)
        w = weights(rng, cfg)
        found, margin = numbers(cfg, w, rng.integers(0, V, N_TOKEN).tolist())
        if margin > 0.05:
            break
    path = os.path.join(out, name)
    os.makedirs(path, exist_ok=True)
    with open(os.path.join(path, "config.json"), "w") as f:
        json.dump(cfg, f, indent=1, sort_keys=True)
        f.write("\n")
    save_file(w, os.path.join(path, "model.safetensors"))
    save_file(found, os.path.join(path, "expected.safetensors"))
    print(f"{name}: seed {seed}, margin {margin:.3f}")


if __name__ == "__main__":
    for case in CASES:
        make(sys.argv[1], case)
