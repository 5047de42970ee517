"""Plots of evaluations: what is refused before anything runs, and that each panel draws what its result holds."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest

plt = pytest.importorskip("matplotlib.pyplot", reason="matplotlib is not installed: extra train")

from qig_edge.errors import ConfigError, MissingExtra  # noqa: E402
from qig_edge.evals import plots  # noqa: E402
from qig_edge.evals.puzzles.generate import problems  # noqa: E402
from qig_edge.evals.suites import Options, run  # noqa: E402
from tests.conftest import SEED  # noqa: E402
from tests.evals.fake import Said, TalkingBackend  # noqa: E402

KNOWN = {p.prompt: p for p in problems(70, SEED, "test")}


def puzzles(mind: Any) -> dict[str, Any]:
    return run("puzzles", TalkingBackend(mind), Options(limit=70, seed=SEED)).to_dict()


def honest(prompt: str) -> Said:
    p = KNOWN[prompt]
    return Said(p.answer if p.level < 4 else "zz", surprise=p.level / 8, rise=0)


REASONING = {
    "suite": "reasoning",
    "tasks": {
        "piqa": {"chance": 0.5, "metrics": {"acc": {"value": 0.6, "stderr": 0.1}, "acc_norm": {"value": 0.5, "stderr": None}}},
        "gsm8k": {"chance": 0.0, "metrics": {"exact_match, strict-match": {"value": 0.0, "stderr": 0.0}}},
    },
}


def drawn(found: dict[str, Any], n: int) -> Any:
    figure, ax = plt.subplots()
    plots.PANELS[found["suite"]][n](ax, found)
    plt.close(figure)
    return ax


def test_panels_show_the_numbers() -> None:
    found = puzzles(honest)
    levels = drawn(found, 0)
    assert list(levels.lines[0].get_ydata()) == [1, 1, 1, 0, 0]
    assert "70 problems" in levels.get_title()
    surprise = drawn(found, 2)
    share = list(surprise.lines[0].get_ydata())
    assert len(share) == 10 and share == sorted(share) and share[0] == 0 and share[-1] == 1 and "AUROC 1.00" in surprise.get_title()
    assert sum(g["answers"] for g in found["state"]["surprise_error_curve"]) == 70
    curve = [b for b in found["state"]["claims"]["token_probability"]["curve"] if b["count"]]
    points = drawn(found, 1).lines[2]
    assert list(points.get_xdata()) == [b["confidence"] for b in curve] and list(points.get_ydata()) == [b["accuracy"] for b in curve]
    bars = drawn(REASONING, 0)
    assert [bar.get_height() for bar in bars.patches] == [0.6, 0.5, 0.0]


@pytest.mark.parametrize(
    "mind",
    [honest, lambda p: Said("zz"), lambda p: Said("zz", float("nan"), float("nan"), float("nan"))],
    ids=["honest", "all wrong", "no state"],
)
def test_whole_files(tmp_path: Path, mind: Any) -> None:
    path = tmp_path / "p.png"
    plots.draw(puzzles(mind), "a model", path)
    assert path.read_bytes().startswith(b"\x89PNG") and [p.name for p in tmp_path.iterdir()] == ["p.png"]
    plots.draw(REASONING, "a model", path)
    assert not plt.get_fignums()


def test_refused_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="the suite 'text' has no plots \\(suites with plots: puzzles, reasoning\\)"):
        plots.check("text", tmp_path / "p.png")
    for bad in (tmp_path / "p.pdf", tmp_path / "none" / "p.png"):
        with pytest.raises(ConfigError, match="ends in .png"):
            plots.check("puzzles", bad)
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "matplotlib":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match="--plot needs the 'train' extra"):
        plots.check("puzzles", tmp_path / "p.png")
