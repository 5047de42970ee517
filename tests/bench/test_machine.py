"""The machine's state from /sys and /proc, on trees made up for the purpose."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from qig_edge.bench.identity import model_hash
from qig_edge.bench.machine import busy_cores, machine, machine_state, throttle, throttling

CPU = "sys/devices/system/cpu"


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


def pi(root: Path, flags: str) -> Path:
    return tree(root, {"sys/devices/platform/soc/soc:firmware/get_throttled": flags})


def test_nothing_known_is_none(tmp_path: Path) -> None:
    state = machine_state(tmp_path)
    assert state["governor"] is state["temperature_c"] is state["frequency_mhz"] is state["swapped_in_pages"] is None
    assert state["throttle"]["source"] is None and "no throttling flags" in state["throttle"]["reason"]
    assert throttling(state, state) == {"throttled": None, "why": state["throttle"]["reason"]}
    assert machine(tmp_path)["last_cache_bytes"] is None and machine(tmp_path)["board"] is None


def test_a_raspberry_pi(tmp_path: Path) -> None:
    cluster = {f"{CPU}/cpu{i}/cpufreq/{name}": text for i in range(4) for name, text in (
        ("scaling_governor", "ondemand"), ("scaling_cur_freq", "1500000"), ("cpuinfo_max_freq", "1800000"))}  # fmt: skip
    tree(tmp_path, {**cluster, "proc/vmstat": "pgpgin 5\npswpin 77\npswpout 3", "proc/device-tree/model": "Raspberry Pi 4 Model B\0"})
    tree(tmp_path, {"sys/class/thermal/thermal_zone0/type": "cpu-thermal", "sys/class/thermal/thermal_zone0/temp": "61350"})
    tree(tmp_path, {f"{CPU}/cpu0/cache/index2/size": "1024K", f"{CPU}/cpu0/cache/index0/size": "32K"})
    state = machine_state(pi(tmp_path, "50005"))
    assert state["governor"] == "ondemand" and state["frequency_mhz"] == 1500 and state["frequency_limit_mhz"] == 1800
    assert state["temperature_c"] == 61.35 and state["temperature_sensor"] == "cpu-thermal" and state["swapped_in_pages"] == 77
    assert state["throttle"]["now"] == ["under-voltage", "throttled"] == state["throttle"]["since_start"]
    assert machine(tmp_path)["last_cache_bytes"] == 1 << 20 and machine(tmp_path)["board"] == "Raspberry Pi 4 Model B"


@pytest.mark.parametrize(
    ("before", "after", "throttled", "why"),
    [
        ("0", "0", False, "nothing during the run"),
        ("50000", "50000", False, "nothing"),  # earlier than the run
        ("0", "8", True, "soft temperature limit"),
        ("0", "20000", True, "frequency capped"),  # came and went between the two looks
        ("1", "10000", True, "under-voltage"),
    ],
)
def test_flags_of_a_pi(tmp_path: Path, before: str, after: str, throttled: bool, why: str) -> None:
    states = [{"throttle": throttle(pi(tmp_path, flags))} for flags in (before, after)]
    found = throttling(*states)
    assert found["throttled"] is throttled and why in found["why"]


def test_counters_of_x86(tmp_path: Path) -> None:
    def state(core: int) -> dict:
        names = {f"{CPU}/cpu{i}/thermal_throttle/core_throttle_count": str(core) for i in range(2)}
        return {"throttle": throttle(tree(tmp_path, {**names, f"{CPU}/cpu0/thermal_throttle/package_throttle_count": "9"}))}

    first, last = state(3), state(5)
    assert first["throttle"]["count"] == 15
    assert throttling(first, first)["throttled"] is False
    assert throttling(first, last) == {"throttled": True, "why": "4 throttle events counted during the run"}


def test_sensors(tmp_path: Path) -> None:
    zone = "sys/class/thermal/thermal_zone"
    tree(tmp_path, {f"{zone}0/type": "acpitz", f"{zone}0/temp": "27800", f"{zone}1/type": "x86_pkg_temp", f"{zone}1/temp": "55000"})
    assert machine_state(tmp_path)["temperature_c"] == 55
    tree(tmp_path, {"sys/class/hwmon/hwmon0/name": "nvme", "sys/class/hwmon/hwmon0/temp1_input": "99000"})
    tree(tmp_path, {"sys/class/hwmon/hwmon1/name": "k10temp", "sys/class/hwmon/hwmon1/temp1_input": "71000"})
    assert (machine_state(tmp_path)["temperature_c"], machine_state(tmp_path)["temperature_sensor"]) == (71, "k10temp")
    tree(tmp_path, {"sys/class/hwmon/hwmon1/temp1_input": "-274000", f"{zone}1/temp": "nonsense"})
    assert machine_state(tmp_path)["temperature_c"] is None
    assert machine_state(tree(tmp_path, {f"{CPU}/cpu{i}/cpufreq/scaling_governor": g for i, g in enumerate(("schedutil", "performance"))}))[
        "governor"
    ] == "performance,schedutil"  # fmt: skip


def test_this_machine() -> None:
    here = machine()
    assert here["cores"] >= 1 and here["memory_bytes"] > 1 << 20
    busy = busy_cores(0.05)
    assert busy is not None and 0 <= busy <= 4096


def test_a_system_that_keeps_its_load_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    def closed(interval: float) -> None:
        raise PermissionError(13, "Permission denied", "/proc/stat")

    monkeypatch.setattr(psutil, "cpu_times_percent", closed)
    assert busy_cores() is None


def test_hash_of_a_file_and_of_a_folder(tmp_path: Path) -> None:
    file = tmp_path / "b.bin"
    file.write_bytes(bytes(range(256)) * 40000)
    told: list[tuple[int, int, str]] = []
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert model_hash(file, lambda *at: told.append(at)) == digest
    assert len(told) == 3 and told[-1][0] == told[-1][1] == 9
    (tmp_path / "a.json").write_text("{}")
    listed = f"{hashlib.sha256(b'{}').hexdigest()}  a.json\n{digest}  b.bin\n"
    assert model_hash(tmp_path) == hashlib.sha256(listed.encode()).hexdigest()
