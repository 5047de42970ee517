"""The table and the plot of an ablation, from the results of its rows."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from qig_edge.ablation.rows import CHANGES, EQUAL, FULL
from qig_edge.runtime.files import replacing, written_whole

OFF = 0.06  # a row further from the full model than that leaves the plot
HEADINGS = (
    "row",
    "parameters",
    "bits/byte",
    "against full",
    "puzzles",
    "level 1 to 5",
    "pairs active",
    "blocks run",
    "block weights read",
    "decode tok/s",
)


def results(out: Path) -> dict[str, list[dict[str, Any]]]:
    """Finished rows by name, one result a seed, in the order of the table."""
    found: dict[str, list[dict[str, Any]]] = {}
    for file in sorted(out.glob("rows/*/result.json")):
        result = json.loads(file.read_text("utf-8"))
        result["folder"] = str(file.parent)
        found.setdefault(result["name"], []).append(result)
    order = list(CHANGES)
    return {name: sorted(found[name], key=lambda r: r["seed"]) for name in order if name in found}


def write(out: Path, speeds: dict[str, float]) -> tuple[Path, Path]:
    """Writes OUT/ablation.md, ablation.json and ablation.png; returns the paths of table and plot."""
    found = results(out)
    table, plot = out / "ablation.md", out / "ablation.png"
    with written_whole(table) as file:
        file.write("\n".join([*lines(found, speeds), "", *state_lines(found)]) + "\n")
    with written_whole(out / "ablation.json") as file:
        file.write(json.dumps({"rows": found, "decode_tokens_per_second": speeds}, indent=1) + "\n")
    _plot(found, plot)
    return table, plot


def lines(found: dict[str, list[dict[str, Any]]], speeds: dict[str, float]) -> list[str]:
    """The table in Markdown. Where a row ran with several seeds its figures are means, and bits per byte carry half the range."""
    out = ["| " + " | ".join(HEADINGS) + " |", "|" + "---|" * len(HEADINGS)]
    for name, seeds in found.items():
        bits = [r["bits_per_byte"]["all"] for r in seeds]
        apart = _apart(found, name)
        spread = f" ± {(max(bits) - min(bits)) / 2:.4f}" if len(bits) > 1 else ""
        levels = [_mean([r["puzzles"].get(str(n)) for r in seeds]) for n in range(1, 6)]
        cells = [
            name,
            f"{seeds[0]['parameters'] / 1e6:.2f}M",
            f"{sum(bits) / len(bits):.4f}{spread}",
            "" if apart is None or name == FULL else f"{apart:+.2%}",
            _share(_mean([r["puzzles"].get("all") for r in seeds])),
            " ".join("-" if v is None else f"{100 * v:.0f}" for v in levels),
            _share(_mean([r["active_pairs"] for r in seeds])),
            f"{_mean([r['blocks_run'] for r in seeds]):.2f}",
            f"{_mean([r['block_weights_read'] for r in seeds]) / 1e3:.0f}k",  # type: ignore[operator]
            f"{speeds[name]:.0f}" if name in speeds else "-",
        ]
        out.append("| " + " | ".join(cells) + " |")
    return out


def state_lines(found: dict[str, list[dict[str, Any]]]) -> list[str]:
    """A second table: what each model did on held-out text. kappa at a context of 16, 64 and 256 tokens, from the coupling as it was learnt."""
    headings = (
        "row",
        "phi",
        "linear / geometric / breakdown",
        "deep share",
        "units active",
        "beta",
        "kappa 16 / 64 / 256",
        "temperature by block",
    )
    out = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    for name, seeds in found.items():
        r, model = seeds[0], seeds[0]["model"]
        qfi = model["attention"] == "qfi"
        cells = [
            name,
            f"{r['phi']:.2f}",
            " / ".join(f"{share:.0%}" for share in r["regimes"]) if model["regime"] else "-",
            f"{r['deep_share']:.0%}" if model["shallow_dim"] else "-",
            f"{r['active_units']:.0%}",
            f"{r['beta']:.2f}" if qfi else "-",
            " / ".join(f"{_kappa(model, r['beta'], n):.0f}" for n in (16, 64, 256)) if qfi else "-",
            " ".join(f"{t:.3f}" for t in r["temperatures"]) or "-",
        ]
        out.append("| " + " | ".join(cells) + " |")
    return out


def _kappa(model: dict[str, Any], beta: float, length: int) -> float:
    r = 1 + beta * math.log(length / model["coupling_ref"])
    return model["kappa_0"] * min(max(r, model["coupling_min"]), model["coupling_max"])


def _mean(values: list[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if known else None


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _apart(found: dict[str, list[dict[str, Any]]], name: str) -> float | None:
    """How far a row's bits per byte lie from the full model's of the same seeds, as a share of them; None where no seed has both."""
    full = {r["seed"]: r["bits_per_byte"]["all"] for r in found.get(FULL, [])}
    ratios = [r["bits_per_byte"]["all"] / full[r["seed"]] - 1 for r in found[name] if r["seed"] in full]
    return sum(ratios) / len(ratios) if ratios else None


def _plot(found: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Left: bits per byte against the full model's of the same seeds, a bar a row. Right: bits per byte over block weights read a token."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    names = list(found)
    bits = [sum(r["bits_per_byte"]["all"] for r in found[n]) / len(found[n]) for n in names]
    apart = [_apart(found, n) for n in names]
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 0.28 * len(names) + 2), layout="constrained")
    left.barh(
        range(len(names)),
        [100 * max(-OFF, min(OFF, a or 0)) for a in apart],  # without a full model: no bar
        color=["0.3" if n == FULL else "tab:blue" for n in names],
    )
    for at, a in enumerate(apart):
        if a is not None and abs(a) > OFF:  # one row that fails must not make the others one line
            left.annotate(f"{a:+.0%}", (100 * OFF * (1 if a > 0 else -1), at), va="center", ha="right", color="white")
    left.set_yticks(range(len(names)), names)
    left.invert_yaxis()
    left.axvline(0, color="0.3", linewidth=1)
    left.set_xlabel("bits per byte against the full model, percent (left is better)")
    for name, b, a in zip(names, bits, apart, strict=True):
        if a is not None and abs(a) > OFF:
            continue
        read = sum(r["block_weights_read"] for r in found[name]) / len(found[name]) / 1e3
        marked = name in (FULL, EQUAL)
        right.plot(read, b, "s" if marked else "o", color="tab:red" if marked else "tab:blue")
        right.annotate(name, (read, b), textcoords="offset points", xytext=(4, 3), fontsize=7)
    right.set_xlabel("block weights read a token, thousands")
    right.set_ylabel("bits per byte")
    right.grid(alpha=0.3)
    with replacing(path) as partial:
        figure.savefig(partial, dpi=120, format="png")
    plt.close(figure)
