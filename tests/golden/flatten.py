#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turns golden cases into a line manifest and a file of plain numbers.

usage: flatten.py CASES OUT

For each folder of CASES with a config.json there is OUT/NAME.manifest and
OUT/NAME.data, and OUT/cases names them, one a line. A host without a JSON
library reads them (tests/worker/flat.h). A manifest has one fact a line:

  config KEY VALUE            a field of model_config; words for enumerations
  weight KIND LAYER AT N      numbers AT .. AT + N - 1 of the data, fp32
  tensor NAME TYPE AT ROWS N  what is expected; f32 or i32

Only Python's own library is needed.
"""

import array
import json
import os
import re
import struct
import sys

LAYER = re.compile(r"(?:layers|h)\.(\d+)\.(?:layer\.)?(.+)$")
# Stacked in this order; True: stored [in, out].
KINDS = (
    ("norm1", False, ("input_layernorm.weight",), ("ln_1.weight",)),
    ("norm1_bias", False, (), ("ln_1.bias",)),
    ("qkv", True, ("self_attn.q_proj.weight", "self_attn.k_proj.weight",
                   "self_attn.v_proj.weight"), ("attn.c_attn.weight",)),
    ("qkv_bias", False, ("self_attn.q_proj.bias", "self_attn.k_proj.bias",
                         "self_attn.v_proj.bias"), ("attn.c_attn.bias",)),
    ("out", True, ("self_attn.o_proj.weight",), ("attn.c_proj.weight",)),
    ("out_bias", False, (), ("attn.c_proj.bias",)),
    ("norm2", False, ("post_attention_layernorm.weight",), ("ln_2.weight",)),
    ("norm2_bias", False, (), ("ln_2.bias",)),
    ("gate_up", True, ("mlp.gate_proj.weight", "mlp.up_proj.weight"),
     ("mlp.c_fc.weight",)),
    ("gate_up_bias", False, (), ("mlp.c_fc.bias",)),
    ("down", True, ("mlp.down_proj.weight",), ("mlp.c_proj.weight",)),
    ("down_bias", False, (), ("mlp.c_proj.bias",)),
    ("mem_q", False, ("W_mq.weight",), ("W_mq.weight",)),
    ("mem_k", False, ("W_mk.weight",), ("W_mk.weight",)),
    ("mem_v", False, ("W_mv.weight",), ("W_mv.weight",)),
    ("mem_b", False, ("W_mb.weight",), ("W_mb.weight",)),
    ("mem_b_bias", False, ("W_mb.bias",), ("W_mb.bias",)),
)
ENDS = (
    ("embed", ("embed_tokens.weight", "wte.weight")),
    ("head", ("lm_head.weight",)),
    ("position", ("wpe.weight",)),
    ("memory", ("memory",)),
    ("sink", ("sink",)),
    ("norm_f", ("norm.weight", "ln_f.weight")),
    ("norm_f_bias", ("ln_f.bias",)),
)


def widen(raw):
    """bf16 as fp32."""
    halves = array.array("H", raw)
    return struct.pack(f"<{len(halves)}I", *(h << 16 for h in halves))


def read(path):
    """{name: (type, shape, bytes of 4 a number)}."""
    with open(path, "rb") as f:
        (size,) = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(size))
        data = f.read()
    out = {}
    for name, t in header.items():
        if name == "__metadata__":
            continue
        first, last = t["data_offsets"]
        raw, kind = data[first:last], t["dtype"]
        if kind == "BF16":
            raw, kind = widen(raw), "F32"
        out[name] = (kind, t["shape"], raw)
    return out


def across(shape, raw):
    rows, cols = shape
    x = array.array("I", raw)
    return b"".join(x[c::cols].tobytes() for c in range(cols)) if rows else b""


def rope_lines(base):
    scaling = base.get("rope_scaling")
    yield "rope_theta", base["rope_theta"]
    if scaling:
        yield "rope_kind", scaling["rope_type"]
        yield "rope_factor", scaling["factor"]
        yield "rope_low_freq_factor", scaling["low_freq_factor"]
        yield "rope_high_freq_factor", scaling["high_freq_factor"]
        yield ("rope_original_max_position",
               scaling["original_max_position_embeddings"])


def block_lines(base):
    tied = int(base["tie_word_embeddings"])
    yield "tied_head", tied
    yield "n_vocab", base["vocab_size"]
    if base["model_type"] == "gpt2":
        width, heads = base["n_embd"], base["n_head"]
        yield from (("block", "gpt2"), ("act", "gelu_tanh"),
                    ("n_layer", base["n_layer"]), ("d_model", width),
                    ("n_head", heads), ("n_kv_head", heads),
                    ("d_head", width // heads), ("d_ffn", base["n_inner"]),
                    ("n_position", base["n_positions"]),
                    ("norm_eps", base["layer_norm_epsilon"]),
                    ("qkv_bias", 1), ("out_bias", 1), ("mlp_bias", 1))
        return
    if base.get("attention_bias") or base.get("mlp_bias"):
        sys.exit("biases of a LLaMA are not written yet")
    yield from (("block", "llama"), ("act", "silu"),
                ("n_layer", base["num_hidden_layers"]),
                ("d_model", base["hidden_size"]),
                ("n_head", base["num_attention_heads"]),
                ("n_kv_head", base["num_key_value_heads"]),
                ("d_head", base["head_dim"]),
                ("rope_d_rot", base["head_dim"]),
                ("d_ffn", base["intermediate_size"]),
                ("norm_eps", base["rms_norm_eps"]),
                ("qkv_bias", int(base["model_type"] == "qwen2")))
    yield from rope_lines(base)


def memory_lines(cfg):
    yield "segment_size", cfg["segment_size"]
    yield "n_mem", cfg["num_mem_tokens"]
    if cfg["model_type"] == "rmt":
        yield "memory", "tokens"
        return
    outer = cfg["architectures"][0] == "ARMTForCausalLM"
    yield from (("memory", "assoc"), ("generation", cfg["generation"]),
                ("n_sink", int(cfg["use_sink"])),
                ("window", int(cfg["sliding_window"])),
                ("window_outer", int(cfg["sliding_window"] and outer)),
                ("wrap_pos", int(cfg["wrap_pos"])), ("d_mem", cfg["d_mem"]),
                ("n_mem_head", cfg["n_heads"]),
                ("correction", int(cfg["correction"])),
                ("l2_norm", int(cfg["key_norm"] == "l2")),
                ("denom", int(cfg["use_denom"])),
                ("gating", int(cfg["gating"])))


class Case:
    def __init__(self):
        self.lines = []
        self.data = []
        self.n = 0

    def put(self, raw):
        at = self.n
        self.data.append(raw)
        self.n += len(raw) // 4
        return at

    def weight(self, kind, layer, raw):
        at = self.put(raw)
        self.lines.append(f"weight {kind} {layer} {at} {len(raw) // 4}")

    def layers(self, tensors, is_gpt2):
        by_layer = {}
        for name, t in tensors.items():
            match = LAYER.search(name)
            if match:
                by_layer.setdefault(int(match[1]), {})[match[2]] = t
        for layer, has in sorted(by_layer.items()):
            for kind, product, llama, gpt2 in KINDS:
                names = gpt2 if is_gpt2 else llama
                parts = [has.pop(n) for n in names if n in has]
                if parts:
                    turn = product and is_gpt2
                    self.weight(kind, layer, b"".join(
                        across(p[1], p[2]) if turn else p[2] for p in parts))
            if has:
                sys.exit(f"unknown weights of a layer: {sorted(has)}")

    def ends(self, tensors, tied):
        seen = {}
        for name, t in tensors.items():
            if LAYER.search(name):
                continue
            for kind, endings in ENDS:
                if name.split(".")[-1] in endings or any(
                        name.endswith("." + e) for e in endings):
                    seen[kind] = t
                    break
            else:
                sys.exit(f"unknown weight {name}")
        if tied:
            head = seen.pop("head", None)
            seen.setdefault("embed", head)
        for kind, t in seen.items():
            self.weight(kind, 0, t[2])

    def expect(self, tensors):
        for name, (kind, shape, raw) in tensors.items():
            at = self.put(raw)
            self.lines.append(f"tensor {name} {kind.lower()} {at} {shape[0]} "
                              f"{len(raw) // 4}")


def flatten(folder, out):
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
        cfg = json.load(f)
    base = cfg["base_model_config"]
    case = Case()
    for key, value in (*block_lines(base), *memory_lines(cfg)):
        case.lines.append(f"config {key} {value}")
    weights = read(os.path.join(folder, "model.safetensors"))
    case.layers(weights, base["model_type"] == "gpt2")
    case.ends(weights, base["tie_word_embeddings"])
    case.expect(read(os.path.join(folder, "expected.safetensors")))
    with open(out + ".manifest", "w", encoding="ascii") as f:
        f.write("\n".join(case.lines) + "\n")
    with open(out + ".data", "wb") as f:
        f.write(b"".join(case.data))


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    cases, out = sys.argv[1:]
    os.makedirs(out, exist_ok=True)
    names = [n for n in sorted(os.listdir(cases))
             if os.path.exists(os.path.join(cases, n, "config.json"))]
    for name in names:
        flatten(os.path.join(cases, name), os.path.join(out, name))
    with open(os.path.join(out, "cases"), "w", encoding="ascii") as f:
        f.write("\n".join(names) + "\n")


if __name__ == "__main__":
    main()
