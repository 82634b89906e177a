#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Bad input of longwave-run: one sentence, exit status 2 on every rank and so
from mpirun, nothing on stdout, and no file is left behind."""
import argparse
import os
import shutil
import struct
import subprocess

import run_lib
from run_lib import expect


def make_inputs(args, model):
    """{name: (flags, a word of the sentence)}"""
    def path(name, data):
        p = os.path.join(args.work, name)
        with open(p, "wb") as f:
            f.write(data)
        return p

    def ids(name, values):
        p = os.path.join(args.work, name)
        run_lib.write_ids(p, values)
        return p

    good = path("good.txt", b"A text that can be read.")
    whole = open(ids("whole.safetensors", [1, 2, 3]), "rb").read()
    deep = struct.pack("<Q", 8) + b"[[[[[[[["
    overlap = (b'{"a":{"dtype":"I64","shape":[2],"data_offsets":[0,16]},'
               b'"input_ids":{"dtype":"I64","shape":[2],'
               b'"data_offsets":[8,24]}}')
    overlap = struct.pack("<Q", len(overlap)) + overlap + bytes(24)
    floats = (b'{"input_ids":{"dtype":"F32","shape":[2],'
              b'"data_offsets":[0,8]}}')
    floats = struct.pack("<Q", len(floats)) + floats + bytes(8)
    other = (b'{"ids":{"dtype":"I32","shape":[2],"data_offsets":[0,8]}}')
    other = struct.pack("<Q", len(other)) + other + bytes(8)
    m = ["--model", model]
    i = ["--input", good]
    out = os.path.join(args.work, "never.safetensors")
    return {
        "no such model": (["--model", model + ".no"] + i, "No such file"),
        "no such input": (m + ["--input", good + ".no"], "No such file"),
        "a directory": (m + ["--input", args.work], "directory"),
        "empty document": (m + ["--input", path("empty.txt", b"")], "empty"),
        "not UTF-8": (m + ["--input", path("bad.txt", b"abc\xff\xfe")],
                      "byte 3"),
        "cut-off character": (m + ["--input", path("cut.txt", b"ab\xe2\x82")],
                              "byte 2"),
        "truncated": (m + ["--input", path("t.safetensors", whole[:-5])],
                      "t.safetensors"),
        "only a header": (m + ["--input", path("h.safetensors", whole[:20])],
                          "h.safetensors"),
        "no JSON": (m + ["--input", path("deep.safetensors", deep)],
                    "deep.safetensors"),
        "overlap": (m + ["--input", path("o.safetensors", overlap)],
                    "o.safetensors"),
        "floats": (m + ["--input", path("f.safetensors", floats)],
                   "input_ids"),
        "no ids": (m + ["--input", path("n.safetensors", other)],
                   "input_ids"),
        "no tokens": (m + ["--input", ids("none.safetensors", [])], "empty"),
        "too large an id": (m + ["--input", ids("l.safetensors", [5, 99999])],
                            "vocabulary"),
        "negative id": (m + ["--input", ids("neg.safetensors", [5, -1])],
                        "vocabulary"),
        "huge id": (m + ["--input", ids("huge.safetensors", [2 ** 40])], ""),
        "segments of nothing": (m + i + ["--segment", "0"], "--segment"),
        "unknown keys": (m + i + ["--key-norm", "x"],
                         "--key-norm is none or l2, not x"),
        "unknown states": (m + i + ["--state-type", "f16"],
                           "--state-type is f32 or bf16, not f16"),
        "states of no memory": (
            ["--model", os.path.join(args.golden, "rmt-llama")] + i +
            ["--state-type", "bf16"], "associative memory"),
        "empty question": (m + i + ["--question", ""], "empty"),
        "question not UTF-8": (m + i + ["--question", b"\xff"], "UTF-8"),
        "alignment": (m + i + ["--alignment", "justified"],
                      "justified"),
        "placement": (m + i + ["--placement", "rows"], "rows"),
        "schedule": (m + i + ["--schedule", "none"], "none"),
        "device": (m + i + ["--device", "abacus"], "abacus"),
        "unknown flag": (m + i + ["--fast"], "--fast"),
        "no input": (m, "--input"),
        "generated logits of nothing": (
            m + i + ["--generated-logits", out], "--generate"),
        "stop without answer": (m + i + ["--stop", "x"], "--generate"),
        "not a number": (m + i + ["--generate", "many"], "many"),
        "files stay away": (m + ["--input", good + ".no", "--logits", out],
                            "No such file"),
        "tokens without tokenizer": (
            ["--model", os.path.join(args.golden, "armt-llama")] + i,
            "tokenizer.json"),
    }


def same_files(args, model, good):
    """Outputs that would replace an input, or each other, by any name."""
    def at(*names):
        return os.path.join(args.work, *names)

    new = at("never.safetensors")
    os.symlink(good, at("link"))
    os.link(good, at("hard"))
    os.symlink(at("."), at("again"))
    with open(at("form"), "w", encoding="utf-8") as f:
        f.write("{document} {question}")
    m = ["--model", model, "--input", good]
    weights = os.path.join(model, "model.safetensors")
    return {
        "onto the input": (m + ["--logits", good], "the file of --input"),
        "onto its link": (m + ["--state", at("link")], "the file of --input"),
        "onto its name": (m + ["--state", at("hard")], "the file of --input"),
        "a link is read": (["--model", model, "--input", at("link"),
                            "--logits", good], "the file of --input"),
        "onto the form": (m + ["--template", at("form"), "--logits",
                               at("form")], "the file of --template"),
        "onto the weights": (m + ["--logits", weights], "the model's"),
        "onto the tokenizer": (
            m + ["--generate", "1", "--generated-logits",
                 os.path.join(model, "tokenizer.json")], "the model's"),
        "twice": (m + ["--logits", new, "--state", new],
                  "--state " + new + ": that is the file of --logits"),
        "twice by two names": (
            m + ["--logits", new, "--state",
                 at("again", "never.safetensors")], "the file of --logits"),
    }


def contents(folder):
    """{path: bytes} of everything in it."""
    found = {}
    for root, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(root, name), "rb") as f:
                found[os.path.join(root, name)] = f.read()
    return found


def check_same_files(args, model, good):
    cases = same_files(args, model, good)
    before = contents(args.work)
    for name, (flags, word) in cases.items():
        check(args, name, 0, flags, word)
    check(args, "onto the input, on ranks", 2, *cases["onto the input"])
    with open(good, "rb") as f:
        done = subprocess.run(
            [args.run, "--model", model, "--input", "-", "--logits", good],
            stdin=f, capture_output=True, timeout=60)
    text = done.stderr.decode(errors="replace")
    expect(done.returncode == 2 and "the file of --input" in text, text)
    # A device is no file to lose: told as before.
    done = run_lib.start(args, 0, ["--model", model, "--input", good,
                                   "--logits", "/dev/null", "--state",
                                   "/dev/null"])
    expect(done.returncode == 1, "devices: " + done.stderr.decode())
    expect(contents(args.work) == before, "something was written")
    for name in ("link", "hard", "again", "form"):
        os.remove(os.path.join(args.work, name))


def check(args, name, ranks, flags, word):
    done = run_lib.start(args, ranks, flags)
    text = done.stderr.decode(errors="replace")
    errors = [l for l in text.splitlines() if "longwave-run: error:" in l]
    expect(done.returncode == 2, f"{name}: exit {done.returncode}: {text}")
    expect(len(errors) == 1, f"{name}: {text}")
    expect(word in errors[0], f"{name}: {errors[0]}")
    expect(done.stdout == b"", f"{name}: something on stdout")


def check_other_model(args, good):
    """Rank 1 is given another model, by a line of its own: other numbers,
    or another number of layers, which is found before anything is loaded."""
    other = os.path.join(args.work, "other")
    flags = list(good)
    flags[flags.index("--model") + 1] = other
    for more, word in ((("--seed", "2"), "weights"),
                       (("--layers", "2"), "model")):
        run_lib.make_tiny(args, other, *more)
        check(args, "another model", 1,
              good + [":", "-n", "1", args.run] + flags,
              f"rank 1 differs from rank 0 in its {word}")
        shutil.rmtree(other)


def check_other_version(args, good):
    """Rank 1 is older, as on a host that was left behind."""
    check(args, "another version", 1,
          good + [":", "-n", "1", args.other] + good,
          "rank 1 differs from rank 0 in its version of Longwave")
    check(args, "another version leads", 1,
          good + [":", "-n", "2", args.other] + good, "version of Longwave")


def copy_with_note(args, name, at, value):
    """A copy of longwave-run, another byte at `at` of its build id's note."""
    path = os.path.join(args.work, name)
    with open(args.run, "rb") as f:
        data = bytearray(f.read())
    head = struct.pack("<III", 4, 20, 3) + b"GNU\0"
    expect(data.count(head) == 1, "no build id, or several")
    data[data.index(head) + at] ^= value
    with open(path, "wb") as f:
        f.write(data)
    os.chmod(path, 0o755)
    return path


def check_other_build(args, good):
    """Rank 1 is of this version but was built another time; builds that have
    no id are those of their version."""
    other = copy_with_note(args, "built-again", 16 + 19, 1)
    nameless = copy_with_note(args, "nameless", 8, 4)

    def led_by(program):
        return argparse.Namespace(**dict(vars(args), run=program))

    for name, lead, second in (("again", args.run, other),
                               ("again leads", other, args.run),
                               ("one has an id", args.run, nameless)):
        check(led_by(lead), name, 1,
              good + [":", "-n", "2", second] + good,
              "rank 1 differs from rank 0 in its build of Longwave")
    done = run_lib.start(led_by(nameless), 2, good)
    expect(done.returncode == 0, done.stderr.decode(errors="replace"))
    for path in (other, nameless):
        os.remove(path)


def main():
    args = run_lib.flags()
    shutil.rmtree(args.work)
    os.makedirs(args.work)
    model = run_lib.make_tiny(args)
    cases = make_inputs(args, model)
    before = sorted(os.listdir(args.work))
    for name, (flags, word) in cases.items():
        check(args, name, 0, flags, word)
    good = cases["stop without answer"][0][:-2] + ["--generate", "1"]
    for flag, values in run_lib.BAD_SAMPLING.items():
        for value in values:
            check(args, f"{flag} {value}", 0, good + [flag, value], flag)
    check(args, "logprobs", 0, good + ["--logprobs", "21"], "--logprobs")
    for name in ("no such model", "not UTF-8", "alignment", "too large an id"):
        check(args, name, 3, *cases[name])
    check(args, "replicas", 3, good + ["--replicas", "2"], "2 replicas")
    check_same_files(args, model, os.path.join(args.work, "good.txt"))
    check_other_model(args, good)
    check_other_version(args, good)
    check_other_build(args, good)
    expect(sorted(os.listdir(args.work)) == before, "files were left behind")


if __name__ == "__main__":
    main()
