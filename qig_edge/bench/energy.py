"""Meters of energy: what a machine spends while it decodes, where something measures it.

RAPL (x86, /sys/class/powercap) counts the energy of processor packages in microjoules and wraps around. The Raspberry Pi 5 tells currents and
voltages of its supplies (`vcgencmd pmic_read_adc`): power, summed over time here; what hangs on its 5 V pins is not in it. A phone or a laptop on
battery tells what the battery gives: the whole device, screen included.

A meter has `source`, what it covers, and read(): joules since it was opened. read() is to be called at least every PERIOD seconds, which keeps
RAPL's wrap-around from passing unseen and power from being summed over too few values; Watched does so from a thread.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Protocol

from qig_edge.bench.machine import ROOT, number, read

PERIOD = 0.5
ADC = re.compile(r"(\S+)_([AV])\s+(?:current|volt)\(\d+\)=([0-9.]+)[AV]")
LEAST_WATTS, MOST_WATTS = (
    0.05,
    500.0,
)  # of a battery: beyond these its units are not those of the kernel's documentation


class NoMeter(Exception):
    """Nothing measures energy here; the message says why."""


class Meter(Protocol):
    """Joules since it was opened."""

    source: str

    def read(self) -> float:
        """Joules so far. Raises NoMeter where the meter stopped to answer."""
        ...


class Rapl:
    """Packages of RAPL. Each counter runs to its max_energy_range_uj and begins again at 0; read before it can do so twice."""

    def __init__(self, root: Path = ROOT) -> None:
        folder = root / "sys/class/powercap"
        # intel-rapl:0 is a package, intel-rapl:0:0 a part of it; psys would count the packages again
        zones = [p for p in sorted(folder.glob("intel-rapl:*")) if p.name.count(":") == 1]
        self._zones = [p for p in zones if (read(p / "name") or "").startswith("package")]
        if not self._zones:
            raise NoMeter("no RAPL packages in /sys/class/powercap")
        self._ranges = [number(p / "max_energy_range_uj") or 0 for p in self._zones]
        self._last = [self._value(p) for p in self._zones]
        self._joules = 0.0
        self.source = f"RAPL, {len(self._zones)} package{'s' * (len(self._zones) > 1)}, without memory and the rest of the machine"

    def _value(self, zone: Path) -> int:
        value = number(zone / "energy_uj")
        if value is None:
            raise NoMeter(f"{zone / 'energy_uj'} is not readable: since 2020 only root may read it")
        return value

    def read(self) -> float:
        for i, zone in enumerate(self._zones):
            value = self._value(zone)
            step = value - self._last[i]
            if step < 0:
                step += self._ranges[i]
                if step < 0:
                    raise NoMeter(f"{zone / 'energy_uj'} went back by more than its range")
            self._joules += step / 1e6
            self._last[i] = value
        return self._joules


class Summed:
    """Power read now and then and summed over time by the trapezoid rule."""

    def __init__(self, watts: Callable[[], float], source: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._watts, self._clock, self.source = watts, clock, source
        self._joules, self._then, self._before = 0.0, clock(), watts()

    def read(self) -> float:
        watts, now = self._watts(), self._clock()
        self._joules += (watts + self._before) / 2 * (now - self._then)
        self._then, self._before = now, watts
        return self._joules


def pmic_watts(text: str) -> float:
    """Sum of current times voltage over the supplies that `vcgencmd pmic_read_adc` lists with both. Raises NoMeter where it lists none."""
    values: dict[str, dict[str, float]] = {}
    for name, kind, value in ADC.findall(text):
        values.setdefault(name, {})[kind] = float(value)
    pairs = [v["A"] * v["V"] for v in values.values() if len(v) == 2]
    if not pairs:
        raise NoMeter(
            "vcgencmd pmic_read_adc lists no supply with current and voltage: only a Raspberry Pi 5 has this meter"
        )
    return sum(pairs)


def battery_watts(supply: Path) -> float:
    """What a battery gives at this moment, in watts. Raises NoMeter while it is charged, and for values that cannot be watts."""
    status = read(supply / "status")
    if status != "Discharging":
        raise NoMeter(f"the battery is not discharging (it says '{status}'): unplug the charger to measure energy")
    power, current, voltage = (number(supply / f) for f in ("power_now", "current_now", "voltage_now"))
    if current is not None and voltage is not None:
        watts = abs(current) * voltage / 1e12  # microamperes, of either sign, times microvolts
    elif power is not None:
        watts = abs(power) / 1e6
    else:
        raise NoMeter(f"{supply.name} tells neither current and voltage nor power")
    if not LEAST_WATTS <= watts <= MOST_WATTS:
        raise NoMeter(f"{supply.name} would give {watts:.3g} W: its current or voltage is not in micro-units")
    return watts


def open_meter(root: Path = ROOT) -> Meter:
    """The first meter that answers: RAPL, the Pi 5's supplies, a battery. Raises NoMeter with the reasons of all."""
    reasons = []
    for make in (Rapl, _pmic, _battery):
        try:
            return make(root)
        except NoMeter as e:
            reasons.append(str(e))
    raise NoMeter("; ".join(reasons))


def _pmic(root: Path) -> Meter:
    program = shutil.which("vcgencmd") if root == ROOT else None
    if program is None:
        raise NoMeter("no vcgencmd")

    def watts() -> float:
        try:
            done = subprocess.run([program, "pmic_read_adc"], capture_output=True, text=True, timeout=5, check=True)
        except (OSError, subprocess.SubprocessError):
            raise NoMeter("vcgencmd pmic_read_adc does not answer: only a Raspberry Pi 5 has this meter") from None
        return pmic_watts(done.stdout)

    return Summed(watts, "the Pi 5's supplies (pmic_read_adc), without what hangs on its 5 V pins")


def _battery(root: Path) -> Meter:
    supplies = [p for p in sorted((root / "sys/class/power_supply").glob("*")) if read(p / "type") == "Battery"]
    supplies = [p for p in supplies if read(p / "scope") != "Device"]  # a mouse has a battery too
    if not supplies:
        raise NoMeter("no battery")
    return Summed(lambda: sum(map(battery_watts, supplies)), "the battery: the whole device, screen included")


class Watched:
    """A meter read every PERIOD seconds from a thread of its own, so that a slow token loses nothing; a context manager.

    joules(): so far, None once the meter stopped to answer; `reason` then says why.
    """

    def __init__(self, meter: Meter) -> None:
        self.source = meter.source
        self.reason: str | None = None
        self._meter, self._lock, self._done = meter, threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def joules(self) -> float | None:
        with self._lock:
            if self.reason is None:
                try:
                    return self._meter.read()
                except NoMeter as e:
                    self.reason = str(e)
            return None

    def _watch(self) -> None:
        while not self._done.wait(PERIOD):
            self.joules()

    def __enter__(self) -> Watched:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
