#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Slips facts into a book, and scores the answers about them; for demo.sh.

usage: demo_book.py hide BOOK OUT [--bytes N] [--seed S]
       demo_book.py ask OUT NAME

`hide` writes OUT/text.txt, the first N bytes of the book with facts after the
ends of sentences, prints the facts and their places, and writes
OUT/questions.json.  `ask` asks the document NAME through the longwave command
and prints every answer, right or wrong."""
import argparse
import json
import os
import random
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "client", "eval"),
                os.path.join(HERE, "..", "model")]
import command  # noqa: E402
import tasks    # noqa: E402


def facts_of(rng):
    """Four keys and eight persons who move twice, in one order."""
    keys, unsaid = tasks.tell_keys(rng)
    keys = keys[:4]
    moves = tasks.tell_moves(rng, 0)[:16]
    order = sorted(rng.sample(range(20), 4))
    facts = list(moves)
    for at, key in zip(order, keys):
        facts.insert(at, key)
    return facts, [k[1] for k in keys], unsaid[0]


def hide(flags):
    rng = random.Random(flags.seed)
    try:
        with open(flags.book, encoding="utf-8") as f:
            book = f.read(flags.bytes)
        prose = tasks.Prose(book)
    except ValueError as e:     # no UTF-8, or too few sentences
        raise command.Refused(f"{flags.book}: {e}") from None
    facts, keys, unsaid = facts_of(rng)
    # The end stays free: what is in sight there needs no memory.
    ends = [e for e in prose.ends if e < 0.9 * len(book)]
    spots = sorted(rng.sample(ends, len(facts)))
    parts, at, now = [], 0, {}
    for spot, (text, subject, value) in zip(spots, facts):
        parts += [book[at:spot], " ", text]
        at = spot
        now[subject] = value
        print(f"  at {100 * spot / len(book):4.1f} %  {text}")
    os.makedirs(flags.out, exist_ok=True)
    with open(os.path.join(flags.out, "text.txt"), "w",
              encoding="utf-8") as f:
        f.write("".join(parts) + book[at:])
    persons = [s for s in now if s not in keys]
    asked = [(tasks.say(rng, "ask_kv", k=k), now[k]) for k in keys]
    asked += [(tasks.say(rng, "ask_person", p=p), now[p])
              for p in rng.sample(persons, 3)]
    asked.append((tasks.say(rng, "ask_kv", k=unsaid), tasks.SILENT))
    with open(os.path.join(flags.out, "questions.json"), "w",
              encoding="utf-8") as f:
        json.dump(asked, f)


def ask(flags):
    with open(os.path.join(flags.out, "questions.json"),
              encoding="utf-8") as f:
        asked = json.load(f)
    right = 0
    for question, want in asked:
        run = subprocess.run(["longwave", "ask", flags.name, " " + question,
                              "--generate", "16", "--json"],
                             stdout=subprocess.PIPE, text=True, check=False)
        if run.returncode:      # it has said why
            sys.exit(run.returncode)
        got = json.loads(run.stdout.splitlines()[-1])["text"].strip()
        right += got == want
        got = "".join(c if c.isprintable() else "." for c in got)
        print(f"  {question:<48} {got:<16} "
              + ("right" if got == want else f"wrong: {want}"))
    print(f"  {right} of {len(asked)} right")


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    sub = p.add_subparsers(dest="do", required=True)
    one = sub.add_parser("hide")
    one.add_argument("book")
    one.add_argument("out")
    one.add_argument("--bytes", type=int, default=-1)
    one.add_argument("--seed", default="longwave")
    two = sub.add_parser("ask")
    two.add_argument("out")
    two.add_argument("name")
    flags = p.parse_args()
    {"hide": hide, "ask": ask}[flags.do](flags)


if __name__ == "__main__":
    main()
