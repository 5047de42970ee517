"""qig-edge generate: plain continuation of a text."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qig_edge.cli import options as opt

if TYPE_CHECKING:
    from qig_edge.runtime.opening import OpenedSession
    from qig_edge.runtime.stream import Stats


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
    telemetry: Annotated[
        bool,
        typer.Option(
            "--telemetry",
            help="Print the model's own state at every token after the text, as a table with words (stderr).",
        ),
    ] = False,
    telemetry_json: Annotated[
        bool,
        typer.Option(
            "--telemetry-json",
            help="Instead of the text: one JSON line a token with its text and every field of its telemetry.",
        ),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Instead of the text: one JSON object with the continuation, why it ended, and the model's state.",
        ),
    ] = False,
    settings: opt.Set = None,
    draft: opt.Draft = None,
    threads: opt.Threads = 0,
    threads_batch: opt.ThreadsBatch = 0,
    isa: opt.Isa = "auto",
    ctx: opt.Ctx = 0,
    backend: opt.Backend = "auto",
    device: opt.Device = None,
    host: opt.Host = None,
) -> None:
    """Continue a text: the text and its continuation go to stdout, until the model ends it or --max-tokens are drawn.

    A model with a regime detector marks a text during which it was in breakdown as uncertain (stderr, and `uncertain` of --json), or ends it
    there, as its file says.
    """
    import json

    from qig_edge.cli.on_device import elsewhere, run_there
    from qig_edge.errors import ConfigError
    from qig_edge.runtime.assets import model_path
    from qig_edge.runtime.opening import open_model, speculate
    from qig_edge.runtime.state import TokenState, token_line, token_table
    from qig_edge.runtime.stream import Stats, generate

    if as_json and telemetry_json:
        raise ConfigError("--json and --telemetry-json both write to stdout: one of them")
    drawing, changed = opt.sampling(temperature, top_k, top_p, min_p, repeat_penalty, seed), opt.settings(settings)
    draft_len = opt.draft(draft, drawing, seed)
    path = model_path(model)
    if prompt is None:
        if sys.stdin.isatty():
            raise ConfigError("there is no text to continue: give -p TEXT or pipe one in")
        prompt = sys.stdin.read().rstrip("\n")
    if elsewhere(device, host):
        if backend != "auto":
            raise ConfigError(f"--backend goes without --device {device}: the device runs the qig program")
        told = opt.sampling_args(max_tokens, temperature, top_k, top_p, min_p, repeat_penalty, seed)
        flags = {"--json": as_json, "--stats": stats, "--telemetry": telemetry, "--telemetry-json": telemetry_json}
        told += opt.running_args(changed, draft, threads, threads_batch, isa, ctx, flags)
        text = prompt.encode("utf-8", "surrogateescape")
        raise typer.Exit(run_there("generate", path, told, device=str(device), host=host, ctx=ctx, stdin=text))
    trace: list[TokenState] = []

    def write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    def take(token: TokenState) -> None:
        if telemetry:
            trace.append(token)
        if telemetry_json:
            write(token_line(token) + "\n")

    with (
        open_model(path, isa, changed, backend) as opened,
        opened.session(n_ctx=ctx, n_threads=threads, n_threads_batch=threads_batch) as session,
    ):
        speculate(session, draft_len)
        took = Stats()
        pieces = generate(opened, session, prompt, sampling=drawing, max_tokens=max_tokens, stats=took, on_token=take)
        if as_json:
            write(json.dumps(_facts("".join(pieces), took, session), ensure_ascii=False) + "\n")
        elif telemetry_json:
            for _ in pieces:
                pass
        else:
            first = next(pieces, "")  # before anything is printed: a prompt that does not fit prints nothing
            write(prompt + first)
            for piece in pieces:
                write(piece)
            write("\n")
        if telemetry:
            print(*token_table(trace), sep="\n", file=sys.stderr)
        opt.report(took, opened, session, show_stats=stats, telemetry=telemetry, conversation=False)


def _facts(text: str, took: Stats, session: OpenedSession) -> dict[str, Any]:
    """The object of --json: the qig program prints the same fields."""
    counts = {"end": took.end, "prompt_tokens": took.prompt_tokens, "tokens": took.tokens}
    seconds = {"prefill_s": took.prefill_s, "decode_s": took.decode_s}
    return {"text": text, **counts, **took.state.facts(), **seconds, **opt.thread_facts(session)}
