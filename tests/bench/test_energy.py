"""Meters and counters: arithmetic on made-up readings, the real system call where there is one."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest

from qig_edge.bench import energy as energy_module
from qig_edge.bench.counters import CYCLES, HARDWARE, SOFTWARE, TASK_CLOCK, Counter, NoCounter
from qig_edge.bench.energy import NoMeter, Rapl, Summed, Watched, battery_watts, open_meter, pmic_watts
from tests.bench.test_machine import tree

RAPL = "sys/class/powercap/intel-rapl"


def rapl(root: Path, *values: int, most: int = 1_000_000) -> Path:
    for i, value in enumerate(values):
        zone = f"{RAPL}:{i}"
        tree(root, {f"{zone}/name": f"package-{i}", f"{zone}/energy_uj": str(value), f"{zone}/max_energy_range_uj": str(most)})
    return root


def test_rapl_wraps_around(tmp_path: Path) -> None:
    meter = Rapl(rapl(tmp_path, 900_000, 100))
    # parts of a package and the whole platform would be counted twice
    tree(tmp_path, {f"{RAPL}:0:0/name": "core", f"{RAPL}:0:0/energy_uj": "1", f"{RAPL}:9/name": "psys", f"{RAPL}:9/energy_uj": "5"})
    assert "2 packages" in meter.source and meter.read() == 0
    rapl(tmp_path, 50_000, 100)
    assert meter.read() == pytest.approx(0.15)
    rapl(tmp_path, 250_000, 600_100)
    assert meter.read() == pytest.approx(0.15 + 0.2 + 0.6)


def test_rapl_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(NoMeter, match="no RAPL"):
        Rapl(tmp_path)
    meter = Rapl(rapl(tmp_path, 5))
    (tmp_path / f"{RAPL}:0/energy_uj").unlink()
    with pytest.raises(NoMeter, match="only root"):
        meter.read()
    with pytest.raises(NoMeter, match="only root"):
        Rapl(tmp_path)
    meter = Rapl(rapl(tmp_path, 5_000_000, most=1_000))
    rapl(tmp_path, 5, most=1_000)
    with pytest.raises(NoMeter, match="more than its range"):
        meter.read()


def test_power_is_summed_by_trapezoids() -> None:
    times, watts = iter([0.0, 1.0, 3.0]), iter([2.0, 4.0, 4.0])
    meter = Summed(lambda: next(watts), "a meter", lambda: next(times))
    assert meter.read() == 3.0 and meter.read() == 11.0


def test_supplies_of_a_pi_5() -> None:
    text = """    3V7_WL_SW_A current(0)=0.50000000A
       VDD_CORE_A current(7)=2.00000000A
       3V7_WL_SW_V volt(8)=3.60000000V
       VDD_CORE_V volt(15)=0.90000000V
          EXT5V_V volt(24)=5.10000000V"""
    assert pmic_watts(text) == pytest.approx(0.5 * 3.6 + 2.0 * 0.9)
    for nothing in ("", "EXT5V_V volt(24)=5.1V", "Command not registered"):
        with pytest.raises(NoMeter, match="Raspberry Pi 5"):
            pmic_watts(nothing)


def battery(root: Path, **values: str) -> Path:
    tree(root, {f"sys/class/power_supply/battery/{k}": v for k, v in {"type": "Battery", "status": "Discharging", **values}.items()})
    return root / "sys/class/power_supply/battery"


def test_battery(tmp_path: Path) -> None:
    supply = battery(tmp_path, current_now="-850000", voltage_now="3900000")
    assert battery_watts(supply) == pytest.approx(3.315)
    assert "battery" in open_meter(tmp_path).source
    battery(tmp_path, current_now="-850")  # milliamperes, against the kernel's documentation
    with pytest.raises(NoMeter, match="micro-units"):
        battery_watts(supply)
    battery(tmp_path, status="Charging")
    with pytest.raises(NoMeter, match="unplug"):
        battery_watts(supply)
    with pytest.raises(NoMeter, match="no RAPL.*no vcgencmd.*unplug"):
        open_meter(tmp_path)
    other = battery(tmp_path / "laptop", power_now="9000000")
    assert battery_watts(other) == 9.0
    bare = battery(tmp_path / "bare")
    with pytest.raises(NoMeter, match="tells neither"):
        battery_watts(bare)


def test_watched_reads_by_itself_and_says_when_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ending:
        source, reads = "a meter", 0

        def read(self) -> float:
            self.reads += 1
            if self.reads > 5:
                raise NoMeter("the battery is not discharging")
            return float(self.reads)

    monkeypatch.setattr(energy_module, "PERIOD", 0.01)
    meter = Ending()
    with Watched(meter) as watched:
        assert watched.joules() is not None
        for _ in range(1000):
            if watched.reason:
                break
            time.sleep(0.01)
        assert watched.reason == "the battery is not discharging" and watched.joules() is None
    assert meter.reads == 6


def test_a_counter_counts_the_threads_that_follow() -> None:
    try:
        counter = Counter(SOFTWARE, TASK_CLOCK)
    except NoCounter as e:
        pytest.skip(f"no perf events here: {e}")
    def work() -> None:
        begin = time.thread_time()
        while time.thread_time() - begin < 0.05:
            pass

    with counter:
        counter.start()
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        counted = counter.stop()
        assert counted >= 0.04e9  # nanoseconds of work, all of it the other thread's
        work()
        assert counter.stop() == counted


def test_a_counter_that_is_not_there_says_why() -> None:
    with pytest.raises(NoCounter, match=r"hidden here|perf_event_open|closed to this user|read on Linux"):
        Counter(HARDWARE, 999)
    if sys.platform == "linux":
        try:
            Counter(HARDWARE, CYCLES).close()
        except NoCounter as e:
            assert len(str(e)) > 20 and "\n" not in str(e)
