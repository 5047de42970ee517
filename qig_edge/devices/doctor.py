"""What a machine has of what qig-edge needs: the tools of this computer, and the state of the machine that a model is to run on, here or far away.

A machine is asked as probe.py asks every device, so that it is the same questions through every transport.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from qig_edge.bench.machine import PI_FLAGS
from qig_edge.devices.adb import MISSING as ADB_MISSING
from qig_edge.devices.adb import adb_program
from qig_edge.devices.emulate import EMULATORS, emulator
from qig_edge.devices.host import kernel_sources, library_path
from qig_edge.devices.probe import Probe, asked
from qig_edge.devices.transport import Done
from qig_edge.errors import DeviceError, MissingExtra, RuntimeFault

Run = Callable[[Sequence[str]], Done]
SPARE = 64 << 20  # bytes that should stay free on a disk
COMPILERS = ("cc", "gcc", "clang")
SET_NAMES = {  # what kernels ask of a CPU, by the kernel's names of it
    "asimd": "NEON",
    "asimddp": "dot products",
    "i8mm": "8-bit matrix products",
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_vnni": "VNNI",
}
MACHINES = {"arm64": "aarch64", "amd64": "x86_64"}
SLOW_GOVERNORS = ("powersave", "conservative", "userspace")
UNDER_VOLTAGE = 0  # the bit of PI_FLAGS that the power supply is to blame for; heat is for the others


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing looked at. found: what there is; mend: what to type or do where that is not well; needed: whether nothing goes without it."""

    what: str
    ok: bool
    found: str
    mend: str = ""
    needed: bool = False


@dataclasses.dataclass(frozen=True)
class Wants:
    """What a machine has to offer. arch: "aarch64" or "x86_64", "" for either; memory and space in bytes; model: the file's name, for people; exact:
    whether it takes no more memory than that; remote: whether files are to be sent there; phone: whether Android runs there."""

    arch: str = ""
    memory: int = 0
    space: int = 0
    model: str = ""
    exact: bool = True
    remote: bool = False
    phone: bool = False


def examine_tools(needed: Sequence[str]) -> list[Finding]:
    """The programs and libraries of this computer. needed: those of libqig, ziglang, qemu, ssh and adb that the work at hand takes."""
    return [
        _libqig("libqig" in needed),
        _compiler(),
        _ziglang("ziglang" in needed),
        _tool("qemu", emulator, f"needed to check programs of other machines ({EMULATORS[0]})", "qemu" in needed),
        _tool("adb", adb_program, "needed for Android phones", "adb" in needed),
        _tool("ssh", _ssh, "needed for devices that --host names", "ssh" in needed),
    ]


def _libqig(needed: bool) -> Finding:
    try:
        return Finding("libqig", True, str(library_path()), needed=needed)
    except (RuntimeFault, DeviceError) as e:
        return Finding("libqig", False, "not there", str(e), needed)


def _compiler() -> Finding:
    path = next(filter(None, map(shutil.which, COMPILERS)), None)
    if path:
        return Finding("C compiler", True, _version([path, "--version"], path))
    try:
        library_path()
    except (RuntimeFault, DeviceError):
        # a wheel brings its library; a checkout has to build it
        return Finding("C compiler", False, "none", "run 'apt install build-essential'", needed=kernel_sources() is not None)
    return Finding("C compiler", True, "none, and none needed: libqig is built")


def _ziglang(needed: bool) -> Finding:
    if importlib.util.find_spec("ziglang") is None:
        return Finding("ziglang", False, "needed to build programs for other machines", "run \"pip install 'qig-edge[cross]'\"", needed)
    return Finding("ziglang", True, importlib.metadata.version("ziglang"), needed=needed)


def _ssh() -> str:
    path = shutil.which("ssh")
    if path is None:
        raise DeviceError("ssh is not installed: run 'apt install openssh-client' (Debian, Ubuntu, Raspberry Pi OS)")
    return path


def _tool(what: str, find: Callable[[], str], use: str, needed: bool) -> Finding:
    try:
        path = find()
    except DeviceError as e:
        missing, colon, mend = str(e).partition(": ")
        return Finding(what, False, f"{missing}; {use}", mend if colon else ADB_MISSING, needed)
    return Finding(what, True, _version([path, "-V" if what == "ssh" else "--version"], path), needed=needed)


def _version(command: Sequence[str], path: str) -> str:
    """The first line that a program says of itself, and where it is."""
    try:
        done = subprocess.run(list(command), stdin=subprocess.DEVNULL, capture_output=True, timeout=20, errors="replace", text=True)
    except (OSError, subprocess.TimeoutExpired):
        return path
    line = next((line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()), "")
    return f"{line[:60]} ({path})" if line else path


def here(command: Sequence[str]) -> Done:
    """Runs a program on this computer."""
    done = subprocess.run(list(command), stdin=subprocess.DEVNULL, capture_output=True)
    return Done(done.returncode, done.stdout, done.stderr)


def examine_machine(run: Run, wants: Wants) -> list[Finding]:
    """The state of the machine where `run` runs programs. Raises DeviceError where it cannot be reached or has no shell that answers."""
    found = asked(run)
    if found is None:
        raise DeviceError("it does not tell what it is: a system with a POSIX shell is needed there")
    return findings(found, wants)


def findings(told: Probe, wants: Wants) -> list[Finding]:
    """What a probe means. Something a machine does not tell (no Pi has the intel_pstate, no laptop the Pi's flags) is left out, but for what is asked
    of every machine."""
    return [
        _system(told, wants),
        _instructions(told.machine["features"]),
        _memory(told.machine["memory_bytes"], told.state["memory_available_bytes"], wants),
        _space(told.free_bytes, wants),
        *([_hash(told.sha256sum)] if wants.remote else []),
        *_governor((told.state["governor"] or "").split(","), told.pstate, wants),
        *_power(told.state["throttle"]),
    ]


def _system(told: Probe, wants: Wants) -> Finding:
    arch, board = told.machine["arch"] or "", told.machine["board"]
    arch = MACHINES.get(arch, arch)
    found = ", ".join(filter(None, (arch or "unknown", f"{told.bits}-bit" if told.bits else "", board)))
    if told.bits == 32 or (arch not in ("aarch64", "x86_64") and re.match(r"arm|i\d86", arch)):
        return Finding("system", False, found, "install a 64-bit system: on a Raspberry Pi the 64-bit Raspberry Pi OS", True)
    if wants.arch and arch != wants.arch:
        return Finding("system", False, found, f"name the device that it is with --device: this one has a program for {wants.arch}", True)
    return Finding("system", True, found, needed=True)


def _instructions(features: Sequence[str]) -> Finding:
    names = [name for key, name in SET_NAMES.items() if key in features]
    return Finding("instructions", True, ", ".join(names) or ("the kernel does not tell" if not features else "none beyond the baseline"))


def _memory(total: int | None, available: int | None, wants: Wants) -> Finding:
    if total is None or available is None:
        return Finding("memory", True, "the system does not tell")
    found = f"{_gb(available)} available of {_gb(total)}"
    if wants.model:
        found += f"; {wants.model} takes {_gb(wants.memory)}{'' if wants.exact else ' or more'}"
    mend = f"close programs there, or take a smaller model: {wants.model} does not fit"
    return Finding("memory", available >= wants.memory, found, "" if available >= wants.memory else mend, True)


def _space(free: int | None, wants: Wants) -> Finding:
    if free is None:
        return Finding("free space", False, "df does not tell", "run 'df -Pk .' there and see what it complains about", wants.remote)
    least = wants.space + SPARE
    mend = f"free {_gb(least - free)} on that disk"
    return Finding("free space", free >= least, _gb(free), "" if free >= least else mend, wants.remote)


def _hash(there: bool) -> Finding:
    mend = "" if there else "sha256sum has to be there: take a newer system (Android 8, any Linux)"
    return Finding("sha256sum", there, "there" if there else "not there", mend, True)


def _governor(governors: Sequence[str], pstate: bool, wants: Wants) -> list[Finding]:
    if not any(governors):
        return []
    # with a P-state driver, powersave is the name of what follows the load
    slow = [g for g in governors if g in SLOW_GOVERNORS and not (g == "powersave" and pstate)]
    mend = "run 'echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor' there"
    if wants.phone:
        mend = "switch its battery saver off"
    return [Finding("governor", not slow, ", ".join(governors), mend if slow else "")]


def _power(told: Mapping[str, Any]) -> list[Finding]:
    """The firmware's flags of a Raspberry Pi, as bench.machine.throttle has them; counters of other machines say nothing of power."""
    if told["source"] is None or told["count"] is not None:
        return []
    now, before = told["now"], [word for word in told["since_start"] if word not in told["now"]]
    told_of = ((now, "now"), (before, "since it was started"))
    found = "; ".join(f"{', '.join(words)} {when}" for words, when in told_of if words)
    power = PI_FLAGS[UNDER_VOLTAGE] in now + before
    mends = ["take the official power supply and its own cable"] if power else []
    if len(now + before) > power:
        mends.append("cool it: a heat sink or a fan")
    return [Finding("power and heat", not found, found or "neither under-voltage nor throttling", "; ".join(mends))]


def _gb(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def wants_of(path: Path, arch: str = "", remote: bool = False, phone: bool = False) -> Wants:
    """What a model takes where it runs: its file, and in memory the cache of a whole context, too, where it can be opened here to ask it. Raises
    ModelFileError where it is none."""
    from qig_edge.runtime.opening import open_model

    size = sum(p.stat().st_size for p in path.rglob("*")) if path.is_dir() else path.stat().st_size
    try:
        with open_model(path) as model, model.session() as session:
            memory, exact = size + session.cache_bytes, True
    except (RuntimeFault, DeviceError, MissingExtra):  # no engine here yet, or this machine is too small itself: what is missing is said elsewhere
        memory, exact = size, False
    return Wants(arch, memory, size if remote else 0, path.name, exact, remote, phone)
