"""qig-edge chat: a conversation on the terminal or through a pipe."""

from __future__ import annotations

import enum
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qig_edge.cli import options as opt
from qig_edge.runtime.symmetry import LIMIT

if TYPE_CHECKING:
    from qig_edge.runtime.chat import Chat
    from qig_edge.runtime.opening import OpenedSession
    from qig_edge.runtime.symmetry import Scorer, Symmetry

PROMPT = "> "


class Check(str, enum.Enum):
    """What to do with a reply that is not symmetric."""

    warn = "warn"
    abort = "abort"


def command(
    model: opt.Model = None,
    prompt: Annotated[str | None, typer.Option("--prompt", "-p", help="Answer this one message and leave.")] = None,
    system: Annotated[str | None, typer.Option(help="System prompt; it stays when the context slides.")] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep the conversation, with its cache, in this file when it ends, also by Ctrl-C.")
    ] = None,
    load: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Go on with a conversation that --save kept: the same model file and settings; random numbers go on."),
    ] = None,
    max_tokens: opt.MaxTokens = 512,
    temperature: opt.Temperature = 0.7,
    top_k: opt.TopK = 40,
    top_p: opt.TopP = 0.95,
    min_p: opt.MinP = 0.05,
    repeat_penalty: opt.RepeatPenalty = 1.1,
    seed: opt.Seed = None,
    check_symmetry: Annotated[
        Check | None,
        typer.Option(
            help="Hold each reply until it is compared with its role-swapped twin; below the limit, warn about it, or do not show it."
        ),
    ] = None,
    symmetry_limit: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Lowest symmetry score that passes --check-symmetry.")
    ] = LIMIT,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per answer instead of its text.")] = False,
    stats: opt.ShowStats = False,
    telemetry: opt.ShowTelemetry = False,
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
    """Talk with a model. Through a pipe every line is one message: echo hi | qig-edge chat

    On a terminal Ctrl-C stops the answer, twice leaves; Ctrl-D leaves. When the context is full the oldest exchanges are forgotten.

    --check-symmetry asks whether the model would say the same with the roles of both sides exchanged, I for you and you for me. The score
    is 1 where reply and twin are equally likely, 0.5 where a token of one is on average twice as likely. It is no content filter: it says nothing
    about whether a reply is true, kind or safe. A reply that abort holds back is taken out of the conversation with its question; with
    --prompt the exit code is then 1.
    """
    import contextlib

    from qig_edge.cli.board import BoardWatch
    from qig_edge.cli.on_device import elsewhere, run_there
    from qig_edge.errors import ConfigError, RuntimeFault
    from qig_edge.runtime.assets import model_path
    from qig_edge.runtime.backend import KeepingSession
    from qig_edge.runtime.chat import Chat
    from qig_edge.runtime.opening import open_model, speculate
    from qig_edge.runtime.symmetry import Scorer

    if not symmetry_limit >= 0:  # NaN passes a range
        raise ConfigError(f"symmetry_limit = {symmetry_limit} must be in [0, 1]")
    if load is not None and system is not None:
        raise ConfigError(f"--system: the conversation in '{load}' has begun already; leave it out")
    if save is not None:
        opt.writable(save, "--save")
    drawing, changed = opt.sampling(temperature, top_k, top_p, min_p, repeat_penalty, seed), opt.settings(settings)
    draft_len = opt.draft(draft, drawing, seed)
    path = model_path(model)
    if elsewhere(device, host):
        if check_symmetry is not None or backend != "auto":
            raise ConfigError(f"--check-symmetry and --backend go without --device {device}: the device runs the qig program")
        if save is not None or load is not None:
            raise ConfigError(f"--save and --load go without --device {device}: the cache is on that machine, where 'qig chat' has both options")
        told = opt.sampling_args(max_tokens, temperature, top_k, top_p, min_p, repeat_penalty, seed)
        flags = {"--json": as_json, "--stats": stats, "--telemetry": telemetry}
        told += opt.running_args(changed, draft, threads, threads_batch, isa, ctx, flags)
        told += [part for name, text in (("--prompt", prompt), ("--system", system)) if text is not None for part in (name, text)]
        stdin = None if prompt is None else b""
        raise typer.Exit(run_there("chat", path, told, device=str(device), host=host, ctx=ctx, stdin=stdin))
    with contextlib.ExitStack() as stack:
        opened = open_model(path, isa, changed, backend)
        stack.callback(opened.close)
        session = opened.session(n_ctx=ctx, n_threads=threads, n_threads_batch=threads_batch)
        stack.callback(session.close)
        speculate(session, draft_len)
        for option, file in (("--save", save), ("--load", load)):
            if file is not None and not isinstance(session, KeepingSession):
                raise ConfigError(f"{option} {file}: a conversation is kept with its cache by libqig alone, and this model runs in another engine")
        chat = Chat(opened, session, system=system, sampling=drawing, max_tokens=max_tokens, kept=load)
        if load is not None and seed is not None:
            session.set_sampler(drawing)
        if save is not None:
            stack.callback(chat.save, save)  # however the conversation ends
        watch = BoardWatch()
        gate = None
        if check_symmetry is not None:
            scorer = stack.enter_context(Scorer(opened, n_ctx=ctx, n_threads=threads))
            gate = Gate(scorer, symmetry_limit, check_symmetry is Check.abort)
        talking = prompt is None and sys.stdin.isatty()
        if talking:
            print(
                f"{opened.info.name or path.name}: {opened.info.n_params / 1e6:.1f}M parameters, {opened.info.file_type},"
                f" kernels {opened.info.isa}, context {session.n_ctx}. Ctrl-C stops an answer, twice leaves; Ctrl-D leaves.",
                file=sys.stderr,
            )
        messages = [prompt] if prompt is not None else _typed(chat) if talking else _piped()
        for message in messages:
            watch.warn()
            try:
                shown = _answer(chat, message, gate, as_json, session)
            except RuntimeFault as e:
                if not talking:
                    raise
                print(f"error: {e}", file=sys.stderr)  # the conversation is as it was
                continue
            opt.report(chat.stats, opened, session, show_stats=stats, telemetry=telemetry, conversation=True)
            watch.warn()
            if prompt is not None and not shown:
                raise typer.Exit(1)


class Gate:
    """Looks at a whole reply before it is shown: its score, and whether it passes. abort: what does not pass is not shown."""

    def __init__(self, scorer: Scorer, limit: float, abort: bool) -> None:
        self.scorer, self.limit, self.abort = scorer, limit, abort

    def judge(self, chat: Chat) -> tuple[Symmetry | None, str | None]:
        """The last reply's comparison, None for an empty one that was cut, and the line to print where it does not pass.

        A reply that cannot be compared does not pass.
        """
        from qig_edge.errors import RuntimeFault

        *before, (_, reply) = chat.messages
        ended = chat.stats.end == "end"
        if not reply and not ended:
            return None, None
        try:
            found = self.scorer.score(before, reply, ended=ended)
        except RuntimeFault as e:
            return None, f"symmetry is unknown: {e}"
        return found, None if found.score >= self.limit else found.line(self.limit)


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


def _answer(
    chat: Chat, message: str, gate: Gate | None = None, as_json: bool = False, session: OpenedSession | None = None
) -> bool:
    """Puts one answer on stdout, as it comes or, with a gate or as JSON, when it is whole. False where the gate held it back.

    session: the one whose thread counts the JSON object tells.
    The first Ctrl-C stops it at the next token, the second one leaves at once.
    """
    import signal

    def on_interrupt(number: int, frame: object) -> None:
        if chat.stop.asked:
            raise KeyboardInterrupt
        chat.stop.ask()

    held = False
    before = signal.signal(signal.SIGINT, on_interrupt)
    pieces = chat.answer(message)
    try:
        if gate is None and not as_json:
            for piece in pieces:
                sys.stdout.write(piece)
                sys.stdout.flush()
            text = "\n"
        else:
            text, held = _whole(chat, message, "".join(pieces), gate, as_json, session)
    finally:
        pieces.close()  # left in the middle, it takes back what was not shown
        signal.signal(signal.SIGINT, before)
    sys.stdout.write(text)
    sys.stdout.flush()
    return not held


def _whole(
    chat: Chat, message: str, answer: str, gate: Gate | None, as_json: bool, session: OpenedSession | None
) -> tuple[str, bool]:
    """What goes to stdout for a finished answer, and whether the gate held it back; its line goes to stderr."""
    found, line, held = None, None, False
    if gate is not None and (chat.stats.end != "stopped" or answer):
        found, line = gate.judge(chat)
        held = line is not None and gate.abort
        if line is not None:
            print(f"[{line}{'; it is not shown' if held else ''}]", file=sys.stderr)
        if held:
            chat.forget_last()
    if not as_json:
        return "" if held else answer + "\n", held
    record: dict[str, Any] = {
        "message": message,
        "answer": None if held else answer,
        "end": chat.stats.end,
        "prompt_tokens": chat.stats.prompt_tokens,
        "tokens": chat.stats.tokens,
        **chat.stats.state.facts(),
        "prefill_s": chat.stats.prefill_s,
        "decode_s": chat.stats.decode_s,
        **(opt.thread_facts(session) if session else {}),
    }
    if gate is not None:
        record["symmetry"] = {
            "score": found.score if found else None,
            "limit": gate.limit,
            "passed": line is None,
            "log_likelihood": found.log_likelihood if found else None,
            "twin_log_likelihood": found.twin_log_likelihood if found else None,
        }
    return json.dumps(record, ensure_ascii=False) + "\n", held
