"""qig-edge ipc: intelligence per compute of one model, or of two beside each other."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qig_edge.cli import options as opt

if TYPE_CHECKING:
    from qig_edge.cli.progress import Steps
    from qig_edge.evals.ipc import Compared, Estimate, Ipc
    from qig_edge.evals.suites import Scored

LABELS = {
    "reasoning": "reasoning above chance",
    "adaptability": "adaptability",
    "parameters_millions": "parameters, millions",
    "seconds_per_token": "microseconds a token",
    "ipc": "IPC",
}


def command(
    model: opt.Model = None,
    other: Annotated[Path | None, typer.Argument(metavar="[OTHER]", help="A second model: ratios are MODEL over OTHER.")] = None,
    limit: Annotated[int, typer.Option(min=2, max=1 << 20, help="Number of problems.")] = 700,
    levels: Annotated[str | None, typer.Option(metavar="N-N", help="Levels of difficulty, 1-5 or 1,3-4.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the problems and of the bootstrap.")] = 0,
    threads: opt.Threads = 1,
    depth: Annotated[int, typer.Option(min=0, max=1 << 20, help="Positions in the cache when decoding is timed.")] = 0,
    decode: Annotated[int, typer.Option(min=1, max=1 << 20, help="Tokens decoded a round.")] = 64,
    repeat: Annotated[int, typer.Option(min=2, max=1000, help="Rounds of timing.")] = 9,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout instead of a table.")] = False,
) -> None:
    """Intelligence per compute, (reasoning x adaptability) / (parameters x compute time), with its four factors and 95% intervals.

    Reasoning and adaptability are of the suite "puzzles", time is of this machine, two models by turns. Where reasoning cannot be told from chance
    IPC is undefined, and so is a ratio. docs/results.md says what the number cannot tell.
    """
    import json

    from qig_edge.bench.backends import by_turns
    from qig_edge.cli.progress import Steps
    from qig_edge.errors import ConfigError
    from qig_edge.evals.ipc import Subject, compare, measure
    from qig_edge.evals.puzzles.generate import parse_levels
    from qig_edge.evals.suites import Options
    from qig_edge.runtime.assets import model_path
    from qig_edge.runtime.opening import open_model

    if model is None and other is not None:
        raise ConfigError("OTHER is compared with MODEL: give both")
    paths = [model_path(model), *([model_path(other)] if other is not None else [])]
    chosen = parse_levels(levels) if levels is not None else ()
    with Steps("ipc") as steps:
        scored, parameters, names = [], [], []
        for path in paths:
            tell = functools.partial(_tell, steps, path.name)
            options = Options(limit=limit, levels=chosen, seed=seed, threads=threads, progress=tell)
            with open_model(path) as opened:
                scored.append(_scored(opened, options))
                parameters.append(opened.info.n_params)
                names.append(f"{opened.info.name} {opened.info.file_type}")
        timed = by_turns(paths, threads=threads, prefill=1, decode=decode, depths=[depth], repeat=repeat, progress=steps)
    found = [test for test in timed["tests"] if test["one_by_one"]][0]["models"]
    seconds = [[1 / rate for rate in m["tokens_per_second"]["samples"]] for m in found]
    subjects = [Subject(*parts) for parts in zip(scored, parameters, seconds, strict=True)]
    about = {"problems": limit, "seed": seed, "depth": depth, "threads": timed["threads"], "machine": timed["machine"], "models": names}
    if len(subjects) == 1:
        ipc = measure(subjects[0], seed)
        print(json.dumps({**about, **ipc.to_dict()}) if as_json else "\n".join(_lines(names, [ipc])))
    else:
        compared = compare(subjects[0], subjects[1], seed)
        shown = compared.to_dict()
        of_each = [{"model": name, **one} for name, one in zip(names, shown.pop("models"), strict=True)]
        print(json.dumps({**about, "models": of_each, **shown}) if as_json else "\n".join(_lines(names, list(compared.models), compared)))


def _tell(steps: Steps, what: str, done: int, total: int) -> None:
    steps(done, total, what)


def _scored(opened: Any, options: Any) -> list[Scored]:
    from qig_edge.evals.puzzles import suite

    return suite.run(opened, options).scored


def _lines(names: list[str], models: list[Ipc], compared: Compared | None = None) -> list[str]:
    """Aligned rows: a factor each, then IPC; a column a model, and one of ratios."""
    rows = [["", *names, *(["first over second"] if compared else [])]]
    for factor, label in LABELS.items():
        scale = 1e6 if factor == "seconds_per_token" else 1.0
        cells = [_shown(m.value if factor == "ipc" else m.factors[factor], scale) for m in models]
        if compared:
            cells.append(_shown(compared.ratio if factor == "ipc" else compared.ratios[factor], 1.0))
        rows.append([label, *cells])
    widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    if compared:
        lines.append("A ratio above 1 is in favour of the first, of parameters and time too.")
    why = compared.why if compared else models[0].why
    return [*lines, *([f"IPC is undefined: {why}."] if why else [])]


def _shown(estimate: Estimate, scale: float) -> str:
    if estimate.value is None:
        return "undefined"
    ends = [f"{scale * x:.4g}" for x in (estimate.low, estimate.high) if x is not None]
    value = f"{scale * estimate.value:.4g}"
    return value if estimate.low == estimate.high else f"{value} ({' to '.join(ends)})"
