"""qig-edge diagnose: what bounds a model on a machine, in words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qig_edge.cli import options as opt


def command(
    what: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE|MODEL",
            show_default=False,
            help="What `bench --json` wrote; or a model, which is measured first. Without it the model that ships.",
        ),
    ] = None,
    suite: Annotated[str, typer.Option(metavar="NAME", help="Of a model: what to measure, as in bench.")] = "standard",
    threads: opt.Threads = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Say what bounds decoding (memory bandwidth, cache, arithmetic, depth, heat, threads, swap), how far it is from the ceiling, what to change."""
    import json

    from qig_edge.bench.diagnose import diagnose, lines
    from qig_edge.bench.measure import measure
    from qig_edge.bench.rows import is_row, load_row
    from qig_edge.bench.suite import load_suite
    from qig_edge.cli.progress import Steps
    from qig_edge.errors import ConfigError
    from qig_edge.runtime.assets import model_path

    if what is not None and is_row(what):
        if threads or suite != "standard":
            raise ConfigError(f"'{what}' was measured already: --threads and --suite are for a model")
        row = load_row(what)
    else:
        path, chosen = model_path(what), load_suite(suite)
        with Steps("measuring") as steps:
            row = measure(
                path, threads=threads, prefill=chosen.prefill, decode=chosen.decode, depths=chosen.depths, repeat=chosen.repeat,
                suite=suite, minutes=chosen.minutes, progress=steps,
            )  # fmt: skip
    print(json.dumps(diagnose(row).as_dict()) if as_json else "\n".join(lines(row)))
    if row["interrupted"] and (what is None or not is_row(what)):
        raise typer.Exit(130)
