"""Builds the `qig` program for a device: one static file, by zig's C compiler, from the C sources of this package.

The lists of sources and the flags of each instruction set are those of kernels/cmake/*.cmake, read here, so that there is one list.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from qig_edge import __version__
from qig_edge.devices.host import kernel_sources
from qig_edge.devices.profile import HOST, Profile
from qig_edge.errors import DeviceError, MissingExtra
from qig_edge.runtime.files import replacing

# Contraction off: the same floats whatever the compiler. zig links musl statically by itself.
FLAGS = ("-std=c11", "-O3", "-D_GNU_SOURCE", f'-DQIG_VERSION="{__version__}"', "-ffp-contract=off", "-fno-math-errno")
SYSTEMS = {
    "x86_64": "x86_64-linux-musl",
    "amd64": "x86_64-linux-musl",
    "aarch64": "aarch64-linux-musl",
    "arm64": "aarch64-linux-musl",
}
# Instruction sets of QIG_SRC_OPS_<SET> lists and the machine they are for; "REF" is for every machine.
SETS = {"x86_64": ("REF", "AVX2", "AVX512_VNNI"), "aarch64": ("REF", "NEON", "NEON_DOTPROD", "NEON_I8MM")}
_LISTED = re.compile(r"(?:set\(|list\(APPEND\s+)(QIG_(?:SRC|FLAGS|ZIG_FLAGS)_\w+)([^)]*)\)")


def cmake_lists(folder: Path) -> dict[str, list[str]]:
    """The QIG_SRC_*, QIG_FLAGS_* and QIG_ZIG_FLAGS_* lists of the *.cmake files in a folder, without references to other lists."""
    lists: dict[str, list[str]] = {}
    for path in sorted(folder.glob("sources*.cmake")):
        text = re.sub(r"#.*", "", path.read_text("utf-8"))
        for name, items in _LISTED.findall(text):
            lists.setdefault(name, []).extend(i for i in items.split() if not i.startswith("${"))
    return lists


def source_flags(lists: dict[str, list[str]], machine: str) -> dict[str, list[str]]:
    """Every source of the program for a machine ("aarch64", "x86_64"), with the extra flags of its instruction set as zig takes them."""
    sources: dict[str, list[str]] = {}
    for name, files in lists.items():
        if not name.startswith("QIG_SRC_"):
            continue
        isa = name.removeprefix("QIG_SRC_OPS_") if name.startswith("QIG_SRC_OPS_") else None
        if isa is None or isa in SETS[machine]:
            flags = lists.get(f"QIG_ZIG_FLAGS_{isa}") or lists.get(f"QIG_FLAGS_{isa}", []) if isa else []
            sources.update((f, flags) for f in files if f.endswith(".c"))
    return sources


def triple(profile: Profile) -> str:
    """zig's target triple of a profile. Raises DeviceError where this machine is none that libqig is built for."""
    if profile.target != HOST:
        return profile.target
    machine = platform.machine().lower()
    if sys.platform != "linux" or machine not in SYSTEMS:
        raise DeviceError(
            f"target 'host' is {machine} {sys.platform} here; static programs are built for Linux on {', '.join(SYSTEMS)}"
        )
    return SYSTEMS[machine]


def build_program(profile: Profile, out: Path, progress: Callable[[int, int], None] | None = None) -> Path:
    """Compiles the `qig` program for a device into the file `out` and returns it. progress(done, total) is called after each step.

    Raises MissingExtra without ziglang, DeviceError where the sources are missing or do not compile. `out` appears whole or not at all.
    """
    if importlib.util.find_spec("ziglang") is None:
        raise MissingExtra("building for a device", "cross")
    kernels = kernel_sources()
    if kernels is None:
        raise DeviceError("the C sources are not in this installation: build from a source checkout of qig-edge")
    target = triple(profile)
    sources = source_flags(cmake_lists(kernels / "cmake"), target.partition("-")[0])
    if out.is_dir() or not out.parent.is_dir():
        raise DeviceError(
            f"{out}: " + ("is a folder, a file name is needed" if out.is_dir() else f"there is no folder {out.parent}")
        )
    zig = [sys.executable, "-m", "ziglang", "cc", "-target", target, f"-mcpu={profile.mcpu}"]
    done, total = 0, len(sources) + 1

    def step() -> None:
        nonlocal done
        done += 1
        if progress:
            progress(done, total)

    with tempfile.TemporaryDirectory(prefix="qig-build-") as scratch:

        def compile_one(item: tuple[str, list[str]]) -> str:
            source, flags = item
            object_file = str(Path(scratch) / (source.replace("/", "_") + ".o"))
            include = [f"-I{kernels / 'include'}", f"-I{kernels / 'src'}"]
            _run([*zig, *FLAGS, *flags, *include, "-c", str(kernels / source), "-o", object_file], source)
            return object_file

        objects = []
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            try:
                for object_file in pool.map(compile_one, sources.items()):
                    objects.append(object_file)
                    step()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        with replacing(out) as partial:
            _run([*zig, "-static", "-s", *objects, "-o", str(partial), "-lm", "-lpthread"], "linking")
        step()
    return out


def _run(command: list[str], what: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        lines = (
            [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines() or ["no message"]
        )
        raise DeviceError(f"{what} does not compile: {lines[0].strip()}")
