# SPDX-License-Identifier: Apache-2.0
"""From single answers to cells, intervals, a table and a plot."""
import collections
import html
import math
import random

PARTS = 5       # of a document, for accuracy by position
COLORS = {"key": "#1f6fb4", "person": "#d1603d", "object": "#3a8f4d",
          "silent": "#7a5aa6"}


def mean(rows):
    return sum(r["right"] for r in rows) / len(rows) if rows else None


def accuracy(rows):
    """Of a mixed set: the mean of the two halves."""
    halves = [mean([r for r in rows if r["told"] == told])
              for told in (True, False)]
    halves = [h for h in halves if h is not None]
    return sum(halves) / len(halves) if halves else None


def interval(rows, seed, draws=1000):
    """95 % interval; documents are drawn with replacement."""
    docs = collections.defaultdict(list)
    for r in rows:
        docs[r["document"]].append(r)
    docs, rng, got = list(docs.values()), random.Random(seed), []
    for _ in range(draws):
        drawn = [r for _ in docs for r in rng.choice(docs)]
        value = accuracy(drawn)
        if value is not None:
            got.append(value)
    got.sort()
    return [got[int(len(got) * 0.025)], got[int(len(got) * 0.975)]]


def cell(task, tokens, rows, documents, seed):
    """What one task at one length gave.  `rows` have right, off, last (bool),
    told, answer, said, document, place, age (segments)."""
    out = {"task": task, "tokens": tokens, "questions": len(rows),
           "documents": len({r["document"] for r in rows}),
           "tokens_read": documents["tokens"],
           "segments": documents["segments"],
           "prose_repeats": documents["repeats"],
           "accuracy": accuracy(rows), "interval": interval(rows, seed)}
    answers = collections.Counter(r["answer"] for r in rows)
    out["memory_off"] = accuracy([{**r, "right": r["off"]} for r in rows])
    out["last_value"] = accuracy([{**r, "right": r["last"]} for r in rows])
    often = answers.most_common(1)[0][0]
    out["most_frequent"] = accuracy([{**r, "right": r["answer"] == often}
                                     for r in rows])
    told = [r for r in rows if r["told"]]
    out["told"] = mean(told)
    out["told_called_silent"] = (
        sum(r["said"] == "not mentioned" for r in told) / len(told)
        if told else None)
    out["by_place"] = [mean([r for r in told if
                             min(int(r["place"] * PARTS), PARTS - 1) == i])
                       for i in range(PARTS)]
    out["newer_than_100_segments"] = mean([r for r in told if r["age"] < 100])
    if documents["norms"]:
        out["state_norms"] = documents["norms"]
    return out


def percent(x):
    return "    -" if x is None else f"{100 * x:4.0f}%"


def table(cells):
    lines = [f"{'task':<8}{'tokens':>11}{'right':>6}  {'95 % interval':<14}"
             f"{'mem. off':>9}{'last':>6}{'often':>6}{'quest.':>7}"
             f"{'docs':>5}   by fifths of the document"]
    for c in cells:
        low, high = c["interval"]
        lines.append(
            f"{c['task']:<8}{c['tokens']:>10,}"
            f"{'*' if c['prose_repeats'] else ' '}{percent(c['accuracy']):>6}"
            f"  {percent(low)} -{percent(high):<7}"
            f"{percent(c['memory_off']):>9}{percent(c['last_value']):>6}"
            f"{percent(c['most_frequent']):>6}{c['questions']:>7}"
            f"{c['documents']:>5}   "
            + " ".join(percent(x) for x in c["by_place"]))
    if any(c["prose_repeats"] for c in cells):
        lines.append("* longer than the prose, which repeats")
    return "\n".join(lines)


def plot(cells):
    """Accuracy over length, as SVG."""
    wide, high, left, top = 640, 360, 60, 20
    sizes = sorted({c["tokens"] for c in cells})
    low, span = math.log(sizes[0]), math.log(sizes[-1] / sizes[0]) or 1.0

    def x(tokens):
        return left + 20 + (wide - left - 160) * (math.log(tokens) - low
                                                  ) / span

    def y(share):
        return top + (high - top - 50) * (1 - share)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" '
           f'height="{high}" font-family="sans-serif" font-size="12">',
           f'<rect width="{wide}" height="{high}" fill="white"/>']
    for i in range(0, 101, 20):
        out.append(f'<line x1="{left}" x2="{wide - 130}" y1="{y(i / 100):.1f}"'
                   f' y2="{y(i / 100):.1f}" stroke="#ddd"/>'
                   f'<text x="{left - 8}" y="{y(i / 100) + 4:.1f}" '
                   f'text-anchor="end">{i} %</text>')
    for s in sizes:
        out.append(f'<text x="{x(s):.1f}" y="{high - 28}" '
                   f'text-anchor="middle">{s:,}</text>')
    out.append(f'<text x="{x(sizes[0]):.1f}" y="{high - 8}">tokens; bars: '
               f'95 % intervals; dashed: memory switched off</text>')
    for row, task in enumerate(dict.fromkeys(c["task"] for c in cells)):
        mine = sorted((c for c in cells if c["task"] == task),
                      key=lambda c: c["tokens"])
        color = COLORS.get(task, "black")
        for name, dash in (("accuracy", ""), ("memory_off", "4 4")):
            at = " ".join(f"{x(c['tokens']):.1f},{y(c[name]):.1f}"
                          for c in mine)
            out.append(f'<polyline points="{at}" fill="none" stroke="{color}"'
                       f' stroke-width="2" stroke-dasharray="{dash}"/>')
        for c in mine:
            a, b = (y(v) for v in c["interval"])
            out.append(f'<line x1="{x(c["tokens"]):.1f}" '
                       f'x2="{x(c["tokens"]):.1f}" y1="{a:.1f}" y2="{b:.1f}" '
                       f'stroke="{color}"/><circle cx="{x(c["tokens"]):.1f}" '
                       f'cy="{y(c["accuracy"]):.1f}" r="3" fill="{color}"/>')
        out.append(f'<text x="{wide - 120}" y="{top + 20 + 18 * row}" '
                   f'fill="{color}">{html.escape(task)}</text>')
    return "\n".join(out + ["</svg>", ""])
