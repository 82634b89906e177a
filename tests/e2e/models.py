# SPDX-License-Identifier: Apache-2.0
"""Small models of other kinds, made from the tiny one of model/make_tiny.py:
the same numbers under other names, with another config.json."""
import array
import json
import random
import re

SINK_SCALE = 0.2


def read(directory):
    """({name: (shape, bytes)}, config) of a model directory."""
    data = (directory / "model.safetensors").read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    tensors = {}
    for name, item in header.items():
        first, end = item["data_offsets"]
        tensors[name] = (item["shape"], data[start + first:start + end])
    return tensors, json.loads((directory / "config.json").read_text())


def write(directory, tensors, config):
    fields, at = {}, 0
    for name, (shape, data) in tensors.items():
        fields[name] = {"dtype": "F32", "shape": shape,
                        "data_offsets": [at, at + len(data)]}
        at += len(data)
    header = json.dumps(fields).encode()
    header += b" " * (-len(header) % 8)
    with open(directory / "model.safetensors", "wb") as out:
        out.write(len(header).to_bytes(8, "little") + header)
        for _, data in tensors.values():
            out.write(data)
    (directory / "config.json").write_text(json.dumps(config))


def normal(shape, scale, seed, mean=0.0):
    gauss = random.Random(seed).gauss
    count = 1
    for size in shape:
        count *= size
    values = (gauss(mean, scale) for _ in range(count))
    return shape, array.array("f", values).tobytes()


def plain(tensors):
    """Without memory, and under the base model's own names."""
    return {name.removeprefix("memory_cell.model.").replace(".layer.", "."): t
            for name, t in tensors.items()
            if name != "memory_cell.memory" and ".W_m" not in name}


def llama(tensors, config):
    """A plain decoder."""
    return plain(tensors), {**config["base_model_config"],
                            "segment_size": config["segment_size"]}


def rmt(tensors, config):
    """Memory tokens, which leave the last layer and enter the first."""
    out = {"memory_cell.memory": tensors["memory_cell.memory"]}
    out.update({"memory_cell.model." + name: t
                for name, t in plain(tensors).items()})
    keys = ("num_mem_tokens", "segment_size", "base_model_config")
    return out, {"model_type": "rmt", **{key: config[key] for key in keys}}


def window(tensors, config):
    """The segment before is visible, behind a sink; answers roll over."""
    shape = [1, tensors["memory_cell.memory"][0][1]]
    out = {"sink": normal(shape, SINK_SCALE, 5)}
    out.update({name.removeprefix("memory_cell."): t
                for name, t in tensors.items()})
    return out, {**config, "architectures": ["InnerLoopARMTForCausalLM"],
                 "sliding_window": True, "use_sink": True,
                 "generation": "rollover"}


def bare(tensors, config):
    """The second layer has no memory."""
    return {name: t for name, t in tensors.items()
            if not re.search(r"\.1\.W_m", name)}, {
                **config, "wrap_layers": [True, False, True]}


def gpt2(tensors, config):
    """A plain decoder with a table of positions."""
    base = config["base_model_config"]
    d, n_layer = base["hidden_size"], base["num_hidden_layers"]
    vocab, ffn, n_position = base["vocab_size"], 2 * d, 512
    shapes = {"wte.weight": [vocab, d], "wpe.weight": [n_position, d]}
    for layer in range(n_layer):
        at = f"h.{layer}."
        shapes.update({
            at + "ln_1.weight": [d], at + "ln_1.bias": [d],
            at + "attn.c_attn.weight": [d, 3 * d],
            at + "attn.c_attn.bias": [3 * d],
            at + "attn.c_proj.weight": [d, d], at + "attn.c_proj.bias": [d],
            at + "ln_2.weight": [d], at + "ln_2.bias": [d],
            at + "mlp.c_fc.weight": [d, ffn], at + "mlp.c_fc.bias": [ffn],
            at + "mlp.c_proj.weight": [ffn, d], at + "mlp.c_proj.bias": [d]})
    shapes.update({"ln_f.weight": [d], "ln_f.bias": [d]})
    out = {}
    for seed, (name, shape) in enumerate(shapes.items()):
        norm = ".ln_" in "." + name and name.endswith("weight")
        out["transformer." + name] = normal(
            shape, 0.05 if norm else d ** -0.5, seed, 1.0 if norm else 0.0)
    return out, {"model_type": "gpt2", "vocab_size": vocab, "n_embd": d,
                 "n_layer": n_layer, "n_head": base["num_attention_heads"],
                 "n_positions": n_position, "n_inner": ffn,
                 "segment_size": config["segment_size"],
                 "bos_token_id": base["bos_token_id"],
                 "eos_token_id": base["eos_token_id"]}


KINDS = {f.__name__: f for f in (llama, rmt, window, bare, gpt2)}


def remake(directory, kind):
    """Makes another model of the tiny one in its place."""
    write(directory, *KINDS[kind](*read(directory)))
