#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""longwave-run --inspect on every golden case, what 8-bit weights lose, and
that they give the same bits however the work is shared."""
import json
import os

import run_lib
from run_lib import expect, fail

MEMORIES = {"armt": "assoc", "rmt": "tokens", "llama": "cache"}


def inspect(args, model, *flags):
    return run_lib.summary(args, 0, ["--model", model, "--inspect", *flags])


def state_numbers(config):
    """Numbers that a layer keeps, from the specification alone."""
    base = config["base_model_config"]
    d = base.get("hidden_size", base.get("n_embd"))
    if config["model_type"] == "rmt":
        return config["num_mem_tokens"] * d
    heads, keys = config["n_heads"], 6 * config["d_mem"]
    n = keys * d // heads + (keys if config["use_denom"] else 0)
    if config["sliding_window"]:
        n += (2 * config["segment_size"] * base["num_key_value_heads"]
              * base["head_dim"])
    return n


def check_case(args, case):
    model = os.path.join(args.golden, case)
    with open(os.path.join(model, "config.json"), encoding="utf-8") as f:
        config = json.load(f)
    base = config["base_model_config"]
    said = inspect(args, model, "--check")
    expect(said["memory"] == MEMORIES[config["model_type"]], case)
    expect(said["layers"] == base.get("num_hidden_layers",
                                      base.get("n_layer")), case)
    expect(said["width"] == base.get("hidden_size", base.get("n_embd")), case)
    expect(said["memory_tokens"] == config["num_mem_tokens"], case)
    expect(said["segment_size"] == config["segment_size"], case)
    expect(said["layer_local"] == (config["model_type"] == "armt"), case)
    expect(said["bounded"], case)
    for field, name in (("gating", "gating"), ("use_denom", "use_denom"),
                        ("use_sink", "sink"), ("key_norm", "key_norm"),
                        ("sliding_window", "sliding_window"),
                        ("n_heads", "memory_heads"), ("d_mem", "d_mem"),
                        ("correction", "correction"),
                        ("wrap_pos", "wrap_pos"),
                        ("generation", "generation")):
        if field in config:
            expect(said[name] == config[field], f"{case}: {name}")
    kept = said["state_bytes_per_layer"]
    want = 4 * state_numbers(config)
    expect(0 <= kept - want < 128, f"{case}: {kept} bytes, not {want}")
    loss = said["check"]
    # Eight bits of each row: something is lost, and not much.
    expect(1e-4 < loss["relative"] < 0.2, f"{case}: {loss}")
    expect(0 < loss["max"] < 0.3 * loss["max_logit"], f"{case}: {loss}")
    expect(said["weights_bytes_int8"] < 0.8 * said["weights_bytes"], case)


def logits(args, case, name, ranks, flags):
    out = os.path.join(args.work, name)
    model = os.path.join(args.golden, case)
    run_lib.summary(args, ranks, [
        "--model", model, "--input",
        os.path.join(model, "expected.safetensors"), "--logits", out,
        *flags])
    with open(out, "rb") as f:
        return f.read()


def check_bits(args):
    """The same model in 8 bits on any number of ranks; another than stored."""
    case, int8 = "armt-llama", ["--weights", "int8"]
    one = logits(args, case, "one", 0, int8)
    expect(one == logits(args, case, "two", 2, int8 + ["--placement",
                                                       "layers"]), "layers")
    expect(one == logits(args, case, "three", 3, int8 + [
        "--placement", "segments", "--schedule", "sequential"]), "segments")
    expect(one != logits(args, case, "stored", 0, []), "stored")


def check_refusals(args):
    model = os.path.join(args.golden, "armt-llama")
    for flags, says in ((["--check", "--input", "x"], "--inspect"),
                        (["--inspect", "--weights", "int4"], "int4"),
                        (["--input", os.path.join(
                            model, "expected.safetensors"), "--weights",
                          "int4"], "int4")):
        done = run_lib.start(args, 0, ["--model", model] + flags)
        text = done.stderr.decode()
        expect(done.returncode == 2, f"{flags}: exit {done.returncode}")
        expect(says in text, f"{flags}: {text}")
    done = run_lib.start(args, 2, ["--model", model, "--inspect"])
    text = done.stdout.decode()
    expect(done.returncode == 0, done.stderr.decode())
    for word in ("block      llama: 3 layers, width 48", "memory     assoc",
                 "names      memory_cell.model.B", "tensors    46 F32",
                 "LoRA       none", "ignored    no tensors",
                 "4 fields of config.json: act_type, base_model_name"):
        if text.count(word) != 1:
            fail(f"{word!r} is not once in {text}")


def main():
    args = run_lib.flags()
    n = 0
    for case in sorted(os.listdir(args.golden)):
        if os.path.isdir(os.path.join(args.golden, case)):
            check_case(args, case)
            n += 1
    expect(n == 16, f"{n} cases")
    check_bits(args)
    check_refusals(args)


if __name__ == "__main__":
    main()
