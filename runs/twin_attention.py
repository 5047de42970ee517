"""How attention of trained models looks, in torch: are scores still graded, and what would the same relative gate leave out of any of them?

    python runs/twin_attention.py SHARDS RUN...        SHARDS: the tokenized data of the runs

Two Markdown tables, a row for each run, and for each run and margin. Windows of the model's context from the start of each held-out source, in
float32. One-hot: a query's best key has more than 0.99 of its weight; best before middle: nats between a query's best score and its median one. The
gate lets a pair through where its score is at most MARGIN nats behind the best of its query and head, or is the token with itself.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from qig_edge.model.attention import Attention
from qig_edge.model.kernel import Kernel
from qig_edge.train import checkpoint, shards

MARGINS = (math.inf, 6.0, 5.0, 4.0, 3.0)
WINDOWS = 2  # of each source
Look = Callable[[Tensor, Tensor], Tensor]  # (scores, which pairs are seen) -> which pass, all [B, H, queries, keys]


def through(model: Kernel, look: Look, texts: list[Tensor]) -> tuple[float, float]:
    """Nats a token and share of the pairs that pass, with `look` between scores and weights."""

    def scores_of(layer: Attention, *args: Any) -> Any:
        scores, allowed, passed, visible = Attention._scores(layer, *args)
        allowed = look(scores, allowed.expand_as(scores))
        return scores.masked_fill(~allowed, -math.inf), allowed, passed, visible

    layers = [part for part in model.modules() if isinstance(part, Attention)]
    for layer in layers:
        layer._scores = functools.partial(scores_of, layer)  # type: ignore[method-assign]
    nats = active = count = 0.0
    with torch.inference_mode():
        for ids in texts:
            out = model(ids[None, :-1], observe=True)
            nats += float(torch.nn.functional.cross_entropy(out.logits[0].float(), ids[1:], reduction="sum"))
            active += float(out.telemetry.agency.sum())
            count += len(ids) - 1
    return nats / count, active / count


def gate(margin: float, scores: Tensor, seen: Tensor) -> Tensor:
    queries, keys = scores.shape[-2:]
    own = torch.arange(keys) == torch.arange(keys - queries, keys)[:, None]
    return seen & ((scores > scores.amax(-1, keepdim=True) - margin) | own)


def state(model: Kernel, texts: list[Tensor]) -> list[str]:
    found: list[tuple[Tensor, Tensor, Tensor]] = []

    def look(scores: Tensor, seen: Tensor) -> Tensor:
        rows = seen.sum(-1) > 1
        weights = scores.softmax(-1)
        middle = torch.where(seen, scores, math.nan).nanmedian(-1).values
        found.append(tuple(x[rows] for x in (1 / weights.square().sum(-1), weights.amax(-1) > 0.99, scores.amax(-1) - middle)))  # type: ignore[arg-type]
        return seen

    through(model, look, texts)
    keys, hot, spread = (torch.cat(parts).float() for parts in zip(*found, strict=True))
    return [f"{keys.median():.1f}", f"{hot.mean():.0%}", f"{spread.median():.0f}", f"{spread.max():.0f}"]


def main(folder: Path, *runs: Path) -> None:
    held_out = shards.opened(folder).values()
    scored = ["| run | keys that count, median | one-hot | best before middle, median, nats | most |\n|---|---|---|---|---|"]
    pruned = ["| run | margin, nats | pairs active | nats a token | against all pairs |\n|---|---|---|---|---|"]
    for run in runs:
        model = checkpoint.load_model(run).eval()
        size = model.config.context_length + 1
        tokens = [torch.from_numpy(s.validation[: WINDOWS * size].astype("int64")) for s in held_out]
        texts = [window for source in tokens for window in source.split(size) if len(window) == size]
        scored.append(f"| {run.name} | {' | '.join(state(model, texts))} |")
        first = None
        for margin in MARGINS:
            nats, active = through(model, functools.partial(gate, margin), texts)
            first = nats if first is None else first
            name = "all pairs" if math.isinf(margin) else f"{margin:g}"
            pruned.append(f"| {run.name} | {name} | {active:.1%} | {nats:.4f} | {nats / first - 1:+.2%} |")
    print("\n".join([*scored, "", *pruned]))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:]))
