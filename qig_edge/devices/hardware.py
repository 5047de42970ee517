"""What a device is made of, as its profile tells it: processor clusters, caches, memory bandwidth with sources, sensors."""

from __future__ import annotations

import dataclasses
from typing import Any

from qig_edge.config import build, check_type
from qig_edge.errors import ConfigError

# "read": bytes read by threads that do nothing else; "copy": bytes read and written together; "decode": bytes that decoding a model reached.
BANDWIDTH_KINDS = ("read", "copy", "decode")


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Cores of one kind. mhz: the highest clock that they hold with cooling."""

    core: str
    cores: int
    mhz: int

    def __post_init__(self) -> None:
        _typed(self)
        _positive(self, "cores", "mhz")


@dataclasses.dataclass(frozen=True)
class Cache:
    """One level: KiB of each, and how many cores share one."""

    level: int
    kib: int
    shared_by: int = 1

    def __post_init__(self) -> None:
        _typed(self)
        _positive(self, "level", "kib", "shared_by")


@dataclasses.dataclass(frozen=True)
class Bandwidth:
    """A measured memory bandwidth with this many threads, in GB/s (10^9 bytes), and the range in which boards of this kind are to be expected.

    kind: of BANDWIDTH_KINDS; source: URL or publication; note: what was measured, on what.
    """

    threads: int
    gb_s: float
    low: float
    high: float
    kind: str
    source: str
    note: str = ""

    def __post_init__(self) -> None:
        _typed(self)
        _positive(self, "threads", "low")
        if not self.low <= self.gb_s <= self.high:
            raise ConfigError(f"gb_s = {self.gb_s} must be in [low, high] = [{self.low}, {self.high}]")
        if self.kind not in BANDWIDTH_KINDS:
            raise ConfigError(f"kind = {self.kind!r} must be one of {', '.join(BANDWIDTH_KINDS)}")
        if not self.source:
            raise ConfigError("source = '' must name where the bandwidth was published")


@dataclasses.dataclass(frozen=True)
class Sensor:
    """Where the device tells its state. what: temperature_mc (thousandths of a degree), throttled, energy_uj, power_w; one of path and command."""

    what: str
    path: str = ""
    command: str = ""

    def __post_init__(self) -> None:
        _typed(self)
        if bool(self.path) == bool(self.command):
            raise ConfigError(f"sensor '{self.what}' needs either a path or a command")


TABLES: dict[str, type] = {"clusters": Cluster, "caches": Cache, "bandwidth": Bandwidth, "sensors": Sensor}


def build_tables(values: dict[str, Any], where: str) -> dict[str, Any]:
    """The fields of a profile with its tables as tuples of the classes above. Raises ConfigError naming the table and its number."""
    out = dict(values)
    for name, cls in TABLES.items():
        rows = values.get(name, [])
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ConfigError(f"{where}: {name} must be a list of tables: [[{name}]]")
        out[name] = tuple(build(cls, row, f"{where}, {name} {n}") for n, row in enumerate(rows, 1))
    for name in ("features", "memory_gb"):
        if name in out:
            if not isinstance(out[name], list):
                raise ConfigError(f"{where}: {name} = {out[name]!r} is not a list")
            out[name] = tuple(out[name])
    return out


def _typed(row: Any) -> None:
    for field in dataclasses.fields(row):
        check_type(field.name, getattr(row, field.name), str(field.type))


def _positive(row: Any, *names: str) -> None:
    for name in names:
        if not getattr(row, name) > 0:
            raise ConfigError(f"{name} = {getattr(row, name)} must be positive")
