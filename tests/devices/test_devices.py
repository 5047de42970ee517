"""Profiles, the cross build and the emulated check."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import pytest

from qig_edge.bench.emulated import NOTE, print_check
from qig_edge.bench.random_model import write_random
from qig_edge.cli import main
from qig_edge.config import ModelConfig
from qig_edge.devices import crossbuild, emulate, host, profile
from qig_edge.devices.crossbuild import SETS, build_program, cmake_lists, source_flags, triple
from qig_edge.devices.profile import device_names, load_profile, target_names, target_profile
from qig_edge.errors import ConfigError, DeviceError, MissingExtra
from tests.conftest import wanted

KERNELS = Path(__file__).resolve().parents[2] / "kernels"
AARCH64 = 183


def test_profiles() -> None:
    assert device_names() == ["android", "laptop", "old-laptop", "rpi-zero2w", "rpi4", "rpi5"]
    assert target_names() == [n for n in device_names() if n != "laptop"] + ["host"]
    bandwidths = 0
    for name in device_names():
        p = load_profile(name)
        assert p.name == name and p.description and p.transport in profile.TRANSPORTS
        if p.target == "host":
            assert not p.bandwidth and not p.clusters, "what is probed is not written down"
            continue
        arm = p.target == "aarch64-linux-musl"
        assert arm == bool(p.emulator_cpu) and (arm or p.target == "x86_64-linux-musl")
        assert 0 < p.cores <= sum(c.cores for c in p.clusters) and p.cpu and p.memory_gb and p.caches and p.features and p.sensors
        assert p.bandwidth
        for b in p.bandwidth:
            assert b.source.startswith("https://") and b.note and 0 < b.low <= b.gb_s <= b.high
            bandwidths += 1
    assert bandwidths >= 7
    assert target_profile("host").is_host
    with pytest.raises(DeviceError, match="unknown device 'c64'"):
        load_profile("c64")


PROFILE = """
name = "toy"
description = "a toy"
target = "aarch64-linux-musl"
[[clusters]]
core = "Cortex-A72"
cores = 4
mhz = 1000
[[bandwidth]]
threads = 1
gb_s = 4.0
low = 3.0
high = 5.0
kind = "read"
source = "https://example.org"
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("mhz = 1000", "mhz = 0", "device 'toy', clusters 1: mhz = 0 must be positive"),
        ("cores = 4", "cors = 4", "clusters 1: unknown field 'cors', did you mean 'cores'"),
        ("gb_s = 4.0", "gb_s = 6.0", r"bandwidth 1: gb_s = 6.0 must be in \[low, high\] = \[3.0, 5.0\]"),
        ('kind = "read"', 'kind = "guess"', "kind = 'guess' must be one of read, copy, decode"),
        ('source = "https://example.org"', 'source = ""', "must name where the bandwidth was published"),
        ("[[bandwidth]]", "[bandwidth]", r"bandwidth must be a list of tables: \[\[bandwidth\]\]"),
        ("gb_s = 4.0", 'gb_s = "4"', "gb_s = '4' is not of type float"),
        ('target = "aarch64-linux-musl"', 'target = "x"\ntransport = "pigeon"', "transport = 'pigeon' must be one of local, ssh, adb"),
        ('name = "toy"', "name = ", "device 'toy' is no TOML"),
        ('name = "toy"', 'name = "toy"\nmemory_gb = 4', "memory_gb = 4 is not a list"),
    ],
)
def test_a_profile_with_a_mistake_is_refused_by_name(old: str, new: str, said: str) -> None:
    assert profile.read_profile(PROFILE, "device 'toy'").clusters[0].mhz == 1000
    assert PROFILE.count(old) == 1
    with pytest.raises(ConfigError, match=said):
        profile.read_profile(PROFILE.replace(old, new), "device 'toy'")


def test_a_sensor_is_a_path_or_a_command() -> None:
    text = PROFILE + '[[sensors]]\nwhat = "power_w"\n'
    assert profile.read_profile(text + 'path = "/sys/power"\n', "toy").sensors[0].path == "/sys/power"
    for more in ("", 'path = "/sys/power"\ncommand = "power"\n'):
        with pytest.raises(ConfigError, match="sensor 'power_w' needs either a path or a command"):
            profile.read_profile(text + more, "toy")


def test_what_no_emulator_is_needed_for_runs_on_its_own_kind_of_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "qig"
    monkeypatch.setattr(emulate.platform, "machine", lambda: "x86_64")
    assert emulate.emulated(load_profile("old-laptop"), program) == [str(program)]
    monkeypatch.setattr(emulate.platform, "machine", lambda: "aarch64")
    with pytest.raises(DeviceError, match="a program for old-laptop runs on x86_64 machines, this one is aarch64"):
        emulate.emulated(load_profile("old-laptop"), program)


def test_a_board_is_its_own_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "board_model", lambda: "Raspberry Pi 4 Model B Rev 1.4")
    assert load_profile("rpi4").is_host and not load_profile("rpi5").is_host and not load_profile("android").is_host


def test_lists_hold_every_source_file_once() -> None:
    lists = cmake_lists(KERNELS / "cmake")
    listed = [f for name, files in lists.items() if name.startswith("QIG_SRC_") for f in files]
    on_disk = {str(p.relative_to(KERNELS)) for p in (KERNELS / "src").rglob("*.c")}
    assert len(on_disk) > 15 and set(listed) == on_disk and len(listed) == len(set(listed))
    for machine, sets in SETS.items():
        sources = source_flags(lists, machine)
        assert "src/main.c" in sources and "src/ops/ref/matmul.c" in sources
        for source in sources:
            folder = source.split("/")[2].upper() if source.startswith("src/ops/") and source.count("/") > 2 else None
            assert folder is None or folder in sets, f"{source} is not for {machine}"


def test_host_triple(monkeypatch: pytest.MonkeyPatch) -> None:
    laptop = load_profile("laptop")
    monkeypatch.setattr(crossbuild.sys, "platform", "linux")
    for name, expected in (("x86_64", "x86_64-linux-musl"), ("aarch64", "aarch64-linux-musl")):
        monkeypatch.setattr(crossbuild.platform, "machine", lambda name=name: name)
        assert triple(laptop) == expected
    monkeypatch.setattr(crossbuild.platform, "machine", lambda: "riscv64")
    with pytest.raises(DeviceError, match="riscv64"):
        triple(laptop)


def test_what_a_build_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rpi4 = load_profile("rpi4")
    with pytest.raises(DeviceError, match="is a folder"):
        build_program(rpi4, tmp_path)
    monkeypatch.setattr(crossbuild, "kernel_sources", lambda: None)
    with pytest.raises(DeviceError, match="C sources are not in this installation"):
        build_program(rpi4, tmp_path / "qig")
    monkeypatch.setattr(crossbuild.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"qig-edge\[cross\]"):
        build_program(rpi4, tmp_path / "qig")


def test_a_source_that_does_not_compile_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ziglang")
    kernels = tmp_path / "kernels"
    for folder in ("include", "src", "cmake"):
        (kernels / folder).mkdir(parents=True)
    (kernels / "cmake" / "sources.cmake").write_text("set(QIG_SRC_MAIN src/main.c)\n")
    (kernels / "src" / "main.c").write_text("int main(void) { return oops; }\n")
    monkeypatch.setattr(crossbuild, "kernel_sources", lambda: kernels)
    with pytest.raises(DeviceError, match="src/main.c does not compile: .*oops") as caught:
        build_program(load_profile("rpi4"), tmp_path / "qig")
    assert "\n" not in str(caught.value) and not (tmp_path / "qig").exists()


def test_sources_of_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "qig_edge"
    (package / "_kernels" / "include").mkdir(parents=True)
    monkeypatch.setattr(host, "PACKAGE", package)
    assert host.kernel_sources() is None
    (package / "_kernels" / "include" / "qig.h").write_text("")
    assert host.kernel_sources() == package / "_kernels"


def test_missing_emulator_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulate.shutil, "which", lambda name: None)
    with pytest.raises(DeviceError, match="qemu-aarch64-static is not installed: run 'apt install qemu-user-static'"):
        emulate.emulator()


@pytest.mark.slow
def test_the_pi_program_is_static_and_writes_this_machines_text(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ziglang")
    model = tmp_path / "tiny.gguf"
    shape = {
        "d_model": 64,
        "n_layers": 2,
        "n_heads": 2,
        "n_kv_heads": 1,
        "head_dim": 32,
        "hidden_dim": 96,
        "basin_dim": 32,
        "context_length": 128,
    }
    write_random(ModelConfig.from_dict({"vocab_size": 320, **shape}), "tiny", model, seed=3)
    program = tmp_path / "qig-rpi4"
    build_program(load_profile("rpi4"), program)
    data = program.read_bytes()
    assert data[:5] == b"\x7fELF\x02" and struct.unpack_from("<H", data, 18)[0] == AARCH64
    start, size, count = struct.unpack_from("<Q", data, 32)[0], *struct.unpack_from("<HH", data, 54)
    kinds = [struct.unpack_from("<I", data, start + i * size)[0] for i in range(count)]
    assert 1 in kinds and 3 not in kinds, "a static program has no interpreter"
    assert len(data) < 1_500_000
    if not any(shutil.which(name) for name in emulate.EMULATORS):
        wanted("qemu-user-static")
    with pytest.raises(SystemExit) as left:
        main(["bench", str(model), "--device", "rpi4", "--json"])
    assert not left.value.code
    row = json.loads(capfd.readouterr().out)
    assert row["predicted"] is True and row["device"] == "rpi4"
    checked = row["emulated"]
    assert checked["same_text"] and len(checked["text"]) > len(emulate.PROMPT) and checked["note"] == NOTE
    assert checked["program_bytes"] == len(data) and checked["emulator_cpu"] == "cortex-a72"
    print_check(checked)
    out = capfd.readouterr().out
    assert "MB" in out and NOTE in out and "tok/s" not in out
    print_check({**checked, "same_text": False, "host_text": "other"})
    assert "DIFFERS" in capfd.readouterr().out
