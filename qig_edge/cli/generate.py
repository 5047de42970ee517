"""qig-edge generate: plain continuation of a text."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from qig_edge.cli import options as opt


def command(
    model: opt.Model = None,
    prompt: Annotated[str | None, typer.Option("--prompt", "-p", help="Text to continue; without it, stdin.")] = None,
    max_tokens: opt.MaxTokens = 256,
    temperature: opt.Temperature = 0.7,
    top_k: opt.TopK = 40,
    top_p: opt.TopP = 0.95,
    min_p: opt.MinP = 0.05,
    repeat_penalty: opt.RepeatPenalty = 1.1,
    seed: opt.Seed = None,
    stats: opt.ShowStats = False,
    telemetry: opt.ShowTelemetry = False,
    threads: opt.Threads = 0,
    isa: opt.Isa = "auto",
    ctx: opt.Ctx = 0,
) -> None:
    """Continue a text: the text and its continuation go to stdout, until the model ends it or --max-tokens are drawn."""
    from qig_edge.errors import ConfigError
    from qig_edge.runtime.assets import model_path
    from qig_edge.runtime.native import NativeModel
    from qig_edge.runtime.stream import Stats, generate

    drawing = opt.sampling(temperature, top_k, top_p, min_p, repeat_penalty, seed)
    path = model_path(model)
    if prompt is None:
        if sys.stdin.isatty():
            raise ConfigError("there is no text to continue: give -p TEXT or pipe one in")
        prompt = sys.stdin.read().rstrip("\n")
    with NativeModel(path, isa) as opened, opened.session(n_ctx=ctx, n_threads=threads) as session:
        took = Stats()
        pieces = generate(
            opened, session, prompt, sampling=drawing, max_tokens=max_tokens, stats=took, telemetry=telemetry
        )
        first = next(pieces, "")  # before anything is printed: a prompt that does not fit prints nothing
        sys.stdout.write(prompt + first)
        sys.stdout.flush()
        for piece in pieces:
            sys.stdout.write(piece)
            sys.stdout.flush()
        sys.stdout.write("\n")
        if stats:
            print(opt.stats_line(took, session.cache_bytes), file=sys.stderr)
        if telemetry:
            print(opt.telemetry_line(took.records), file=sys.stderr)
