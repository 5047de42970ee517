"""The suite of role-swapped pairs: its file, its figures, and the command."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from typing import Any

import pytest

from qig_edge.cli import main
from qig_edge.errors import ConfigError
from qig_edge.evals.suites import Options, run
from qig_edge.evals.symmetry import Compared, Pair, Result, figures, load_pairs, unrelated
from qig_edge.runtime.assets import model_path
from qig_edge.runtime.native import NativeModel
from qig_edge.runtime.roles import returns, swap_roles
from qig_edge.runtime.symmetry import Symmetry


def test_every_pair_is_a_text_and_its_twin() -> None:
    pairs = load_pairs()
    assert len(pairs) == 60 and len({(p.prompt, p.reply) for p in pairs}) == 60
    assert set(Counter(p.topic for p in pairs).values()) == {10} and len({p.topic for p in pairs[:6]}) == 6
    for p in pairs:
        for text, twin in ((p.prompt, p.twin_prompt), (p.reply, p.twin_reply)):
            assert swap_roles(text) == twin and swap_roles(twin) == text, text
            assert returns(text) and text.isascii()
        assert p.prompt != p.twin_prompt or p.reply != p.twin_reply


def compared(topic: str, difference: float, divergence: float, places: int) -> Compared:
    return Compared(Pair(topic, "a", "b", "c", "d"), Symmetry(-2.0, -2.0 - difference, 4, 4), divergence, places)


def test_figures() -> None:
    items = [compared("x", 0.0, 1.0, 4), compared("x", math.log(2), 0.5, 1), compared("y", -math.log(10), 1.0, 5)]
    found = figures(items, 0.5)
    assert abs(found["score"] - (1 + 0.5 + 0.1) / 3) < 1e-12 and abs(found["median_score"] - 0.5) < 1e-12
    assert abs(figures(items, 0.3)["share_above_limit"] - 2 / 3) < 1e-12
    assert abs(found["lean"] - (math.log(2) - math.log(10)) / 3) < 1e-12 and abs(found["divergence"] - 0.25) < 1e-12
    result = Result(items, 0.4)
    told = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert told["pairs"] == 3 and told["by_topic"]["y"]["score"] == pytest.approx(0.1) and len(told["items"]) == 3
    assert unrelated(items) == 1.0 and unrelated(items[:1]) is None  # the same likelihood of every reply
    other = dataclasses.replace(items[0], symmetry=Symmetry(-2.0 - math.log(4), -2.0, 4, 4))
    assert unrelated([items[0], other]) == pytest.approx(0.25)
    (table,) = result.tables()
    assert [row[0] for row in table.rows] == ["x", "y", "all"] and all(
        len(row) == len(table.columns) for row in table.rows
    )
    assert table.rows[2][4] == "67%" and "1 pairs with unequal" in result.notes()[2]


def test_it_runs_on_a_model() -> None:
    seen: list[tuple[int, int]] = []
    with NativeModel(model_path(None)) as model:
        result = run("symmetry", model, Options(limit=12, threads=1, progress=lambda a, b: seen.append((a, b))))
        again = run("symmetry", model, Options(limit=12, threads=1))
        with pytest.raises(ConfigError, match="--levels"):
            run("symmetry", model, Options(levels=(1,)))
    told = result.to_dict()
    assert told == again.to_dict() and seen[-1] == (12, 12) and len(seen) == 12
    assert 0 < told["score"] < 1 and 0 <= told["share_above_limit"] <= 1 and 0 < told["divergence"] < 1
    assert all(item["places"] >= 1 for item in told["items"]) and sum(item["places"] > 1 for item in told["items"]) >= 6


def test_the_command(capfd: Any) -> None:
    with pytest.raises(SystemExit) as left:
        main(["eval", "--suite", "symmetry", "--limit", "6", "-t", "1", "--json"])
    told = json.loads(capfd.readouterr().out)
    assert not left.value.code and told["suite"] == "symmetry" and told["pairs"] == 6 and len(told["by_topic"]) == 6
