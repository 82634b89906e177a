# SPDX-License-Identifier: Apache-2.0
"""Documents with hidden facts and questions about them, as text.

A document is prose with facts after the ends of its sentences, at places
drawn uniformly over the whole text.  A question knows where the youngest fact
that it needs ends, so that what the model still sees is not scored."""
import bisect
import re

from lists import EVAL

TASKS = ("key", "person", "object", "silent")
SILENT = "not mentioned"
KEYS, PERSONS, PLACES, OBJECTS, MOVES = 8, 8, 10, 3, 5


class Prose:
    """A text, and where sentences of it end."""

    def __init__(self, text):
        self.text = text
        # A space follows, as between sentences anywhere: what stands right
        # behind a fact (`."`) would be part of its last token.
        self.ends = [m.end() for m in re.finditer(r"[.!?](?=\s)", text)]
        if len(self.ends) < 100:
            raise ValueError("the prose has less than 100 sentences")

    def cut(self, rng, size):
        """About `size` characters from the start of a sentence on; repeats
        when there is not so much.  Returns the text and its borders."""
        at = self.ends[rng.randrange(len(self.ends))]
        if at + size > len(self.text):
            at = self.ends[rng.randrange(len(self.ends))] % max(
                1, len(self.text) - size) if size < len(self.text) else at
            at = self.ends[min(bisect.bisect_left(self.ends, at),
                               len(self.ends) - 1)]
        text = self.text[at:at + size]
        borders = [e - at for e in
                   self.ends[bisect.bisect_right(self.ends, at):]
                   if e <= at + size]
        while len(text) < size:
            base = len(text)
            more = self.text[:size - base]
            borders += [base + e for e in self.ends if e <= len(more)]
            text += more
        return text, borders or [len(text)]


class Question:
    def __init__(self, text, answer, needs, place, told):
        self.text, self.answer, self.needs = text, answer, needs
        self.place = place      # of the asked fact, 0 to 1; None: never told
        self.told = told


class Document:
    """text, questions, and `last`: the value told last."""

    def __init__(self, text, questions, last):
        self.text, self.questions, self.last = text, questions, last


def say(rng, form, **slots):
    text = rng.choice(EVAL[form])
    for name, value in slots.items():
        text = text.replace("{" + name + "}", value)
    return text


def words(name):
    return EVAL[name].split()


def key_names(rng, n):
    """Half of them share a word with another one."""
    got = []
    while len(got) < n:
        pair = [rng.choice(words("adjectives")), rng.choice(words("nouns"))]
        if got and rng.random() < 0.4:
            side = rng.randrange(2)
            pair[side] = rng.choice(got).split()[side]
        if " ".join(pair) not in got:
            got.append(" ".join(pair))
    return got


def tell_keys(rng):
    """Facts (sentence, subject, value), and subjects that are never told."""
    names = key_names(rng, 2 * KEYS)
    facts = []
    for k in names[:KEYS]:
        v = str(rng.randrange(10 ** rng.choice((2, 3, 3, 4)), 10 ** 5))
        facts.append((say(rng, "kv", k=k, v=v), k, v))
    return facts, names[KEYS:]


def tell_moves(rng, objects):
    """Persons who move, and things that are taken and handed on."""
    persons = rng.sample(words("names"), PERSONS)
    places = rng.sample(words("places"), PLACES)
    order = persons * (MOVES - 1)
    rng.shuffle(order)
    events = [(p, False) for p in rng.sample(persons, PERSONS) + order]
    for o in rng.sample(words("objects"), objects):
        for _ in range(3):
            events.insert(rng.randrange(PERSONS, len(events) + 1), (o, True))
    now, had, facts = {}, {}, []
    for who, thing in events:
        was = now.get(who)
        # A thing goes through the hands of three.
        before = had.setdefault(who, []) if thing else [was]
        value = rng.choice([x for x in (persons if thing else places)
                            if x not in before])
        before.append(value)
        now[who] = value
        text = (say(rng, "go", p=who, l=value) if not thing else
                say(rng, "take", p=value, o=who) if was is None else
                say(rng, "give", p=was, o=who, q=value))
        facts.append((text, who, value))
    return facts


def place(rng, prose, facts, size):
    """The text, and where each fact ends in it."""
    room = max(200, size - sum(len(f[0]) + 1 for f in facts))
    text, borders = prose.cut(rng, room)
    spots = sorted(borders[min(bisect.bisect_left(
        borders, rng.randrange(room)), len(borders) - 1)] for _ in facts)
    parts, ends, at, n = [], [], 0, 0
    for spot, fact in zip(spots, facts):
        parts += [text[at:spot], " ", fact[0]]
        n += spot - at + 1 + len(fact[0])
        ends.append(n)
        at = spot
    parts.append(text[at:])
    return "".join(parts), ends


def document(task, rng, prose, size):
    """A document of about `size` characters."""
    unsaid = []
    if task in ("key", "silent"):
        facts, unsaid = tell_keys(rng)
    else:
        facts = tell_moves(rng, OBJECTS if task == "object" else 0)
    text, ends = place(rng, prose, facts, size)
    now = {}            # subject -> (value, where its last fact ends)
    for (_, subject, value), end in zip(facts, ends):
        now[subject] = (value, end)
    asked = []
    if task in ("key", "silent"):
        asked = [("ask_kv", "k", k) + now[k] for k in now]
        if task == "silent":
            asked += [("ask_kv", "k", k, None, None) for k in unsaid]
    elif task == "person":
        asked = [("ask_person", "p", p) + now[p] for p in now
                 if p != facts[-1][1]]
    else:
        for o, (holder, end) in now.items():
            if o in words("objects"):
                where, moved = now[holder]
                asked.append(("ask_object", "o", o, where, max(end, moved)))
    rng.shuffle(asked)
    questions = []
    for form, slot, subject, value, end in asked:
        questions.append(Question(
            " " + say(rng, form, **{slot: subject}), value or SILENT, end,
            None if end is None else end / len(text), end is not None))
    values = [f[2] for f in facts if f[1] not in words("objects")]
    return Document(text, questions, values[-1])
