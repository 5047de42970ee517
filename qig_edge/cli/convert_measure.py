"""qig-edge convert --measure: what rounding each tensor costs, and a recipe for a budget."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qig_edge.errors import ConfigError

if TYPE_CHECKING:
    from qig_edge.convert import measure


def measured(folder: Path, output: Path | None, budget: str, text: Path | None, force: bool, as_json: bool) -> None:
    """Prints the table of a checkpoint's tensors and a proposed recipe, which -o writes. Raises ConfigError, CheckpointError, DataError."""
    import dataclasses
    import json

    import torch

    from qig_edge.cli.convert import SMALL, check_output
    from qig_edge.cli.progress import Steps
    from qig_edge.convert import calibration, measure
    from qig_edge.convert.gguf_writer import vocabulary
    from qig_edge.runtime.files import written_whole
    from qig_edge.train import checkpoint as checkpoints
    from qig_edge.train.tokenizer import load_tokenizer

    if output is not None:
        if output.suffix != ".toml":
            raise ConfigError(f"--output '{output}': --measure writes a recipe, so the name ends in .toml")
        check_output(output, force)
    weights = checkpoints.read_config(folder).param_counts()["total"]
    limit = measure.budget_bytes(budget, weights)
    if weights < SMALL:
        torch.set_num_threads(1)
    with Steps(f"reading {folder}") as steps:
        model, tokenizer = checkpoints.load_model(folder), load_tokenizer(folder)
        vocabulary(tokenizer, model.config.vocab_size)  # before text makes ids that the model does not have
        sample = calibration.sample(folder, tokenizer, model.config.context_length, text)
        fit, seen = sample.parted()
        moments = calibration.moments(model, fit, lambda done, total: steps(done, total, "calibrating"))
        found = measure.costs(model, moments, seen, steps)
        proposal = measure.propose(model, found, moments, seen, limit)
    name = output.stem if output is not None else "measured"
    toml = measure.as_toml(proposal, name, sample.source, limit)
    if output is not None:
        with written_whole(output) as file:
            file.write(toml)
    if as_json:
        facts = {"checkpoint": str(folder), "text": sample.source, "tokens": seen.tokens, "budget_bytes": limit}
        tensors = [dataclasses.asdict(cost) | {"proposed": proposal.types[cost.tensor]} for cost in found]
        told = dataclasses.asdict(proposal)
        told.pop("types")
        print(json.dumps({**facts, "tensors": tensors, "proposal": told, "recipe": toml, "file": str(output) if output else None}))
        return
    _table(found, proposal)
    print(
        f"{seen.tokens} tokens, {sample.source}. Proposed (greedy: the most KL saved a byte, step by step): {proposal.bytes} of {limit} bytes,"
        f" {proposal.bits_per_weight:.2f} bits a weight; KL {proposal.kl:.3g} nats a token, the parts add up to {proposal.kl_sum:.3g}."
    )
    print(f"recipe {output}" if output else f"\n{toml}", end="\n" if output else "")


def _table(found: list[measure.Cost], proposal: measure.Proposal) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from qig_edge.convert.recipe import QUANTIZED

    table = Table(title="KL divergence of one tensor rounded, nats a token", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("tensor", no_wrap=True)
    for column in ("weights", *QUANTIZED, "proposed"):
        table.add_column(column, justify="right")
    for cost in sorted(found, key=lambda c: -c.kl["q4_0"]):
        table.add_row(cost.tensor, f"{cost.weights:,}", *(f"{cost.kl[k]:.2e}" for k in QUANTIZED), proposal.types[cost.tensor])
    Console(highlight=False).print(table)
