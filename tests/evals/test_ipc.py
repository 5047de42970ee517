"""Intelligence per compute: the factors by hand, what is undefined, intervals that hold what they claim, and the command on both suites."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from qig_edge.cli import main
from qig_edge.evals import ipc
from qig_edge.evals.ipc import Subject, compare, factors, measure
from qig_edge.evals.suites import Scored
from qig_edge.runtime.assets import model_path
from tests.conftest import SEED
from tests.evals.items import write_sets

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
Output = pytest.CaptureFixture[str]


def run(*args: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(["ipc", *map(str, args)])
    return int(stopped.value.code or 0)


def scored(shares: Mapping[tuple[str, int | None], tuple[int, int]], chance: float = 0.0) -> list[Scored]:
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
        # sets of questions: an easier and a harder one, and one that nobody graded
        ({("easy", 1): (40, 50), ("other", None): (40, 50)}, 0.25, "adaptability is undefined: one level only, easy"),
        ({("hard", 2): (40, 50), ("other", None): (40, 50)}, 0.25, "adaptability is undefined: one level only, hard"),
        ({("other", None): (40, 50)}, 0.25, "adaptability is undefined: no problem has a level"),
        ({("easy", 1): (14, 50), ("hard", 2): (13, 50), ("other", None): (45, 50)}, 0.25, "the easiest level is at chance"),
        ({("easy", 1): (14, 50), ("hard", 2): (13, 50), ("other", None): (13, 50)}, 0.25, "reasoning cannot be told from chance"),
    ],
)
def test_undefined(shares: dict[tuple[str, int | None], tuple[int, int]], chance: float, why: str) -> None:
    bad = Subject(scored(shares, chance), 1_000_000, [0.1, 0.1])
    found = measure(bad)
    assert found.value.value is None and found.why is not None and why in found.why
    good = Subject([Scored(s.group, s.level, s.chance, True) for s in bad.scored], 1_000_000, [0.1, 0.1])
    compared = compare(good, bad)
    assert compared.ratio.value is None and compared.why is not None and compared.why.endswith(found.why)
    assert compared.ratios["seconds_per_token"].value == 1 and compared.ratios["reasoning"].value is None
    json.dumps(compared.to_dict(), allow_nan=False)
    assert factors(bad.scored)["why"] == found.why and factors(bad.scored)["adaptability"] == found.factors["adaptability"].value


def test_times_are_compared_round_by_round() -> None:
    """Twice as fast in the rounds that something slowed as in those that nothing did, but for one in which it slowed the first alone."""
    good = scored({("a", 1): (95, 100), ("a", 2): (90, 100)})
    fast, slow = Subject(good, 10**6, [1, 10, 10, 1, 10]), Subject(good, 10**6, [2, 20, 20, 2, 2])
    compared = compare(fast, slow)
    assert compared.models[0].factors["seconds_per_token"].value == 10 and compared.models[1].factors["seconds_per_token"].value == 2
    assert compared.ratios["seconds_per_token"].value == 2 and compared.ratio.value == pytest.approx(2)
    assert compare(slow, fast).ratio.value == pytest.approx(0.5)


def test_what_nobody_graded_counts_for_reasoning_alone() -> None:
    """Easy 0.7 and hard 0.4 are 0.6 and 0.2 above chance, the third is 0.9 of what it could be; one task has no chance at all."""
    shares: dict[tuple[str, int | None], tuple[int, int]] = {("easy", 1): (140, 200), ("hard", 2): (40, 100), ("other", None): (370, 400)}
    items = [*scored(shares, 0.25), *scored({("written", None): (30, 300)})]
    f = measure(Subject(items, 10**6, [1.0, 1.0])).factors
    assert f["reasoning"].value == pytest.approx((0.6 + 0.2 + 0.9 + 0.1) / 4)
    assert f["adaptability"].value == pytest.approx(0.2 / 0.6)
    assert f["adaptability"].low is not None and 0 <= f["adaptability"].low < 1 / 3
    told = factors(items)
    assert told == {"reasoning": f["reasoning"].value, "adaptability": f["adaptability"].value, "why": None}


def test_counting_alike_problems_together_is_the_bootstrap_over_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every draw again, problem by problem; and the same whatever is drawn at once."""
    rng, n = np.random.default_rng(SEED), 90
    kinds = [("a", 1, 0.25), ("a", 4, 0.2), ("b", 1, 0.0), ("c", None, 0.5)]
    picked = [kinds[i] for i in rng.integers(0, len(kinds), n)]
    pair = [Subject([Scored(*k, bool(rng.random() < p)) for k in picked], 10**6, [1.0]) for p in (0.9, 0.8)]
    draws = np.random.default_rng(5).multinomial(n, np.full(n, 1 / n), ipc.DRAWS)

    def reasoning(subject: Subject, count: np.ndarray) -> float:
        means = []
        for group in "abc":
            mine = [i for i, s in enumerate(subject.scored) if s.group == group and count[i]]
            total = sum(count[i] * (subject.scored[i].right - subject.scored[i].chance) / (1 - subject.scored[i].chance) for i in mine)
            means += [total / sum(count[i] for i in mine)] if mine else []
        return float(np.mean(means))

    some = slice(0, ipc.DRAWS, 20)
    expected = np.array([[reasoning(s, count) for count in draws[some]] for s in pair])
    (first, second), _ = ipc._drawn(pair, 5)
    assert first.reasoning[1:][some] == pytest.approx(expected[0], abs=1e-12) and len(expected[0]) == 200
    assert second.reasoning[1:][some] == pytest.approx(expected[1], abs=1e-12)
    whole = compare(*pair, 5)
    for alone, beside in zip((measure(s, 5) for s in pair), whole.models, strict=True):
        ends = [(e.low, e.value, e.high) for m in (alone, beside) for e in (*m.factors.values(), m.value)]
        assert np.array(ends[:5], float) == pytest.approx(np.array(ends[5:], float), abs=1e-12)
    monkeypatch.setattr(ipc, "DRAWN_AT_ONCE", 7 * n)
    assert compare(*pair, 5) == whole


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
    quick = ("--limit", "35", "--decode", "4", "--repeat", "2")
    shipped = str(model_path(None))
    assert run(shipped, shipped, *quick, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["suite"] == "puzzles" and sum(found["groups"].values()) == 35
    assert found["problems"] == 35 and [m["model"] for m in found["models"]] == ["qig-nano Q4_0"] * 2
    first, second = found["models"]
    assert first["reasoning"] == second["reasoning"] and first["parameters_millions"]["value"] == pytest.approx(3.115, abs=1e-3)
    assert found["ratios"]["parameters_millions"]["value"] == 1 and first["seconds_per_token"]["value"] > 0
    assert (found["why"] is None) == (first["ipc"]["value"] is not None)
    assert run(*quick) == 0
    out = capsys.readouterr().out
    assert "reasoning above chance" in out and "microseconds a token" in out
    text = tmp_path / "text.txt"
    text.write_text("Pip had a red ball. " * 9)
    assert run(*quick, "--text", text, "--json") == 0
    assert json.loads(capsys.readouterr().out)["tokens"] == str(text)
    assert run(*quick, "--text", tmp_path / "none.txt") == 2
    assert run(str(tmp_path / "none.gguf")) == 2
    assert run("--levels", "9") == 2


TASKS = ("--suite", "reasoning", "--tasks", "arc_easy,arc_challenge:train,hellaswag,piqa", "-t", 1, "--decode", 4, "--repeat", 2)


def test_command_on_question_sets(capsys: Output, tmp_path: Path) -> None:
    """Four items of each set: a model at chance is told so, whichever file holds it."""
    pytest.importorskip("lm_eval", reason="lm-eval is not installed: extra eval")
    pair, sets = (GOLDEN / "golden-q4_0.gguf", GOLDEN / "golden-q8_0.gguf"), write_sets(tmp_path)
    assert run(*pair, *TASKS, "--data-dir", sets, "--seed", 3, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["suite"] == "reasoning" and found["problems"] == 16
    assert found["groups"] == {"arc_easy": 4, "arc_challenge:train": 4, "hellaswag": 4, "piqa": 4}
    assert found["notes"] == [
        "arc_challenge:train: split 'train'; scores are published on 'test'.",
        "hellaswag: items of hellaswag_val_first_half.jsonl.",
    ]
    for model in found["models"]:
        assert -1 <= model["reasoning"]["value"] <= 1 and model["reasoning"]["low"] <= model["reasoning"]["value"] <= model["reasoning"]["high"]
        assert (model["why"] is None) == (model["ipc"]["value"] is not None)
    assert (found["why"] is None) == (found["ratios"]["ipc"]["value"] is not None)
    assert run(pair[0], *TASKS, "--data-dir", sets, "--limit", 2) == 0
    out = capsys.readouterr().out
    assert "Suite reasoning: 2 of arc_easy, 2 of arc_challenge:train, 2 of hellaswag, 2 of piqa.\narc_challenge:train: split 'train';" in out


def test_command_on_the_local_sets(capsys: Output, data_dir: Path) -> None:
    """Real items of the graded pair, of which one has its train split alone."""
    pytest.importorskip("lm_eval", reason="lm-eval is not installed: extra eval")
    tasks = (*TASKS[:3], "arc_easy,arc_challenge:train", *TASKS[4:])
    assert run(GOLDEN / "golden-q4_0.gguf", *tasks, "--data-dir", data_dir / "eval", "--limit", 3, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["groups"] == {"arc_easy": 3, "arc_challenge:train": 3} and (found["why"] is None) == (found["ipc"]["value"] is not None)


def test_an_interrupted_command_keeps_its_answers(capsys: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lm_eval", reason="lm-eval is not installed: extra eval")
    from qig_edge.evals.reasoning.model import BackendLM

    args = (GOLDEN / "golden-q4_0.gguf", *TASKS, "--data-dir", write_sets(tmp_path))
    score, asked = BackendLM._score, 0

    def stopping(self: BackendLM, inputs: list[int], continuation: list[int]) -> tuple[float, bool]:
        nonlocal asked
        asked += 1
        if asked == 4:
            raise KeyboardInterrupt
        return score(self, inputs, continuation)

    monkeypatch.setattr(BackendLM, "_score", stopping)
    assert run(*args) == 130
    assert capsys.readouterr().err == "interrupted: the answers of golden-q4_0.gguf so far are kept for the next start\n"
    assert run(*args) == 0  # the fourth answer and those after it; what both parts of ARC ask is asked once
    assert "3 answers were kept from a run that was interrupted." in capsys.readouterr().out
    assert asked == 4 + (4 * 4 + 4 * 4 + 4 * 2 - 3)


def test_refusals(capsys: Output, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sets = write_sets(tmp_path)
    cases = (
        (("--suite", "text"), "suite 'text' grades no problems (suites that do: puzzles, reasoning)"),
        (("--suite", "chess"), "suite 'chess' grades no problems"),
        (("--suite", "reasoning", "--data-dir", sets, "--levels", "1"), "--levels says nothing to the suite 'reasoning'"),
        (("--suite", "reasoning", "--data-dir", sets, "--tasks", "arc_challenge"), "there is another split: --tasks arc_challenge:train"),
        (("--suite", "reasoning", "--data-dir", tmp_path / "none"), "none' is no folder"),
        (("--tasks", "piqa"), "--tasks says nothing to the suite 'puzzles'"),
        (("--data-dir", sets), "--data-dir says nothing to the suite 'puzzles'"),
    )
    for args, message in cases:
        assert run(tiny_model, *args) == 2
        out, err = capsys.readouterr()
        assert out == "" and message in err and err.count("\n") == 1, err
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    assert run(tiny_model, "--suite", "reasoning", "--data-dir", sets) == 2
    assert "needs the 'eval' extra" in capsys.readouterr().err
