"""What a reachable machine says of itself, by one script of sh: the files below /proc and /sys that tell it are brought here and read as those of
this machine are."""

from __future__ import annotations

import dataclasses
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from qig_edge.bench import machine as files
from qig_edge.devices.transport import Done, Transport
from qig_edge.errors import DeviceError

# Every line begins with a word of its own: a login shell may greet. $1: the folder whose file system is asked for its free space.
SCRIPT = r"""
echo "qig-told system $(uname -s)"
echo "qig-told release $(uname -r)"
echo "qig-told arch $(uname -m)"
echo "qig-told class $(od -An -tx1 -j4 -N1 /proc/$$/exe 2>/dev/null)"
echo "qig-told bits $(getconf LONG_BIT 2>/dev/null)"
echo "qig-told cores $(nproc 2>/dev/null)"
d=$1; while [ ! -d "$d" ]; do d=$(dirname "$d"); done
df -Pk "$d" | sed 's/^/qig-told space /'
command -v sha256sum >/dev/null && echo "qig-told sha256sum there"
[ -d /sys/devices/system/cpu/intel_pstate ] || [ -d /sys/devices/system/cpu/amd_pstate ] && echo "qig-told pstate there"
throttled=$(vcgencmd get_throttled 2>/dev/null) && echo "qig-told throttled $throttled"
for f in /proc/cpuinfo /proc/meminfo /proc/loadavg /proc/vmstat /proc/device-tree/model /sys/devices/platform/*/*firmware/get_throttled \
  /sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor /sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq \
  /sys/devices/system/cpu/cpu[0-9]*/cpufreq/cpuinfo_max_freq /sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/*_throttle_count \
  /sys/devices/system/cpu/cpu0/cache/index*/size /sys/class/thermal/thermal_zone*/type /sys/class/thermal/thermal_zone*/temp \
  /sys/class/hwmon/hwmon*/name /sys/class/hwmon/hwmon*/temp*_input; do
  [ -r "$f" ] || continue
  echo "qig-file $f"
  sed 's/^/ /' "$f" 2>/dev/null
  echo
done
exit 0
"""
ELF_CLASSES = {"01": 32, "02": 64}


@dataclasses.dataclass(frozen=True)
class Probe:
    """machine and state: what bench rows hold (qig_edge.bench.machine); bits: of the system's own programs, 0 unknown; free_bytes: in the home
    folder, None where df does not tell; parts: "CPU part" of the processors, as ARM numbers them; sha256sum: whether it is there; pstate: whether
    the processor's own driver chooses frequencies, which gives governors another meaning."""

    machine: dict[str, Any]
    state: dict[str, Any]
    bits: int
    free_bytes: int | None
    parts: tuple[str, ...]
    sha256sum: bool = True
    pstate: bool = False


def probe(way: Transport, folder: str = ".") -> Probe:
    """Asks a device. Raises DeviceError where it cannot be reached or is none that runs Linux."""
    found = asked(lambda command: way.run(command, timeout=60), folder)
    if found is None or found.machine["system"] != "Linux":
        raise DeviceError(f"{way.name}: it does not tell what it is; a Linux system (or Android) is needed there")
    return found


def asked(run: Callable[[Sequence[str]], Done], folder: str = ".") -> Probe | None:
    """What the machine says on which `run` runs programs, whatever its system is; None where it has no words for it."""
    return parse(run(["sh", "-c", SCRIPT, "qig", folder]).stdout.decode("utf-8", "replace"))


def parse(text: str) -> Probe | None:
    """What SCRIPT printed; None where that does not name a system."""
    text = text.replace("\0", "")  # the device tree ends its texts with one, and not every phone has tr
    told = {key: value.strip() for key, value in re.findall(r"^qig-told (\w+) ?(.*)$", text, re.M)}
    if not told.get("system"):
        return None
    held = {path: re.sub("^ ", "", content, flags=re.M) for path, content in re.findall(r"^qig-file (/\S+)\n((?: .*\n)*)", text, re.M)}
    with tempfile.TemporaryDirectory(prefix="qig-probe-") as scratch:
        root = Path(scratch)
        for path, content in held.items():
            if ".." not in path:
                (root / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
                (root / path.lstrip("/")).write_text(content, "ascii", "replace")
        cpuinfo, meminfo = held.get("/proc/cpuinfo", ""), held.get("/proc/meminfo", "")
        board = held.get("/proc/device-tree/model", "").strip() or None
        state = {
            "governor": files.governor(root),
            **dict(zip(("temperature_c", "temperature_sensor"), files.hottest_sensor(root), strict=True)),
            "frequency_mhz": files.frequency(root),
            "frequency_limit_mhz": files.frequency_limit(root),
            "throttle": _throttle(root, told.get("throttled")),
            "load": float(load[1]) if (load := re.match(r"([\d.]+) ", held.get("/proc/loadavg", ""))) else None,
            "memory_available_bytes": _kilobytes(meminfo, "MemAvailable"),
            "swapped_in_pages": files.swapped_in(root),
        }
        last_cache = files.last_cache(root)
    listed = len(re.findall(r"^processor\s*:", cpuinfo, re.M))
    features = _of_cpu(cpuinfo, "Features") or _of_cpu(cpuinfo, "flags") or ""
    space = re.search(r"^qig-told space .*\s\d+\s+\d+\s+(-?\d+)\s+\S+\s+/", text, re.M)
    return Probe(
        machine={
            "system": told["system"],
            "release": told.get("release"),
            "arch": told.get("arch"),
            "cpu": _of_cpu(cpuinfo, "model name") or board or _of_cpu(cpuinfo, "Hardware") or told.get("arch"),
            "board": board,
            "cores": int(told["cores"]) if told.get("cores", "").isdigit() else listed or None,
            "physical_cores": None,
            "features": features.split(),
            "memory_bytes": _kilobytes(meminfo, "MemTotal"),
            "last_cache_bytes": last_cache,
            "python": None,
        },
        state=state,
        bits=ELF_CLASSES.get(told.get("class", ""), int(told["bits"]) if told.get("bits", "").isdigit() else 0),
        free_bytes=int(space[1]) * 1024 if space else None,
        parts=tuple(sorted(set(re.findall(r"^CPU part\s*:\s*(0x\w+)", cpuinfo, re.M)))),
        sha256sum="sha256sum" in told,
        pstate="pstate" in told,
    )


def _throttle(root: Path, told: str | None) -> dict[str, Any]:
    """As bench.machine.throttle; the firmware's own tool is asked on the device, where it is."""
    found = files.throttle(root)
    flags = files.firmware_flags(told, "vcgencmd")
    return flags if found["source"] is None and flags else found


def _of_cpu(cpuinfo: str, key: str) -> str | None:
    found = re.search(rf"^{key}\s*:\s*(\S.*)$", cpuinfo, re.M)
    return found[1].strip() if found else None


def _kilobytes(meminfo: str, key: str) -> int | None:
    found = re.search(rf"^{key}:\s*(\d+) kB", meminfo, re.M)
    return int(found[1]) * 1024 if found else None
