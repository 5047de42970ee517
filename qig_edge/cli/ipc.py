"""qig-edge ipc: intelligence per compute of one model, or of two beside each other."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qig_edge.cli import options as opt

if TYPE_CHECKING:
    from qig_edge.cli.progress import Steps
    from qig_edge.evals.ipc import Compared, Estimate, Ipc
    from qig_edge.evals.suites import Graded, Options
    from qig_edge.runtime.opening import OpenedModel

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
    suite: Annotated[
        str, typer.Option(help="What reasoning and adaptability are of: puzzles, or reasoning (GSM8K, ARC, HellaSwag, PIQA; extra eval).")
    ] = "puzzles",
    limit: Annotated[
        int | None,
        typer.Option(min=2, max=1 << 20, help="Number of problems; of reasoning: items of each task. Default: 700, of reasoning all."),
    ] = None,
    tasks: opt.Tasks = None,
    data_dir: opt.DataDir = None,
    levels: Annotated[str | None, typer.Option(metavar="N-N", help="Of puzzles: levels of difficulty, 1-5 or 1,3-4.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the puzzles and of the bootstrap.")] = 0,
    threads: opt.Threads = 1,
    depth: Annotated[int, typer.Option(min=0, max=1 << 20, help="Positions in the cache when decoding is timed.")] = 0,
    decode: Annotated[int, typer.Option(min=1, max=1 << 20, help="Tokens decoded a round.")] = 64,
    repeat: Annotated[int, typer.Option(min=2, max=1000, help="Rounds of timing.")] = 9,
    text: Annotated[
        Path | None,
        typer.Option(help="Time on the tokens of this file: what a gate leaves out depends on what is read. Else on random tokens."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout instead of a table.")] = False,
) -> None:
    """Intelligence per compute, (reasoning x adaptability) / (parameters x compute time), with its four factors and 95% intervals.

    Time is of this machine, two models by turns. Where reasoning cannot be told from chance IPC is undefined, and so is a ratio. Of the suite
    "reasoning" each task counts by acc_norm, GSM8K by its exact match, and adaptability is from ARC-easy to ARC-challenge: without both of them it is
    undefined. docs/results.md says what the number cannot tell.
    """
    import json

    from qig_edge.bench.backends import by_turns
    from qig_edge.cli.progress import Steps
    from qig_edge.errors import ConfigError
    from qig_edge.evals.ipc import Subject, compare, measure
    from qig_edge.evals.puzzles.generate import parse_levels
    from qig_edge.evals.suites import Options, usual_limit
    from qig_edge.runtime.assets import model_path
    from qig_edge.runtime.opening import open_model

    if model is None and other is not None:
        raise ConfigError("OTHER is compared with MODEL: give both")
    paths = [model_path(model), *([model_path(other)] if other is not None else [])]
    chosen = parse_levels(levels) if levels is not None else ()
    options = Options(
        limit=limit if limit is not None else usual_limit(suite),
        levels=chosen,
        seed=seed if suite == "puzzles" else 0,  # question sets are not drawn
        tasks=opt.listed(tasks),
        data_dir=data_dir,
        threads=threads,
    )
    with Steps("ipc") as steps:
        results, parameters, names = [], [], []
        for path in paths:
            with open_model(path) as opened:
                results.append(_evaluated(suite, opened, options, steps))
                parameters.append(opened.info.n_params)
                names.append(f"{opened.info.name} {opened.info.file_type}")
        timed = by_turns(paths, threads=threads, prefill=1, decode=decode, depths=[depth], repeat=repeat, text=text, progress=steps)
    found = [test for test in timed["tests"] if test["one_by_one"]][0]["models"]
    seconds = [[1 / rate for rate in m["tokens_per_second"]["samples"]] for m in found]
    scored = [list(r.scored) for r in results]
    subjects = [Subject(*parts) for parts in zip(scored, parameters, seconds, strict=True)]
    groups = dict(Counter(s.group for s in scored[0]))
    about: dict[str, Any] = {"suite": suite, "problems": len(scored[0]), "groups": groups, "seed": seed, "depth": depth}
    about |= {"threads": timed["threads"], "tokens": timed["tokens"], "machine": timed["machine"], "models": names, "notes": _notes(names, results)}
    of = f"Suite {suite}: {', '.join(f'{n} of {group}' for group, n in groups.items())}."
    if len(subjects) == 1:
        ipc = measure(subjects[0], seed)
        print(json.dumps({**about, **ipc.to_dict()}) if as_json else "\n".join([*_lines(names, [ipc]), of, *about["notes"]]))
    else:
        compared = compare(subjects[0], subjects[1], seed)
        shown = compared.to_dict()
        of_each = [{"model": name, **one} for name, one in zip(names, shown.pop("models"), strict=True)]
        if as_json:
            print(json.dumps({**about, "models": of_each, **shown}))
        else:
            print("\n".join([*_lines(names, list(compared.models), compared), of, *about["notes"]]))


def _evaluated(suite: str, opened: OpenedModel, options: Options, steps: Steps) -> Graded:
    from qig_edge.evals.opening import identity
    from qig_edge.evals.suites import run_graded

    def tell(done: int, total: int) -> None:
        steps(done, total, opened.path.name)

    kept = identity(opened, {}) if suite == "reasoning" else {}
    try:
        return run_graded(suite, opened, dataclasses.replace(options, progress=tell, identity=kept))
    except KeyboardInterrupt:
        if kept:
            steps.say(f"interrupted: the answers of {opened.path.name} so far are kept for the next start")
        raise


def _notes(names: list[str], results: list[Graded]) -> list[str]:
    """What the evaluations have to say, once where it is true of every model."""
    told = [(name, note) for name, result in zip(names, results, strict=True) for note in result.notes()]
    shared = Counter(note for _, note in told)
    return list(dict.fromkeys(note if shared[note] == len(results) else f"{name}: {note}" for name, note in told))


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
