"""What a machine has of what is needed: probes of this machine, of a phone's double, and of machines that a text plays."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from qig_edge.cli import main
from qig_edge.cli.doctor import examine
from qig_edge.devices import doctor
from qig_edge.devices.doctor import Finding, Wants, examine_machine, examine_tools, findings, here, wants_of
from qig_edge.devices.probe import SCRIPT, parse
from qig_edge.errors import DeviceError, ModelFileError
from qig_edge.runtime.assets import model_path
from tests.conftest import wanted
from tests.devices.conftest import PI

ROOT = Path(__file__).resolve().parents[2]
WELL = PI.replace("throttled=0x50005", "throttled=0x0")
WANTS = Wants("aarch64", memory=100_000_000, space=60_000_000, model="m.gguf", remote=True)


def by_name(found: list[Finding]) -> dict[str, Finding]:
    assert len({f.what for f in found}) == len(found)
    for f in found:
        assert f.found and (f.ok or f.mend), f
    return {f.what: f for f in found}


def read(told: str, wants: Wants = WANTS) -> dict[str, Finding]:
    found = parse(told)
    assert found is not None
    return by_name(findings(found, wants))


def test_a_pi_that_is_well() -> None:
    found = read(WELL)
    assert all(f.ok for f in found.values()) and len(found) == 7
    assert found["system"].found == "aarch64, 64-bit, Raspberry Pi 4 Model B Rev 1.4"
    assert found["instructions"].found == "NEON" and found["governor"].found == "ondemand"
    assert found["memory"].found == "3.38 GB available of 3.98 GB; m.gguf takes 0.10 GB"
    assert found["free space"].found == "18.94 GB" and found["power and heat"].found == "neither under-voltage nor throttling"
    assert {f.what for f in found.values() if f.needed} == {"system", "memory", "free space", "sha256sum"}


@pytest.mark.parametrize(
    ("told", "found", "mend"),
    [
        ("throttled=0x50005", "under-voltage, throttled now", "official power supply and its own cable; cool it"),
        ("50000", "under-voltage, throttled since it was started", "official power supply"),
        ("80008", "soft temperature limit now", "cool it: a heat sink or a fan"),
        ("0x20000", "frequency capped since it was started", "cool it"),
        ("throttled=0x0", "neither", ""),
    ],
)
def test_the_firmwares_flags(told: str, found: str, mend: str) -> None:
    power = read(PI.replace("throttled=0x50005", told))["power and heat"]
    assert found in power.found and mend in power.mend and power.ok == (not mend) and not power.needed


@pytest.mark.parametrize(
    ("old", "new", "what", "mend"),
    [
        ("class 02", "class 01", "system", "64-bit Raspberry Pi OS"),
        ("arch aarch64", "arch armv7l", "system", "64-bit Raspberry Pi OS"),
        ("arch aarch64", "arch x86_64", "system", "name the device that it is with --device: this one has a program for aarch64"),
        ("3300000 kB", "50000 kB", "memory", "take a smaller model: m.gguf does not fit"),
        (" 18500000 ", " 100000 ", "free space", "free 24.7 MB on that disk"),
        ("qig-told sha256sum there\n", "", "sha256sum", "take a newer system"),
    ],
)
def test_what_is_needed_and_not_there(old: str, new: str, what: str, mend: str) -> None:
    assert old in WELL
    found = read(WELL.replace(old, new))
    assert not found[what].ok and found[what].needed and mend in found[what].mend
    assert [f.what for f in found.values() if not f.ok] == [what]


def test_governors() -> None:
    slow = WELL + "qig-file /sys/devices/system/cpu/cpu4/cpufreq/scaling_governor\n powersave\n\n"
    assert read(slow)["governor"].found == "ondemand, powersave" and "scaling_governor" in read(slow)["governor"].mend
    assert "battery saver" in read(slow, dataclasses.replace(WANTS, phone=True))["governor"].mend
    assert read(slow + "qig-told pstate there\n")["governor"].ok
    assert not read(slow)["governor"].needed


def test_a_machine_that_tells_nothing() -> None:
    """No Linux: no /proc, no /sys."""
    found = read("qig-told system Darwin\nqig-told arch arm64\nqig-told bits \n", dataclasses.replace(WANTS, remote=False))
    assert found["system"].ok and set(found) == {"system", "instructions", "memory", "free space"}
    assert not found["free space"].ok and not found["free space"].needed


def test_this_machine() -> None:
    found = by_name(examine_machine(here, Wants(memory=1, model="m.gguf")))
    assert platform.machine() in found["system"].found and found["system"].ok and found["memory"].ok
    if sys.platform == "linux":
        free = shutil.disk_usage(".").free
        shown, unit = found["free space"].found.split()
        assert float(shown) * {"GB": 1e9, "MB": 1e6}[unit] == pytest.approx(free, rel=0.05, abs=1e9)
    assert not read(here(["sh", "-c", SCRIPT, "qig", "."]).stdout.decode(), Wants(memory=1 << 60, model="m"))["memory"].ok


def test_the_probe_in_androids_own_shell() -> None:
    """Each of its lines comes from mksh and toybox as from any Linux."""
    mksh, toybox = shutil.which("mksh"), shutil.which("toybox")
    if not mksh or not toybox:
        wanted("mksh or toybox")
    tools = "\n".join(f"{name}() {{ {toybox} {name} \"$@\"; }}" for name in ("uname", "getconf", "nproc", "od", "dirname", "df", "sed"))
    done = subprocess.run([mksh, "-c", f"{tools}\n{SCRIPT}", "qig", "."], capture_output=True, text=True, env={"PATH": "/nowhere"})
    assert done.returncode == 0 and not done.stderr.strip()
    found = read(done.stdout, Wants(memory=1, model="m"))
    assert found["system"].ok and found["memory"].ok and found["free space"].ok


def test_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    found = by_name(examine_tools(["ziglang", "adb"]))
    for what, mend in (
        ("qemu", "run 'apt install qemu-user-static'"),
        ("adb", "run 'apt install adb'"),
        ("ssh", "run 'apt install openssh-client'"),
        ("ziglang", "run \"pip install 'qig-edge[cross]'\""),
    ):
        assert not found[what].ok and found[what].mend.startswith(mend) and found[what].needed == (what in ("ziglang", "adb"))
    assert found["C compiler"].ok and "none needed" in found["C compiler"].found
    for name in ("adb", "ssh", "gcc", "qemu-aarch64-static"):
        script = tmp_path / name
        script.write_text("#!/bin/sh\necho 'Android Debug Bridge version 1.0.41'\n")
        script.chmod(0o755)
    found = by_name(examine_tools([]))
    assert all(found[what].ok and str(tmp_path) in found[what].found for what in ("adb", "ssh", "qemu", "C compiler"))
    assert not any(f.needed for f in found.values())
    (tmp_path / "adb").write_text("#!/bin/sh\necho 'Android Debug Bridge version 1.0.32'\n")
    assert not by_name(examine_tools([]))["adb"].ok


def test_a_library_that_is_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QIG_EDGE_BUILD", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    found = by_name(examine_tools(["libqig"]))
    assert not found["libqig"].ok and found["libqig"].needed and str(tmp_path) in found["libqig"].mend
    assert not found["C compiler"].ok and found["C compiler"].needed and found["C compiler"].mend == "run 'apt install build-essential'"


def test_what_a_model_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = model_path(None)
    size = path.stat().st_size
    wants = wants_of(path, "aarch64", remote=True)
    assert wants.memory > size == wants.space and wants.exact and wants.model == path.name and wants_of(path).space == 0
    (tmp_path / "bad.gguf").write_bytes(b"nothing")
    with pytest.raises(ModelFileError, match="bad.gguf"):
        wants_of(tmp_path / "bad.gguf")
    assert "m.gguf takes 100.0 MB or more" in read(WELL, dataclasses.replace(WANTS, memory=99_999_999, exact=False))["memory"].found


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(["doctor", *args])
    out, err = capsys.readouterr()
    return int(left.value.code or 0), out, err


def test_command(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = run(capsys)
    assert code == 0 and not err and out.startswith("this machine\n  ok       libqig ")
    code, out, _ = run(capsys, "--json")
    told = json.loads(out)
    assert code == 0 and told["ok"] is True and told["machines"][0]["name"] == "this machine"
    assert {f["what"] for f in told["machines"][0]["findings"]} >= {"libqig", "adb", "ssh", "qemu", "ziglang", "memory", "free space", "system"}
    assert run(capsys, "--device", "c64")[0] == 2
    child = [sys.executable, "-m", "qig_edge.cli", "doctor"]
    done = subprocess.run(child, cwd=ROOT, env={**os.environ, "QIG_EDGE_BUILD": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 1 and "  missing  libqig " in done.stdout and " or more\n" in done.stdout and not done.stderr
    ssh = tmp_path / "ssh"
    ssh.write_text('#!/bin/sh\n[ "$1" = -G ] && exit 0\necho "ssh: connect to host nowhere port 22: Connection refused" >&2; exit 255\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("QIG_EDGE_SSH", str(ssh))
    code, out, _ = run(capsys, "--device", "rpi4", "--host", "pi@nowhere")
    assert code == 1 and "-> pi@nowhere cannot be reached: ssh: connect to host nowhere port 22: Connection refused" in out
    ssh.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    code, out, _ = run(capsys, "--device", "android")
    assert code == 1 and "  missing  qemu " in out and "-> run 'apt install qemu-user-static'" in out and "  -        ssh " in out
    told = examine(model_path(None), "android", "auto")
    [reachable] = told["auto"]
    assert not reachable.ok and reachable.needed and "adb is not installed" in reachable.mend


def test_a_machine_that_breaks_off() -> None:
    def gone(command: object) -> doctor.Done:
        raise DeviceError("adb X: the connection broke")

    with pytest.raises(DeviceError, match="broke"):
        examine_machine(gone, WANTS)
