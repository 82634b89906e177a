#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""--state-type bf16: the same bytes whatever the schedule and the ranks, half
the state, near that of f32; f32 said aloud is f32; refused where there is no A."""
import filecmp
import os

import run_lib
from run_lib import expect

LAYERS, WIDTH, SEGMENT, KEY = 3, 32, 64, 6 * 8
N_SEGMENT = 9
WAYS = {
    "one": (0, []),
    "sequential": (0, ["--schedule", "sequential"]),
    "threads": (0, ["--threads", "2"]),
    "layers": (2, ["--placement", "layers"]),
    "segments": (2, ["--placement", "segments"]),
    "segments of 3": (3, ["--placement", "segments"]),
}


def run(args, model, name, ranks, more):
    files = [os.path.join(args.work, f"{name}.{kind}")
             for kind in ("logits", "state")]
    got = run_lib.summary(args, ranks, [
        "--model", model, "--input", os.path.join(args.work, "ids"),
        "--device", "cpu", "--logits", files[0], "--state", files[1], *more])
    return files, got


def norm(values):
    return sum(float(x) * float(x) for x in values) ** 0.5


def difference(a, b):
    return norm([x - y for x, y in zip(a, b)]) / norm(b)


def check_state(narrow, wide):
    a, b = run_lib.read_tensors(narrow), run_lib.read_tensors(wide)
    expect(set(a) == set(b) and len(a) == 2 * LAYERS, f"{set(a)}, {set(b)}")
    for name in a:
        expect(a[name][0] == b[name][0], f"{name}: {a[name][0]}")
        far = difference(a[name][1], b[name][1])
        expect(0 < far < 2e-2, f"{name} differs by {far}")
    room = LAYERS * KEY * (2 * WIDTH + 4), LAYERS * KEY * (4 * WIDTH + 4)
    sizes = os.path.getsize(narrow), os.path.getsize(wide)
    # One byte a tensor is in the name of its type.
    expect(abs(sizes[1] - sizes[0] - (room[1] - room[0])) < 64, str(sizes))


def check_ways(args, model):
    first, _ = run(args, model, "one", *WAYS["one"][:1],
                   ["--state-type", "bf16"])
    for name, (ranks, more) in WAYS.items():
        files, got = run(args, model, "narrow", ranks,
                         ["--state-type", "bf16", *more])
        for a, b in zip(first, files):
            expect(filecmp.cmp(a, b, shallow=False), f"{name}: {b} differs")
        if "segments" in name:
            moved = (N_SEGMENT - 1) * LAYERS * KEY * (2 * WIDTH + 4)
            expect(got["bytes_moved"] == moved, f"{name}: {got}")
    return first


def main():
    args = run_lib.flags()
    model = run_lib.make_tiny(args)
    ids = [(7 * i + i // 50) % 200 for i in range(N_SEGMENT * SEGMENT)]
    run_lib.write_ids(os.path.join(args.work, "ids"), ids)
    narrow = check_ways(args, model)
    wide, _ = run(args, model, "wide", 0, [])
    said, _ = run(args, model, "said", 0, ["--state-type", "f32"])
    for a, b in zip(wide, said):
        expect(filecmp.cmp(a, b, shallow=False), f"{b} differs")
    check_state(narrow[1], wide[1])
    a, b = (run_lib.read_tensors(x[0])["logits"][1] for x in (narrow, wide))
    expect(0 < difference(a, b) < 2e-2, f"logits differ by {difference(a, b)}")


if __name__ == "__main__":
    main()
