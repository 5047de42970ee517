"""Options that several commands share, as annotated types, and the statistics lines they print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from qig_edge.runtime.backend import Sampling, Telemetry
    from qig_edge.runtime.stream import Stats

Model = Annotated[
    Path | None, typer.Argument(metavar="MODEL", help="GGUF file; without it the model that ships with qig-edge.")
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
    bool, typer.Option("--stats", help="Print tokens, speed, time to first token and memory after an answer (stderr).")
]
ShowTelemetry = Annotated[
    bool, typer.Option("--telemetry", help="Print the model's own state after an answer, in words (stderr).")
]
Threads = Annotated[int, typer.Option("--threads", "-t", min=0, max=256, help="Threads; 0: the big cores, at most 4.")]
Isa = Annotated[str, typer.Option(help="Kernel set: auto, or one that 'qig-edge info' lists.")]
Ctx = Annotated[int, typer.Option(min=0, help="Positions of the context; 0: as many as the model was trained for.")]


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


def stats_line(stats: Stats, cache_bytes: int) -> str:
    """One line about an answer: counts, speeds, time to the first token, memory of this process and of the cache in it."""
    import psutil

    def rate(value: float | None) -> str:
        return "not measurable" if value is None else f"{value:.1f} tok/s"

    rss = psutil.Process().memory_info().rss
    return (
        f"[{stats.tokens} tokens ({stats.end}); prefill {stats.prompt_tokens} tokens, {rate(stats.prefill_rate)};"
        f" decode {rate(stats.decode_rate)}; first token {stats.first_token_s * 1e3:.0f} ms;"
        f" memory {rss / 2**20:.0f} MiB, {cache_bytes / 2**20:.1f} MiB of it cache]"
    )


def telemetry_line(records: list[Telemetry]) -> str:
    """One line in words about the state of the model over an answer: means over its tokens."""
    from qig_edge.runtime.backend import mean_telemetry

    if not records:
        return "[no token was evaluated, so there is no telemetry]"
    t = mean_telemetry(records)

    def word(value: float, words: tuple[str, str, str], low: float, high: float) -> str:
        return words[0] if value < low else words[1] if value < high else words[2]

    return (
        f"[{word(t.phi, ('loosely', 'moderately', 'strongly'), 0.3, 0.7)} integrated (phi {t.phi:.2f});"
        f" {word(t.confidence, ('unsure', 'fairly sure', 'sure'), 0.15, 0.4)} of what comes next (confidence {t.confidence:.2f});"
        f" {word(t.surprise, ('seldom', 'at times', 'often'), 0.3, 0.6)} surprised by its own words (surprise {t.surprise:.2f});"
        f" {t.agency:.0%} of the pairs active (agency {t.agency:.2f})]"
    )
