#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains the sample model from facts hidden in prose; see README.md.

usage: train.py --data DIR --out DIR [--plan small|full] [--resume DIR]
                [--from STEP] [--minutes N] [--seed N] [--compile]

DIR of --data holds what prose.py made: tokenizer.json, train.bin, words.txt.
Checkpoints are files of at most 16 MiB: w0.pt and w1.pt (weights, fp32), m.pt
and v.pt (moments, bf16), ema.pt (mean of the weights, bf16)."""
import argparse
import json
import math
import multiprocessing as mp
import os
import queue
import threading
import time

import numpy as np
import torch
import torch.nn.functional as F

import facts
import hf
from armt import Model, structured_init
from facts import Stage
from plans import PLANS

AGES = (1, 3, 9, 33, 129, 513, 1 << 15)     # upper borders, in segments
LIMIT = 1e5             # a state with a larger norm is thrown away
WIDE = 1500.0           # a state with a larger norm costs


class Feed:
    """Batches from worker processes, moved to the device by a thread."""

    def __init__(self, plan, flags, device, first_step):
        context = mp.get_context("spawn")
        each = plan["lanes"] // flags.workers
        stages = remaining(plan["stages"], first_step)
        self.pipes, self.workers = [], []
        for i in range(flags.workers):
            pipe = context.Queue(4)
            p = context.Process(target=facts.produce, daemon=True, args=(
                pipe, i, each, stages, plan["shape"].segment, flags.data,
                flags.seed, first_step))
            p.start()
            self.pipes.append(pipe)
            self.workers.append(p)
        self.ready = queue.Queue(2)
        self.device, self.stages = device, stages
        self.total = sum(s.steps for s in stages)
        threading.Thread(target=self.move, daemon=True).start()

    def move(self):
        for _ in range(self.total):
            parts = [p.get() for p in self.pipes]
            number = parts[0][0]
            arrays = [np.concatenate(x) for x in list(zip(*parts))[2:]]
            tensors = [torch.from_numpy(a) for a in arrays]
            if self.device.type == "cuda":
                tensors = [t.pin_memory().to(self.device, non_blocking=True)
                           for t in tensors]
            self.ready.put((self.stages[number], tensors))

    def close(self):
        for p in self.workers:
            p.terminate()


def remaining(stages, done):
    """The stages after `done` steps of all."""
    out = []
    for s in stages:
        skip = min(done, s.steps)
        done -= skip
        if s.steps > skip:
            rest = Stage(s.steps)
            rest.__dict__.update(s.__dict__, steps=s.steps - skip)
            out.append(rest)
    return out


def restart(state, first):
    """The state with the documents of `first` begun anew."""
    A, z, fresh = state
    keep = (~first).float()
    return ([a * keep[:, None, None] for a in A],
            [v * keep[:, None] for v in z],
            torch.maximum(fresh, first.float()[:, None, None]))


def forked(states, forks):
    """The states after the chosen segments as one batch, forks innermost."""
    def gather(part, layer):
        t = torch.stack([states[f][part][layer] for f in forks], 1)
        return t.flatten(0, 1)
    layers = range(len(states[0][0]))
    return ([gather(0, i) for i in layers], [gather(1, i) for i in layers],
            None)


def answers(model, rows, target, slot):
    """Loss, and for each question whether every token would be right."""
    where = (target >= 0).nonzero(as_tuple=True)
    logits = model.logits(rows[where])
    want = target[where].long()
    loss = F.cross_entropy(logits, want)
    wrong = torch.zeros(target.shape[0] * facts.SLOTS, device=rows.device)
    at = where[0] * facts.SLOTS + slot[where].long()
    wrong.index_add_(0, at, (logits.argmax(-1) != want).float())
    return loss, (wrong == 0).view(-1, facts.SLOTS)


def oversize(rows):
    """A price on rows whose mean square has grown past what norms need."""
    return 1e-3 * F.relu(rows.square().mean(-1).sqrt() - 4).square().mean()


def growth(states):
    """A price on states larger than WIDE.  What is read goes into what is
    written: with a gain above one a state grows without end."""
    return sum(F.relu(0.5 * torch.log(a.square().sum((1, 2)) / WIDE ** 2
                                      + 1e-9)).mean() for a in states)


class Scores:
    """Counts of right answers by kind, told where, and age."""

    def __init__(self, device):
        n = 32 * len(AGES)
        self.count = torch.zeros(2, n, device=device)
        self.edges = torch.tensor(AGES[:-1], device=device)

    def add(self, right, kind, age):
        used = kind >= 0
        at = kind[used].long() * len(AGES) + torch.bucketize(
            age[used].int().contiguous(), self.edges, right=True)
        for row, value in ((0, right[used].float()), (1, None)):
            self.count[row].index_add_(
                0, at, torch.ones_like(at, dtype=torch.float)
                if value is None else value)

    def take(self):
        c = self.count.clone().cpu().view(2, 32, len(AGES))
        self.count.zero_()

        def share(x):
            return round((x[0].sum() / x[1].sum().clamp_min(1)).item(), 3)
        out = {"mem": share(c[:, :8]), "local": share(c[:, 8:16]),
               "silent": share(c[:, 16:24])}
        for i, name in enumerate(facts.KINDS):
            out[name] = share(c[:, i])
            out["in_" + name] = share(c[:, 8 + i])
        out["ages"] = [share(c[:, :8, i]) for i in range(len(AGES))]
        return out


class Trainer:
    def __init__(self, plan, flags, device):
        self.plan, self.flags, self.device = plan, flags, device
        self.model = Model(plan["shape"], device.type == "cuda")
        structured_init(self.model)
        self.model.to(device)
        if flags.compile:
            self.model.compile()
        params = list(self.model.parameters())
        self.opt = torch.optim.AdamW(
            [{"params": [p for p in params if p.dim() > 1],
              "weight_decay": 0.05},
             {"params": [p for p in params if p.dim() < 2],
              "weight_decay": 0.0}],
            lr=plan["lr"], betas=(0.9, 0.98), fused=device.type == "cuda")
        self.step = 0
        if flags.resume:
            self.load(flags.resume)
        if flags.start is not None:
            self.step = flags.start
        self.resumed = self.step
        self.ema = [p.detach().clone() for p in params]
        self.state = self.model.empty(plan["lanes"])
        self.scores = Scores(device)

    def rate(self, stage_lr):
        warm = min(1.0, (self.step - self.resumed + 1) / 100)
        left = 1.0 - self.step / self.plan["total"]
        return self.plan["lr"] * stage_lr * warm * min(1.0, left / 0.3 + 0.05)

    def loss(self, stage, ids, first, q, target, slot, kind, age):
        m = self.model
        gates = torch.zeros((), device=self.device)
        price = torch.zeros((), device=self.device)
        if stage.n == 0:
            A, z, _ = m.empty(1)
            B = len(q)
            state = ([a.expand(B, -1, -1) for a in A],
                     [v.expand(B, -1) for v in z], None)
        else:
            states, now = [], restart(self.state, first)
            for s in range(stage.n):
                x, now, gate, stuck = m.segment(ids[:, s].long(), now)
                states.append(now)
                gates = gates + gate.mean() / stage.n
                price = price + (1e-3 * stuck + oversize(x)) / stage.n
            self.gate = gate.detach()
            self.state = ([a.detach() for a in now[0]],
                          [v.detach() for v in now[1]], now[2])
            state = forked(states, stage.fork_at())
            price = price + 0.02 * growth(now[0])
        rows = m.frozen(q.long(), state)
        loss, right = answers(m, rows, target, slot)
        with torch.no_grad():
            self.scores.add(right, kind, age)
        price = price + oversize(rows)
        return loss, loss + self.plan["gate_price"] * gates + price

    def train_step(self, stage, batch):
        for group in self.opt.param_groups:
            group["lr"] = self.rate(stage.lr)
        shown, total = self.loss(stage, *batch)
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        ok = torch.isfinite(norm)
        for p in self.model.parameters():
            if p.grad is not None:
                p.grad.copy_(torch.where(ok, p.grad, torch.zeros_like(p.grad)))
        self.opt.step()
        self.opt.zero_grad(set_to_none=True)
        with torch.no_grad():
            torch._foreach_lerp_(self.ema, [p.detach() for p in
                                            self.model.parameters()], 0.005)
        self.step += 1
        if stage.n:
            self.discard_wild()
        return shown.detach()

    def discard_wild(self):
        """Begins documents anew whose state has left all bounds."""
        norms = torch.stack([a.square().sum((1, 2)).sqrt()
                             for a in self.state[0]])
        self.norms = norms.mean(1)
        wild = ~(norms.amax(0) < LIMIT)
        self.wild = wild.sum()
        A, z, fresh = self.state
        self.state = (
            [torch.where(wild[:, None, None], torch.zeros_like(a), a)
             for a in A],
            [torch.where(wild[:, None], torch.zeros_like(v), v) for v in z],
            torch.maximum(fresh, wild.float()[:, None, None]))

    def save(self, out):
        os.makedirs(out, exist_ok=True)
        sd = {k: v.detach().cpu() for k, v in self.model.state_dict().items()}
        names = list(sd)
        parts = ({}, {})
        for n in names:
            size = [sum(v.numel() for v in p.values()) for p in parts]
            parts[size[0] > size[1]][n] = sd[n]
        params = list(self.model.parameters())
        moments = [[self.opt.state[p][k].bfloat16().cpu() for p in params]
                   for k in ("exp_avg", "exp_avg_sq")]
        head = {"step": self.step, "shape": self.plan["shape"].as_dict()}
        files = {"w0": {**head, "w": parts[0]}, "w1": {"w": parts[1]},
                 "m": moments[0], "v": moments[1],
                 "ema": {**head, "w": {
                     n: e.bfloat16().cpu() for (n, _), e in
                     zip(self.model.named_parameters(), self.ema)}}}
        for name, value in files.items():
            torch.save(value, os.path.join(out, name + ".pt"))

    def load(self, path):
        """A checkpoint of `save`, or a model directory: its weights alone,
        at step 0 unless --from says otherwise."""
        def get(name):
            return torch.load(os.path.join(path, name + ".pt"),
                              weights_only=True)
        if os.path.exists(os.path.join(path, "model.safetensors")):
            self.model.load_state_dict(hf.load(path).state_dict())
            return
        parts = [get("w0"), get("w1")]
        self.model.load_state_dict({**parts[0]["w"], **parts[1]["w"]})
        self.step = parts[0]["step"]
        if not os.path.exists(os.path.join(path, "m.pt")):
            return
        for p, a, b in zip(self.model.parameters(), get("m"), get("v")):
            self.opt.state[p] = {
                "step": torch.tensor(float(self.step), device=self.device),
                "exp_avg": a.float().to(self.device),
                "exp_avg_sq": b.float().to(self.device)}


def report(t, stage, loss, tokens, seconds, log):
    line = {"step": t.step, "n": stage.n, "longest": stage.longest,
            "loss": round(loss, 4), "rate": float(f"{t.rate(stage.lr):.2g}"),
            "tok_s": int(tokens / seconds), **t.scores.take()}
    if stage.n:
        line["norm"] = [round(x, 1) for x in t.norms.tolist()]
        line["gate"] = [round(x, 3) for x in t.gate.tolist()]
        line["wild"] = int(t.wild)
    text = json.dumps(line)
    print(text.replace('"', ""), flush=True)
    log.write(text + "\n")
    log.flush()


def run(plan, flags):
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(flags.seed)
    torch.set_float32_matmul_precision("high")
    began = time.time()
    plan["total"] = sum(s.steps for s in plan["stages"])
    t = Trainer(plan, flags, device)
    print("parameters", sum(p.numel() for p in t.model.parameters()),
          "steps", plan["total"], flush=True)
    feed = Feed(plan, flags, device, t.step)
    os.makedirs(flags.out, exist_ok=True)
    tokens, losses, mark = 0, [], time.time()
    with open(os.path.join(flags.out, "train.jsonl"), "a",
              encoding="utf-8") as log:
        for _ in range(feed.total):
            stage, batch = feed.ready.get()
            losses.append(t.train_step(stage, batch))
            tokens += batch[0].numel() + batch[2].numel()
            if t.step % flags.every == 0:
                loss = torch.stack(losses).mean().item()
                report(t, stage, loss, tokens, time.time() - mark, log)
                tokens, losses, mark = 0, [], time.time()
            if (time.time() - began) / 60 > flags.minutes:
                break
    t.save(flags.out)
    feed.close()
    if device.type == "cuda":
        print("peak GPU memory", torch.cuda.max_memory_allocated() >> 20,
              "MiB;", round(time.time() - began), "s", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--data", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--plan", choices=sorted(PLANS), default="full")
    p.add_argument("--resume")
    p.add_argument("--from", dest="start", type=int,
                   help="take the plan up at this step")
    p.add_argument("--minutes", type=float, default=math.inf)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--workers", type=int, default=16)
    p.add_argument("--every", type=int, default=50)
    p.add_argument("--compile", action="store_true")
    flags = p.parse_args()
    run(PLANS[flags.plan], flags)


if __name__ == "__main__":
    main()
