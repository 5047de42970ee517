"""Device profiles: profiles/*.toml, one file a device."""

from __future__ import annotations

import dataclasses
import sys
from importlib import resources
from pathlib import Path

from qig_edge.config import build
from qig_edge.errors import DeviceError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HOST = "host"


@dataclasses.dataclass(frozen=True)
class Profile:
    """What the cross build and the emulator need to know of a device.

    target: zig's triple, or "host" for the machine at hand; mcpu: zig's name of the processor to compile for; emulator_cpu: qemu's name of it;
    cores: those worth a thread each, 0 for what the machine says; board: what the device tree's model begins with on the device itself.
    """

    name: str
    description: str
    target: str
    mcpu: str = "baseline"
    emulator_cpu: str = ""
    cores: int = 0
    board: str = ""

    @property
    def is_host(self) -> bool:
        """Whether this profile is the machine at hand, by definition or because its board says so."""
        return self.target == HOST or bool(self.board and board_model().startswith(self.board))


def board_model() -> str:
    """What the device tree calls this board ("Raspberry Pi 4 Model B Rev 1.4"), empty where there is none."""
    try:
        return Path("/proc/device-tree/model").read_text("utf-8", "replace").rstrip("\0\n")
    except OSError:
        return ""


def device_names() -> list[str]:
    """Names of the profiles, sorted."""
    folder = resources.files("qig_edge") / "devices" / "profiles"
    return sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml"))


def load_profile(name: str) -> Profile:
    """The profile of one device. Raises DeviceError for an unknown name."""
    names = device_names()
    if name not in names:
        raise DeviceError(f"unknown device '{name}' (devices: {', '.join(names)})")
    text = (resources.files("qig_edge") / "devices" / "profiles" / f"{name}.toml").read_text("utf-8")
    profile: Profile = build(Profile, tomllib.loads(text), f"device '{name}'")
    return profile


def target_names() -> list[str]:
    """What `qig-edge build --target` takes: the devices that are not this machine, and "host"."""
    return [n for n in device_names() if load_profile(n).target != HOST] + [HOST]


def target_profile(name: str) -> Profile:
    """The profile to build for. Raises DeviceError for an unknown target."""
    names = target_names()
    if name not in names:
        raise DeviceError(f"unknown target '{name}' (targets: {', '.join(names)})")
    return load_profile("laptop" if name == HOST else name)
