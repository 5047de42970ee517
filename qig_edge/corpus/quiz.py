"""Small questions with an answer: animals, numbers, days, words, reasons, instructions."""

import random
import re

from qig_edge.corpus import know
from qig_edge.corpus.facts import pick
from qig_edge.corpus.spin import spin
from qig_edge.corpus.topics import TOPICS

Turns = list[tuple[str, str]]

MORE = (
    "[Tell me more.|Tell me more|More, please.|Can you tell me more?|What else?|What else do you know?|"
    "Anything else?|Go on.]"
)
ANOTHER = "[Another one.|Another one, please.|One more.|One more, please!|Can I have another one?|And another?]"

# Too plain to ask a sentence for.
PLAIN = frozenset(
    (
        "that",
        "with",
        "from",
        "their",
        "them",
        "they",
        "have",
        "when",
        "some",
        "many",
        "most",
        "more",
        "into",
        "than",
        "this",
        "which",
        "called",
        "other",
        "others",
        "also",
    )
)
# The questions of know.YESNO whose second sentence says why.
WHY_NOT = ("elephants fly", "spider", "whale", "moon", "stone", "bicycle", "snakes", "owls sleep")


def _an(phrase: str) -> str:
    return re.sub(r"^an? ", "", phrase)


def sentence(rng: random.Random) -> Turns:
    """Make a sentence with a word; repeat a sentence; is it one of a kind; which does not belong."""
    kind = rng.choice(["with", "with", "repeat", "is", "is", "odd", "odd"])
    if kind == "with":
        key = rng.choice(list(TOPICS))
        line = rng.choice([s for s in TOPICS[key]["lines"] if not s.startswith(("They", "It", "You"))])
        ws = [w for w in re.findall(r"[a-z]{4,}", line) if w not in PLAIN]
        if ws:
            w = rng.choice(ws)
            ask = (
                '[Make a sentence with the word "{w}."|Use the word "{w}" in a sentence.|Write a sentence with "{w}."'
                '|Can you use "{w}" in a sentence?]'
            )
            return [(spin(rng, ask, {"w": w}), line)]
        kind = "repeat"
    if kind == "repeat":
        line = rng.choice(TOPICS[rng.choice(list(TOPICS))]["lines"])
        return [(spin(rng, "[Repeat after me:|Say this:|Please repeat:|Repeat this sentence:] ") + " " + line, line)]
    kinds = {
        "fruits": "fruit",
        "vegetables": "vegetable",
        "colors": "color",
        "tools": "tool",
        "seasons": "season",
        "months": "month",
        "shapes": "shape",
        "sports": "sport",
        "planets": "planet",
    }
    lists = {c: [x.strip() for x in m.split(",")] for c, m in know.CATEGORIES if c in kinds}
    a, b = rng.sample(sorted(lists), 2)
    if kind == "odd":
        three, odd = rng.sample(lists[a], 3), rng.choice(lists[b])
        if odd in lists[a] or "oranges" in three + [odd] or "orange" in three + [odd]:
            return sentence(rng)
        four = three + [odd]
        rng.shuffle(four)
        cap = odd[0].upper() + odd[1:]
        be = "is a " + kinds[b] if b in ("colors", "seasons", "months", "planets", "sports") else "are " + b
        return [
            (
                spin(
                    rng,
                    "[Which word does not belong|Which one is different|Which one does not fit]: "
                    + ", ".join(four[:-1])
                    + f", or {four[-1]}?",
                ),
                spin(rng, f"{cap}. The others are {a}, [but|and] {odd} {be}."),
            )
        ]
    item = rng.choice(lists[a])
    one = (
        item[:-1]
        if item.endswith("s") and a in ("fruits", "vegetables", "tools", "shapes") and item not in ("peas",)
        else item
    )
    one = {"cherrie": "cherry", "strawberrie": "strawberry", "peache": "peach", "potatoe": "potato"}.get(one, one)
    name = (
        f"a {one}"
        if a in ("fruits", "vegetables", "tools", "shapes") and one not in ("cabbage", "spinach", "broccoli", "peas")
        else one
    )
    if one == "peas" or "orange" in one:
        return sentence(rng)
    if rng.random() < 0.55:
        return [(spin(rng, f"Is {name} a {kinds[a]}?"), spin(rng, f"Yes, {name} is a {kinds[a]}."))]
    return [(spin(rng, f"Is {name} a {kinds[b]}?"), spin(rng, f"No, {name} is not a {kinds[b]}. It is a {kinds[a]}."))]


def animal(rng: random.Random) -> Turns:
    """Sounds, homes, babies, food and legs of animals, with follow-ups about a second animal."""
    rows = know.ANIMALS
    q = rng.choice(["sound", "home", "baby", "food", "legs"])
    pool = (
        [r for r in rows if r[3]]
        if q == "sound"
        else [r for r in rows if not r[5].startswith("baby")]
        if q == "baby"
        else rows
    )
    if q == "legs":
        pool = [r for r in rows if r[0] not in ("monkey", "kangaroo")]
    one, two = rng.sample(pool, 2)

    def ask(r: list[str]) -> str:
        n, p = r[0], r[1]
        return {
            "sound": f"[What sound does a {n} make?|What does a {n} say?|How does a {n} sound?|What noise does "
            f"a {n} make?]",
            "home": f"[Where do {p} live?|Where does a {n} live?|Where can I find {p}?|What is the home of a {n}?]",
            "baby": f"[What is a baby {n} called?|What do you call a baby {n}?|What is the name for a baby {n}?|"
            f"What are baby {p} called?]",
            "food": f"[What do {p} eat?|What does a {n} eat?|What is the food of {p}?|What do {p} like to eat?]",
            "legs": f"[How many legs does a {n} have?|How many legs do {p} have?|Does a {n} have legs?]",
        }[q]

    def say(r: list[str]) -> str:
        n, p, _, sound, home, baby, babies, food, legs, can = r
        legs_s = f"[A {n} has|{p} have] {legs} legs."
        return {
            "sound": f'[A {n} says "{sound}."|The sound of a {n} is "{sound}."|{p} say "{sound}."]',
            "home": f"[{p} live {home}.|Most {p} live {home}.]"
            if n not in ("lion", "kangaroo", "giraffe", "whale", "fish")
            else f"{p} live {home}.",
            "baby": f"[A baby {n} is called a {baby}.|It is called a {baby}.|We call a baby {n} a {baby}.]",
            "food": f"[{p} eat {food}.|{p} mostly eat {food}.|A {n} eats {food}.]",
            "legs": legs_s,
        }[q]

    turns = [(spin(rng, ask(one)), spin(rng, say(one)))]
    if rng.random() < 0.45:
        turns.append(
            (
                spin(rng, f"[And a {two[0]}?|What about a {two[0]}?|And {two[1]}?|How about a {two[0]}?]"),
                spin(rng, say(two).replace("It is called", f"A baby {two[0]} is called")),
            )
        )
    elif rng.random() < 0.3 and one[0] in TOPICS:
        turns.append(_more(rng, one[0]))
    return turns


def _more(rng: random.Random, key: str, skip: tuple[int, ...] = ()) -> tuple[str, str]:
    lines, _ = pick(rng, key, 2, skip or (99,))
    return spin(rng, MORE), " ".join(lines)


def about(rng: random.Random) -> Turns:
    """Tell me about a topic, and then more of it."""
    key = rng.choice(list(TOPICS))
    name, phrase = TOPICS[key]["name"], TOPICS[key]["phrase"]
    lines, used = pick(rng, key, rng.choice([2, 2, 3, 3]))
    be = (
        "is"
        if phrase == name and not name.endswith("s") or name == "the Earth" or name == phrase == "the moon"
        else "are"
    )
    qs = [
        f"Tell me about {name}.",
        f"What do you know about {name}?",
        f"Tell me something about {name}.",
        f"Can you tell me about {name}?",
        f"I want to know about {name}.",
        f"Say something about {name}.",
    ]
    if (be == "is" and key not in ("teeth", "hands", "eyes")) or phrase.startswith(("a ", "an ")):
        qs.append(f"What is {phrase}?")
    turns = [(rng.choice(qs), " ".join(lines))]
    rest = len(TOPICS[key]["lines"]) - len(used)
    if rest >= 2 and rng.random() < 0.4:
        turns.append(_more(rng, key, used))
    return turns


def opposite(rng: random.Random) -> Turns:
    """Opposites."""
    out: Turns = []
    for i, row in enumerate(rng.sample(know.OPPOSITES, rng.choice([1, 1, 2, 3]))):
        a, b = row if rng.random() < 0.6 or row[1] == "light" else row[::-1]
        if a == "light":
            a, b = b, a
        if "light" in (a, b) and "heavy" not in (a, b) and "dark" not in (a, b):
            continue
        q = (
            f'[What is the opposite of {a}?|What\'s the opposite of "{a}"?|Tell me the opposite of {a}.|Opposite '
            f"of {a}?|Which word is the opposite of {a}?]"
            if i == 0
            else f"[And {a}?|And the opposite of {a}?|What about {a}?]"
        )
        out.append(
            (spin(rng, q), spin(rng, f'[The opposite of {a} is {b}.|It is {b}.|{b}.|The opposite of "{a}" is "{b}."]'))
        )
    return out or opposite(rng)


def color(rng: random.Random) -> Turns:
    """Colors of things."""
    out: Turns = []
    for i, (thing, col, when) in enumerate(rng.sample(know.COLORS, rng.choice([1, 1, 2]))):
        q = (
            f"[What color is {thing}?|What colour is {thing}?|Which color does {thing} have?|Tell me the color "
            f"of {thing}.]"
            if i == 0
            else f"[And {thing}?|What about {thing}?]"
        )
        out.append(
            (
                spin(rng, q),
                spin(
                    rng,
                    f"{thing} is {col}"
                    + (f"[ {when}|, {when}]" if when.startswith("to") else f" [{when}|]" if when else "")
                    + ".",
                ),
            )
        )
    return out


def use(rng: random.Random) -> Turns:
    """What things are for."""
    out: Turns = []
    for i, (thing, what, more) in enumerate(rng.sample(know.USES, rng.choice([1, 1, 2]))):
        are = thing in ("scissors", "glasses")
        q = (
            f"[What do people use {thing} for?|What {'are' if are else 'is'} {thing} for?|Why do people "
            f"need {thing}?|What can I do with {thing}?|What do we need {thing} for?]"
            if i == 0
            else f"[And {thing}?|What about {thing}?]"
        )
        you = what.replace("themselves", "yourself").replace("their ", "your ")
        a = (
            f"[People use {thing} {what}.|We "
            f"use {thing} {what.replace('themselves', 'ourselves').replace('their ', 'our ')}.|You "
            f"use {thing} {you}.]"
        )
        out.append((spin(rng, q), spin(rng, a + (f"[ {more}|]" if more else ""))))
    return out


def name_three(rng: random.Random) -> Turns:
    """Name some X, and some more."""
    cat, members = rng.choice(know.CATEGORIES)
    items = [x.strip() for x in members.split(",")]
    n = rng.choice([2, 3, 3, 3, 4, 5])
    n = min(n, len(items) - (0 if cat == "seasons" else 1))
    if cat in ("seasons",):
        n = 4
    got = items if cat == "seasons" else rng.sample(items, n)
    if cat in ("months", "days of the week"):
        got = sorted(got, key=items.index)

    def join(xs: list[str]) -> str:
        return (
            xs[0]
            if len(xs) == 1
            else f"{xs[0]} and {xs[1]}"
            if len(xs) == 2
            else ", ".join(xs[:-1]) + ", and " + xs[-1]
        )

    w = know.NUMBERS[n]
    the = "the " if cat == "seasons" else ""
    turns = [
        (
            spin(
                rng,
                f"[Name {the}{w} {cat}.|Can you name {the}{w} {cat}?|Tell me {the}{w} {cat}.|Give "
                f"me {the}{w} {cat}.|List {the}{w} {cat}.]",
            ),
            spin(
                rng,
                f"[{join(got)}.|{'The ' + w + ' ' + cat + ' are' if the else w + ' ' + cat + ' are'} {join(got)}.|"
                f"Here are {the}{w} {cat}: {join(got)}.]",
            ),
        )
    ]
    rest = [x for x in items if x not in got]
    if rest and rng.random() < 0.35:
        extra = rng.choice(rest)
        turns.append(
            (
                spin(rng, ANOTHER),
                spin(
                    rng,
                    f"[{extra}.|Another one is {extra}.|{extra}, for example.]"
                    if cat in ("colors", "months", "days of the week", "planets", "sports", "drinks")
                    else f"[{extra}.|{extra}, for example.]",
                ),
            )
        )
    return turns


def rhyme(rng: random.Random) -> Turns:
    """Words that rhyme."""
    row = rng.choice(know.RHYMES)
    a, *rest = rng.sample(row, len(row))
    k = min(len(rest), rng.choice([1, 1, 2]))
    ans = " and ".join(rest[:k])
    turns = [
        (
            spin(
                rng,
                f"[What rhymes with {a}?|Which word rhymes with {a}?|Tell me a word that rhymes with {a}.|Find a "
                f"rhyme for {a}.|Give me a rhyme for {a}.]",
            ),
            spin(rng, f"[{ans} {'rhymes' if k == 1 else 'rhyme'} with {a}.|{ans}.]"),
        )
    ]
    if len(rest) > k and rng.random() < 0.4:
        turns.append((spin(rng, ANOTHER), spin(rng, f"[{rest[k]} also rhymes with {a}.|{rest[k]}.]")))
    return turns


def define(rng: random.Random) -> Turns:
    """Simple definitions."""
    word, what, more = rng.choice(know.DEFINITIONS)
    bare = _an(word)
    return [
        (
            spin(
                rng,
                f'[What is {word}?|What does the word "{bare}" mean?|What does "{bare}" mean?|Explain '
                f"what {word} is.|Can you tell me what {word} is?|What's {word}?]",
            ),
            spin(rng, f"{word} is {what}." + (f"[ {more}|]" if more else "")),
        )
    ]


def why(rng: random.Random) -> Turns:
    """Simple why-questions; the follow-up asks for more."""
    q, a, more = rng.choice(know.WHYS)
    ask = f"Why {q}?"
    if rng.random() < 0.35:
        return [(ask, a), (spin(rng, "[Tell me more.|Can you tell me more?|More, please.|What else?]"), more)]
    if rng.random() < 0.15:
        return [(ask, a), (spin(rng, "[Is that all?|Anything else?]"), more)]
    return [(ask, a if rng.random() < 0.4 else f"{a} {more}")]


def howto(rng: random.Random) -> Turns:
    """Simple instructions."""
    what, steps = rng.choice(know.HOWTOS)
    you = what.replace("my ", "your ")
    q = (
        f"[How do I {what}?|How can I {what}?|How do you {you}?|Tell me how to {what}.|Can you tell me how "
        f"to {what}?|What is a good way to {what}?|Please explain how to {what}.]"
    )
    lead = rng.choice(["", "", "", "It is easy. ", "Here is one way. "])
    return [(spin(rng, q), lead + steps)]


def yesno(rng: random.Random) -> Turns:
    """Yes or no questions, sometimes followed by "Why?" where the table has a reason."""
    q, a, more = rng.choice(know.YESNO)
    if more and a.startswith("No") and any(w in q for w in WHY_NOT) and rng.random() < 0.5:
        return [(q + "?", a), (spin(rng, "[Why not?|Why?|How come?]"), more)]
    return [(q + "?", a if not more or rng.random() < 0.4 else f"{a} {more}")]


def compare(rng: random.Random) -> Turns:
    """Which is bigger, which is faster."""
    if rng.random() < 0.6:
        i, j = rng.sample(range(len(know.BY_SIZE)), 2)
        a, b = know.BY_SIZE[i], know.BY_SIZE[j]
        big = rng.random() < 0.6
        w, o = (a, b) if (i > j) == big else (b, a)
        c = "bigger" if big else "smaller"
        a, b = f"a {a}", f"a {b}"
        return [
            (
                spin(rng, f"[Which is {c}, {a} or {b}?|What is {c}, {a} or {b}?|Is {a} or {b} {c}?]"),
                spin(rng, f"[A {w} is {c} than a {o}.|The {w} is {c}.|A {w} is {c}.]"),
            )
        ]
    w, o = rng.choice(know.FASTER)
    fast = rng.random() < 0.6
    c = "faster" if fast else "slower"
    if not fast:
        w, o = o, w
    a, b = rng.sample([w, o], 2)
    return [
        (
            spin(rng, f"[Which is {c}, a {a} or a {b}?|What is {c}, a {a} or a {b}?|Is a {a} or a {b} {c}?]"),
            spin(rng, f"[A {w} is {c} than a {o}.|The {w} is {c}.|A {w} is {c}.]"),
        )
    ]


def finish(rng: random.Random) -> Turns:
    """Finish a sentence."""
    start, end = rng.choice(know.FINISH)
    full = f"{start} {end}."
    start = start.rstrip(",")
    return [
        (
            spin(
                rng,
                f"[Finish the sentence: {start} ...|Complete this sentence: {start} ...|{start} ...|Finish "
                f"this: {start} ...|Please finish: {start} ...]",
            ),
            spin(rng, f"[{full}|{full}|{end}.]"),
        )
    ]


def unknown(rng: random.Random) -> Turns:
    """Things the model cannot know or do, and says so."""
    q, a = rng.choice(know.UNKNOWN)
    if q.startswith("What is 4839"):
        q = f"What is {rng.randint(1000, 9999)} times {rng.randint(1000, 9999)}"
    lead = rng.choice(["", "", "", "", "I am sorry, but ", "Sorry, "])
    if lead and a.startswith(("I ", "That")):
        a = lead + (a if a.startswith("I ") else a[0].lower() + a[1:])
    return [(q + "?", a)]
