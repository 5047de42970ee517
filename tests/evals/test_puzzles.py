"""The generated problems: right answers, levels as described, splits without a common instance, the same from the same seed."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from qig_edge.errors import ConfigError, DataError
from qig_edge.evals.puzzles.generate import (
    FAMILIES,
    LEVELS,
    SPLITS,
    parse_levels,
    problems,
    records,
    split_of,
)
from qig_edge.evals.puzzles.numbers import carries
from qig_edge.evals.puzzles.problem import NAMES, NOUNS, Problem
from tests.conftest import SEED
from tests.evals.solve import numbers, solve

CELLS = [(family, level) for family in FAMILIES for level in LEVELS]
EACH = 300


@pytest.fixture(scope="module")
def sample() -> dict[str, list[Problem]]:
    """EACH problems of every cell and split, from this run's seed."""
    return {split: [p for c in CELLS for p in problems(EACH, SEED, split, (c[1],), (c[0],))] for split in SPLITS}


def cell(sample: dict[str, list[Problem]], family: str, level: int) -> list[Problem]:
    found = [p for split in SPLITS for p in sample[split] if (p.family, p.level) == (family, level)]
    assert len(found) == 2 * EACH
    return found


@pytest.mark.parametrize(("family", "level"), CELLS)
def test_answers_are_right_and_the_only_ones(sample: dict[str, list[Problem]], family: str, level: int) -> None:
    for p in cell(sample, family, level):
        assert solve(family, p.prompt) == {p.answer}, p


@pytest.mark.parametrize(("family", "level"), CELLS)
def test_form(sample: dict[str, list[Problem]], family: str, level: int) -> None:
    for p in cell(sample, family, level):
        assert p.text == f"{p.prompt} {p.answer}\n" and p.text.count("\n") == 1
        assert re.fullmatch(r"[\x20-\x7e]+[=?]", p.prompt) and len(p.prompt) <= 160, p
        assert re.fullmatch(r"[A-Za-z]+|\d(?: \d)*", p.answer), p
        assert p.choices >= 0 and p.chance == (1 / p.choices if p.choices else 0)


def test_splits_share_no_instance(sample: dict[str, list[Problem]]) -> None:
    """Whatever the seeds and the levels: neither a key nor a prompt is on both sides."""
    other = {split: list(problems(3500, SEED + 1, split)) for split in SPLITS}
    sides = {split: [*sample[split], *other[split]] for split in SPLITS}
    for name in ("key", "prompt", "text"):
        train, test = ({(p.family, getattr(p, name)) for p in sides[split]} for split in SPLITS)
        assert len(train) > 4000 and len(test) > 4000
        assert not train & test, name
    assert all(split_of(p) == split for split in SPLITS for p in sides[split])


@pytest.mark.parametrize(("family", "level"), CELLS)
def test_both_sides_have_instances(family: str, level: int) -> None:
    """About a fifth of the instances are test instances, also where there are few."""
    import random

    rng = random.Random(SEED)
    drawn = {p.key: split_of(p) for p in (FAMILIES[family](rng, level) for _ in range(4000))}
    share = sum(side == "test" for side in drawn.values()) / len(drawn)
    assert len(drawn) >= 200
    assert abs(share - 0.2) < 5 * (0.16 / len(drawn)) ** 0.5, (len(drawn), share)


def test_the_order_of_telling_moves_nothing_across() -> None:
    """What lists the same things in another order is the same instance: one key, so one side of the split."""
    for family in ("addition", "comparison", "membership"):
        spellings: dict[str, set[str]] = {}
        for p in problems(4000, SEED, "train", (1, 2), (family,)):
            spellings.setdefault(p.key, set()).add(p.prompt)
        assert sum(len(prompts) > 1 for prompts in spellings.values()) > 50, family


# What each level promises, from the text of a problem.
PROMISES = {
    ("addition", 1): lambda p: re.fullmatch(r"Add \d \d \+ \d =", p.prompt) and not carries(*numbers(p.prompt)),
    ("addition", 2): lambda p: re.fullmatch(r"Add \d \d \+ \d \d =", p.prompt) and not carries(*numbers(p.prompt)),
    ("addition", 3): lambda p: re.fullmatch(r"Add \d \d \+ \d \d =", p.prompt) and carries(*numbers(p.prompt)) >= 1,
    ("addition", 4): lambda p: re.fullmatch(r"Add \d \d \d \+ \d \d \d =", p.prompt) and carries(*numbers(p.prompt)) >= 1,
    ("addition", 5): lambda p: len(p.prompt) == 27 and carries(*numbers(p.prompt)) >= 3,
    ("comparison", 1): lambda p: 2 <= len(set(numbers(p.prompt))) <= 4 and max(numbers(p.prompt)) < 10,
    ("comparison", 2): lambda p: len(numbers(p.prompt)) == 2 and all(9 < n < 100 for n in numbers(p.prompt)),
    ("comparison", 3): lambda p: len(numbers(p.prompt)) == 3 and all(99 < n < 1000 for n in numbers(p.prompt)),
    ("comparison", 4): lambda p: len(set(numbers(p.prompt))) == 4 and len({n // 1000 for n in numbers(p.prompt)}) == 1,
    ("comparison", 5): lambda p: len(set(numbers(p.prompt))) == 6 and len({n // 1000 for n in numbers(p.prompt)}) == 1,
    ("order", 1): lambda p: p.prompt.count(" beats ") == 1 and p.choices == 2,
    ("order", 2): lambda p: re.match(r"If (\w+) beats (\w+) and \2 beats (\w+), ", p.prompt) and p.choices == 3,
    ("order", 3): lambda p: p.prompt.count(" beats ") == 3 and " loses " not in p.prompt,
    ("order", 4): lambda p: p.prompt.count(" and ") == 3 and re.search("best|worst", p.prompt),
    ("order", 5): lambda p: p.prompt.count(" and ") == 5 and "number" in p.prompt,
    ("sequence", 1): lambda p: max(numbers(p.prompt)) < 10 and 2 <= len(set(numbers(p.prompt))) <= 3,
    ("sequence", 2): lambda p: 0 < numbers(p.answer)[0] - numbers(p.prompt)[-1] <= 3,
    ("sequence", 3): lambda p: not 0 <= numbers(p.answer)[0] - numbers(p.prompt)[-1] <= 3 and len(numbers(p.prompt)) == 4,
    ("sequence", 4): lambda p: len(numbers(p.prompt)) == 6,
    ("sequence", 5): lambda p: len(numbers(p.prompt)) == 5,
    ("counting", 1): lambda p: 3 <= len(p.key) - 2 <= 4,
    ("counting", 2): lambda p: 5 <= len(p.key) - 2 <= 6,
    ("counting", 3): lambda p: 8 <= len(p.key) - 2 <= 10,
    ("counting", 4): lambda p: 12 <= len(p.key) - 2 <= 15,
    ("counting", 5): lambda p: 18 <= len(p.key) - 3 <= 24 and " or " in p.prompt,
    ("story", 1): lambda p: numbers(p.answer)[0] < 10,
    ("story", 2): lambda p: len(numbers(p.prompt)) == 2,
    ("story", 3): lambda p: len(numbers(p.prompt)) == 3 and "boxes" not in p.prompt,
    ("story", 4): lambda p: "boxes" in p.prompt,
    ("story", 5): lambda p: "in all" in p.prompt,
    ("membership", 1): lambda p: len(p.prompt.split()) == 6,
    ("membership", 2): lambda p: len(p.prompt.split()) == 8,
    ("membership", 3): lambda p: len(p.prompt.split()) == 12,
    ("membership", 4): lambda p: " in both " in p.prompt and len(p.prompt.split()) == 15,
    ("membership", 5): lambda p: " in just one of " in p.prompt and len(p.prompt.split()) == 21,
}  # fmt: skip


@pytest.mark.parametrize(("family", "level"), CELLS)
def test_levels_are_what_they_say(sample: dict[str, list[Problem]], family: str, level: int) -> None:
    for p in cell(sample, family, level):
        assert PROMISES[family, level](p), p


@pytest.mark.parametrize("level", LEVELS)
def test_answers_are_not_worth_guessing(sample: dict[str, list[Problem]], level: int) -> None:
    """The most frequent answer of a cell is right about as often as chance says."""
    for family, limit in (("membership", 0.6), ("counting", 0.32), ("order", 0.15)):
        chosen = cell(sample, family, level)
        most = Counter(p.answer for p in chosen).most_common(1)[0][1] / len(chosen)
        assert most < limit, (family, level, most)
    yes = sum(p.answer == "yes" for p in cell(sample, "membership", level)) / (2 * EACH)
    assert 0.4 < yes < 0.6, yes


def test_two_lists_betray_nothing(sample: dict[str, list[Problem]]) -> None:
    """How many other words two lists have in common is the same whatever the answer."""
    for level, shared in ((4, 2), (5, 3)):
        for p in cell(sample, "membership", level):
            found = re.fullmatch(r"Is (\w+) in (?:both|just one of) (.*) and (.*)\?", p.prompt)
            assert found, p
            one, two = (set(x.split()) - {found[1]} for x in found.group(2, 3))
            assert len(one & two) == shared, p


def test_the_same_seed_gives_the_same_and_a_longer_stream_begins_with_the_shorter() -> None:
    for split in SPLITS:
        short, long = list(problems(100, SEED, split)), list(problems(300, SEED, split))
        assert long[:100] == short and list(problems(100, SEED, split)) == short
        assert list(problems(100, SEED + 1, split)) != short


def test_the_generator_has_not_changed() -> None:
    """Scores are comparable only while these problems are what they are: change the numbers with the generator, and say so in the log."""
    digests = {
        split: hashlib.sha256("".join(p.text for p in problems(700, 0, split)).encode()).hexdigest()[:16]
        for split in SPLITS
    }
    assert digests == {"train": "6ebea77806962e7c", "test": "de8cc81375d87e8a"}


def test_every_round_is_balanced() -> None:
    drawn = list(problems(10 * len(CELLS), SEED, "test"))
    for i in range(0, len(drawn), len(CELLS)):
        assert {(p.family, p.level) for p in drawn[i : i + len(CELLS)]} == set(CELLS)
    some = list(problems(60, SEED, "test", (2, 4), ("order", "story")))
    assert Counter((p.family, p.level) for p in some) == {(f, n): 15 for f in ("order", "story") for n in (2, 4)}
    taught = list(problems(3 * 105, SEED, "train"))
    assert Counter((p.family, p.level) for p in taught) == {(f, n): 3 * (6 - n) for f, n in CELLS}


def test_levels_get_about_as_many_bytes_of_training() -> None:
    size = Counter[int]()
    for p in problems(105 * 60, SEED, "train"):
        size[p.level] += len(p.text)
    assert len(size) == 5 and max(size.values()) < 2 * min(size.values()), size


def test_test_instances_repeat_only_when_all_are_told() -> None:
    first = list(problems(40, SEED, "test", (1,), ("comparison",)))
    assert len({p.key for p in first}) == 40
    all_of_them = list(problems(400, SEED, "test", (1,), ("comparison",)))
    assert len(all_of_them) == 400 and 40 < len({p.key for p in all_of_them}) < 100
    assert len({p.key for p in problems(700, SEED, "test")}) > 690


def test_records_are_training_data_and_test_records_are_not(tmp_path: Path) -> None:
    from qig_edge.train.sources import Source

    for split in SPLITS:
        lines = [json.dumps(r) for r in records(50, SEED, split)]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    made = list(problems(50, SEED, "train"))
    assert [d.text for d in Source(str(tmp_path / "train.jsonl")).documents()] == [p.text for p in made]
    with pytest.raises(DataError, match="a record needs 'text'"):
        list(Source(str(tmp_path / "test.jsonl")).documents())
    assert set(json.loads(lines[0])) == {"family", "level", "prompt", "answer", "source"}


def test_levels_are_parsed() -> None:
    assert parse_levels("3") == (3,) and parse_levels("1-5") == LEVELS and parse_levels("4-5,1, 4") == (1, 4, 5)
    for bad in ("", "0", "6", "5-1", "1-9", "one", "1,,2", "-1", "1-", "1-100000000000000"):
        with pytest.raises(ConfigError, match=re.escape(f"levels = '{bad}'") + ".*1-5"):
            parse_levels(bad)


def test_bad_arguments_are_named() -> None:
    for arguments, named in (
        ({"split": "dev"}, "split = 'dev' must be one of train, test"),
        ({"levels": (1, 6)}, "level = 6 must be of 1, 2, 3, 4, 5"),
        ({"families": ("chess",)}, "family = 'chess' must be of addition"),
        ({"levels": ()}, "level = 'nothing'"),
    ):
        with pytest.raises(ConfigError, match=re.escape(named)):
            problems(1, 0, **arguments)  # type: ignore[arg-type]


def test_words_are_distinct() -> None:
    assert len(set(NAMES)) == len(NAMES) >= 20 and len(set(NOUNS)) == len(NOUNS) >= 40
