#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Remakes the tokenizers and the expected ids of tokenizer_test.c.

usage: make_tokenizers.py, with the Python package `tokenizers` at hand.
Trains two small tokenizers, in the manner of Llama 3 and of GPT-2, on the
licence and the samples below, and writes for each NAME.json and
NAME.ids.json: a list of [text, ids, ids with special tokens taken as text],
as that package gives them.  The tests need the files only, not the package.
"""
import json
import os
import random

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models,
                        pre_tokenizers, processors, trainers)

HERE = os.path.dirname(os.path.abspath(__file__))
LICENSE = os.path.join(HERE, "..", "..", "..", "LICENSE")
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
SAMPLES = [
    "", " ", "\n", "a", "Hello, world! It's 2024, isn't it? I'LL say: yes.",
    "The memory of a segment is what the next one reads.",
    "for (size_t i = 0; i < n; i++) {\n\tsum += x[i] * 0x1F;\n}\n\n\n",
    "def f(x):\n    return {'k': [1, 22, 333, 4444, 55555, 1234567.890]}\n",
    "   leading, trailing   ", "a  b   c    d\t\te \n f\r\n\r\n g",
    "\n\n\n   \n\n", " " * 70 + "x" + " " * 33, "\n" * 40 + "\t" * 9,
    "人工智能可以阅读很长的文章，并且记住其中的内容。第二句！",
    "吾輩は猫である。名前はまだ無い。カタカナ、ひらがな、漢字。",
    "한국어 문장은 띄어쓰기가 있습니다. 그렇지요?",
    "السلام عليكم، كيف حالك؟ ١٢٣٤٥", "שלום עולם, מה שלומך?",
    "हिन्दी में एक वाक्य। १२३", "Съешь ещё этих мягких французских булок",
    "Falsches Üben von Xylophonmusik quält jeden größeren Zwerg",
    "\u00e9 e\u0301 \u0301\u0302\u0303 a\u0327\u0301b",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea",
    "x\u00a0y\u2003z\u3000w\u2028v\u0085u\u180et\u200bs\ufeff",
    "\u00b2\u00bd\u2167 \u0663\u0664 3.14e-10 1,000,000", "\x00\x01\x1b[0m\x7f",
    "'S 'T 'rE 've'm'll'd 's's' \u2019s '\u017f", "____init____ --flag=value",
    "https://example.org/a/b?c=d&e=f#g", "...!!!???;;;\u2014\u2026\u00ab\u00bb",
    "Word<|end_of_text|> word <|eot|><|eot|>|><| <|end", "a<tool>b<tool>x c",
    "<|begin_of_text|>", "<|begin_of_text", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
]
LETTERS = ("abcdefghij ABC 0123  \n\t.,;'-<|>_\u00e9\u0301\u4e2d\u6587\u3002"
           "\u0639\u0631\u0628\u05d0\uac00\U0001f600\u00a0")


def texts():
    draw = random.Random(7)
    out = list(SAMPLES)
    for _ in range(120):
        n = draw.randint(1, 60)
        out.append("".join(draw.choice(LETTERS) for _ in range(n)))
    for _ in range(40):
        out.append("".join(draw.choice(SAMPLES)[:draw.randint(0, 30)]
                           for _ in range(4)))
    return out


def corpus():
    with open(LICENSE, encoding="utf-8") as file:
        yield file.read()
    yield from SAMPLES * 3


def train(tokenizer, n_token, special):
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=n_token, show_progress=False, special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(corpus(), trainer)


def llama3():
    t = Tokenizer(models.BPE(ignore_merges=True))
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA3), "isolated", False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    train(t, 700, [])
    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot|>"]
    t.add_special_tokens(special)
    t.add_tokens([AddedToken("<tool>", normalized=False),
                  AddedToken("<tool>x", normalized=True)])
    bos = special[0]
    t.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=True),
        processors.TemplateProcessing(
            single=bos + " $A", pair=f"{bos} $A {bos}:1 $B:1",
            special_tokens=[(bos, t.token_to_id(bos))])])
    return t


def gpt2():
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    train(t, 600, ["<|end_of_text|>"])
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    return t


def vectors(t):
    out = []
    for text in texts():
        row = [text]
        for as_text in (False, True):
            t.encode_special_tokens = as_text
            row.append(t.encode(text, add_special_tokens=False).ids)
        out.append(row)
    return out


def merges_as_text(path):
    """Older files, and the GPT-2 ones, write a merge as one string."""
    with open(path, encoding="utf-8") as file:
        value = json.load(file)
    model = value["model"]
    model["merges"] = [m if isinstance(m, str) else " ".join(m)
                       for m in model["merges"]]
    write(path, value)


def write(path, value):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=True, separators=(",", ":"))
        file.write("\n")


def main():
    for name, make in (("llama3", llama3), ("gpt2", gpt2)):
        t = make()
        path = os.path.join(HERE, name + ".json")
        write(os.path.join(HERE, name + ".ids.json"), vectors(t))
        t.encode_special_tokens = False
        t.save(path, pretty=False)
        if name == "gpt2":
            merges_as_text(path)


if __name__ == "__main__":
    main()
