"""Decoding without a pause in this process: what it costs in energy and instructions, and what stays of its speed (the sustained suite).

Any back end does it: the session is rolled back when a test's tokens are through. The clock is looked at after every token, so that a model that
needs seconds for one keeps to the time as well.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from qig_edge.bench.counters import CYCLES, HARDWARE, INSTRUCTIONS, Counter, NoCounter
from qig_edge.bench.energy import Meter, NoMeter, Watched, open_meter
from qig_edge.bench.machine import frequency, temperature, throttle
from qig_edge.runtime.opening import OpenedModel, OpenedSession

IDLE_SECONDS = 1.0
COST_SECONDS = 3.0
WARM = 4  # tokens before the clock; few, for a slow model takes a second for each
INTERVAL = 5.0  # seconds of one sample of a sustained run
NO_REASONING = "not told: the reasoning factor comes from an evaluation of the model (--eval FILE)"
Progress = Callable[[int, int, str], None]


def decode_tokens(session: OpenedSession, ids: Sequence[int], decode: int) -> Iterator[None]:
    """Evaluates ids one by one from an empty cache, `decode` of them, then again, without end; gives way after every token."""
    while True:
        session.rollback(0)
        for token in ids[:decode]:
            session.eval([token])
            yield


def costs(
    open_again: Callable[[], OpenedModel],
    session_of: Callable[[OpenedModel], OpenedSession],
    ids: Sequence[int],
    decode: int,
    *,
    meter: Callable[[], Meter] = open_meter,
    seconds: float = COST_SECONDS,
    idle_seconds: float = IDLE_SECONDS,
) -> dict[str, Any]:
    """{"energy": {...}, "hw": {...}}: joules a token and instructions a cycle of decoding from an empty cache, each None with a reason where
    nothing measures it. idle_watts is what the same meter told while nothing was computed just before.

    Nothing is decoded where there is neither meter nor counter.
    """
    energy: dict[str, Any] = {
        "joules_per_token": None,
        "watts": None,
        "idle_watts": None,
        "source": None,
        "reason": None,
    }
    hw: dict[str, Any] = {"ipc": None, "instructions_per_token": None, "cycles_per_token": None, "reason": None}
    with contextlib.ExitStack() as stack:
        watched = None
        try:
            watched = stack.enter_context(Watched(meter()))
            energy["source"] = watched.source
        except NoMeter as e:
            energy["reason"] = str(e)
        counters: list[Counter] = []
        try:
            for what in (INSTRUCTIONS, CYCLES):
                counters.append(stack.enter_context(Counter(HARDWARE, what)))
        except NoCounter as e:
            hw["reason"] = str(e)
        if watched is None and hw["reason"]:
            return {"energy": energy, "hw": hw}
        model = stack.enter_context(contextlib.closing(open_again()))
        session = stack.enter_context(contextlib.closing(session_of(model)))
        tokens = decode_tokens(session, ids, decode)
        for _ in range(WARM):
            next(tokens)
        if watched is not None:
            energy["idle_watts"] = _idle_watts(watched, idle_seconds)
        first = watched.joules() if watched else None
        if hw["reason"] is None:
            for counter in counters:
                counter.start()
        count, start = 0, time.perf_counter()
        while (took := time.perf_counter() - start) < seconds or count == 0:
            next(tokens)
            count += 1
        took = time.perf_counter() - start
        if hw["reason"] is None:
            try:
                instructions, cycles = (counter.stop() for counter in counters)
                hw |= {
                    "ipc": instructions / cycles if cycles else None,
                    "instructions_per_token": instructions / count,
                    "cycles_per_token": cycles / count,
                }
                hw["reason"] = None if cycles else "the cycle counter stood still"
            except NoCounter as e:
                hw["reason"] = str(e)
        last = watched.joules() if watched else None
        if watched is not None:
            if first is not None and last is not None:
                energy |= {"joules_per_token": (last - first) / count, "watts": (last - first) / took}
            energy["reason"] = watched.reason
    return {"energy": energy, "hw": hw}


def sustained(
    session: OpenedSession,
    ids: Sequence[int],
    decode: int,
    minutes: float,
    *,
    interval: float = INTERVAL,
    meter: Callable[[], Meter] = open_meter,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Decodes for `minutes`, from an empty cache each time, and samples rate, temperature, frequency, throttling and power.

    Ctrl-C ends it early: what there is comes back, marked interrupted. Each sample is of the interval that ends at its "seconds". "kept" is the
    median rate of the last tenth of the samples over that of the first tenth, None with fewer than four samples.
    """
    samples: list[dict[str, Any]] = []
    interrupted = False
    count, reason, source = 0, None, None
    joules: float | None = None
    with contextlib.ExitStack() as stack:
        watched = None
        try:
            watched = stack.enter_context(Watched(meter()))
            source, joules = watched.source, watched.joules()
        except NoMeter as e:
            reason = str(e)
        begin = then = time.perf_counter()

        def sample(now: float) -> None:
            nonlocal count, then, joules
            spent = watched.joules() if watched else None
            flags = throttle()
            samples.append(
                {
                    "seconds": round(now - begin, 3),
                    "tokens": count,
                    "tokens_per_second": count / (now - then),
                    "temperature_c": temperature(),
                    "frequency_mhz": frequency(),
                    "throttled": flags["now"],
                    "throttle_count": flags["count"],
                    "watts": (spent - joules) / (now - then) if spent is not None and joules is not None else None,
                }
            )
            joules, count = spent, 0
            # what a sample takes itself is no time of decoding
            then = time.perf_counter()

        tokens = decode_tokens(session, ids, decode)
        try:
            while (now := time.perf_counter()) - begin < minutes * 60:
                if now - then >= interval and count:
                    sample(now)
                    if progress:
                        progress(int(now - begin), int(minutes * 60), "sustained, seconds")
                next(tokens)
                count += 1
        except KeyboardInterrupt:
            interrupted = True
        now = time.perf_counter()
        # a short rest would be a noisy sample; alone it is all there is
        if count and (now - then >= interval / 2 or not samples):
            sample(now)
        if watched is not None:
            reason = watched.reason
    return {
        "minutes": minutes,
        "interval_seconds": interval,
        "decode": decode,
        "interrupted": interrupted,
        "samples": samples,
        "kept": kept([s["tokens_per_second"] for s in samples]),
        "energy_source": source,
        "energy_reason": reason,
    }


def kept(rates: Sequence[float]) -> float | None:
    """Median of the last tenth (at least two) over that of the first; None with fewer than four."""
    n = max(2, len(rates) // 10)
    return statistics.median(rates[-n:]) / statistics.median(rates[:n]) if len(rates) >= 4 else None


def intelligence_per_compute(result: dict[str, Any]) -> dict[str, Any]:
    """The factors of IPC, (reasoning x adaptability) / (parameters x compute time), that a bench knows; the others None with the reason."""
    decoded = [d for d in result["decode"] if d["fits"]]
    seconds = 1 / decoded[0]["tokens_per_second"]["median"] if decoded else None
    return {
        "value": None, "reasoning": None, "adaptability": None, "parameters": result["n_params"], "seconds_per_token": seconds,
        "reason": NO_REASONING,
    }  # fmt: skip


def _idle_watts(watched: Watched, seconds: float) -> float | None:
    first, start = watched.joules(), time.perf_counter()
    time.sleep(seconds)
    last = watched.joules()
    return (last - first) / (time.perf_counter() - start) if first is not None and last is not None else None
