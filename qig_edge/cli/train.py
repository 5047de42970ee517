"""`qig-edge train`: a model from text."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qig_edge.errors import CheckpointError, ConfigError, MissingExtra

if TYPE_CHECKING:
    from qig_edge.train.loop import Progress

COLLAPSED = 0.1  # phi; measured at 0.004 where 9 rows in 10 were one-hot, at 0.23 where 4 in 10 were, at 0.3 to 0.5 elsewhere


def command(
    data: Annotated[
        list[str],
        typer.Option(
            "--data",
            help="FILE, folder or hf:NAME; FILE=2 counts it twice. .txt, .jsonl (text or messages), .xz, .zst. Repeatable.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the run: checkpoints, metrics, plot.")],
    preset: Annotated[
        str, typer.Option("--preset", help="Model and training settings: a preset's name or a .toml file.")
    ] = "qig-nano",
    final_data: Annotated[
        list[str] | None,
        typer.Option("--final-data", help="Data of the final phase, while the learning rate falls [default: --data]."),
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option("--tokenizer", help="A tokenizer.json or its folder [default: trained on the data].")
    ] = None,
    shards: Annotated[
        Path | None,
        typer.Option("--shards", help="Folder for the tokenized data, shared between runs [default: OUT/shards]."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out.")] = False,
    origin: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Start a new run, with its own settings, from the weights and tokenizer of this checkpoint.",
        ),
    ] = None,
    diagnose: Annotated[
        bool,
        typer.Option(
            "--diagnose",
            help="Don't train: measure curvature, correlations and the natural gradient at --from, the newest checkpoint, or the start.",
        ),
    ] = False,
    vram: Annotated[
        str | None,
        typer.Option(
            "--vram", metavar="SIZE", help="Memory to stay within, as 4GB: chooses micro-batch, checkpointing and optimizer states."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Don't train: print memory, speed and days of the run on this machine.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what --diagnose or --dry-run finds as JSON.")] = False,
    tokens: Annotated[int | None, typer.Option("--tokens", help="Length of the run.")] = None,
    batch_tokens: Annotated[int | None, typer.Option("--batch-tokens", help="Tokens a step.")] = None,
    micro_tokens: Annotated[
        int | None, typer.Option("--micro-tokens", help="Tokens a forward pass: lower it where memory is short.")
    ] = None,
    context: Annotated[
        int | None, typer.Option("--context", help="Window in tokens; 0: the correlation length of the data.")
    ] = None,
    final_context: Annotated[int | None, typer.Option("--final-context", help="Window of the final phase.")] = None,
    decay_share: Annotated[
        float | None, typer.Option("--decay-share", help="Share of the run that is the final phase.")
    ] = None,
    quantize_share: Annotated[
        float | None, typer.Option("--quantize-share", help="Share of the run, at its end, that is 4-bit aware.")
    ] = None,
    schedule: Annotated[str | None, typer.Option("--schedule", help="wsd, cosine or curiosity.")] = None,
    optimizer: Annotated[
        str | None, typer.Option("--optimizer", help="adamw, rmsprop, muon, kfac, shampoo or soap.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", help="Of AdamW and RMSprop.")] = None,
    matrix_learning_rate: Annotated[
        float | None, typer.Option("--matrix-learning-rate", help="Of the other optimizers, for the blocks' matrices.")
    ] = None,
    precision: Annotated[str | None, typer.Option("--precision", help="auto, float32 or bfloat16.")] = None,
    compile_: Annotated[
        bool | None, typer.Option("--compile/--no-compile", help="torch.compile [default: on a GPU].")
    ] = None,
    eval_tokens: Annotated[int | None, typer.Option("--eval-tokens", help="Evaluate every so many tokens.")] = None,
    save_tokens: Annotated[int | None, typer.Option("--save-tokens", help="Save every so many tokens.")] = None,
    warmup_tokens: Annotated[int | None, typer.Option("--warmup-tokens", help="Length of the warm-up.")] = None,
    validation_permille: Annotated[
        int | None, typer.Option("--validation-permille", help="Documents held out, of 1000.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of weights and data order.")] = None,
    set_train: Annotated[
        list[str] | None,
        typer.Option("--set-train", metavar="KEY=VALUE", help="Any setting of a preset's [train] table. Repeatable."),
    ] = None,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads [default: all].")] = None,
) -> None:
    """Train a model from text. Ctrl-C saves; --resume goes on where it stopped."""
    from qig_edge.cli import train_fit
    from qig_edge.config import load_preset
    from qig_edge.config import model_config as config_of
    from qig_edge.train.config import TrainConfig
    from qig_edge.train.shards import only_tokenized
    from qig_edge.train.sources import Source

    tables = load_preset(preset)
    model_config = config_of(tables["model"], f"preset '{preset}'")
    given = {
        "tokens": tokens,
        "batch_tokens": batch_tokens,
        "micro_tokens": micro_tokens,
        "context": context,
        "final_context": final_context,
        "decay_share": decay_share,
        "quantize_share": quantize_share,
        "schedule": schedule,
        "optimizer": optimizer,
        "learning_rate": learning_rate,
        "matrix_learning_rate": matrix_learning_rate,
        "precision": precision,
        "compile": compile_,
        "eval_tokens": eval_tokens,
        "save_tokens": save_tokens,
        "warmup_tokens": warmup_tokens,
        "validation_permille": validation_permille,
        "seed": seed,
    }
    settings = {
        **tables.get("train", {}),
        **_settings(set_train or []),
        **{k: v for k, v in given.items() if v is not None},
    }
    config = TrainConfig.from_dict(settings, "training settings")
    config.check_model(model_config)
    first, final = [Source.parse(d) for d in data], [Source.parse(d) for d in final_data or data]
    shards = shards or out / "shards"
    only_tokenized(shards, first + final)
    if diagnose:
        origin = origin or _run_in(out)
    elif not dry_run:
        _check_out(out, resume)
    tokenizer = tokenizer or _checkpoint_of(out if resume and not dry_run else origin)
    try:
        import torch
    except ImportError:
        raise MissingExtra("qig-edge train", "train") from None
    if threads:
        torch.set_num_threads(threads)
    config, estimate = train_fit.fit(model_config, config, vram) if vram else (config, None)
    if compile_ is None and "compile" not in settings and torch.cuda.is_available():
        # a compiled block decides by itself what it keeps
        config = dataclasses.replace(config, compile=config.checkpointing == "none")
    if dry_run:
        train_fit.show_dry_run(model_config, config, estimate, as_json)
        return
    if diagnose:
        _diagnose(out, model_config, config, first, tokenizer, shards, origin, as_json)
    else:
        _make_out(out)
        _train(out, model_config, config, first, final, tokenizer, shards, resume, origin)


def _checkpoint_of(run: Path | None) -> Path | None:
    """The checkpoint whose tokenizer a run goes on with."""
    from qig_edge.train import checkpoint

    return checkpoint.find(run) if run is not None else None


def _run_in(out: Path) -> Path | None:
    from qig_edge.train import checkpoint

    return out if out.is_dir() and checkpoint.steps(out) else None


def _settings(assignments: list[str]) -> dict[str, Any]:
    """KEY=VALUE pairs, values as in TOML; a bare word is a string."""
    from qig_edge.config import tomllib

    out: dict[str, Any] = {}
    for text in assignments:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not (key and equals and value):
            raise ConfigError(f"--set-train '{text}' must be KEY=VALUE")
        try:
            out[key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            out[key] = value
    return out


def _check_out(out: Path, resume: bool) -> None:
    from qig_edge.train import checkpoint

    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out '{out}' is a file")
    found = checkpoint.steps(out) if out.is_dir() else []
    if found and not resume:
        raise CheckpointError(
            f"'{out}' already holds a run (up to {found[-1].name}): add --resume to continue it, or choose another --out"
        )
    if resume and not found:
        raise CheckpointError(f"'{out}' holds no checkpoint to resume")


def _make_out(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise ConfigError(f"--out '{out}': {e.strerror}") from None


def _shards(
    console: Any, folder: Path, sources: list, tokenizer_from: Path | None, model_config: Any, config: Any
) -> tuple[Any, Any]:
    """The tokenizer and the tokenized sources, made or reused."""
    from qig_edge.model.jarvis_config import JarvisConfig
    from qig_edge.train import shards

    unique = {s.name: s for s in sources}
    for name in shards.only_tokenized(folder, list(unique.values())):
        told = f"data '{name}' is not at hand: training goes on with its tokens in '{folder}'"
        console.print(told, highlight=False, soft_wrap=True)
    with console.status("tokenizing") as status:
        return shards.prepare(
            folder,
            list(unique.values()),
            tokenizer_from,
            model_config.vocab_size,
            config.validation_permille,
            config.validation_bytes,
            lambda text, share: status.update(f"{text} ({share:.0%})"),
            words=isinstance(model_config, JarvisConfig),
        )


def _start(console: Any, model_config: Any, config: Any, origin: Path | None) -> Any:
    """A model with fresh weights, those of `origin` where it has them; says which it has not."""
    import torch

    from qig_edge.model.build import new_model
    from qig_edge.train import checkpoint

    torch.manual_seed(config.seed)
    model = new_model(model_config)
    if origin is not None:
        fresh, unused = checkpoint.start_from(model, origin)
        console.print(f"weights from {checkpoint.find(origin)}", highlight=False)
        for what, names in (("start fresh, it has none", fresh), ("are not used by this model", unused)):
            if names:
                more = f" and {len(names) - 6} more" if len(names) > 6 else ""
                console.print(f"{len(names)} {what}: {', '.join(names[:6])}{more}", highlight=False)
    return model


def _diagnose(
    out: Path,
    model_config: Any,
    config: Any,
    sources: list,
    tokenizer_from: Path | None,
    shards_dir: Path,
    origin: Path | None,
    as_json: bool,
) -> None:
    import json

    import torch
    from rich.console import Console

    from qig_edge.train.diagnose import diagnose

    console = Console(stderr=True)
    try:
        shards_dir.parent.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise ConfigError(f"'{shards_dir}': {e.strerror}") from None
    _, shards = _shards(console, shards_dir, sources, tokenizer_from, model_config, config)
    model = _start(console, model_config, config, origin)
    weights = {s.name: s.weight for s in sources}
    with console.status("measuring"):
        found = diagnose(model, config, shards, weights, "cuda" if torch.cuda.is_available() else "cpu")
    if as_json:
        print(json.dumps(found.to_dict()))
        return
    for question, verdict, numbers in found.rows():
        print(f"{question:<30} {verdict}\n    {numbers}")


def _train(
    out: Path,
    model_config: Any,
    config: Any,
    first: list,
    final: list,
    tokenizer_from: Path | None,
    shards_dir: Path,
    resume: bool,
    origin: Path | None,
) -> None:
    import torch
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from qig_edge.train.correlation import with_context
    from qig_edge.train.loop import Trainer, World
    from qig_edge.train.plot import plot_losses

    with World.join() as world:
        main = world.rank == 0
        console = Console(stderr=True, quiet=not main)

        def prepare() -> Any:
            return _shards(console, shards_dir, first + final, tokenizer_from, model_config, config)

        if main:
            tokenizer, shards = prepare()
        if world.size > 1:
            torch.distributed.barrier()
            if not main:
                tokenizer, shards = prepare()
        weights, final_weights = ({s.name: s.weight for s in sources} for sources in (first, final))
        if not config.context:
            length, config = with_context(config, model_config, shards, weights)
            console.print(
                f"context {config.context}: the data's correlation length is {length} tokens", highlight=False
            )
        model = _start(console, model_config, config, None if resume else origin)
        trainer = Trainer(out, model, config, tokenizer, shards, weights, final_weights, world)
        if resume:
            trainer.resume()
        if main:
            _describe(console, model_config, config, trainer, world)
        columns = (
            TextColumn("{task.completed:.1f}/{task.total:.1f}M tokens"),
            BarColumn(),
            TextColumn("{task.fields[told]}"),  # nothing before the first step, or where none is left
            TimeRemainingColumn(),
        )
        with Bar(*columns, console=console, disable=not main) as bar:
            task = bar.add_task("train", total=config.steps * config.batch_tokens / 1e6, told="")
            bar.update(task, completed=trainer.step * config.batch_tokens / 1e6)

            def report(p: Progress) -> None:
                told = f"loss {p.loss:.3f}  {p.tokens_per_second:.0f} tok/s  I_Q {p.i_q:.2g}  {p.mode}"
                bar.update(task, completed=p.tokens / 1e6, told=told)
                if p.bits_per_byte:
                    parts = "  ".join(f"{Path(k).name.split('.')[0]} {v:.3f}" for k, v in p.bits_per_byte.items())
                    console.print(f"{p.tokens / 1e6:.2f}M tokens: held-out bits per byte {parts}", highlight=False)
                if p.phi is not None and p.phi < COLLAPSED:
                    console.print(
                        f"warning: attention has collapsed (integration phi {p.phi:.2g}): nearly every query looks at one key; "
                        "lower rates (--matrix-learning-rate, --learning-rate) may keep it graded",
                        highlight=False,
                    )

            finished = trainer.run(report)
        if main:
            plot_losses(out)
    if main:
        if not finished:
            print(f"stopped at step {trainer.step} of {config.steps}; --resume goes on from there", file=sys.stderr)
            raise typer.Exit(130)
        print(out / f"step-{trainer.step:08d}")


def _describe(console: Any, model_config: Any, config: Any, trainer: Any, world: Any) -> None:
    counts = model_config.param_counts()
    console.print(
        f"{counts['total'] / 1e6:.2f}M parameters, {config.steps} steps of {config.batch_tokens} tokens on {world.size} x {world.device}"
        f"{' in bfloat16' if trainer.bfloat16 else ''}{', compiled' if config.compile else ''}, {os.cpu_count()} cores, step {trainer.step}",
        highlight=False,
    )
    for name, mixture in (("data", trainer.mixtures[False]), ("final data", trainer.mixtures[True])):
        parts = ", ".join(f"{Path(k).name} {v:.0%}" for k, v in mixture.shares.items())
        console.print(f"{name}: {parts}", highlight=False)
