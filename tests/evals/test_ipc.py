"""Intelligence per compute: the factors by hand, what is undefined, intervals that hold what they claim, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from qig_edge.cli import main
from qig_edge.evals.ipc import Subject, compare, measure
from qig_edge.evals.suites import Scored
from qig_edge.runtime.assets import model_path
from tests.conftest import SEED

Output = pytest.CaptureFixture[str]


def scored(shares: dict[tuple[str, int], tuple[int, int]], chance: float = 0.0) -> list[Scored]:
    """right of total by (group, level)."""
    return [Scored(group, level, chance, i < right) for (group, level), (right, n) in shares.items() for i in range(n)]


BY_HAND = {("a", 1): (18, 20), ("a", 5): (6, 20), ("b", 1): (30, 60), ("b", 5): (30, 60)}


def test_factors_by_hand() -> None:
    """Families count alike whatever their sizes: a 0.6 and b 0.5; easiest (0.9 + 0.5) / 2, hardest (0.3 + 0.5) / 2."""
    found = measure(Subject(scored(BY_HAND), 2_000_000, [0.5, 0.004, 0.006]))
    f = found.factors
    assert f["reasoning"].value == pytest.approx(0.55)
    assert f["adaptability"].value == pytest.approx(0.4 / 0.7)
    assert f["parameters_millions"].value == 2 and f["seconds_per_token"].value == 0.006
    assert found.value.value == pytest.approx(0.55 * 0.4 / 0.7 / (2 * 0.006)) and found.why is None
    low, high = f["reasoning"].low, f["reasoning"].high
    assert low is not None and high is not None and 0.4 < low < 0.55 < high < 0.7


def test_chance_is_taken_off() -> None:
    found = measure(Subject(scored(BY_HAND, 0.25), 1_000_000, [0.01, 0.01]))
    assert found.factors["reasoning"].value == pytest.approx(((0.6 - 0.25) / 0.75 + (0.5 - 0.25) / 0.75) / 2)


@pytest.mark.parametrize(
    ("shares", "chance", "why"),
    [
        ({("a", 1): (26, 50), ("a", 5): (25, 50)}, 0.5, "reasoning cannot be told from chance"),
        ({("a", 1): (0, 50), ("a", 5): (0, 50)}, 0.0, "reasoning cannot be told from chance"),
        ({("a", 3): (40, 50)}, 0.0, "one level only"),
        ({("a", 1): (0, 50), ("a", 5): (40, 50)}, 0.0, "the easiest level is at chance"),
    ],
)
def test_undefined(shares: dict[tuple[str, int], tuple[int, int]], chance: float, why: str) -> None:
    bad = Subject(scored(shares, chance), 1_000_000, [0.1, 0.1])
    found = measure(bad)
    assert found.value.value is None and found.why is not None and why in found.why
    good = Subject([Scored(s.group, s.level, s.chance, True) for s in bad.scored], 1_000_000, [0.1, 0.1])
    compared = compare(good, bad)
    assert compared.ratio.value is None and compared.why is not None and compared.why.endswith(found.why)
    assert compared.ratios["seconds_per_token"].value == 1 and compared.ratios["reasoning"].value is None
    json.dumps(compared.to_dict(), allow_nan=False)


def test_a_model_beside_itself_and_beside_a_slower_larger_one() -> None:
    one = Subject(scored(BY_HAND), 2_000_000, [0.01, 0.011, 0.012])
    same = compare(one, one)
    assert same.ratio.value == same.ratio.low == same.ratio.high == 1
    twice = compare(one, Subject(one.scored, 4_000_000, [3 * s for s in one.seconds]))
    # time's interval: rounds are drawn alike, so the ratio of each draw is 3
    assert (twice.ratio.value, twice.ratio.low, twice.ratio.high) == (pytest.approx(6), pytest.approx(6), pytest.approx(6))


def test_more_at_the_hardest_level_than_at_the_easiest_is_no_more_than_adaptable() -> None:
    assert measure(Subject(scored({("a", 1): (20, 40), ("a", 2): (30, 40)}), 10**6, [1.0, 1.0])).factors["adaptability"].value == 1


def test_intervals_hold_the_truth_as_often_as_they_claim() -> None:
    """Problems whose probabilities are known: the interval of reasoning holds its truth in about 95 of 100 draws."""
    rng, held, runs = np.random.default_rng(SEED), 0, 120
    truth = {("a", 1): 0.8, ("a", 5): 0.4, ("b", 1): 0.6, ("b", 5): 0.2}
    for _ in range(runs):
        items = [Scored(g, n, 0.0, bool(rng.random() < p)) for (g, n), p in truth.items() for _ in range(80)]
        f = measure(Subject(items, 10**6, [1.0, 1.0])).factors["reasoning"]
        assert f.low is not None and f.high is not None
        held += f.low <= 0.5 <= f.high
    print(f"{held} of {runs}, seed {SEED}")
    assert 0.85 * runs <= held < runs


def test_only_the_same_problems_are_compared() -> None:
    one = Subject(scored(BY_HAND), 10**6, [1.0, 1.0])
    with pytest.raises(ValueError, match="same problems"):
        compare(one, Subject(one.scored[:-1], 10**6, [1.0, 1.0]))
    with pytest.raises(ValueError, match="same rounds|same problems"):
        compare(one, Subject(one.scored, 10**6, [1.0]))
    with pytest.raises(ValueError, match="no problems"):
        measure(Subject([], 10**6, [1.0]))


def test_command(capsys: Output, tmp_path: Path) -> None:
    def run(*args: str) -> int:
        with pytest.raises(SystemExit) as stopped:
            main(["ipc", *args])
        return int(stopped.value.code or 0)

    quick = ("--limit", "35", "--decode", "4", "--repeat", "2")
    shipped = str(model_path(None))
    assert run(shipped, shipped, *quick, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["problems"] == 35 and [m["model"] for m in found["models"]] == ["qig-nano Q4_0"] * 2
    first, second = found["models"]
    assert first["reasoning"] == second["reasoning"] and first["parameters_millions"]["value"] == pytest.approx(3.115, abs=1e-3)
    assert found["ratios"]["parameters_millions"]["value"] == 1 and first["seconds_per_token"]["value"] > 0
    assert (found["why"] is None) == (first["ipc"]["value"] is not None)
    assert run(*quick) == 0
    out = capsys.readouterr().out
    assert "reasoning above chance" in out and "microseconds a token" in out
    assert run(str(tmp_path / "none.gguf")) == 2
    assert run("--levels", "9") == 2
