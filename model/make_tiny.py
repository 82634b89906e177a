#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes a small model directory with random weights: ARMT over LLaMA.

For demonstrations and tests: the arithmetic is that of a real model, the
answers mean nothing.  The same flags give the same bytes.  The value
projection is scaled by 0.1 and the write gate starts at sigmoid(-4), so that
the memory states stay bounded over any number of segments.

usage: make_tiny.py --out DIR [--layers N] [--d-model N] [--heads N] ...
"""
import argparse
import array
import json
import os
import random
import sys

import command  # noqa: F401 (how it ends)

SPECIAL = ["<|begin_of_text|>", "<|end_of_text|>"]
LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
# Frequent pieces of English; \u0120 is the byte-level letter for a space.
MERGES = """
h e|\u0120 t|i n|e r|\u0120 a|r e|o n|\u0120t he|e n|\u0120 s|a t|n d|i s|o r
\u0120 w|e s|i t|\u0120 o|in g|a n|\u0120o f|e d|\u0120a nd|\u0120 b|\u0120 c
\u0120 f|o u|\u0120 p|a r|\u0120t o|\u0120 m|a l|\u0120 in|l e|i on|a s|\u0120 h
\u0120 d|en t|\u0120t h|\u0120 l|r o|\u0120 is|\u0120 n|e l|o m|i c|l l|o w
""".strip().replace("\n", "|").split("|")


def parse_flags():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--out", required=True, help="directory to make")
    for name, value, text in (
            ("layers", 4, "decoder layers"), ("d-model", 128, "width"),
            ("heads", 4, "query heads"), ("kv-heads", 2, "key/value heads"),
            ("ffn", 352, "width of the MLP"),
            ("segment", 256, "tokens of a segment"),
            ("mem", 8, "memory tokens"),
            ("d-mem", 16, "width of memory keys before the feature map"),
            ("merges", 0, f"merged tokens beside the bytes, to {len(MERGES)}"),
            ("vocab", 0, "rows of the token table (0: as many as tokens)"),
            ("seed", 1, "seed of the weights")):
        p.add_argument("--" + name, type=int, default=value,
                       help=f"{text} (default {value})")
    p.add_argument("--dtype", choices=("f32", "bf16"), default="f32")
    p.add_argument("--tied", action="store_true",
                   help="the head is the token table")
    flags = p.parse_args()
    check_flags(p, flags)
    return flags


def check_flags(parser, flags):
    n_token = 256 + flags.merges + len(SPECIAL)
    if flags.vocab == 0:
        flags.vocab = n_token
    counts = (flags.layers, flags.d_model, flags.heads, flags.kv_heads,
              flags.ffn, flags.segment, flags.mem, flags.d_mem)
    if min(counts) < 1:
        parser.error("sizes must be at least 1")
    if flags.d_model % (2 * flags.heads) or flags.heads % flags.kv_heads:
        parser.error("--d-model must be a multiple of 2 x --heads, "
                     "and --heads of --kv-heads")
    if not 0 <= flags.merges <= len(MERGES):
        parser.error(f"--merges is 0 to {len(MERGES)}")
    if flags.vocab < n_token:
        parser.error(f"--vocab must be at least {n_token}")


def byte_letters():
    """The printable letter that stands for each byte in tokenizer.json."""
    plain = (list(range(0x21, 0x7F)) + list(range(0xA1, 0xAD))
             + list(range(0xAE, 0x100)))
    letters = {b: chr(b) for b in plain}
    rest = [b for b in range(256) if b not in letters]
    letters.update({b: chr(256 + i) for i, b in enumerate(rest)})
    return [letters[b] for b in range(256)]


def tokenizer(flags):
    merges = MERGES[:flags.merges]
    tokens = byte_letters() + [m.replace(" ", "") for m in merges]
    first = len(tokens)
    added = [{"id": first + i, "content": text, "single_word": False,
              "lstrip": False, "rstrip": False, "normalized": False,
              "special": True} for i, text in enumerate(SPECIAL)]
    bos = SPECIAL[0]
    template = [{"SpecialToken": {"id": bos, "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}}]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False,
                  "trim_offsets": True, "use_regex": False}
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": added, "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": LLAMA3_PATTERN},
             "behavior": "Isolated", "invert": False}, byte_level]},
        "post_processor": {"type": "TemplateProcessing", "single": template,
                           "pair": template, "special_tokens": {bos: {
                               "id": bos, "ids": [first], "tokens": [bos]}}},
        "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None,
                  "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False,
                  "byte_fallback": False, "ignore_merges": True,
                  "vocab": {t: i for i, t in enumerate(tokens)},
                  "merges": merges}}


def config(flags):
    bos = 256 + flags.merges
    name = "float32" if flags.dtype == "f32" else "bfloat16"
    return {
        "model_type": "armt", "architectures": ["ARMTForCausalLM"],
        "base_model_name": None,
        "base_model_config": {
            "model_type": "llama", "vocab_size": flags.vocab,
            "hidden_size": flags.d_model, "intermediate_size": flags.ffn,
            "num_hidden_layers": flags.layers,
            "num_attention_heads": flags.heads,
            "num_key_value_heads": flags.kv_heads,
            "head_dim": flags.d_model // flags.heads,
            "hidden_act": "silu", "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0, "rope_scaling": None,
            "max_position_embeddings": 131072, "attention_bias": False,
            "mlp_bias": False, "tie_word_embeddings": flags.tied,
            "bos_token_id": bos, "eos_token_id": bos + 1},
        "num_mem_tokens": flags.mem, "d_mem": flags.d_mem,
        "segment_size": flags.segment, "segment_alignment": "left",
        "key_norm": "l2", "correction": True, "use_denom": True,
        "generation": "frozen", "layers_attr": "model.layers",
        "dtype": name}


def tensors(flags):
    """(name, shape, scale of the normal numbers, constant) in file order."""
    d, ffn = flags.d_model, flags.ffn
    d_kv = flags.kv_heads * (d // flags.heads)
    root = "memory_cell.model."
    unit, wide = d ** -0.5, ffn ** -0.5
    out = [("memory_cell.memory", [flags.mem, d], unit, 0.0),
           (root + "model.embed_tokens.weight", [flags.vocab, d], unit, 0.0)]
    for layer in range(flags.layers):
        at = f"{root}model.layers.{layer}."
        inner = at + "layer."
        out += [
            (inner + "input_layernorm.weight", [d], 0.0, 1.0),
            (inner + "self_attn.q_proj.weight", [d, d], unit, 0.0),
            (inner + "self_attn.k_proj.weight", [d_kv, d], unit, 0.0),
            (inner + "self_attn.v_proj.weight", [d_kv, d], unit, 0.0),
            (inner + "self_attn.o_proj.weight", [d, d], unit, 0.0),
            (inner + "post_attention_layernorm.weight", [d], 0.0, 1.0),
            (inner + "mlp.gate_proj.weight", [ffn, d], unit, 0.0),
            (inner + "mlp.up_proj.weight", [ffn, d], unit, 0.0),
            (inner + "mlp.down_proj.weight", [d, ffn], wide, 0.0),
            (at + "W_mq.weight", [flags.d_mem, d], unit, 0.0),
            (at + "W_mk.weight", [flags.d_mem, d], unit, 0.0),
            (at + "W_mv.weight", [d, d], 0.1 * unit, 0.0),
            (at + "W_mb.weight", [1, d], unit, 0.0),
            (at + "W_mb.bias", [1], 0.0, -4.0)]
    out.append((root + "model.norm.weight", [d], 0.0, 1.0))
    if not flags.tied:
        out.append((root + "lm_head.weight", [flags.vocab, d], unit, 0.0))
    return out


def count(shape):
    n = 1
    for size in shape:
        n *= size
    return n


def header(items, flags):
    width = 4 if flags.dtype == "f32" else 2
    fields, at = {"__metadata__": {"format": "pt"}}, 0
    for name, shape, _, _ in items:
        end = at + width * count(shape)
        fields[name] = {"dtype": flags.dtype.upper(), "shape": shape,
                        "data_offsets": [at, end]}
        at = end
    text = json.dumps(fields, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8)


def encode(values, dtype):
    """Little-endian bytes; bfloat16 is rounded to nearest, ties to even."""
    data = array.array("f", values)
    if dtype == "bf16":
        bits = array.array("I", data.tobytes())
        data = array.array(
            "H", (b + 0x7FFF + (b >> 16 & 1) >> 16 for b in bits))
    if sys.byteorder == "big":
        data.byteswap()
    return data.tobytes()


def write_weights(path, flags):
    items = tensors(flags)
    normal = random.Random(flags.seed).gauss
    with open(path, "wb") as out:
        head = header(items, flags)
        out.write(len(head).to_bytes(8, "little") + head)
        for _, shape, scale, constant in items:
            n = count(shape)
            if scale == 0.0:
                values = [constant] * n
            else:
                values = [normal(0.0, scale) for _ in range(n)]
            out.write(encode(values, flags.dtype))


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as out:
        json.dump(value, out, indent=1, ensure_ascii=False)
        out.write("\n")


def main():
    flags = parse_flags()
    os.makedirs(flags.out, exist_ok=True)
    write_json(os.path.join(flags.out, "config.json"), config(flags))
    write_json(os.path.join(flags.out, "tokenizer.json"), tokenizer(flags))
    write_weights(os.path.join(flags.out, "model.safetensors"), flags)


if __name__ == "__main__":
    main()
