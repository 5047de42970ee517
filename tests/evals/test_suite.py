"""The suite of problems on a back end whose answers and state are known."""

from __future__ import annotations

import json
import math

import pytest

from qig_edge.errors import ConfigError
from qig_edge.evals.puzzles.generate import FAMILIES, problems
from qig_edge.evals.puzzles.suite import Puzzles
from qig_edge.evals.suites import SUITES, Options, run
from tests.conftest import SEED
from tests.evals.fake import Said, TalkingBackend

LIMIT = 350
KNOWN = {p.prompt: p for p in problems(LIMIT, SEED, "test")}


def honest(prompt: str) -> Said:
    """Right up to level 3, surprised and unsure where it is wrong, more integrated the harder the problem, every fifth level in breakdown."""
    p = KNOWN[prompt]
    right = p.level <= 3
    text = p.answer if right else "zz"
    return Said(text, p.level / 10, 0.99 if right else 0.1, 0.05 if right else 0.6, 2 if p.level == 5 else 1)


def evaluated(mind: object = honest, **options: object) -> Puzzles:
    backend = TalkingBackend(mind, 256)  # type: ignore[arg-type]
    result = run("puzzles", backend, Options(limit=LIMIT, seed=SEED, **options))  # type: ignore[arg-type]
    assert isinstance(result, Puzzles) and backend.open == 0
    return result


def test_what_a_model_knows_and_tells() -> None:
    out = evaluated().to_dict()
    assert json.loads(json.dumps(out, allow_nan=False)) == out
    assert out["problems"] == out["asked"] == LIMIT
    assert {n: row["accuracy"] for n, row in out["by_level"].items()} == {"1": 1, "2": 1, "3": 1, "4": 0, "5": 0}
    assert out["accuracy"]["accuracy"] == 0.6 and abs(out["accuracy"]["stderr"] - math.sqrt(0.24 / LIMIT)) < 1e-12
    assert set(out["by_family"]) == set(FAMILIES)
    assert all(row["total"] == LIMIT // 7 and row["right"] == 30 for row in out["by_family"].values())
    assert all(cell["total"] == 10 for levels in out["cells"].values() for cell in levels.values())
    state = out["state"]
    assert state["phi_level_spearman"] > 0.97 and state["phi_level_spearman_within_families"] > 0.97
    assert state["surprise_error_auroc_within_families"] == 1.0 and set(state["surprise_error_auroc_by_family"]) == set(
        FAMILIES
    )
    assert state["surprise_error_auroc"] == 1.0 and state["surprise_error_auroc_stderr"] == 0.0
    assert set(state["regimes"]) == {"linear", "geometric", "breakdown"} and sum(
        state["regimes"].values()
    ) == pytest.approx(1)
    assert 0.2 < state["regimes"]["breakdown"] < 0.5 and state["regimes"]["linear"] == 0
    assert [row["answers"] for row in state["by_level"]] == [70] * 5
    assert [row["blocks_run"] for row in state["by_level"]] == [4.0] * 5


def test_claims_are_held_to_what_came() -> None:
    claims = evaluated().state["claims"]
    first = claims["first_confidence"]
    # 210 right ones of 350 at 0.99, 140 wrong ones at 0.1
    assert first["values"] == LIMIT and first["calibration_error"] == pytest.approx(0.6 * 0.01 + 0.4 * 0.1, abs=1e-9)
    assert first["error_auroc"] == 1.0
    assert [row["accuracy"] for row in first["selective"]] == pytest.approx([1, 1, 210 / 262, 0.6])
    assert [b["count"] for b in first["curve"]] == [0, 140, 0, 0, 0, 0, 0, 0, 0, 210]
    tokens = claims["token_confidence"]
    assert tokens["values"] > LIMIT and tokens["error_auroc"] is not None
    # every token has probability 0.8
    assert len([b for b in claims["token_probability"]["curve"] if b["count"]]) == 1


def test_all_right_and_all_wrong_say_what_is_undefined() -> None:
    for mind, word in ((lambda p: Said(KNOWN[p].answer), "Every"), (lambda p: Said("zz"), "No")):
        result = evaluated(mind)
        assert (
            result.state["surprise_error_auroc"] is None
            and result.state["claims"]["first_confidence"]["error_auroc"] is None
        )
        assert result.notes() == [
            f"{word} answer is right: what would tell right ones from wrong ones is undefined.",
            "Every token is geometric: a model without a regime detector reports the same.",
        ]
        json.dumps(result.to_dict(), allow_nan=False)


def test_a_state_that_is_not_observed_is_not_reported() -> None:
    result = evaluated(lambda p: Said("zz", math.nan, math.nan, math.nan, None))  # type: ignore[arg-type]
    state = result.to_dict()["state"]
    json.dumps(state, allow_nan=False)
    assert state["phi_level_spearman"] is None and state["surprise_error_auroc"] is None and state["regimes"] is None
    assert state["claims"]["answer_confidence"] is None and state["claims"]["answer_probability"] is not None
    assert any("not reported" in cell for table in result.tables() for row in table.rows for cell in row)


def test_tables_have_whole_rows() -> None:
    tables = evaluated().tables()
    assert len(tables) == 4
    for table in tables:
        assert table.rows and all(len(row) == len(table.columns) for row in table.rows), table.title
    assert tables[0].rows[0][:2] == ("addition", "100 ±0") and tables[0].rows[-1][-2] == "60 ±3"
    chance = sum(p.chance for p in KNOWN.values()) / LIMIT
    assert 0.1 < chance < 0.3 and tables[0].rows[-1][-1] == f"{chance:.0%}"


def test_problems_that_do_not_fit_count_as_wrong() -> None:
    backend = TalkingBackend(lambda p: Said(KNOWN[p].answer), 75)
    result = run("puzzles", backend, Options(limit=LIMIT, seed=SEED))
    out = result.to_dict()
    assert 0 < out["asked"] < LIMIT and out["accuracy"]["right"] == out["asked"] and out["problems"] == LIMIT
    assert "do not fit the context of 75 tokens: they count as wrong" in result.notes()[0]
    tiny = TalkingBackend(honest, 20)
    with pytest.raises(ConfigError, match="none of 350 problems fits this model's context of 20 tokens"):
        run("puzzles", tiny, Options(limit=LIMIT, seed=SEED))
    assert backend.open == tiny.open == 0


def test_progress_levels_and_names() -> None:
    seen: list[tuple[int, int]] = []
    backend = TalkingBackend(lambda p: Said("zz"))
    out = run("puzzles", backend, Options(20, (2, 3), SEED, progress=lambda a, b: seen.append((a, b)))).to_dict()
    assert seen == [(i, 20) for i in range(1, 21)] and set(out["by_level"]) == {"2", "3"}
    with pytest.raises(ConfigError, match="unknown suite 'chess' \\(suites: puzzles"):
        run("chess", backend, Options())
    assert "puzzles" in SUITES


def test_an_interrupt_closes_the_session() -> None:
    def interrupted(done: int, total: int) -> None:
        raise KeyboardInterrupt

    backend = TalkingBackend(lambda p: Said("zz"))
    with pytest.raises(KeyboardInterrupt):
        run("puzzles", backend, Options(5, progress=interrupted))
    assert backend.open == 0


def test_a_state_that_only_tells_families_apart_says_nothing_within_them() -> None:
    """Surprise by family alone: a good AUROC over everything where families differ in errors, one half within each."""
    families = list(FAMILIES)

    def mind(prompt: str) -> Said:
        p = KNOWN[prompt]
        k = families.index(p.family)
        right = p.level <= (4 if k < 3 else 1)
        return Said(p.answer if right else "zz", surprise=k / 8, rise=0)

    state = evaluated(mind).state
    assert state["surprise_error_auroc"] > 0.7
    assert state["surprise_error_auroc_within_families"] == 0.5
