# SPDX-License-Identifier: Apache-2.0
"""What is trained, and in which order."""
from facts import KV, OBJECT, PERSON, Stage
from shape import Shape


HARD = {"cut": 0.15, "decoys": 0.6}
FULLER = {"cut": 0.15, "decoys": 0.1, "crowd": 0.5, "kinds": (
    ((KV,), 0.30), ((PERSON,), 0.15), ((PERSON, OBJECT), 0.38),
    ((KV, PERSON, OBJECT), 0.17))}
EVEN = {**FULLER, "crowd": 0.35, "kinds": (
    ((KV,), 0.34), ((PERSON,), 0.28), ((PERSON, OBJECT), 0.24),
    ((KV, PERSON, OBJECT), 0.14))}
# A quarter of the lanes has documents of up to 8 segments, another of up to 96.
LEVEL = {**EVEN, "cut": 0.05, "silent": 0.06, "wild": 0.95, "clump": 0.2,
         "lengths": ((0.25, 8), (0.25, 96))}

# More of what has names, less of words that stand for them; more facts that a
# border cuts, and persons who move on at once.
NEXT = {**LEVEL, "wild": 0.75, "cut": 0.25, "again": 0.15}

# Nearly all words free, now that they are put together from more pieces; and
# questions that begin in the segment before.
WIDE = {**NEXT, "wild": 0.9, "begun": 0.06}

# Two thirds of the keys share a word with another one, and a third of the
# question segments tell of some of them.
ALIKE = {**WIDE, "alike": 0.65, "sight": 0.35}

STAGES = [
    # A: recall inside a segment.
    Stage(2800, n=0, local=1.0, facts=6),
    # B: memory over a few segments.
    Stage(625, n=2, local=0.25, longest=4),
    Stage(1875, n=4, local=0.2, longest=8),
    # C: states that come from far back.
    Stage(1100, longest=64),
    Stage(1100, longest=256),
    Stage(2200, longest=1024),
    Stage(4400, longest=4096),
    # D: wider phrasings, cut facts and decoys, from short to long.
    Stage(4000, local=0.15, longest=16, rate=4.0, **HARD),
    Stage(5000, longest=128, rate=4.0, **HARD),
    Stage(5000, longest=1024, **HARD),
    Stage(6000, longest=4096, **HARD),
    # E: persons who keep moving, long and compound words, names of the prose.
    Stage(2000, local=0.15, longest=32, rate=4.0, **HARD, busy=0.6),
    Stage(3000, longest=256, rate=4.0, **HARD, busy=0.6),
    Stage(3000, longest=1024, **HARD, busy=0.5),
    Stage(4000, longest=4096, **HARD, busy=0.4),
    # F: many keys that share words, more of what takes two facts.
    Stage(5000, local=0.15, longest=16, rate=4.0, **FULLER, busy=0.6),
    Stage(4000, longest=128, rate=4.0, **FULLER, busy=0.6),
    Stage(4000, longest=1024, **FULLER, busy=0.5),
    Stage(5000, longest=8192, **FULLER, busy=0.4),
    # G: persons again, and rest.
    Stage(2500, longest=64, rate=4.0, **EVEN, busy=0.6),
    Stage(3000, longest=1024, **EVEN, busy=0.6),
    Stage(4500, longest=8192, **EVEN, busy=0.5),
    # H: five more novels without words that no fact may have, many more names,
    # short documents to the end, facts side by side, a row for each.
    Stage(8000, local=0.15, longest=64, rate=4.0, **NEXT, busy=0.6),
    Stage(12000, longest=1024, **NEXT, busy=0.6),
    Stage(20000, longest=8192, **NEXT, busy=0.5),
    # I: moves in any words, words of any pieces.
    Stage(8000, local=0.15, longest=64, rate=4.0, **WIDE, busy=0.6),
    Stage(12000, longest=1024, **WIDE, busy=0.6),
    Stage(20000, longest=8192, **WIDE, busy=0.5),
]
# What was run up to the ninth's end.
DONE = STAGES[:26] + [Stage(11250, longest=1024, **WIDE, busy=0.6)]
# J: in the place of what was left of I.
KEYS = [
    Stage(8000, local=0.15, longest=64, rate=4.0, **ALIKE, busy=0.6),
    Stage(16000, longest=1024, **ALIKE, busy=0.6),
    Stage(16000, longest=8192, **ALIKE, busy=0.5),
]
# K: to the lowest rate without longer documents, which cost persons of J.
REST = KEYS[:1] + [Stage(13250, longest=1024, **ALIKE, busy=0.6),
                   Stage(20000, longest=1024, **ALIKE, busy=0.6)]

FULL = {"shape": Shape(), "lanes": 32, "lr": 2e-3, "decay": 0.05,
        "teach": 1.0, "ajar": 1.0, "loop": 0.5, "apart": 0.5, "hop": 0.1,
        "stages": STAGES}


def upto(count):
    """The plan of the first `count` stages: its rate falls at their end."""
    return {**FULL, "stages": STAGES[:count]}


PLANS = {
    # Minutes on a CPU: shows that the parts fit, reaches nothing.
    "small": {**FULL, "shape": Shape(d=64, layers=4, heads=4, kv_heads=4,
                                     ffn=176, segment=128, mem=8, d_mem=16),
              "lanes": 8, "lr": 3e-3,
              "stages": [Stage(20, n=0, forks=4, local=1.0, facts=3),
                         Stage(10, n=2, longest=4)]},
    # Each taken up from the one before at the step where that ended: 14,100,
    # 34,100, 46,100, 64,100 and 74,100.  The sixth and the seventh run were not
    # taken further; README.md says what they were.
    "first": upto(7),
    "second": upto(11),
    "third": upto(15),
    "fourth": upto(19),
    "fifth": {**upto(22), "teach": 2.0},
    # Layer 2 grew most and is not missed without its memory.
    "eighth": {**upto(25), "shape": Shape(first=3), "teach": 2.0, "ajar": 2.0},
    # Taken up from the eighth at step 114,100; ended while its rate was high:
    # to its end it lost persons and things in words held out.
    "ninth": {**upto(28), "until": 133350, "shape": Shape(first=3),
              "teach": 2.0, "ajar": 2.0},
    # Taken up from there; ended before its longest documents.
    "tenth": {**FULL, "until": 154600, "shape": Shape(first=3), "teach": 2.0,
              "stages": DONE + KEYS},
    # Taken up from there.
    "eleventh": {**FULL, "until": 170600, "shape": Shape(first=3),
                 "teach": 2.0, "stages": DONE + REST},
}
