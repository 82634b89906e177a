#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tiny random base models and their logits with transformers, in float64.

usage: make.py OUT [CASE ...]

The folders beside this file were made with transformers 5.24.0 and torch 2.15
(pip install torch safetensors transformers==5.24.0).
"""
import json
import os
import sys

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

N_TOKEN = 50
COMMON = {"vocab_size": 61, "hidden_size": 32, "intermediate_size": 40,
          "num_hidden_layers": 2, "num_attention_heads": 4,
          "num_key_value_heads": 2, "max_position_embeddings": 128,
          "rms_norm_eps": 1e-5}
NEOX = {k: v for k, v in COMMON.items()
        if k not in ("num_key_value_heads", "rms_norm_eps")}
GPT2 = {"vocab_size": 61, "n_embd": 32, "n_layer": 2, "n_head": 4,
        "n_positions": 64, "n_inner": 40, "bos_token_id": 0,
        "eos_token_id": 1}
CASES = {
    "llama": ("llama", dict(COMMON, rope_theta=5e5)),
    "llama-bias-linear": ("llama", dict(
        COMMON, attention_bias=True, mlp_bias=True, head_dim=12,
        rope_scaling={"rope_type": "linear", "factor": 2.0})),
    "llama-yarn-tied": ("llama", dict(
        COMMON, tie_word_embeddings=True, rope_scaling={
            "rope_type": "yarn", "factor": 4.0,
            "original_max_position_embeddings": 32})),
    "mistral": ("mistral", dict(COMMON, sliding_window=9)),
    "qwen2": ("qwen2", COMMON),
    "qwen3": ("qwen3", dict(COMMON, head_dim=16)),
    "gpt2": ("gpt2", GPT2),
    "neox": ("gpt_neox", dict(NEOX, rotary_pct=0.5)),
    "neox-sequential": ("gpt_neox", dict(
        NEOX, rotary_pct=0.25, use_parallel_residual=False,
        hidden_act="gelu_new")),
}


def make(out, name, kind, fields):
    torch.manual_seed(sum(map(ord, name)))
    config = AutoConfig.for_model(kind, **fields)
    config._attn_implementation = "eager"
    model = AutoModelForCausalLM.from_config(config).double().eval()
    with torch.no_grad():
        for weight in model.parameters():
            spread = 0.3 if weight.dim() == 1 else 1.5 * weight.shape[-1] ** -0.5
            mean = 1.0 if weight.dim() == 1 and weight.mean() == 1 else 0.0
            weight.copy_((mean + spread * torch.randn_like(weight)).float())
        ids = torch.randint(0, 61, (1, N_TOKEN))
        logits = model(ids).logits[0]
    folder = os.path.join(out, name)
    model.float().save_pretrained(folder)
    path = os.path.join(folder, "config.json")
    with open(path, encoding="utf-8") as file:
        fields = json.load(file)
    fields["segment_size"] = 16
    with open(path, "w", encoding="utf-8") as file:
        json.dump(fields, file, indent=1, sort_keys=True)
        file.write("\n")
    extra = os.path.join(folder, "generation_config.json")
    if os.path.exists(extra):
        os.remove(extra)
    save_file({"input_ids": ids[0].int(), "logits": logits.float()},
              os.path.join(folder, "expected.safetensors"))


def main():
    names = sys.argv[2:] or list(CASES)
    for name in names:
        make(sys.argv[1], name, *CASES[name])


if __name__ == "__main__":
    main()
