"""The loss plot of a run, from its metrics.jsonl."""

from __future__ import annotations

import json
from pathlib import Path


def plot_losses(directory: Path) -> Path:
    """Writes DIR/loss.png: training loss (nats a token, smoothed) and held-out bits per byte over tokens. Returns its path."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    records = [json.loads(line) for line in (directory / "metrics.jsonl").read_text("utf-8").splitlines()]
    figure, left = plt.subplots(figsize=(8, 4.5), layout="constrained")
    smooth, xs, ys = None, [], []
    for r in records:
        smooth = r["loss"] if smooth is None else 0.95 * smooth + 0.05 * r["loss"]
        xs.append(r["tokens"] / 1e6)
        ys.append(smooth)
    left.plot(xs, ys, color="tab:blue", label="training loss")
    left.set_xlabel("million tokens")
    left.set_ylabel("training loss, nats a token (smoothed)", color="tab:blue")
    held = [(r["tokens"] / 1e6, r["bits_per_byte"]["all"]) for r in records if r.get("bits_per_byte")]
    if held:
        right = left.twinx()
        right.plot(*zip(*held, strict=True), "o-", color="tab:orange")
        right.set_ylabel("held-out bits per byte", color="tab:orange")
    left.grid(alpha=0.3)
    path = directory / "loss.png"
    temporary = directory / ".loss.png"
    figure.savefig(temporary, dpi=120, format="png")
    plt.close(figure)
    temporary.rename(path)
    return path
