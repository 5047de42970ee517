"""Speed of a model on a device that is not there: bytes and cycles a token, the profile's bandwidth, and few fitted constants.

    memory  = bytes / (share x bandwidth(threads))        share of the profile's bandwidth that decoding reaches: fitted for each device
    compute = cycles / (reach x clock x threads)          reach 1 for decoding; for prefill the share of the loops' own speed: fitted for each device
    seconds = (memory^4 + compute^4)^(1/4) + block_cycles x blocks / clock

The fourth power stands for two pipes that overlap but for their edges: the slower one decides, and where both take equally long a token takes
1.19 times as long. block_cycles, of what stands between products (norms, waiting for each other), is fitted over all devices. The constants come
from validation.toml (validate.py), cycles from kernels.toml. What comes out is a prediction and is marked as one wherever it is shown.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources

from qig_edge.devices.profile import Profile
from qig_edge.errors import ConfigError, DeviceError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ENGINES = ("libqig", "llama.cpp")
POWER = 4
UNIT = 32  # weights a unit of kernels.toml
ENTRIES = 128  # entries of the key that its cycles are of
COLUMNS = 4  # columns of the product that its second number is of


@dataclasses.dataclass(frozen=True)
class Kernels:
    """Cycles of one engine's loops on one processor. weights: by type, cycles of 32 weights times one column and times four; key, value: of 128
    entries; score: of one pair."""

    processor: str
    engine: str
    source: str
    weights: dict[str, list[float]]
    key: float
    value: float
    score: float

    def product(self, weights: Mapping[str, float], prefill: bool = False) -> float:
        """Cycles of one token through matrices of so many weights by type; a type that is not known counts as Q8_0."""
        column = 1 if prefill else 0
        a_unit = {kind: cycles[column] / (COLUMNS if prefill else 1) for kind, cycles in self.weights.items()}
        return sum(count / UNIT * a_unit.get(kind, a_unit["q8_0"]) for kind, count in weights.items())

    def attention(self, keys: float, values: float, entries: int) -> float:
        """Cycles of scoring so many keys and adding so many values of `entries` entries, each counted once for every query head."""
        return (keys * self.key + values * self.value) * entries / ENTRIES + keys * self.score


@dataclasses.dataclass(frozen=True)
class Work:
    """What one token asks for: bytes read, cycles of arithmetic of one core, blocks run."""

    bytes: float
    cycles: float
    blocks: float


@dataclasses.dataclass(frozen=True)
class Machine:
    """What a prediction takes from a profile. gb_s: bandwidth by threads, rising; spread: a standard deviation of its logarithm, four of
    which are the range in which boards lie."""

    name: str
    clock_hz: float
    gb_s: tuple[tuple[int, float], ...]
    spread: float
    kind: str

    def bandwidth(self, threads: int) -> float:
        """Bytes a second with so many threads: between two measurements on a straight line, outside of them the nearest one's."""
        points = self.gb_s
        for (low, at_low), (high, at_high) in zip(points, points[1:], strict=False):
            if low <= threads <= high:
                return (at_low + (at_high - at_low) * (threads - low) / (high - low)) * 1e9
        return (points[0] if threads < points[0][0] else points[-1])[1] * 1e9


@dataclasses.dataclass(frozen=True)
class Constants:
    """What is fitted. share, reach: by device; block_cycles, and the most of them that the rows allow (two standard deviations); spread,
    prefill_spread: standard deviation of the logarithm of predicted over measured decode and prefill rates; rows: measurements by device."""

    share: dict[str, float]
    reach: dict[str, float]
    block_cycles: float
    most_block_cycles: float
    spread: float
    prefill_spread: float
    rows: dict[str, int]


@cache
def all_kernels() -> tuple[Kernels, ...]:
    """The table of kernels.toml."""
    text = (resources.files("qig_edge") / "bench" / "kernels.toml").read_text("utf-8")
    return tuple(Kernels(**row) for row in tomllib.loads(text)["kernels"])


def kernels(processor: str, engine: str) -> Kernels | None:
    """The cycles of an engine on a processor; None where they are not known."""
    return next((k for k in all_kernels() if (k.processor, k.engine) == (processor, engine)), None)


def machine(profile: Profile, mhz: int = 0) -> Machine:
    """What a prediction takes from a profile, at another clock where mhz is given. Raises DeviceError for one without bandwidth or clocks."""
    if not profile.bandwidth or not profile.clusters:
        raise DeviceError(
            f"device '{profile.name}' has no memory bandwidth and clock in its profile: nothing can be predicted; devices with both: rpi4, rpi5,"
            " rpi-zero2w, old-laptop, android"
        )
    rows = sorted(profile.bandwidth, key=lambda b: b.threads)
    return Machine(
        profile.name,
        (mhz or profile.clusters[0].mhz) * 1e6,
        tuple((b.threads, b.gb_s) for b in rows),
        max(math.log(b.high / b.low) / 4 for b in rows),
        rows[0].kind,
    )


def memory_seconds(work: Work, at: Machine, threads: int, share: float) -> float:
    """Seconds in which memory gives a token's bytes."""
    return work.bytes / (share * at.bandwidth(threads))


def compute_seconds(work: Work, at: Machine, threads: int, reach: float = 1.0) -> float:
    """Seconds in which the cores do a token's arithmetic."""
    return work.cycles / (reach * at.clock_hz * threads)


def decode_seconds(work: Work, at: Machine, threads: int, share: float, block_cycles: float) -> float:
    """Seconds of one token, generated one at a time."""
    memory, compute = memory_seconds(work, at, threads, share), compute_seconds(work, at, threads)
    return float((memory**POWER + compute**POWER) ** (1 / POWER) + block_cycles * work.blocks / at.clock_hz)


def prefill_seconds(cycles: float, at: Machine, threads: int, reach: float, memory: float = 0.0) -> float:
    """Seconds a token of a prompt that is read many tokens at a time. memory: a token's share of the seconds in which the weights come once."""
    return float((memory**POWER + (cycles / (reach * at.clock_hz * threads)) ** POWER) ** (1 / POWER))


def pooled(values: Mapping[str, float], names: Sequence[str]) -> float:
    """Geometric mean over those devices. Raises ConfigError where there is none."""
    if not names:
        raise ConfigError("no device to take a constant from")
    return math.exp(sum(math.log(values[n]) for n in names) / len(names))


def share_of(at: Machine, constants: Constants, kinds: Mapping[str, str]) -> tuple[float, bool]:
    """The share of a device's bandwidth that decoding reaches, and whether it was fitted on that device. Where it was not: 1 of a bandwidth that
    decoding gave, else the mean of devices whose bandwidth is of the same kind (kinds: of each device), else of all."""
    if at.name in constants.share:
        return constants.share[at.name], True
    if at.kind == "decode":
        return 1.0, False
    alike = [n for n in constants.share if kinds.get(n) == at.kind]
    return pooled(constants.share, alike or list(constants.share)), False
