"""How much memory a training step takes at its peak, told before anything is allocated, and settings that fit a budget.

The step is run for its shapes alone (torch's fake tensors): the model's own forward pass, losses and backward pass, with every result counted while
it lives. So the estimate knows each component and loss as it is. Optimizer states follow from the weights.

    plan(model_config, train_config, parse_bytes("4GB"), "cuda", True)
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import weakref
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from qig_edge.errors import ConfigError
from qig_edge.model.build import AnyConfig, Model, new_model
from qig_edge.train.config import CHECKPOINTING, NARROW, TrainConfig
from qig_edge.train.losses import READOUT, Losses
from qig_edge.train.optim import Optimizers
from qig_edge.train.states import states_bytes

# What no tensor gets. On a GPU: the CUDA context with its kernels, the libraries' workspaces, and holes between tensors. On a CPU: the code of
# operations that come to be used, and buffers of theirs; holes only as far as steady_heap() leaves some.
CUDA_BYTES = 400_000_000
HOLES = 1.06
CPU_BYTES = 48_000_000
MMAP_BYTES = 1 << 18
M_MMAP_THRESHOLD = -3  # of malloc.h
UNITS = {"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


@dataclass(frozen=True)
class Estimate:
    """Bytes at the peak of a run.

    activations: what a micro-batch adds to the rest; step: what the optimizer's step adds; outside: what is no tensor's.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    step: int
    outside: int

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimizer + max(self.activations, self.step) + self.outside

    def to_dict(self) -> dict[str, int]:
        return {**dataclasses.asdict(self), "total": self.total}


def parse_bytes(text: str) -> int:
    """Bytes of "4GB", "3.5 GiB", "900MB". Raises ConfigError."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]I?B)\s*", text.upper())
    if not found or not float(found[1]):
        raise ConfigError(f"memory '{text}' must be a positive number with a unit: MB, GB, MiB or GiB")
    return round(float(found[1]) * UNITS[found[2]])


def steady_heap() -> None:
    """On a CPU under glibc: tensors of 256 KiB and more go back to the system as soon as they are freed.

    Otherwise glibc keeps ever larger ones on its heap, whose holes took half as much again as a model's tensors where it was measured.
    """
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").mallopt(M_MMAP_THRESHOLD, MMAP_BYTES)


class _Live(TorchDispatchMode):
    """Counts the bytes of all storages that live, by what operations return, and their peak."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.known: dict[int, weakref.finalize] = {}

    def note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self.known:
            self.known[key] = weakref.finalize(storage, self._gone, key, size)
            self.now += size
            self.peak = max(self.peak, self.now)

    def _gone(self, key: int, size: int) -> None:
        del self.known[key]
        self.now -= size

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self.note(leaf)
        return out


@dataclass(frozen=True)
class Phase:
    """A part of the run that differs from the others in what a micro-batch takes."""

    context: int
    soft: bool
    quantized: bool


def phases(config: TrainConfig) -> list[Phase]:
    """The run's phases, the longest context first. Where the context is still to be measured on the data, it is the longest possible."""
    first = Phase(config.context or config.final_context, config.hard_share > 0, False)
    final = Phase(config.final_context, 1 - config.decay_share < config.hard_share, config.quantize_share > 0)
    if first == final or not config.decay_share:
        return [first]
    return sorted((first, final), key=lambda phase: -phase.context)


def activations(model_config: AnyConfig, config: TrainConfig, phase: Phase, rows: int, bfloat16: bool) -> int:
    """Peak bytes that a micro-batch of that many rows adds to weights and gradients."""
    with FakeTensorMode(), _Live() as live:
        model = _model(model_config, config, phase)
        losses = Losses(model, config, torch.arange(model_config.vocab_size))
        for tensor in (*model.parameters(), *model.buffers(), *losses.buffers()):
            live.note(tensor)
        for p in model.parameters():
            p.grad = torch.zeros_like(p)
        rest = live.peak = live.now
        batch = torch.zeros(rows, phase.context + 1, dtype=torch.int64)
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss, _ = losses(model, batch[:, :-1], batch[:, 1:])
        (loss / config.batch_tokens).backward()
        return live.peak - rest


def _model(model_config: AnyConfig, config: TrainConfig, phase: Phase) -> Model:
    from qig_edge.train.recipe import quantized_parts

    model = new_model(model_config).train()
    model.ramp(1.0, config.soft_start if phase.soft else 0.0)
    model.recompute(config.checkpointing)
    if phase.quantized:
        model.fake_quantize(quantized_parts(model_config), True)
    return model


class Estimator:
    """Estimates for variants of one run; what was simulated once is not simulated again."""

    def __init__(self, model_config: AnyConfig, config: TrainConfig, device: str, bfloat16: bool) -> None:
        config.check_model(model_config)
        self.model_config, self.config, self.device, self.bfloat16 = model_config, config, device, bfloat16
        self.simulated: dict[tuple[Phase, str, int], int] = {}
        with FakeTensorMode():
            model = new_model(model_config)
            self.weights = sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers()))
            self.gradients = sum(4 * p.numel() for p in model.parameters())
            self.sizes = [p.numel() for p in model.parameters()]
            self.states = states_bytes(Optimizers(model, config).parts)

    def __call__(self, config: TrainConfig) -> Estimate:
        """Estimate of the run with these settings (the same but for micro_tokens, checkpointing and optimizer_states)."""
        return self._with(config, max(self._activations(config, phase) for phase in phases(config)))

    def fits(self, config: TrainConfig, budget: int) -> bool:
        """Whether the estimate is within the budget; the phases that take most are looked at first."""
        return all(self._with(config, self._activations(config, phase)).total <= budget for phase in phases(config))

    def _with(self, config: TrainConfig, most: int) -> Estimate:
        kept, lifted = self._states(config)
        step = lifted + self._step()
        if config.clip == "fisher":
            kept, step = kept + self.gradients, step + self.gradients
        tensors = self.weights + self.gradients + kept + max(most, step)
        outside = CUDA_BYTES + round((HOLES - 1) * tensors) if self.device.startswith("cuda") else CPU_BYTES
        return Estimate(self.weights, self.gradients, kept, most, step, outside)

    def _activations(self, config: TrainConfig, phase: Phase) -> int:
        """Of a micro-batch: linear in its rows, once they are more than what readouts take at a time."""
        rows = min(max(1, config.micro_tokens // phase.context), config.batch_tokens // phase.context)
        few = -(-READOUT // phase.context)
        if rows <= few + 1:
            return self._simulate(config, phase, rows)
        start = self._simulate(config, phase, few)
        return start + (rows - few) * (self._simulate(config, phase, few + 1) - start)

    def _simulate(self, config: TrainConfig, phase: Phase, rows: int) -> int:
        key = (phase, config.checkpointing, rows)
        if key not in self.simulated:
            self.simulated[key] = activations(self.model_config, config, phase, rows, self.bfloat16)
        return self.simulated[key]

    def _states(self, config: TrainConfig) -> tuple[int, int]:
        """Bytes of optimizer states between the steps, and those by which they grow during one."""
        whole = self.states
        return (whole, 0) if config.optimizer_states == "float32" else (whole // 2, whole - whole // 2)

    def _step(self) -> int:
        """Temporaries of the step: on a GPU torch takes the root of all second moments at once, on a CPU one weight's after the other."""
        return 4 * sum(self.sizes) if self.device.startswith("cuda") else 8 * max(self.sizes)


def plan(
    model_config: AnyConfig, config: TrainConfig, budget: int, device: str, bfloat16: bool
) -> tuple[TrainConfig, Estimate]:
    """The settings with which the run fits `budget` bytes, the fastest first: what is recomputed costs more time than short micro-batches.

    The batch, the contexts and the optimizer stay. Raises ConfigError, naming the least that would do, where nothing fits.
    """
    estimator = Estimator(model_config, config, device, bfloat16)
    smallest = "bfloat16" if config.optimizer in NARROW else "float32"
    for states in dict.fromkeys((config.optimizer_states, smallest)):
        for level in CHECKPOINTING[CHECKPOINTING.index(config.checkpointing) :]:
            tried = dataclasses.replace(config, checkpointing=level, optimizer_states=states)
            if not estimator.fits(dataclasses.replace(tried, micro_tokens=1), budget):
                continue
            for micro in _halvings(config.micro_tokens, min(phase.context for phase in phases(config))):
                tried = dataclasses.replace(tried, micro_tokens=micro)
                if estimator.fits(tried, budget):
                    return tried, estimator(tried)
    least = dataclasses.replace(config, micro_tokens=1, checkpointing=CHECKPOINTING[-1], optimizer_states=smallest)
    needed = estimator(least).total
    raise ConfigError(
        f"the run does not fit {budget / 1e9:.2f} GB: it takes {needed / 1e9:.2f} GB at least (context {config.context}, "
        f"final_context {config.final_context}, optimizer {config.optimizer}); shorter contexts or a smaller preset take less"
    )


def _halvings(micro: int, context: int) -> list[int]:
    """Micro-batches from the configured one down to a row."""
    out = [micro]
    while out[-1] > context:
        out.append(max(context, out[-1] // 2))
    return out
