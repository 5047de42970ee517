"""The suite "text": bits per byte on given texts, and what the model did on the way.

Every document is whole: what a text begins with (end of text, unless the file has a token for it), then its tokens, each predicted from
those before it. A document longer than the context goes through windows that begin `stride` tokens apart; each window scores only the tokens
that no earlier one has, so that all but the first have at least context - stride tokens in sight. The end of a document is not scored. Of a
conversation the contents are read, a line each, without roles.

- bits per byte: sum of -log2 p over all tokens, divided by the bytes of the texts as UTF-8: comparable between tokenizers;
- its standard error is that of a ratio over documents (None for a single one): it tells how far other documents like these would lie;
- pairs active, phi, kappa: means of the telemetry (docs/formats.md) over the tokens scored, also by the number of tokens in sight.

Several settings on the same documents, a Sweep, are compared document by document, which removes what the documents have in common.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qig_edge.errors import ConfigError, DataError
from qig_edge.evals.suites import Options, Table
from qig_edge.runtime.backend import Backend, Session, Telemetry, document_start
from qig_edge.train.sources import Source

CHUNK = 128  # logits of so many tokens are held at a time
STATE = ("phi", "agency", "confidence", "kappa", "curvature", "blocks_run")


@dataclasses.dataclass
class Scored:
    """Sums over tokens that had a number of tokens in sight: how many, their nats, and their state."""

    tokens: int = 0
    nats: float = 0.0
    state: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(len(STATE)))
    regimes: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(3, np.int64))

    def add(self, nats: float, record: Telemetry) -> None:
        self.tokens += 1
        self.nats += nats
        self.state += [getattr(record, name) for name in STATE]
        self.regimes[record.regime] += 1

    def plus(self, other: Scored) -> Scored:
        return Scored(
            self.tokens + other.tokens, self.nats + other.nats, self.state + other.state, self.regimes + other.regimes
        )

    def to_dict(self) -> dict[str, Any]:
        means = dict(zip(STATE, map(_observed, (self.state / self.tokens).tolist()), strict=True))
        regimes = (self.regimes / self.tokens).tolist()
        return {"tokens": self.tokens, "nats_per_token": self.nats / self.tokens, **means, "regimes": regimes}


@dataclasses.dataclass(frozen=True)
class Result:
    """documents: (source, bytes, nats) of each; by_sight: sums by the lower bound of tokens in sight, powers of four."""

    documents: list[tuple[str, int, float]]
    by_sight: dict[int, Scored]
    context: int
    stride: int

    @property
    def total(self) -> Scored:
        out = Scored()
        for scored in self.by_sight.values():
            out = out.plus(scored)
        return out

    def to_dict(self) -> dict[str, Any]:
        return {
            "suite": "text",
            "context": self.context,
            "stride": self.stride,
            **ratio([n for _, n, _ in self.documents], [x for *_, x in self.documents]),
            **self.total.to_dict(),
            "by_source": {
                name: ratio(
                    [b for s, b, _ in self.documents if s == name], [x for s, _, x in self.documents if s == name]
                )
                for name in dict.fromkeys(s for s, *_ in self.documents)
            },
            "by_tokens_in_sight": {str(low): scored.to_dict() for low, scored in sorted(self.by_sight.items())},
        }

    def tables(self) -> list[Table]:
        facts = self.to_dict()
        sources = [*facts["by_source"].items(), *([("all", facts)] if len(facts["by_source"]) > 1 else [])]
        rows = [(Path(name).name, *_bits(f), str(f["documents"]), f"{f['bytes']:,}") for name, f in sources]
        sight = [
            (_between(int(low)), f"{f['tokens']:,}", f"{f['nats_per_token']:.3f}", *_state(f))
            for low, f in facts["by_tokens_in_sight"].items()
        ]
        return [
            Table("text", ("source", "bits/byte", "stderr", "documents", "bytes"), tuple(rows)),
            Table(
                "by tokens in sight", ("tokens", "scored", "nats a token", "pairs active", "phi", "kappa"), tuple(sight)
            ),
        ]

    def notes(self) -> list[str]:
        f = self.to_dict()
        linear, geometric, breakdown = f["regimes"]
        return [
            f"Whole documents, windows of {self.context} tokens, {self.stride} apart; {f['tokens']:,} tokens, {f['nats_per_token']:.4f} nats each.",
            f"Regimes: {linear:.0%} linear, {geometric:.0%} geometric, {breakdown:.0%} breakdown; {f['blocks_run']:.2f} blocks a token.",
        ]


@dataclasses.dataclass(frozen=True)
class Sweep:
    """The same documents with several values of one setting; the first is what the others are compared with."""

    key: str
    found: list[tuple[str, Result]]

    def to_dict(self) -> dict[str, Any]:
        base = self.found[0][1]
        rows = [{"value": value, **against(result, base), **result.to_dict()} for value, result in self.found]
        return {"suite": "text", "setting": self.key, "against": self.found[0][0], "sweep": rows}

    def tables(self) -> list[Table]:
        rows = []
        for told in self.to_dict()["sweep"]:
            error = "-" if told["change_stderr"] is None else f"{told['change_stderr']:.2%}"
            rows.append((told["value"], *_bits(told), f"{told['change']:+.2%}", error, *_state(told)[:2]))
        columns = (self.key, "bits/byte", "stderr", f"against {self.found[0][0]}", "stderr", "pairs active", "phi")
        return [Table("text", columns, tuple(rows))]

    def notes(self) -> list[str]:
        return self.found[0][1].notes()[:1]


def ratio(sizes: Sequence[int], nats: Sequence[float]) -> dict[str, Any]:
    """Documents, bytes, bits per byte and its standard error (linearised ratio estimator; None for one document)."""
    n, size, bits = len(sizes), np.asarray(sizes, np.float64), np.asarray(nats, np.float64) / math.log(2)
    value = bits.sum() / size.sum()
    stderr = math.sqrt(float(((bits - value * size) ** 2).sum()) * n / (n - 1)) / size.sum() if n > 1 else None
    return {"documents": n, "bytes": int(size.sum()), "bits_per_byte": float(value), "stderr": stderr}


def against(result: Result, base: Result) -> dict[str, float | None]:
    """Relative change of the bits per byte, and its standard error over documents (None for one)."""
    mine, theirs = (np.array([x for *_, x in r.documents]) for r in (result, base))
    change, n = mine.sum() / theirs.sum() - 1, len(mine)
    rest = mine - (1 + change) * theirs
    stderr = math.sqrt(float((rest**2).sum()) * n / (n - 1)) / theirs.sum() if n > 1 else None
    return {"change": float(change), "change_stderr": None if stderr is None else float(stderr)}


def run(backend: Backend, options: Options) -> Result:
    """Scores the first options.limit documents of each source of options.data.

    Raises ConfigError for options that do not fit, DataError for data that cannot be read or hold no text.
    """
    options.refuse("text", "levels", "tasks", "data_dir")
    if not options.data:
        raise ConfigError("the text suite needs --data FILE, a text or .jsonl file (repeatable)")
    texts = [(name, text) for name in options.data for text in _texts(name, options)]
    sizes = [len(text.encode()) for _, text in texts]
    documents: list[tuple[str, int, float]] = []
    by_sight: dict[int, Scored] = {}
    with contextlib.closing(backend.session(n_threads=options.threads)) as session:
        context = session.n_ctx
        stride = options.stride or max(1, context // 2)
        if not 1 <= stride <= context:
            raise ConfigError(f"--stride {stride} must be from 1 to the context, {context}")
        for i, (name, text) in enumerate(texts):
            nats = _document(session, [document_start(backend), *backend.tokenize(text)], context, stride, by_sight)
            documents.append((name, sizes[i], nats))
            options.progress(sum(sizes[: i + 1]), sum(sizes))
    return Result(documents, by_sight, context, stride)


def _texts(name: str, options: Options) -> list[str]:
    found: list[str] = []
    for document in Source(name).documents():
        if len(found) == options.limit:
            break
        if document.text and (not options.held_out or document.bucket(1000) < options.held_out):
            found.append(document.text)
    if not found:
        which = f" among the documents held out at {options.held_out} of 1000" if options.held_out else ""
        raise DataError(f"data '{name}' holds no text to score{which}")
    return found


def _document(session: Session, ids: list[int], context: int, stride: int, by_sight: dict[int, Scored]) -> float:
    """Nats of ids[1:], which are added to by_sight too."""
    total, scored = 0.0, 1  # ids[:scored] have been scored; the token that stands before the text is not
    begin = 0
    while scored < len(ids):
        end = min(len(ids), begin + context + 1)  # the last of them is predicted, not evaluated
        session.rollback(0)
        at = begin
        while at < end - 1:
            upto = min(end - 1, at + CHUNK)
            logits = session.eval_all(ids[at:upto])
            new = range(max(at, scored - 1), upto)
            if new:
                nats = _nats(logits[new.start - at :], ids[new.start + 1 : upto + 1])
                for p, x in zip(new, nats, strict=True):
                    sight = p - begin + 1
                    bucket = by_sight.setdefault(4 ** int(math.log(sight, 4) + 1e-9), Scored())
                    bucket.add(x, session.telemetry(p - begin))
                total += math.fsum(nats)
            at = upto
        scored = end
        begin += stride
    return total


def _nats(logits: np.ndarray, targets: list[int]) -> list[float]:
    """-ln p of each target: logits [n, V], targets [n]."""
    top = logits.max(-1, keepdims=True)
    norm = np.exp(logits - top).sum(-1, dtype=np.float64)
    chosen = logits[np.arange(len(targets)), targets].astype(np.float64) - top[:, 0]
    out: list[float] = (np.log(norm) - chosen).tolist()
    return out


def _bits(f: dict[str, Any]) -> tuple[str, str]:
    return f"{f['bits_per_byte']:.4f}", "-" if f["stderr"] is None else f"{f['stderr']:.4f}"


def _state(f: dict[str, Any]) -> tuple[str, str, str]:
    return _shown(f["agency"], ".1%"), _shown(f["phi"], ".2f"), _shown(f["kappa"], ".0f")


def _observed(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _shown(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _between(low: int) -> str:
    return "1 to 3" if low == 1 else f"{low} to {4 * low - 1}"
