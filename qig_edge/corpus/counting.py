"""Small questions about numbers, the calendar and shapes."""

import random

from qig_edge.corpus import know, words
from qig_edge.corpus.chat import CALENDAR
from qig_edge.corpus.spin import spin

Turns = list[tuple[str, str]]


def number(rng: random.Random) -> Turns:
    """Counting, next numbers, sums, differences and comparisons within twenty."""
    N = know.NUMBERS
    word = rng.random() < 0.5

    def f(k: int) -> str:
        return N[k] if word else str(k)

    kind = rng.choice(["next", "before", "add", "add", "sub", "sub", "big", "small", "count", "back", "apples"])
    if kind == "next":
        a = rng.randint(0, 19)
        return [
            (
                spin(
                    rng,
                    f"[What number comes after {f(a)}?|What comes after {f(a)}?|Which number is next after {f(a)}?]",
                ),
                spin(rng, f"[{f(a + 1)} comes after {f(a)}.|After {f(a)} comes {f(a + 1)}.|It is {f(a + 1)}.]"),
            )
        ]
    if kind == "before":
        a = rng.randint(1, 20)
        return [
            (
                spin(
                    rng, f"[What number comes before {f(a)}?|What comes before {f(a)}?|Which number is before {f(a)}?]"
                ),
                spin(rng, f"[{f(a - 1)} comes before {f(a)}.|Before {f(a)} comes {f(a - 1)}.|It is {f(a - 1)}.]"),
            )
        ]
    if kind in ("add", "sub"):
        out: Turns = []
        for i in range(rng.choice([1, 1, 1, 2])):
            if kind == "add":
                a = rng.randint(0, 12)
                b = rng.randint(0, min(10, 20 - a))
                c, op, sign = a + b, "plus", "+"
            else:
                a = rng.randint(1, 20)
                b = rng.randint(0, min(a, 10))
                c, op, sign = a - b, "minus", "-"
            e = f"{f(a)} {op} {f(b)}" if word or rng.random() < 0.5 else f"{a} {sign} {b}"
            q = (
                f"[What is {e}?|How much is {e}?|What's {e}?|Can you tell me what {e} is?|{e}?]"
                if i == 0
                else f"[And {e}?|What about {e}?]"
            )
            out.append((spin(rng, q), spin(rng, f"{f(a)} {op} {f(b)} is {f(c)}.")))
        return out
    if kind in ("big", "small"):
        a, b = rng.sample(range(0, 21), 2)
        big = kind == "big"
        w = max(a, b) if big else min(a, b)
        o = min(a, b) if big else max(a, b)
        cmp = "bigger" if big else "smaller"
        return [
            (
                spin(
                    rng,
                    f"[Which number is {cmp}, {f(a)} or {f(b)}?|Which is {cmp}, {f(a)} or {f(b)}?|What "
                    f"is {cmp}, {f(a)} or {f(b)}?]",
                ),
                spin(rng, f"[{f(w)} is {cmp} than {f(o)}.|{f(w)} is {cmp}.]"),
            )
        ]
    if kind == "count":
        a = rng.randint(3, 20)
        s = 1 if rng.random() < 0.7 else rng.randint(1, a - 2)
        q = (
            f"[Count to {f(a)}.|Can you count to {f(a)}?|Please count to {f(a)}.]"
            if s == 1
            else f"[Count from {f(s)} to {f(a)}.|Can you count from {f(s)} to {f(a)}?]"
        )
        return [(spin(rng, q), spin(rng, ", ".join(f(k) for k in range(s, a + 1)) + "."))]
    if kind == "back":
        a = rng.randint(3, 12)
        return [
            (
                spin(
                    rng,
                    f"[Count backward from {f(a)}.|Count down from {f(a)}.|Can you count down from {f(a)} to {f(1)}?]",
                ),
                spin(rng, ", ".join(f(k) for k in range(a, 0, -1)) + "."),
            )
        ]
    thing = rng.choice(
        ["apples", "nuts", "balls", "books", "flowers", "cookies", "shells", "stones", "pencils", "eggs"]
    )
    who = rng.choice(words.GIRLS + words.BOYS)
    sex = "She" if who in words.GIRLS else "He"
    a, b = rng.randint(3, 10), rng.randint(2, 9)
    if rng.random() < 0.5:
        return [
            (
                f"{who} has {f(a)} {thing} and finds {f(b)} more. How many {thing} does {sex.lower()} have now?",
                spin(
                    rng,
                    f"[{who} has|{sex} has|{sex} now has] {f(a + b)} {thing}[, because {f(a)} plus {f(b)} "
                    f"is {f(a + b)}|].",
                ),
            )
        ]
    b = rng.randint(2, a - 1)
    left = f"{f(a - b)} {thing if a - b != 1 else thing[:-1]}"
    return [
        (
            f"{who} has {f(a)} {thing} and gives away {f(b)}. How many {thing} are left?",
            spin(rng, f"[{who} has|{sex} has] {left} left[, because {f(a)} minus {f(b)} is {f(a - b)}|]."),
        )
    ]


def calendar(rng: random.Random) -> Turns:
    """Days, months, seasons and shapes."""
    kind = rng.choice(["day", "day", "month", "month", "count", "season", "shape", "shape"])
    if kind in ("day", "month"):
        xs = know.DAYS if kind == "day" else know.MONTHS
        out: Turns = []
        for i, k in enumerate(rng.sample(range(len(xs)), rng.choice([1, 1, 2]))):
            after = rng.random() < 0.6
            rel = "after" if after else "before"
            ans = xs[(k + (1 if after else -1)) % len(xs)]
            q = (
                f"[What {kind} comes {rel} {xs[k]}?|Which {kind} is {rel} {xs[k]}?|What is the {kind} {rel} {xs[k]}?]"
                if i == 0
                else f"[And {rel} {xs[k]}?|What comes {rel} {xs[k]}?]"
            )
            out.append(
                (spin(rng, q), spin(rng, f"[{ans}.|{ans} comes {rel} {xs[k]}.|The {kind} {rel} {xs[k]} is {ans}.]"))
            )
        return out
    if kind == "count":
        u, a = rng.choice(CALENDAR)
        return [(spin(rng, u), spin(rng, a))]
    if kind == "season":
        order = ["spring", "summer", "autumn", "winter"]
        k = rng.randrange(4)
        return [
            (
                spin(
                    rng,
                    f"[What season comes after {order[k]}?|Which season follows {order[k]}?|What comes "
                    f"after {order[k]}?]",
                ),
                spin(
                    rng, f"[After {order[k]} comes {order[(k + 1) % 4]}.|{order[(k + 1) % 4]} comes after {order[k]}.]"
                ),
            )
        ]
    name, sides, corners = rng.choice(know.SHAPES)
    if rng.random() < 0.15:
        return [
            (
                spin(rng, "[What shape is a ball?|What shape has no corners?|Which shape is round?]"),
                "A circle is round and has no corners, and a ball is round, too.",
            )
        ]
    what = rng.choice(["sides", "corners"])
    return [
        (
            spin(
                rng,
                f"[How many {what} does a {name} have?|How many {what} are there in a {name}?|A {name} has how "
                f"many {what}?]",
            ),
            spin(
                rng,
                f"A {name} has {sides} {what}[.|, and it "
                f"has {corners} {'corners' if what == 'sides' else 'sides'}, too.]",
            ),
        )
    ]
