#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""longwave-run on the golden cases: the reference's numbers on one rank, and
the same bytes for 1 to 4 ranks, both placements, both schedules and 1 or 2
threads.  The cases that are not built are refused by name."""
import filecmp
import os

import run_lib
from run_lib import expect, fail

CASES = ["armt-llama", "armt-llama-ragged", "armt-llama-tied-llama3rope",
         "armt-llama-nocorrection", "armt-llama-bf16", "armt-llama-keynorm"]
TOLERANCE = 1e-4  # max|x - ref| / max|ref| of a tensor
FILES = ("logits", "state", "generated-logits")


def ways():
    """(ranks, flags): ranks 0 is without mpirun."""
    for schedule in ("diagonal", "sequential"):
        for threads in (1, 2):
            yield 0, ["--schedule", schedule, "--threads", str(threads)]
        for ranks in (2, 3, 4):
            for placement in ("layers", "segments"):
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


def close(case, name, x, ref):
    expect(len(x) == len(ref), f"{case} {name}: {len(x)} numbers, not "
           f"{len(ref)}")
    most = max(abs(v) for v in ref)
    error = max((abs(a - b) for a, b in zip(x, ref)), default=0.0)
    # Written so that a NaN fails.
    expect(error <= TOLERANCE * most, f"{case} {name}: error {error} of {most}")


def check_numbers(case, files, expected):
    logits = run_lib.read_tensors(files["logits"])
    shape, ref = expected["logits"]
    expect(list(logits) == ["logits"] and logits["logits"][0] == shape,
           f"{case}: shape of logits")
    close(case, "logits", logits["logits"][1], ref)
    state = run_lib.read_tensors(files["state"])
    (n_layer, d_key, d), A = expected["W_mem.final"]
    z = expected["z.final"][1]
    names = [f"layers.{l}.{t}" for l in range(n_layer) for t in ("W_mem", "z")]
    expect(list(state) == names, f"{case}: tensors of the state")
    for l in range(n_layer):
        shape, x = state[f"layers.{l}.W_mem"]
        expect(shape == [d_key, d], f"{case}: shape of W_mem")
        close(case, f"W_mem {l}", x, A[l * d_key * d:(l + 1) * d_key * d])
        close(case, f"z {l}", state[f"layers.{l}.z"][1],
              z[l * d_key:(l + 1) * d_key])


def check_answer(case, summary, files, expected, name):
    expect(summary["generated_ids"] == list(expected[name + "_ids"][1]),
           f"{case}: {name}_ids")
    shape, ref = expected[name + "_logits"]
    got = run_lib.read_tensors(files["generated-logits"])["gen_logits"]
    expect(got[0] == shape, f"{case}: shape of gen_logits")
    close(case, name + "_logits", got[1], ref)


def check_summary(case, ranks, flags, summary, expected):
    n_layer = expected["W_mem.final"][0][0]
    n_token = expected["input_ids"][0][0]
    expect(summary["tokens"] == n_token, f"{case}: tokens")
    expect(summary["ranks"] == max(ranks, 1), f"{case}: ranks")
    expect(summary["ranks_working"] ==
           (min(ranks, n_layer) if "layers" in flags else max(ranks, 1)),
           f"{case}: ranks at work")
    for key in ("segments", "groups", "seconds", "tokens_per_second",
                "peak_rss_bytes", "schedule", "placement", "device",
                "threads"):
        expect(key in summary, f"{case}: no {key} in the summary")


def check_groups(args, case, expected):
    """A diagonal at a time: n + L - 1 groups."""
    model = os.path.join(args.golden, case)
    s = run_lib.summary(args, 0, ["--model", model, "--input",
                                  os.path.join(model,
                                               "expected.safetensors")])
    n_layer = expected["W_mem.final"][0][0]
    expect(s["groups"] == s["segments"] + n_layer - 1, f"{case}: groups")


def check_same(case, flags, files, first):
    for name in FILES:
        expect(filecmp.cmp(files[name], first[name], shallow=False),
               f"{case} {flags}: other bytes in {name}")


def check_case(args, case):
    source = os.path.join(args.golden, case, "expected.safetensors")
    expected = run_lib.read_tensors(source)
    steps = expected["gen_ids"][0][0]
    first = None
    for ranks, flags in ways():
        tag = "first" if first is None else "other"
        summary, files = run(args, case, tag, ranks, flags, source, steps)
        check_summary(case, ranks, flags, summary, expected)
        check_answer(case, summary, files, expected, "gen")
        if first is None:
            first = files
            check_numbers(case, files, expected)
        check_same(case, flags, files, first)
    check_groups(args, case, expected)


def check_short(args, case):
    """The first S - 3 tokens: an empty memory, and past the segment's end."""
    expected = run_lib.read_tensors(os.path.join(args.golden, case,
                                                 "expected.safetensors"))
    size = {"armt-llama-ragged": 20, "armt-llama-tied-llama3rope": 24}
    source = os.path.join(args.work, case + ".short.safetensors")
    ids = expected["input_ids"][1][:size.get(case, 16) - 3]
    run_lib.write_ids(source, ids)
    steps = expected["short_gen_ids"][0][0]
    for ranks, flags in ((0, []), (2, ["--placement", "layers"]),
                         (3, ["--placement", "segments"])):
        summary, files = run(args, case, "short", ranks, flags, source, steps)
        check_answer(case, summary, files, expected, "short_gen")


def check_refused(args):
    n = 0
    for case in sorted(os.listdir(args.golden)):
        model = os.path.join(args.golden, case)
        if case in CASES or not os.path.isdir(model):
            continue
        done = run_lib.start(args, 2 if n == 0 else 0, [
            "--model", model, "--input",
            os.path.join(model, "expected.safetensors")])
        text = done.stderr.decode()
        expect(done.returncode == 2, f"{case}: exit {done.returncode}")
        expect(text.count("longwave-run: error:") == 1, f"{case}: {text}")
        expect("not supported" in text, f"{case}: {text}")
        expect(done.stdout == b"", f"{case}: something on stdout")
        n += 1
    if n != 10:
        fail(f"{n} cases refused, not 10")


def main():
    args = run_lib.flags()
    for case in CASES:
        check_case(args, case)
        check_short(args, case)
    check_refused(args)


if __name__ == "__main__":
    main()
