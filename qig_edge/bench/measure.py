"""One measurement: the `qig bench` program as a process of its own, loads with a cold page cache, and the machine they happened on.
A model that libqig does not run is measured in this process (backends.py).

A row is one JSON object (SCHEMA counts its changes). What could not be measured is null, with a "reason" beside it where the cause is not plain:
  schema, kind       5; MEASURED, PREDICTED where nothing ran, or EMULATED where another processor played the device's
  suite, interrupted name of the suite; true where Ctrl-C ended the sustained part, which then holds what there was
  device, profile    name, {name, description}
  version, commit, time (UTC), machine {...}
  model_sha256       of the file; of a folder, of the list of its files' hashes (identity.py)
  backend            native, llama or onnx
  state_before, state_after   governor, temperature, frequency, throttling, load, memory, swap (machine.py); busy_cores that others took
  throttling         {throttled: true, false or null, why}
  settings           thresholds changed for this run, by key
  result             what `qig bench --json` says, raw samples included; null what another engine does not tell
  load_cold_ms, first_token_cold_ms, first_token_warm_ms   {"median", "samples"} or null where the page cache cannot be dropped
  energy, hw, ipc    joules a token, instructions a cycle, intelligence per compute (steady.py)
  own_state          telemetry of the model token by token (own_state.py)
  sustained          rate, temperature, frequency over time (steady.py); null where the suite has none
The first-token times are whole runs of `qig generate` (`qig-edge generate` where libqig does not run the model), from the start of the process to its
end after one token.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qig_edge import __version__
from qig_edge.bench.identity import commit, model_hash
from qig_edge.bench.machine import busy_cores, machine, machine_state, throttling
from qig_edge.bench.page_cache import drop_cache
from qig_edge.bench.timing import random_tokens, text_tokens
from qig_edge.devices.host import program_path
from qig_edge.devices.profile import load_profile
from qig_edge.errors import ConfigError, ModelFileError, RuntimeFault

if TYPE_CHECKING:
    from qig_edge.runtime.opening import OpenedModel, OpenedSession

SCHEMA = 5
MEASURED = "MEASURED"
EMULATED = "EMULATED"  # timed where an emulator ran the device's program: no speed of that device
COLD_RUNS = 3
PROMPT = "Once upon a time"


def parse_depths(text: str) -> list[int]:
    """ "0,1024" as numbers. Raises ConfigError for anything else."""
    try:
        depths = [int(part) for part in text.split(",")]
    except ValueError:
        depths = []
    if not depths or min(depths) < 0 or len(depths) > 16:
        raise ConfigError(f"depths = '{text}' must be 1 to 16 numbers from 0 up, separated by commas: 0,1024")
    return depths


def measure(
    model: Path,
    *,
    device: str = "laptop",
    threads: int = 0,
    threads_batch: int = 0,
    prefill: int = 512,
    decode: int = 128,
    depths: list[int] | None = None,
    repeat: int = 5,
    isa: str = "auto",
    settings: dict[str, str] | None = None,
    text: Path | None = None,
    backend: str = "auto",
    suite: str | None = None,
    minutes: float = 0.0,
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, Any]:
    """Measures a model on this machine and returns the row. progress(done, total, what) is called before each part.

    suite names what was asked for in the row; minutes: of decoding without a pause at the end, which Ctrl-C cuts short without losing the row.

    settings change thresholds of the file, by key. text: a file whose tokens are evaluated, again and again, instead of random ones: what a
    model that adapts runs depends on what it reads. The session has as many positions as the largest test needs, whatever the model was
    trained for. backend as open_model. Raises ModelFileError for a file that does not open, ConfigError for a setting that it does not take,
    RuntimeFault where the program is missing or fails.
    """
    from qig_edge.runtime.native import NativeModel
    from qig_edge.runtime.onnx_model import GRAPH, OnnxModel
    from qig_edge.runtime.opening import open_model

    def open_again() -> OpenedModel:
        return open_model(model, isa, settings, backend)

    changed = [part for key, value in (settings or {}).items() for part in ("--set", f"{key}={value}")]
    tell = progress or (lambda done, total, what: None)
    depths = [0, 1024] if depths is None else depths
    with contextlib.closing(open_again()) as opened:  # a bad file gets its one clear line here, and so do thread counts
        native = isinstance(opened, NativeModel)
        engine = "native" if native else "onnx" if isinstance(opened, OnnxModel) else "llama"
        file = model / GRAPH if isinstance(opened, OnnxModel) and model.is_dir() else model
        if not native:
            opened.session(n_ctx=1, n_threads=threads, n_threads_batch=threads_batch).close()
    tell(0, 3, "hashing")
    sha256 = model_hash(model, tell)
    before = {**machine_state(), "busy_cores": busy_cores()}
    tell(0, 3, "cold loads")
    load_cold = _samples(lambda: _cold_open(file, open_again))
    program = [str(program_path())] if native else [sys.executable, "-m", "qig_edge.cli"]
    once = [*program, "generate", str(model), "-p", PROMPT, "-n", "1", "--temp", "0", "-t", str(threads), "-tb", str(threads_batch)]
    once += ["--isa", isa, *changed] if native else ["--backend", backend]
    first_cold = _samples(lambda: _timed(once) if drop_cache(file) else None)
    tell(1, 3, "warm loads")
    first_warm = _samples(lambda: _timed(once))
    tell(2, 3, "prefill, decode, bandwidth")
    if native:
        result = _native_result(model, program[0], threads, threads_batch, prefill, decode, depths, repeat, isa, changed, text)
    else:
        from qig_edge.bench.backends import measure_in_process

        result = measure_in_process(
            open_again,
            threads=threads,
            threads_batch=threads_batch,
            prefill=prefill,
            decode=decode,
            depths=depths,
            repeat=repeat,
            text=text,
            progress=tell,
        )
    steadily = _in_process(open_again, result, decode, text, minutes, tell)
    after = {**machine_state(), "busy_cores": busy_cores()}  # the state first, while the clock is that of work
    tell(3, 3, "done")
    profile = load_profile(device)
    return {
        "schema": SCHEMA,
        "kind": MEASURED,
        "suite": suite,
        "interrupted": bool(steadily["sustained"] and steadily["sustained"]["interrupted"]),
        "device": device,
        "profile": {"name": profile.name, "description": profile.description},
        "version": __version__,
        "commit": commit(),
        "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": machine(),
        "model_sha256": sha256,
        "backend": engine,
        "state_before": before,
        "state_after": after,
        "throttling": throttling(before, after),
        "settings": settings or {},
        "result": result,
        "load_cold_ms": load_cold,
        "first_token_cold_ms": first_cold,
        "first_token_warm_ms": first_warm,
        **steadily,
    }


def _in_process(
    open_again: Callable[[], OpenedModel],
    result: dict[str, Any],
    decode: int,
    text: Path | None,
    minutes: float,
    tell: Callable[[int, int, str], None],
) -> dict[str, Any]:
    """What this process measures itself, with the threads that the result was measured with: costs, the model's own state, the sustained part."""
    from qig_edge.bench.own_state import LEAST_TOKENS, TOKENS, own_state
    from qig_edge.bench.steady import costs, intelligence_per_compute, sustained

    def session_of(model: OpenedModel) -> OpenedSession:
        return model.session(n_ctx=decode, n_threads=result["threads"], n_threads_batch=result["threads_batch"])

    # one after the other: an engine that copies the weights has them once
    with contextlib.closing(open_again()) as model:
        ids = text_tokens(model, decode, text) if text else random_tokens(model.info.vocab_size, decode)
    tell(2, 3, "energy")
    out: dict[str, Any] = {**costs(open_again, session_of, ids, decode), "ipc": intelligence_per_compute(result), "sustained": None}
    with contextlib.closing(open_again()) as model:
        tell(2, 3, "the model's own state")
        # some models have no positions beyond those that they were trained for; a short suite is to stay short on a slow machine
        positions = min(TOKENS, model.info.context_length, max(decode, LEAST_TOKENS))
        with contextlib.closing(model.session(n_ctx=positions, n_threads=result["threads"])) as session:
            out["own_state"] = own_state(model, session, PROMPT, text)
        if minutes > 0:
            with contextlib.closing(session_of(model)) as session:
                out["sustained"] = sustained(session, ids, decode, minutes, progress=tell)
    return out


def _native_result(
    model: Path,
    program: str,
    threads: int,
    threads_batch: int,
    prefill: int,
    decode: int,
    depths: list[int],
    repeat: int,
    isa: str,
    changed: list[str],
    text: Path | None,
) -> dict[str, Any]:
    """What `qig bench --json` says."""
    asked: dict[str, object] = {
        "-t": threads,
        "-tb": threads_batch,
        "--prefill": prefill,
        "--decode": decode,
        "--depths": ",".join(map(str, depths)),
        "--repeat": repeat,
        "--isa": isa,
        "--ctx": max(prefill, max(depths) + decode),
    }
    if text is not None:
        asked["--text"] = text
    output = _run(
        [program, "bench", str(model), "--json", *(str(x) for pair in asked.items() for x in pair), *changed]
    )
    try:
        result: dict[str, Any] = json.loads(output)
    except ValueError:
        raise RuntimeFault(f"{program} printed no JSON: {output[:80]!r}") from None
    return result


def _cold_open(file: Path, open_again: Callable[[], OpenedModel]) -> float | None:
    if not drop_cache(file):
        return None
    start = time.perf_counter()
    open_again().close()
    return (time.perf_counter() - start) * 1e3


def _timed(command: list[str]) -> float:
    start = time.perf_counter()
    _run(command)
    return (time.perf_counter() - start) * 1e3


def _samples(once: Callable[[], float | None]) -> dict[str, Any] | None:
    samples = []
    for _ in range(COLD_RUNS):
        value = once()
        if value is None:
            return None
        samples.append(value)
    return {"median": statistics.median(samples), "samples": samples}


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit code {done.returncode}"]
        message = lines[-1].removeprefix("qig: ")
        raise (ModelFileError if "GGUF" in message else RuntimeFault)(message)
    return done.stdout.decode("utf-8", "replace")
