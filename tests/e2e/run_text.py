#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""longwave-run on text: question behind the document, sampling by seed, stop
strings, end tokens, and what is on stdout."""
import json
import math
import os
import threading

import run_lib
from run_lib import expect

TEXT = "It was a bright cold day, and the clocks were striking thirteen. " * 20
QUESTION = "What did they strike?"
SEGMENT = 64


def answer(args, flags, ranks=0):
    return run_lib.summary(args, ranks, args.common + flags)


def check_input(args):
    """Text, standard input, and their ids are one input."""
    a = answer(args, ["--question", QUESTION])
    # A byte-level tokenizer without merges, and a begin-of-text token.
    n = 1 + len(TEXT) + len(QUESTION)
    expect(a["tokens"] == n, f"{a['tokens']} tokens, not {n}")
    expect(a["segments"] == -(-n // SEGMENT), "segments")
    expect(len(a["generated_ids"]) == 24, "length of the answer")
    b = answer(args, ["--question", QUESTION, "--placement", "segments",
                      "--schedule", "sequential"], 2)
    expect(a["generated_ids"] == b["generated_ids"], "answer on two ranks")
    expect(a["text"] == b["text"], "text on two ranks")
    c = answer(args, ["--question", "Who?"])
    expect(c["tokens"] == 1 + len(TEXT) + 4, "tokens of another question")


def check_fifo(args):
    """Who writes to a named pipe has one reader, to the end of the text.  One
    that only looked in first would lose some of these."""
    path = os.path.join(args.work, "fifo")
    if os.path.exists(path):
        os.remove(path)
    os.mkfifo(path)
    lost = []

    def write():
        try:
            with open(path, "wb", buffering=0) as pipe:
                for at in range(0, len(TEXT), 20):
                    pipe.write(TEXT[at:at + 20].encode())
        except BrokenPipeError:
            lost.append(path)

    for _ in range(12):
        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        a = run_lib.summary(args, 0, ["--model", args.model, "--input", path],
                            20)
        writer.join(10)
        expect(not lost and not writer.is_alive(), "the writer lost its reader")
        expect(a["tokens"] == 1 + len(TEXT), "tokens of a pipe")


def check_template(args):
    """Around text and question, with special tokens, as if it were typed."""
    path = os.path.join(args.work, "template")
    with open(path, "w", encoding="utf-8") as f:
        f.write("Read: {document}\nThen say: {question}<|end_of_text|>\n")
    a = answer(args, ["--question", QUESTION, "--template", path])
    n = 1 + len("Read: \nThen say: ") + len(TEXT) + len(QUESTION) + 1
    expect(a["tokens"] == n, f"{a['tokens']} tokens, not {n}")
    plain = answer(args, ["--question", QUESTION])
    auto = answer(args, ["--question", QUESTION, "--template", "auto"])
    expect(auto["tokens"] == plain["tokens"], "auto without a chat template")
    config = os.path.join(args.model, "tokenizer_config.json")
    with open(config, "w", encoding="utf-8") as f:
        json.dump({"chat_template": "{{ '[INST] ' + x + ' [/INST]' }}"}, f)
    auto = answer(args, ["--question", QUESTION, "--template", "auto"])
    expect(auto["tokens"] == plain["tokens"] + len("[INST]\n\n [/INST]"),
           "auto")
    with open(config, "w", encoding="utf-8") as f:
        json.dump({"chat_template": "{{ '<start_of_turn>' }}"}, f)
    for how, says in (("auto", "none of the shapes"), ("/nowhere", "nowhere"),
                      (args.run, "")):
        done = run_lib.start(args, 0, args.common + [
            "--question", QUESTION, "--template", how])
        expect(done.returncode == 2, f"{how}: exit {done.returncode}")
        expect(says in done.stderr.decode(), f"{how}: {done.stderr}")
    os.remove(config)


def check_sampling(args):
    def ids(*flags):
        return answer(args, list(flags))["generated_ids"]
    greedy = ids()
    one = ids("--temperature", "1.5", "--seed", "1")
    expect(one == ids("--temperature", "1.5", "--seed", "1"), "the same seed")
    expect(one != ids("--temperature", "1.5", "--seed", "2"), "another seed")
    expect(one != greedy, "greedy is not drawn")
    expect(greedy == ids("--temperature", "1.5", "--top-k", "1"), "top-k 1")
    expect(greedy == ids("--temperature", "1.5", "--top-p", "1e-6"), "top-p")
    expect(greedy == ids("--temperature", "1.5", "--min-p", "1"), "min-p")
    flags = ["--temperature", "1.5", "--top-k", "90", "--top-p", "0.9",
             "--min-p", "0.7", "--seed", "1"]
    drawn = ids(*flags)
    expect(drawn != ids(*flags[:6], *flags[8:]), "min-p changes nothing")
    expect(ids(*flags, "--repetition-penalty", "1") == drawn,
           "a penalty of 1 changes something")
    flags += ["--repetition-penalty", "1.4"]
    penalised = ids(*flags)
    expect(penalised != drawn, "a penalty changes nothing")
    for ranks in (2, 3):
        expect(drawn == answer(args, flags[:-2], ranks)["generated_ids"],
               f"the same seed on {ranks} ranks")
        for placement in ("layers", "segments"):
            expect(penalised == answer(args, flags + [
                "--placement", placement], ranks)["generated_ids"],
                f"a penalty on {ranks} ranks, {placement}")


def check_penalty(args):
    """Each token is the likeliest once the logits of those of the last segment
    and of the answer are changed, as Hugging Face's processor does it."""
    path = os.path.join(args.work, "generated.safetensors")
    inputs = os.path.join(args.work, "ids.safetensors")
    given = [i * i % 211 for i in range(2 * SEGMENT + 40)]
    run_lib.write_ids(inputs, given)
    for penalty in (1.7, 0.6):
        done = run_lib.summary(args, 0, [
            "--model", args.model, "--input", inputs, "--generate", "24",
            "--ignore-eos", "--repetition-penalty", str(penalty),
            "--generated-logits", path])
        shape, values = run_lib.read_tensors(path)["gen_logits"]
        seen = set(given[2 * SEGMENT:])
        moved = 0
        for i, got in enumerate(done["generated_ids"]):
            row = values[i * shape[1]:(i + 1) * shape[1]]
            new = [x if k not in seen else x * penalty if x < 0 else x / penalty
                   for k, x in enumerate(row)]
            best = max(range(len(new)), key=new.__getitem__)
            expect(got == best, f"token {i}: {got}, not {best}")
            moved += best != max(range(len(row)), key=row.__getitem__)
            seen.add(got)
        expect(moved > 0, "the penalty changes no token")


def check_logprobs(args):
    """Log-probabilities are those of the model's logits, however it is drawn,
    and the same on two ranks."""
    path = os.path.join(args.work, "generated.safetensors")
    flags = ["--temperature", "1.5", "--seed", "1", "--min-p", "0.1",
             "--logprobs", "3"]
    done = answer(args, flags + ["--generated-logits", path])
    shape, values = run_lib.read_tensors(path)["gen_logits"]
    expect(len(done["logprobs"]) == shape[0] == 24, "a report for each token")
    for i, got in enumerate(done["logprobs"]):
        row = values[i * shape[1]:(i + 1) * shape[1]]
        total = math.log(sum(math.exp(x) for x in row))
        best = sorted(range(len(row)), key=lambda k: (-row[k], k))[:3]
        expect(got["id"] == done["generated_ids"][i], "the id drawn")
        expect(abs(got["logprob"] - (row[got["id"]] - total)) < 1e-4,
               "its log-probability")
        expect([t["id"] for t in got["top"]] == best, "the likeliest")
        expect(all(abs(t["logprob"] - (row[t["id"]] - total)) < 1e-4
                   for t in got["top"]), "their log-probabilities")
    expect(answer(args, flags, 2)["logprobs"] == done["logprobs"],
           "log-probabilities on two ranks")
    expect("logprobs" not in answer(args, []), "none unless asked for")


def check_stop(args):
    """The answer ends before a stop string, and its ids with it."""
    flags = ["--temperature", "1", "--seed", "4"]
    whole = answer(args, flags)
    text = whole["text"]
    at = next(i for i in range(4, len(text)) if text[i] != "\ufffd"
              and text[i].isprintable() and text.find(text[i]) == i)
    cut = answer(args, flags + ["--stop", text[at]])
    expect(cut["text"] == text[:at], f"{cut['text']!r}, not {text[:at]!r}")
    n = len(cut["generated_ids"])
    expect(n < 24 and cut["generated_ids"] == whole["generated_ids"][:n],
           "ids up to the stop string")
    none = answer(args, flags + ["--stop", "no such text comes"])
    expect(none["text"] == text, "a stop string that does not come")


def check_eos(args):
    """An end token ends the answer, unless it is ignored."""
    flags = ["--temperature", "1", "--seed", "5", "--ignore-eos"]
    whole = answer(args, flags)["generated_ids"]
    path = os.path.join(args.model, "config.json")
    with open(path) as f:
        text = f.read()
    config = json.loads(text)
    for c in (config, config["base_model_config"]):
        if c is config or "eos_token_id" in c:
            c["eos_token_id"] = whole[7]
    with open(path, "w") as f:
        json.dump(config, f)
    ended = answer(args, flags[:-1])["generated_ids"]
    ignored = answer(args, flags)["generated_ids"]
    with open(path, "w") as f:
        f.write(text)
    expect(ended == whole[:whole.index(whole[7]) + 1], "the end token")
    expect(ignored == whole, "--ignore-eos")


def check_ranks(args):
    """Answers run where the weights are: with segments on one rank, which has
    the states once the prompt is read, with layers row by row down the chain.
    What one token more moves is told by two lengths."""
    def moved(ranks, placement, n):
        done = answer(args, ["--generate", str(n), "--ignore-eos",
                             "--placement", placement], ranks)
        expect(done["generated_ids"] == alone[:n], f"{placement}, {ranks}")
        return done["bytes_moved"]

    alone = answer(args, ["--ignore-eos"])["generated_ids"]
    for ranks in (2, 3):
        expect(moved(ranks, "segments", 1) == moved(ranks, "segments", 24),
               f"states of an answer moved on {ranks} ranks")
        row = 32 * 4
        expect(moved(ranks, "layers", 24) - moved(ranks, "layers", 1) ==
               23 * (ranks - 1) * row, f"rows of an answer on {ranks} ranks")


def check_ahead(args):
    """Steps that a device computes on its own are enqueued before they are
    fed, where the likeliest token is taken; the answer is the same."""
    there = ["--ignore-eos", "--device", "cpu-async"]
    plain = answer(args, there[:-2] + ["--device", "cpu"])
    ahead = answer(args, there)
    drawn = answer(args, there + ["--temperature", "1", "--seed", "5"])
    expect(ahead["generated_ids"] == plain["generated_ids"], "ids ahead")
    expect(0 < ahead["steps_ahead"] < 24, f"{ahead['steps_ahead']} ahead")
    expect(plain["steps_ahead"] == drawn["steps_ahead"] == 0, "none ahead")


def check_stdout(args):
    """Without --json: the answer alone on stdout, the rest on stderr."""
    flags = ["--model", args.model, "--input", args.input, "--generate", "24"]
    done = run_lib.start(args, 0, flags)
    expect(done.returncode == 0, "exit status")
    expect(done.stdout.decode() == answer(args, [])["text"] + "\n", "stdout")
    expect(b"tokens" in done.stderr, "a summary on stderr")
    quiet = run_lib.start(args, 2, flags[:-2])
    expect(quiet.returncode == 0 and quiet.stdout == b"", "nothing asked for")
    version = run_lib.start(args, 2, ["--version"])
    expect(version.stdout.count(b"longwave-run") == 1, "--version of one rank")


def main():
    args = run_lib.flags()
    args.model = run_lib.make_tiny(args)
    args.input = os.path.join(args.work, "input.txt")
    with open(args.input, "w") as f:
        f.write(TEXT)
    args.common = ["--model", args.model, "--input", args.input,
                   "--generate", "24"]
    check_input(args)
    check_fifo(args)
    check_template(args)
    check_sampling(args)
    check_penalty(args)
    check_logprobs(args)
    check_stop(args)
    check_eos(args)
    check_ranks(args)
    check_ahead(args)
    check_stdout(args)


if __name__ == "__main__":
    main()
