# SPDX-License-Identifier: Apache-2.0
"""Documents with hidden facts, and questions about them, as token ids.

A `Lane` is one place of the training batch: a document that goes on from
window to window (n segments each) until its length is reached; then another
begins.  After chosen segments of a window questions are forked: a question
segment holds some prose, perhaps facts of its own, and questions with their
answers.  Facts may be told again with another value: the later one holds."""
import copy
import math
import random
import re

import numpy as np

from words import DEV, EVAL, TRAIN

KV, PERSON, OBJECT, HOLDER = range(4)
KINDS = ("key", "person", "object", "holder")
SLOTS = 8           # questions of a question segment at most
ANSWER = 8          # tokens of an answer at most, with its end
ANY = 127           # an open row that holds no whole fact of its own
BOS, EOS = 0, 1
SILENT = " not mentioned"
# Words without which a sentence would say something else.
BONES = set("""where who whom which what place room person from by got took
    received the""".split())


SOUNDS = ("b br c ch d dr f fl g gr h j k l m n p pl qu r s sh st t th tr v "
          "w z".split(), "a e i o u ai ea ee ou y".split(),
          "b ck d g l ll m n nd ng p r rd rt s st t x".split())


def words_of(side, *names):
    """The words of a side's lists and phrasings, in lower case."""
    return {w.lower() for name in names or side
            for text in ([side[name]] if isinstance(side[name], str)
                         else side[name])
            for w in re.findall(r"\w+", text)}


HELD = words_of(EVAL) | words_of(DEV)


# What the second half of a compound is more often than chance would have it.
ENDS = """bed berry board bridge building door field ford gate ground hall hill
    hold hole house keep land line loft mill park piece place port room shed
    shelf shop side stair stead stone town tree wall water way well wood work
    works yard""".split()


def pieces_of(tokenizer):
    """Entries of letters alone: that begin a word, and that go on with one."""
    parts = re.findall(r"^(\u0120?)([a-z]{2,})$",
                       "\n".join(sorted(tokenizer.get_vocab())), re.M)
    return [[w for s, w in parts if s], [w for s, w in parts if not s]]


def invented(rng, words, pieces):
    """A word that nobody has read: of two or three syllables, or two words in
    one, or of any of the tokenizer's `pieces`: one that follows one other alone
    is known by that one, and not looked up."""
    draw, w = rng.random(), ""
    if draw < 0.35:
        w = rng.choice(words)[:6] + (rng.choice(ENDS) if rng.random() < 0.5
                                     else rng.choice(words)[:6])
    elif draw < 0.6:
        w = rng.choice(pieces[0]) + "".join(
            rng.choice(pieces[1]) for _ in range(rng.randrange(1, 4)))
    while not w or w in HELD:
        w = "".join(rng.choice(SOUNDS[0]) + rng.choice(SOUNDS[1])
                    for _ in range(rng.randrange(2, 4)))
        w += rng.choice(SOUNDS[2]) if rng.random() < 0.7 else ""
    return w


class Language:
    """The word lists and templates of one side of the split, as ids."""

    def __init__(self, tokenizer, side, prose_words=()):
        self.tok, self.cache = tokenizer, {}
        self.lists = {n: (t.split() if isinstance(t, str) else t)
                      for n, t in side.items()}
        self.prose_words = [w for w in prose_words if w.islower()]
        self.prose_names = [w for w in prose_words if not w.islower()]
        self.silent = self.ids(SILENT)
        self.pieces = pieces_of(tokenizer)
        self.forms = {name: [re.split(r"( ?\{\w\})", t)
                             for t in self.lists[name]]
                      for name in ("kv", "ask_kv", "go", "ask_person", "take",
                                   "give", "ask_object", "ask_holder")}

    def ids(self, text):
        if text not in self.cache:
            self.cache[text] = self.tok.encode(
                text, add_special_tokens=False).ids
        return self.cache[text]

    def say(self, rng, form, **slots):
        """One sentence, with a space before it.  Returns its ids.  Where
        prose words are known some sentences lose words to them: what a fact
        says then shows in its shape alone."""
        out = []
        loose = (0.3 if self.prose_words and rng.random() < 0.4 else 0.0)
        for part in rng.choice(self.forms[form]):
            if not part:
                continue
            m = re.fullmatch(r" ?\{(\w)\}", part)
            if m:
                word = slots.get(m.group(1)) or (
                    self.thing(rng) if m.group(1) == "n"
                    else rng.choice(self.lists.get(m.group(1))
                                    or self.prose_words))
                out += self.ids(" " + (word if out else
                                       word[0].upper() + word[1:]))
                continue
            if loose:
                part = re.sub(r"\w+", lambda w: self.blur(rng, w[0], loose),
                              part)
            out += self.ids(part if out else " " + part)
        return out

    def blur(self, rng, word, share):
        if word.lower() in BONES or rng.random() >= share:
            return word
        other = rng.choice(self.prose_words)
        return other.capitalize() if word[0].isupper() else other

    def nobody(self, rng):
        """Somebody without a name."""
        return re.sub(r"\{y\}", lambda _: rng.choice(self.prose_words),
                      rng.choice(self.lists["nobody"]))

    def thing(self, rng):
        """What a value is called."""
        if self.prose_words and rng.random() < 0.3:
            return rng.choice(self.prose_words)
        return rng.choice(self.lists["things"])

    def word(self, rng, name, wild):
        """One of the list, or with chance `wild` any word of the prose or
        one that does not exist: long words must be read piece by piece."""
        if self.prose_words and rng.random() < wild:
            if name == "names" and rng.random() < 0.6:
                return rng.choice(self.prose_names)
            w = (rng.choice(self.prose_words) if rng.random() < 0.6
                 else invented(rng, self.prose_words, self.pieces))
            return w.capitalize() if name == "names" else w
        return rng.choice(self.lists[name])

    def distinct(self, rng, name, n, wild, taken=()):
        """Words of one kind, none of them among the names `taken`."""
        got = []
        while len(got) < n:
            w = self.word(rng, name, wild)
            if w not in got and w not in taken:
                got.append(w)
        return got

    def keys(self, rng, n, wild, shared=0.4, taken=()):
        """Keys, a share of which has a word in common with another one."""
        got = []
        while len(got) < n:
            k = [self.word(rng, "adjectives", wild),
                 self.word(rng, "nouns", wild)]
            if got and rng.random() < shared:
                side = rng.randrange(2)
                k[side] = rng.choice(got).split()[side]
            k = " ".join(k)
            if k not in got and k not in taken:
                got.append(k)
        return got

    def value(self, rng):
        if self.prose_words and rng.random() < 0.25:
            return rng.choice(self.prose_words)
        return str(rng.randrange(10 ** rng.choice((2, 3, 3, 4)), 10 ** 5))


class World:
    """What a document has told so far: facts as (value, segment).  Its names
    are none of those `taken` by another text in sight."""

    def __init__(self, lang, rng, kinds, wild, sizes=(8, 8, 10, 4),
                 shared=0.4, again=0.0, taken=()):
        self.lang, self.rng, self.kinds = lang, rng, kinds
        self.wild = wild
        n_key, n_person, n_place, n_object = sizes
        self.keys = lang.keys(rng, n_key + 4, wild, shared, taken)
        self.unsaid = {KV: self.keys[n_key:]}
        self.keys = self.keys[:n_key]
        names = lang.distinct(rng, "names", n_person + 3, wild, taken)
        self.persons, self.unsaid[PERSON] = names[:n_person], names[n_person:]
        self.places = lang.distinct(rng, "places", n_place, wild)
        things = lang.distinct(rng, "objects", n_object + 2, wild, taken)
        self.objects = things[:n_object]
        self.unsaid[OBJECT] = self.unsaid[HOLDER] = things[n_object:]
        self.taken = {*self.keys, *self.unsaid[KV], *names, *things}
        self.told = {KV: {}, PERSON: {}, HOLDER: {}}
        self.numbers = {}
        self.again, self.mover = again, None

    def number(self, fact):
        """Of whom or what a fact tells, 1 to ANY - 1."""
        return self.numbers.setdefault(
            fact[:2], min(len(self.numbers) + 1, ANY - 1))

    def next_fact(self):
        """A fact: its sentence's ids, and what it makes true."""
        rng, told = self.rng, self.told
        kind = rng.choice(self.kinds)
        if kind == KV:
            fresh = [k for k in self.keys if k not in told[KV]]
            k = rng.choice(fresh or self.keys)
            v = self.lang.value(rng)
            return self.lang.say(rng, "kv", k=k, v=v), (KV, k, v)
        if kind == OBJECT and rng.random() < 0.6 and told[PERSON]:
            o = rng.choice(self.objects)
            was = told[HOLDER].get(o, (None,))[0]
            there = [p for p in told[PERSON] if p != was]
            if there:
                p = rng.choice(there)
                if was is None:
                    ids = self.lang.say(rng, "take", p=p, o=o)
                else:
                    ids = self.lang.say(rng, "give", p=was, o=o, q=p)
                return ids, (HOLDER, o, p)
        p = rng.choice(self.persons)
        if self.mover and rng.random() < self.again:
            p = self.mover
        self.mover = p
        was = told[PERSON].get(p, (None,))[0]
        place = rng.choice([x for x in self.places if x != was])
        return self.lang.say(rng, "go", p=p, l=place), (PERSON, p, place)

    def decoy(self):
        """A sentence that looks like a fact and names nobody, and nothing
        that is asked for."""
        rng, lang = self.rng, self.lang
        form = rng.choice(("go", "go", "take", "give"))
        p, q = lang.nobody(rng), lang.nobody(rng)
        place = lang.word(rng, "places", self.wild)
        o, = lang.distinct(rng, "objects", 1, self.wild, self.taken)
        self.taken.add(o)
        return lang.say(rng, form, p=p, q=q, l=place, o=o)

    def fork(self):
        """The same, for facts that only a question segment has."""
        other = copy.copy(self)
        other.told = {kind: dict(told) for kind, told in self.told.items()}
        return other

    def learn(self, fact, segment):
        kind, key, value = fact
        self.told[kind][key] = (value, segment)

    def complete(self):
        return (KV not in self.kinds or len(self.told[KV]) == len(self.keys)
                ) and (self.kinds == (KV,)
                       or len(self.told[PERSON]) == len(self.persons))

    def questions(self, n, silent, recent):
        """Up to n questions with distinct keys: (kind, ids, answer ids,
        segment of the older fact or None, first id of the person between
        question and answer or -1).  Facts from segment `recent` on are half
        of what is asked."""
        rng, told, out = self.rng, self.told, []
        pool = []
        for kind in (KV, PERSON, HOLDER):
            for key, (value, at) in told[kind].items():
                pool.append((kind, key, value, at, -1))
                if kind == HOLDER:
                    place = told[PERSON].get(value)
                    if place:
                        pool += [(OBJECT, key, place[0], min(at, place[1]),
                                  self.lang.ids(" " + value)[0])] * 2
        new = [x for x in pool if x[3] >= recent]
        used = set()
        for _ in range(n if pool else min(n, 2)):
            if not pool or rng.random() < silent:
                kind = rng.choice(self.kinds)
                absent = list(self.unsaid[kind])
                known = told[HOLDER if kind == OBJECT else kind]
                absent += [x for x in {KV: self.keys, PERSON: self.persons}
                           .get(kind, self.objects) if x not in known]
                key, value, at, hop = rng.choice(absent), None, None, -1
            else:
                kind, key, value, at, hop = rng.choice(
                    new if new and rng.random() < 0.5 else pool)
            if key in used:
                continue
            used.add(key)
            form, slot = (("ask_kv", "k"), ("ask_person", "p"),
                          ("ask_object", "o"), ("ask_holder", "o"))[kind]
            answer = (self.lang.silent if value is None
                      else self.lang.ids(" " + value)) + [EOS]
            if len(answer) <= ANSWER:
                out.append((kind, self.lang.say(rng, form, **{slot: key}),
                            answer, at, hop))
        return out


KIND_SETS = (((KV,), 0.33), ((PERSON,), 0.20), ((PERSON, OBJECT), 0.32),
             ((KV, PERSON, OBJECT), 0.15))


class Stage:
    """What the generator is asked for during some steps of training."""

    def __init__(self, steps, n=4, forks=4, local=0.1, longest=64, rate=3.0,
                 silent=0.15, wild=0.85, facts=4, cut=0.0, decoys=0.0,
                 busy=0.0, crowd=0.0, kinds=KIND_SETS, clump=0.0, lengths=(),
                 again=0.0, begun=0.0, alike=0.4, sight=0.0):
        self.steps, self.n, self.forks, self.local = steps, n, forks, local
        self.longest, self.rate, self.silent = longest, rate, silent
        self.wild, self.facts = wild, facts
        # The share of facts that a border cuts on purpose; sentences a
        # segment that look like facts.
        self.cut, self.decoys = cut, decoys
        # The share of documents whose persons never come to rest.
        self.busy = busy
        # The share of documents that tell of several times as many, with
        # names of which most share a word; and which kinds go together.
        self.crowd, self.kinds = crowd, kinds
        # The share of sentences that stand right behind another one; shares
        # of the lanes, and how long their documents are at most.
        self.clump, self.lengths = clump, lengths
        # The share of moves that are of who moved last.
        self.again = again
        # The share of keys that have a word in common with another one.
        self.alike = alike
        # The share of question segments whose first question begins in the
        # segment before, as it does behind a text that ends anywhere; and of
        # those that go on with the document's facts: what is in sight with a
        # question is seldom what it asks for.
        self.begun, self.sight = begun, sight

    def most(self, lane):
        """How long documents of the lane numbered `lane` are at most.  Where
        all lanes draw from one range, nearly all windows are of long ones."""
        at = lane * 0.6180339887 % 1    # spreads any count of lanes evenly
        for share, longest in self.lengths:
            at -= share
            if at < 0:
                return max(self.n, min(longest, self.longest))
        return max(self.n, self.longest)

    def fork_at(self):
        """Segments after which questions are asked."""
        if self.n == 0:
            return [-1] * self.forks
        return [((i + 1) * self.n - 1) // self.forks
                for i in range(self.forks)]


class Prose:
    def __init__(self, path):
        self.ids = np.fromfile(path, "<u2").astype(np.int16)
        self.ends = None

    def find_ends(self, lang):
        """Places between sentences or paragraphs."""
        stops = np.array([lang.ids(c)[0] for c in ".!?\n"], np.int16)
        self.ends = np.nonzero(np.isin(self.ids, stops))[0] + 1

    def cut(self, rng, n):
        """Where a text of n ids begins; one longer than all prose repeats."""
        return rng.randrange(max(1, len(self.ids) - n - 1))

    def text(self, at, n):
        return self.ids.take(range(at, at + n), mode="wrap")

    def snap(self, at):
        turn, at = divmod(at, len(self.ids))
        i = int(np.searchsorted(self.ends, at))
        return (turn * len(self.ids)
                + int(self.ends[min(i, len(self.ends) - 1)]))


def noisy(prose, rng, text, share):
    draw = np.random.default_rng(rng.getrandbits(32))
    text = text.copy()
    at = np.nonzero(draw.random(len(text)) < share)[0]
    text[at] = prose.ids[draw.integers(0, len(prose.ids), len(at))]
    return text


def straddle(rng, pieces, sentences, at, segment, share):
    """The pieces of prose before the sentences, some of them shorter, so that
    the border of a segment cuts a share of the sentences.  `at`: where the
    first piece begins."""
    out = []
    for piece, sentence in zip(pieces, sentences):
        if len(sentence) > 1 and rng.random() < share:
            start = at + len(piece)
            drop = (start + rng.randrange(1, len(sentence))) % segment
            if drop < len(piece):
                i = rng.randrange(len(piece) - drop)
                piece = np.concatenate([piece[:i], piece[i + drop:]])
        out.append(piece)
        at += len(piece) + len(sentence)
    return out


def splice(prose, rng, total, sentences, bos=False, noise=0.0, segment=0,
           cut=0.0, clump=0.0):
    """`total` ids of prose with the sentences at uniform places, after the
    ends of its sentences; a share `noise` of the prose's tokens is replaced
    by others of it.  A share `cut` of the sentences lies across the border of
    a segment, a share `clump` of them right behind another one.  Returns the
    ids and where each sentence ends."""
    size = sum(map(len, sentences)) + bos
    room = total - size
    start = prose.cut(rng, room)
    marks = sorted(max(start, min(prose.snap(start + rng.randrange(room + 1)),
                                  start + room)) for _ in sentences)
    for i in range(1, len(marks)):
        if clump and rng.random() < clump:
            marks[i] = marks[i - 1]
    text = prose.text(start, room + (segment if cut else 0) * len(sentences))
    if noise:
        text = noisy(prose, rng, text, noise)
    at = [0] + [mark - start for mark in marks]
    pieces = [text[a:b] for a, b in zip(at, at[1:])]
    if cut:
        pieces = straddle(rng, pieces, sentences, int(bos), segment, cut)
    parts, ends, n = [], [], 0
    if bos:
        parts.append(np.array([BOS], np.int16))
        n = 1
    for piece, s in zip(pieces, sentences):
        parts += [piece, np.array(s, np.int16)]
        n += len(piece) + len(s)
        ends.append(n)
    parts.append(text[at[-1]:at[-1] + total - n])
    return np.concatenate(parts), ends


BORDER = 3          # tokens by which a memory row may err about its part


def gates(n, segment, mem, ends, sizes, numbers):
    """Which memory row of which segment should write: the one in whose part
    of the segment a fact ends (the number of whom it tells), or the next one
    where that has a fact already (ANY where it is the last); and the last row
    where a fact goes on in the next segment (ANY).  A fact that another about
    the same follows in its segment is not written: both would be.  Where a
    fact ends within BORDER tokens of a row's border, the neighbour may (-1);
    no other row (0)."""
    out = np.zeros((n, mem), np.int8)
    last = {((end - 1) // segment, number): i
            for i, (end, number) in enumerate(zip(ends, numbers))}
    near = []
    for i, (end, size, number) in enumerate(zip(ends, sizes, numbers)):
        seg, at = divmod(end - 1, segment)
        if at + 1 < size and seg:
            out[seg - 1, -1] = ANY
        if last[seg, number] != i:
            continue
        row, inside = divmod(at * mem, segment)
        near += [(seg, row - 1)] * (inside < BORDER * mem)
        near += [(seg, row + 1)] * (inside >= segment - BORDER * mem)
        while out[seg, row] and row + 1 < mem:
            row += 1
        out[seg, row] = ANY if out[seg, row] else number
    for seg, row in near:
        if 0 <= row < mem and not out[seg, row]:
            out[seg, row] = -1
    return out


class Questions:
    """Arrays of some question segments: ids; for each question the rows its
    answer is read from, and the answer (-1 where there is none); what kind
    each is, how many segments ago it was told, and the first id of the person
    that leads to the answer (-1 where none does)."""

    def __init__(self, rows, segment):
        self.ids = np.full((rows, segment), EOS, np.int16)
        self.at = np.zeros((rows, SLOTS, ANSWER), np.int16)
        self.want = np.full((rows, SLOTS, ANSWER), -1, np.int16)
        self.kind = np.full((rows, SLOTS), -1, np.int8)
        self.age = np.zeros((rows, SLOTS), np.int16)
        self.hop = np.full((rows, SLOTS), -1, np.int16)

    def arrays(self):
        return (self.ids, self.at, self.want, self.kind, self.age, self.hop)


class Lane:
    def __init__(self, lang, prose, seed, segment, mem, number):
        self.lang, self.prose, self.segment = lang, prose, segment
        self.mem, self.number = mem, number
        self.rng = random.Random(seed)
        self.left = 0

    def noise(self):
        """There is little prose: without noise it is known by heart."""
        return self.rng.choice((0.0, 0.0, 0.05, 0.15, 0.4))

    def begin(self, stage):
        rng = self.rng
        kinds = rng.choices([k for k, _ in stage.kinds],
                            [w for _, w in stage.kinds])[0]
        sizes, shared = (8, 8, 10, 4), stage.alike
        if rng.random() < stage.crowd:
            sizes = (rng.randrange(12, 40), rng.randrange(10, 32),
                     rng.randrange(8, 20), rng.randrange(4, 12))
            shared = max(shared, 0.8)
        self.world = World(self.lang, rng, kinds, stage.wild, sizes, shared,
                           stage.again)
        top = stage.most(self.number)
        self.left = max(stage.n, int(math.exp(rng.uniform(
            math.log(max(1, stage.n)), math.log(top + 0.99)))))
        self.at = 0
        self.fast = math.exp(rng.uniform(math.log(0.3), math.log(stage.rate)))
        self.slow = math.exp(rng.uniform(math.log(0.02), math.log(self.fast)))
        if PERSON in kinds and rng.random() < stage.busy:
            self.slow = self.fast

    def inner_facts(self, stage, outside):
        """Sentences of a question segment of its own, and questions about
        them, and kinds that only such a segment can ask about.  `outside`:
        the document's World, or None."""
        rng, sentences = self.rng, []
        kinds = rng.choices([k for k, _ in stage.kinds],
                            [w for _, w in stage.kinds])[0]
        inner = World(self.lang, rng, kinds, stage.wild, sizes=(6, 4, 6, 2),
                      shared=stage.alike,
                      taken=outside.taken if outside else ())
        for _ in range(rng.randrange(1, stage.facts + 1)):
            ids, fact = inner.next_fact()
            inner.learn(fact, 0)
            sentences.append(ids)
        return sentences, inner.questions(3 if outside else SLOTS,
                                          stage.silent, 0)

    def question_segment(self, world, stage, recent, out, row, room=0):
        """Fills row `row` of the Questions `out`.  Returns the ids, `room` at
        most, with which its first question begins in the segment before."""
        rng, size = self.rng, self.segment
        sentences, asked, begun = [], [], []
        begins = stage.begun and room and rng.random() < stage.begun
        if world is None or (not begins and rng.random() < stage.local):
            sentences, inner = self.inner_facts(stage, world)
            asked = [(q, 1) for q in inner]
        elif not begins and rng.random() < stage.sight:
            world = world.fork()
            for _ in range(rng.randrange(1, stage.facts + 1)):
                ids, fact = world.next_fact()
                world.learn(fact, self.now)
                sentences.append(ids)
        if world is not None:
            asked += [(q, int(q[3] == self.now)) for q in world.questions(
                SLOTS - len(asked), stage.silent, recent)]
            rng.shuffle(asked)
        del asked[SLOTS:]
        if rng.random() < 0.2:
            del asked[rng.randrange(1, 4):]
        need = sum(map(len, sentences))
        while asked and need + sum(len(q[1]) + len(q[2])
                                   for q, _ in asked) > size - 2:
            asked.pop()
        text = sum(len(q[1]) + len(q[2]) for q, _ in asked)
        lead = need + rng.randrange(size - need - text)
        if begins and asked:
            what, q, *rest = asked[0][0]
            n = rng.randrange(1, len(q))
            if n <= room:
                begun, lead = q[:n], 0
                asked[0] = (what, q[n:], *rest), 0
        ids, _ = splice(self.prose, rng, lead, sentences, noise=self.noise())
        out.ids[row, :lead] = ids
        n = lead
        for i, ((what, q, answer, at, hop), inside) in enumerate(asked):
            out.ids[row, n:n + len(q)] = q
            n += len(q)
            m = len(answer)
            out.ids[row, n:n + m] = answer
            out.at[row, i, :m] = range(n - 1, n - 1 + m)
            out.want[row, i, :m] = answer
            n += m
            out.kind[row, i] = what + (8 if inside else
                                       16 if at is None else 0)
            out.age[row, i] = 0 if at is None or inside else self.now - at
            out.hop[row, i] = hop
        return begun

    def mixed(self, stage, sentences, first):
        """A window's ids, with decoys between its facts, and where the facts
        end."""
        rng, size = self.rng, stage.n * self.segment
        told = [(s, True) for s in sentences]
        decoys = np.random.default_rng(rng.getrandbits(32)).poisson(
            stage.n * stage.decoys * rng.random())
        for _ in range(min(decoys, size // 80)):
            told.insert(rng.randrange(len(told) + 1),
                        (self.world.decoy(), False))
        ids, ends = splice(self.prose, rng, size, [s for s, _ in told],
                           bos=first, noise=self.noise(),
                           segment=self.segment, cut=stage.cut,
                           clump=stage.clump)
        return ids, [e for e, (_, fact) in zip(ends, told) if fact]

    def window(self, stage, out, row):
        """One window: ids [n, segment], whether a document begins, and which
        rows should write [n, mem]; questions from row `row` of `out` on."""
        n, S, rng = stage.n, self.segment, self.rng
        forks = stage.fork_at()
        if n == 0:
            self.now = 0
            for i in range(len(forks)):
                self.question_segment(None, stage, 0, out, row + i)
            return (np.zeros((0, S), np.int16), False,
                    np.zeros((0, self.mem), np.int8))
        first = self.left < n
        if first:
            self.begin(stage)
        w = self.world
        mean = n * (self.slow if w.complete() else self.fast)
        count = min(np.random.default_rng(rng.getrandbits(32)).poisson(mean),
                    n * S // 40)
        if first:
            count = max(count, 1)
        # Later facts build on earlier ones, told or not yet read.
        before = {k: dict(v) for k, v in w.told.items()}
        sentences, facts = [], []
        for _ in range(count):
            ids, fact = w.next_fact()
            w.learn(fact, self.at)
            sentences.append(ids)
            facts.append(fact)
        w.told = before
        ids, ends = self.mixed(stage, sentences, first)
        sizes = [len(x) for x in sentences]
        write = gates(n, S, self.mem, ends, sizes,
                      [w.number(f) for f in facts])
        done = 0
        for i, s in enumerate(forks):
            end = (s + 1) * S
            while done < count and ends[done] <= end:
                w.learn(facts[done], self.at + (ends[done] - 1) // S)
                done += 1
            self.now = self.at + s + 1
            room = S // self.mem
            if done and end - ends[done - 1] < room or \
                    done < count and ends[done] - sizes[done] < end:
                room = 0
            begun = self.question_segment(w, stage, self.at, out, row + i,
                                          room)
            if begun:
                ids[end - len(begun):end] = begun
                write[s, -1] = ANY
        while done < count:
            w.learn(facts[done], self.at + (ends[done] - 1) // S)
            done += 1
        self.at += n
        self.left -= n
        return ids.reshape(n, S), first, write


def prose_words(path, least=3):
    """Words of the training prose that may stand for anything, and words with
    a capital inside a sentence, names for the most part."""
    with open(path, encoding="utf-8") as f:
        text = f.read()
    seen = {}
    for w in re.findall(r"(?<=[a-z,] )[A-Za-z][a-z]{2,11}(?=[ ,.;])", text):
        seen[w] = seen.get(w, 0) + 1
    # No sentence of the evaluation can be put together from these.
    return sorted(w for w, c in seen.items()
                  if c >= least and w.lower() not in HELD)


def produce(queue, now, worker, lanes, stages, shape, data, seed):
    """A process: puts one item a step, for its lanes, until the end; leaves a
    stage when the number `now` has passed it."""
    from tokenizers import Tokenizer
    lang = Language(Tokenizer.from_file(data + "/tokenizer.json"), TRAIN,
                    open(data + "/words.txt").read().split())
    prose = Prose(data + "/train.bin")
    prose.find_ends(lang)
    mine = [Lane(lang, prose, f"{seed}.{worker}.{i}", shape.segment,
                 shape.mem, worker * lanes + i) for i in range(lanes)]
    for number, stage in enumerate(stages):
        for _ in range(stage.steps):
            if now.value > number:
                break
            out = Questions(lanes * stage.forks, shape.segment)
            got = [lane.window(stage, out, i * stage.forks)
                   for i, lane in enumerate(mine)]
            queue.put((number, np.stack([g[0] for g in got]),
                       np.array([g[1] for g in got]),
                       np.stack([g[2] for g in got]), *out.arrays()))


def check_lists():
    """Stops where something is on both sides of the split."""
    for one, two in ((TRAIN, EVAL), (TRAIN, DEV), (DEV, EVAL)):
        for name in EVAL:
            a, b = (x[name].split() if isinstance(x[name], str) else x[name]
                    for x in (one, two))
            both = set(a) & set(b)
            assert not both, (name, both)
    both = set(TRAIN["m"]) & HELD
    assert not both, both
