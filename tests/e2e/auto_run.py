#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""--placement auto: what it measures and simulates shows in the summary and is
what both placements then do, in bytes, cells and groups; divisions of layers
leave the same bytes as one rank; what does not fit is refused."""
import filecmp
import os

import run_lib
from run_lib import expect

LAYERS, WIDTH, SEGMENT, MEM, KEY = 3, 32, 64, 4, 6 * 8
N_SEGMENT = 9
X_BYTES = (SEGMENT + MEM) * WIDTH * 4
STATE_BYTES = KEY * (WIDTH + 1) * 4


def flags_of(args, model, *more):
    return ["--model", model, "--input", os.path.join(args.work, "ids"),
            "--threads", "1", "--device", "cpu", *more]


def run(args, model, ranks, placement, *more):
    return run_lib.summary(args, ranks, flags_of(
        args, model, "--placement", placement, *more))


def moved(ranks, placement):
    if placement == "layers":
        return N_SEGMENT * (min(ranks, LAYERS) - 1) * X_BYTES
    return (N_SEGMENT - 1) * LAYERS * STATE_BYTES


def safer(foretold):
    """The one that loses less beside the other, by what was measured and, where
    ranks were not equally fast, by their mean."""
    def loss(kind, other):
        a, b = foretold[kind], foretold[other]
        return max(a[k] / b[k] for k in ("seconds", "seconds_if_alike")
                   if k in a)

    layers = loss("layers", "segments")
    segments = loss("segments", "layers")
    if layers != segments:
        return "layers" if layers < segments else "segments"
    return min(foretold.values(), key=lambda p: (
        p["seconds"], p["bytes_moved"]))["placement"]


def check_ranks(args, model, ranks):
    auto = run(args, model, ranks, "auto")
    plan = auto["plan"]
    expect(len(plan["ranks"]) == ranks and plan["sane"], str(plan))
    expect(all(r["flops_per_second"] > 1e6 for r in plan["ranks"]), str(plan))
    foretold = {p["placement"]: p for p in plan["placements"]}
    expect(set(foretold) == {"layers", "segments"}, str(plan))
    expect(auto["placement"] == safer(foretold), str(auto))
    for placement, p in foretold.items():
        done = run(args, model, ranks, placement)
        expect("plan" not in done, "a placement by name is not measured")
        expect(done["cells"] == N_SEGMENT * LAYERS, str(done))
        expect(done["bytes_moved"] == moved(ranks, placement), str(done))
        expect(p["bytes_moved"] == done["bytes_moved"], str((p, done)))
        # A group has a cell at least, and a rank that works a group.
        for n in (p["groups_all"], done["groups_all"]):
            expect(N_SEGMENT < n <= N_SEGMENT * LAYERS, str(n))


def check_one(args, model):
    """One rank runs the diagonals, and needs no plan."""
    one = run(args, model, 0, "auto")
    expect(one["groups"] == N_SEGMENT + LAYERS - 1, str(one))
    expect("plan" not in one and one["bytes_moved"] == 0, str(one))


def check_divisions(args, model):
    paths = []
    for i, (ranks, placement) in enumerate(((0, "auto"), (2, "layers:1,2"),
                                            (2, "layers:2,1"),
                                            (3, "layers:2,1,0"))):
        paths.append([os.path.join(args.work, f"{i}.{kind}")
                      for kind in ("logits", "state")])
        run(args, model, ranks, placement, "--logits", paths[i][0], "--state",
            paths[i][1])
        for a, b in zip(paths[0], paths[i]):
            expect(filecmp.cmp(a, b, shallow=False), f"{placement}: {b}")


def check_refusals(args, model):
    for ranks, more, word in (
            (2, ["--placement", "layers:2,2"], "3 layers among 2 ranks"),
            (2, ["--placement", "layers:3"], "3 layers among 2 ranks"),
            (2, ["--placement", "layers:0,3"], "3 layers among 2 ranks"),
            (2, ["--placement", "layers:x,3"], "3 layers among 2 ranks"),
            (2, ["--memory-gb", "1e-6"], "no number of ranks would do"),
            (2, ["--memory-gb", "1.3e-4"], "3 ranks with layers would do")):
        done = run_lib.start(args, ranks, flags_of(args, model, *more))
        said = [line for line in done.stderr.decode().splitlines()
                if line.startswith("longwave-run")]
        expect(done.returncode == 2 and len(said) == 1 and word in said[0],
               f"{more}: exit {done.returncode}, {said}")


def main():
    args = run_lib.flags()
    model = run_lib.make_tiny(args)
    ids = [(7 * i + i // 50) % 200 for i in range(N_SEGMENT * SEGMENT)]
    run_lib.write_ids(os.path.join(args.work, "ids"), ids)
    check_one(args, model)
    for ranks in (2, 3, 5):
        check_ranks(args, model, ranks)
    check_divisions(args, model)
    check_refusals(args, model)


if __name__ == "__main__":
    main()
