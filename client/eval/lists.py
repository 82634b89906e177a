# SPDX-License-Identifier: Apache-2.0
"""Names, things and phrasings of the evaluation; training must share none.

In a template {k} is a key (an adjective and a noun), {v} a value, {p} and {q}
persons, {l} a place and {o} an object."""

EVAL = {
    "things": ["code"],
    "names": """Adam Alice Arthur Beatrice Cecil Charlotte Cyril Dorothy
        Edmund Eleanor Frederick Gertrude Gilbert Harriet Hector Hubert Iris
        Jonathan Josephine Lionel Mildred Miriam Nigel Nora Oliver Patrick
        Priscilla Quentin Rachel Reginald Rupert Sophia Stephen Tabitha
        Tobias Veronica Wallace Wendy""",
    "adjectives": """secret shady sharp shiny short silent silver simple sleepy
        small smooth soft southern square stone strange strong sunken tall
        tiny upper velvet violet warm western white wide wild winter wooden
        yellow young""",
    "nouns": """locker machine mansion manor mine monument mountain museum nest
        observatory oven parcel pavilion pier pool prison pump pyramid safe
        shed ship shrine stall store studio tank tent trunk tunnel vault
        wagon warehouse well workshop yard""",
    "places": """cellar attic balcony chapel corridor courtyard garage
        greenhouse gymnasium laboratory lobby nursery parlour playground porch
        prison studio terrace workshop zoo""",
    "objects": """blanket camera crown diary drum fan feather flute globe
        helmet jar kettle ladder lantern necklace parcel pillow puzzle
        telescope teapot""",
    "kv": ["The key code of the {k} is {v}.",
           "The code that opens the {k} is {v}.",
           "Note that the code of the {k} is {v}."],
    "ask_kv": ["What is the code of the {k}?",
               "What is the code for the {k}?"],
    "go": ["{p} journeyed to the {l}.", "{p} has gone to the {l}.",
           "Now {p} is at the {l}.", "{p} went back to the {l}."],
    "ask_person": ["Where is {p} now?", "Where did {p} go?"],
    "take": ["{p} grabbed the {o}.", "{p} took up the {o}."],
    "give": ["{p} passed the {o} to {q}.", "{p} gave {q} the {o}."],
    "ask_object": ["Where is the {o} now?", "In what place is the {o}?"],
    "ask_holder": ["Who is holding the {o}?"],
}
