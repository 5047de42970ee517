"""A device's program and a model put in place there: what is missing travels, nothing else, and nothing at all where it cannot run."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import os
import posixpath
import sys
from collections.abc import Callable
from pathlib import Path

from qig_edge import __version__
from qig_edge.devices.crossbuild import FLAGS, build_program, triple
from qig_edge.devices.emulate import emulator
from qig_edge.devices.host import kernel_sources
from qig_edge.devices.local import LocalTransport
from qig_edge.devices.opening import is_emulated
from qig_edge.devices.probe import Probe, probe
from qig_edge.devices.profile import Profile
from qig_edge.devices.transport import Progress, Pushed, Transport
from qig_edge.errors import DeviceError, MissingExtra

FOLDER = "qig-edge"  # in the home folder of the device
SYSTEM_BYTES = 128 << 20  # what a small Linux without a desktop keeps for itself
WORK_BYTES = 32 << 20  # of the program beside weights and cache


@dataclasses.dataclass(frozen=True)
class Deployed:
    """A program and a model that are in place. prefix: what stands before the program; probe: None where nothing had to be asked;
    warning: what may go wrong there all the same, "" where nothing is known to; emulated: another processor plays the device's."""

    prefix: tuple[str, ...]
    program: Pushed
    model: Pushed
    probe: Probe | None
    warning: str = ""
    emulated: bool = False

    def command(self, name: str, *args: str) -> list[str]:
        """`qig NAME MODEL ARGS` as the device runs it."""
        return [*self.prefix, self.program.path, name, self.model.path, *args]


@dataclasses.dataclass(frozen=True)
class Need:
    """Bytes of memory that a model wants: its file, which is mapped, and the cache of n_ctx positions."""

    file_bytes: int
    cache_bytes: int
    n_ctx: int

    @property
    def total(self) -> int:
        return self.file_bytes + self.cache_bytes + WORK_BYTES


def need(model: Path, n_ctx: int = 0) -> Need:
    """What a model wants; n_ctx 0: as many positions as it was trained for. Raises ModelFileError for a file that libqig does not run."""
    from qig_edge.runtime.native import NativeModel

    with NativeModel(model) as opened, opened.session(n_ctx=n_ctx, n_threads=1) as session:
        return Need(model.stat().st_size, session.cache_bytes, session.n_ctx)


def same_processor(profile: Profile, found: Probe) -> bool:
    """Whether a machine runs the profile's programs itself, as far as it tells; else an emulator in run_prefix does."""
    arch = found.machine["arch"]
    return arch is None or {"arm64": "aarch64", "amd64": "x86_64"}.get(arch, arch) == triple(profile).partition("-")[0]


def check(way: Transport, profile: Profile, found: Probe, wanted: Need, model: Path) -> None:
    """Raises DeviceError where a device cannot run a model: a 32-bit system, another processor than the profile's, too little memory."""
    arch = found.machine["arch"]
    if found.bits == 32:
        raise DeviceError(
            f"{way.name} has a 32-bit system ({arch}); qig-edge needs a 64-bit one: on a Raspberry Pi 3, 4 or 5 install the 64-bit Raspberry Pi OS"
        )
    target = triple(profile).partition("-")[0]
    if not profile.run_prefix and not same_processor(profile, found):
        raise DeviceError(f"{way.name} is {arch}, programs for '{profile.name}' are for {target}: name another --device")
    memory = min((m for m in (found.machine["memory_bytes"], profile.ram_bytes) if m), default=None)
    if memory is None:
        raise DeviceError(f"{way.name} does not tell its memory: give it as ram_bytes in a profile (qig-edge devices add)")
    if wanted.total > memory - SYSTEM_BYTES:
        weights, cache = wanted.file_bytes / 1e6, wanted.cache_bytes / 1e6
        raise DeviceError(
            f"{way.name}: {model.name} does not fit its memory: {weights:.0f} MB of weights and {cache:.0f} MB of cache"
            f" for {wanted.n_ctx} positions want {wanted.total / 1e6:.0f} MB, of {memory / 1e6:.0f} MB the system keeps {SYSTEM_BYTES / 1e6:.0f};"
            " fewer positions (--ctx) or a smaller model will"
        )


def tight(way: Transport, found: Probe, wanted: Need, model: Path) -> str:
    """A line where a model fits a device's memory, but not what is free of it at this moment; "" where it does, or the device does not tell."""
    free = found.state["memory_available_bytes"]
    if free is None or wanted.total <= free:
        return ""
    return (
        f"{way.name}: {model.name} wants {wanted.total / 1e6:.0f} MB and {free / 1e6:.0f} MB are free now:"
        " it will be slow, or end, unless programs there are closed"
    )


def device_program(profile: Profile, progress: Callable[[int, int], None] | None = None) -> Path:
    """The static program for a device, built where there is none of these sources, flags and compiler yet. Raises as build_program does."""
    kernels = kernel_sources()
    if importlib.util.find_spec("ziglang") is None:
        raise MissingExtra("building for a device", "cross")
    if kernels is None:
        raise DeviceError("the C sources are not in this installation: build from a source checkout of qig-edge")
    from importlib.metadata import version

    digest = hashlib.sha256("\n".join((__version__, triple(profile), profile.mcpu, version("ziglang"), *FLAGS)).encode())
    for path in sorted(p for p in kernels.rglob("*") if p.is_file() and p.suffix in (".c", ".h", ".inc", ".cmake")):
        digest.update(f"\n{path.relative_to(kernels).as_posix()}\n".encode() + path.read_bytes())
    folder = cache_folder() / "programs"
    program = folder / f"qig-{digest.hexdigest()[:32]}"
    if not program.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        build_program(profile, program, progress)
    return program


def cache_folder() -> Path:
    """What can be made again, in the place that the platform has for it."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "qig-edge" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "qig-edge"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qig-edge"


def deploy(
    way: Transport, profile: Profile, model: Path, host: str | None = None, n_ctx: int = 0, progress: Progress | None = None
) -> Deployed:
    """Puts program and model in place, host being the one that `way` was opened with. On this machine nothing travels: the paths are those here.

    Raises DeviceError before anything is sent where the model cannot run there, and as build_program and Transport.push do.
    """
    prefix = tuple(profile.run_prefix)
    wanted = need(model, n_ctx)
    if is_emulated(profile, host):
        prefix = prefix or (emulator(), "-cpu", profile.emulator_cpu)
    found, warning = None, ""
    if not isinstance(way, LocalTransport):
        found = probe(way)
        check(way, profile, found, wanted, model)
        warning = tight(way, found, wanted, model)
    steps = (lambda done, total: progress(done, total, f"building qig for {profile.name}")) if progress else None
    program = device_program(profile, steps)
    if isinstance(way, LocalTransport):
        return Deployed(prefix, _here(program), _here(model), None, emulated=is_emulated(profile, host))
    folder = posixpath.join(way.base, FOLDER)
    sent_program = way.push(program, f"{folder}/qig", progress, executable=True)
    sent_model = way.push(model, f"{folder}/{model.name}", progress)
    emulated = found is not None and not same_processor(profile, found)
    return Deployed(prefix, sent_program, sent_model, found, warning, emulated)


def _here(path: Path) -> Pushed:
    return Pushed(str(path.resolve()), path.stat().st_size, 0)
