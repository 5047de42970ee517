"""One measurement: the `qig bench` program as a process of its own, loads with a cold page cache, and the machine they happened on.
A model that libqig does not run is measured in this process (backends.py).

A row is one JSON object (SCHEMA counts its changes):
  schema, device, version, commit, time (UTC), machine {...}, state_before, state_after {governor, temperature_c},
  settings      thresholds changed for this run, by key
  result        what `qig bench --json` says, raw samples included; null what another engine does not tell,
  load_cold_ms, first_token_cold_ms, first_token_warm_ms   {"median", "samples"} or null where the page cache cannot be dropped
The first-token times are whole runs of `qig generate` (`qig-edge generate` where libqig does not run the model), from the start of the process to its
end after one token.
"""

from __future__ import annotations

import contextlib
import ctypes
import datetime
import json
import mmap
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qig_edge import __version__
from qig_edge.devices.host import PACKAGE, cpu_info, program_path
from qig_edge.errors import ConfigError, ModelFileError, RuntimeFault

if TYPE_CHECKING:
    from qig_edge.runtime.opening import OpenedModel

SCHEMA = 4
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
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, Any]:
    """Measures a model on this machine and returns the row. progress(done, total, what) is called before each part.

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
        file = model / GRAPH if isinstance(opened, OnnxModel) and model.is_dir() else model
        if not native:
            opened.session(n_ctx=1, n_threads=threads, n_threads_batch=threads_batch).close()
    before = machine_state()
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
    tell(3, 3, "done")
    return {
        "schema": SCHEMA,
        "device": device,
        "version": __version__,
        "commit": commit(),
        "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": machine(),
        "state_before": before,
        "state_after": machine_state(),
        "settings": settings or {},
        "result": result,
        "load_cold_ms": load_cold,
        "first_token_cold_ms": first_cold,
        "first_token_warm_ms": first_warm,
    }


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


def drop_cache(path: Path) -> bool:
    """Asks the system to forget a file's pages and says whether it did (no file system in memory does, no system but Linux is asked)."""
    if not hasattr(os, "posix_fadvise") or sys.platform != "linux":
        return False
    with path.open("rb") as file:
        os.fsync(file.fileno())  # dirty pages of a file just written would stay
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return resident_share(path) < 0.05


def resident_share(path: Path) -> float:
    """Share of a file's pages that the page cache holds, in [0, 1]. Linux only."""
    size = path.stat().st_size
    if size == 0:
        return 0.0
    libc = ctypes.CDLL(None, use_errno=True)
    pages = -(-size // mmap.PAGESIZE)
    flags = (ctypes.c_ubyte * pages)()
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), size, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE) as mapped,
    ):
        # a private writable map, never written, gives ctypes the address without touching a page
        anchor = ctypes.c_char.from_buffer(mapped)
        failed = libc.mincore(ctypes.c_void_p(ctypes.addressof(anchor)), ctypes.c_size_t(size), flags)
        del anchor
    if failed:
        return 1.0
    return sum(flag & 1 for flag in flags) / pages


def machine() -> dict[str, Any]:
    """What this machine is: system, processor with its features, cores, memory in bytes."""
    import psutil

    return {
        "system": platform.system(),
        "release": platform.release(),
        "arch": platform.machine(),
        "cpu": cpu_info()["model"],
        "cores": cpu_info()["cores"],
        "features": cpu_info()["features"],
        "memory_bytes": psutil.virtual_memory().total,
        "python": platform.python_version(),
    }


def machine_state() -> dict[str, Any]:
    """What may change under a measurement: frequency governor, temperature in degrees Celsius, load of the last minute; null where unknown."""

    def read(path: str) -> str | None:
        try:
            return Path(path).read_text("ascii").strip()
        except (OSError, ValueError):
            return None

    temperature = read("/sys/class/thermal/thermal_zone0/temp")
    return {
        "governor": read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "temperature_c": int(temperature) / 1000 if temperature and temperature.lstrip("-").isdigit() else None,
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def commit() -> str | None:
    """The commit of the source checkout this runs from, marked where files differ from it; None for an installed package."""
    if not (PACKAGE.parent / ".git").exists():
        return None
    command = ["git", "-C", str(PACKAGE.parent), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() or None
    except (OSError, subprocess.CalledProcessError):
        return None


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
