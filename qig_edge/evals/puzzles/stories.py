"""Problems about people and things: chains of order, word problems, membership. Each function draws one problem of a level from 1 to 5."""

from __future__ import annotations

import random

from qig_edge.evals.puzzles.problem import ITEMS, NAMES, NOUNS, Problem, spelled

# names and things that the two easiest levels draw from: few enough to be met often
FEW = 16


def order(rng: random.Random, level: int) -> Problem:
    """Who is best or worst.

    Level 1: of 2. 2: of 3, told in order. 3: of 4, out of order. 4: of 5, with "loses to" as well. 5: who has a given place among 7.
    """
    count = {1: 2, 2: 3, 3: 4, 4: 5, 5: 7}[level]
    chain = rng.sample(NAMES[:FEW] if level <= 2 else NAMES, count)
    facts = []
    for winner, loser in zip(chain, chain[1:], strict=False):
        turned = level >= 4 and rng.randrange(2)
        facts.append(f"{loser} loses to {winner}" if turned else f"{winner} beats {loser}")
    if level >= 3:
        rng.shuffle(facts)
    place = rng.randrange(count) if level == 5 else rng.choice((0, count - 1))
    asked = f"number {place + 1}" if level == 5 else "worst" if place else "best"
    key = f"{'>'.join(chain)}:{place}"
    return Problem("order", level, key, f"If {' and '.join(facts)}, who is {asked}?", chain[place], count)


def story(rng: random.Random, level: int) -> Problem:
    """Small word problems.

    Level 1: one sum below ten. 2: one sum or difference. 3: two steps. 4: a product and a sum. 5: three people, three steps.
    """
    names = rng.sample(NAMES, 3)
    item, who = rng.choice(ITEMS), names[0]
    if level == 1:
        a = rng.randrange(1, 9)
        b = rng.randrange(1, 10 - a)
        prompt, result = f"{who} has {spelled(a)} {item} and gets {spelled(b)}. How many?", a + b
    elif level == 2:
        a, b = rng.randrange(10, 31), rng.randrange(1, 10)
        does, sign = rng.choice((("gets", 1), ("gives", -1)))
        prompt, result = f"{who} has {spelled(a)} {item} and {does} {spelled(b)}. How many?", a + sign * b
    elif level == 3:
        a, b, c = rng.randrange(20, 60), rng.randrange(5, 20), rng.randrange(5, 20)
        prompt = f"{who} has {spelled(a)} {item}, gets {spelled(b)} and gives {spelled(c)}. How many?"
        result = a + b - c
    elif level == 4:
        a, b, c = rng.randrange(3, 10), rng.randrange(3, 10), rng.randrange(2, 30)
        prompt = f"{who} has {spelled(a)} boxes of {spelled(b)} {item} and gets {spelled(c)}. How many?"
        result = a * b + c
    else:
        a, b, c = rng.randrange(4, 30), rng.randrange(2, 20), rng.randrange(2, 5)
        told = f"{who} has {spelled(a)} {item}. {names[1]} has {spelled(b)} more. {names[2]} has {c} times as many as {names[1]}."
        prompt, result = f"{told} How many in all?", a + (a + b) * (1 + c)
    # names and things are part of the instance: what a split keeps apart is the whole line
    return Problem("story", level, prompt, prompt, spelled(result))


def membership(rng: random.Random, level: int) -> Problem:
    """Whether a thing is in a list; half of the answers are yes.

    Level 1: of 3. 2: of 5. 3: of 9. 4: in both of two lists of 5. 5: in just one of two lists of 7.
    """
    yes = bool(rng.randrange(2))
    if level <= 3:
        size = {1: 3, 2: 5, 3: 9}[level]
        thing, *others = rng.sample(NOUNS[:FEW] if level <= 2 else NOUNS, size + 1)
        lists = [[thing, *others[1:]] if yes else others]
        asked = f"Is {thing} in"
    else:
        size, shared = {4: (5, 2), 5: (7, 3)}[level]
        thing, *others = rng.sample(NOUNS, 2 * size - shared + 1)
        common = others[:shared]
        own = [others[shared:size], others[size : 2 * size - shared]]
        # which lists hold the thing; "no" to just one is both or neither, "no" to both is one or neither
        either, both, neither = rng.choice(((True, False), (False, True))), (True, True), (False, False)
        wanted, unwanted = (
            (both, rng.choice((either, neither))) if level == 4 else (either, rng.choice((both, neither)))
        )
        lists = []
        for holds, rest in zip(wanted if yes else unwanted, own, strict=True):
            things = [*common, *rest]
            lists.append([thing, *things[:-1]] if holds else things)
        asked = f"Is {thing} in both" if level == 4 else f"Is {thing} in just one of"
    for things in lists:
        rng.shuffle(things)
    key = f"{asked}:{'/'.join(sorted(','.join(sorted(things)) for things in lists))}"
    listed = " and ".join(" ".join(things) for things in lists)
    return Problem("membership", level, key, f"{asked} {listed}?", "yes" if yes else "no", 2)
