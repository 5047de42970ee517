"""The tables and curves of docs/results.md, from what runs/twin.sh left.

    python runs/twin_results.py OUT/twin docs/results.md

A table stands in the page between <!-- NAME --> and <!-- end -->, and is replaced there; whatever else is written in the page stays. The curves
are written beside the page: results-training.png, results-puzzles.png.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402 - the backend comes first

SIZES = ("1m", "3m")
KINDS = {"qig": "QIG", "dense": "twin"}
COLORS = {"qig": "tab:blue", "dense": "tab:orange"}
FILES = {"qig": "QIG", "qig-open": "QIG without its gate", "dense": "twin"}
FACTORS = ("reasoning", "adaptability", "parameters_millions", "seconds_per_token", "ipc")
DEPTHS = ("0", "1024", "4096")
CONVERTED = (r"([\d.]+) bits a weight", r"^ffn_down +(\w+)", r"^bits per byte .*\((.*)\)")  # what `qig-edge convert` says of a file
EVERY = 2_000_000  # tokens from one line of the training table to the next


class Found:
    """The folder of a run, read once a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sizes = [size for size in SIZES if (folder / f"{size}-speed.json").is_file()]
        if not self.sizes:
            sys.exit(f"'{folder}' holds nothing that runs/twin.sh finished: {', '.join(f'{s}-speed.json' for s in SIZES)} are missing")

    def json(self, name: str) -> dict[str, Any]:
        return json.loads((self.folder / f"{name}.json").read_text("utf-8"))

    def metrics(self, run: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / run / "metrics.jsonl").read_text("utf-8").splitlines()]

    def named(self, kind: str, size: str, rest: str) -> dict[str, Any]:
        """Of a model of FILES: "qig-open" is qig-SIZE-open."""
        first, dash, last = kind.partition("-")
        return self.json(f"{first}-{size}{dash}{last}-{rest}")


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (heads, ["---"] * len(heads), *rows))


def models(found: Found) -> str:
    """What was trained, and the files of it."""
    rows = []
    for size in found.sizes:
        for kind in KINDS:
            name = f"{kind}-{size}"
            result = found.named(kind, size, "row")["result"]
            seen = [f"{found.metrics(run)[-1]['tokens'] / 1e6:.1f}M" for run in (name, f"{name}-puzzles")]
            converted = (found.folder / f"{name}-convert.txt").read_text("utf-8")
            told = [re.search(pattern, converted, re.MULTILINE) for pattern in CONVERTED]
            file = f"{result['file_bytes'] / 1e6:.2f} MB"
            rows.append([f"{KINDS[kind]} {size}", f"{result['n_params']:,}", *seen, file, *(m[1] if m else "?" for m in told)])
    heads = ["model", "parameters", "tokens of the mixture", "then of puzzles", "Q4_0 file", "bits a weight", "ffn_down", "cost of 4 bits"]
    return table(heads, rows)


def training(found: Found) -> str:
    """Held-out bits per byte while training."""
    heads = ["tokens", *(f"{KINDS[kind]} {size}" for size in found.sizes for kind in KINDS)]
    columns = []
    for size in found.sizes:
        for kind in KINDS:
            evaluated = [r for r in found.metrics(f"{kind}-{size}") if "bits_per_byte" in r]
            columns.append({round(r["tokens"] / EVERY): r["bits_per_byte"]["all"] for r in evaluated})
    turns = sorted(set().union(*columns))
    return table(heads, [[f"{n * EVERY / 1e6:.0f}M", *(f"{c[n]:.3f}" if n in c else "" for c in columns)] for n in turns])


def text(found: Found) -> str:
    """Bits per byte of the Q4_0 files on held-out documents, whole."""
    heads = ["held-out text", *(f"{label} {size}" for size in found.sizes for label in FILES.values())]
    results = [found.named(kind, size, "text") for size in found.sizes for kind in FILES]
    rows = [[Path(s).name.split(".")[0], *(f"{r['by_source'][s]['bits_per_byte']:.3f}" for r in results)] for s in results[0]["by_source"]]
    return table(heads, [*rows, ["all", *(f"{r['bits_per_byte']:.3f} ± {r['stderr']:.3f}" for r in results)]])


def _puzzled(found: Found) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{KINDS[kind]} {size}{', puzzles after' if after else ''}", found.json(f"{kind}-{size}{after}-puzzles"))
        for size in found.sizes
        for after in ("", "-puzzles")
        for kind in KINDS
    ]


def puzzles(found: Found) -> str:
    """Accuracy by level, and what the models know of it."""
    state = ("reasoning", "adaptability", "calibration error", "surprise AUROC", "confidence AUROC")
    heads = ["% right", *(f"level {n}" for n in range(1, 6)), "all", "chance", *state]
    rows = []
    for label, r in _puzzled(found):
        levels = [r["by_level"][str(n)] for n in range(1, 6)]
        claim = r["state"]["claims"]["token_confidence"]
        rows.append([
            label,
            *(f"{100 * level['accuracy']:.0f} ± {100 * level['stderr']:.0f}" for level in levels),
            f"{100 * r['accuracy']['accuracy']:.1f} ± {100 * r['accuracy']['stderr']:.1f}",
            f"{100 * r['accuracy']['chance']:.0f}",
            _or_undefined(r["ipc"]["reasoning"]),
            _or_undefined(r["ipc"]["adaptability"]),
            f"{claim['calibration_error']:.3f}",
            f"{r['state']['surprise_error_auroc']:.3f} ± {r['state']['surprise_error_auroc_stderr']:.3f}",
            f"{claim['error_auroc']:.3f}",
        ])  # fmt: skip
    return table(heads, rows)


def families(found: Found) -> str:
    """Accuracy by kind of problem after the phase of puzzles."""
    results = [(label, r) for label, r in _puzzled(found) if label.endswith("after")]
    heads = ["% right", *(label.removesuffix(", puzzles after") for label, _ in results), "chance"]
    rows = []
    for family, one in results[0][1]["by_family"].items():
        scores = [r["by_family"][family] for _, r in results]
        rows.append([family, *(f"{100 * s['accuracy']:.0f} ± {100 * s['stderr']:.0f}" for s in scores), f"{100 * one['chance']:.0f}"])
    return table(heads, rows)


def abstaining(found: Found) -> str:
    """Accuracy of the answers that are given when the least confident are held back."""
    heads = ["accuracy, % of answers given", "25%", "50%", "75%", "100%"]
    rows = []
    for label, r in _puzzled(found):
        given = r["state"]["claims"]["answer_confidence"]["selective"]
        rows.append([label, *(f"{100 * point['accuracy']:.0f}" for point in given)])
    return table(heads, rows)


def reasoning(found: Found) -> str:
    """lm-eval's tasks."""
    results = [(f"{KINDS[kind]} {size}", found.json(f"{kind}-{size}-reasoning")["tasks"]) for size in found.sizes for kind in KINDS]
    rows = []
    for name, first in results[0][1].items():
        for metric in first["metrics"]:
            scores = [tasks[name]["metrics"][metric] for _, tasks in results]
            cells = [f"{100 * s['value']:.1f} ± {100 * s['stderr']:.1f}" for s in scores]
            rows.append([name, metric, str(first["items"]), *cells, f"{100 * first['chance']:.0f}"])
    return table(["task", "metric", "items", *(label for label, _ in results), "chance"], rows)


def speed(found: Found) -> str:
    """Bytes, active pairs and rates of every file at every depth, by turns; beside it the twin in llama.cpp."""
    heads = ["file", "depth", "pairs active", "bytes a token", "decode, tok/s", "over the twin in libqig", "over the twin in llama.cpp"]
    rows = []
    for size in found.sizes:
        by_turns = found.json(f"{size}-speed")["tests"]
        for place, depth in enumerate(DEPTHS):
            test = next(t for t in by_turns if t["one_by_one"] and str(t["depth"]) == depth)
            twin = test["models"][-1]["against_first"]["samples"]
            for k, (kind, label) in enumerate(FILES.items()):
                row = found.named(kind, size, "row")["result"]["decode"][place]
                peer = next(t for t in found.named(kind, size, "peer")["tests"] if t["test"].endswith(f"at depth {depth}"))
                mine = test["models"][k]
                over = sorted(a / b for a, b in zip(mine["against_first"]["samples"], twin, strict=True))
                rows.append([
                    f"{label} {size}",
                    depth,
                    f"{100 * row['agency']:.0f}%",
                    f"{row['bytes_per_token'] / 1e3:.0f} kB",
                    f"{mine['tokens_per_second']['median']:.0f}",
                    "1" if kind == "dense" else f"{over[len(over) // 2]:.2f} ({over[0]:.2f} to {over[-1]:.2f})",
                    f"{peer['ratio']['median']:.2f} ({peer['ratio']['min']:.2f} to {peer['ratio']['max']:.2f})",
                ])  # fmt: skip
    return table(heads, rows)


def ipc(found: Found) -> str:
    """Both models' factors and the ratio, at each depth."""
    heads = ["pair", "depth", "", "reasoning", "adaptability", "parameters, M", "microseconds a token", "IPC"]
    rows = []
    for size in found.sizes:
        after = [(depth, f"{size}, levels 1 to 3, puzzles after", depth) for depth in DEPTHS]
        others = {f"levels-1-{n}": f"levels 1 to {n}, puzzles after" for n in (2, 4, 5)}
        others |= {"mixed": "levels 1 to 5, mixture alone", "sets": "question sets"}
        for name, what, depth in [*after, *((name, f"{size}, {what}", "0") for name, what in others.items())]:
            compared = found.json(f"{size}-ipc-{name}")
            for label, of in zip(("QIG", "twin"), compared["models"], strict=True):
                cells = [_interval(of[f], 1e6 if f == "seconds_per_token" else 1) for f in FACTORS]
                rows.append([what, depth, label, *cells])
            rows.append([what, depth, "**ratio**", *(f"**{_interval(compared['ratios'][f])}**" for f in FACTORS)])
    return table(heads, rows)


def _or_undefined(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _interval(estimate: dict[str, float | None], scale: float = 1) -> str:
    value, low, high = (None if x is None else f"{scale * x:.3g}" for x in (estimate["value"], estimate["low"], estimate["high"]))
    if value is None:
        return "undefined"
    if low is not None and low == high:
        return value
    return f"{value} ({low or 'unbounded'} to {high or 'unbounded'})"


def draw_training(found: Found, path: Path) -> None:
    figure, axes = plt.subplots(1, len(found.sizes), figsize=(5.4 * len(found.sizes), 4), layout="constrained", squeeze=False)
    for size, ax in zip(found.sizes, axes[0], strict=True):
        for kind, label in KINDS.items():
            points = [(r["tokens"] / 1e6, r["bits_per_byte"]["all"]) for r in found.metrics(f"{kind}-{size}") if "bits_per_byte" in r]
            ax.plot(*zip(*points, strict=True), "o-", color=COLORS[kind], label=f"{label} {size}")
        ax.set(xlabel="million tokens", ylabel="held-out bits per byte", title=f"{size} parameters")
        ax.legend()
        ax.grid(alpha=0.3)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_puzzles(found: Found, path: Path) -> None:
    """A row a size: accuracy by level, calibration of each token's confidence, errors by surprise, all after the phase of puzzles."""
    figure, axes = plt.subplots(len(found.sizes), 3, figsize=(13, 3.8 * len(found.sizes)), layout="constrained", squeeze=False)
    for size, (levels, calibration, surprise) in zip(found.sizes, axes, strict=True):
        for kind, label in KINDS.items():
            r = found.json(f"{kind}-{size}-puzzles-puzzles")
            by_level = [r["by_level"][str(n)] for n in range(1, 6)]
            shares, ends = [x["accuracy"] for x in by_level], [1.96 * x["stderr"] for x in by_level]
            levels.errorbar(range(1, 6), shares, ends, fmt="o-", color=COLORS[kind], label=label, capsize=3)
            curve = [p for p in r["state"]["claims"]["token_confidence"]["curve"] if p["count"]]
            calibration.plot([p["confidence"] for p in curve], [p["accuracy"] for p in curve], "o-", color=COLORS[kind], label=label)
            errors = r["state"]["surprise_error_curve"]
            surprise.plot([p["surprise"] for p in errors], [p["errors"] for p in errors], "o-", color=COLORS[kind], label=label)
        levels.plot(range(1, 6), [x["chance"] for x in by_level], "--", color="0.5", label="chance")
        calibration.plot([0, 1], [0, 1], "--", color="0.5")
        levels.set(xlabel="level", ylabel="right", title=f"{size}: accuracy, 95% intervals", ylim=(0, 1), xticks=range(1, 6))
        calibration.set(xlabel="confidence of a token", ylabel="right", title=f"{size}: calibration", xlim=(0, 1), ylim=(0, 1))
        surprise.set(xlabel="mean surprise of the answer", ylabel="wrong answers", title=f"{size}: surprise and errors", xlim=(0, 1), ylim=(0, 1))
        for ax in (levels, calibration, surprise):
            ax.legend()
            ax.grid(alpha=0.3)
    figure.savefig(path, dpi=110)
    plt.close(figure)


TABLES: dict[str, Callable[[Found], str]] = {
    f.__name__: f for f in (models, training, text, puzzles, families, abstaining, reasoning, speed, ipc)
}


def main(folder: Path, page: Path) -> None:
    found = Found(folder)
    written = page.read_text("utf-8")
    for name, make in TABLES.items():
        slot = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if not slot.search(written):
            sys.exit(f"'{page}' has no place <!-- {name} --> ... <!-- end -->")
        filled = make(found)
        written = slot.sub(lambda m, filled=filled: m[1] + filled + "\n" + m[2], written)
    draw_training(found, page.with_name(f"{page.stem}-training.png"))
    draw_puzzles(found, page.with_name(f"{page.stem}-puzzles.png"))
    page.write_text(written, "utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
