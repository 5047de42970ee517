"""qig-edge bench: speed and memory of a model, measured on this machine, or predicted for a device whose program is checked under emulation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qig_edge.cli import options as opt

if TYPE_CHECKING:
    from qig_edge.cli.progress import Steps


def command(
    model: opt.Model = None,
    device: Annotated[str, typer.Option(help="laptop (this machine), or one of `qig-edge devices`: checked under emulation, predicted.")] = "laptop",
    random: Annotated[
        str | None, typer.Option("--random", metavar="PRESET", help="Random weights of a preset (or smollm-135m, tinyllama-1.1b) instead of MODEL.")
    ] = None,
    random_type: Annotated[
        str, typer.Option("--random-type", metavar="TYPE", help="Of all of them: q4_0 or q8_0.")
    ] = "q4_0",
    trained: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Of --random: this trained model spread over the shape, so that attention leaves out what a trained one does.",
        ),
    ] = None,
    threads: opt.Threads = 0,
    threads_batch: opt.ThreadsBatch = 0,
    suite: Annotated[
        str, typer.Option(metavar="NAME", help="What to measure: quick, standard, long-context or sustained; other options override single values.")
    ] = "standard",
    prefill: Annotated[int | None, typer.Option(min=1, max=1 << 20, help="Tokens of the prefill test. [standard: 512]")] = None,
    decode: Annotated[int | None, typer.Option(min=1, max=1 << 20, help="Tokens of each decode test. [standard: 128]")] = None,
    depths: Annotated[
        str | None, typer.Option(metavar="N,N,..", help="Positions already in the cache when decoding. [standard: 0,1024]")
    ] = None,
    repeat: Annotated[int | None, typer.Option(min=1, max=1000, help="Samples of each test. [standard: 5]")] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=10080,
            help="Then decode without a pause for so long and sample speed, temperature, clock; Ctrl-C keeps what there is. [sustained: 10]",
        ),
    ] = None,
    text: Annotated[
        Path | None,
        typer.Option(
            help="Measure on the tokens of this file: what a model that adapts runs depends on what it reads. Else on random tokens."
        ),
    ] = None,
    draft: Annotated[
        bool,
        typer.Option(
            "--draft",
            help="Instead: what speculation costs at each length of drafts, and the speed that follows; with --text how often drafts are right.",
        ),
    ] = False,
    peer: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Instead: this engine and llama.cpp by turns, ratios pair by pair. NAME: llama.cpp."
        ),
    ] = None,
    peer_model: Annotated[
        Path | None,
        typer.Option(
            help="Of --peer: the file that it runs [default: MODEL itself; of --random qig-NAME the twin, dense-NAME]."
        ),
    ] = None,
    beside: Annotated[
        list[Path] | None,
        typer.Option(
            "--beside",
            metavar="MODEL",
            help="Instead: MODEL and this one by turns, GGUF or ONNX, as a table of sizes and speeds. Repeatable.",
        ),
    ] = None,
    settings: opt.Set = None,
    isa: opt.Isa = "auto",
    backend: opt.Backend = "auto",
    host: Annotated[
        str | None, typer.Option(metavar="HOST", help="Of --device: measure there: user@host, or what else ssh takes for one; of a phone the serial.")
    ] = None,
    hosts: Annotated[
        Path | None,
        typer.Option(
            help='Of --device rpi4,rpi5: measure on all of them at once; a TOML file with a line rpi4 = "user@host", or android = "SERIAL", for each.'
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object with the raw samples.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Instead of the table: a line a test, comma-separated.")] = False,
    as_markdown: Annotated[bool, typer.Option("--md", help="Instead of the table: one in Markdown.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write a page with plots to this file too; it needs nothing besides.")] = None,
    evaluation: Annotated[
        Path | None,
        typer.Option(
            "--eval", metavar="FILE", help="What 'qig-edge eval MODEL --json' wrote, --suite puzzles or reasoning: the row's IPC and its factors."
        ),
    ] = None,
    results: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            "--compare",
            metavar="A B",
            help="Instead of measuring: two files that --json wrote, test by test, and whether B is faster, as far as the samples tell.",
        ),
    ] = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Of --compare: also where machine, its state, threads or model differ; says so on top.")
    ] = False,
) -> None:
    """Measure a model on this machine: load, first token, prefill, decode, memory, energy, and the share of the memory bandwidth that decode reaches.

    Exit code 130 where Ctrl-C ended the sustained part: what was measured is printed all the same, marked as interrupted.

    With --device and --host: the same on that machine, where program and model are put in place first. Of several devices, the exit code is 1 where
    one failed, 2 where all did; the others' rows are printed all the same.

    With --device of another machine alone: build its program, run it under emulation and compare its text with this machine's (the exit code is 1
    where they differ), and predict its speed and memory from what a token reads and computes. Such rows say PREDICTED; docs/devices.md tells how far
    predictions are off where boards were measured. With --peer llama.cpp the peer is predicted beside it.
    """
    import json

    from qig_edge.bench.measure import measure, parse_depths
    from qig_edge.bench.suite import load_suite
    from qig_edge.cli.bench_output import Output, only_comparing, print_comparison
    from qig_edge.cli.progress import Steps
    from qig_edge.devices.profile import load_profile
    from qig_edge.errors import ConfigError
    from qig_edge.runtime.assets import model_path

    shown = Output(as_json, as_csv, as_markdown, html, evaluation)
    if evaluation is not None and not load_profile(device.split(",")[0]).is_host and host is None:
        raise ConfigError("--eval gives a measurement its IPC: it goes with this machine, or with --host")
    if results is not None:
        only_comparing(model, random, html, as_csv or as_markdown)
        print_comparison(results, anyway, as_json)
        return
    if anyway:
        raise ConfigError("--anyway belongs to --compare A B")
    remote = host is not None or hosts is not None
    devices = device.split(",") if remote else [device]
    profile, positions = load_profile(devices[0]), parse_depths(depths) if depths is not None else None
    chosen = load_suite(suite, prefill=prefill, decode=decode, depths=positions, repeat=repeat, minutes=minutes)
    if remote and (draft or peer is not None or beside or text is not None or backend != "auto" or chosen.minutes):
        raise ConfigError(
            "--host and --hosts measure the qig program: they go without --draft, --peer, --beside, --text, --backend, --minutes and the sustained"
            " suite"
        )
    if (draft or peer is not None or beside) and (shown.needs_row or chosen.minutes):
        raise ConfigError(
            "--csv, --md, --html, --eval, --minutes and the sustained suite measure one model: they go without --draft, --peer and --beside"
        )
    if not profile.is_host and chosen.minutes:
        raise ConfigError(f"--minutes and the sustained suite are measurements: they go without --device {device}")
    if random is not None and model is not None:
        raise ConfigError("--random makes a model: it goes without MODEL")
    if trained is not None and random is None:
        raise ConfigError("--trained gives --random its weights: it goes with --random PRESET")
    changed = opt.settings(settings)
    if not remote and not profile.is_host and (draft or isa != "auto"):
        raise ConfigError(f"--draft and --isa belong to a measurement: they go without --device {device}")
    if threads_batch and (draft or peer is not None or beside):
        raise ConfigError("--threads-batch belongs to a measurement of prefill: it goes without --draft, --peer and --beside")
    if beside and (draft or not profile.is_host or peer is not None or changed or isa != "auto"):
        raise ConfigError("--beside is a measurement of its own: it goes without --draft, --device, --peer, --set and --isa")
    if backend != "auto" and (peer is not None or draft or beside or not profile.is_host):
        raise ConfigError(f"--backend {backend} says what is measured here: it goes without --peer, --draft, --beside and --device")
    if peer is not None or peer_model is not None:
        _check_peer(peer, peer_model, draft)
    if remote:
        if random is not None:
            from qig_edge.bench.random_model import random_model

        path = model_path(model) if random is None else random_model(random, kind=random_type, trained=trained)
        shown.check(path)
        from qig_edge.cli.bench_remote import bench_there

        bench_there(path, devices, host, hosts, chosen, suite, threads, threads_batch, isa, changed, shown)
        return
    with Steps(f"bench {device}") as steps:
        if random is not None:
            from qig_edge.bench.random_model import random_model

            path = random_model(
                random,
                progress=lambda done, total: steps(done, total, "writing weights"),
                kind=random_type,
                trained=trained,
            )
        else:
            path = model_path(model)
        if beside:
            from qig_edge.bench.backends import by_turns, table

            found = by_turns(
                [path, *map(model_path, beside)],
                threads=threads,
                prefill=chosen.prefill,
                decode=chosen.decode,
                depths=chosen.depths,
                repeat=chosen.repeat,
                text=text,
                progress=steps,
            )
            print(json.dumps(found) if as_json else "\n".join(table(found)))
            return
        if draft:
            _drafts(path, isa, changed, threads, text, as_json, steps)
            return
        if peer is not None and peer_model is None and random is not None and (stem := Path(random).stem).startswith("qig-"):
            from qig_edge.bench.random_model import random_model

            peer_model = random_model(stem.replace("qig-", "dense-", 1), kind=random_type)
        if not profile.is_host:
            from qig_edge.cli.bench_device import predict

            other = None if peer is None else peer_model or path
            told = {"threads": threads, "threads_batch": threads_batch}
            predict(profile, path, other, chosen, shown, settings=changed, text=text, steps=steps, **told)
            return
        if peer is not None:
            from qig_edge.bench.peer import compare, lines

            compared = compare(
                path,
                peer_model,
                threads=threads,
                prefill=chosen.prefill,
                decode=chosen.decode,
                depths=chosen.depths,
                repeat=chosen.repeat,
                isa=isa,
                settings=changed,
                text=text,
                progress=steps,
            )
            print(json.dumps(compared) if as_json else "\n".join(lines(compared)))
            return
        shown.check(path)
        row = measure(
            path,
            device=device,
            threads=threads,
            threads_batch=threads_batch,
            prefill=chosen.prefill,
            decode=chosen.decode,
            depths=chosen.depths,
            repeat=chosen.repeat,
            isa=isa,
            settings=changed,
            text=text,
            backend=backend,
            suite=suite,
            minutes=chosen.minutes,
            progress=steps,
        )
    shown.show(row)
    if row["interrupted"]:
        raise typer.Exit(130)


def _check_peer(peer: str | None, peer_model: Path | None, other: bool) -> None:
    """Raises ConfigError for a peer that there is not, or options that do not go with one; ModelFileError for a file that is missing."""
    from qig_edge.errors import ConfigError, ModelFileError

    if peer is None:
        raise ConfigError("--peer-model names the file of a peer: it goes with --peer")
    if peer != "llama.cpp":
        raise ConfigError(f"--peer '{peer}' must be llama.cpp")
    if other:
        raise ConfigError("--peer is a measurement of its own: it goes without --draft")
    if peer_model is not None and not peer_model.is_file():
        raise ModelFileError(f"{peer_model}: no such model file")


def _drafts(
    path: Path, isa: str, settings: dict[str, str], threads: int, text: Path | None, as_json: bool, steps: Steps
) -> None:
    """Speculation measured: what it costs, and with a text how often drafts are right."""
    import dataclasses
    import json

    from qig_edge.bench.speculation import acceptance_lines, measure_acceptance, measure_costs, prompts, report
    from qig_edge.runtime.native import NativeModel

    lines = prompts(text) if text else []
    with NativeModel(path, isa, settings=settings) as opened:
        costs = measure_costs(opened, threads=threads, progress=steps)
        found = measure_acceptance(opened, lines, threads=threads) if lines else {}
    if as_json:
        print(json.dumps({"costs": dataclasses.asdict(costs), "acceptance": found}))
    else:
        print(*report(costs), *acceptance_lines(found), sep="\n")
