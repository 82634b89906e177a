#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes rope_reference.h: the rotary frequencies, and the factor of cosines
and sines, that transformers gives for configurations of config_base_test.c.

Made with transformers 5.24.0 (pip install torch transformers==5.24.0); run it
again only to add cases: rope_reference.py > rope_reference.h
"""
import json

from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
          "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
CASES = [
    {"rope_theta": 5e5},
    {"rope_scaling": {"type": "linear", "factor": 4.0}},
    {"rope_theta": 5e5, "rope_scaling": LLAMA3},
    {"rope_parameters": dict(LLAMA3, rope_theta=5e5)},
    {"rope_theta": 1e6, "max_position_embeddings": 32768,
     "rope_scaling": {"type": "yarn", "factor": 4.0,
                      "original_max_position_embeddings": 32768}},
    {"max_position_embeddings": 4096,
     "rope_scaling": {"rope_type": "yarn", "factor": 16.0}},
    {"max_position_embeddings": 4096,
     "rope_scaling": {"rope_type": "yarn", "factor": 40.0, "mscale": 0.707,
                      "mscale_all_dim": 1.0, "beta_fast": 16, "beta_slow": 2,
                      "original_max_position_embeddings": 512}},
    {"max_position_embeddings": 4096,
     "rope_scaling": {"rope_type": "yarn", "factor": 8.0, "truncate": False,
                      "attention_factor": 1.25,
                      "original_max_position_embeddings": 2048}},
    {"max_position_embeddings": 4096,
     "rope_parameters": {"rope_type": "yarn", "factor": None,
                         "rope_theta": 1e4,
                         "original_max_position_embeddings": 1024}},
]
HEAD = """/* SPDX-License-Identifier: Apache-2.0 */
/* Made by rope_reference.py. */
#ifndef TESTS_MODEL_ROPE_REFERENCE_H
#define TESTS_MODEL_ROPE_REFERENCE_H

static const struct rope_case {
    const char *fields;
    double scale, freq[16];
} rope_reference[] = {"""


def main():
    print(HEAD)
    for case in CASES:
        given = json.loads(json.dumps(case))
        rope = LlamaRotaryEmbedding(LlamaConfig(
            hidden_size=48, num_attention_heads=4, head_dim=32, **given))
        text = json.dumps(case, separators=(",", ":"))[1:-1]
        text = json.dumps(text)
        values = [f"{x:.9g}" for x in rope.inv_freq.tolist()]
        print(f"    {{{text},\n     {float(rope.attention_scaling):.9g},")
        print("     {" + ", ".join(values) + "}},")
    print("};\n\n#endif")


if __name__ == "__main__":
    main()
