"""Problems about numbers and letters: addition, comparison, sequences, counting. Each function draws one problem of a level from 1 to 5."""

from __future__ import annotations

import random

from qig_edge.evals.puzzles.problem import Problem, spelled

LETTERS = "abcdefgh"


def carries(a: int, b: int) -> int:
    """Number of decimal places at which a + b carries."""
    count = carry = 0
    while a or b:
        carry = int(a % 10 + b % 10 + carry > 9)
        count += carry
        a, b = a // 10, b // 10
    return count


def addition(rng: random.Random, level: int) -> Problem:
    """A sum of two numbers.

    Digits, level 1: two and one, nothing carried. 2: two and two, nothing carried. 3: two and two with a carry. 4: three and three
    with a carry. 5: five and five, three carries or more.
    """
    if level == 1:
        unit = rng.randrange(9)
        a, b = 10 * rng.randrange(1, 10) + unit, rng.randrange(1, 10 - unit)
    else:
        digits, least = {2: (2, 0), 3: (2, 1), 4: (3, 1), 5: (5, 3)}[level]
        while True:
            a, b = (rng.randrange(10 ** (digits - 1), 10**digits) for _ in range(2))
            if carries(a, b) >= least and (level > 2 or not carries(a, b)):
                break
    low, high = sorted((a, b))
    return Problem("addition", level, f"{high}+{low}", f"Add {spelled(a)} + {spelled(b)} =", spelled(a + b))


def comparison(rng: random.Random, level: int) -> Problem:
    """The largest, from level 3 also the smallest, of some numbers.

    Level 1: two to four of one digit. 2: two of two digits. 3: three of three digits. 4: four of four digits, the first in common.
    5: six of five digits, the first two in common.
    """
    count, digits, shared = {1: (rng.randrange(2, 5), 1, 0), 2: (2, 2, 0), 3: (3, 3, 0), 4: (4, 4, 1), 5: (6, 5, 2)}[
        level
    ]
    free = 10 ** (digits - shared)
    start = free * rng.randrange(10 ** (shared - 1), 10**shared) if shared else 0
    numbers = [start + n for n in rng.sample(range(free // 10 if digits > 1 and not shared else 0, free), count)]
    word, best = rng.choice((("Largest", max), ("Smallest", min))) if level > 2 else ("Largest", max)
    key = f"{word}:{','.join(map(str, sorted(numbers)))}"
    listed = ", ".join(map(spelled, numbers))
    return Problem("comparison", level, key, f"{word} of {listed}?", spelled(best(numbers)), len(numbers))


def sequence(rng: random.Random, level: int) -> Problem:
    """The next number.

    Level 1: two or three digits that repeat. 2: steps of 1 to 3 upward. 3: steps of 4 to 9, or downward. 4: two sequences in turn.
    5: growing steps, or each the sum of the two before.
    """
    if level == 1:
        turn = rng.sample(range(10), rng.choice((2, 3, 3, 3)))
        shown = 2 * len(turn) + rng.randrange(len(turn))
        terms = [turn[i % len(turn)] for i in range(shown + 1)]
    elif level <= 3:
        shown = 4
        step = rng.randrange(1, 4) if level == 2 else rng.choice((*range(4, 10), *range(-9, 0)))
        span = step * shown
        first = rng.randrange(-min(0, span), 99 - max(0, span) + 1)
        terms = [first + step * i for i in range(shown + 1)]
    elif level == 4:
        shown = 6
        tracks = []
        for _ in range(2):
            step = rng.choice((-1, 1)) * rng.randrange(1, 10)
            tracks.append((rng.randrange(10 - min(0, step * 3), 99 - max(0, step * 3) + 1), step))
        terms = [tracks[i % 2][0] + tracks[i % 2][1] * (i // 2) for i in range(shown + 1)]
    else:
        shown = 5
        if rng.randrange(2):
            first, step, growth = rng.randrange(1, 30), rng.randrange(1, 10), rng.randrange(1, 8)
            terms = [first + step * i + growth * i * (i - 1) // 2 for i in range(shown + 1)]
        else:
            terms = [rng.randrange(1, 30), rng.randrange(1, 30)]
            while len(terms) <= shown:
                terms.append(terms[-1] + terms[-2])
    listed = ", ".join(map(spelled, terms[:shown]))
    key = ",".join(map(str, terms[:shown]))
    return Problem("sequence", level, key, f"Next after {listed}?", spelled(terms[shown]))


def counting(rng: random.Random, level: int) -> Problem:
    """How often a letter occurs in a row of letters.

    Length, level 1: 3 to 4. 2: 5 to 6. 3: 8 to 10. 4: 12 to 15. 5: 18 to 24, and two letters are counted together.
    """
    shortest, longest, kinds, wanted = {
        1: (3, 4, 2, 1), 2: (5, 6, 3, 1), 3: (8, 10, 4, 1), 4: (12, 15, 5, 1), 5: (18, 24, 6, 2),
    }[level]  # fmt: skip
    letters = rng.sample(LETTERS, kinds)
    length = rng.randrange(shortest, longest + 1)
    # the count is drawn first: all counts are equally frequent, and none is worth guessing
    most = min(length, 9 if wanted == 1 else 12)
    count = rng.randrange(most + 1)
    targets, others = letters[:wanted], letters[wanted:]
    row = [rng.choice(targets) for _ in range(count)] + [rng.choice(others) for _ in range(length - count)]
    rng.shuffle(row)
    key = f"{''.join(sorted(targets))}:{''.join(row)}"
    prompt = f"How many {' or '.join(targets)} in {' '.join(row)}?"
    return Problem("counting", level, key, prompt, spelled(count), most + 1)
