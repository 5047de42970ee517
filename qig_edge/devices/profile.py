"""Device profiles: profiles/*.toml, one file a device."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from qig_edge.config import build, check_type
from qig_edge.devices.hardware import Bandwidth, Cache, Cluster, Sensor, build_tables
from qig_edge.errors import ConfigError, DeviceError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HOST = "host"
TRANSPORTS = ("local", "ssh", "adb")


@dataclasses.dataclass(frozen=True)
class Profile:
    """What the cross build, the emulator and predictions need to know of a device.

    target: zig's triple, or "host" for the machine at hand; mcpu: zig's name of the processor to compile for; emulator_cpu: qemu's name of it, ""
    where the program runs here as it is; cores: those worth a thread each, 0 for what the machine says; board: what the device tree's model begins
    with on the device itself; transport: "local", "ssh" or "adb"; cpu: the chip; features: instruction sets beyond the target's baseline; processor:
    whose kernel cycles predictions take (bench/kernels.toml), "" where there are none; memory_gb: sizes that are sold; clusters: the fastest first.
    host: what is reached by the transport where none is named; run_prefix: what stands before the program there, taskset or an emulator; ram_bytes:
    memory that models may have, 0 for what the machine says (of both the smaller one counts).
    """

    name: str
    description: str
    target: str
    mcpu: str = "baseline"
    emulator_cpu: str = ""
    cores: int = 0
    board: str = ""
    transport: str = "local"
    host: str = ""
    run_prefix: Sequence[str] = ()
    ram_bytes: int = 0
    cpu: str = ""
    processor: str = ""
    features: tuple[str, ...] = ()
    memory_gb: tuple[float, ...] = ()
    clusters: tuple[Cluster, ...] = ()
    caches: tuple[Cache, ...] = ()
    bandwidth: tuple[Bandwidth, ...] = ()
    sensors: tuple[Sensor, ...] = ()

    def __post_init__(self) -> None:
        if self.transport not in TRANSPORTS:
            raise ConfigError(f"transport = {self.transport!r} must be one of {', '.join(TRANSPORTS)}")
        for name in ("name", "description", "target", "mcpu", "emulator_cpu", "board", "host"):
            check_type(name, getattr(self, name), "str")
        check_type("ram_bytes", self.ram_bytes, "int")
        if isinstance(self.run_prefix, str) or not all(isinstance(part, str) for part in self.run_prefix):
            raise ConfigError(f"run_prefix = {self.run_prefix!r} must be a list of texts, as in ['taskset', '-c', '0-3']")

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


def user_folder() -> Path:
    """Where the user's own profiles lie; it need not exist. XDG_CONFIG_HOME, ~/Library/Application Support or APPDATA, as the platform has it."""
    if sys.platform == "win32":
        base = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return base / "qig-edge" / "devices"


def shipped_names() -> list[str]:
    """Names of the profiles that come with the package, sorted."""
    folder = resources.files("qig_edge") / "devices" / "profiles"
    return sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml"))


def device_names() -> list[str]:
    """Names of all profiles, the user's own among them, sorted."""
    return sorted({*shipped_names(), *(p.stem for p in user_folder().glob("*.toml"))})


def load_profile(name: str) -> Profile:
    """The profile of one device, the user's own before a shipped one of that name, or the one in a file where name ends with ".toml".

    Raises DeviceError for an unknown name or a file that is none, ConfigError for a field that is unknown or wrong.
    """
    names = device_names()
    if name in names:
        own = user_folder() / f"{name}.toml"
        text = own.read_text("utf-8") if own.is_file() else (resources.files("qig_edge") / "devices" / "profiles" / f"{name}.toml").read_text("utf-8")
        return read_profile(text, f"device '{name}'")
    if name.endswith(".toml"):
        try:
            return read_profile(Path(name).read_text("utf-8"), f"device file '{name}'")
        except OSError as e:
            raise DeviceError(f"device file '{name}': {e.strerror}") from None
        except UnicodeDecodeError:
            raise DeviceError(f"device file '{name}' is no text") from None
    raise DeviceError(f"unknown device '{name}' (devices: {', '.join(names)}; or a profile's FILE.toml)")


def read_profile(text: str, where: str) -> Profile:
    """The profile in a TOML text. Raises ConfigError naming `where`, the table and the field."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        raise ConfigError(f"{where} is no TOML: {e}") from None
    if missing := [n for n in ("name", "description", "target") if n not in values]:
        raise ConfigError(f"{where} lacks {', '.join(missing)}")
    profile: Profile = build(Profile, build_tables(values, where), where)
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
