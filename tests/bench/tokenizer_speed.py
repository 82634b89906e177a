#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Speed of encoding on one thread, beside that of the `tokenizers` package.

usage: tokenizer_speed.py --tool build/tests/tokenize [--tokens 32000]
           [--megabytes 10] [--rounds 3] [--dir DIR]

Trains a tokenizer of each family on a mixed text (once, when --dir keeps
them), then both encode the same text in turns, in CPU seconds of one thread;
the best round of each counts.
Exit status 1 when the package was faster, 77 without it.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

# Before the package is loaded.
os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
HERE = os.path.dirname(os.path.abspath(__file__))
MODEL = os.path.join(HERE, "..", "model")
sys.path[:0] = [MODEL, os.path.join(MODEL, "data")]
import make_tokenizers  # noqa: E402  pylint: disable=wrong-import-position
import tokenizer_parity  # noqa: E402  pylint: disable=wrong-import-position
from tokenizers import Tokenizer  # noqa: E402


def ours(args, path, text_path, *more):
    out = subprocess.run([args.tool, path, text_path, *more], check=True,
                         stdout=subprocess.PIPE)
    return json.loads(out.stdout)["seconds"]


def theirs(tokenizer, parts):
    """A line at a time is faster for it than the whole text at once."""
    start = time.process_time()
    for part in parts:
        tokenizer.encode(part, add_special_tokens=False)
    return time.process_time() - start


def measure(args, name, text, text_path):
    path = os.path.join(args.dir, name + ".json")
    tokenizer = Tokenizer.from_file(path)
    tokenizer.encode_special_tokens = True
    lines = text.splitlines(keepends=True)
    best = {"whole": [], "pieces": [], "peer, whole": [], "peer, lines": []}
    for _ in range(args.rounds):
        best["whole"].append(ours(args, path, text_path))
        best["peer, whole"].append(theirs(tokenizer, [text]))
        best["pieces"].append(ours(args, path, text_path, "--arrive", "65536"))
        best["peer, lines"].append(theirs(tokenizer, lines))
    rate = {k: len(text.encode()) / min(v) / 1e6 for k, v in best.items()}
    slowest = min(rate["whole"], rate["pieces"])
    ratio = slowest / max(rate["peer, whole"], rate["peer, lines"])
    print(f"{'ok  ' if ratio >= 1 else 'FAIL'} {name:10} MB/s: " +
          ", ".join(f"{k} {v:.2f}" for k, v in rate.items()) +
          f"; {ratio:.2f} times the peer", flush=True)
    return ratio >= 1


def main():
    parser = argparse.ArgumentParser(description="Measures encoding.")
    parser.add_argument("--tool", required=True)
    parser.add_argument("--tokens", type=int, default=32000)
    parser.add_argument("--megabytes", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--families",
                        default=",".join(make_tokenizers.FAMILIES))
    parser.add_argument("--dir", help="where the tokenizers are kept")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        args.dir = args.dir or folder
        args.train = args.tokens
        text = tokenizer_parity.mixed(int(args.megabytes * 1e6))
        text_path = os.path.join(folder, "text")
        with open(text_path, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        if not os.path.exists(os.path.join(args.dir, "metaspace.json")):
            tokenizer_parity.train(args, text_path)
        good = [measure(args, name, text, text_path)
                for name in args.families.split(",")]
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
