"""deploy, chat, generate, bench and devices add over a real sshd, and over adb to a phone's double; behind both qemu runs the Pi's own program."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import pytest

from qig_edge.bench.machine import machine
from qig_edge.bench.remote import read_hosts, table
from qig_edge.cli import main
from qig_edge.cli.progress import Steps
from qig_edge.devices import deploy as deploying
from qig_edge.devices import shell
from qig_edge.devices.adding import described, toml
from qig_edge.devices.deploy import Need, check, device_program, tight
from qig_edge.devices.local import LocalTransport
from qig_edge.devices.probe import Probe, parse, probe
from qig_edge.devices.profile import Profile, load_profile, read_profile, user_folder
from qig_edge.devices.ssh import SshTransport
from qig_edge.devices.transport import Done
from qig_edge.errors import ConfigError, DataError, DeviceError
from tests.devices.adbd import Phone
from tests.devices.conftest import PI, AdbPlace, Place, Server, tool, wait_for

Result = tuple[int, str, str]


@pytest.fixture()
def qig_edge(capfd: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    def run(*args: object) -> Result:
        with pytest.raises(SystemExit) as left:
            main([str(a) for a in args])
        return (int(left.value.code or 0), *capfd.readouterr())

    return run


def pi() -> Probe:
    found = parse(PI)
    assert found is not None
    return found


def test_what_a_pi_says_of_itself() -> None:
    found = pi()
    assert found.bits == 64 and found.free_bytes == 18_500_000 * 1024 and found.parts == ("0xd08",)
    assert found.machine["board"] == "Raspberry Pi 4 Model B Rev 1.4" and found.machine["memory_bytes"] == 3885000 * 1024
    assert found.machine["features"] == ["fp", "asimd", "evtstrm", "crc32", "cpuid"] and found.machine["cores"] == 4
    assert found.state["governor"] == "ondemand" and found.state["temperature_c"] == 61.234 and found.state["load"] == 0.25
    assert found.state["throttle"]["now"] == ["under-voltage", "throttled"]
    assert found.state["throttle"]["since_start"] == ["under-voltage", "throttled"]
    assert found.sha256sum and not found.pstate
    assert parse("") is None and parse("Welcome\n") is None


def test_a_system_that_programs_are_not_for() -> None:
    class Mac(LocalTransport):
        def run(self, command: Sequence[str], **more: object) -> Done:
            return Done(0, b"qig-told system Darwin\n", b"")

    with pytest.raises(DeviceError, match="a Linux system"):
        probe(Mac())


def test_the_probe_knows_this_machine() -> None:
    found, here = probe(LocalTransport()), machine()
    for key in ("system", "release", "arch", "cpu", "memory_bytes", "features", "cores"):
        assert found.machine[key] == here[key], key
    assert set(found.machine) == set(here) and found.bits == 64 and (found.free_bytes or 0) > 0


def refused(found: Probe, profile: Profile, wanted: Need, match: str) -> None:
    with pytest.raises(DeviceError, match=match):
        check(LocalTransport(), profile, found, wanted, Path("m.gguf"))


def test_what_does_not_run_is_refused() -> None:
    rpi4, small = load_profile("rpi4"), Need(100 << 20, 10 << 20, 2048)
    check(LocalTransport(), rpi4, pi(), small, Path("m.gguf"))
    refused(dataclasses.replace(pi(), bits=32), rpi4, small, "32-bit system .*64-bit Raspberry Pi OS")
    refused(dataclasses.replace(pi(), machine={**pi().machine, "arch": "x86_64"}), rpi4, small, "is x86_64, programs for 'rpi4' are for aarch64")
    refused(pi(), rpi4, Need(3 << 30, 1 << 30, 2048), "does not fit its memory.*--ctx")
    unknown = dataclasses.replace(pi(), machine={**pi().machine, "memory_bytes": None})
    refused(unknown, rpi4, small, "give it as ram_bytes")
    check(LocalTransport(), dataclasses.replace(rpi4, ram_bytes=4 << 30), unknown, small, Path("m.gguf"))
    refused(pi(), dataclasses.replace(rpi4, ram_bytes=200 << 20), small, "does not fit its memory")


def test_a_model_that_fits_when_others_make_room() -> None:
    large = Need(3400 << 20, 10 << 20, 2048)
    check(LocalTransport(), load_profile("rpi4"), pi(), large, Path("m.gguf"))
    assert "m.gguf wants 3609 MB and 3379 MB are free now" in tight(LocalTransport(), pi(), large, Path("m.gguf"))
    silent = dataclasses.replace(pi(), state={**pi().state, "memory_available_bytes": None})
    assert tight(LocalTransport(), silent, large, Path("m.gguf")) == ""
    assert tight(LocalTransport(), pi(), Need(100 << 20, 10 << 20, 2048), Path("m.gguf")) == ""


def test_a_profile_of_ones_own() -> None:
    made = described(pi(), "kitchen", "pi@kitchen")
    assert (made.target, made.mcpu, made.host, made.transport, made.cores) == ("aarch64-linux-musl", "cortex_a72-aes-sha2", "pi@kitchen", "ssh", 4)
    assert made.bandwidth == load_profile("rpi4").bandwidth and made.bandwidth
    assert read_profile(toml(made), "itself") == made
    with pytest.raises(DeviceError, match="32-bit armv7l"):
        described(dataclasses.replace(pi(), bits=32, machine={**pi().machine, "arch": "armv7l"}), "old", "pi@old")


@pytest.mark.parametrize(
    "line", ['transport = "pigeon"', 'run_prefix = "qemu"', "run_prefix = [1]", 'ram_bytes = "4 GB"', "host = 1", "unknown = 1", "= 1"]
)
def test_profiles_that_are_none(line: str) -> None:
    with pytest.raises(ConfigError, match="mine"):
        read_profile(f'name = "a"\ndescription = "b"\ntarget = "host"\n{line}\n', "mine")
    with pytest.raises(ConfigError, match="mine lacks description, target"):
        read_profile('name = "a"\n', "mine")


def test_hosts(tmp_path: Path) -> None:
    path = tmp_path / "hosts.toml"
    path.write_text('rpi4 = "pi@a"\nrpi5 = "pi@b"\n')
    assert read_hosts(path) == {"rpi4": "pi@a", "rpi5": "pi@b"}
    for text, match in (("rpi4 = 4", "must be a text"), ("rpi4", "is no TOML")):
        path.write_text(text)
        with pytest.raises(DataError, match=match):
            read_hosts(path)
    with pytest.raises(DataError, match="No such file"):
        read_hosts(tmp_path / "none")


def test_a_second_deploy_sends_nothing(place: Place, tiny_model: Path, qig_edge: Callable[..., Result]) -> None:
    code, out, err = qig_edge("deploy", tiny_model, *place.options, "--json")
    assert code == 0, err
    first = json.loads(out)
    program = device_program(load_profile(str(place.device)))
    assert first["host"] == place.name and (place.home / "qig-edge" / "qig").read_bytes() == program.read_bytes()
    assert place.held(first["model"]["path"]).read_bytes() == tiny_model.read_bytes()
    assert first["model"]["sent"] == tiny_model.stat().st_size and first["program"]["sent"] == program.stat().st_size
    code, out, err = qig_edge("deploy", tiny_model, *place.options)
    assert code == 0 and "everything was there" in err
    done = place.typed(out.replace(" chat ", " info "))
    assert done.returncode == 0 and b"tiny" in done.stdout, done.stderr


def test_a_deploy_that_was_cut_goes_on(place: Place, tiny_model: Path, qig_edge: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    arriving, cuts = place.home / "qig-edge", []

    def cut(self: Steps, done: int, total: int, title: str | None = None) -> None:
        if title and title.startswith("sending qig") and done >= total // 2 and not cuts:
            wait_for(lambda: any(p.stat().st_size for p in arriving.glob(".qig.*.partial")))
            cuts.append(done)
            place.cut()

    monkeypatch.setattr(shell, "CHUNK", 1 << 14)
    monkeypatch.setattr(Steps, "__call__", cut)
    code, out, err = qig_edge("deploy", tiny_model, *place.options)
    assert code == 2 and cuts and not out and len(err.splitlines()) == 1 and place.name in err and not (arriving / "qig").exists(), err
    place.mend()
    code, out, err = qig_edge("deploy", tiny_model, *place.options, "--json")
    assert code == 0, err
    sent = json.loads(out)
    assert 0 < sent["program"]["sent"] < sent["program"]["bytes"] and sent["model"]["sent"] == sent["model"]["bytes"]
    assert sorted(p.name for p in arriving.iterdir()) == ["qig", "tiny.gguf"]


def test_a_line_that_breaks_in_mid_run(place: Place, tiny_model: Path, tmp_path: Path, qig_edge: Callable[..., Result]) -> None:
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\necho $$ >begun\nexec sleep 1000\n")
    slow.chmod(0o755)
    place.device.write_text(re.sub(r"run_prefix = .*", f'run_prefix = ["{slow}"]', place.device.read_text()))
    begun = place.home / "begun"

    def cut() -> None:
        wait_for(lambda: begun.is_file() and begun.read_text().endswith("\n"), 60)
        place.cut()

    for command in (("generate", "-p", "x"), ("bench", "--repeat", 2)):
        thread = threading.Thread(target=cut)
        thread.start()
        code, out, err = qig_edge(command[0], tiny_model, *command[1:], *place.options)
        thread.join()
        assert code == 2 and not out and len(err.splitlines()) == 1 and place.name in err and " broke" in err, err
        pid = int(begun.read_text())
        wait_for(lambda pid=pid: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
        begun.unlink()
        place.mend()


def test_a_phone_without_space(phone: Phone, device: Path, tiny_model: Path, qig_edge: Callable[..., Result]) -> None:
    place = AdbPlace(phone, device)
    device.write_text(device.read_text().replace('"ssh"', '"adb"'))
    tool(phone, "df", "echo 'Filesystem 1024-blocks Used Available Capacity Mounted on'; echo '/dev/block/dm-5 9000 8900 100 98% /data'")
    code, out, err = qig_edge("deploy", tiny_model, *place.options)
    assert code == 2 and not out and re.fullmatch(r"error: adb \S+: no space left for qig: .* 0\.1 MB are free there\n", err), err
    assert not [p for p in place.home.rglob("*") if p.is_file()]


def test_a_model_that_does_not_fit_does_not_travel(
    place: Place, tiny_model: Path, tmp_path: Path, qig_edge: Callable[..., Result]
) -> None:
    """A file of 5 GB, all of it but a model's beginning holes, for a profile of 4 GB."""
    place.device.write_text(place.device.read_text() + f"ram_bytes = {4 << 30}\n")
    model = tmp_path / "large.gguf"
    model.write_bytes(tiny_model.read_bytes())
    os.truncate(model, 5 << 30)
    code, out, err = qig_edge("deploy", model, *place.options)
    assert code == 2 and "large.gguf does not fit its memory" in err and not out
    assert not list(place.home.iterdir())


def test_generate_and_chat_stream_from_there(
    place: Place, tiny_model: Path, qig_edge: Callable[..., Result]
) -> None:
    prompt = "It's $(id) `x` \"q\" \\n ~ é"
    there = place.options
    common = ("-p", prompt, "-n", 12, "--temp", 0, "--repeat-penalty", 1, "-t", 1)
    code, here, err = qig_edge("generate", tiny_model, *common)
    assert code == 0, err
    code, out, err = qig_edge("generate", tiny_model, *common, "--stats", *there)
    assert code == 0 and out.strip() == here.strip() and out.startswith(prompt) and "tokens" in err, err
    code, out, err = qig_edge("chat", tiny_model, *common, "--json", *there)
    assert code == 0, err
    assert json.loads(out)["message"] == prompt and json.loads(out)["tokens"] == 12
    code, out, err = qig_edge("generate", tiny_model, *common, "--set", "no.such=1", *there)
    assert code == 2 and "no.such" in err
    code, out, err = qig_edge("chat", tiny_model, "--backend", "llama", *there)
    assert code == 2 and "--backend go without --device" in err


def test_little_free_memory_is_told(place: Place, tiny_model: Path, qig_edge: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploying, "tight", lambda way, found, wanted, model: f"{way.name}: {model.name} is tight")
    for command in (("deploy",), ("generate", "-p", "x", "-n", 1)):
        code, out, err = qig_edge(command[0], tiny_model, *command[1:], *place.options)
        assert code == 0 and out and f"warning: {place.name}: tiny.gguf is tight\n" in err, err


def test_a_conversation_through_a_pipe(place: Place, tiny_model: Path) -> None:
    command = [sys.executable, "-m", "qig_edge.cli", "chat", str(tiny_model), *map(str, place.options), "-n", "4", "--json"]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run(command, input="one\ntwo's\n", capture_output=True, text=True, env=env, timeout=120)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["message"] for line in done.stdout.splitlines()] == ["one", "two's"]


def test_without_a_host_the_program_is_emulated(device: Path, tiny_model: Path, qig_edge: Callable[..., Result]) -> None:
    common = ("generate", tiny_model, "-p", "a b", "-n", 8, "--temp", 0, "--repeat-penalty", 1, "-t", 1)
    code, here, err = qig_edge(*common)
    assert code == 0, err
    assert qig_edge(*common, "--device", device) == (0, here, "")
    code, _, err = qig_edge("deploy", tiny_model, "--device", device)
    assert code == 2 and "--host USER@HOST" in err
    code, _, err = qig_edge("chat", tiny_model, "-p", "x", "--host", "pi")
    assert code == 2 and "needs --device" in err


def test_a_row_from_there(place: Place, tiny_model: Path, qig_edge: Callable[..., Result]) -> None:
    tests = ("--prefill", 8, "--decode", 4, "--depths", "0,8", "--repeat", 2, "-t", 1)
    code, out, err = qig_edge("bench", tiny_model, *tests, *place.options, "--json")
    assert code == 0, err
    row = json.loads(out)
    code, out, err = qig_edge("bench", tiny_model, *tests, "--json")
    assert code == 0, err
    here = json.loads(out)
    assert set(row) - set(here) == {"host"} and not set(here) - set(row)
    assert set(row["result"]) == set(here["result"]) and set(row["state_before"]) == set(here["state_before"])
    assert set(row["machine"]) == set(here["machine"]) and row["model_sha256"] == here["model_sha256"]
    # qemu played the device's processor: the row says so wherever it appears
    assert row["kind"] == "EMULATED" and here["kind"] == "MEASURED"
    assert row["host"] == place.name and row["device"] == place.device.stem and row["result"]["isa"].startswith("neon")
    assert len(row["first_token_warm_ms"]["samples"]) == 3 and min(row["first_token_warm_ms"]["samples"]) > 0
    for form in ((), ("--md",), ("--csv",)):
        code, out, err = qig_edge("bench", tiny_model, *tests, *place.options, *form)
        assert "EMULATED" in out
        assert code == 0 and out, err


def test_several_devices_at_once(
    sshd: Server, device: Path, tiny_model: Path, tmp_path: Path, qig_edge: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    user_folder().mkdir(parents=True, exist_ok=True)
    names = ("one", "two")
    (tmp_path / "second").mkdir()
    second = Server(tmp_path / "second", "pi-two")
    try:
        (tmp_path / "config").write_text(sshd.config.read_text() + second.config.read_text())
        monkeypatch.setenv("QIG_EDGE_SSH", f"ssh -F {tmp_path / 'config'}")
        for name in names:
            (user_folder() / f"{name}.toml").write_text(device.read_text().replace("emulated-pi", name))
        hosts = tmp_path / "hosts.toml"
        hosts.write_text('one = "pi"\ntwo = "pi-two"\n')
        tests = ("--prefill", 8, "--decode", 4, "--depths", "0", "--repeat", 2, "-t", 1)
        code, out, err = qig_edge("bench", tiny_model, *tests, "--device", "one,two", "--hosts", hosts, "--json")
        assert code == 0, err
        rows = json.loads(out)
        assert [r["device"] for r in rows] == ["one", "two"] and [r["host"] for r in rows] == ["pi", "pi-two"]
        lines = table(rows)
        assert len(lines) == 3 and "decode at 0, tok/s" in lines[0] and lines[2].startswith("two")
        code, _, err = qig_edge("bench", tiny_model, "--device", "one,rpi5", "--hosts", hosts)
        assert code == 2 and "device 'rpi5' has no host" in err
        assert (second.home / "qig-edge" / "qig").is_file()
        (user_folder() / "two.toml").write_text(device.read_text().replace("emulated-pi", "two") + "ram_bytes = 1\n")
        code, out, err = qig_edge("bench", tiny_model, *tests, "--device", "one,two", "--hosts", hosts, "--json")
        assert code == 1 and [r["device"] for r in json.loads(out)] == ["one"]
        assert err.startswith("error: two: pi-two: tiny.gguf does not fit") and len(err.splitlines()) == 1
        second.know("other")
        hosts.write_text('one = "ssh://x@127.0.0.1:1"\ntwo = "pi-two"\n')
        code, out, err = qig_edge("bench", tiny_model, *tests, "--device", "one,two", "--hosts", hosts)
        assert code == 2 and not out and [line.split(": ")[1] for line in err.splitlines()] == ["one", "two"], err
    finally:
        second.stop()
        for name in names:
            (user_folder() / f"{name}.toml").unlink(missing_ok=True)


def test_devices_add(sshd: Server, qig_edge: Callable[..., Result]) -> None:
    path = user_folder() / "bench-box.toml"
    path.unlink(missing_ok=True)
    try:
        code, out, err = qig_edge("devices", "add", "bench-box", "--host", sshd.host)
        assert code == 0 and out.strip() == str(path), err
        made = load_profile("bench-box")
        assert made.host == sshd.host and made.transport == "ssh" and made.cores == machine()["cores"]
        code, _, err = qig_edge("devices", "add", "bench-box", "--host", sshd.host)
        assert code == 2 and "--force" in err
        assert qig_edge("devices", "add", "bench-box", "--host", sshd.host, "--force")[0] == 0
        for bad in ("../x", "a b", ".hidden"):
            code, _, err = qig_edge("devices", "add", bad, "--host", sshd.host)
            assert code == 2 and "device name" in err
        assert qig_edge("devices", "add", "x")[0] == 2 and qig_edge("devices", "list", "--force")[0] == 2
    finally:
        path.unlink(missing_ok=True)


def test_a_wrong_key_and_a_dead_host_are_one_line(sshd: Server, device: Path, tiny_model: Path, qig_edge: Callable[..., Result]) -> None:
    sshd.know("other")
    code, _, err = qig_edge("deploy", tiny_model, "--device", device, "--host", sshd.host)
    assert code == 2 and "host key is another one" in err and len(err.splitlines()) == 1
    code, _, err = qig_edge("deploy", tiny_model, "--device", device, "--host", "ssh://x@127.0.0.1:1")
    assert code == 2 and "cannot be reached" in err and len(err.splitlines()) == 1


def test_ssh_is_given_up_where_the_login_fails(sshd: Server) -> None:
    sshd.know(None)
    way = SshTransport(sshd.host)
    with pytest.raises(DeviceError):
        way.connect()
    way.close()
    assert way._folder is None
