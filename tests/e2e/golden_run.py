#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""longwave-run on the golden cases: the reference's numbers on one rank, and
the same bytes for 1 to 4 ranks, both placements, both schedules and 1 or 2
threads; segment by segment where the memory is chained."""
import filecmp
import json
import os

import run_lib
from run_lib import expect, fail

TOLERANCE = 1e-4  # max|x - ref| / max|ref| of a tensor
FILES = ("logits", "state", "generated-logits")


def ways(chained):
    """(ranks, flags): ranks 0 is without mpirun."""
    for schedule in ("diagonal", "sequential"):
        for threads in (1, 2):
            yield 0, ["--schedule", schedule, "--threads", str(threads)]
        for ranks in (2, 3, 4):
            for placement in ("segments",) if chained else ("layers",
                                                            "segments"):
                yield ranks, ["--schedule", schedule, "--threads", "1",
                              "--placement", placement]
    yield 1, ["--threads", "2"]
    yield 2, ["--threads", "2", "--placement", "segments"]


def outputs(args, case, tag):
    return {f: os.path.join(args.work, f"{case}.{tag}.{f}") for f in FILES}


def run(args, case, tag, ranks, flags, source, steps):
    files = outputs(args, case, tag)
    model = os.path.join(args.golden, case)
    more = ["--model", model, "--input", source, "--generate", str(steps),
            "--device", "cpu", "--ignore-eos"]
    for name, path in files.items():
        more += ["--" + name, path]
    return run_lib.summary(args, ranks, more + flags), files


WORST = {}  # case: largest error of any tensor


def close(case, name, x, ref):
    expect(len(x) == len(ref), f"{case} {name}: {len(x)} numbers, not "
           f"{len(ref)}")
    most = max(abs(v) for v in ref)
    error = max((abs(a - b) for a, b in zip(x, ref)), default=0.0)
    # Written so that a NaN fails.
    expect(error <= TOLERANCE * most, f"{case} {name}: error {error} of {most}")
    WORST[case] = max(WORST.get(case, 0.0), error / most)


def check_state(case, files, expected):
    """Every tensor of the reference's last states is in the file."""
    state = run_lib.read_tensors(files["state"])
    n = 0
    for name in ("W_mem", "z", "memory"):
        if name + ".final" not in expected:
            continue
        shape, ref = expected[name + ".final"]
        n_layer = 1 if name == "memory" else shape[0]
        size = len(ref) // n_layer
        for l in range(n_layer):
            key = name if name == "memory" else f"layers.{l}.{name}"
            expect(key in state, f"{case}: no {key} in the state")
            got, x = state[key]
            expect(got == (shape if name == "memory" else shape[1:]),
                   f"{case}: shape of {key}")
            close(case, key, x, ref[l * size:(l + 1) * size])
            n += 1
    windows = [k for k in state if k.endswith(".window")]
    expect(n > 0 and len(state) == n + len(windows),
           f"{case}: tensors of the state")


def check_numbers(case, files, expected):
    logits = run_lib.read_tensors(files["logits"])
    shape, ref = expected["logits"]
    expect(list(logits) == ["logits"] and logits["logits"][0] == shape,
           f"{case}: shape of logits")
    close(case, "logits", logits["logits"][1], ref)
    check_state(case, files, expected)


def check_answer(case, summary, files, expected, name):
    expect(summary["generated_ids"] == list(expected[name + "_ids"][1]),
           f"{case}: {name}_ids")
    shape, ref = expected[name + "_logits"]
    got = run_lib.read_tensors(files["generated-logits"])["gen_logits"]
    expect(got[0] == shape, f"{case}: shape of gen_logits")
    close(case, name + "_logits", got[1], ref)


def check_summary(case, ranks, flags, summary, config, n_token):
    n_layer = layers_of(config)
    expect(summary["tokens"] == n_token, f"{case}: tokens")
    expect(summary["ranks"] == max(ranks, 1), f"{case}: ranks")
    expect(summary["ranks_working"] ==
           (min(ranks, n_layer) if "layers" in flags else max(ranks, 1)),
           f"{case}: ranks at work")
    for key in ("segments", "groups", "seconds", "tokens_per_second",
                "peak_rss_bytes", "schedule", "placement", "device",
                "threads"):
        expect(key in summary, f"{case}: no {key} in the summary")


def layers_of(config):
    base = config["base_model_config"]
    return base.get("num_hidden_layers") or base["n_layer"]


def check_groups(args, case, config):
    """A diagonal at a time: n + L - 1 groups; a cell at a time where memory
    tokens go from the last layer to the first, which the summary says."""
    model = os.path.join(args.golden, case)
    s = run_lib.summary(args, 0, ["--model", model, "--input",
                                  os.path.join(model,
                                               "expected.safetensors")])
    n, n_layer = s["segments"], layers_of(config)
    chained = config["model_type"] == "rmt"
    expect(s["schedule"] == ("chained" if chained else "diagonal"),
           f"{case}: schedule {s['schedule']}")
    expect(s["groups"] == (n * n_layer if chained else n + n_layer - 1),
           f"{case}: groups")


def check_rows(args, case):
    """Reading leaves out rows of the last layer, and leaves the same state."""
    model = os.path.join(args.golden, case)
    flops, states = [], []
    for more in ([], ["--all-rows"]):
        states.append(os.path.join(args.work, f"{case}.rows{len(more)}"))
        s = run_lib.summary(args, 0, [
            "--model", model, "--input",
            os.path.join(model, "expected.safetensors"), "--state",
            states[-1], *more])
        flops.append(s["flops"])
    expect(flops[0] < flops[1], f"{case}: FLOPs {flops}")
    expect(filecmp.cmp(*states, shallow=False), f"{case}: states of rows")


def check_chained(args, case):
    """Ranks cannot share its layers, and are told so."""
    model = os.path.join(args.golden, case)
    done = run_lib.start(args, 2, [
        "--model", model, "--placement", "layers", "--input",
        os.path.join(model, "expected.safetensors")])
    text = done.stderr.decode()
    expect(done.returncode == 2, f"{case}: exit {done.returncode}")
    expect(text.count("longwave-run: error:") == 1 and "segments" in text,
           f"{case}: {text}")


def check_same(case, flags, files, first):
    for name in FILES:
        expect(filecmp.cmp(files[name], first[name], shallow=False),
               f"{case} {flags}: other bytes in {name}")


def check_case(args, case, config):
    source = os.path.join(args.golden, case, "expected.safetensors")
    expected = run_lib.read_tensors(source)
    steps = expected["gen_ids"][0][0]
    first = None
    for ranks, flags in ways(config["model_type"] == "rmt"):
        tag = "first" if first is None else "other"
        summary, files = run(args, case, tag, ranks, flags, source, steps)
        check_summary(case, ranks, flags, summary, config,
                      expected["input_ids"][0][0])
        check_answer(case, summary, files, expected, "gen")
        if first is None:
            first = files
            check_numbers(case, files, expected)
        check_same(case, flags, files, first)
    check_groups(args, case, config)
    check_rows(args, case)
    if config["model_type"] == "rmt":
        check_chained(args, case)


def check_short(args, case, config):
    """The first S - 3 tokens: an empty memory, and past the segment's end."""
    expected = run_lib.read_tensors(os.path.join(args.golden, case,
                                                 "expected.safetensors"))
    source = os.path.join(args.work, case + ".short.safetensors")
    ids = expected["input_ids"][1][:config["segment_size"] - 3]
    run_lib.write_ids(source, ids)
    steps = expected["short_gen_ids"][0][0]
    layers = "segments" if config["model_type"] == "rmt" else "layers"
    for ranks, flags in ((0, []), (2, ["--placement", layers]),
                         (3, ["--placement", "segments"])):
        summary, files = run(args, case, "short", ranks, flags, source, steps)
        check_answer(case, summary, files, expected, "short_gen")


def check_alignments(args, case):
    source = os.path.join(args.golden, case, "expected.safetensors")
    expected = run_lib.read_tensors(source)
    for how in ("right", "center"):
        for ranks, flags in ((0, []), (3, ["--placement", "layers"]),
                             (3, ["--placement", "segments"])):
            out = os.path.join(args.work, f"{case}.{how}.logits")
            run_lib.summary(args, ranks, [
                "--model", os.path.join(args.golden, case), "--input", source,
                "--alignment", how, "--logits", out, "--device", "cpu",
                "--threads", "1"] + flags)
            got = run_lib.read_tensors(out)["logits"]
            close(case, "logits " + how, got[1], expected["logits_" + how][1])


def main():
    args = run_lib.flags()
    cases = sorted(c for c in os.listdir(args.golden)
                   if os.path.isdir(os.path.join(args.golden, c)))
    expect(len(cases) == 16, f"{len(cases)} cases")
    for case in cases:
        with open(os.path.join(args.golden, case, "config.json")) as f:
            config = json.load(f)
        check_case(args, case, config)
        check_short(args, case, config)
    check_alignments(args, "armt-llama-ragged")
    for case, error in WORST.items():
        print(f"{case:32} largest error {error:.1e}")


if __name__ == "__main__":
    main()
