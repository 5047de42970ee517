"""docs/qig-nano.png: training loss of qig-nano and of its dense twin over the tokens they saw, and the held-out evaluations.

    python runs/nano_curve.py RUN_OF_QIG RUN_OF_TWIN docs/qig-nano.png
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402 - the backend comes first


def main(qig: str, twin: str, out: str) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for label, run, color in (("qig-nano", qig, "tab:blue"), ("dense twin", twin, "tab:orange")):
        records = [json.loads(line) for line in (Path(run) / "metrics.jsonl").read_text("utf-8").splitlines()]
        smooth, ys = records[0]["loss"], []
        for r in records:
            smooth = 0.97 * smooth + 0.03 * r["loss"]
            ys.append(smooth)
        left.plot([r["tokens"] / 1e6 for r in records], ys, color=color, label=label)
        held = [(r["tokens"] / 1e6, r["bits_per_byte"]["all"]) for r in records if "bits_per_byte" in r and r["step"] < r["steps"]]
        right.plot(*zip(*held, strict=True), "o-", color=color, label=label)
    left.set(xlabel="million tokens", ylabel="training loss, nats a token (smoothed)", ylim=(1.9, 5))
    right.set(xlabel="million tokens", ylabel="held-out bits per byte")
    for axes in (left, right):
        axes.legend()
        axes.grid(alpha=0.3)
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    main(*sys.argv[1:4])
