#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains the sample model from facts hidden in prose; see README.md.

usage: train.py --data DIR --out DIR [--plan NAME] [--resume DIR]
                [--from STEP] [--minutes N] [--seed N] [--compile]
       torchrun --nproc-per-node N train.py ...      several GPUs

With --minutes a stage ends at its share of the time if its steps are not done
by then, and the rate falls with the time: the plan fits any machine.

DIR of --data holds what prose.py made: tokenizer.json, train.bin, words.txt.
A checkpoint is files of at most 16 MiB: w0.pt and w1.pt (weights, fp32),
ema.pt (mean of the weights, bf16), which all say their step.  The moments of
the optimiser are not kept: a resumed run warms up again."""
import argparse
import json
import math
import multiprocessing as mp
import os
import queue
import sys
import threading
import time

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import command  # noqa: E402 (before what may be missing: how it ends)
import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F

import facts
import hf
from armt import Model, bound_values, structured_init
from facts import Stage
from plans import PLANS

AGES = (1, 3, 9, 33, 129, 513, 1 << 15)     # upper borders, in segments
LIMIT = 1e5             # a state with a larger norm is thrown away
SHUT = 12.0             # the argument of a gate that must not open
NEAR, FAR = 0.15, 0.9  # cosines of keys: others' at most, one's at least
SLOTS = 4               # batches on their way to the device


class Feed:
    """Batches from worker processes, joined by a thread into host memory that
    the device can read (the thread itself makes no call to the device)."""

    def __init__(self, plan, flags, rank, stages, pinned):
        context = mp.get_context("spawn")
        each, rest = divmod(plan["lanes"], flags.workers)
        assert not rest, "--workers must divide the lanes"
        self.pipes, self.workers = [], []
        self.now = context.Value("i", 0)    # the stage that training is in
        for i in range(flags.workers):
            pipe = context.Queue(4)
            p = context.Process(target=facts.produce, daemon=True, args=(
                pipe, self.now, i, each, stages, plan["shape"], flags.data,
                f"{flags.seed}.{rank}.{flags.start}"))
            p.start()
            self.pipes.append(pipe)
            self.workers.append(p)
        self.ready, self.free = queue.Queue(), queue.Queue()
        self.last = None
        self.stages, self.pinned, self.slots = stages, pinned, {}
        for i in range(SLOTS):
            self.free.put(i)
        self.total = sum(s.steps for s in stages)

    def make_slots(self, stage, like):
        """Host tensors for batches of this stage's shape."""
        self.slots[stage.n] = [
            [torch.from_numpy(a.copy()).pin_memory() if self.pinned
             else torch.from_numpy(a.copy()) for a in like]
            for _ in range(SLOTS)]

    def start(self):
        threading.Thread(target=self.move, daemon=True).start()

    def move(self):
        for _ in range(self.total):
            parts = [p.get() for p in self.pipes]
            number = max([self.now.value] + [p[0] for p in parts])
            for i, pipe in enumerate(self.pipes):
                while parts[i][0] < number:
                    parts[i] = pipe.get()
            slot = self.free.get()
            to = self.slots[self.stages[number].n][slot]
            for at, pieces in enumerate(list(zip(*parts))[1:]):
                np.concatenate(pieces, out=to[at].numpy())
            self.ready.put((number, slot))

    def take(self, copied):
        """The next batch of the stage that training is in, as tensors.
        `copied` (or None) tells when the batch before it has reached the
        device."""
        if self.last is not None:
            if copied:
                copied.synchronize()
            self.free.put(self.last)
        number, slot = self.ready.get()
        while number < self.now.value:
            self.free.put(slot)
            number, slot = self.ready.get()
        self.last = slot
        return number, self.slots[self.stages[number].n][slot]

    def close(self):
        for p in self.workers:
            p.terminate()


def shapes(plan, stage):
    """Empty arrays as `facts.produce` makes them, for all lanes."""
    s, B = plan["shape"], plan["lanes"]
    q = facts.Questions(B * stage.forks, s.segment)
    return [np.zeros((B, stage.n, s.segment), np.int16), np.ones(B, bool),
            np.zeros((B, stage.n, s.mem), np.int8), *q.arrays()]


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


def answers(model, rows, at, want):
    """Loss, and for each question whether every token would be right."""
    R, d = len(rows), rows.shape[2]
    at, want = at.long().view(R, -1), want.long().view(R, -1)
    logits = model.logits(rows.gather(1, at.unsqueeze(2).expand(-1, -1, d)))
    loss = F.cross_entropy(logits.flatten(0, 1), want.flatten(),
                           ignore_index=-1)
    right = (logits.argmax(-1) == want) | (want < 0)
    return loss, right.view(R, facts.SLOTS, facts.ANSWER).all(-1)


def oversize(rows):
    """A price on rows whose mean square has grown past what norms need."""
    return 1e-3 * F.relu(rows.square().mean(-1).sqrt() - 4).square().mean()


def teach(gates, target, ajar):
    """The price of gates [B, layers, M] that are open or shut at the wrong
    rows.  Shut means far below zero: at a million tokens even a thousandth of
    a write, a hundred thousand times, wears the memory out.  `ajar` times
    the price of a gate that opens without a fact: what opens one in prose is
    rarer than facts are in training, and more common in any long text."""
    target = target.unsqueeze(1)
    wrong_open = (ajar * F.softplus(gates)
                  + 0.003 * F.relu(gates + SHUT).square())
    wrong_shut = 3 * F.softplus(-gates)
    return (torch.where(target == 0, wrong_open, 0.0)
            + torch.where(target > 0, wrong_shut, 0.0)).mean()


def apart(keys, target):
    """The price of keys [B, layers, rows, d_key] of a window that are near
    although their facts tell of different things, and of those that are far
    although they tell of one: what such a thing was before then stays beside
    what it is now.  A write takes away what lies on its key: at a million
    tokens the prose alone has told more than a hundred things about others."""
    near = torch.matmul(keys, keys.transpose(2, 3))
    whole = (target > 0) & (target < facts.ANY)
    pair = (whole.unsqueeze(1) & whole.unsqueeze(2)).float().triu(1)
    same = (target.unsqueeze(1) == target.unsqueeze(2)).float() * pair
    other = pair - same
    wrong = (F.relu(near - NEAR).square() * other.unsqueeze(1)).sum()
    loose = (F.relu(FAR - near).square() * same.unsqueeze(1)).sum()
    return (wrong / other.sum().clamp_min(1)
            + loose / same.sum().clamp_min(1)) / keys.shape[1]


def steps_between(model, middle, at, hop):
    """The price of rows that, with two thirds of the layers done, do not know
    the person that leads to their answer."""
    R, d = len(middle), middle.shape[2]
    first = at[:, :, 0].long()
    logits = model.logits(middle.gather(
        1, first.unsqueeze(2).expand(-1, -1, d)))
    want = hop.long().flatten()
    loss = F.cross_entropy(logits.flatten(0, 1), want, ignore_index=-1,
                           reduction="sum")
    return loss / (want >= 0).sum().clamp_min(1)


class Scores:
    """Counts of right answers by kind, told where, and age."""

    def __init__(self, device):
        self.count = torch.zeros(2, 32 * len(AGES), device=device)
        self.edges = torch.tensor(AGES[:-1], device=device)

    def add(self, right, kind, age):
        used = (kind >= 0).float().flatten()
        at = kind.clamp(min=0).long() * len(AGES) + torch.bucketize(
            age.int().contiguous(), self.edges, right=True)
        self.count[0].index_add_(0, at.flatten(), used * right.flatten())
        self.count[1].index_add_(0, at.flatten(), used)

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


class Program:
    """Something that a CUDA graph repeats; on a CPU it is just called."""

    def __init__(self, run, record):
        self.run = run
        if not record:
            return
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                run()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            run()
        self.run = graph.replay


class Trainer:
    def __init__(self, plan, flags, device):
        self.plan, self.device = plan, device
        self.on_gpu = device.type == "cuda"
        self.many = dist.is_initialized()
        s = plan["shape"]
        self.model = Model(s, self.on_gpu)
        structured_init(self.model)
        self.model.to(device)
        if flags.compile:
            self.model.compile()
        self.step = 0
        mean = self.load(flags.resume) if flags.resume else None
        if flags.start is not None:
            self.step = flags.start
        self.place = self.step / plan["total"]  # in the plan, 0 to 1
        self.steps = 0                          # of this run
        self.graphs = self.on_gpu and not flags.no_graph
        self.params = list(self.model.parameters())
        self.flat = torch.zeros(sum(p.numel() for p in self.params),
                                device=device)
        at = 0
        for p in self.params:
            p.grad = self.flat[at:at + p.numel()].view_as(p)
            at += p.numel()
        self.lr = torch.zeros((), device=device)
        self.opt = torch.optim.AdamW(
            [{"params": [p for p in self.params if p.dim() > 1],
              "weight_decay": plan["decay"]},
             {"params": [p for p in self.params if p.dim() < 2],
              "weight_decay": 0.0}],
            lr=self.lr, betas=(0.9, 0.98), fused=self.on_gpu,
            capturable=self.on_gpu)
        self.ema = [p.detach().clone() for p in self.params]
        if mean is not None:
            for e, (n, _) in zip(self.ema, self.model.named_parameters()):
                e.copy_(mean[n])
        self.guess = torch.randn(s.layers - s.first, s.d, device=device)
        self.state = self.model.empty(plan["lanes"])
        self.state = [a if a is None else a.clone() for a in self.state]
        self.scores = Scores(device)
        # Sums since the last report: loss, steps, wild states.
        self.sums = torch.zeros(3, device=device)
        writing = s.layers - s.first
        self.norms = torch.zeros(writing, device=device)
        self.gates = torch.zeros(3, writing, device=device)
        self.passes, self.update = {}, None
        self.copied = torch.cuda.Event() if self.on_gpu else None

    def rate(self):
        warm = min(1.0, (self.steps + 1) / 100)
        return self.plan["lr"] * warm * min(1.0, (1 - self.place) / 0.4 + 0.02)

    def window(self, stage, weights, ids, first, target):
        """Reads a window.  Returns the states after the segments that
        questions follow, as one batch, forks innermost, and the prices."""
        m, price = self.model, 0
        keep = (~first).float()[:, None, None]
        now = [a if a is None else a * keep for a in self.state]
        states, opened, keys = [], [], []
        for s in range(stage.n):
            x, now, gate, key, crowd = m.segment(ids[:, s].int(), now, weights)
            states.append(now)
            opened.append(gate)
            keys.append(key)
            price = price + (oversize(x) + 0.1 * crowd
                             + self.plan["teach"] * teach(
                                 gate, target[:, s], self.plan["ajar"])
                             ) / stage.n
        price = price + self.plan["apart"] * apart(torch.cat(keys, 2),
                                                   target.flatten(1))
        with torch.no_grad():
            self.keep_state(now, torch.stack(opened, 2), target)
        return [None if a is None else torch.stack(
            [states[f][i] for f in stage.fork_at()], 1).flatten(0, 1)
            for i, a in enumerate(now)], price

    def keep_state(self, now, opened, target):
        """Carries the states on; those that have left all bounds are
        emptied.  `opened` [B, layers, n, M]."""
        size = torch.stack([a.square().sum((1, 2)).sqrt()
                            for a in now if a is not None])
        wild = ~(size.amax(0) < LIMIT)
        self.norms.copy_(torch.where(wild, 0.0, size).sum(1)
                         / (~wild).sum().clamp_min(1))
        self.sums[2] += wild.sum()
        for old, new in zip(self.state, now):
            if old is not None:
                old.copy_(torch.where(wild[:, None, None], 0.0, new))
        b = torch.sigmoid(opened)
        for i, rows in enumerate((target == 0, target > 0, target < 0)):
            here = rows.unsqueeze(1).float()
            self.gates[i].copy_((b * here).sum((0, 2, 3))
                                / here.sum().clamp_min(1))

    def forward_backward(self, stage, batch):
        ids, first, target, q, at, want, kind, age, hop = batch
        self.flat.zero_()
        m, price = self.model, 0
        weights = m.weights()
        state = [None] * m.s.layers
        if stage.n:
            state, price = self.window(stage, weights, ids, first, target)
        rows, middle = m.frozen(q.int(), state, weights, m.s.layers * 2 // 3)
        loss, right = answers(m, rows, at, want)
        price = price + self.plan["hop"] * steps_between(m, middle, at, hop)
        (loss + price + oversize(rows)).backward()
        with torch.no_grad():
            self.scores.add(right, kind, age)
            self.sums[0] += loss
            self.sums[1] += 1

    @torch.no_grad()
    def change(self):
        norm = self.flat.norm()
        self.flat.mul_((1 / (norm + 1e-6)).clamp(max=1.0))
        self.flat.copy_(torch.where(torch.isfinite(norm), self.flat, 0.0))
        self.opt.step()
        bound_values(self.model, self.plan["loop"], self.guess)
        torch._foreach_lerp_(self.ema, [p.detach() for p in self.params],
                             0.002)

    def prepare(self, stage):
        """Records the passes of a stage; what that does to the weights and
        to the documents is undone."""
        batch = [torch.from_numpy(a).to(self.device)
                 for a in shapes(self.plan, stage)]
        kept = [t.clone() for t in self.tensors() + self.counts()]
        run = Program(lambda: self.forward_backward(stage, batch), self.graphs)
        self.passes[stage.n] = (batch, run)
        if self.update is None:
            self.update = Program(self.change, self.graphs)
            for state in self.opt.state.values():
                for value in state.values():
                    value.zero_()
        for t, k in zip(self.tensors() + self.counts(), kept):
            with torch.no_grad():
                t.copy_(k)

    def counts(self):
        return [self.scores.count, self.sums]

    def tensors(self):
        return ([p.detach() for p in self.params] + self.ema + [self.guess]
                + [a for a in self.state if a is not None])

    def train_step(self, stage, host):
        if stage.n not in self.passes:
            self.prepare(stage)
        batch, run = self.passes[stage.n]
        for to, source in zip(batch, host):
            to.copy_(source, non_blocking=True)
        if self.copied:
            self.copied.record()
        self.lr.fill_(self.rate())
        run.run()
        if self.many:
            dist.all_reduce(self.flat)      # gloo has no mean
            self.flat.mul_(1 / dist.get_world_size())
        self.update.run()
        self.steps += 1
        self.place += 1 / self.plan["total"]

    def save(self, out):
        os.makedirs(out, exist_ok=True)
        sd = {k: v.detach().cpu() for k, v in self.model.state_dict().items()}
        parts = ({}, {})
        for n in sd:
            size = [sum(v.numel() for v in p.values()) for p in parts]
            parts[size[0] > size[1]][n] = sd[n]
        head = {"step": round(self.place * self.plan["total"]),
                "steps": self.steps, "shape": self.plan["shape"].as_dict()}
        files = {"w0": {**head, "w": parts[0]}, "w1": {**head, "w": parts[1]},
                 "ema": {**head, "w": {
                     n: e.bfloat16().cpu() for (n, _), e in
                     zip(self.model.named_parameters(), self.ema)}}}
        for name, value in files.items():
            at = os.path.join(out, name + ".pt")
            torch.save(value, at + ".new")
            os.replace(at + ".new", at)

    def load(self, path):
        """A checkpoint of `save` (its mean where w0 is missing), or a model
        directory: its weights alone, at step 0 unless --from says more.
        Returns the mean of the weights where it is beside them."""
        def get(name):
            return torch.load(os.path.join(path, name + ".pt"),
                              weights_only=True)
        if os.path.exists(os.path.join(path, "model.safetensors")):
            self.model.load_state_dict(hf.load(path).state_dict())
            return None
        mean = get("ema")
        parts = [mean]
        if os.path.exists(os.path.join(path, "w0.pt")):
            parts = [get("w0"), get("w1")]
        if len({p["step"] for p in parts + [mean]}) > 1:
            raise SystemExit(f"{path}: weights of several steps, of a run that "
                             "ended while it saved; without w0.pt the mean is "
                             "gone on from")
        self.model.load_state_dict({n: v.float() for p in parts
                                    for n, v in p["w"].items()})
        self.step = mean["step"]
        return mean["w"]


def report(t, stage, tokens, seconds, log):
    if t.many:
        for x in (t.scores.count, t.sums):
            dist.all_reduce(x)
    loss, steps, wild = t.sums.tolist()
    line = {"step": t.steps, "place": round(t.place, 4), "n": stage.n, "longest": stage.longest,
            "loss": round(loss / max(1, steps), 4),
            "rate": float(f"{t.rate():.2g}"),
            "tok_s": int(tokens / seconds), **t.scores.take()}
    t.sums.zero_()
    if stage.n:
        line["norm"] = [round(x, 1) for x in t.norms.tolist()]
        for i, name in enumerate(("shut", "open", "may")):
            line[name] = [float(f"{x:.2g}") for x in t.gates[i].tolist()]
        line["wild"] = int(wild)
    if log:
        text = json.dumps(line)
        print(text.replace('"', ""), flush=True)
        log.write(text + "\n")
        log.flush()


class Clock:
    """How much of the time is gone, from the first report on (what comes
    before is compilation); all ranks are told the same."""

    def __init__(self, minutes, began, t):
        self.end, self.t = began + 60 * minutes, t
        self.first, self.start = None, t.place

    def place(self):
        now = time.time()
        if self.first is None:
            self.first = now
        gone = (now - self.first) / max(1.0, self.end - self.first)
        gone = torch.tensor(min(1.0, gone), device=self.t.device)
        if self.t.many:
            dist.broadcast(gone, 0)
        return self.start + (1 - self.start) * gone.item()


def loop(t, feed, flags, log, began):
    clock = Clock(flags.minutes, began, t)
    ends = np.cumsum([s.steps for s in feed.stages]) / t.plan["total"]
    ends += 1 - ends[-1]
    tokens, mark = 0, time.time()
    ranks = dist.get_world_size() if t.many else 1
    last = t.plan["until"] / t.plan["total"] - 1e-9
    while t.place < last:
        number, batch = feed.take(t.copied)
        stage = feed.stages[number]
        t.train_step(stage, batch)
        tokens += ranks * (batch[0].numel() + batch[3].numel())
        if t.steps % flags.every == 0 or t.place >= last:
            report(t, stage, tokens, time.time() - mark, log)
            tokens, mark = 0, time.time()
            t.place = max(t.place, clock.place())
            feed.now.value = int(np.searchsorted(ends[:-1], t.place + 1e-9))
            if log and flags.keep and t.steps % (flags.every
                                                 * flags.keep) == 0:
                t.save(flags.out)


def run(plan, flags, rank, device):
    torch.manual_seed(flags.seed)
    torch.set_float32_matmul_precision("high")
    began = time.time()
    total = sum(s.steps for s in plan["stages"])
    plan = {"until": total, **plan, "total": total}
    t = Trainer(plan, flags, device)
    if t.step >= plan["until"]:
        raise SystemExit(f"all {plan['until']} steps of the plan are done")
    stages = remaining(plan["stages"], t.step)
    flags.start = t.step
    feed = Feed(plan, flags, rank, stages, t.on_gpu)
    for stage in stages:
        if stage.n not in feed.slots:
            feed.make_slots(stage, shapes(plan, stage))
    feed.start()
    log = None
    if rank == 0:
        os.makedirs(flags.out, exist_ok=True)
        log = open(os.path.join(flags.out, "train.jsonl"), "a",
                   encoding="utf-8")
        print("parameters", sum(p.numel() for p in t.params), "steps",
              plan["total"], flush=True)
    loop(t, feed, flags, log, began)
    if rank == 0:
        t.save(flags.out)
        if t.on_gpu:
            print("peak GPU memory", torch.cuda.max_memory_allocated() >> 20,
                  "MiB;", round(time.time() - began), "s", flush=True)
        log.close()
    feed.close()


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--data", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--plan", choices=sorted(PLANS), default=[*PLANS][-1],
                   help="default: %(default)s, the last of plans.py")
    p.add_argument("--resume")
    p.add_argument("--from", dest="start", type=int,
                   help="take the plan up at this step")
    p.add_argument("--minutes", type=float, default=math.inf)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--lanes", type=command.count,
                   help="documents side by side on each card (default: the "
                   "plan's, for four cards)")
    p.add_argument("--ajar", type=float,
                   help="the price on gates that open without a fact "
                   "(default: the plan's)")
    p.add_argument("--workers", type=command.count, default=16)
    p.add_argument("--every", type=command.count, default=50)
    p.add_argument("--keep", type=command.count, default=20,
                   help="save every so many reports")
    p.add_argument("--compile", action="store_true")
    p.add_argument("--no-graph", action="store_true",
                   help="record no CUDA graphs")
    flags = p.parse_args()
    rank = int(os.environ.get("LOCAL_RANK", 0))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", rank)
        torch.cuda.set_device(device)
    if "LOCAL_RANK" in os.environ:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    plan = PLANS[flags.plan]
    if flags.lanes:
        plan = {**plan, "lanes": flags.lanes}
    if flags.ajar is not None:
        plan = {**plan, "ajar": flags.ajar}
    run(plan, flags, rank, device)
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
