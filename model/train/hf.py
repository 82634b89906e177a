# SPDX-License-Identifier: Apache-2.0
"""A Model as an HF directory: config.json and model.safetensors."""
import json
import os
import shutil

import torch
from safetensors.torch import load_file, save_file

from armt import Model
from shape import Shape

ROOT = "memory_cell.model."
BASE = {"n1": "input_layernorm.weight",
        "n2": "post_attention_layernorm.weight",
        "q": "self_attn.q_proj.weight", "k": "self_attn.k_proj.weight",
        "v": "self_attn.v_proj.weight", "o": "self_attn.o_proj.weight",
        "gate": "mlp.gate_proj.weight", "up": "mlp.up_proj.weight",
        "down": "mlp.down_proj.weight"}
MEMORY = {"mq": "W_mq.weight", "mk": "W_mk.weight", "mv": "W_mv.weight",
          "mb": "W_mb.weight", "bb": "W_mb.bias"}


def names(s):
    """Our parameter name -> the file's."""
    out = {"emb": ROOT + "model.embed_tokens.weight",
           "norm": ROOT + "model.norm.weight", "memory": "memory_cell.memory"}
    if not s.tied:
        out["head"] = ROOT + "lm_head.weight"
    for i in range(s.layers):
        at = f"{ROOT}model.layers.{i}."
        for ours, theirs in BASE.items():
            out[f"layers.{i}.{ours}"] = at + "layer." + theirs
        for ours, theirs in MEMORY.items():
            out[f"layers.{i}.{ours}"] = at + theirs
    return out


def config(s, bos, eos, dtype):
    return {
        "model_type": "armt", "architectures": ["ARMTForCausalLM"],
        "base_model_name": None,
        "base_model_config": {
            "model_type": "llama", "vocab_size": s.vocab, "hidden_size": s.d,
            "intermediate_size": s.ffn, "num_hidden_layers": s.layers,
            "num_attention_heads": s.heads, "num_key_value_heads": s.kv_heads,
            "head_dim": s.head_dim, "hidden_act": "silu",
            "rms_norm_eps": s.eps, "rope_theta": s.theta,
            "rope_scaling": None, "max_position_embeddings": 131072,
            "attention_bias": False, "mlp_bias": False,
            "tie_word_embeddings": s.tied, "bos_token_id": bos,
            "eos_token_id": eos},
        "num_mem_tokens": s.mem, "d_mem": s.d_mem, "segment_size": s.segment,
        "segment_alignment": "left", "key_norm": "l2", "correction": True,
        "use_denom": False, "generation": "frozen",
        "layers_attr": "model.layers", "dtype": dtype}


def save(m, out, tokenizer, dtype=torch.bfloat16, norms=None):
    """Tokens 0 and 1 of our tokenizer begin and end a text.  `norms`: the
    largest of the states of the layers that write, within the trained
    length."""
    os.makedirs(out, exist_ok=True)
    sd = m.state_dict()
    tensors = {theirs: sd[ours].detach().to("cpu", dtype).contiguous()
               for ours, theirs in names(m.s).items()}
    for i in range(m.s.first):      # nothing is ever written there
        tensors[f"{ROOT}model.layers.{i}.W_mv.weight"].zero_()
    save_file(tensors, os.path.join(out, "model.safetensors"),
              metadata={"format": "pt"})
    fields = config(m.s, 0, 1, str(dtype).partition(".")[2])
    if norms:
        fields["trained_state_norms"] = [0.0] * m.s.first + norms
    with open(os.path.join(out, "config.json"), "w", encoding="utf-8") as f:
        json.dump(fields, f, indent=1)
        f.write("\n")
    shutil.copy(tokenizer, os.path.join(out, "tokenizer.json"))


def load(path, amp=False):
    with open(os.path.join(path, "config.json"), encoding="utf-8") as f:
        c = json.load(f)
    b = c["base_model_config"]
    s = Shape(vocab=b["vocab_size"], d=b["hidden_size"],
              layers=b["num_hidden_layers"], heads=b["num_attention_heads"],
              kv_heads=b["num_key_value_heads"], ffn=b["intermediate_size"],
              segment=c["segment_size"], mem=c["num_mem_tokens"],
              d_mem=c["d_mem"], theta=b["rope_theta"], eps=b["rms_norm_eps"],
              tied=b["tie_word_embeddings"], first=0)
    tensors = load_file(os.path.join(path, "model.safetensors"))
    strip = {k.removeprefix("armt."): v.float() for k, v in tensors.items()}
    while s.first < s.layers and not strip[
            f"{ROOT}model.layers.{s.first}.W_mv.weight"].any():
        s.first += 1
    if s.first == s.layers:
        raise ValueError(f"{path}: no layer has a memory")
    m = Model(s, amp)
    m.load_state_dict({ours: strip[theirs]
                       for ours, theirs in names(s).items()})
    return m
