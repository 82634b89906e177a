#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the sample model is trained on (model/train): the lists share no word
and no phrasing that they must not, and in windows of the last plan no word of
the evaluation is in a fact or a question, what is told last is the answer,
facts lie anywhere in a segment, and their gates are where they end.

Prose is made here, of the tokenizer's own words and of all that is held out.
Exit status 77 without the packages.
"""
import collections
import copy
import os
import random
import re
import sys
import tempfile
import types
import unittest
import unittest.mock

try:
    import numpy as np
    from tokenizers import Tokenizer
except ImportError as e:
    print(f"the Python package {e.name} is not here: no documents to look at")
    sys.exit(77)

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "model", "train"))
import facts  # noqa: E402  pylint: disable=wrong-import-position
import prose as books  # noqa: E402  pylint: disable=wrong-import-position
from plans import PLANS  # noqa: E402  pylint: disable=wrong-import-position
from words import (  # noqa: E402  pylint: disable=wrong-import-position
    DEV, EVAL, TRAIN)

TOKENIZER = os.path.join(ROOT, "model", "sample", "tokenizer.json")
LISTS = ("names", "adjectives", "nouns", "places", "objects")
SLOTS = {"kv": "kv", "ask_kv": "k", "go": "pl", "ask_person": "p",
         "take": "po", "give": "poq", "ask_object": "o", "ask_holder": "o"}
FORMS = tuple(SLOTS)
# Words of the evaluation that training has as another kind of word, "violet"
# as a name and "secret" in what a value is called (model/sample/README.md).
KNOWN = set("""attic cellar chapel laboratory ladder lantern museum square
    violet secret""".split())


def words(text):
    return re.findall(r"\w+", text.lower())


def listed(side, *kinds):
    """The words of a side's lists, in lower case."""
    return {w for k in kinds for entry in
            (side[k].split() if isinstance(side[k], str) else side[k])
            for w in words(entry)}


def parts(template):
    return re.findall(r"\{\w\}|\w+|[^\w\s]", template.lower())


# What training's slots may become.  A free word, {y}, is none of a held
# sentence, if the rest of these tests holds.
CHOICES = {"{y}": [], **{f"{{{slot}}}": [parts(x) for x in TRAIN[name]]
                         for slot, name in (("n", "things"), ("m", "m"),
                                            ("i", "i"))}}


def says(pattern, sentence):
    """Whether the template, in parts, can become the sentence."""
    if not pattern:
        return not sentence
    return any(sentence[:len(x)] == x and says(pattern[1:], sentence[len(x):])
               for x in CHOICES.get(pattern[0], [pattern[:1]]))


class Lists(unittest.TestCase):
    def test_kinds_share_no_word(self):
        facts.check_lists()
        for kind in LISTS:
            train, dev, held = (listed(s, kind) for s in (TRAIN, DEV, EVAL))
            self.assertGreater(min(map(len, (train, dev, held))), 18)
            self.assertFalse(train & held | train & dev | dev & held, kind)

    def test_only_known_words_are_of_two_kinds(self):
        train = listed(TRAIN, *LISTS, "things", "nobody", "m", "i")
        self.assertEqual(train & listed(EVAL, *LISTS), KNOWN)
        self.assertFalse(train & listed(DEV, *LISTS))
        self.assertFalse(listed(DEV, *LISTS) & listed(EVAL, *LISTS))
        self.assertFalse(listed(TRAIN, "things") & listed(DEV, "things"))

    def test_no_free_word_is_held(self):
        for side in (EVAL, DEV):
            self.assertLessEqual(listed(side, *LISTS, *FORMS), facts.HELD)

    def test_training_cannot_say_a_held_sentence(self):
        for form in FORMS:
            held = [parts(t) for side in (EVAL, DEV) for t in side[form]]
            for i, one in enumerate(held):
                self.assertNotIn(one, held[:i])
            for template in TRAIN[form]:
                pattern = parts(template)
                for sentence in held:
                    self.assertFalse(says(pattern, sentence), template)

    def test_such_sentences_are_found(self):
        for pattern, sentence in (
                ("at last {p} {m} {i} the {l}.",
                 "At last {p} walked up to the {l}."),
                ("Where is {p}?", "Where is {p}?"),
                ("the {n} of the {k} is {v}.", "The door code of the {k} is "
                 "{v}.")):
            self.assertTrue(says(parts(pattern), parts(sentence)))
        self.assertFalse(says(parts("Where {y} {p}?"), parts("Where is {p}?")))


def shared(one, two):
    """Steps that two plans have in common."""
    done = 0
    for a, b in zip(PLANS[one]["stages"], PLANS[two]["stages"]):
        if {**vars(a), "steps": 0} != {**vars(b), "steps": 0}:
            break
        done += min(a.steps, b.steps)
        if a.steps != b.steps:
            break
    return done


class Plans(unittest.TestCase):
    @staticmethod
    def end(name):
        return PLANS[name].get("until", sum(
            s.steps for s in PLANS[name]["stages"]))

    def test_each_goes_on_from_the_one_before(self):
        """What a plan begins with is what the one before has done, to its
        end, or sooner, where it has no `until`."""
        done, names = 0, [name for name in PLANS if name != "small"]
        for one, two in zip(names, names[1:]):
            self.assertLess(done, shared(one, two), two)
            done = shared(one, two)
            self.assertLessEqual(done, self.end(one), two)
            if "until" in PLANS[one]:
                self.assertEqual(done, self.end(one), two)
            self.assertLess(done, self.end(two), two)

    def test_until_lies_inside(self):
        for name, plan in PLANS.items():
            self.assertTrue(0 < self.end(name) <= sum(
                s.steps for s in plan["stages"]), name)

    def test_reproduction_takes_each_up_where_it_ends(self):
        with open(os.path.join(ROOT, "model", "train", "reproduce.sh"),
                  encoding="utf-8") as file:
            runs = re.findall(r"^ +run (\w+)(?:.* --from (\d+))?", file.read(),
                              re.M)
        self.assertGreater(len(runs), 6)
        done = ""
        for name, start in runs:
            self.assertEqual(start, done, name)
            done = str(self.end(name))

    def test_stages(self):
        for plan in PLANS.values():
            self.assertEqual(plan["lanes"] % 2, 0)
            for s in plan["stages"]:
                self.assertGreater(s.steps, 0)
                self.assertEqual(len(s.fork_at()), s.forks)
                self.assertTrue(all(-1 <= at < max(s.n, 1) for at in
                                    s.fork_at()))
                self.assertGreaterEqual(s.longest, s.n)
                for share in (s.local, s.silent, s.wild, s.cut, s.busy,
                              s.crowd, s.clump, s.again, s.begun, s.alike,
                              s.sight, sum(x for x, _ in s.lengths)):
                    self.assertTrue(0 <= share <= 1)
                self.assertAlmostEqual(sum(x for _, x in s.kinds), 1)


def made_prose(tokenizer, draw):
    """Text of the tokenizer's words, with everything that is held out in it
    where words of the prose are taken from."""
    vocabulary = sorted(tokenizer.get_vocab())
    known = [[m[1] for m in (re.fullmatch("\u0120(" + x + "[a-z]{2,})", entry)
                             for entry in vocabulary) if m]
             for x in ("[a-z]", "[A-Z]")]
    held = sorted(facts.HELD)
    held += [w.capitalize() for w in sorted(listed(EVAL, "names")
                                            | listed(DEV, "names"))]
    lines = []
    for _ in range(4000):
        line = "He"
        for _ in range(draw.randrange(3, 30)):
            share = draw.random()
            line += draw.choice((" ", " ", " ", ", ")) + draw.choice(
                known[0] if share < 0.7 else known[1] if share < 0.9
                else held)
        lines.append(line + draw.choice((". ", "! ", ".\n")))
    return "".join(lines)


class Heard(facts.Language):
    """A language that remembers what it said: form, slots, ids."""

    def __init__(self, *args):
        super().__init__(*args)
        self.said = []

    def say(self, rng, form, **slots):
        ids = super().say(rng, form, **slots)
        self.said.append((form, slots, ids))
        return ids


class Watched(facts.Lane):
    """A lane that remembers which part of a window said what."""

    def window(self, stage, out, row):
        self.lang.said.clear()
        self.forks = []
        ids, first, write = super().window(stage, out, row)
        return types.SimpleNamespace(
            ids=ids, first=first, write=write, told=self.told,
            decoys=self.decoys, forks=self.forks, stage=stage,
            at=self.at - stage.n,
            rows=[[a[row + i] for a in out.arrays()]
                  for i in range(stage.forks)])

    def mixed(self, stage, sentences, first):
        self.told = list(self.lang.said)
        got = super().mixed(stage, sentences, first)
        self.decoys = self.lang.said[len(self.told):]
        return got

    def inner_facts(self, stage, outside):
        at = len(self.lang.said)
        got = super().inner_facts(stage, outside)
        self.inner = self.lang.said[at:]
        return got

    def question_segment(self, *args, **more):
        self.inner, at = [], len(self.lang.said)
        begun = super().question_segment(*args, **more)
        self.forks.append((self.inner,
                           self.lang.said[at + len(self.inner):], begun))
        return begun


class Reader:
    """What a reader of facts knows: value and segment of each."""

    def __init__(self, other=None):
        self.known = dict(other.known) if other else {}

    def read(self, said, segment):
        """Returns what is now known anew."""
        form, slots, _ = said
        what, value = {"kv": ("k", "v"), "go": ("p", "l"), "take": ("o", "p"),
                       "give": ("o", "q")}[form]
        key = what, slots[what]
        if form == "give":
            assert self.known[key][0] == slots["p"], said
        self.known[key] = slots[value], segment
        return key

    def answer(self, said):
        """The value (None: never told), the older fact's segment, and what
        the answer rests on."""
        form, slots, _ = said
        (what, key), = slots.items()
        value, at = self.known.get((what, key), (None, None))
        used = [(what, key)]
        if form == "ask_object" and value is not None:
            used.append(("p", value))
            value, other = self.known[used[1]]
            at = min(at, other)
        return value, at, used


def find(ids, sentence, start=0):
    """Where the sentence is in the ids, from `start` on, or -1."""
    hay, needle = ids.tobytes(), np.array(sentence, np.int16).tobytes()
    at = hay.find(needle, 2 * start)
    while at > 0 and at % 2:    # between two ids
        at = hay.find(needle, at + 1)
    return at // 2


class Documents(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        draw = random.Random("prose")
        tok = Tokenizer.from_file(TOKENIZER)
        cls.text = made_prose(tok, draw)
        with tempfile.TemporaryDirectory(prefix="longwave-train-") as work:
            path = os.path.join(work, "train.txt")
            with open(path, "w", encoding="utf-8") as out:
                out.write(cls.text)
            cls.free = facts.prose_words(path)
            path = os.path.join(work, "train.bin")
            np.asarray(tok.encode(cls.text, add_special_tokens=False).ids,
                       "<u2").tofile(path)
            cls.prose = facts.Prose(path)
        cls.lang = Heard(tok, TRAIN, cls.free)
        cls.prose.find_ends(cls.lang)
        cls.kept = {kind: listed(EVAL, kind) | listed(DEV, kind)
                    for kind in LISTS}
        *_, plan = PLANS.values()
        cls.S, cls.mem = plan["shape"].segment, plan["shape"].mem
        cls.windows = cls.made(plan, 3, 20)

    @classmethod
    def made(cls, plan, stages, steps):
        """Windows of each lane, of the plan's last stages."""
        shape, count = plan["shape"], plan["lanes"]
        lanes = [Watched(cls.lang, cls.prose, f"1.{i}", shape.segment,
                         shape.mem, i) for i in range(count)]
        windows = [[] for _ in lanes]
        for stage in plan["stages"][-stages:]:
            for _ in range(steps):
                out = facts.Questions(count * stage.forks, shape.segment)
                for i, lane in enumerate(lanes):
                    windows[i].append(lane.window(stage, out,
                                                  i * stage.forks))
        return windows

    def stream(self):
        """For each fork of each lane: window, fork, number of the fork, what
        a reader of the text so far knows, and the facts read since the last
        fork as (start, said, key)."""
        for lane in self.windows:
            reader = None
            for w in lane:
                if w.first:
                    reader = Reader()
                ids, at, todo = w.ids.ravel(), 0, list(w.told)
                for i, end in enumerate(w.stage.fork_at()):
                    new = []
                    while todo:
                        start = find(ids, todo[0][2], at)
                        self.assertGreaterEqual(start, 0, todo[0])
                        to = start + len(todo[0][2])
                        if to > (end + 1) * self.S:
                            break
                        at, said = to, todo.pop(0)
                        new.append((start, said, reader.read(
                            said, w.at + (at - 1) // self.S)))
                    yield w, i, reader, new
                self.assertFalse(todo)

    def spread(self, shares, low, high):
        """Each of 16 parts has about as many of the shares (0 to 1)."""
        count = np.histogram(shares, 16, (0, 1))[0] * 16 / len(shares)
        self.assertGreater(count.min(), low, count)
        self.assertLess(count.max(), high, count)

    def test_facts_lie_anywhere(self):
        """In all parts of a segment alike; some across its border."""
        within, cut = [], 0
        for _, _, _, new in self.stream():
            for start, (_, _, ids), _ in new:
                room = self.S - len(ids) + 1
                if start % self.S < room:
                    within.append(start % self.S / room)
                else:
                    cut += 1
        self.assertGreater(len(within), 5000)
        self.spread(within, 0.7, 1.3)
        self.assertTrue(0.05 < cut / len(within) < 0.25, cut)

    def test_a_text_has_its_sentences_anywhere(self):
        """As `evaluate.py` has them: nothing is cut on purpose."""
        rng, total = random.Random("places"), 64 * self.S
        sentence, at = list(range(1000, 1012)), []
        for _ in range(400):
            ids, ends = facts.splice(self.prose, rng, total, [sentence] * 8,
                                     True)
            self.assertEqual(len(ids), total)
            for end in ends:
                self.assertEqual(ids[end - 12:end].tolist(), sentence)
            at += ends
        at = np.array(at)
        self.spread((at - 1) / total, 0.75, 1.25)
        self.spread((at - 1) % self.S / self.S, 0.75, 1.25)

    def test_gates_are_where_facts_end(self):
        numbers = {}
        for w, i, _, new in self.stream():
            numbers = {} if w.first and i == 0 else numbers
            last = {}       # the row of the newest of each
            for start, (_, _, ids), key in new:
                seg, at = divmod(start + len(ids) - 1, self.S)
                self.assertEqual(seg, i)
                last[key] = at * self.mem // self.S
            write = w.write[i]
            for row in last.values():
                self.assertGreater(write[row], 0)
            whole = write[(write > 0) & (write < facts.ANY)]
            self.assertLessEqual(len(whole), len(last))
            if not last:
                self.assertFalse(write[:-1].any())
            # The last row may have the first half of another.
            if len(last) == 1 and write[-1] < facts.ANY:
                (key, row), = last.items()
                self.assertEqual(whole.tolist(), [write[row]])
                if write[row] < facts.ANY - 1:
                    self.assertEqual(numbers.setdefault(write[row], key), key)

    def asked(self, w, i):
        """The questions of fork i: number, what was said, whether it was of
        the segment's own, the answer's ids."""
        size = w.ids.shape[1]
        ids, at, want, kind = w.rows[i][:4]
        inner, outer, begun = w.forks[i]
        for j in np.nonzero(kind >= 0)[0]:
            answer = want[j][want[j] >= 0].tolist()
            first = int(at[j, 0]) + 1
            self.assertLessEqual(first + len(answer), size)
            self.assertEqual(at[j, :len(answer)].tolist(), list(range(
                first - 1, first - 1 + len(answer))))
            self.assertEqual(ids[first:first + len(answer)].tolist(), answer)
            text = (begun if j == 0 else []) + ids[:first].tolist()
            said = [(s, own) for some, own in ((inner, True), (outer, False))
                    for s in some if s[0].startswith("ask_")
                    and text[-len(s[2]):] == s[2]]
            self.assertEqual(len(said), 1, said)
            yield (j, *said[0], answer)

    def test_questions_end_in_their_segment(self):
        """Of a short one more are drawn than it has room for."""
        small, room = PLANS["small"], []
        for lane in self.made(small, 1, 50):
            for w in lane:
                for i in range(w.stage.forks):
                    for j, _, _, answer in self.asked(w, i):
                        room.append(small["shape"].segment - len(answer) - 1
                                    - w.rows[i][1][j, 0])
        self.assertGreater(len(room), 3000)
        self.assertGreaterEqual(min(room), 1)

    def test_answers_are_what_was_told_last(self):
        count = collections.Counter()
        for w, i, reader, _ in self.stream():
            now = w.at + w.stage.fork_at()[i] + 1
            ids, _, _, kind, age, hop = w.rows[i]
            inner, outer, begun = w.forks[i]
            own, told, everything, at = Reader(), Reader(reader), None, 0
            for knows, some in ((own, inner), (told, outer)):
                for said in some:
                    if not said[0].startswith("ask_"):
                        at = find(ids, said[2], at) + len(said[2])
                        self.assertGreaterEqual(at, len(said[2]))
                        knows.read(said, now)
                        count["sight"] += knows is told
            everything = Reader(told)
            everything.known.update(own.known)
            if begun:
                count["begun"] += 1
                end = (w.stage.fork_at()[i] + 1) * self.S
                self.assertEqual(w.ids.ravel()[end - len(begun):end].tolist(),
                                 begun)
                self.assertEqual(w.write[i, -1], facts.ANY)
            for j, said, inside, answer in self.asked(w, i):
                value, at, used = (own if inside else told).answer(said)
                self.assertEqual(answer[-1], facts.EOS)
                self.assertEqual(self.lang.tok.decode(answer[:-1]),
                                 facts.SILENT if value is None
                                 else " " + value, said)
                inside = inside or at == now
                what = ("ask_kv", "ask_person", "ask_object",
                        "ask_holder").index(said[0])
                self.assertEqual(kind[j], what + (
                    8 if inside else 16 if value is None else 0))
                self.assertEqual(age[j], 0 if inside or value is None
                                 else now - at)
                self.assertEqual(hop[j], -1 if len(used) == 1 else
                                 self.lang.ids(" " + used[1][1])[0])
                count[said[0]] += 1
                count["silent"] += value is None
                # Facts of the segment's own are of others.
                self.assertEqual(everything.answer(said)[0], value, said)
        for what, least in (("ask_kv", 5000), ("ask_person", 5000),
                            ("ask_object", 1000), ("ask_holder", 500),
                            ("silent", 1000), ("sight", 1000), ("begun", 100)):
            self.assertGreater(count[what], least, what)

    def test_a_name_is_of_one_text(self):
        """Of few words many are drawn again; but a document, its decoys and
        the facts of a question segment's own share no name."""
        def names(said):
            return {name for _, slots, _ in said
                    for slot, name in slots.items() if slot in "kpqo"}

        count = collections.Counter()
        *_, plan = PLANS.values()
        stage = copy.copy(plan["stages"][-1])
        stage.local, stage.decoys = 0.4, 0.6
        side = {**TRAIN, "adjectives": "old new red", "nouns": "bag cart"}
        few = Heard(self.lang.tok, side, random.Random("few").sample(
            self.free, 12))
        self.assertTrue(few.prose_names and few.prose_words)
        with unittest.mock.patch.object(type(self), "lang", few):
            windows = self.made({**plan, "stages": [stage]}, 1, 15)
        for w in (w for lane in windows for w in lane):
            if w.first:
                told, passed = set(), set()
            told |= names(w.told)
            passed |= {slots["o"] for form, slots, _ in w.decoys
                       if form != "go"}
            for inner, outer, _ in w.forks:
                told |= names(outer)
                self.assertFalse(names(inner) & (told | passed))
                count["inner"] += len(names(inner))
            self.assertFalse(told & passed)
            count["decoys"] += len(w.decoys)
        self.assertGreater(count["inner"], 400)
        self.assertGreater(count["decoys"], 100)

    def test_no_word_of_the_other_sides(self):
        """In what facts and questions say, and in the names and things that
        they are of."""
        held = (listed(EVAL, *LISTS, *FORMS) | listed(DEV, *LISTS, *FORMS)
                ) - listed(TRAIN, *TRAIN)
        self.assertGreater(len(held), 250)
        said = [s for lane in self.windows for w in lane
                for some in (w.told, w.decoys,
                             *(a + b for a, b, _ in w.forks)) for s in some]
        texts = self.lang.tok.decode_batch([ids for _, _, ids in said])
        self.assertGreater(len(texts), 40000)
        lists, free, leaked = listed(TRAIN, *LISTS), 0, set()
        for (form, slots, _), text in zip(said, texts):
            leaked |= held.intersection(words(text))
            for slot in SLOTS[form]:
                value = slots[slot]
                self.assertIn(value.lower(), text.lower())
                if slot == "v":
                    continue
                some = value.split() if slot == "k" else [value]
                kinds = {"k": ("adjectives", "nouns"), "l": ("places",),
                         "o": ("objects",)}.get(slot, ("names",))
                for word, kind in zip(some, kinds):
                    leaked |= self.kept[kind].intersection([word.lower()])
                    free += word.lower() not in lists
        self.assertGreater(free, len(texts) / 2)
        self.assertFalse(leaked)

    def test_no_invented_word_is_held(self):
        """Not where its parts or its sounds are those of one."""
        rng, sounds = random.Random("new"), (["c", "d"], ["o", "e"], ["l"])
        self.assertLessEqual({"workshop", "code"}, facts.HELD)
        with unittest.mock.patch.object(facts, "SOUNDS", sounds):
            made = {facts.invented(rng, ["work"], [["work"], ["shop"]])
                    for _ in range(5000)}
        self.assertLessEqual({"workstone", "workshopshop", "coco"}, made)
        self.assertFalse(made & facts.HELD)

    def test_prose_has_no_name_of_the_other_sides(self):
        rng = random.Random("names")
        names = listed(EVAL, "names") | listed(DEV, "names")
        things = (listed(EVAL, "places", "objects") | listed(
            DEV, "places", "objects")) - listed(TRAIN, *TRAIN) - names
        capital = re.compile("[A-Z][a-z]+")
        self.assertLessEqual(names | things, set(words(self.text)))
        tok = books.make_tokenizer(self.text, 6144)
        text = books.unheld(self.text, self.free, rng)
        other = books.renamed(text, self.free, rng, facts.pieces_of(tok))
        self.assertNotEqual(text, other)
        for clean in (text, other):
            self.assertFalse(names & {m.lower() for m in
                                      capital.findall(clean)})
            self.assertFalse(things.intersection(words(clean)))
        # A name of which training shows nothing is spelled in parts, all that
        # it shows as before.
        def ids(t, text):
            return t.encode(text, add_special_tokens=False).ids
        shown = ids(tok, text)
        few = {**TRAIN, **{form: TRAIN[form][:50] for form in FORMS}}
        with unittest.mock.patch.object(facts, "TRAIN", few):
            cut = books.spoken(tok, shown, self.free)
        self.assertEqual(ids(cut, text), shown)
        entries = [n for n in names if len(ids(tok, " " + n.capitalize())) == 1]
        self.assertGreater(len(entries), 10)
        for name in entries:
            self.assertGreater(len(ids(cut, " " + name.capitalize())), 1)
        for name in names:
            self.assertGreater(len(ids(self.lang.tok,
                                       " " + name.capitalize())), 1, name)


if __name__ == "__main__":
    unittest.main()
