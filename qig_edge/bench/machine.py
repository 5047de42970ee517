"""The machine that a measurement happened on, and its state before and after: what a reader must know to compare two rows.

Everything is read from /sys and /proc below `root` (a test gives a folder of its own); what a system does not tell is None, never a guess.

machine()         system, processor with its features, cores, memory, caches: what does not change
machine_state()   governor, temperature, frequency, throttling, load, free memory, swap: what may change under a measurement
throttling()      the verdict on two states: True, False, or None with the reason
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qig_edge.devices.host import cpu_info

ROOT = Path("/")
# Bits of the Raspberry Pi firmware's get_throttled; the same 16 bits higher: since the board was started.
PI_FLAGS = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
SINCE = 16
# Sensors of the processor by the names that drivers give them; one of the board or of a disk is no measure.
CPU_ZONE = re.compile(r"x86_pkg_temp|cpu|soc|tsens|mtktscpu|tcpu|exynos-therm|big|little", re.I)
CPU_HWMON = ("coretemp", "k10temp", "zenpower", "cpu_thermal")


def read(path: Path) -> str | None:
    """A file of one value, stripped; None where it is missing, unreadable or no text."""
    try:
        return path.read_text("ascii").strip()
    except (OSError, ValueError):
        return None


def number(path: Path) -> int | None:
    """A file of one whole number; None where there is none."""
    text = read(path)
    return int(text) if text and re.fullmatch(r"-?\d+", text) else None


def machine(root: Path = ROOT) -> dict[str, Any]:
    """What this machine is: system, processor with its features, cores, memory and caches in bytes."""
    import psutil

    return {
        "system": platform.system(),
        "release": platform.release(),
        "arch": platform.machine(),
        "cpu": cpu_info()["model"],
        "board": _board(root),
        "cores": cpu_info()["cores"],
        "physical_cores": psutil.cpu_count(logical=False),
        "features": cpu_info()["features"],
        "memory_bytes": psutil.virtual_memory().total,
        "last_cache_bytes": last_cache(root),
        "python": platform.python_version(),
    }


def machine_state(root: Path = ROOT) -> dict[str, Any]:
    """What may change under a measurement: frequency governor, temperature in degrees Celsius with its sensor, mean frequency in MHz and its
    limit, throttling, load of the last minute, free memory in bytes, pages swapped in so far; None where unknown."""
    import psutil

    degrees, sensor = hottest_sensor(root)
    return {
        "governor": governor(root),
        "temperature_c": degrees,
        "temperature_sensor": sensor,
        "frequency_mhz": frequency(root),
        "frequency_limit_mhz": frequency_limit(root),
        "throttle": throttle(root),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "memory_available_bytes": psutil.virtual_memory().available,
        "swapped_in_pages": swapped_in(root),
    }


def busy_cores(seconds: float = 0.3) -> float | None:
    """How many cores' worth of time other programs, or other guests of the same host, took for a moment in which this one slept; None where the
    system keeps that to itself, as Android does."""
    import psutil

    try:
        told = psutil.cpu_times_percent(interval=seconds)
    except (OSError, psutil.Error):
        return None
    idle = told.idle + getattr(told, "iowait", 0.0)
    return round((100 - idle) / 100 * (psutil.cpu_count() or 1), 2)


def throttle(root: Path = ROOT) -> dict[str, Any]:
    """What the machine tells of throttling: {"source", "now": [words], "since_start": [words], "count": N or None}, or source None with a reason.

    A Raspberry Pi has flags (the firmware's get_throttled), x86 counts events (thermal_throttle).
    """
    board = pi_flags(root)
    if board is not None:
        return board
    cpus = root / "sys/devices/system/cpu"
    cores = [number(p) for p in sorted(cpus.glob("cpu[0-9]*/thermal_throttle/core_throttle_count"))]
    packages = [number(p) for p in sorted(cpus.glob("cpu[0-9]*/thermal_throttle/package_throttle_count"))]
    counts = [c for c in (*cores, *packages) if c is not None]
    if counts:
        return {
            "source": "thermal_throttle counters",
            "now": [],
            "since_start": [],
            "count": sum(counts),
            "reason": None,
        }
    return {
        "source": None, "now": [], "since_start": [], "count": None,
        "reason": "no throttling flags or counters are readable here",
    }  # fmt: skip


def pi_flags(root: Path = ROOT) -> dict[str, Any] | None:
    """As throttle(), of a Raspberry Pi's firmware alone; None on other machines."""
    for path in sorted((root / "sys/devices/platform").glob("*/*firmware/get_throttled")):
        if told := firmware_flags(read(path), "/sys"):
            return told
    return firmware_flags(_vcgencmd(root), "vcgencmd")


def throttling(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """{"throttled": True, False or None, "why"} from two states of machine_state(): flags that were up in either, or counters that rose."""
    first, last = before["throttle"], after["throttle"]
    if first["source"] is None or last["source"] is None:
        return {"throttled": None, "why": last["reason"] or first["reason"]}
    flags = sorted({*first["now"], *last["now"], *(set(last["since_start"]) - set(first["since_start"]))})
    if flags:
        return {"throttled": True, "why": ", ".join(flags)}
    if last["count"] is not None and first["count"] is not None and last["count"] > first["count"]:
        return {"throttled": True, "why": f"{last['count'] - first['count']} throttle events counted during the run"}
    return {"throttled": False, "why": f"{last['source']}: nothing during the run"}


def frequency(root: Path = ROOT) -> float | None:
    """Mean frequency of the processors in MHz at this moment, as the kernel tells it; None in most virtual machines."""
    return _mean(_cpufreq(root, "scaling_cur_freq"), 1000)


def frequency_limit(root: Path = ROOT) -> float | None:
    """Mean of the processors' highest frequencies in MHz; None in most virtual machines."""
    return _mean(_cpufreq(root, "cpuinfo_max_freq"), 1000)


def temperature(root: Path = ROOT) -> float | None:
    """The processor's temperature in degrees Celsius: the hottest of its sensors."""
    return hottest_sensor(root)[0]


def firmware_flags(told: str | None, through: str) -> dict[str, Any] | None:
    """As throttle(), of what a Raspberry Pi's firmware tells, a number in hexadecimal, behind "throttled=0x" where vcgencmd says it; None for
    anything else. through: who was asked, for people."""
    found = re.fullmatch(r"(?:throttled=)?(?:0x)?([0-9a-fA-F]{1,8})", told or "")
    if not found:
        return None
    flags = int(found.group(1), 16)

    def words(shift: int) -> list[str]:
        return [word for bit, word in PI_FLAGS.items() if flags >> (bit + shift) & 1]

    return {"source": f"firmware, through {through}", "now": words(0), "since_start": words(SINCE), "count": None, "reason": None}


def _vcgencmd(root: Path) -> str | None:
    """`vcgencmd get_throttled` where there is one; not for a made-up root."""
    program = shutil.which("vcgencmd") if root == ROOT else None
    if program is None:
        return None
    try:
        return subprocess.run(
            [program, "get_throttled"], capture_output=True, text=True, timeout=5, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _cpufreq(root: Path, name: str) -> Iterator[int | None]:
    for path in sorted((root / "sys/devices/system/cpu").glob(f"cpu[0-9]*/cpufreq/{name}")):
        yield number(path)


def _mean(values: Iterator[int | None], unit: int) -> float | None:
    known = [v for v in values if v is not None]
    return round(sum(known) / len(known) / unit, 1) if known else None


def governor(root: Path = ROOT) -> str | None:
    """The frequency governor: one word; several joined by commas where clusters differ."""
    found = {read(p) for p in (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")} - {None, ""}
    return ",".join(sorted(str(g) for g in found)) or None


def hottest_sensor(root: Path = ROOT) -> tuple[float | None, str | None]:
    """(degrees Celsius, name) of the hottest sensor of the processor; the first zone where no name tells of a processor."""
    found: list[tuple[float, str]] = []
    zones = [
        (number(p / "temp"), read(p / "type") or p.name)
        for p in sorted((root / "sys/class/thermal").glob("thermal_zone*"))
    ]
    found += [(t / 1000, name) for t, name in zones if t is not None and CPU_ZONE.search(name)]
    for folder in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        name = read(folder / "name")
        if name in CPU_HWMON:
            found += [(t / 1000, str(name)) for p in sorted(folder.glob("temp*_input")) if (t := number(p)) is not None]
    if not found:
        found = [(t / 1000, name) for t, name in zones[:1] if t is not None]
    # zones that are off report nonsense: -274 or 0
    real = [(t, name) for t, name in found if 0 < t < 150]
    return max(real) if real else (None, None)


def last_cache(root: Path = ROOT) -> int | None:
    """Bytes of the largest cache that the first processor sees; None where the kernel does not list any."""
    sizes = []
    for path in (root / "sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        found = re.fullmatch(r"(\d+)([KMG])", read(path) or "")
        if found:
            sizes.append(int(found.group(1)) << {"K": 10, "M": 20, "G": 30}[found.group(2)])
    return max(sizes, default=None)


def swapped_in(root: Path = ROOT) -> int | None:
    """Pages that came back from swap since the system was started; None where the kernel does not count them."""
    found = re.search(r"^pswpin (\d+)$", read(root / "proc/vmstat") or "", re.M)
    return int(found.group(1)) if found else None


def _board(root: Path) -> str | None:
    text = read(root / "proc/device-tree/model")
    return text.rstrip("\0") or None if text else None
