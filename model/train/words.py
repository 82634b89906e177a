# SPDX-License-Identifier: Apache-2.0
"""Names, things and phrasings of the facts.  TRAIN and EVAL, which are the
lists of longwave-eval, share none; DEV shares none with either: choices
before a checkpoint is frozen are made with it.

In a template {k} is a key (an adjective and a noun), {v} a value, {n} what
the value is called, {p} and {q} persons, {l} a place, {o} an object and {y}
any word.  The phrasings of training are products of parts: with few of them a
model learns the sentences and not what they say."""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(HERE, "..", "..", "client", "eval"))
from lists import EVAL  # noqa: E402

TRAIN = {
    "names": """Alfred Agnes Albert Bertha Bernard Clara Conrad Daisy Dennis
        Edith Edgar Elsie Ernest Esther Felix Flora Frances Gerald Gladys
        Gordon Hannah Harold Hazel Herbert Hilda Horace Howard Irene Isaac
        Ivan Jasper Jean Jerome Julia Julius Katrina Kenneth Laura Leonard
        Leo Lewis Lilian Linda Lloyd Louisa Lucas Mabel Magnus Marcus Margot
        Martha Martin Matilda Maurice Milton Mona Morris Nathan Nina Norman
        Olive Oscar Otto Pamela Percy Peter Philip Phoebe Ralph Raymond
        Rebecca Roger Roland Rosa Rufus Ruth Samuel Sarah Sidney Simon Stella
        Stanley Susan Sylvia Thelma Theodore Thomas Trevor Ursula Vera
        Vernon Victor Vincent Viola Violet Walter Wanda Wilfred Winifred
        Yvonne Zelda""",
    "adjectives": """amber ancient black blue bold brass bright broken bronze
        brown calm cedar clean clear cold copper coral cracked crimson dark
        deep distant dusty early eastern empty faded fallen far fine first
        flat frozen gentle giant golden grand great green grey heavy hidden
        high hollow inner iron ivory jade large last late lead little long
        lost lower marble middle misty narrow new noble northern oaken old
        open outer pale paper pink plain proud purple quick quiet rapid red
        rich rocky round royal rusty sacred sandy""",
    "nouns": """archive armoury attic bank barrack basin beacon bell boat box
        bridge bunker cabinet cage canal carriage case castle cellar chamber
        chapel chest citadel clinic clock cloister coffer convent crane crate
        crypt depot desk dock door drawer engine factory farm ferry forge
        fort fountain furnace gallery gate granary grotto hall harbour hatch
        hospital house hut inn island keep kiln laboratory ladder lantern
        lift lighthouse lock lodge""",
    "places": """kitchen garden bedroom hallway office bathroom barn bakery
        library market station church meadow orchard stable tavern theatre
        valley village vineyard tower temple square school river quarry port
        pantry palace museum mill lake kennel hotel hospital hill harbour
        forest field dairy court cottage college cave castle camp bridge
        beach bank abbey""",
    "objects": """apple football milk lamp book hammer basket candle bottle
        mirror ring rope coin hat coat key knife letter map medal needle pen
        pipe purse ribbon saddle scarf shovel spoon sword ticket torch towel
        trumpet umbrella vase violin wallet watch whistle wheel axe bell
        brush bucket button carpet compass""",
}

DEV = {
    "things": ["keyword"],
    "names": """Angus Barbara Brenda Cameron Carmen Deborah Desmond Donald
        Duncan Elaine Erica Fergus Fiona Gavin Geoffrey Gloria Graham Gwen
        Heather Humphrey Ingrid Janet Joanna Judith Kevin Lorraine Malcolm
        Marjorie Melvin Monica Neville Pauline Penelope Roderick Rosemary
        Sebastian Sheila Sybil Tamara Tristan""",
    "adjectives": """barren bitter blank bleak bumpy chilly crooked curved
        damp dented double dull fancy fiery foggy glass gloomy grim hot
        humble jagged lonely loose magic mossy muddy neat odd plastic
        polished pretty ragged rough rustic scarlet shallow""",
    "nouns": """abattoir airfield alcove aquarium arcade arena bakehouse
        balloon barge boiler booth bureau bus casino closet coach column
        counter den dungeon elevator exchange fridge gantry hangar
        hostel kiosk loft mast mews obelisk orangery""",
    "places": """alley aquarium arena bathhouse casino cloakroom conservatory
        closet courthouse deck dormitory dungeon hangar
        infirmary loft rectory turret veranda smithy""",
    "objects": """accordion anchor badge banjo bonnet bracelet broom bugle
        chisel cigar clarinet cushion dagger harp mug pencil pistol quilt
        thimble teacup""",
    "kv": ["Keep in mind that the {k} goes by the keyword {v}.",
           "The keyword written on the {k} was {v}.",
           "As for the {k}, its keyword is {v}."],
    "ask_kv": ["Which keyword is that of the {k}?",
               "What keyword goes with the {k}?"],
    "go": ["{p} trudged to the {l}.", "{p} had headed to the {l}.",
           "Presently {p} was inside the {l}.", "{p} popped over to the {l}."],
    "ask_person": ["Where is {p} staying?", "Where has {p} gone off to?"],
    "take": ["{p} snatched the {o}.", "{p} obtained the {o}."],
    "give": ["{p} delivered the {o} to {q}.", "{p} presented {q} with the {o}."],
    "ask_object": ["Where is the {o} kept?", "Where is the {o} lying?"],
    "ask_holder": ["Who owns the {o}?"],
}

# What comes before, and a sentence in lower case after it.
LEADS = ["Remember that", "They say that", "It is known that",
         "He wrote down that", "She told me that", "Let it be known that",
         "I have heard that", "It was written that", "At last",
         "As was said,", "Indeed,", "And so", "By the way,", "In truth",
         "You should know that", "For all that,", "It came to pass that"]
THINGS = ["access code", "password", "secret number", "pass phrase", "cipher",
          "combination", "number", "word", "pin", "secret", "mark", "sign",
          "entry word", "door code", "watchword", "token", "figure", "name",
          "answer", "secret code", "serial number", "label", "code word"]
TELL = ["the {n} of the {k} is {v}.", "the {n} for the {k} is {v}.",
        "the {k} opens with the {n} {v}.", "the {k} has the {n} {v}.",
        "the {n} that belongs to the {k} is {v}.",
        "the {n} of the {k} was set to {v}.",
        "the {k} is opened by {v}.", "the {k} answers to {v}.",
        "for the {k} the {n} is {v}.", "the {n} {v} belongs to the {k}.",
        "the {k} got {v} as its {n}.", "{v} is the {n} of the {k}.",
        "whoever enters the {k} must say {v}.",
        "the {n} on the {k} reads {v}.", "the {n} of the {k} is now {v}.",
        "the {k} is marked with {v}.", "the {n}, for the {k}, is {v}.",
        "anyone who needs the {k} uses the {n} {v}."]
ASK = ["What is the {n} of the {k}{t}?", "Which {n} opens the {k}{t}?",
       "What {n} does the {k} have{t}?", "What is the {n} for the {k}{t}?",
       "What was said about the {k}{t}?", "What {n} belongs to the {k}{t}?",
       "Which {n} does one need for the {k}{t}?",
       "What was the {n} of the {k}{t}?", "What opens the {k}{t}?",
       "Do you know the {n} of the {k}{t}?"]
WENT = ["went to", "walked to", "moved to", "travelled to", "returned to",
        "hurried into", "came into", "ran over to", "left for", "drove to",
        "was seen in", "is in", "stood in", "sat down in", "fled to",
        "turned up at", "was brought to", "arrived at", "set out for",
        "was sent to", "entered", "stayed at", "reached", "rode to",
        "wandered to", "crept into", "could be found in", "was called to",
        "has moved to", "is down at", "strolled to", "climbed up to",
        "goes to", "had to come to", "has been led to", "is out by",
        "has come to", "has left for", "is at", "is now in", "is still at",
        "has returned to", "came back to", "hastened to", "made for",
        "got to", "was found at", "has been to", "sat in", "marched to",
        "{y} to", "{y} into", "was {y} at", "{y}", "{y} {y} to",
        "has {y} to", "is {y} at", "{y} back to", "{y} in", "{y} off to",
        "has {y} into", "{y} {y}", "is {y} {y} to", "{y} towards",
        "made his way to", "made her way to", "took the road to",
        "stepped into", "slipped into", "retired to", "withdrew to",
        "was driven to", "was carried to", "was waiting in", "remained in",
        "lived in", "hid in", "slept in", "was working in", "is on the way to",
        "was noticed near", "appeared in", "vanished into", "escaped to",
        "sailed to", "crossed over to", "proceeded to", "retreated to",
        "rushed to", "jumped into", "crawled to", "ventured into",
        "took refuge in", "was taken to", "was invited to", "dined in",
        "spent the day in", "is resting in", "called at", "came down to",
        "was shown into", "returned from the road to", "is asleep in"]
# Half of the moves are put together when they are said: somebody did {m} and
# is {i} a place.  A model whose moves have few prepositions leaves one with
# another ("was inside the") unwritten, or writes it on another key.
MOVED = """advanced alighted ambled appeared arrived ascended ate bathed bent
    bowed breakfasted burst called camped charged circled clambered climbed
    concealed crawled crept crossed cycled danced darted dashed descended
    dined dived dozed dragged drank drifted dropped emerged escaped fainted
    fell fled flew floated galloped glided halted hastened hid hiked hobbled
    hurried idled jogged jumped knelt laboured laid landed lay leaned
    leapt limped lingered lodged loitered lunched marched met moved napped
    paced paused perched played plodded plunged prayed pushed raced
    ran rested retired retreated returned roamed rode rolled rowed rushed
    sailed sang sank sat scrambled scurried settled sheltered shuffled skated
    skipped slept slid slipped sneaked sped spoke sprang squeezed staggered
    stayed stepped stole stood stopped strayed strode strolled studied
    stumbled swam swept swung talked tarried tiptoed toiled trotted tumbled
    turned vanished ventured waded waited walked wandered watched wept
    withdrew woke worked""".split()
PLACED = ["in", "in", "in", "into", "at", "to", "to", "within", "outside",
          "behind", "beside", "beneath", "under", "underneath", "below",
          "above", "on", "on", "onto", "upon", "near", "by", "past",
          "through", "across", "along", "around", "round", "among", "off",
          "towards", "against", "before", "beyond", "about",
          "up to", "down to", "up in", "down in", "out in", "out on",
          "up on", "up at", "down at", "far from", "not far from", "close to",
          "next to", "opposite", "in front of", "at the back of",
          "at the end of", "at the door of", "on top of", "in the middle of",
          "deep in", "halfway to", "alone in", "right by", "somewhere in",
          "upstairs in", "as far as"]
SOMEHOW = ["{m} {i}", "{m} {i}", "{m} {i}", "{m} {y} {i}", "{y} {i}",
           "{m} and {m} {i}", "had {m} {i}", "has {m} {i}", "is {i}",
           "is {i}", "was {i}", "was {i}", "was {i}", "has been {i}",
           "had been {i}", "is still {i}", "is {y} {i}", "was {y} {i}",
           "was seen {i}", "was last seen {i}", "can be found {i}",
           "could be {m} {i}", "may be found {i}", "was {m} {i}",
           "must be {i}", "will be {i}", "{y} a {y} {i}", "took a {y} {i}",
           "had a {y} {i}", "found a {y} {i}", "spent the {y} {i}",
           "made a {y} {i}", "is busy {i}", "{m} {y} the {y} {i}",
           "took the {y} {i}", "has a {y} {i}"]
THEN = ["Just then", "Today", "So", "But", "Here", "Next",
        "Yesterday", "Finally", "Again", "Then", "After that", "Soon", "Later", "By now", "Once more",
        "Meanwhile", "That day", "At night", "In the end", "A little later",
        "Before long", "Without a word", "In great haste", "At noon"]
# What prose begins a sentence with, too ("Now David was ..."), tells nothing
# there: a lead that is any word says that what comes behind it decides.
ANYHOW = ["{y}"] * 6 + ["{y},"] * 3 + ["{y} {y}"] * 3
AFTER = ["", "", "", "", " again", " at once", " in a hurry", " alone",
         " with the others", " that evening", " on foot", " after dinner",
         " in the morning", " without delay", " with a smile", " at last"]
WHERE = ["Where is {x}{t}?", "In which place is {x}{t}?",
         "Where can one find {x}{t}?", "Where should I look for {x}{t}?",
         "Where would {x} be{t}?", "Where was {x} last{t}?",
         "In what room is {x}{t}?", "Where has {x} been taken{t}?",
         "What place is {x} in{t}?", "Do you know where {x} is{t}?",
         "Where did {x} come to{t}?", "Where did {x} end up{t}?",
         "Where does {x} stay{t}?", "Where {y} {x}{t}?",
         "Where {y} {x} {y}{t}?"]
TIMES = ["", "", "", " these days", " right then", " {y}", " {y}",
         " at present", " today", " just now", " at the moment",
         " in the end", " this time", " by then", ", please"]
TAKE = ["{y}", "{y}", "{y} up", "{y} up", "{y} {y}", "took", "took away",
        "ran off with", "went and got", "took hold of", "won", "lifted up", "got", "picked up", "found", "bought",
        "stole", "seized", "lifted", "packed", "fetched", "received",
        "carried off", "kept", "pocketed", "laid hands on", "was given",
        "has", "had", "carried", "brought along", "came away with", "chose"]
GIVE = ["{p} gave the {o} to {q}{a}.", "{p} handed the {o} to {q}{a}.",
        "{p} sent the {o} to {q}{a}.", "{p} sold the {o} to {q}{a}.",
        "{q} took the {o} from {p}{a}.", "{q} got the {o} from {p}{a}.",
        "{p} lent {q} the {o}{a}.", "{p} brought the {o} over to {q}{a}.",
        "{p} {y} the {o} to {q}{a}.", "{p} {y} {q} the {o}{a}.",
        "{p} {y} the {o} {y} {q}{a}.", "{p} left the {o} with {q}{a}.",
        "{p} offered {q} the {o}{a}.", "{p} threw the {o} to {q}{a}.",
        "{p} let {q} have the {o}{a}.", "{p} returned the {o} to {q}{a}.",
        "the {o} went from {p} to {q}{a}.", "{q} received the {o} from {p}{a}.",
        "{p} entrusted the {o} to {q}{a}.", "{p} granted {q} the {o}{a}.",
        "{q} accepted the {o} from {p}{a}.", "{q} won the {o} from {p}{a}.",
        "{q} bought the {o} from {p}{a}.", "{p} made over the {o} to {q}{a}.",
        "{p} showed {q} the {o} and left it there{a}."]
NOBODY = """he she they it we I you one somebody everybody nobody
    another others""".split() + [
        "the {y}", "the {y}", "a {y}", "his {y}", "her {y}", "their {y}",
        "the man", "the woman", "some of them", "the other", "his brother",
        "her sister", "a stranger", "all the people", "my father", "the king",
        "his servant", "many of them", "the two", "these men", "he who {y}",
        "the {y} of the {y}", "our {y}", "whoever"]
HOLD = ["Who has the {o}{t}?", "Who carries the {o}{t}?",
        "Who took the {o}{t}?", "Who keeps the {o}{t}?",
        "Which person has the {o}{t}?", "With whom is the {o}{t}?",
        "Who {y} the {o}{t}?", "Who is {y} the {o}{t}?",
        "Who was last {y} the {o}{t}?", "Who got the {o}{t}?"]


def upper(text):
    return text if text[0] == "{" else text[0].upper() + text[1:]


def product(templates, **slots):
    for name, values in slots.items():
        templates = [t.replace("{" + name + "}", v) for t in templates
                     for v in (values if "{" + name + "}" in t else [""])]
    return templates


def led(sentences, leads):
    return [upper(s) for s in sentences] * 4 + [
        f"{lead} {s}" for lead in leads for s in sentences]


moves = product(["{p} {w} the {l}{a}."],
                w=WENT + SOMEHOW * 3, a=AFTER)
TRAIN.update(
    kv=led(TELL, LEADS), ask_kv=product(ASK, t=TIMES),
    go=led(moves, THEN + LEADS[-6:] + ANYHOW),
    ask_person=product([t.replace("{x}", "{p}") for t in WHERE], t=TIMES),
    take=led(product(["{p} {w} the {o}{a}."], w=TAKE, a=AFTER), THEN),
    give=led(product(GIVE, a=AFTER), THEN),
    ask_object=product([t.replace("{x}", "the {o}") for t in WHERE], t=TIMES),
    ask_holder=product(HOLD, t=TIMES))
TRAIN["things"] = THINGS
TRAIN["nobody"] = NOBODY
TRAIN["m"], TRAIN["i"] = MOVED, PLACED
