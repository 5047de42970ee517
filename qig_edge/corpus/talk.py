"""Conversations of one to four user turns, glued from small exchanges."""

import random
import re
from collections.abc import Callable

from qig_edge.corpus import words
from qig_edge.corpus.chat import ACTS, JOKES, POEMS, SMALL, THANKS
from qig_edge.corpus.counting import calendar, number
from qig_edge.corpus.minis import mini
from qig_edge.corpus.quiz import (
    Turns,
    about,
    animal,
    color,
    compare,
    define,
    finish,
    howto,
    name_three,
    opposite,
    rhyme,
    sentence,
    unknown,
    use,
    why,
    yesno,
)
from qig_edge.corpus.spin import spin
from qig_edge.corpus.tales import tale

GREET = "[Hello|Hi|Hey|Good morning|Good evening|Hi there|Hello there|Good afternoon]"
GREET_BACK = (
    "[Hello!|Hi!|Hello there!|Hi there!] [How can I help you?|What would you like to talk about?|It is nice to "
    "meet you.|What can I do for you?"
    "|Nice to hear from you.|Would you like to hear a story?|I am glad you are here.|How are you today?]"
)


def small(rng: random.Random) -> Turns:
    """A greeting-level exchange."""
    u, a = rng.choice(SMALL)
    s = {
        "pet": rng.choice(["cat", "dog", "kitten", "puppy", "rabbit", "hamster"]),
        "joke": rng.choice(JOKES),
        "poem": rng.choice(POEMS),
        "thing": rng.choice(["hat", "book", "ball", "key", "pencil", "glove", "toy car", "shoe"]),
        "act": rng.choice(ACTS[:8]),
        "act2": rng.choice(ACTS[8:]),
        "name": rng.choice(words.GIRLS + words.BOYS),
    }
    answer = s["poem"] if a == "{poem}" else a
    if a == "{poem}":
        return [(spin(rng, u, s), "\n".join(spin(rng, line) for line in answer.split("\n")))]
    return [(spin(rng, u, s), spin(rng, a, s))]


def identity(rng: random.Random) -> Turns:
    """Who the model is, what it can do, what it is not."""
    out: Turns = []
    for u, a in rng.sample(SMALL[:11], rng.choice([1, 1, 2, 2, 3])):
        out.append((spin(rng, u), spin(rng, a)))
    return out


def story(rng: random.Random) -> Turns:
    """A request for a story, long or short, about something or about anything."""
    x = rng.choice([*words.ANIMALS, "girl", "boy"])
    y = rng.choice([k for k in [*words.ANIMALS, "owl", "goose", "goat", "crow", "girl", "boy"] if k != x])
    ask = (
        "[Tell me a story|Can you tell me a story|Please tell me a story|Write a story|I want a story|Make up "
        "a story|Could you tell me a story|I would like a story|Tell a story]"
    )
    short = (
        "[Tell me a short story|Write a very short story|Can you tell me a short story|Tell me a little "
        "story|A short story, please,|Tell me a tiny story]"
    )
    kind = rng.random()
    if kind < 0.3:
        if rng.random() < 0.6:
            text, _, _ = mini(rng, x, y)
            about = f" about a {x} and a {y}"
        else:
            text, x, y = mini(rng, x)
            about = f" about a {x}"
            if y and rng.random() < 0.7:
                about += f" and a {y}"
        end = "."
        turns = [(spin(rng, short + about + end), text)]
        if rng.random() < 0.25:
            text2, _, _ = mini(rng)
            turns.append(
                (
                    spin(
                        rng,
                        "[Another one.|Another one, please.|One more!|Tell me another story.|Another story, please.]",
                    ),
                    text2,
                )
            )
        return turns
    if kind < 0.62:
        t = tale(rng, hero=x, friend=y, title=False)
        return [(spin(rng, f"{ask} about a {x} and a {y}."), t["text"])]
    if kind < 0.78:
        t = tale(rng, hero=x, title=False)
        who = rng.choice([f"a {x}", f"a {x}", f"a little {x}", f"a {x} named " + t["slots"]["h"]])
        return [(spin(rng, f"{ask} about {who}."), t["text"])]
    if kind < 0.9:
        t = tale(rng, title=False)
        hero = t["slots"]["hkind"]
        topic = t["topic"]
        about = topic if hero in topic else rng.choice([topic, f"a {hero} and {topic}"])
        return [(spin(rng, f"{ask} about {about}."), t["text"])]
    t = tale(rng, title=False)
    turns = [(spin(rng, ask + "[.|!|, please.]"), t["text"])]
    if rng.random() < 0.4:
        s = t["slots"]
        turns.append(
            (
                spin(
                    rng,
                    "[Who was the story about?|What was the name of the hero?|Who was in the story?|Who is the "
                    "story about?]",
                ),
                spin(rng, f"The story was about {s['h']}[, {s['descdef']}|]." if s["descdef"] else ""),
            )
        )
    return turns


def _name_memory(rng: random.Random) -> Turns:
    name = rng.choice(words.GIRLS + words.BOYS)
    return [
        (
            spin(rng, f"[My name is {name}.|I am {name}.|Hi, I am {name}.|Hello, my name is {name}.]"),
            spin(rng, f"[Nice to meet you, {name}!|Hello, {name}!] [I am qig-nano.|How are you?|]"),
        ),
        (
            spin(rng, "[What is my name?|Do you know my name?|Do you remember my name?|Who am I?]"),
            spin(rng, f"[Your name is {name}.|You are {name}.|You told me that your name is {name}.]"),
        ),
    ]


def _likes(rng: random.Random) -> Turns:
    thing, many = rng.choice(
        [
            ("apples", 1),
            ("bread", 0),
            ("soup", 0),
            ("pancakes", 1),
            ("berries", 1),
            ("rice", 0),
            ("dogs", 1),
            ("cats", 1),
            ("music", 0),
            ("books", 1),
            ("rain", 0),
            ("snow", 0),
            ("summer", 0),
            ("trains", 1),
            ("stars", 1),
            ("dancing", 0),
            ("swimming", 0),
            ("drawing", 0),
        ]
    )
    pron = "them" if many else "it"
    be = "are" if many else "is"
    what = rng.choice(
        [
            "What do you like about " + pron + "?",
            "Why do you like " + pron + "?",
            "I like to hear about that.",
            "Tell me more about that.",
        ]
    )
    turns = [
        (
            spin(
                rng,
                f"[I like {thing}.|I love {thing}!|I really like {thing}.|I think that {thing} {be} "
                f"great.|{thing} {be} my favorite thing.]",
            ),
            spin(rng, f"[How nice!|{thing} {be} nice.|That is good to know.|Many people like {pron}.] {what}"),
        )
    ]
    if rng.random() < 0.4:
        turns.append(
            (
                spin(rng, "[What do I like?|Do you remember what I like?]"),
                spin(rng, f"[You like {thing}.|You told me that you like {thing}.]"),
            )
        )
    return turns


EXCHANGES: list[tuple[Callable[[random.Random], Turns], float]] = [
    (small, 5),
    (story, 6),
    (animal, 3),
    (about, 5),
    (opposite, 1.5),
    (color, 1.2),
    (use, 1.8),
    (name_three, 3),
    (number, 3),
    (calendar, 1.5),
    (rhyme, 1),
    (define, 2),
    (why, 2),
    (howto, 1.6),
    (yesno, 1.6),
    (compare, 1.2),
    (finish, 1),
    (unknown, 1.6),
    (_name_memory, 1),
    (_likes, 1.3),
    (identity, 3),
    (sentence, 3),
]
_FUNCS, _WEIGHTS = [f for f, _ in EXCHANGES], [w for _, w in EXCHANGES]
ONE_SENTENCE = [why, define, about, use, animal, compare, yesno, color]


def messy(rng: random.Random, text: str) -> str:
    """A user's typing: sometimes all lower case, sometimes without the mark at the end."""
    if text.startswith(("Can ", "Could ")) and text.endswith("."):
        text = text[:-1] + "?"
    r = rng.random()
    if r < 0.1:
        text = text.lower().rstrip(".?!")
    elif r < 0.16:
        text = text.lower()
    elif r < 0.24 and not text.endswith("..."):
        text = text.rstrip(".?!")
    elif r < 0.28 and text.endswith("."):
        text = (
            "Please " + text[0].lower() + text[1:]
            if text.startswith(("Tell", "Name", "Count", "Write", "List", "Give"))
            else text
        )
    return text


def first_sentence(text: str) -> str:
    """The text up to its first full stop."""
    m = re.match(r"(.+?[.!?]\"?)(?= |$)", text, re.S)
    return m[1] if m else text


def talk(rng: random.Random) -> dict:
    """One record {"messages", "source"}."""
    turns: Turns = []
    system = ""
    r = rng.random()
    if r < 0.03:
        system = rng.choice(
            ["Answer in one sentence.", "Give short answers of one sentence.", "Reply with one sentence only."]
        )
        for f in rng.sample(ONE_SENTENCE, rng.choice([1, 2])):
            turns += [(u, first_sentence(a)) for u, a in f(rng)[:1]]
    elif r < 0.045:
        system = rng.choice(["You are a storyteller.", "You are a kind storyteller.", "You tell stories for children."])
        turns = story(rng)
    else:
        if r < 0.09:
            system = rng.choice(
                [
                    "You are a helpful assistant.",
                    "You are a friendly assistant.",
                    "You are qig-nano, a small language model.",
                    "You are a helpful assistant. Use simple words.",
                ]
            )
        n = rng.choices([1, 2, 3], [0.62, 0.28, 0.1])[0]
        if rng.random() < 0.14:
            turns.append((spin(rng, GREET + "[!|.|]"), spin(rng, GREET_BACK)))
        for make in dict.fromkeys(rng.choices(_FUNCS, _WEIGHTS, k=n)):
            turns += make(rng)
            if make is story and n > 1:
                break
        turns = turns[:4]
        if len(turns) < 4 and rng.random() < 0.16:
            u, a = rng.choice(THANKS[:2] if rng.random() < 0.7 else THANKS)
            turns.append((spin(rng, u), spin(rng, a)))
    if rng.random() < 0.08 and not system:
        u, a = turns[0]
        if not u.startswith(("Hi", "Hello", "Hey", "Good")):
            hail = rng.choice(["Hi!", "Hello!", "Hi.", "Hello.", "Hey!"])
            turns[0] = (f"{hail} {u}", a)
    messages = [{"role": "system", "content": system}] if system else []
    for u, a in turns:
        messages += [{"role": "user", "content": messy(rng, u)}, {"role": "assistant", "content": a}]
    return {"messages": messages, "source": "qig-talk"}
