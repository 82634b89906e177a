#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the parity cases: tiny random base models, with the logits that Hugging
Face transformers computes for them in float64, in one pass over everything.

  make.py OUT [NAME]     makes the cases below OUT
  make.py --check DIR    computes the numbers of the cases in DIR again

Made with transformers 5.24.0 and torch (pip install torch
transformers==5.24.0).  --check ends with exit status 77 where they are absent.
"""
import json
import os
import sys

try:
    import torch
    import transformers
    from safetensors.torch import load_file, save_file
except ImportError as e:
    print(f"not checked: {e}; pip install torch transformers==5.24.0")
    sys.exit(77)

VERSION = "5.24.0"
N_TOKEN, N_STEP, SEGMENT = 61, 12, 16
BASE = dict(vocab_size=64, hidden_size=32, intermediate_size=40,
            num_hidden_layers=3, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=256,
            bos_token_id=None, eos_token_id=None)
GPT2 = dict(vocab_size=64, n_embd=32, n_inner=40, n_layer=3, n_head=4,
            n_positions=96, bos_token_id=None, eos_token_id=None)
NEOX = {k: v for k, v in BASE.items() if k != "num_key_value_heads"}
YARN = dict(rope_type="yarn", rope_theta=1e4, factor=4.0,
            original_max_position_embeddings=32)
CASES = {
    "llama": ("llama", BASE),
    "llama-biases": ("llama", dict(BASE, attention_bias=True, mlp_bias=True)),
    "llama-yarn": ("llama", dict(BASE, rope_parameters=YARN)),
    "mistral": ("mistral", dict(BASE, sliding_window=13)),
    "qwen2": ("qwen2", dict(BASE, tie_word_embeddings=True)),
    "qwen3": ("qwen3", dict(BASE, head_dim=12)),
    "gpt2": ("gpt2", GPT2),
    "neox": ("gpt_neox", dict(NEOX, rotary_pct=0.25)),
    "neox-sequential": ("gpt_neox", dict(NEOX, rotary_pct=0.5,
                                         use_parallel_residual=False)),
}


def config_of(kind, fields):
    return transformers.AutoConfig.for_model(kind, **fields)


def model_of(config):
    model = transformers.AutoModelForCausalLM.from_config(
        config, attn_implementation="eager", dtype=torch.float32)
    return model.eval()


def randomize(model, seed):
    """Every number is drawn, biases and norms too."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            x = torch.randn(p.shape, generator=g)
            if p.dim() == 1:
                p.copy_(x * 0.2 + ("norm" in name and "bias" not in name or
                                   ".ln_" in name and "bias" not in name))
            else:
                p.copy_(x * (1.6 / p.shape[-1] ** 0.5))


def numbers(model, ids):
    """Logits of one pass, and a greedy answer, in float64."""
    model = model.double()
    out = list(ids)
    with torch.no_grad():
        logits = model(torch.tensor([ids]), use_cache=False).logits[0]
        rows = [logits[-1]]
        for _ in range(N_STEP):
            out.append(int(rows[-1].argmax()))
            rows.append(model(torch.tensor([out]),
                              use_cache=False).logits[0, -1])
    gen = torch.stack(rows[:N_STEP])
    top = gen.topk(2).values
    return {"input_ids": torch.tensor(ids, dtype=torch.int32),
            "logits": logits.float().contiguous(),
            "gen_ids": torch.tensor(out[len(ids):], dtype=torch.int32),
            "gen_logits": gen.float().contiguous()}, float(
                (top[:, 0] - top[:, 1]).min())


def ids_of(seed, n_vocab):
    g = torch.Generator().manual_seed(1000 + seed)
    return torch.randint(0, n_vocab, (N_TOKEN,), generator=g).tolist()


def make(out, name):
    kind, fields = CASES[name]
    config = config_of(kind, fields)
    for seed in range(100):
        model = model_of(config)
        randomize(model, seed)
        kept = {k: v.clone() for k, v in model.state_dict().items()}
        found, margin = numbers(model, ids_of(seed, fields["vocab_size"]))
        if margin > 0.05:
            break
    path = os.path.join(out, name)
    os.makedirs(path, exist_ok=True)
    if getattr(config, "tie_word_embeddings", False):
        kept.pop("lm_head.weight")
    text = json.loads(config.to_json_string(use_diff=False))
    text = {k: v for k, v in text.items() if v is not None}
    text["segment_size"] = SEGMENT
    with open(os.path.join(path, "config.json"), "w") as f:
        json.dump(text, f, indent=1, sort_keys=True)
        f.write("\n")
    save_file(kept, os.path.join(path, "model.safetensors"))
    save_file(found, os.path.join(path, "expected.safetensors"))
    print(f"{name}: seed {seed}, margin {margin:.3f}")


def check(path, name):
    config = config_of(*CASES[name])
    model = model_of(config)
    missing = model.load_state_dict(
        load_file(os.path.join(path, name, "model.safetensors")), strict=False)
    assert not missing.unexpected_keys, missing
    want = load_file(os.path.join(path, name, "expected.safetensors"))
    got, _ = numbers(model, want["input_ids"].tolist())
    assert torch.equal(got["gen_ids"], want["gen_ids"]), name
    for key in ("logits", "gen_logits"):
        error = (got[key] - want[key]).abs().max() / want[key].abs().max()
        assert error < 1e-5, (name, key, float(error))


def main():
    if transformers.__version__ != VERSION:
        print(f"not checked: transformers {transformers.__version__}, the "
              f"cases are of {VERSION}")
        sys.exit(77)
    torch.set_num_threads(1)
    if sys.argv[1] == "--check":
        for name in CASES:
            check(sys.argv[2], name)
        print(f"{len(CASES)} cases are what transformers {VERSION} gives")
    else:
        for name in sys.argv[2:] or CASES:
            make(sys.argv[1], name)


if __name__ == "__main__":
    main()
