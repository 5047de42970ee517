"""A measurement on another machine: the row that measure.py makes here, made by the qig program there, with that machine's own state.

What needs this package beside the model (energy, cycles, own state, the sustained part) is null with a reason. Times of whole runs are taken by the
device's clock, so the way there is not in them: load_cold_ms is one of `qig info`, the start of the process included, the first-token times are of
`qig generate` as in measure.py. They are null where `date` there tells no nanoseconds, the cold ones where the page cache cannot be dropped (dd and
fincore, of coreutils and util-linux, do it and tell).
"""

from __future__ import annotations

import datetime
import json
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from qig_edge import __version__
from qig_edge.bench.identity import commit, model_hash
from qig_edge.bench.machine import throttling
from qig_edge.bench.measure import COLD_RUNS, EMULATED, MEASURED, PROMPT, SCHEMA
from qig_edge.bench.suite import Suite
from qig_edge.devices.deploy import Deployed, deploy, same_processor
from qig_edge.devices.probe import probe
from qig_edge.devices.profile import Profile
from qig_edge.devices.transport import Done, Transport
from qig_edge.errors import DataError, DeviceError, QigError, RuntimeFault

NOT_THERE = "not measured on a device that runs the qig program alone"
# $1 the file to be cold, or nothing; the rest is the program, which ends where this is told to
TIMED = r"""
f=$1; shift
if [ -n "$f" ]; then
  sync -d "$f" 2>/dev/null || sync
  dd if="$f" iflag=nocache count=0 2>/dev/null || exit 0
  left=$(fincore -b -n -o RES "$f" 2>/dev/null | tr -d ' ')
  [ -n "$left" ] && [ "$left" -lt $(( $(wc -c <"$f") / 20 + 1 )) ] || exit 0
fi
p=; trap '[ -z "$p" ] || kill "$p"; exit 143' TERM
a=$(date +%s%N); "$@" </dev/null >/dev/null & p=$!
wait "$p" || exit; b=$(date +%s%N)
echo "qig-took $a $b"
"""


def measure_there(
    way: Transport,
    profile: Profile,
    model: Path,
    suite: Suite,
    *,
    host: str | None,
    name: str | None = None,
    threads: int = 0,
    threads_batch: int = 0,
    isa: str = "auto",
    settings: dict[str, str] | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, Any]:
    """Deploys what is missing and measures; the row. suite: the tests, name: what they are called in the row. Raises what deploy raises, RuntimeFault
    where the program there fails."""
    tell = progress or (lambda done, total, what: None)
    positions = max(suite.prefill, max(suite.depths) + suite.decode)
    there = deploy(way, profile, model, host, positions, progress)
    changed = [part for key, value in (settings or {}).items() for part in ("--set", f"{key}={value}")]
    run = ["-t", str(threads), "-tb", str(threads_batch), "--isa", isa, *changed]
    before = probe(way)
    once = there.command("generate", "-p", PROMPT, "-n", "1", "--temp", "0", *run)
    tell(0, 3, f"cold loads on {way.name}")
    load_cold = _samples(way, there.command("info", "--json", "--isa", isa, *changed), there.model.path)
    first_cold = _samples(way, once, there.model.path)
    tell(1, 3, f"warm loads on {way.name}")
    first_warm = _samples(way, once, "")
    tell(2, 3, f"prefill, decode, bandwidth on {way.name}")
    result = _result(way, there, suite, positions, run)
    after = probe(way)
    tell(3, 3, "done")
    return {
        "schema": SCHEMA,
        "kind": MEASURED if same_processor(profile, before) else EMULATED,
        "suite": name,
        "interrupted": False,
        "device": profile.name,
        "host": way.name,
        "profile": {"name": profile.name, "description": profile.description},
        "version": __version__,
        "commit": commit(),
        "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": before.machine,
        "model_sha256": model_hash(model),
        "backend": "native",
        "state_before": {**before.state, "busy_cores": None},
        "state_after": {**after.state, "busy_cores": None},
        "throttling": throttling(before.state, after.state),
        "settings": settings or {},
        "result": result,
        "load_cold_ms": load_cold,
        "first_token_cold_ms": first_cold,
        "first_token_warm_ms": first_warm,
        "energy": {"joules_per_token": None, "watts": None, "idle_watts": None, "source": None, "reason": NOT_THERE},
        "hw": {"ipc": None, "instructions_per_token": None, "cycles_per_token": None, "reason": NOT_THERE},
        "ipc": {"value": None, "reason": NOT_THERE},
        "own_state": None,
        "sustained": None,
    }


def measure_all(targets: Mapping[str, Callable[[], dict[str, Any]]]) -> tuple[list[dict[str, Any]], dict[str, QigError]]:
    """Several measurements at once, by device: the rows of those that came to their end, and why the others did not."""
    rows, failed = [], {}
    with ThreadPoolExecutor(len(targets)) as pool:
        running = {device: pool.submit(measure) for device, measure in targets.items()}
        for device, each in running.items():
            try:
                rows.append(each.result())
            except QigError as e:
                failed[device] = e
    return rows, failed


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Aligned lines, a device each: medians of every test that the rows share, memory, the state of the machine."""
    tests = [f"prefill {rows[0]['result']['prefill']['tokens']}", *(f"decode at {d['depth']}" for d in rows[0]["result"]["decode"])]
    out = [["device", "host", *(f"{t}, tok/s" for t in tests), "peak, MiB", "governor", "deg C", "throttled"]]
    for row in rows:
        result, state = row["result"], row["state_after"]
        speeds = [f"{t['tokens_per_second']['median']:.1f}" if t["fits"] else "-" for t in (result["prefill"], *result["decode"])]
        warm = "-" if state["temperature_c"] is None else f"{state['temperature_c']:.0f}"
        throttled = {True: "YES", False: "no", None: "-"}[row["throttling"]["throttled"]]
        peak = f"{result['peak_rss_bytes'] / 2**20:.1f}"
        name = row["device"] if row["kind"] == MEASURED else f"{row['device']} {row['kind']}"
        out.append([name, row["host"], *speeds, peak, state["governor"] or "-", warm, throttled])
    widths = [max(len(line[n]) for line in out) for n in range(len(out[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in out]


def read_hosts(path: Path) -> dict[str, str]:
    """Hosts by device, from a TOML file of lines like rpi4 = "pi@kitchen". Raises DataError for a file that is none."""
    from qig_edge.devices.profile import tomllib

    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except OSError as e:
        raise DataError(f"hosts file '{path}': {e.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise DataError(f"hosts file '{path}' is no TOML: {e}") from None
    if bad := [name for name, host in found.items() if not isinstance(host, str)]:
        raise DataError(f"hosts file '{path}': {bad[0]} must be a text, as in {bad[0]} = \"pi@raspberrypi.local\"")
    return found


def _result(way: Transport, there: Deployed, suite: Suite, positions: int, run: list[str]) -> dict[str, Any]:
    asked: dict[str, object] = {
        "--prefill": suite.prefill,
        "--decode": suite.decode,
        "--depths": ",".join(map(str, suite.depths)),
        "--repeat": suite.repeat,
        "--ctx": positions,
    }
    done = _checked(way, way.run(there.command("bench", "--json", *run, *(str(x) for pair in asked.items() for x in pair))))
    try:
        result: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise DeviceError(f"{way.name}: qig bench printed no JSON: {done.stdout[:80]!r}") from None
    return result


def _samples(way: Transport, command: list[str], cold: str) -> dict[str, Any] | None:
    """Milliseconds of whole runs by the device's clock; cold: the file whose pages are dropped before each, "" for none."""
    samples = []
    for _ in range(COLD_RUNS):
        done = _checked(way, way.run(["sh", "-c", TIMED, "qig", cold, *command]))
        took = re.search(rb"^qig-took (\d{16,}) (\d{16,})$", done.stdout, re.M)
        if not took:
            return None
        samples.append((int(took[2]) - int(took[1])) / 1e6)
    return {"median": statistics.median(samples), "samples": samples}


def _checked(way: Transport, done: Done) -> Done:
    if done.code:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit code {done.code}"]
        raise RuntimeFault(f"{way.name}: {lines[-1].removeprefix('qig: ')}")
    return done
