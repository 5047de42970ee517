"""Three questions to a model about its own training, answered as numbers: `qig-edge train --diagnose`.

1. Is parameter space flat here? The Fisher length of a step is how far it moves the predicted distributions. Were the
   space flat, steps of equal Euclidean length would have equal Fisher length in every direction: compared are the
   gradient's and random directions, and how few weights carry the diagonal of the metric.
2. Do correlations matter? How much of the Fisher matrix of a weight tensor lies off its diagonal (share of its
   squared entries, an estimate without bias), and the angle between the steps that the diagonal and the whole block
   call for.
3. Does natural gradient help? The held-out loss, and the Bures distance of the predictions from where they began,
   after some steps along the plain gradient, the gradient divided by the diagonal, and by the block Fisher; each step
   moves the predictions of its batch equally far.

The Fisher matrix is estimated from one gradient a window for tokens drawn from the model itself: of a whole window,
since tokens drawn in turn are uncorrelated. With N windows a block's estimate has rank N; the rest of the block is
taken as its mean diagonal.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qig_edge.errors import DataError
from qig_edge.model.build import Model
from qig_edge.train.config import TrainConfig
from qig_edge.train.shards import Mixture, Shard

CONTEXT = 64  # tokens of a window
FLOATS = 1 << 28  # of all windows' gradients together
DAMPING = 0.1  # of the mean diagonal
STRIDE = 0.05  # Fisher length of a step
STEPS = 8
WINDOWS = 32  # at most
PART = 16  # windows of one forward pass


@dataclass
class Diagnosis:
    """Numbers and verdicts. Losses in nats a token, lengths and distances in the metric that their name tells, angle in
    degrees.

    contrast: Fisher length of the gradient's direction over that of random ones. carriers: share of weights that carry
    the diagonal (participation ratio). off_diagonal: share of the blocks' squared entries. after, distance: by
    direction, held-out loss and Bures distance after `steps` steps.
    """

    windows: int
    context: int
    euclidean_length: float
    fisher_length: float
    contrast: float
    carriers: float
    flat: str
    off_diagonal: float
    angle: float
    correlations: str
    steps: int
    before: float
    after: dict[str, float]
    distance: dict[str, float]
    natural_gradient: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def rows(self) -> list[tuple[str, str, str]]:
        """Question, verdict, and the numbers behind it."""
        lost = ", ".join(f"{name} {value:.4f}" for name, value in self.after.items())
        moved = ", ".join(f"{name} {value:.4f}" for name, value in self.distance.items())
        return [
            (
                "is parameter space flat here?",
                self.flat,
                f"a step along the gradient of Euclidean length {self.euclidean_length:.3g} has Fisher length {self.fisher_length:.3g}, "
                f"{self.contrast:.3g} times that of a random one; {self.carriers:.2%} of the weights carry the metric",
            ),
            (
                "do correlations matter?",
                self.correlations,
                f"{self.off_diagonal:.0%} of the blocks' Fisher matrix is off the diagonal; "
                f"the steps by diagonal and by block are {self.angle:.0f} degrees apart",
            ),
            (
                "does natural gradient help?",
                self.natural_gradient,
                f"held-out loss {self.before:.4f}, after {self.steps} steps: {lost}; Bures distance from the start: {moved}",
            ),
        ]


class Fisher:
    """The Fisher matrix of one token, by weight tensor, from windows' gradients S [N, n]: F = S^T S / (N T) + the mean
    diagonal where S tells nothing.
    """

    def __init__(self, scores: list[Tensor], tokens: int) -> None:
        self.scores = [s / math.sqrt(tokens) for s in scores]
        self.count = len(scores[0])
        self.diagonals = [s.square().mean(0) for s in self.scores]

    def squared_entries(self) -> tuple[float, float]:
        """Sums over the tensors of all squared entries of their blocks, and of the squared diagonals; both without bias
        (products of different windows only).
        """
        whole = diagonal = 0.0
        pairs = self.count * (self.count - 1)
        for s in self.scores:
            gram = (s @ s.T).double()
            whole += ((gram.square().sum() - gram.diagonal().square().sum()) / pairs).item()
            squares = s.square()
            diagonal += ((squares.sum(0).double().square().sum() - squares.double().square().sum()) / pairs).item()
        return whole, diagonal

    def by_diagonal(self, gradients: list[Tensor]) -> list[Tensor]:
        """(diag F + damping)^-1 g."""
        return [g / (d.view_as(g) + DAMPING * d.mean() + 1e-20) for g, d in zip(gradients, self.diagonals, strict=True)]

    def by_block(self, gradients: list[Tensor]) -> list[Tensor]:
        """(F + damping)^-1 g by tensor, through the N x N matrix of the windows (Woodbury)."""
        out = []
        for g, s, d in zip(gradients, self.scores, self.diagonals, strict=True):
            damping = DAMPING * d.mean().double() + 1e-20
            small = (s @ s.T).double() + damping * self.count * torch.eye(
                self.count, dtype=torch.float64, device=s.device
            )
            inside = torch.linalg.solve(small, (s @ g.flatten()).double())
            out.append((g - (s.T @ inside.to(s.dtype)).view_as(g)) / damping.to(g.dtype))
        return out


def diagnose(
    model: Model, config: TrainConfig, shards: dict[str, Shard], weights: dict[str, float], device: str = "cpu"
) -> Diagnosis:
    """Measures `model`, whose weights are as before when it returns. Raises DataError where the data holds nothing out."""
    model = model.to(device).eval()
    parameters = [p for p in model.parameters() if p.requires_grad]
    context = min(CONTEXT, model.config.context_length)
    count = max(8, min(WINDOWS, FLOATS // sum(p.numel() for p in parameters)))
    mixture = Mixture(shards, weights, context, config.seed)
    held_out = _held_out(shards, context, count).to(device)

    def windows(turn: int) -> Tensor:
        return torch.from_numpy(mixture.batch(turn * count, count)).to(device)

    generator = torch.Generator(device).manual_seed(config.seed)
    fisher = Fisher(_scores(model, parameters, windows(0), generator), context)
    gradient = _gradient(model, parameters, windows(1))

    probe = _Probe(model, parameters, windows(1))
    along = probe.stretch(gradient)
    lengths = []
    for _ in range(3):
        noise = [torch.randn(p.shape, generator=generator, device=device) for p in parameters]
        lengths.append(_norm(probe.stretch(noise)))
    contrast = math.exp(sum(map(math.log, lengths)) / len(lengths)) / _norm(along)

    whole, diagonal = fisher.squared_entries()
    total = sum(p.numel() for p in parameters)
    mean = sum(d.sum().item() for d in fisher.diagonals) / total
    off = min(1.0, max(0.0, 1 - diagonal / whole)) if whole > 0 else 0.0
    angle = _angle(fisher.by_diagonal(gradient), fisher.by_block(gradient))

    directions = {"plain": lambda g: g, "diagonal": fisher.by_diagonal, "block": fisher.by_block}
    start = [p.detach().clone() for p in parameters]
    outside = _Probe(model, parameters, held_out)
    before, after, distance = _loss(model, held_out), {}, {}
    for name, direction in directions.items():
        length = STRIDE
        for turn in range(STEPS):
            batch = windows(2 + turn)
            step = _Probe(model, parameters, batch).stretch(direction(_gradient(model, parameters, batch)), length)
            length = _norm(step)
            _move(parameters, step, -1.0)
        after[name], distance[name] = _loss(model, held_out), outside.distance()
        with torch.no_grad():
            for p, old in zip(parameters, start, strict=True):
                p.copy_(old)
    gains = {name: before - value for name, value in after.items()}
    best = max(gains["diagonal"], gains["block"])
    return Diagnosis(
        windows=count,
        context=context,
        euclidean_length=_norm(along),
        fisher_length=STRIDE,
        contrast=contrast,
        carriers=min(1.0, total * mean * mean / max(diagonal, 1e-300)) if diagonal > 0 else 1.0,
        flat="flat" if contrast < 2 else "curved" if contrast < 10 else "strongly curved",
        off_diagonal=off,
        angle=angle,
        correlations="yes" if off >= 0.5 and angle >= 30 else "a little" if off >= 0.1 else "no",
        steps=STEPS,
        before=before,
        after=after,
        distance=distance,
        natural_gradient="yes"
        if best > max(0.0, 1.1 * gains["plain"])
        else "no"
        if best < 0.9 * gains["plain"]
        else "no difference",
    )


class _Probe:
    """How far the predictions for ids[:, :-1] of a batch have moved since the probe was made."""

    def __init__(self, model: Model, parameters: list[nn.Parameter], batch: Tensor) -> None:
        self.model, self.parameters, self.ids = model, parameters, batch[:, :-1]
        self.before = list(self._halves())

    @torch.no_grad()
    def _halves(self) -> Iterator[Tensor]:
        """log sqrt p [B, T, V] in float32, a few windows at a time."""
        for at in range(0, len(self.ids), PART):
            yield F.log_softmax(self.model(self.ids[at : at + PART]).logits.float(), -1) / 2

    @torch.no_grad()
    def distance(self) -> float:
        """Bures distance, sqrt of the mean over tokens of 2 (1 - sum_v sqrt(p_v q_v)); to first order half the Fisher
        length.
        """
        total = 0.0
        for now, old in zip(self._halves(), self.before, strict=True):
            # 2 (1 - sum sqrt(p q)) = sum (sqrt p - sqrt q)^2: no difference of near numbers
            total += (now.exp() - old.exp()).square().sum(dtype=torch.float64).item()
        return math.sqrt(total / self.ids.numel())

    def stretch(self, direction: list[Tensor], guess: float = STRIDE) -> list[Tensor]:
        """The multiple of `direction` whose step has Fisher length STRIDE, found from a guess of its Euclidean length;
        weights are as before.
        """
        scale = guess / (_norm(direction) + 1e-30)
        start = [p.detach().clone() for p in self.parameters]
        for _ in range(6):
            _move(self.parameters, direction, -scale)
            length = 2 * self.distance()
            with torch.no_grad():
                for p, old in zip(self.parameters, start, strict=True):
                    p.copy_(old)
            if abs(length / STRIDE - 1) < 0.05:
                break
            # far off the linear range a step says little of its length: come nearer by a bounded factor
            scale *= min(30.0, max(1 / 30, STRIDE / max(length, 1e-12)))
        return [scale * d for d in direction]


def _scores(model: Model, parameters: list[nn.Parameter], batch: Tensor, generator: torch.Generator) -> list[Tensor]:
    """Gradients [N, n] by tensor of each window's log-likelihood (sum over tokens) of tokens drawn from the model after
    its true past.
    """
    rows: list[list[Tensor]] = [[] for _ in parameters]
    for window in batch:
        logits = model(window[None, :-1]).logits[0].float()
        drawn = torch.multinomial(logits.detach().softmax(-1), 1, generator=generator)[:, 0]
        found = torch.autograd.grad(F.cross_entropy(logits, drawn, reduction="sum"), parameters, allow_unused=True)
        for row, p, g in zip(rows, parameters, found, strict=True):
            row.append(torch.zeros(p.numel(), device=p.device) if g is None else g.detach().flatten())
    return [torch.stack(row) for row in rows]


def _gradient(model: Model, parameters: list[nn.Parameter], batch: Tensor) -> list[Tensor]:
    """Of the mean loss over a batch [N, T + 1], a few windows at a time."""
    total = [torch.zeros_like(p) for p in parameters]
    for at in range(0, len(batch), PART):
        part = batch[at : at + PART]
        logits = model(part[:, :-1]).logits.float()
        loss = F.cross_entropy(logits.flatten(0, 1), part[:, 1:].flatten(), reduction="sum") / batch[:, 1:].numel()
        for t, g in zip(total, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True):
            if g is not None:
                t += g
    return total


@torch.no_grad()
def _loss(model: Model, batch: Tensor) -> float:
    total = 0.0
    for at in range(0, len(batch), PART):
        part = batch[at : at + PART]
        total += F.cross_entropy(
            model(part[:, :-1]).logits.float().flatten(0, 1), part[:, 1:].flatten(), reduction="sum"
        ).item()
    return total / batch[:, 1:].numel()


@torch.no_grad()
def _move(parameters: list[nn.Parameter], direction: list[Tensor], scale: float) -> None:
    for p, d in zip(parameters, direction, strict=True):
        p.add_(d, alpha=scale)


def _norm(tensors: list[Tensor]) -> float:
    return math.sqrt(sum(t.square().sum(dtype=torch.float64).item() for t in tensors))


def _angle(a: list[Tensor], b: list[Tensor]) -> float:
    """In degrees; 0 where one is zero."""
    product = sum((x * y).sum(dtype=torch.float64).item() for x, y in zip(a, b, strict=True))
    lengths = _norm(a) * _norm(b)
    return math.degrees(math.acos(max(-1.0, min(1.0, product / lengths)))) if lengths else 0.0


def _held_out(shards: dict[str, Shard], context: int, most: int) -> Tensor:
    """Up to `most` windows [M, context + 1] of held-out tokens, from every source alike."""
    found = []
    for shard in shards.values():
        rows = (len(shard.validation) - 1) // context
        found += [
            torch.from_numpy(shard.validation[i * context : (i + 1) * context + 1].astype("int64"))
            for i in range(min(rows, most))
        ]
    if not found:
        raise DataError(
            f"the data holds out less than {context + 1} tokens: raise --validation-permille, or give more data"
        )
    return torch.stack(found[:: max(1, len(found) // most)][:most])
