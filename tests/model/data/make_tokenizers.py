#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Remakes the tokenizers and the expected ids of tokenizer_test.c.

usage: make_tokenizers.py [--out DIR] [--corpus FILE] [--tokens N]

Needs the Python package `tokenizers`; the tests need the files only.  Trains
one small tokenizer in the manner of each family on the licence and the samples
below (or on FILE, with N tokens), and writes for each NAME.json and
NAME.ids.json, all as that package gives it:
  "rows":    [text, ids, ids with special tokens taken as text, what the latter
             are as text again or null if that is the text]
  "answers": [ids, what they are as text without special tokens]
"""
import argparse
import json
import os
import random
import re

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models,
                        normalizers, pre_tokenizers, processors, trainers)

HERE = os.path.dirname(os.path.abspath(__file__))
LICENSE = os.path.join(HERE, "..", "..", "..", "LICENSE")
TAIL = (r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
HEAD = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
LLAMA3 = HEAD + r"\p{N}{1,3}" + TAIL
QWEN2 = HEAD + r"\p{N}" + TAIL
PAIRS = (r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}{1,2}| ?[^\s\p{L}\p{N}]+|"
         r"\s+(?!\S)|\s+")
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
    # Normal form C: marks in the wrong order, Hangul by letters, singletons.
    "a\u0301\u0327 q\u0307\u0323\u0307 \u1112\u1161\u11ab\u1100\u1161 \u212b\u2126",
    "\u0344 \u0958 \u2adc <\u0338 =\u0338 \u1100\uac00\u11a8 \u0b47\u0b3e",
    "\u0f71\u0f72\u0f74 \u1e9b\u0323 \ufb1d \U0001d15e \u0cc6\u0cc2\u0cd5",
    "e\u0301" * 9 + "\u0323\u0301" * 7, "\u0e01\u0e38\u0e48 \u0e44\u0e17\u0e22",
    # Added tokens and what is beside them.
    "a <mask> b<mask>c  <mask>\n<left>  d  <left>e", "keep keeper <keep> keep.",
    "  <s>x</s> y <s> z</s>", "<s>", "<s> a", " <s>", "<unk></s>",
    "e\u0323\u0302nd \u1ec7nd xe\u0302\u0323nd", "\u2581a \u2581\u2581b <0x41> \u2581",
    "<mask> <left>   <mask>  ", "a<|eot|>  <mask>  <left> b",
    "  two   three    four     five", "x" + " " * 30 + "y" + " " * 5,
]
LETTERS = ("abcdefghij ABC 0123  \n\t.,;'-<|>_\u00e9\u0301\u0327\u4e2d\u6587"
           "\u3002\u0639\u0631\u0628\u05d0\uac00\U0001f600\u00a0\u2581\u00b2")


def texts():
    draw = random.Random(7)
    out = list(SAMPLES)
    for _ in range(100):
        n = draw.randint(1, 60)
        out.append("".join(draw.choice(LETTERS) for _ in range(n)))
    for _ in range(40):
        out.append("".join(draw.choice(SAMPLES)[:draw.randint(0, 30)]
                           for _ in range(4)))
    return out


def corpus(path):
    with open(path or LICENSE, encoding="utf-8") as file:
        text = file.read()
    # No merge may make a special token, and none is of NUL, which jansson does
    # not read as a name.
    for part in (text.split("\n\n") if path else [text]) + SAMPLES * 3:
        yield re.sub("</?s>|<unk>|\0", "", part)


class Maker:
    """Trains a tokenizer and gives it back as a dictionary or an object."""

    def __init__(self, path, n_token):
        self.path = path
        self.n_token = n_token

    def train(self, tokenizer, n_token, special, letters=True, **more):
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet() if letters else []
        trainer = trainers.BpeTrainer(
            vocab_size=self.n_token or n_token, show_progress=False,
            special_tokens=special, initial_alphabet=alphabet, **more)
        tokenizer.train_from_iterator(corpus(self.path), trainer)

    def llama3(self):
        t = Tokenizer(models.BPE(ignore_merges=True))
        t.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(LLAMA3), "isolated", False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        self.train(t, 700, [])
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

    def gpt2(self):
        t = Tokenizer(models.BPE())
        t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        self.train(t, 600, ["<|end_of_text|>"])
        t.post_processor = processors.ByteLevel(trim_offsets=False)
        return older(t)

    def pairs(self):
        """As GPT-2, but numbers are cut into pairs of digits."""
        t = Tokenizer(models.BPE())
        t.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(PAIRS), "isolated", False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        self.train(t, 600, ["<|end_of_text|>"])
        t.post_processor = processors.TemplateProcessing(single="$A")
        return t

    def qwen2(self):
        t = Tokenizer(models.BPE())
        t.normalizer = normalizers.NFC()
        t.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(QWEN2), "isolated", False),
            pre_tokenizers.ByteLevel(add_prefix_space=False,
                                     trim_offsets=False, use_regex=False)])
        self.train(t, 700, [])
        t.add_special_tokens(["<|end_of_text|>", "<|eot|>"])
        t.add_tokens([AddedToken("<tool>", normalized=False),
                      AddedToken("\u1ec7nd", normalized=True)])
        t.post_processor = processors.ByteLevel(trim_offsets=False)
        return t

    def smollm(self):
        t = Tokenizer(models.BPE())
        t.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False)])
        self.train(t, 700, ["<|end_of_text|>", "<|eot|>"])
        t.add_tokens([AddedToken("<mask>", lstrip=True),
                      AddedToken("<left>", rstrip=True, normalized=False),
                      AddedToken("keep", single_word=True)])
        t.post_processor = processors.TemplateProcessing(single="$A")
        return t

    def neox(self):
        """Bytes that UTF-8 never has are no tokens; runs of spaces are."""
        t = Tokenizer(models.BPE())
        t.normalizer = normalizers.NFC()
        t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        self.train(t, 600, ["<|end_of_text|>", "<|padding|>"], letters=False)
        t.add_tokens([AddedToken(" " * n, normalized=True)
                      for n in range(24, 1, -1)])
        t.post_processor = processors.TemplateProcessing(single="$A")
        return older(t)

    def characters(self):
        """What both ways of writing Llama 2's tokenizer have in common."""
        t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True,
                                 byte_fallback=True))
        t.pre_tokenizer = pre_tokenizers.Metaspace()
        special = ["<unk>", "<s>", "</s>"]
        self.train(t, 900, special + [f"<0x{i:02X}>" for i in range(256)],
                   letters=False, limit_alphabet=self.n_token or 110)
        value = json.loads(t.to_str())
        value["added_tokens"] = value["added_tokens"][:3]
        t = Tokenizer.from_str(json.dumps(value))
        t.decoder = decoders.Sequence([
            decoders.Replace("\u2581", " "), decoders.ByteFallback(),
            decoders.Fuse(), decoders.Strip(" ", 1, 0)])
        t.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A <s>:1 $B:1",
            special_tokens=[("<s>", 1)])
        return t

    def llama2(self):
        t = self.characters()
        t.pre_tokenizer = None
        t.normalizer = normalizers.Sequence([
            normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
        value = json.loads(t.to_str())
        for entry in value["added_tokens"]:
            entry["normalized"] = entry["content"] == "</s>"
        return older(Tokenizer.from_str(json.dumps(value)))

    def mistral(self):
        """The newer way to write Llama 2's."""
        t = self.characters()
        t.normalizer = None
        t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first",
                                                   split=False)
        t.add_tokens([AddedToken("<tool>", normalized=False)])
        return t

    def metaspace(self):
        """Words, and a mark before every part, written in the oldest way."""
        t = self.characters()
        t.pre_tokenizer = pre_tokenizers.Metaspace()
        t.decoder = decoders.Metaspace()
        value = older(t)
        for step in (value["pre_tokenizer"], value["decoder"]):
            for name in ("prepend_scheme", "split"):
                del step[name]
            step["add_prefix_space"] = True
            step["str_rep"] = "\u2581"
        return value


FAMILIES = ("llama3", "gpt2", "qwen2", "smollm", "neox", "llama2", "mistral",
            "metaspace", "pairs")


def older(t):
    """Files of older versions write a merge as one string and leave out what
    did not exist yet."""
    value = json.loads(t.to_str())
    model = value["model"]
    model["merges"] = [" ".join(m) for m in model["merges"]]
    del model["ignore_merges"]
    pre = value["pre_tokenizer"]
    if pre is not None and pre["type"] == "ByteLevel":
        del pre["use_regex"]
    return value


def as_text(t):
    return lambda ids: t.decode(ids, skip_special_tokens=True)


def rows(t):
    out = []
    for text in texts():
        row = [text]
        for special_as_text in (False, True):
            t.encode_special_tokens = special_as_text
            row.append(t.encode(text, add_special_tokens=False).ids)
        decoded = as_text(t)(row[2])
        out.append(row + [None if decoded == text else decoded])
    return out


def answers(t, name):
    """Random ids, most of which are no text of anybody's.  A row of bytes by
    name in which some are characters and some are not has no reading here that
    does not wait for its end, so there are none."""
    draw = random.Random(11)
    n = t.get_vocab_size()
    by_name = {i for i in range(n)
               if (t.id_to_token(i) or "").startswith("<0x")}
    out = []
    for _ in range(60):
        ids = []
        for _ in range(draw.randint(1, 20)):
            i = draw.randrange(n)
            if i in by_name and ids and ids[-1] in by_name:
                continue
            ids.append(i)
        out.append([ids, as_text(t)(ids)])
    if by_name:
        for text in ("\U0001f600", "x\u0e01\u0e38\u0e48 y\u05d0", "\x01\x02"):
            ids = [t.token_to_id(f"<0x{b:02X}>") for b in text.encode()]
            out.append([ids, as_text(t)(ids)])
    return out


def write(path, value):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=True, separators=(",", ":"))
        file.write("\n")


def main():
    parser = argparse.ArgumentParser(description="Makes small tokenizers.")
    parser.add_argument("--out", default=HERE)
    parser.add_argument("--corpus")
    parser.add_argument("--tokens", type=int)
    args = parser.parse_args()
    maker = Maker(args.corpus, args.tokens)
    for name in FAMILIES:
        value = getattr(maker, name)()
        if not isinstance(value, dict):
            value = json.loads(value.to_str())
        write(os.path.join(args.out, name + ".json"), value)
        t = Tokenizer.from_str(json.dumps(value))
        write(os.path.join(args.out, name + ".ids.json"),
              {"rows": rows(t), "answers": answers(t, name)})


if __name__ == "__main__":
    main()
