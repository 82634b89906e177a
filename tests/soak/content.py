# SPDX-License-Identifier: Apache-2.0
"""What is read and asked in a soak: texts and questions that follow from
their numbers alone, so that every program knows them."""
import random

SIZES = (700, 9_000, 60_000, 200_000, 500_000)  # bytes, which are tokens
QUESTIONS = ("who saw land", "how many men were there")
LENGTHS = {1: 8, 2: 120}  # of an answer's tokens, by its seed
WORDS = "the whale and sea of grey men in ships who saw no land".split()


def text_of(number):
    chance = random.Random(number)
    out = ""
    while len(out) < SIZES[number]:
        out += " ".join(chance.choices(WORDS, k=500)) + " "
    return out[:SIZES[number]].encode()


def sampling(seed, length):
    """As fields of the protocol: drawn tokens differ from place to place
    where the likeliest may not."""
    return {"max_tokens": length, "temperature": 1.0, "min_p": 0.01,
            "seed": seed, "ignore_eos": True}


def flags(seed, length):
    """The same for longwave-run."""
    return ["--generate", str(length), "--ignore-eos", "--temperature", "1",
            "--min-p", "0.01", "--seed", str(seed)]
