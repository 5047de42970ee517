"""qig-edge eval: what a model can do, and whether its own state tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from qig_edge.cli import options as opt

if TYPE_CHECKING:
    from qig_edge.evals.suites import Result


def command(
    model: opt.Model = None,
    suite: Annotated[
        str, typer.Option(help="puzzles: graded reasoning problems; symmetry: role-swapped pairs.")
    ] = "puzzles",
    limit: Annotated[int, typer.Option(min=1, max=1 << 20, help="Number of items.")] = 700,
    levels: Annotated[str | None, typer.Option(metavar="N-N", help="Levels of difficulty: 3, 1-5 or 1,3-4.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the items: the same seed asks the same.")] = 0,
    threads: opt.Threads = 0,
    isa: opt.Isa = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout instead of tables.")] = False,
) -> None:
    """Evaluate a model: accuracy by family and level with standard errors, and how well its own state told difficulty and errors.

    Answers to puzzles are greedy and compared exactly. Surprise and confidence are those of the model's own answers.
    """
    import json

    from qig_edge.cli.progress import Steps
    from qig_edge.evals.puzzles.generate import parse_levels
    from qig_edge.evals.suites import Options, run
    from qig_edge.runtime.assets import model_path
    from qig_edge.runtime.native import NativeModel

    chosen = parse_levels(levels) if levels is not None else ()
    path = model_path(model)
    with NativeModel(path, isa) as opened, Steps(f"eval {suite}") as steps:
        result = run(suite, opened, Options(limit=limit, levels=chosen, seed=seed, threads=threads, progress=steps))
        about = {"name": opened.info.name, "file_type": opened.info.file_type, "n_params": opened.info.n_params}
    if as_json:
        print(json.dumps({"model": about, **result.to_dict()}))
    else:
        _print(f"{about['name']}  {about['file_type']}", result)


def _print(title: str, result: Result) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
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
