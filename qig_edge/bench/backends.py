"""The tests of `qig bench` on any back end, timed from Python: a model that libqig does not run alone, or several models by turns.

A test is the prefill of an empty cache, or decoding at a depth. The clock runs over evaluation with the last token's logits made, and nothing else.
By turns, every model takes its turn in each round, and who begins changes from round to round, so that what else the machine does meets all alike:
the ratio of a round is of times that lie next to each other.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from qig_edge.bench.machine import machine, machine_state
from qig_edge.bench.timing import Test, random_tokens, tests, text_tokens
from qig_edge.runtime.native import read_bandwidth
from qig_edge.runtime.opening import OpenedModel, OpenedSession, open_model

PROMPT = 32  # tokens before the first one of an answer
OPENED = 5
MOST_BUFFER = 1 << 30  # bytes on which the bandwidth is measured
Progress = Callable[[int, int, str], None]


def measure_in_process(
    open_again: Callable[[], OpenedModel],
    *,
    threads: int,
    threads_batch: int,
    prefill: int,
    decode: int,
    depths: Sequence[int],
    repeat: int,
    text: Path | None,
    progress: Progress,
) -> dict[str, Any]:
    """What `qig bench --json` says of a file in libqig, of a model that another engine runs: the same fields, null where the engine does not tell.

    Raises what open_again raises, DataError for a text without tokens.
    """
    opening = []
    for _ in range(OPENED):
        begin = time.perf_counter()
        open_again().close()
        opening.append((time.perf_counter() - begin) * 1e3)
    todo = tests(prefill, decode, depths)
    n_ctx = max(PROMPT, *(t.positions for t in todo))
    with open_again() as model, model.session(n_ctx=n_ctx, n_threads=threads, n_threads_batch=threads_batch) as session:
        ids = text_tokens(model, n_ctx, text) if text else random_tokens(model.info.vocab_size, n_ctx)
        first = [1e3 * s for s in _repeated(session, Test(PROMPT, 0, False), ids, repeat)]
        rows = []
        for i, test in enumerate(todo):
            progress(i, len(todo), str(test))
            rows.append(_row(session, test, [test.tokens / s for s in _repeated(session, test, ids, repeat)]))
        n_threads, n_threads_batch, cache = session.n_threads, session.n_threads_batch, session.cache_bytes
    buffer = min(model.info.file_bytes, MOST_BUFFER)
    bandwidth = read_bandwidth(buffer, n_threads)
    for row in rows[1:]:
        told = row["bytes_per_token"] is not None
        row["bytes_per_second"] = row["bytes_per_token"] * row["tokens_per_second"]["median"] if told else None
        row["ceiling_fraction"] = row["bytes_per_second"] / bandwidth if told else None
    info = dataclasses.asdict(model.info)
    shown = ("name", "architecture", "file_type", "n_params", "file_bytes", "weight_bytes", "n_layers", "isa")
    return {
        "version": None,
        "model": str(model.path),
        "tokens": "random" if text is None else str(text),
        **{key: info[key] for key in shown},
        "cache_bytes": cache,
        "context": n_ctx,
        "threads": n_threads,
        "threads_batch": n_threads_batch,
        "cpu": machine()["cpu"],
        "load_ms": _series(opening),
        "first_token": {"prompt": PROMPT, "ms": _series(first)},
        "prefill": rows[0],
        "decode": rows[1:],
        "peak_rss_bytes": _peak_memory(),
        "bandwidth_buffer_bytes": buffer,
        "bandwidth_bytes_per_second": bandwidth,
    }


def by_turns(
    paths: Sequence[Path],
    *,
    threads: int,
    prefill: int,
    decode: int,
    depths: Sequence[int],
    repeat: int,
    text: Path | None = None,
    progress: Progress,
) -> dict[str, Any]:
    """Times several models, `repeat` rounds a test, all on the same random tokens or each on its own of a text; ratios to the first, by rounds.

    Raises what opening a model raises, and DataError for a text that cannot be read or has no tokens.
    """
    todo = tests(prefill, decode, sorted(depths))
    n_ctx = max(t.positions for t in todo)
    with contextlib.ExitStack() as stack:
        models: list[OpenedModel] = []
        sessions: list[OpenedSession] = []
        for path in paths:
            models.append(open_model(path))
            stack.callback(models[-1].close)
            sessions.append(models[-1].session(n_ctx=n_ctx, n_threads=threads))
            stack.callback(sessions[-1].close)
        if text is None:
            ids = [random_tokens(min(m.info.vocab_size for m in models), n_ctx)] * len(models)
        else:
            ids = [text_tokens(m, n_ctx, text) for m in models]
        before = machine_state()
        rows = []
        for i, test in enumerate(todo):
            progress(i, len(todo), str(test))
            rows.append({**dataclasses.asdict(test), "models": _rounds(sessions, test, ids, repeat)})
        return {
            "models": [
                {"model": str(p), **{k: getattr(m.info, k) for k in ("name", "file_type", "isa", "file_bytes", "n_params")}}
                for p, m in zip(paths, models, strict=True)
            ],
            "threads": [s.n_threads for s in sessions],
            "tokens": "random" if text is None else str(text),
            "tests": rows,
            "machine": machine(),
            "state_before": before,
            "state_after": machine_state(),
        }


def table(found: dict[str, Any]) -> list[str]:
    """Aligned lines: a row a model, its file's size, and a column a test with the median rate and the ratio to the first model."""
    heads = ["model", "type", "file"]
    for test in found["tests"]:
        heads.append(f"{Test(test['tokens'], test['depth'], test['one_by_one'])}, tok/s")
    rows = [heads]
    for i, model in enumerate(found["models"]):
        row = [Path(model["model"]).name, model["file_type"], f"{model['file_bytes'] / 1e6:.2f} MB"]
        for test in found["tests"]:
            took = test["models"][i]
            against = took["against_first"]
            ratio = "" if i == 0 else f" ({against['median']:.2f}, {against['min']:.2f} to {against['max']:.2f})"
            row.append(f"{took['tokens_per_second']['median']:.0f}{ratio}")
        rows.append(row)
    widths = [max(len(row[c]) for row in rows) for c in range(len(heads))]
    load = found["state_before"]["load"]
    last = f"{found['threads'][0]} threads on {found['machine']['cpu']}; in brackets the rate over the first model's, median and range of rounds"
    busy = "" if load is None else f"; load of the machine before: {load:.1f}"
    return [*("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows), last + busy]


def _rounds(sessions: Sequence[OpenedSession], test: Test, ids: Sequence[list[int]], repeat: int) -> list[dict[str, Any]]:
    for session, its in zip(sessions, ids, strict=True):  # caches and pages warm
        _timed(session, test, its)
    rates: list[list[float]] = [[] for _ in sessions]
    for turn in range(repeat):
        for i in range(len(sessions)):
            k = (turn + i) % len(sessions)
            rates[k].append(test.tokens / _timed(sessions[k], test, ids[k]))
    return [
        {"tokens_per_second": _series(r), "against_first": _series([a / b for a, b in zip(r, rates[0], strict=True)])}
        for r in rates
    ]


def _repeated(session: OpenedSession, test: Test, ids: list[int], repeat: int) -> list[float]:
    """Seconds of a test, `repeat` times after one that warms caches and pages."""
    return [_timed(session, test, ids) for _ in range(repeat + 1)][1:]


def _timed(session: OpenedSession, test: Test, ids: list[int]) -> float:
    """Seconds of a test on a session that holds the first of ids, as many as it may."""
    session.rollback(min(session.pos, test.depth))
    if session.pos < test.depth:
        session.eval(ids[session.pos : test.depth])
    begin = time.perf_counter()
    if test.one_by_one:
        for token in ids[test.depth : test.positions]:
            session.eval([token])
    else:
        session.eval(ids[: test.tokens])
    return time.perf_counter() - begin


def _row(session: OpenedSession, test: Test, rates: list[float]) -> dict[str, Any]:
    records = [session.telemetry(pos) for pos in range(test.depth, test.positions)]
    return {
        "depth": test.depth,
        "tokens": test.tokens,
        "fits": True,
        "tokens_per_second": _series(rates),
        "bytes_per_token": _mean([r.bytes_read for r in records]),
        "blocks_run": _mean([r.blocks_run for r in records]),
        "agency": _mean([r.agency for r in records]),
    }


def _mean(values: list[float]) -> float | None:
    """None where the engine does not tell."""
    mean = statistics.mean(values)
    return None if math.isnan(mean) else mean


def _series(samples: list[float]) -> dict[str, Any]:
    low, high = min(samples), max(samples)
    return {"median": statistics.median(samples), "min": low, "max": high, "spread": high - low, "samples": samples}


def _peak_memory() -> int:
    """Peak memory of this process in bytes, Python and the engine included."""
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
