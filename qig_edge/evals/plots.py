"""Plots of what `qig-edge eval` found, from its JSON: accuracy by level, calibration and surprise of puzzles; scores of question sets.

    draw(result.to_dict(), "qig-nano", Path("puzzles.png"))
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qig_edge.errors import ConfigError, MissingExtra
from qig_edge.runtime.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CLAIMS = {"token_confidence": "confidence", "token_probability": "softmax"}
BLUE, ORANGE, GREY = "tab:blue", "tab:orange", "0.6"


def check(suite: str, path: Path) -> None:
    """Raises before anything is computed what draw would raise after it: ConfigError for a suite without plots, another ending than .png or a
    folder that is not there; MissingExtra without matplotlib."""
    if suite not in PANELS:
        raise ConfigError(f"--plot: the suite '{suite}' has no plots (suites with plots: {', '.join(PANELS)})")
    if path.suffix != ".png" or not path.parent.is_dir():
        raise ConfigError(f"--plot {path}: give a file that ends in .png, in a folder that exists")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise MissingExtra("--plot", "train") from None


def draw(found: dict[str, Any], title: str, path: Path) -> None:
    """Writes the plots of one result, whole or not at all. found: what to_dict() of a suite in PANELS gives. Raises as check does."""
    check(found["suite"], path)
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    panels = PANELS[found["suite"]]
    figure, axes = plt.subplots(1, len(panels), figsize=(5.2 * len(panels), 4.2), layout="constrained", squeeze=False)
    try:
        for panel, ax in zip(panels, axes[0], strict=True):
            panel(ax, found)
            ax.grid(alpha=0.3)
        figure.suptitle(title)
        with replacing(path) as partial:
            figure.savefig(partial, dpi=120, format="png")
    finally:
        plt.close(figure)


def _levels(ax: Axes, found: dict[str, Any]) -> None:
    """Accuracy by level with 95% intervals, beside chance."""
    rows = list(found["by_level"].items())
    names, shares = [name for name, _ in rows], [row["accuracy"] for _, row in rows]
    below = [max(0.0, row["accuracy"] - row["low"]) for _, row in rows]
    above = [max(0.0, row["high"] - row["accuracy"]) for _, row in rows]
    ax.errorbar(names, shares, (below, above), fmt="o-", color=BLUE, capsize=3, label="accuracy, 95% interval")
    ax.plot(names, [row["chance"] for _, row in rows], "--", color=GREY, label="chance")
    ax.set(xlabel="level", ylabel="share right", ylim=(-0.02, 1.02), title=f"{found['problems']} problems")
    ax.legend()


def _calibration(ax: Axes, found: dict[str, Any]) -> None:
    """How often a token was right by how sure the model was of it."""
    ax.plot((0, 1), (0, 1), "--", color=GREY)
    for (name, label), colour in zip(CLAIMS.items(), (BLUE, ORANGE), strict=True):
        claim = found["state"]["claims"][name]
        if claim is None:
            continue
        points = [(b["confidence"], b["accuracy"], b["count"]) for b in claim["curve"] if b["count"]]
        most = max(n for *_, n in points)
        ax.plot([x for x, *_ in points], [y for _, y, _ in points], color=colour, label=f"{label}, ECE {claim['calibration_error']:.3f}")
        ax.scatter([x for x, *_ in points], [y for _, y, _ in points], [10 + 90 * n / most for *_, n in points], color=colour)
    ax.set(xlabel="claim before the token", ylabel="share of right tokens", title="calibration (area: tokens)")
    if ax.get_legend_handles_labels()[0]:
        ax.legend()


def _surprise(ax: Axes, found: dict[str, Any]) -> None:
    """Share of wrong answers by the model's surprise at its own answer, groups of equal size."""
    curve, area = found["state"]["surprise_error_curve"], found["state"]["surprise_error_auroc"]
    told = "undefined" if area is None else f"{area:.2f}"
    if curve:
        ax.plot([g["surprise"] for g in curve], [g["errors"] for g in curve], "o-", color=BLUE)
    ax.set(xlabel="surprise at its own answer", ylabel="share wrong", ylim=(-0.02, 1.02), title=f"surprise and errors, AUROC {told}")


def _scores(ax: Axes, found: dict[str, Any]) -> None:
    """Every metric with its standard error, and chance."""
    rows = [(f"{task}\n{name}", m, t["chance"]) for task, t in found["tasks"].items() for name, m in t["metrics"].items()]
    places = range(len(rows))
    ax.bar(places, [m["value"] for _, m, _ in rows], yerr=[m["stderr"] or 0.0 for _, m, _ in rows], color=BLUE, capsize=3)
    for place, (*_, chance) in zip(places, rows, strict=True):
        ax.plot((place - 0.4, place + 0.4), (chance, chance), "--", color=ORANGE)
    ax.set_xticks(list(places), [name for name, *_ in rows], fontsize=6, rotation=45)
    ax.set(ylabel="score, with standard error (dashed: chance)", ylim=(0, 1))


PANELS: dict[str, tuple[Callable[[Axes, dict[str, Any]], None], ...]] = {
    "puzzles": (_levels, _calibration, _surprise),
    "reasoning": (_scores,),
}
