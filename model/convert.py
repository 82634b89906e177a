#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes a model directory that loads of a checkpoint that does not.

Reads a pickle (pytorch_model.bin, shards with their index, a training
checkpoint), as weights only, or safetensors without a usable config.json.
Writes model.safetensors and a config.json that says everything.  What tensors
do not tell must be in the checkpoint's config.json or be given by flags;
nothing is guessed: what is missing is listed.

usage: convert.py --in PATH --out DIR [--base-config FILE] [--segment-size N]
                  [--key-norm none|l2] ...

Pickles need torch (pip install torch); safetensors need Python alone.
"""
import argparse
import json
import os
import re
import shutil

import command
from command import Refused

BASES = ("llama", "mistral", "qwen2", "qwen3", "gpt2", "gpt_neox")
TYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
WIDTHS = {"F32": 4, "F16": 2, "BF16": 2}
BESIDE = ("tokenizer.json", "tokenizer_config.json", "generation_config.json",
          "adapter_config.json")
BUFFERS = re.compile(r"(rotary_emb\.inv_freq|\.attn\.(masked_)?bias|"
                     r"\.attention\.(masked_)?bias)$")


# ---------------------------------------------------------------- reading ---

class Tensor:
    """A tensor whose bytes are produced when they are written."""

    def __init__(self, kind, shape, data):
        self.kind, self.shape, self.data = kind, list(shape), data

    def size(self):
        n = WIDTHS[self.kind]
        for length in self.shape:
            n *= length
        return n


def object_of(text, path):
    """The JSON object that a file has."""
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Refused(f"{path} has no JSON object where one is wanted")
    return value


def is_tensor(field):
    def numbers(name):
        value = field.get(name)
        return isinstance(value, list) and all(
            isinstance(n, int) and n >= 0 for n in value)

    return (isinstance(field, dict) and isinstance(field.get("dtype"), str)
            and numbers("shape") and numbers("data_offsets")
            and len(field["data_offsets"]) == 2)


def read_safetensors(path):
    """{name: Tensor} and the aliases {name: name} of one file."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > 1 << 24:
            raise Refused(f"{path}: its header is too long")
        header = object_of(file.read(size), path)
    aliases = header.pop("__metadata__", {})
    tensors = {}
    for name, field in header.items():
        if not is_tensor(field):
            raise Refused(f"{path}: {name} is no tensor")
        first, last = field["data_offsets"]

        def data(first=first, last=last):
            with open(path, "rb") as file:
                file.seek(8 + size + first)
                return file.read(last - first)
        tensors[name] = Tensor(field["dtype"], field["shape"], data)
    return tensors, {a: b for a, b in aliases.items() if b in tensors}


def load_pickle(path):
    """The tensors of a pickle, read as weights only: no code of it runs."""
    try:
        import torch
    except ImportError:
        raise Refused(f"{path} is a pickle: reading it needs torch "
                      "(pip install torch)") from None
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of many kinds, none of them documented
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise Refused(f"{path} cannot be read as weights only: "
                      f"{first}") from None
    for _ in range(3):
        if not isinstance(found, dict):
            raise Refused(f"{path} holds no dictionary of tensors")
        if any(torch.is_tensor(v) for v in found.values()):
            break
        inner = [k for k in ("state_dict", "model_state_dict", "model",
                             "module") if isinstance(found.get(k), dict)]
        if len(inner) != 1:
            raise Refused(f"{path}: the model is in none or several of its "
                          f"entries: {', '.join(map(str, list(found)[:10]))}")
        found = found[inner[0]]
    return {name: v for name, v in found.items() if torch.is_tensor(v)}


def bytes_of(tensor):
    import torch
    flat = tensor.detach().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes()


def read_pickles(paths):
    """As read_safetensors(); tensors that share memory become aliases, under
    the name that is not the wrapper's second list."""
    raw, tensors, aliases, kept = {}, {}, {}, {}
    for path in paths:
        raw.update(load_pickle(path))
    if raw and all(name.startswith("module.") for name in raw):
        raw = {name[len("module."):]: v for name, v in raw.items()}
    for name in sorted(raw, key=lambda n: (".layers." in n and
                                           "memory_cell.layers." in n, n)):
        value = raw[name]
        kind = str(value.dtype).replace("torch.", "")
        same = (value.data_ptr(), tuple(value.shape), tuple(value.stride()))
        if BUFFERS.search(name):
            continue
        if kind not in TYPES:
            raise Refused(f"tensor {name} is of type {kind}")
        if value.numel() > 0 and same in kept:
            aliases[name] = kept[same]
            continue
        kept[same] = name
        tensors[name] = Tensor(TYPES[kind], value.shape,
                               lambda value=value: bytes_of(value))
    return tensors, aliases


def index_of(folder, name):
    index = read_json(os.path.join(folder, name)).get("weight_map")
    if not isinstance(index, dict) or not index or not all(
            isinstance(shard, str) for shard in index.values()):
        raise Refused(f"{name} has no weight_map")
    shards = sorted(set(index.values()))
    for shard in shards:
        if os.path.basename(shard) != shard:
            raise Refused(f"{name} names {shard}, which is no plain file name")
    return [os.path.join(folder, shard) for shard in shards]


def read_checkpoint(path):
    """Tensors and aliases of a file or a directory."""
    if os.path.isfile(path):
        if path.endswith(".safetensors"):
            return read_safetensors(path)
        return read_pickles([path])
    for name, read in (("model.safetensors", "safe"),
                       ("pytorch_model.bin", "pickle")):
        paths = [os.path.join(path, name)]
        if os.path.exists(paths[0] + ".index.json"):
            paths = index_of(path, name + ".index.json")
        if not os.path.exists(paths[0]):
            continue
        if read == "pickle":
            return read_pickles(paths)
        tensors, aliases = {}, {}
        for one in paths:
            more = read_safetensors(one)
            tensors.update(more[0])
            aliases.update(more[1])
        return tensors, aliases
    raise Refused(f"{path} has neither model.safetensors nor "
                  "pytorch_model.bin")


# ------------------------------------------------------------- recognising ---

def plain(name):
    return name.removeprefix("armt.")


def find(tensors, *endings):
    for name in sorted(tensors):
        if plain(name).endswith(endings):
            return tensors[name]
    return None


def recognise(tensors):
    """What the tensors tell: memory, sizes, options that leave tensors."""
    names = {plain(name) for name in tensors}
    if any(".act." in name for name in names):
        raise Refused("the checkpoint has adaptive computation (.act.), which "
                      "is not supported")
    seen = {"outer": "memory_cell.memory" in names, "inner": "memory" in names,
            "armt": any(n.endswith(".W_mq.weight") for n in names),
            "lora": any(".lora_A" in n for n in names)}
    if not seen["outer"] and not seen["inner"]:
        seen["memory"] = None
        return seen
    seen["memory"] = "armt" if seen["armt"] else "rmt"
    memory = find(tensors, "memory_cell.memory") or tensors.get("memory")
    seen["num_mem_tokens"] = memory.shape[0]
    seen["width"] = memory.shape[1]
    if seen["armt"]:
        layers = {int(m[1]) for m in (
            re.search(r"\.(\d+)\.W_mq\.weight$", n) for n in names) if m}
        gate = find(tensors, ".W_mb.weight").shape[0]
        seen["d_mem"] = find(tensors, ".W_mq.weight").shape[0]
        seen["gate"], seen["layers"] = gate, layers
        seen["use_sink"] = "memory_cell.sink" in names or "sink" in names
    return seen


def first_of(config, *names):
    for name in names:
        if config.get(name) is not None:
            return config[name]
    return None


# ------------------------------------------------------------ configuration ---

def read_json(path):
    with open(path, "rb") as file:
        return object_of(file.read(), path)


def given_config(flags):
    """config.json beside the checkpoint, where there is one."""
    folder = flags.input if os.path.isdir(flags.input) else os.path.dirname(
        flags.input)
    path = os.path.join(folder, "config.json")
    return read_json(path) if os.path.exists(path) else {}


def base_config(flags, config):
    if flags.base_config is not None:
        path = flags.base_config
        if os.path.isdir(path):
            path = os.path.join(path, "config.json")
        base = read_json(path)
    else:
        base = config.get("base_model_config")
        if config.get("model_type") in BASES:
            base = config
    if base is not None and base.get("model_type") not in BASES:
        raise Refused(f"the base model's model_type {base.get('model_type')} "
                      f"is none of {', '.join(BASES)}")
    return base


def switch(text):
    return {"true": True, "false": False}[text]


# Field of config.json, flag, how its text is read; of ARMT, and of RMT.
ARMT_FIELDS = (("segment_size", "segment_size", int),
               ("key_norm", "key_norm", str),
               ("correction", "correction", switch),
               ("use_denom", "use_denom", switch),
               ("sliding_window", "sliding_window", switch),
               ("segment_alignment", "alignment", str),
               ("generation", "generation", str))
RMT_FIELDS = (("segment_size", "segment_size", int),
              ("segment_alignment", "alignment", str))


def collect(flags, config, fields, missing):
    """The fields from flags, else from the config, else they are missing."""
    out = {}
    for field, flag, read in fields:
        text = getattr(flags, flag)
        value = read(text) if text is not None else config.get(field)
        if field == "sliding_window" and value is None:
            value = config.get("sliding_window_enabled")
        if value is None:
            missing.append("--" + flag.replace("_", "-"))
        out[field] = value
    return out


def wrap_positions(tensors, base, seen):
    """Whether memory tokens have rows of their own in the position table."""
    table = find(tensors, "transformer.wpe.weight")
    if base["model_type"] != "gpt2" or table is None:
        return False
    extra = table.shape[0] - base["n_positions"]
    if extra not in (0, seen["num_mem_tokens"]):
        raise Refused(f"the position table has {table.shape[0]} rows: neither "
                      f"n_positions {base['n_positions']} nor as many more as "
                      f"there are memory tokens")
    return extra > 0


def armt_config(flags, config, tensors, base, seen):
    missing = []
    if base is None:
        missing.append("--base-config")
    out = collect(flags, config, ARMT_FIELDS, missing)
    # The names of tensors tell which loop it is.
    name = "InnerLoopARMTForCausalLM" if seen["inner"] else "ARMTForCausalLM"
    gating = seen["gate"] == seen["width"] and seen["gate"] > 1
    heads = 1 if gating or seen["gate"] == 1 else seen["gate"]
    if gating and flags.memory_heads is None and "n_heads" not in config:
        missing.append("--memory-heads")
    if missing:
        refuse_missing("ARMT", missing)
    n_layer = first_of(base, "num_hidden_layers", "n_layer")
    wrapped = [layer in seen["layers"] for layer in range(n_layer)]
    out.update(
        model_type="armt", architectures=[name],
        base_model_name=None, base_model_config=base,
        num_mem_tokens=seen["num_mem_tokens"], d_mem=seen["d_mem"],
        n_heads=heads, gating=gating, use_sink=seen["use_sink"],
        wrap_pos=wrap_positions(tensors, base, seen),
        wrap_layers=None if all(wrapped) else wrapped, act_on=False,
        attend_to_previous_input=False)
    if gating:
        out["n_heads"] = int(flags.memory_heads or config["n_heads"])
    return out


def rmt_config(flags, config, base, seen):
    missing = []
    if base is None:
        missing.append("--base-config")
    out = collect(flags, config, RMT_FIELDS, missing)
    if missing:
        refuse_missing("RMT", missing)
    out.update(model_type="rmt", base_model_name=None, base_model_config=base,
               num_mem_tokens=seen["num_mem_tokens"])
    return out


def refuse_missing(kind, missing):
    raise Refused(f"this is {kind}, and its tensors do not tell all; give "
                  + ", ".join(missing))


def make_config(flags, tensors):
    config = given_config(flags)
    base = base_config(flags, config)
    seen = recognise(tensors)
    if seen["memory"] == "armt":
        out = armt_config(flags, config, tensors, base, seen)
    elif seen["memory"] == "rmt":
        out = rmt_config(flags, config, base, seen)
    else:
        if base is None:
            refuse_missing("a base model alone", ["--base-config"])
        out = dict(base)
        if flags.segment_size is not None:
            out["segment_size"] = int(flags.segment_size)
    for name in ("bos_token_id", "eos_token_id"):
        if config.get(name) is not None:
            out[name] = config[name]
    if seen["lora"]:
        alpha = flags.lora_alpha or config.get("lora_alpha")
        folder = os.path.dirname(os.path.join(flags.input, ""))
        if alpha is None and not os.path.exists(
                os.path.join(folder, "adapter_config.json")):
            refuse_missing("with LoRA parts that were not merged",
                           ["--lora-alpha"])
        if alpha is not None:
            out["lora_alpha"] = float(alpha)
    check_width(tensors, out)
    out["dtype"] = commonest(tensors)
    return out


def check_width(tensors, config):
    """The token table is the base model's."""
    base = config.get("base_model_config") or config
    table = find(tensors, "embed_tokens.weight", "wte.weight",
                 "embed_in.weight", "lm_head.weight", "embed_out.weight")
    want = [base.get("vocab_size"), first_of(base, "hidden_size", "n_embd")]
    if table is not None and table.shape != want:
        raise Refused(f"the token table is {table.shape}, and the base model's "
                      f"config says {want}")


def commonest(tensors):
    count = {}
    for tensor in tensors.values():
        count[tensor.kind] = count.get(tensor.kind, 0) + tensor.size()
    kind = max(count, key=count.get)
    return {v: k for k, v in TYPES.items()}[kind]


# ---------------------------------------------------------------- writing ---

def write_safetensors(path, tensors, aliases):
    fields, at = {"__metadata__": dict(aliases, format="pt")}, 0
    for name in sorted(tensors):
        end = at + tensors[name].size()
        fields[name] = {"dtype": tensors[name].kind,
                        "shape": tensors[name].shape,
                        "data_offsets": [at, end]}
        at = end
    text = json.dumps(fields, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for name in sorted(tensors):
            data = tensors[name].data()
            if len(data) != tensors[name].size():
                raise Refused(f"tensor {name} has {len(data)} bytes, not "
                              f"{tensors[name].size()}")
            out.write(data)


def write_model(flags, config, tensors, aliases):
    os.makedirs(flags.out, exist_ok=True)
    if os.listdir(flags.out):
        raise Refused(f"{flags.out} is not empty")
    write_safetensors(os.path.join(flags.out, "model.safetensors"), tensors,
                      aliases)
    with open(os.path.join(flags.out, "config.json"), "w",
              encoding="utf-8") as out:
        json.dump(config, out, indent=1)
        out.write("\n")
    folders = [flags.tokenizer, flags.input]
    for name in BESIDE:
        for folder in filter(None, folders):
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                shutil.copyfile(path, os.path.join(flags.out, name))
                break


def parse_flags():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--in", dest="input", required=True, metavar="PATH",
                   help="a checkpoint's directory or file")
    p.add_argument("--out", required=True, metavar="DIR",
                   help="directory to make")
    p.add_argument("--base-config", metavar="FILE",
                   help="config.json of the base model")
    p.add_argument("--tokenizer", metavar="DIR",
                   help="where tokenizer.json is, if not beside the checkpoint")
    p.add_argument("--segment-size", metavar="N", type=command.count,
                   help="tokens of a segment, without memory tokens")
    p.add_argument("--key-norm", choices=("none", "l2"),
                   help="none: the wrapper of 2024's first half; l2: later")
    for name in ("correction", "use-denom", "sliding-window"):
        p.add_argument("--" + name, choices=("true", "false"))
    p.add_argument("--alignment", choices=("left", "right", "center"))
    p.add_argument("--generation", choices=("frozen", "rollover"))
    p.add_argument("--memory-heads", metavar="H", type=command.count,
                   help="of a memory with gating")
    p.add_argument("--lora-alpha", metavar="X", type=float,
                   help="of LoRA parts that were not merged")
    return p.parse_args()


def convert(flags):
    if not os.path.exists(flags.input):
        raise Refused(f"{flags.input} is not there")
    tensors, aliases = read_checkpoint(flags.input)
    tensors = {n: t for n, t in tensors.items() if not BUFFERS.search(n)}
    for name, tensor in tensors.items():
        if tensor.kind not in WIDTHS:
            raise Refused(f"tensor {name} is of type {tensor.kind}")
    write_model(flags, make_config(flags, tensors), tensors, aliases)


def main():
    flags = parse_flags()
    try:
        convert(flags)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise Refused(f"{flags.input}: its configuration or its tensors are "
                      f"of no known model: {error!r}") from None


if __name__ == "__main__":
    main()
