#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Ids and text of large mixed inputs, beside those of the `tokenizers` package.

usage: tokenizer_parity.py --tool build/tests/tokenize [--megabytes 10]
           [--train N] [--families NAME,...]

For each family: the committed tokenizer, and with --train one of N tokens
that is trained on the input.  The text is encoded as a whole, and again as it
would arrive from a file; the answer that the ids make must be the package's.
Exit status 77 without the package.
"""
import argparse
import array
import json
import os
import random
import subprocess
import sys
import tempfile

try:
    from tokenizers import Tokenizer
except ImportError:
    print("the Python package tokenizers is not here: nothing to compare with")
    sys.exit(77)

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")
DATA = os.path.join(HERE, "data")
sys.path.insert(0, DATA)
import make_tokenizers  # noqa: E402  pylint: disable=wrong-import-position

# Blocks of which every character has had its properties since Unicode 6.
BLOCKS = ((0x20, 0x7e), (0xa0, 0x24f), (0x300, 0x36f), (0x391, 0x3a1),
          (0x410, 0x44f), (0x5b0, 0x5ea), (0x620, 0x669), (0x905, 0x94d),
          (0xe01, 0xe3a), (0x1100, 0x11c2), (0x1e00, 0x1eff),
          (0x2000, 0x206f), (0x2100, 0x218f), (0x2190, 0x21ff),
          (0x3000, 0x30ff), (0x4e00, 0x9fa5), (0xac00, 0xd7a3),
          (0xff01, 0xff5e), (0x1f300, 0x1f5ff))


def natural():
    """The project's own text and code, in a fixed order."""
    for folder in ("docs", "base", "model", "daemon", "tests/model", "worker"):
        for where, _, names in sorted(os.walk(os.path.join(ROOT, folder))):
            for name in sorted(names):
                if name.endswith((".md", ".c", ".h", ".py")):
                    with open(os.path.join(where, name), "rb") as file:
                        yield file.read()


def noise(draw, n):
    low, high = draw.choice(BLOCKS)
    return "".join(chr(draw.randint(low, high)) for _ in range(n))


def words(draw, n):
    letters = [noise(draw, draw.randint(1, 8)) for _ in range(8)]
    return "".join(draw.choice(letters) + draw.choice(" \n,. ")
                   for _ in range(n))


def damaged(draw, data):
    data = bytearray(data)
    for _ in range(len(data) // 50):
        data[draw.randrange(len(data))] = draw.randrange(256)
    return bytes(data)


def mixed(n_byte):
    """The same bytes every time; malformed sequences were replaced."""
    draw = random.Random(3)
    files = list(natural())
    samples = [s.encode() for s in make_tokenizers.texts()]
    out = bytearray()
    while len(out) < n_byte:
        kind = draw.random()
        if kind < 0.5:
            data = draw.choice(files)
            at = draw.randrange(len(data))
            part = data[at:at + draw.randint(100, 20000)]
        elif kind < 0.7:
            part = b" ".join(draw.choice(samples) for _ in range(20))
        elif kind < 0.85:
            part = words(draw, draw.randint(1, 200)).encode()
        elif kind < 0.95:
            part = noise(draw, draw.randint(1, 500)).encode()
        else:
            part = damaged(draw, draw.choice(files)[:5000])
        out += part
    return bytes(out).decode("utf-8", errors="replace")[:n_byte]


def run(args, path, text_path, *more):
    ids_path = os.path.join(args.dir, "ids")
    subprocess.run([args.tool, path, text_path, "--ids", ids_path, *more],
                   check=True, stdout=subprocess.DEVNULL)
    ids = array.array("i")
    with open(ids_path, "rb") as file:
        ids.frombytes(file.read())
    return ids.tolist()


def first_difference(left, right):
    for i, (a, b) in enumerate(zip(left, right)):
        if a != b:
            return i
    return min(len(left), len(right))


def compare(args, path, text, text_path):
    tokenizer = Tokenizer.from_file(path)
    tokenizer.encode_special_tokens = True
    expected = tokenizer.encode(text, add_special_tokens=False).ids
    answer_path = os.path.join(args.dir, "answer")
    good = True
    for way in ((), ("--arrive", "4099"), ("--arrive", "65536")):
        ids = run(args, path, text_path, "--text", answer_path, *way)
        if ids != expected:
            i = first_difference(ids, expected)
            print(f"{path} {way}: ids differ at {i} of {len(expected)}: "
                  f"{ids[i - 3:i + 5]} {expected[i - 3:i + 5]} after "
                  f"{tokenizer.decode(expected[max(i - 12, 0):i])!r}")
            good = False
    with open(answer_path, encoding="utf-8", newline="") as file:
        answer = file.read()
    if good and answer != tokenizer.decode(expected, skip_special_tokens=True):
        print(f"{path}: the text of the ids differs")
        good = False
    print(f"{'ok  ' if good else 'FAIL'} {os.path.basename(path)}: "
          f"{len(expected)} ids", flush=True)
    return good


def train(args, text_path):
    """make_tokenizers.py writes what it is asked for beside our files."""
    subprocess.run([sys.executable, os.path.join(DATA, "make_tokenizers.py"),
                    "--out", args.dir, "--corpus", text_path, "--tokens",
                    str(args.train)], check=True)


def main():
    parser = argparse.ArgumentParser(description="Compares ids and text.")
    parser.add_argument("--tool", required=True)
    parser.add_argument("--megabytes", type=float, default=10)
    parser.add_argument("--train", type=int, default=0)
    parser.add_argument("--families",
                        default=",".join(make_tokenizers.FAMILIES))
    args = parser.parse_args()
    good = True
    with tempfile.TemporaryDirectory() as args.dir:
        text = mixed(int(args.megabytes * 1e6))
        text_path = os.path.join(args.dir, "text")
        with open(text_path, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        folders = [DATA]
        if args.train:
            train(args, text_path)
            folders.append(args.dir)
        for folder in folders:
            for name in args.families.split(","):
                good &= compare(args, os.path.join(folder, name + ".json"),
                                text, text_path)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
