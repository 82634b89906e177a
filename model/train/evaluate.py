#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Accuracy of a model by task and length, in PyTorch.

Prose, names and templates are those of the evaluation side.  A question is
right when every token of the answer, and the end after it, is the most likely
one: that is what greedy generation would give.  `off` is the same model with
its memory empty, `last` answers with the value told last, `often` with the
most frequent answer of the cell.  With --side train all of it is training's,
and four words of five are any or invented; with --side dev the prose is
training's, names and templates are held out like the evaluation's: for choices
before a checkpoint is frozen.

usage: evaluate.py (--checkpoint FILE | --model DIR) --data DIR
                   [--tokens 1024,16384,...] [--questions 400] [--docs 20]
                   [--side dev] [--recent N] [--seed HEX] [--json FILE]
"""
import argparse
import json
import os
import random
import sys
import time

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import command  # noqa: E402 (before what may be missing: how it ends)
import numpy as np
import torch
from tokenizers import Tokenizer

import facts
import hf
from armt import Model
from facts import HOLDER, KV, OBJECT, PERSON
from shape import Shape
from words import DEV, EVAL, TRAIN

TASKS = ("key", "person", "object", "silent")
SHORT = 16384   # cells of up to so many tokens have four times the questions
WILD = 0.8      # words from outside the lists, where there are any


def tell_moves(world, rng, moves, objects):
    """Facts of persons who move, and of things taken and handed on."""
    order = [p for p in world.persons for _ in range(moves)]
    rng.shuffle(order)
    events = [(PERSON, p) for p in world.persons] + [
        (PERSON, p) for p in order[:max(0, len(order) - len(world.persons))]]
    for o in world.objects[:objects]:
        for _ in range(3):
            events.insert(rng.randrange(len(world.persons),
                                        len(events) + 1), (HOLDER, o))
    out, had, lang = [], {}, world.lang
    for kind, who in events:
        was = world.told[kind].get(who, (None,))[0]
        if kind == PERSON:
            value = rng.choice([x for x in world.places if x != was])
            ids = lang.say(rng, "go", p=who, l=value)
        else:
            before = had.setdefault(who, [])
            value = rng.choice([x for x in world.persons if x not in before])
            before.append(value)
            ids = (lang.say(rng, "take", p=value, o=who) if was is None else
                   lang.say(rng, "give", p=was, o=who, q=value))
        world.learn((kind, who, value), 0)
        out.append((ids, (kind, who, value)))
    return out


def document(task, lang, prose, rng, n, S, recent):
    """ids [n, S] and questions (ids, answer ids, last value, told).  Facts
    are in the last `recent` segments before the last one, 0: anywhere."""
    kinds = {"key": (KV,), "silent": (KV,), "person": (PERSON,),
             "object": (PERSON, OBJECT)}[task]
    world = facts.World(lang, rng, kinds, WILD, sizes=(8, 8, 10, 3))
    told = []
    if KV in kinds:
        for k in world.keys:
            v = lang.value(rng)
            world.learn((KV, k, v), 0)
            told.append((lang.say(rng, "kv", k=k, v=v), (KV, k, v)))
    else:
        told = tell_moves(world, rng, 5, 3 if task == "object" else 0)
    near = min(recent or n - 1, n - 1)
    head, _ = facts.splice(prose, rng, near * S, [s for s, _ in told],
                           near == n - 1)
    if near < n - 1:
        far, _ = facts.splice(prose, rng, (n - 1 - near) * S, [], True)
        head = np.concatenate([far, head])
    tail, _ = facts.splice(prose, rng, S, [])
    last = told[-1][1]
    asked = []
    if task in ("key", "silent"):
        asked = [("ask_kv", "k", k, v[0]) for k, v in world.told[KV].items()]
        if task == "silent":
            absent = [k for k in lang.keys(rng, 16, WILD)
                      if k not in world.told[KV]]
            asked += [("ask_kv", "k", k, None) for k in absent[:8]]
    elif task == "person":
        asked = [("ask_person", "p", p, v[0])
                 for p, v in world.told[PERSON].items() if p != last[1]]
    else:
        asked = [("ask_object", "o", o, world.told[PERSON][v[0]][0])
                 for o, v in world.told[HOLDER].items()]
    final = [f[2] for _, f in told if f[0] != HOLDER][-1]
    return np.concatenate([head, tail]).reshape(n, S), [
        (lang.say(rng, form, **{slot: key}), value, final)
        for form, slot, key, value in asked]


def rows_of(lang, prose, rng, questions, S):
    """Question segments: prose, the question, its answer."""
    ids = np.full((len(questions), S), facts.EOS, np.int16)
    target = np.full((len(questions), S), -1, np.int16)
    for i, (q, value, _) in enumerate(questions):
        answer = (lang.silent if value is None else lang.ids(" " + value)
                  ) + [facts.EOS]
        lead = rng.randrange(S - len(q) - len(answer) - 1)
        text, _ = facts.splice(prose, rng, lead, [])
        whole = np.concatenate([text, q, answer])
        ids[i, :len(whole)] = whole
        at = lead + len(q) - 1
        target[i, at:at + len(answer)] = answer
    return ids, target


def right(model, weights, state, owner, ids, target, device, silent):
    """Whether each answer is right, and whether it begins with `silent`."""
    got, mute = [], []
    for part in range(0, len(ids), 64):
        at = slice(part, part + 64)
        who = torch.as_tensor(owner[at], device=device)
        rows = model.frozen(torch.as_tensor(ids[at], device=device).int(),
                            [a if a is None else a[who] for a in state],
                            weights)
        want = torch.as_tensor(target[at], device=device).long()
        where = (want >= 0).nonzero(as_tuple=True)
        best = model.logits(rows[where]).argmax(-1)
        bad = (best != want[where]).float()
        wrong = torch.zeros(len(want), device=device)
        got.append(wrong.index_add_(0, where[0], bad) == 0)
        first = torch.ones_like(where[0], dtype=torch.bool)
        first[1:] = where[0][1:] != where[0][:-1]
        mute.append(best[first] == silent)
    return torch.cat(got).cpu().numpy(), torch.cat(mute).cpu().numpy()


class Reader:
    """Reads documents side by side, a segment at a time; on a GPU one recorded
    pass does, for most of a segment's time is that of starting its kernels."""

    def __init__(self, model, docs, device):
        self.model, self.weights = model, model.weights()
        self.state = [a if a is None else a.clone()
                      for a in model.empty(docs)]
        self.ids = torch.zeros(docs, model.s.segment, dtype=torch.int,
                               device=device)
        self.graph = None
        if device.type == "cuda":
            side = torch.cuda.Stream()
            with torch.cuda.stream(side):
                self.step()
            torch.cuda.current_stream().wait_stream(side)
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.step()
        for a in self.state:
            if a is not None:
                a.zero_()

    def step(self):
        new = self.model.segment(self.ids, self.state, self.weights)[1]
        for a, b in zip(self.state, new):
            if a is not None:
                a.copy_(b)

    def read(self, ids):
        self.ids.copy_(ids)
        if self.graph:
            self.graph.replay()
        else:
            self.step()

    def norms(self):
        return [round(a.square().sum((1, 2)).sqrt().mean().item(), 2)
                for a in self.state if a is not None]


def interval(hits, docs, groups, rng):
    """95 % interval of the mean of the means of `groups` (masks), documents
    drawn with replacement."""
    n = docs.max() + 1
    sums = np.stack([np.bincount(docs[g], hits[g], n) for g in groups])
    count = np.stack([np.bincount(docs[g], minlength=n) for g in groups])
    means = []
    for _ in range(1000):
        i = rng.integers(0, n, n)
        means.append(np.mean(sums[:, i].sum(1)
                             / np.maximum(1, count[:, i].sum(1))))
    return [round(float(x), 3) for x in np.percentile(means, [2.5, 97.5])]


def cell(model, task, tokens, lang, prose, flags, device):
    S = model.s.segment
    n = max(3, -(-tokens // S))
    rng = random.Random(f"{flags.seed}.{task}.{tokens}")
    per = {"key": 8, "person": 7, "object": 3, "silent": 16}[task]
    want = flags.questions * (4 if tokens <= SHORT else 1)
    if tokens >= 500000:
        want = min(100, want)
    docs = max(flags.docs if tokens < 500000 else 5, -(-want // per))
    texts, questions, owner = [], [], []
    for d in range(docs):
        ids, q = document(task, lang, prose, rng, n, S, flags.recent)
        texts.append(ids)
        questions += q
        owner += [d] * len(q)
    text = torch.as_tensor(np.stack(texts), device=device)
    ids, target = rows_of(lang, prose, rng, questions, S)
    reader, norms = Reader(model, docs, device), {}
    for s in range(n):
        reader.read(text[:, s])
        if s + 1 in (4, 64, 512, 1000, 4096, 10000) or s + 1 == n:
            norms[s + 1] = reader.norms()
    owner = np.array(owner)
    rest = (owner, ids, target, device, lang.silent[0])
    weights = model.weights()
    hits, mute = right(model, weights, reader.state, *rest)
    off = right(model, weights, model.empty(docs), *rest)[0]
    values = np.array([str(q[1]) for q in questions])
    told = values != "None"
    often = max(np.mean(values == v) for v in set(values.tolist()))
    groups = [told, ~told] if task == "silent" else [told]
    draw = np.random.default_rng(1)
    out = {"task": task, "tokens": n * S, "questions": len(questions),
           "docs": docs, "accuracy": round(float(hits.mean()), 3),
           "interval": interval(hits, owner, groups, draw),
           "off": round(float(off.mean()), 3),
           "last": round(float(np.mean([q[1] == q[2] for q in questions])), 3),
           "often": round(float(often), 3),
           "told_called_silent": round(float(mute[told].mean()), 3),
           "repeats": n * S > len(prose.ids), "norms": norms}
    if flags.recent:
        out["recent"] = flags.recent
    if task == "silent":
        out["silent"] = round(float(hits[~told].mean()), 3)
        out["told"] = round(float(hits[told].mean()), 3)
        out["accuracy"] = round((out["silent"] + out["told"]) / 2, 3)
        out["off"] = round(float(off[~told].mean() + off[told].mean()) / 2, 3)
    return out


def load(flags, device):
    if flags.model:
        model = hf.load(flags.model, flags.amp)
    else:
        saved = torch.load(flags.checkpoint, map_location="cpu",
                           weights_only=True)
        model = Model(Shape(**saved["shape"]), flags.amp)
        model.load_state_dict({k: v.float() for k, v in saved["w"].items()})
    return model.to(device)


def language(flags):
    """The words and phrasings of the side asked for, and its prose."""
    words, lists = (), EVAL if flags.side == "eval" else DEV
    if flags.side == "train":
        lists = TRAIN
        with open(flags.data + "/words.txt", encoding="utf-8") as f:
            words = f.read().split()
    lang = facts.Language(Tokenizer.from_file(flags.data + "/tokenizer.json"),
                          lists, words)
    book = "eval" if flags.side == "eval" else "train"
    prose = facts.Prose(f"{flags.data}/{book}.bin")
    prose.find_ends(lang)
    return lang, prose


def counts(text):
    return [command.count(part) for part in text.split(",")]


def task_names(text):
    names = text.split(",")
    if not set(names) <= set(TASKS):
        raise ValueError
    return names


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--checkpoint")
    p.add_argument("--model")
    p.add_argument("--data", required=True)
    p.add_argument("--tokens", type=counts, default="1024,16384,131072")
    p.add_argument("--tasks", type=task_names, default=",".join(TASKS))
    p.add_argument("--questions", type=command.count, default=400)
    p.add_argument("--docs", type=command.count, default=20)
    p.add_argument("--side", choices=("eval", "dev", "train"),
                   default="eval")
    p.add_argument("--seed", default="0")
    p.add_argument("--recent", type=int, default=0,
                   help="facts in the last so many segments only")
    p.add_argument("--amp", action="store_true", help="products in bf16")
    p.add_argument("--json")
    flags = p.parse_args()
    if not flags.model and not flags.checkpoint:
        p.error("--model or --checkpoint is needed")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    facts.check_lists()
    model = load(flags, device)
    lang, prose = language(flags)
    table = []
    with torch.no_grad():
        for tokens in flags.tokens:
            for task in flags.tasks:
                began = time.time()
                out = cell(model, task, tokens, lang, prose, flags, device)
                out["seconds"] = round(time.time() - began, 1)
                table.append(out)
                print(json.dumps(out).replace('"', ""), flush=True)
    if flags.json:
        with open(flags.json, "w", encoding="utf-8") as f:
            json.dump(table, f, indent=1)


if __name__ == "__main__":
    main()
