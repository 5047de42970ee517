"""qig-edge eval: what a model can do, and whether its own state tells."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qig_edge.cli import options as opt

if TYPE_CHECKING:
    from qig_edge.evals.suites import Result


def command(
    model: opt.Model = None,
    suite: Annotated[
        str,
        typer.Option(
            help="puzzles: graded reasoning problems; reasoning: GSM8K, ARC, HellaSwag, PIQA (extra eval); symmetry: role-swapped pairs; "
            "text: bits per byte of given texts."
        ),
    ] = "puzzles",
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1 << 20,
            help="Number of items; of text: documents of each file; of reasoning: items of each task. Default: 700, of reasoning all.",
        ),
    ] = None,
    tasks: opt.Tasks = None,
    data_dir: opt.DataDir = None,
    levels: Annotated[
        str | None, typer.Option(metavar="N-N", help="Of puzzles: levels of difficulty, 3, 1-5 or 1,3-4.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the puzzles: the same seed asks the same.")] = 0,
    data: Annotated[
        list[str] | None,
        typer.Option("--data", help="Of text: a .txt or .jsonl file, packed or not, or a folder. Repeatable."),
    ] = None,
    held_out: Annotated[
        int,
        typer.Option(
            "--held-out",
            metavar="N",
            min=0,
            max=1000,
            help="Of text: only the documents that training held out, N of 1000 (train's --validation-permille, 10 as a rule); 0: all.",
        ),
    ] = 0,
    stride: Annotated[
        int,
        typer.Option(min=0, help="Of text: tokens from one window of a long document to the next; 0: half the context."),
    ] = 0,
    sweep: Annotated[
        str | None,
        typer.Option(
            metavar="KEY=V,V",
            help="Of text: compare values of one setting, the first with the others: gate.margin=0,5,4,3.",
        ),
    ] = None,
    settings: opt.Set = None,
    threads: opt.Threads = 0,
    isa: opt.Isa = "auto",
    backend: opt.Backend = "auto",
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png",
            help="Plots too: of puzzles accuracy by level, calibration, surprise against errors; of reasoning the scores.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout instead of tables.")] = False,
) -> None:
    """Evaluate a model: accuracy by family and level with standard errors, and how well its own state told difficulty and errors.

    Answers to puzzles are greedy and compared exactly. Surprise and confidence are those of the model's own answers. Texts are scored whole, in
    windows that overlap where one is longer than the context. The question sets of reasoning are those of lm-evaluation-harness, with its prompts
    and metrics; such a run that was interrupted goes on where it stopped. MODEL may be a checkpoint folder too, which torch runs.
    """
    import dataclasses
    import json

    from qig_edge.bench.identity import model_hash
    from qig_edge.cli.progress import Steps
    from qig_edge.evals.opening import identity, open_evaluated
    from qig_edge.evals.plots import check, draw
    from qig_edge.evals.puzzles.generate import parse_levels
    from qig_edge.evals.suites import Options, run, usual_limit
    from qig_edge.runtime.assets import model_path

    chosen = parse_levels(levels) if levels is not None else ()
    fixed, variants = opt.settings(settings), _variants(sweep, suite)
    path = model_path(model)
    if plot is not None:
        check(suite, plot)
    found: list[tuple[str, Any]] = []
    with Steps(f"eval {suite}") as steps:
        options = Options(
            limit=limit if limit is not None else usual_limit(suite),
            levels=chosen,
            seed=seed,
            data=tuple(data or ()),
            held_out=held_out,
            stride=stride,
            tasks=opt.listed(tasks),
            data_dir=data_dir,
            threads=threads,
            progress=steps,
        )
        for value, variant in variants:
            with open_evaluated(path, isa, fixed | variant, backend) as opened:
                if suite == "reasoning":
                    options = dataclasses.replace(options, identity=identity(opened, fixed))
                try:
                    found.append((value, run(suite, opened, options)))
                except KeyboardInterrupt:
                    if options.identity:
                        steps.say("interrupted: the answers so far are kept, the same command goes on from there")
                    raise
                about = {
                    "name": opened.info.name,
                    "file_type": opened.info.file_type,
                    "n_params": opened.info.n_params,
                    "sha256": model_hash(opened.path) if as_json else None,
                }
    result: Result = found[0][1]
    if sweep is not None:
        from qig_edge.evals.text import Sweep

        result = Sweep(sweep.partition("=")[0], found)
    if plot is not None:
        draw(result.to_dict(), f"{about['name']}  {about['file_type']}", plot)
    if as_json:
        print(json.dumps({"model": about, **result.to_dict()}))
    else:
        _print(f"{about['name']}  {about['file_type']}", result)


def _variants(sweep: str | None, suite: str) -> list[tuple[str, dict[str, str]]]:
    """(value, setting) of each run. Raises ConfigError for a sweep that is none, or of a suite that has none."""
    from qig_edge.errors import ConfigError

    if sweep is None:
        return [("", {})]
    key, equals, values = sweep.partition("=")
    listed = values.split(",")
    if not key or not equals or len(listed) < 2 or not all(listed):
        raise ConfigError(f"--sweep {sweep}: KEY=V,V with two values or more, as in gate.margin=0,5,4")
    if suite != "text":
        raise ConfigError(f"--sweep compares texts: it goes with --suite text, not {suite}")
    return [(value, {key: value}) for value in listed]


def _print(title: str, result: Result) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, emoji=False)  # "arc_easy:train" is no picture
    console.print(title, markup=False, soft_wrap=True)
    for shown in result.tables():
        table = Table(title=shown.title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        for i, column in enumerate(shown.columns):
            table.add_column(column, justify="right" if i and len(shown.columns) > 2 else "left", no_wrap=not i)
        for row in shown.rows:
            table.add_row(*row)
        console.print(table)
    for note in result.notes():
        console.print(note, markup=False, soft_wrap=True)
