"""qig-edge chat: a conversation on the terminal or through a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from qig_edge.cli import options as opt

if TYPE_CHECKING:
    from qig_edge.runtime.chat import Chat

PROMPT = "> "


def command(
    model: opt.Model = None,
    prompt: Annotated[str | None, typer.Option("--prompt", "-p", help="Answer this one message and leave.")] = None,
    system: Annotated[str | None, typer.Option(help="System prompt; it stays when the context slides.")] = None,
    max_tokens: opt.MaxTokens = 512,
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
    """Talk with a model. Through a pipe every line is one message: echo hi | qig-edge chat

    On a terminal Ctrl-C stops the answer, twice leaves; Ctrl-D leaves. When the context is full the oldest exchanges are forgotten.
    """
    from qig_edge.errors import RuntimeFault
    from qig_edge.runtime.assets import model_path
    from qig_edge.runtime.chat import Chat
    from qig_edge.runtime.native import NativeModel

    drawing = opt.sampling(temperature, top_k, top_p, min_p, repeat_penalty, seed)
    path = model_path(model)
    with NativeModel(path, isa) as opened, opened.session(n_ctx=ctx, n_threads=threads) as session:
        chat = Chat(opened, session, system=system, sampling=drawing, max_tokens=max_tokens, telemetry=telemetry)
        talking = prompt is None and sys.stdin.isatty()
        if talking:
            print(
                f"{opened.info.name or path.name}: {opened.info.n_params / 1e6:.1f}M parameters, {opened.info.file_type},"
                f" kernels {opened.info.isa}, context {session.n_ctx}. Ctrl-C stops an answer, twice leaves; Ctrl-D leaves.",
                file=sys.stderr,
            )
        messages = [prompt] if prompt is not None else _typed(chat) if talking else _piped()
        for message in messages:
            try:
                _answer(chat, message)
            except RuntimeFault as e:
                if not talking:
                    raise
                print(f"error: {e}", file=sys.stderr)  # the conversation is as it was
                continue
            if stats:
                print(opt.stats_line(chat.stats, session.cache_bytes), file=sys.stderr)
            if telemetry:
                print(opt.telemetry_line(chat.stats.records), file=sys.stderr)


def _piped() -> Iterator[str]:
    for line in sys.stdin:
        if line.strip():
            yield line.rstrip("\r\n")


def _typed(chat: Chat) -> Iterator[str]:
    """Lines typed at the prompt until Ctrl-D, or Ctrl-C twice without a line between (the one that stopped an answer counts)."""
    import contextlib

    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  (editing and history in input())
    warned = False
    while True:
        try:
            if sys.stdout.isatty():
                line = input(PROMPT)
            else:
                print(PROMPT, end="", file=sys.stderr, flush=True)
                line = input()
        except EOFError:
            print(file=sys.stderr)
            return
        except KeyboardInterrupt:
            if warned:
                raise
            warned = True
            print("\n(Ctrl-C again leaves)", file=sys.stderr)
            continue
        warned = False
        if line.strip():
            yield line
            warned = chat.stop.asked


def _answer(chat: Chat, message: str) -> None:
    """Streams one answer to stdout. The first Ctrl-C stops it at the next token, the second one leaves at once."""
    import signal

    def on_interrupt(number: int, frame: object) -> None:
        if chat.stop.asked:
            raise KeyboardInterrupt
        chat.stop.ask()

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        for piece in chat.answer(message):
            sys.stdout.write(piece)
            sys.stdout.flush()
    finally:
        signal.signal(signal.SIGINT, before)
    sys.stdout.write("\n")
    sys.stdout.flush()
