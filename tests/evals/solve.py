"""Solves puzzles from their text alone: what the generator's answers are checked against. Nothing here comes from the generator."""

from __future__ import annotations

import re


def numbers(text: str) -> list[int]:
    """ "4 2, 7" -> [42, 7]."""
    return [int(part.replace(" ", "")) for part in re.findall(r"\d(?: \d)*", text)]


def spaced(n: int) -> str:
    return " ".join(str(n))


def solve(family: str, prompt: str) -> set[str]:
    """Every answer that the prompt admits: a good problem admits one."""
    return {
        "addition": addition,
        "comparison": comparison,
        "order": order,
        "sequence": sequence,
        "counting": counting,
        "story": story,
        "membership": membership,
    }[family](prompt)


def addition(prompt: str) -> set[str]:
    assert prompt.startswith("Add ") and prompt.endswith(" =")
    left, right = prompt[:-2].split("+")
    return {spaced(numbers(left)[0] + numbers(right)[0])}


def comparison(prompt: str) -> set[str]:
    found = re.fullmatch(r"(Largest|Smallest) of (.*)\?", prompt)
    assert found, prompt
    return {spaced((max if found[1] == "Largest" else min)(numbers(found[2])))}


def order(prompt: str) -> set[str]:
    above: dict[str, set[str]] = {}
    for first, verb, second in re.findall(r"(\w+) (beats|loses to) (\w+)", prompt):
        winner, loser = (first, second) if verb == "beats" else (second, first)
        above.setdefault(winner, set())
        above.setdefault(loser, set()).add(winner)

    def rank(name: str) -> int:
        return max((rank(w) + 1 for w in above[name]), default=1)

    asked = re.search(r", who is (best|worst|number (\d))\?$", prompt)
    assert asked, prompt
    place = {"best": 1, "worst": len(above)}.get(asked[1]) or int(asked[2])
    return {name for name in above if rank(name) == place}


def sequence(prompt: str) -> set[str]:
    found = re.fullmatch(r"Next after (.*)\?", prompt)
    assert found, prompt
    t = numbers(found[1])
    steps = [b - a for a, b in zip(t, t[1:], strict=False)]
    bends = [b - a for a, b in zip(steps, steps[1:], strict=False)]
    answers = set()
    for period in (2, 3):  # told at least twice
        if len(t) >= 2 * period and all(t[i] == t[i - period] for i in range(period, len(t))):
            answers.add(t[-period])
    if len(set(bends)) == 1:  # equal steps, or steps that grow evenly
        answers.add(t[-1] + steps[-1] + bends[-1])
    if all(t[i] == t[i - 1] + t[i - 2] for i in range(2, len(t))):
        answers.add(t[-1] + t[-2])
    if len(t) == 6 and all(len({x[1] - x[0], x[2] - x[1]}) == 1 for x in (t[::2], t[1::2])):
        answers.add(2 * t[4] - t[2])
    return {spaced(a) for a in answers}


def counting(prompt: str) -> set[str]:
    found = re.fullmatch(r"How many (\w)(?: or (\w))? in ([a-z ]+)\?", prompt)
    assert found, prompt
    return {spaced(sum(letter in (found[1], found[2]) for letter in found[3].split()))}


def story(prompt: str) -> set[str]:
    n = numbers(prompt)
    shapes = {
        r"\w+ has [\d ]+ \w+ and gets [\d ]+\. How many\?": lambda a, b: a + b,
        r"\w+ has [\d ]+ \w+ and gives [\d ]+\. How many\?": lambda a, b: a - b,
        r"\w+ has [\d ]+ \w+, gets [\d ]+ and gives [\d ]+\. How many\?": lambda a, b, c: a + b - c,
        r"\w+ has \d boxes of \d \w+ and gets [\d ]+\. How many\?": lambda a, b, c: a * b + c,
        r"\w+ has [\d ]+ \w+\. (\w+) has [\d ]+ more\. \w+ has \d times as many as \1\. How many in all\?": (
            lambda a, b, c: a + (a + b) + (a + b) * c
        ),
    }
    return {spaced(rule(*n)) for shape, rule in shapes.items() if re.fullmatch(shape, prompt)}


def membership(prompt: str) -> set[str]:
    found = re.fullmatch(r"Is (\w+) in (both |just one of )?(.*)\?", prompt)
    assert found, prompt
    lists = [x.split() for x in found[3].split(" and ")]
    assert len(lists) == (2 if found[2] else 1)
    held = sum(found[1] in x for x in lists)
    return {"yes" if held == (2 if found[2] == "both " else 1) else "no"}
