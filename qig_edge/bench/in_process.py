"""The measurement of `qig bench` for back ends without a program of their own: the same tests, through a session in this process.

The same fields come out; null what the back end does not tell (bytes read, keys). The clock runs over session.eval, this package's part included.
"""

from __future__ import annotations

import contextlib
import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from qig_edge.devices.host import cpu_info
from qig_edge.errors import ConfigError
from qig_edge.runtime.native import read_bandwidth
from qig_edge.runtime.opening import OpenedModel, OpenedSession

LOADS = 3
PROMPT = 32  # tokens of the first-token test
MOST_BUFFER = 1 << 30  # bytes on which the bandwidth is measured


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
) -> dict[str, Any]:
    """The `result` of a row of qig_edge.bench.measure; arguments as there. Raises ConfigError for a text that is empty or cannot be read."""
    loads = []
    for _ in range(LOADS + 1):  # the first one warms the page cache
        start = time.perf_counter()
        open_again().close()
        loads.append((time.perf_counter() - start) * 1e3)
    n_ctx = max(prefill, PROMPT, max(depths) + decode)
    with (
        contextlib.closing(open_again()) as model,
        contextlib.closing(model.session(n_ctx=n_ctx, n_threads=threads, n_threads_batch=threads_batch)) as session,
    ):
        ids = _ids(model, n_ctx, text)
        info = model.info
        first = _prompt(session, ids[:PROMPT], repeat)
        rates = [prefill / s for s in _prompt(session, ids[:prefill], repeat)]
        decoded = [_decode(session, ids, depth, decode, repeat) for depth in depths]
        buffer = min(info.file_bytes, MOST_BUFFER)
        return {
            "version": None,
            "model": str(model.path),
            "tokens": str(text) if text else "random",
            "name": info.name,
            "architecture": info.architecture,
            "file_type": info.file_type,
            "n_params": info.n_params,
            "file_bytes": info.file_bytes,
            "weight_bytes": info.weight_bytes,
            "cache_bytes": session.cache_bytes,
            "n_layers": info.n_layers,
            "context": n_ctx,
            "isa": info.isa,
            "threads": session.n_threads,
            "threads_batch": session.n_threads_batch,
            "cpu": cpu_info()["model"],
            "load_ms": _series(loads[1:]),
            "first_token": {"prompt": PROMPT, "ms": _series([1e3 * s for s in first])},
            "prefill": {"tokens": prefill, "fits": True, "tokens_per_second": _series(rates)},
            "decode": decoded,
            "peak_rss_bytes": _peak_rss(),
            "bandwidth_buffer_bytes": buffer,
            "bandwidth_bytes_per_second": read_bandwidth(buffer, session.n_threads),
        }


def _ids(model: OpenedModel, n: int, text: Path | None) -> list[int]:
    """n tokens: of the text, from its start again where it is short, else random ones."""
    if text is None:
        rng = random.Random(1)
        return [rng.randrange(model.info.vocab_size) for _ in range(n)]
    try:
        found = model.tokenize(text.read_bytes())
    except OSError as e:
        raise ConfigError(f"--text {text}: the file cannot be read ({e.strerror})") from None
    if not found:
        raise ConfigError(f"--text {text}: the file is empty")
    return [found[i % len(found)] for i in range(n)]


def _prompt(session: OpenedSession, ids: list[int], repeat: int) -> list[float]:
    """Seconds of evaluating ids from the start, `repeat` times after one that touches the weights."""
    took = []
    for _ in range(repeat + 1):
        session.rollback(0)
        start = time.perf_counter()
        session.eval(ids)
        took.append(time.perf_counter() - start)
    return took[1:]


def _decode(session: OpenedSession, ids: list[int], depth: int, n: int, repeat: int) -> dict[str, Any]:
    """One test of decoding n tokens one by one at a depth."""
    if session.pos > depth:
        session.rollback(depth)
    elif session.pos < depth:
        session.eval(ids[session.pos : depth])
    rates = []
    for _ in range(repeat):
        start = time.perf_counter()
        for token in ids[depth : depth + n]:
            session.eval([token])
        rates.append(n / (time.perf_counter() - start))
        session.rollback(depth)
    untold = ("bytes_per_token", "blocks_run", "agency", "bytes_per_second", "ceiling_fraction")
    return {"depth": depth, "tokens": n, "fits": True, "tokens_per_second": _series(rates), **dict.fromkeys(untold)}


def _series(samples: list[float]) -> dict[str, Any]:
    low, high = min(samples), max(samples)
    return {"median": statistics.median(samples), "min": low, "max": high, "spread": high - low, "samples": samples}


def _peak_rss() -> int:
    """Largest memory of this process so far, bytes; where the system does not keep it, the present one."""
    try:
        import resource
        import sys

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    except ImportError:
        import psutil

        return int(psutil.Process().memory_info().rss)
