"""Options that several commands share, as annotated types, and the statistics lines they print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from qig_edge.runtime.backend import Sampling
    from qig_edge.runtime.opening import OpenedModel, OpenedSession
    from qig_edge.runtime.stream import Stats

Model = Annotated[
    Path | None,
    typer.Argument(metavar="MODEL", help="GGUF file, ONNX folder, or a pulled model's name; without it the model that ships with qig-edge."),
]
MaxTokens = Annotated[int, typer.Option("--max-tokens", "-n", min=1, help="Most tokens of one answer.")]
Temperature = Annotated[
    float,
    typer.Option(
        "--temperature", "--temp", min=0.0, max=100.0, help="Spread of the draw; 0 always takes the likeliest token."
    ),
]
TopK = Annotated[int, typer.Option(min=0, help="Draw among this many likeliest tokens; 0: off.")]
TopP = Annotated[
    float,
    typer.Option(min=0.0, max=1.0, help="Draw among the likeliest tokens that hold this much probability; 1: off."),
]
MinP = Annotated[
    float,
    typer.Option(min=0.0, max=1.0, help="Leave out tokens below this part of the likeliest one's probability; 0: off."),
]
RepeatPenalty = Annotated[float, typer.Option(min=0.001, max=100.0, help="Make recent tokens less likely; 1: off.")]
Seed = Annotated[
    int | None, typer.Option(min=0, max=2**63 - 1, help="Seed of the draw; without it a new one each time.")
]
ShowStats = Annotated[
    bool,
    typer.Option(
        "--stats",
        help="Print tokens, speed, time to first token and memory after an answer (stderr); of a model that decides what it computes, also what ran.",
    ),
]
ShowTelemetry = Annotated[
    bool, typer.Option("--telemetry", help="Print the model's own state after an answer, in words (stderr).")
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a threshold of the file: gate.margin=4; may be repeated. 'qig-edge info' lists them.",
    ),
]
Tasks = Annotated[
    str | None,
    typer.Option(
        metavar="TASK,TASK",
        help="Of reasoning: gsm8k, arc_easy, arc_challenge, hellaswag, piqa; TASK:SPLIT for another split than the published one. Default: all "
        "that --data-dir has.",
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Of reasoning: folder with the items, TASK_SPLIT.jsonl. Without it they come from the Hugging Face hub."),
]
Draft = Annotated[
    str | None,
    typer.Option(
        metavar="N",
        help="Tokens that the model's draft guesses, to be verified at once: 1 to 8, off, auto. Default: auto, off with --seed.",
    ),
]
Threads = Annotated[
    int,
    typer.Option(
        "--threads",
        "-t",
        min=0,
        max=256,
        help="Threads; 0: measured on the first tokens, beginning with the big cores, at most 4.",
    ),
]
ThreadsBatch = Annotated[
    int,
    typer.Option(
        "--threads-batch",
        "-tb",
        min=0,
        max=256,
        help="Threads that read prompts; 0: as --threads, or where that is 0 too measured likewise.",
    ),
]
Backend = Annotated[
    str,
    typer.Option(
        metavar="auto|native|llama",
        help="What runs the file: native is libqig, llama is llama.cpp (extra llama), auto llama.cpp for architectures that libqig does not run.",
    ),
]
Device = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Run on this device: its name, or a profile's FILE.toml. Without --host: emulated here."),
]
Host = Annotated[
    str | None,
    typer.Option(
        metavar="HOST",
        help="Of --device: where it is, as ssh takes it (user@host, a name of your ssh configuration, ssh://user@host:port), or a phone's serial.",
    ),
]
Isa = Annotated[str, typer.Option(help="Kernel set: auto, or one that 'qig-edge info' lists.")]
Ctx = Annotated[int, typer.Option(min=0, help="Positions of the context; 0: as many as the model was trained for (llama.cpp: at most 8192).")]


def sampling(
    temperature: float, top_k: int, top_p: float, min_p: float, repeat_penalty: float, seed: int | None
) -> Sampling:
    """The draw that options ask for; a seed of None is taken from the system."""
    import secrets

    from qig_edge.runtime.backend import Sampling

    return Sampling(
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repeat_penalty=repeat_penalty,
        seed=secrets.randbits(63) if seed is None else seed,
    )


def sampling_args(
    max_tokens: int, temperature: float, top_k: int, top_p: float, min_p: float, repeat_penalty: float, seed: int | None
) -> list[str]:
    """The same draw as the qig program is told of it."""
    values = {
        "-n": max_tokens,
        "--temp": temperature,
        "--top-k": top_k,
        "--top-p": top_p,
        "--min-p": min_p,
        "--repeat-penalty": repeat_penalty,
        "--seed": seed,
    }
    return [part for name, value in values.items() if value is not None for part in (name, str(value))]


def running_args(
    settings: dict[str, str], draft: str | None, threads: int, threads_batch: int, isa: str, ctx: int, flags: dict[str, bool]
) -> list[str]:
    """How the qig program is told to run; flags: its options without a value, by name."""
    args = ["-t", str(threads), "-tb", str(threads_batch), "--isa", isa, "--ctx", str(ctx)]
    args += [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    args += ["--draft", draft] if draft is not None else []
    return args + [name for name, wanted in flags.items() if wanted]


def draft(given: str | None, sampling: Sampling, seed: int | None) -> int:
    """The draft length that --draft asks for, as NativeSession.set_speculation takes it. Raises ConfigError for another word or number.

    Without --draft it is automatic, but off for sampled text with a seed: how long things take must not change the text of a seed.
    """
    from qig_edge.errors import ConfigError
    from qig_edge.runtime.native import DRAFT_AUTO, MAX_DRAFT

    words = {"off": 0, "auto": DRAFT_AUTO, **{str(n): n for n in range(1, MAX_DRAFT + 1)}}
    if given is None:
        given = "off" if seed is not None and sampling.temperature > 0 and sampling.top_k != 1 else "auto"
    if given not in words:
        raise ConfigError(f"--draft {given}: auto, off, or a whole number from 1 to {MAX_DRAFT}")
    return words[given]


def settings(given: list[str] | None) -> dict[str, str]:
    """{"gate.margin": "4"} of "gate.margin=4"; the library checks keys and values. Raises ConfigError for anything without key and "="."""
    from qig_edge.errors import ConfigError

    out: dict[str, str] = {}
    for text in given or []:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise ConfigError(f"--set {text}: KEY=VALUE, as in gate.margin=4")
        out.pop(key, None)  # the last one counts, at its place in the order
        out[key] = value
    return out


def listed(given: str | None) -> tuple[str, ...]:
    """The names in "a, b"; none of None."""
    return tuple(name.strip() for name in given.split(",")) if given is not None else ()


def writable(path: Path, option: str) -> None:
    """Raises ConfigError where a file of that name cannot be written, before there is anything to lose."""
    import os

    from qig_edge.errors import ConfigError

    folder = path.absolute().parent
    why = (
        "it is no regular file" if path.exists() and not path.is_file()
        else f"there is no folder '{path.parent}'" if not folder.is_dir()
        else f"the folder '{path.parent}' cannot be written to" if not os.access(folder, os.W_OK | os.X_OK)
        else None
    )  # fmt: skip
    if why:
        raise ConfigError(f"{option} {path}: {why}")


def report(
    stats: Stats, model: OpenedModel, session: OpenedSession, *, show_stats: bool, telemetry: bool, conversation: bool
) -> None:
    """Prints what follows an answer on stderr: its state in words, a notice of breakdown, statistics."""
    import sys

    from qig_edge.runtime.state import notice, summary

    told = [
        summary(stats.state) if telemetry else None,
        notice(stats.state, stats.end, conversation),
        stats_line(stats, model, session) if show_stats else None,
    ]
    for line in filter(None, told):
        print(line, file=sys.stderr)


def thread_facts(session: OpenedSession) -> dict[str, int]:
    """The thread counts of a session, as JSON objects tell them."""
    return {"threads": session.n_threads, "threads_batch": session.n_threads_batch}


def stats_line(stats: Stats, model: OpenedModel, session: OpenedSession) -> str:
    """One line about an answer: counts, speeds, what ran of an adaptive model, memory of this process and of the cache in it, threads."""
    import psutil

    from qig_edge.runtime.state import adaptive, state_part

    def rate(value: float | None) -> str:
        return "not measurable" if value is None else f"{value:.1f} tok/s"

    rounds = stats.speculation
    drafts = f"; drafts: {rounds.tokens_a_round:.2f} tokens a round" if rounds.rounds else ""
    if rounds.tested:
        drafts += f", {100 * rounds.acceptance:.0f}% of {rounds.tested} right"
    rss = psutil.Process().memory_info().rss
    ran = state_part(stats.state, model.info.n_layers) if adaptive(model, stats.state) else ""
    return (
        f"[{stats.tokens} tokens ({stats.end}); prefill {stats.prompt_tokens} tokens, {rate(stats.prefill_rate)};"
        f" decode {rate(stats.decode_rate)}; first token {stats.first_token_s * 1e3:.0f} ms{ran}{drafts};"
        f" memory {rss / 2**20:.0f} MiB, {session.cache_bytes / 2**20:.1f} MiB of it cache;"
        f" {session.n_threads} threads ({session.n_threads_batch} for the prompt)]"
    )
