"""`qig-edge train --vram` and `--dry-run`: settings that fit a budget of memory, and what a run would take."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qig_edge.model.build import AnyConfig
    from qig_edge.train.config import TrainConfig
    from qig_edge.train.memory import Estimate

CHOSEN = ("micro_tokens", "checkpointing", "optimizer_states")


def fit(model_config: AnyConfig, config: TrainConfig, vram: str) -> tuple[TrainConfig, Estimate]:
    """The settings with which the run stays within `vram` ("4GB"), told on stderr. Raises ConfigError where none do."""
    from rich.console import Console

    from qig_edge.train.memory import parse_bytes, plan, steady_heap

    budget = parse_bytes(vram)
    device, bfloat16 = machine(config)
    console = Console(stderr=True)
    with console.status(f"looking for settings that fit {vram}"):
        fitted, estimate = plan(model_config, config, budget, device, bfloat16)
    if device == "cpu":
        steady_heap()
    told = ", ".join(f"{name} {getattr(fitted, name)}" for name in CHOSEN)
    console.print(f"--vram {vram}: {told}; {estimate.total / 1e9:.2f} GB at the peak", highlight=False)
    return fitted, estimate


def show_dry_run(model_config: AnyConfig, config: TrainConfig, estimate: Estimate | None, as_json: bool) -> None:
    """Prints memory, speed and length of the run on this machine, on stdout."""
    import torch
    from rich.console import Console

    from qig_edge.train.dry_run import dry_run
    from qig_edge.train.memory import Estimator

    device, bfloat16 = machine(config)
    with Console(stderr=True).status("estimating memory") as status:
        estimate = estimate or Estimator(model_config, config, device, bfloat16)(config)
        status.update("a few steps on random tokens")
        found = dry_run(model_config, config, device, bfloat16)
    name = torch.cuda.get_device_name() if device != "cpu" else f"CPU, {torch.get_num_threads()} threads"
    facts: dict[str, Any] = {
        "device": name,
        "precision": "bfloat16" if bfloat16 else "float32",
        "memory_bytes": estimate.to_dict(),
        "measured_bytes": found.bytes,
        **{setting: getattr(config, setting) for setting in CHOSEN},
        "accumulation": -(-config.batch_tokens // config.micro_tokens),
        "tokens": config.steps * config.batch_tokens,
        "steps": found.steps,
        "tokens_per_second": found.tokens_per_second,
        "days": found.days,
    }
    if as_json:
        print(json.dumps(facts))
        return
    sizes = {part: f"{size / 1e9:.2f}" for part, size in estimate.to_dict().items()}
    print(f"machine   {name}, {facts['precision']}")
    print(
        f"memory    {sizes['total']} GB at the peak: weights {sizes['weights']}, gradients {sizes['gradients']}, "
        f"optimizer {sizes['optimizer']}, micro-batch {sizes['activations']}, outside of tensors {sizes['outside']}"
    )
    if found.bytes is not None:
        print(f"          {found.bytes / 1e9:.2f} GB of tensors measured in these steps")
    chosen = ", ".join(f"{setting} {facts[setting]}" for setting in (*CHOSEN, "accumulation"))
    print(f"settings  {chosen}")
    print(
        "speed     " + ", ".join(f"{v:,.0f} tok/s at context {k}" for k, v in sorted(found.tokens_per_second.items()))
    )
    print(
        f"run       {facts['tokens'] / 1e6:,.1f}M tokens in {found.steps:,} steps: {_length(found.days)} on this machine"
    )
    if config.compile:
        print("the steps ran without torch.compile, with which they are faster", file=sys.stderr)


def machine(config: TrainConfig) -> tuple[str, bool]:
    """Device of a run, and whether it computes in bfloat16."""
    import torch

    from qig_edge.train.loop import runs_in_bfloat16

    device = "cuda" if torch.cuda.is_available() else "cpu"
    return device, runs_in_bfloat16(config, device)


def _length(days: float) -> str:
    return (
        f"{days:.1f} days"
        if days >= 2
        else f"{24 * days:.1f} hours"
        if days >= 1 / 12
        else f"{1440 * days:.1f} minutes"
    )
