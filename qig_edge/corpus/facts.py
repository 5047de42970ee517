"""Short plain paragraphs about one topic, each of three to six true sentences."""

import random

from qig_edge.corpus import know
from qig_edge.corpus.spin import tidy
from qig_edge.corpus.topics import TOPICS


def pick(rng: random.Random, key: str, n: int, skip: tuple[int, ...] = ()) -> tuple[list[str], tuple[int, ...]]:
    """n sentences of a topic in their order, and their indices; the introducing one first unless it is skipped."""
    lines = TOPICS[key]["lines"]
    free = [i for i in range(1, len(lines)) if i not in skip]
    lead = [0] if 0 not in skip else []
    chosen = lead + sorted(rng.sample(free, min(n - len(lead), len(free))))
    return [lines[i] for i in chosen], tuple(chosen)


LEADS = (
    "Let us talk about {}.",
    "Here is something about {}.",
    "Today we learn about {}.",
    "What do we know about {}?",
    "Have you ever thought about {}?",
    "There is a lot to say about {}.",
    "Here are some facts about {}.",
)
CLOSERS = (
    "There is much more to learn about {}.",
    "What else do you know about {}?",
    "That is a little about {}.",
    "You can find out more about {} in a library.",
    "Now you know something about {}.",
)


def table(rng: random.Random) -> str:
    """A paragraph of like sentences about several things."""
    kind = rng.choice(
        ["animals", "animal", "sounds", "colors", "opposites", "uses", "uses", "kinds", "kinds", "words", "calendar"]
    )
    out: list[str] = []
    if kind == "animals":
        what = rng.choice(["home", "food", "baby"])
        for n, p, _, _, home, baby, _, food, _, _ in rng.sample(know.ANIMALS, rng.randint(3, 5)):
            if what == "baby" and baby.startswith("baby"):
                continue
            out.append(
                {"home": f"{p} live {home}.", "food": f"{p} eat {food}.", "baby": f"A baby {n} is called a {baby}."}[
                    what
                ]
            )
    elif kind == "animal":
        n, p, _, sound, home, baby, _, food, legs, can = rng.choice(know.ANIMALS)
        facts = [f"They eat {food}.", f"They can {can}."]
        if n not in ("monkey", "kangaroo"):
            facts.append(f"They have {legs} legs.")
        if not baby.startswith("baby"):
            facts.append(f"A baby {n} is called a {baby}.")
        if sound:
            facts.append(f'They say "{sound}."')
        out = [f"{p} live {home}.", *rng.sample(facts, rng.randint(2, len(facts)))]
    elif kind == "sounds":
        out = [f'A {r[0]} says "{r[3]}."' for r in rng.sample([r for r in know.ANIMALS if r[3]], rng.randint(3, 5))]
    elif kind == "colors":
        rows = rng.sample(know.COLORS, rng.choice([6, 8]))
        out = [
            f"{t} is {c}, and {t2} is {c2}." if i % 2 else f"{t} is {c}."
            for i, ((t, c, _), (t2, c2, _)) in enumerate(zip(rows[::2], rows[1::2], strict=False))
        ]
    elif kind == "opposites":
        out = [f"The opposite of {a} is {b}." for a, b in rng.sample(know.OPPOSITES, rng.randint(3, 5))]
    elif kind == "uses":
        out = [f"People use {t} {w}." for t, w, _ in rng.sample(know.USES, rng.randint(3, 5))]
    elif kind == "kinds":
        for c, m in rng.sample(know.CATEGORIES, rng.randint(2, 4)):
            a, b, d = rng.sample([x.strip() for x in m.split(",")], 3)
            out.append(rng.choice([f"Some {c} are {a}, {b}, and {d}.", f"{a}, {b}, and {d} are {c}."]))
    elif kind == "words":
        for w, t, more in rng.sample(know.DEFINITIONS[:-1], rng.randint(3, 4)):
            out.append(f"{w} is {t}." + (f" {more}" if more and rng.random() < 0.5 else ""))
    else:
        for i in rng.sample(range(11), rng.randint(4, 6)):
            out.append(
                rng.choice(
                    [
                        f"{know.MONTHS[i + 1]} comes after {know.MONTHS[i]}.",
                        f"{know.MONTHS[i]} comes before {know.MONTHS[i + 1]}.",
                        f"After {know.DAYS[i % 7]} comes {know.DAYS[(i + 1) % 7]}.",
                        f"{know.NUMBERS[i]} plus one is {know.NUMBERS[i + 1]}.",
                    ]
                )
            )
    return tidy(" ".join(out))


def fact(rng: random.Random) -> dict:
    """One record {"text", "source"}."""
    if rng.random() < 0.35:
        return {"text": table(rng), "source": "qig-facts"}
    key = rng.choice(list(TOPICS))
    lines, _ = pick(rng, key, rng.choice([4, 4, 5, 5, 6]))
    if rng.random() < 0.8:
        # The order of the later sentences is free: none leans on the one before it.
        head, tail = lines[:1], lines[1:]
        if key not in ("seed", "rain", "butterfly", "frog", "teeth", "bread"):
            rng.shuffle(tail)
        lines = head + tail
    text = " ".join(lines)
    name = TOPICS[key]["name"]
    r = rng.random()
    if r < 0.35:
        text = rng.choice(LEADS).format(name) + " " + text
    if 0.2 < r < 0.55:
        text += " " + rng.choice(CLOSERS).format(name)
    elif r > 0.7:
        title = rng.choice(["{}", "{}", "About {}", "All about {}", "What we know about {}"]).format(name)
        text = title[0].upper() + title[1:] + "\n\n" + text
    return {"text": text, "source": "qig-facts"}
