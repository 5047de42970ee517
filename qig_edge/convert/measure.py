"""What the rounding of each matrix costs by itself, and a recipe that spends a budget of bytes where they save most.

A matrix is rounded to one type after the other, as a file would hold it, its inputs with it, and everything else stays at full precision. The cost is
the mean KL divergence of the next token's distribution from the checkpoint's, on calibration text that the rounding was not fitted to.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from qig_edge.convert.names import TensorName, tensor_names
from qig_edge.convert.recipe import QUANTIZED, odd_width
from qig_edge.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from qig_edge.convert.calibration import Sample
    from qig_edge.model.kernel import Kernel

UNITS = {"": 1, "B": 1, "kB": 1000, "MB": 10**6, "GB": 10**9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
CHANCE = 1.5  # max_kl of a proposed recipe, over what was measured for it: other text costs more


@dataclasses.dataclass(frozen=True)
class Cost:
    """One matrix: bytes and kl (nats a token) for each type."""

    tensor: str
    weights: int
    bytes: dict[str, int]
    kl: dict[str, float]


@dataclasses.dataclass(frozen=True)
class Proposal:
    """types by tensor; bytes of the whole file's tensors; kl_sum: what the parts cost added up; kl: all of them together, measured."""

    types: dict[str, str]
    bytes: int
    bits_per_weight: float
    kl_sum: float
    kl: float


def budget_bytes(given: str, weights: int) -> int:
    """Bytes of "4.8" (bits a weight, up to 32), "1900000", "1.9MB" or "1.8MiB". Raises ConfigError for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(B|kB|MB|GB|KiB|MiB|GiB|)", given.strip())
    if not found or not float(found.group(1)) > 0:
        raise ConfigError(
            f"--budget '{given}': bits a weight up to 32 as in 4.8, or bytes as in 1900000, 1.9MB or 1.8MiB"
        )
    number, unit = float(found.group(1)), found.group(2)
    return int(number * weights / 8) if not unit and number <= 32 else int(number * UNITS[unit])


def costs(
    model: Kernel,
    moments: Mapping[str, np.ndarray],
    text: Sample,
    progress: Callable[[int, int, str], None] = lambda done, total, name: None,
) -> list[Cost]:
    """Of every matrix that divides into blocks. The head and the embedding are one where the model ties them."""
    reference = _log_p(model, text)
    found = []
    matrices = [t for t in tensor_names(model.config) if t.part is not None and not odd_width(t)]
    for done, tensor in enumerate(matrices):
        progress(done, len(matrices), tensor.gguf)
        sizes, kl = {}, {}
        for kind in QUANTIZED:
            with rounded(model, {tensor.gguf: kind}, moments):
                kl[kind] = _divergence(reference, _log_p(model, text))
            sizes[kind] = size_of(tensor, kind)
        found.append(Cost(tensor.gguf, math.prod(tensor.shape), sizes, kl))
    progress(len(matrices), len(matrices), "done")
    return found


def propose(model: Kernel, found: list[Cost], moments: Mapping[str, np.ndarray], text: Sample, budget: int) -> Proposal:
    """The cheapest type for every matrix, then, one step at a time, the change that saves most KL a byte among those that still fit (greedy: it
    need not be the best recipe of all). Raises ConfigError for a budget below that of the cheapest types."""
    tensors = tensor_names(model.config)
    fixed = sum(size_of(t, _other(t)) for t in tensors if t.gguf not in {c.tensor for c in found})
    types = {c.tensor: min((size, kind) for kind, size in c.bytes.items())[1] for c in found}
    spent = fixed + sum(c.bytes[types[c.tensor]] for c in found)
    weights = sum(math.prod(t.shape) for t in tensors)
    if spent > budget:
        raise ConfigError(
            f"--budget: {budget} bytes are too few: the cheapest types take {spent} ({8 * spent / weights:.2f} bits a weight)"
        )
    while True:
        steps = [
            ((c.kl[types[c.tensor]] - c.kl[kind]) / more, c.tensor, kind, more)
            for c in found
            for kind in QUANTIZED
            if 0 < (more := c.bytes[kind] - c.bytes[types[c.tensor]]) <= budget - spent
        ]
        best = max(steps, default=None)
        if best is None or not best[0] > 0:
            break
        types[best[1]] = best[2]
        spent += best[3]
    with rounded(model, types, moments):
        together = _log_p(model, text)
    kl = _divergence(_log_p(model, text), together)
    return Proposal(types, spent, 8 * spent / weights, sum(c.kl[types[c.tensor]] for c in found), kl)


def as_toml(proposal: Proposal, name: str, source: str, budget: int) -> str:
    """The text of the recipe file."""
    sizes: dict[str, int] = {}
    for kind in proposal.types.values():
        sizes[kind] = sizes.get(kind, 0) + 1
    most = max(sizes, key=lambda kind: sizes[kind])
    lines = [
        f"# Proposed by qig-edge convert --measure for {budget} bytes ({proposal.bits_per_weight:.2f} bits a weight), calibrated on {source}.",
        f"# KL on text of that kind: {proposal.kl:.3g} nats a token.",
        f'what = "measured, {proposal.bits_per_weight:.2f} bits a weight"',
        f'suffix = "{name}"',
        f"max_kl = {float(f'{max(CHANCE * proposal.kl, 1e-5):.3g}')}",
        "",
        "[types]",
    ]
    lines += [f'"{tensor}" = "{kind}"' for tensor, kind in proposal.types.items() if kind != most]
    return "\n".join([*lines, f'"*" = "{most}"', ""])


@contextlib.contextmanager
def rounded(model: Kernel, types: Mapping[str, str], moments: Mapping[str, np.ndarray]) -> Iterator[None]:
    """While this lasts the named tensors (GGUF name -> type) hold what a file of these types would restore, and their inputs are rounded to int8."""
    import gguf
    import torch

    from qig_edge.convert.gguf_writer import encoded
    from qig_edge.model.quant import ROUNDED

    weights = model.state_dict()
    named = {t.gguf: t for t in tensor_names(model.config)}
    kept: dict[str, Any] = {}
    parts: dict[str, str] = {}
    try:
        for name, kind in types.items():
            tensor = named[name]
            data = encoded(dataclasses.replace(tensor, interleaved=0), weights, kind, moments)
            restored = gguf.quants.dequantize(data, gguf.GGMLQuantizationType[kind.upper()])
            kept[tensor.torch] = weights[tensor.torch].clone()
            weights[tensor.torch].copy_(torch.from_numpy(restored))
            if tensor.part is not None:
                parts[tensor.part] = ROUNDED
        model.fake_quantize(parts, False)
        yield
    finally:
        model.fake_quantize(None, False)
        for torch_name, value in kept.items():
            weights[torch_name].copy_(value)


def size_of(tensor: TensorName, kind: str) -> int:
    """Bytes of a tensor as that type."""
    from qig_edge.convert.recipe import BITS

    return int(math.prod(tensor.shape) * BITS[kind]) // 8


def _other(tensor: TensorName) -> str:
    """What a tensor is that no recipe rounds."""
    return "f32" if tensor.part is None else "f16"


def _log_p(model: Kernel, text: Sample) -> list[Any]:
    import torch

    with torch.inference_mode():
        return [torch.log_softmax(model(torch.tensor([w[:-1]])).logits[0], -1) for w in text.windows]


def _divergence(p: list[Any], q: list[Any]) -> float:
    """Mean over tokens, nats."""
    total = sum(float((a.exp() * (a - b)).sum(-1).double().sum()) for a, b in zip(p, q, strict=True))
    return total / sum(len(a) for a in p)
