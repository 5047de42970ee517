"""Probe of the machine that this process runs on: word size, CPU, memory, and the installed parts of libqig."""

from __future__ import annotations

import os
import platform
import struct
import sys
from functools import cache
from pathlib import Path
from typing import Any

from qig_edge.errors import DeviceError, RuntimeFault

PACKAGE = Path(__file__).resolve().parent.parent


def pointer_bits() -> int:
    """Width of a pointer in this process. A 32-bit Raspberry Pi OS may run a 64-bit kernel: what counts is the process."""
    return struct.calcsize("P") * 8


def require_64bit() -> None:
    """Raises DeviceError on a 32-bit system, naming it: libqig maps whole models and has 64-bit kernels only."""
    bits = pointer_bits()
    if bits != 64:
        raise DeviceError(
            f"this is a {bits}-bit system ({platform.machine()}, {bits}-bit Python); qig-edge needs a 64-bit one: on a Raspberry Pi 3, 4 or 5"
            " install the 64-bit Raspberry Pi OS"
        )


def kernel_sources() -> Path | None:
    """Folder of the C sources: kernels/ of a source checkout, _kernels/ inside an installed package, or None."""
    for folder in (PACKAGE.parent / "kernels", PACKAGE / "_kernels"):
        if (folder / "include" / "qig.h").is_file():
            return folder
    return None


def built_part(names: tuple[str, ...], what: str) -> Path:
    """Path of a compiled part (library or program): the folder that QIG_EDGE_BUILD names, where it is set (a build of your own, with sanitizers for
    example); else lib/ or bin/ of a wheel, then build/host/ of a source checkout.

    Raises RuntimeFault naming the command that builds it where there is none, DeviceError on a 32-bit system.
    """
    require_64bit()
    if own := os.environ.get("QIG_EDGE_BUILD"):
        for name in names:
            if (Path(own) / name).is_file():
                return Path(own) / name
        raise RuntimeFault(f"QIG_EDGE_BUILD = '{own}' is no folder that holds {' or '.join(names)}")
    for folder in (PACKAGE / "lib", PACKAGE / "bin", PACKAGE.parent / "build" / "host"):
        for name in names:
            if (folder / name).is_file():
                return folder / name
    if (PACKAGE.parent / "kernels" / "CMakeLists.txt").is_file():
        raise RuntimeFault(
            f"{what} is not built yet: run 'cmake -S kernels -B build/host && cmake --build build/host' in {PACKAGE.parent}"
        )
    raise RuntimeFault(
        f"{what} is missing from this installation ({PACKAGE}): run 'pip install --force-reinstall qig-edge'"
    )


def library_path() -> Path:
    """The shared library of libqig on this machine; errors as built_part."""
    names = {"darwin": ("libqig.dylib",), "win32": ("qig.dll", "libqig.dll")}.get(sys.platform, ("libqig.so",))
    return built_part(names, "libqig")


def program_path() -> Path:
    """The `qig` program for this machine; errors as built_part."""
    return built_part(("qig.exe",) if sys.platform == "win32" else ("qig",), "the qig program")


@cache
def cpu_info() -> dict[str, Any]:
    """The CPU of this machine as {"model", "cores", "features"}: features is the kernel's list, empty where it has none to read."""
    model, features = platform.processor() or platform.machine(), ""
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model") and value.strip():
                model = value.strip()
            if key.strip() in ("flags", "Features") and not features:
                features = value.strip()
    except OSError:
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"model": model, "cores": cores, "features": features.split()}
