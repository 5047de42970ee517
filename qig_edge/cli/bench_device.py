"""qig-edge bench --device of a machine that is not there: its program checked under emulation, its rows predicted."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from qig_edge.bench.suite import Suite
    from qig_edge.cli.bench_output import Output
    from qig_edge.cli.progress import Steps
    from qig_edge.devices.profile import Profile


def predict(
    profile: Profile,
    model: Path,
    peer: Path | None,
    chosen: Suite,
    shown: Output,
    *,
    threads: int,
    threads_batch: int,
    settings: dict[str, str],
    text: Path | None,
    steps: Steps,
) -> None:
    """Prints the row of a model, and of a peer in llama.cpp where there is one. Exit code 1 where the program's text differs under emulation."""
    from qig_edge.bench.emulated import check, print_check
    from qig_edge.bench.predicted import count, lines, predicted_row

    # counted before anything is built: a setting or a file that is refused is said at once
    steps(0, 3, "counting what a token reads")
    row_of = partial(
        predicted_row,
        profile,
        threads=threads,
        threads_batch=threads_batch,
        prefill=chosen.prefill,
        depths=chosen.depths,
    )
    counted = count(model, chosen.depths, settings, text, chosen.prefill)
    rows = [row_of(counted, model=model, settings=settings)]
    if peer is not None:
        beside = count(peer, chosen.depths, positions=chosen.prefill)
        rows.append(row_of(beside, model=peer, engine="llama.cpp"))
    checked = check(model, profile, steps)
    rows[0]["emulated"] = checked
    if len(rows) > 1 and shown.form:
        print(json.dumps(rows))
    elif shown.form:
        shown.show(rows[0])
    else:
        if shown.html is not None:
            from qig_edge.bench.page import write_page

            write_page(rows, shown.html)
        print_check(checked)
        print(*(line for row in rows for line in lines(row)), sep="\n")
    if not checked["same_text"]:
        if shown.form:
            typer.echo(
                f"error: under emulation of {profile.name} the program's text differs from this machine's", err=True
            )
        raise typer.Exit(1)
