"""`qig-edge ablate`: the same training with and without each component, in one table."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from qig_edge.errors import ConfigError, MissingExtra


def command(
    data: Annotated[
        list[str],
        typer.Option("--data", help="As for train: FILE, folder or hf:NAME; FILE=2 counts it twice. Repeatable."),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder: rows, table and plot. What is finished there is kept.")],
    preset: Annotated[
        str, typer.Option("--preset", help="The full model: a preset's name or a .toml file.")
    ] = "qig-micro",
    tokens: Annotated[int | None, typer.Option("--tokens", min=1, help="Tokens a row [default: the preset's].")] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="A row by name; repeatable [default: every row].")
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Runs of each row, with other weights and order.")] = 1,
    tokenizer: Annotated[
        Path | None, typer.Option("--tokenizer", help="A tokenizer.json or its folder [default: trained on the data].")
    ] = None,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads [default: all].")] = None,
    table: Annotated[
        bool, typer.Option("--table", help="Train nothing: table, plot and speeds of what is finished.")
    ] = False,
) -> None:
    """Train a model with and without each of its components, and write the table.

    Rows that are finished are not trained again, and an interrupted one goes on where it stopped. The same command in several terminals shares the
    rows between them.
    """
    from qig_edge.ablation.rows import CHANGES
    from qig_edge.config import load_preset, qig_config
    from qig_edge.train.config import TrainConfig
    from qig_edge.train.sources import Source

    tables = load_preset(preset)
    model = qig_config(tables["model"], f"preset '{preset}'")
    settings = {**tables.get("train", {}), **({"tokens": tokens} if tokens else {})}
    train = TrainConfig.from_dict(settings, "training settings")
    train.check_model(model)
    for name in only or []:
        if name not in CHANGES:
            raise ConfigError(f"--only '{name}' must be one of {', '.join(CHANGES)}")
    sources = [Source.parse(d) for d in data]
    for source in sources:
        if not source.name.startswith("hf:"):
            source.files()
    try:
        import torch
    except ImportError:
        raise MissingExtra("qig-edge ablate", "train") from None
    if threads:
        torch.set_num_threads(threads)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise ConfigError(f"--out '{out}': {e.strerror}") from None
    finished = True
    if not table:
        finished = _train(out, model, train, sources, tokenizer, set(only or []), seeds)
    if not finished:
        raise typer.Exit(130)
    _write(out)


def _train(
    out: Path, model: Any, train: Any, sources: list, tokenizer_from: Path | None, only: set[str], seeds: int
) -> bool:
    import json

    from rich.console import Console

    from qig_edge.ablation.rows import EQUAL, FULL, equal_bytes, rows
    from qig_edge.ablation.run import with_seed
    from qig_edge.train import shards as shards_module

    console = Console(stderr=True)
    with console.status("tokenizing") as status:
        tokenizer, shards = shards_module.prepare(
            out / "shards",
            list({s.name: s for s in sources}.values()),
            tokenizer_from,
            model.vocab_size,
            train.validation_permille,
            train.validation_bytes,
            lambda text, share: status.update(f"{text} ({share:.0%})"),
        )
    weights = {s.name: s.weight for s in sources}
    for seed in range(train.seed, train.seed + seeds):
        mine = dataclasses.replace(train, seed=seed)
        for row in rows(model, mine):
            if (not only or row.name in only) and not _one(console, out, row, tokenizer, shards, weights):
                return False
        full = out / "rows" / _folder(FULL, seed) / "result.json"
        if (not only or EQUAL in only) and full.is_file():
            target = json.loads(full.read_text("utf-8"))["block_weights_read"]
            row = with_seed(equal_bytes(model, mine, target), seed)
            if not _one(console, out, row, tokenizer, shards, weights):
                return False
    return True


def _folder(name: str, seed: int) -> str:
    return f"{name.replace(' ', '-')}-s{seed}"


def _one(console: Any, out: Path, row: Any, tokenizer: Any, shards: Any, weights: dict[str, float]) -> bool:
    """Runs a row that is neither finished nor somebody else's. False where it was interrupted."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from qig_edge.ablation.run import Interrupted, claimed, finished, run_row

    folder = out / "rows" / _folder(row.name, row.train.seed)
    if finished(row, folder):
        return True
    with claimed(folder) as mine:
        if not mine or finished(row, folder):
            return True
        columns = (
            TextColumn(f"{row.name}"),
            BarColumn(),
            TextColumn("loss {task.fields[loss]:.3f}  {task.fields[speed]:.0f} tok/s"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(row.name, total=row.train.steps, loss=float("nan"), speed=0.0)
            try:
                result = run_row(
                    row,
                    folder,
                    tokenizer,
                    shards,
                    weights,
                    lambda p: bar.update(task, completed=p.step, loss=p.loss, speed=p.tokens_per_second),
                )
            except Interrupted as stopped:
                console.print(str(stopped))
                return False
        bits, read = result["bits_per_byte"]["all"], result["block_weights_share"]
        console.print(
            f"{row.name} (seed {row.train.seed}): {bits:.4f} bits per byte, puzzles {result['puzzles']['all']:.1%},"
            f" {result['blocks_run']:.2f} blocks, {read:.0%} of the block weights",
            highlight=False,
        )
    return True


def _write(out: Path) -> None:
    from qig_edge.ablation.report import results, write
    from qig_edge.ablation.run import model_file, speeds

    found = results(out)
    if not found:
        raise ConfigError(f"'{out}' holds no finished row yet")
    files = {name: model_file(name, Path(seeds[0]["folder"])) for name, seeds in found.items()}
    measured = speeds({name: path for name, path in files.items() if path is not None})
    table, plot = write(out, measured)
    print(table.read_text("utf-8"), end="")
    print(plot)
