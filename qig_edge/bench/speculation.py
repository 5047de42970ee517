"""What exact speculation costs and brings: seconds of a plain step, of drafting and of verifying, the speed that follows from an acceptance, and the
acceptance on a text.

    with NativeModel(path) as model:
        print(*report(measure_costs(model)), sep="\n")
        print(measure_acceptance(model, ["Once upon a time"], tokens=400))
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from qig_edge.errors import ConfigError, RuntimeFault
from qig_edge.runtime.backend import Sampling, Speculation
from qig_edge.runtime.native import DRAFT_AUTO, MAX_DRAFT, NativeModel
from qig_edge.runtime.stream import Stats, generate

ACCEPTANCES = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclasses.dataclass(frozen=True)
class Costs:
    """Seconds, of the fastest round that was timed. plain: one token without speculation; draft[n], verify[n]: the two parts of a round that
    drafts n tokens, n = 0 .. longest (draft[0]: nothing, but for what it takes to say so)."""

    plain: float
    draft: tuple[float, ...]
    verify: tuple[float, ...]
    threads: int
    depth: int

    def speedup(self, acceptance: float, length: int) -> float:
        """Tokens a second with drafts of that length over those of plain decoding, where each draft token is right with that probability."""
        tokens = sum(acceptance**i for i in range(length + 1))
        return tokens * self.plain / (self.draft[length] + self.verify[length])

    def best(self, acceptance: float) -> tuple[int, float]:
        """The length with the highest speedup, and that speedup; (0, 1.0) where drafting does not pay."""
        found = max(range(1, len(self.draft)), key=lambda n: self.speedup(acceptance, n))
        return (found, self.speedup(acceptance, found)) if self.speedup(acceptance, found) > 1 else (0, 1.0)


def measure_costs(
    model: NativeModel,
    *,
    threads: int = 0,
    depth: int = 128,
    longest: int = 6,
    rounds: int = 20,
    sampling: Sampling | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> Costs:
    """Times rounds at `depth` positions of pseudo-random tokens, the lengths by turns, so that what else the machine does meets all of them.

    sampling: None for the draw of chat. Raises ConfigError where the model has no drafts.
    """
    lengths = range(min(longest, model.info.draft_lag) + 1)
    plain: list[float] = []
    draft: list[list[float]] = [[] for _ in lengths]
    verify: list[list[float]] = [[] for _ in lengths]
    with model.session(n_ctx=depth + 2 * MAX_DRAFT, n_threads=threads) as session:
        session.set_speculation(1)  # says so where there is no draft
        session.eval(_random_tokens(depth, model.info.vocab_size))
        for i in range(rounds + 1):  # the first one warms up
            if progress:
                progress(i, rounds, "rounds")
            session.set_sampler(dataclasses.replace(sampling or Sampling(), seed=i))
            for length in (None, *lengths):
                session.rollback(depth)
                session.set_speculation(0 if length is None else max(length, 1))
                session.next_tokens(1 if length == 0 else MAX_DRAFT + 1)
                took = session.speculation()
                if i > 0 and length is None:
                    plain.append(took.verify_seconds)
                elif i > 0 and length is not None and took.drafted == length:  # fewer where a draft was an end of text
                    draft[length].append(took.draft_seconds)
                    verify[length].append(took.verify_seconds)
        n_threads = session.n_threads
    if not all(draft):
        raise RuntimeFault("the model guessed the end of the text in every round: there is nothing to time")
    whole = [min(zip(d, v, strict=True), key=sum) for d, v in zip(draft, verify, strict=True)]
    return Costs(min(plain), tuple(d for d, _ in whole), tuple(v for _, v in whole), n_threads, depth)


def measure_acceptance(
    model: NativeModel,
    texts: Sequence[str],
    *,
    tokens: int = 400,
    length: int = 4,
    threads: int = 0,
    sampling: Sampling | None = None,
) -> dict[str, Any]:
    """Share of the draft's guesses that stand while `tokens` tokens are generated after each text: with drafts of that length, with a length
    chosen by what it brings, and plain for the time.

    sampling: None for the draw of chat. Each entry has tokens, seconds, acceptance, tokens_a_round and tested. Raises ConfigError where the model has
    no drafts, RuntimeFault for a text that is empty or that the context does not hold.
    """
    out: dict[str, Any] = {}
    length = max(1, min(length, model.info.draft_lag))
    for name, draft_len in (("plain", 0), (f"draft {length}", length), ("auto", DRAFT_AUTO)):
        total, seconds, made = Speculation(), 0.0, 0
        for text in texts:
            with model.session(n_threads=threads) as session:
                session.set_speculation(draft_len)
                stats = Stats()
                start = time.perf_counter()
                drawn = sampling or Sampling()
                for _ in generate(model, session, text, sampling=drawn, max_tokens=tokens, stats=stats):
                    pass
                seconds += time.perf_counter() - start - stats.prefill_s
                made += stats.tokens
                total = total.plus(stats.speculation)
        out[name] = {
            "tokens": made,
            "seconds": seconds,
            "tested": total.tested,
            "acceptance": total.acceptance if total.tested else None,
            "tokens_a_round": total.tokens_a_round if total.rounds else 1.0,
        }
    return out


def report(costs: Costs) -> list[str]:
    """Lines of a table: what a round of each length costs, and the speed that acceptances promise."""
    lines = [f"plain decoding {costs.plain * 1e3:.2f} ms a token ({costs.threads} threads, {costs.depth} positions)"]
    lines.append(f"{'drafts':>6}  {'drafting':>9}  {'verifying':>9}  {'a round':>9}  {'of plain':>8}")
    for n, (draft, verify) in enumerate(zip(costs.draft, costs.verify, strict=True)):
        parts = "  ".join(f"{s * 1e3:>6.2f} ms" for s in (draft, verify, draft + verify))
        lines.append(f"{n:>6}  {parts}  {(draft + verify) / costs.plain:>7.2f}x")
    for acceptance in ACCEPTANCES:
        length, gain = costs.best(acceptance)
        how = f"{length} drafts, {gain:.2f} times as fast" if length else "drafting does not pay"
        lines.append(f"acceptance {acceptance:.1f}: {how}")
    return lines


def acceptance_lines(found: dict[str, Any]) -> list[str]:
    """measure_acceptance's answer as lines, none without one."""
    lines = []
    for name, run in found.items():
        right = "" if run["acceptance"] is None else f", {run['acceptance']:.0%} of {run['tested']} guesses right"
        speed = run["tokens"] / run["seconds"]
        lines.append(f"{name}: {run['tokens']} tokens, {speed:.1f}/s, {run['tokens_a_round']:.2f} a round{right}")
    return lines


def prompts(text: Path, most: int = 16) -> list[str]:
    """The first lines of a file that say something. Raises ConfigError for a file without any, or that cannot be read."""
    try:
        lines = text.read_text("utf-8", "replace").splitlines()
    except OSError as e:
        raise ConfigError(f"--text {text}: {e.strerror}") from None
    said = [line.strip() for line in lines if line.strip()][:most]
    if not said:
        raise ConfigError(f"--text {text}: the file is empty")
    return said


def _random_tokens(n: int, vocab: int) -> list[int]:
    x, out = 1, []
    for _ in range(n):
        x = (x * 1664525 + 1013904223) % 2**32
        out.append((x >> 8) % vocab)
    return out
