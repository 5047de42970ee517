"""Phones: the system's adb, client and server, against a double of the phone's side (adbd.py)."""

from __future__ import annotations

import importlib.util
import os
import pty
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from qig_edge.cli import main
from qig_edge.devices import adb
from qig_edge.devices.adb import HOME, AdbTransport, adb_program, chosen, phones
from qig_edge.devices.crossbuild import build_program
from qig_edge.devices.emulate import EMULATORS, PROMPT, emulated, greedy_text
from qig_edge.devices.profile import load_profile
from qig_edge.devices.shell import file_hash
from qig_edge.errors import ConfigError, DeviceError, ModelFileError
from qig_edge.runtime.assets import model_path
from tests.conftest import wanted
from tests.devices.adbd import Phone
from tests.devices.conftest import Connect, again, tool, wait_for

ROOT = Path(__file__).resolve().parents[2]
AWKWARD = [
    "plain", "", " two  words ", "it's", '"quoted"', "$(touch /tmp/never)", "`id`", "$HOME", "a\nb\n", "\\n\\", "*", "~", "-n", "&& exit 3;",
    "tab\there", "größe", "\x01\x7f", "%s%d", "#no", "!1", "{a,b}", "a'b\"c$d`e\\f",
]  # fmt: skip


def random_file(path: Path, size: int) -> Path:
    path.write_bytes(random.randbytes(size))
    return path


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def pid_of(phone: Phone) -> int:
    """The number that a program on the phone wrote in the file pid."""
    file = phone.folder / "qig" / "pid"
    wait_for(lambda: file.is_file() and file.read_text().endswith("\n"))
    return int(file.read_text())


FOREVER = ["sh", "-c", "echo $$ >pid; echo begun; exec sleep 1000"]


def test_run_keeps_status_output_and_arguments(phone: Phone) -> None:
    transport = AdbTransport(phone.serial)
    assert transport.name == f"adb {phone.serial}"
    done = transport.run(["sh", "-c", "echo out; echo err >&2; exit 7"])
    assert (done.code, done.stdout, done.stderr) == (7, b"out\n", b"err\n")
    assert transport.run(["sh", "-c", "kill -9 $$"]).code == 137
    assert transport.run(["no-such-program"]).code == 127
    assert transport.run(["pwd"]).stdout.decode() == f"{phone.folder}/qig\n"
    for which in ("stdout", "stderr"):
        script = 'for a in "$@"; do printf "%s|" "$a"; done' + (" >&2" if which == "stderr" else "")
        done = transport.run(["sh", "-c", script, "x", *AWKWARD])
        assert getattr(done, which).decode() == "".join(f"{a}|" for a in AWKWARD) and done.code == 0
    assert not Path("/tmp/never").exists()
    assert phone.commands and len(AWKWARD) > 20


def test_run_feeds_a_program(phone: Phone) -> None:
    transport = AdbTransport(phone.serial)
    for size in (1, 1000, 300_000):
        data = random.randbytes(size)
        assert transport.run(["cat"], stdin=data).stdout == data
    assert transport.run(["cat"]).stdout == b""
    assert transport.run(["true"], stdin=b"not read" * 9999).code == 0
    assert transport.run(["head", "-c", "3"], stdin=b"abcdef").stdout == b"abc"
    assert [p.name for p in (phone.folder / "qig").iterdir()] == []


def test_run_streams(phone: Phone) -> None:
    seen: list[bytes] = []

    def on_stdout(data: bytes) -> None:
        seen.append(data)
        (phone.folder / "qig" / "go").touch()

    done = AdbTransport(phone.serial).run(["sh", "-c", "echo first; while [ ! -e go ]; do sleep 0.02; done; echo then"], on_stdout=on_stdout)
    assert seen[0] == b"first\n" and b"".join(seen) == done.stdout == b"first\nthen\n"


def test_arguments_that_no_line_can_hold(phone: Phone) -> None:
    transport = AdbTransport(phone.serial)
    long = "x" * 55_000
    assert transport.run(["printf", "%s", long]).stdout.decode() == long
    with pytest.raises(ConfigError, match="bytes: give long texts through a pipe"):
        transport.run(["echo", "x" * 65_000])
    with pytest.raises(ConfigError, match="zero byte"):
        transport.run(["echo", "a\0b"])


def test_timeout_ends_the_program(phone: Phone) -> None:
    with pytest.raises(DeviceError, match=r"sh was ended after 0\.5 s"):
        AdbTransport(phone.serial).run(FOREVER, timeout=0.5)
    pid = pid_of(phone)
    wait_for(lambda: not running(pid))


CHILD = """
import sys
from qig_edge.devices.adb import AdbTransport
transport = AdbTransport(sys.argv[1])
try:
    sys.exit(getattr(transport, sys.argv[2])(sys.argv[3:]))
except KeyboardInterrupt:
    sys.exit(130)
"""


def child(phone: Phone, method: str, *command: str) -> list[str]:
    return [sys.executable, "-c", CHILD, phone.serial, method, *command]


def test_control_c_ends_the_program(phone: Phone) -> None:
    process = subprocess.Popen(child(phone, "run", *FOREVER), cwd=ROOT, start_new_session=True)
    pid = pid_of(phone)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(30) == 130
    wait_for(lambda: not running(pid))


def test_a_line_that_breaks_in_mid_run(phone: Phone) -> None:
    transport = AdbTransport(phone.serial)
    with pytest.raises(DeviceError, match=rf"^adb {phone.serial}: the connection broke"):
        transport.run(FOREVER, on_stdout=lambda data: phone.cut())
    pid = pid_of(phone)
    wait_for(lambda: not running(pid))
    with pytest.raises(DeviceError, match=rf"{phone.serial} is offline: plug it in again, or run 'adb disconnect {phone.serial}'"):
        wait_for(lambda: phones(transport.adb)[phone.serial] == "offline")
        transport.run(["true"])
    again(phone)
    assert transport.run(["true"]).code == 0


def test_a_client_that_ends_is_no_end_of_the_program(phone: Phone) -> None:
    transport = AdbTransport(phone.serial)
    with pytest.raises(DeviceError, match="the connection broke and is there again"):
        transport.run(FOREVER, on_stdout=lambda data: [job.process.kill() for job in transport._jobs])
    pid = pid_of(phone)
    wait_for(lambda: not running(pid))


def test_push(phone: Phone, tmp_path: Path) -> None:
    transport, source = AdbTransport(phone.serial), random_file(tmp_path / "model.gguf", 2_500_000)
    told: list[tuple[int, int, str]] = []
    pushed = transport.push(source, "models/it's a model.gguf", lambda *step: told.append(step))
    there = phone.folder / "qig" / "models" / "it's a model.gguf"
    assert (pushed.path, pushed.size, pushed.sent) == ("models/it's a model.gguf", 2_500_000, 2_500_000)
    assert there.read_bytes() == source.read_bytes() and there.stat().st_mode & 0o777 == 0o644
    assert [p.name for p in there.parent.iterdir()] == [there.name]
    assert [step[0] for step in told] == [1 << 20, 2 << 20, 2_500_000] and {step[1] for step in told} == {2_500_000}
    assert transport.push(source, "models/it's a model.gguf").sent == 0
    program = transport.push(random_file(tmp_path / "qig", 1000), f"{HOME}/qig", executable=True)
    assert program.sent == 1000 and (phone.folder / "qig" / "qig").stat().st_mode & 0o777 == 0o755
    empty = transport.push(random_file(tmp_path / "empty", 0), "empty")
    assert (empty.size, empty.sent) == (0, 0) and (phone.folder / "qig" / "empty").read_bytes() == b""
    with pytest.raises(DeviceError, match="models is a folder there"):
        transport.push(source, "models")
    with pytest.raises(ModelFileError, match="none.gguf: No such file"):
        transport.push(tmp_path / "none.gguf", "x")


def test_files_of_adb_push_and_adb_pull_are_the_same_files(phone: Phone, tmp_path: Path) -> None:
    transport, source = AdbTransport(phone.serial), random_file(tmp_path / "by-hand", 300_001)
    transport.run(["true"])
    subprocess.run(["adb", "-s", phone.serial, "push", source, f"{HOME}/m.gguf"], check=True, capture_output=True)
    assert transport.push(source, "m.gguf").sent == 0
    other = random_file(tmp_path / "other", 200_000)
    assert transport.push(other, "o.gguf").sent == 200_000
    subprocess.run(["adb", "-s", phone.serial, "pull", f"{HOME}/o.gguf", tmp_path / "back"], check=True, capture_output=True)
    assert (tmp_path / "back").read_bytes() == other.read_bytes()


def test_a_broken_push_goes_on(phone: Phone, tmp_path: Path) -> None:
    transport, source = AdbTransport(phone.serial), random_file(tmp_path / "model.gguf", 6_000_000)
    transport.run(["true"])
    phone.cut_after(3_000_000)
    with pytest.raises(DeviceError, match="the connection broke"):
        transport.push(source, "model.gguf")
    folder = phone.folder / "qig"
    [partial] = folder.iterdir()
    wait_for(lambda: partial.stat().st_size > 1_000_000)
    assert partial.name.endswith(".partial") and source.read_bytes().startswith(partial.read_bytes())
    again(phone)
    pushed = transport.push(source, "model.gguf")
    assert 0 < pushed.sent < 5_000_000 and file_hash(folder / "model.gguf") == file_hash(source)
    assert [p.name for p in folder.iterdir()] == ["model.gguf"]


def test_what_lies_there_of_an_earlier_push_is_not_trusted(phone: Phone, tmp_path: Path) -> None:
    transport, source = AdbTransport(phone.serial), random_file(tmp_path / "m", 100_000)
    folder = phone.folder / "qig"
    folder.mkdir()
    (folder / "m").write_bytes(random.randbytes(100_000))
    (folder / f".m.{file_hash(source)[:16]}.partial").write_bytes(bytes(60_000))
    (folder / ".m.0123456789abcdef.partial").write_bytes(b"of another file")
    told: list[int] = []
    pushed = transport.push(source, "m", lambda done, size, what: told.append(done))
    assert pushed.sent == 100_000 and told == [100_000, 100_000]
    assert [p.name for p in folder.iterdir()] == ["m"] and (folder / "m").read_bytes() == source.read_bytes()


def test_a_disk_that_loses_data(phone: Phone, tmp_path: Path) -> None:
    tool(phone, "sha256sum", f"cat >/dev/null; echo '{'0' * 64}  -'")
    with pytest.raises(DeviceError, match="m is not what was sent"):
        AdbTransport(phone.serial).push(random_file(tmp_path / "m", 1000), "m")
    assert list((phone.folder / "qig").iterdir()) == []
    random_file(phone.folder / "qig" / "m", 1000)
    with pytest.raises(DeviceError, match="m arrived as something else"):
        AdbTransport(phone.serial).pull("m", tmp_path / "back")


def test_no_space_left(phone: Phone, tmp_path: Path) -> None:
    source = random_file(tmp_path / "model.gguf", 3_000_000)
    tool(phone, "df", "echo 'Filesystem 1024-blocks Used Available Capacity Mounted on'; echo '/dev/block/dm-5 9000 7000 2000 78% /data'")
    with pytest.raises(DeviceError, match=r"no space left for model.gguf: 3\.0 MB are still to come, 2\.0 MB are free there"):
        AdbTransport(phone.serial).push(source, "model.gguf")
    assert list((phone.folder / "qig").iterdir()) == []
    (phone.tools / "df").unlink()
    tool(phone, "cat", "head -c 1000; echo 'cat: xwrite: No space left on device' >&2; exit 1")
    with pytest.raises(DeviceError, match=r"no space left \(cat: xwrite: No space left on device\)"):
        AdbTransport(phone.serial).push(source, "model.gguf")


def test_pull(phone: Phone, tmp_path: Path) -> None:
    transport = AdbTransport(phone.serial)
    transport.run(["true"])
    data = random_file(phone.folder / "qig" / "a b.json", 700_000).read_bytes()
    target, told = tmp_path / "back", list[int]()
    transport.pull("a b.json", target, lambda done, size, what: told.append(done))
    assert target.read_bytes() == data and told[-1] == 700_000 and told == sorted(told)
    with pytest.raises(DeviceError, match="there is no file ./none"):
        transport.pull("none", target)
    with pytest.raises(DeviceError, match="the connection broke"):
        transport.pull("a b.json", target, lambda done, size, what: phone.cut())
    assert target.read_bytes() == data and sorted(p.name for p in tmp_path.iterdir()) == ["back", "phone-0"]


def test_which_phone(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match="adb sees no phone: plug one in"):
        AdbTransport()
    with pytest.raises(DeviceError, match="adb does not see the phone R58M1: plug it in"):
        AdbTransport("R58M1")
    first = connect()
    assert AdbTransport().serial == first.serial
    second = connect()
    listed = re.escape(", ".join(sorted([first.serial, second.serial])))
    with pytest.raises(DeviceError, match=f"adb sees 2 phones, name one with --host: {listed}$"):
        AdbTransport()
    with pytest.raises(DeviceError, match=rf"the phone 127.0.0.1:1: run 'adb connect 127.0.0.1:1' \(phones: {listed}\)$"):
        AdbTransport("127.0.0.1:1")
    for phone in (first, second):
        AdbTransport(phone.serial).run(["sh", "-c", f"echo {phone.serial} >me"])
        assert (phone.folder / "qig" / "me").read_text() == f"{phone.serial}\n"
    monkeypatch.setenv("ANDROID_SERIAL", second.serial)
    assert AdbTransport().serial == second.serial and AdbTransport(first.serial).serial == first.serial


def test_a_phone_that_does_not_trust_this_computer(connect: Connect) -> None:
    phone = connect(trusting=False)
    with pytest.raises(DeviceError, match=rf"^the phone {phone.serial} is unauthorized: unlock it and allow USB debugging"):
        AdbTransport()
    other = connect()
    with pytest.raises(DeviceError, match=re.escape(f"{phone.serial} (unauthorized)")):
        AdbTransport()
    assert AdbTransport(other.serial).run(["true"]).code == 0 and not phone.commands


def test_an_android_that_is_too_old(connect: Connect) -> None:
    with pytest.raises(DeviceError, match="its Android is too old"):
        AdbTransport(connect(features=("cmd",)).serial)


def test_states_that_only_usb_has() -> None:
    assert adb.complaint(b"* daemon started\nadb: error: failed to get feature set: no devices\n") == "failed to get feature set: no devices"
    with pytest.raises(DeviceError, match="may not open its USB device: run 'apt install android-sdk-platform-tools-common'"):
        chosen({"R58M1": "no permissions"}, None)
    with pytest.raises(DeviceError, match="R58M1 is recovery: start Android on it"):
        chosen({"R58M1": "recovery", "X": "device"}, "R58M1")


def test_the_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match="adb is not installed: run 'apt install adb'"):
        adb_program()
    script = tmp_path / "adb"
    for says, match in (("Android Debug Bridge version 1.0.39", "has version 1.0.39: 1.0.41 or newer"), ("adb", "has version unknown")):
        script.write_text(f"#!/bin/sh\necho '{says}'\n")
        script.chmod(0o755)
        with pytest.raises(DeviceError, match=match):
            adb_program()
    script.write_text("#!/bin/sh\necho 'R58M1\tno permissions (user in plugdev group; are your udev rules wrong?); see [http://x]'\n")
    assert phones(str(script)) == {"R58M1": "no permissions"}
    script.write_text("#!/bin/sh\necho 'error: cannot bind' >&2; exit 1\n")
    with pytest.raises(DeviceError, match="^adb: cannot bind$"):
        phones(str(script))


def test_doctor_looks_at_a_phone(phone: Phone, capsys: pytest.CaptureFixture[str]) -> None:
    for arch, code, line in (("aarch64", 0, "ok       system          aarch64, 64-bit"), ("riscv64", 1, "missing  system          riscv64")):
        tool(phone, "uname", f"echo {arch}")
        with pytest.raises(SystemExit) as left:
            main(["doctor", "--device", "android", "--host", phone.serial])
        out = capsys.readouterr().out
        assert (left.value.code or 0) == code and line in out, out
        assert f"adb {phone.serial}\n  ok       reachable       adb {phone.serial}\n" in out and "sha256sum       there" in out
    with pytest.raises(SystemExit) as left:
        main(["doctor", "--device", "android", "--host", "R58M1"])
    assert left.value.code == 1 and "  missing  reachable       no\n" in (out := capsys.readouterr().out)
    assert "-> adb does not see the phone R58M1: plug it in" in out


def test_interactive_without_a_terminal(phone: Phone) -> None:
    done = subprocess.run(child(phone, "interactive", "sh", "-c", "cat; pwd; exit 5"), input=b"~.\nhello\n", capture_output=True, cwd=ROOT)
    assert done.returncode == 5 and done.stdout == f"~.\nhello\n{phone.folder}/qig\n".encode() and done.stderr == b""


def test_interactive_on_a_terminal(phone: Phone) -> None:
    """Ctrl-C belongs to the program on the phone, and so does a ~ at the beginning of a line."""
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(ROOT)
        script = 'trap "echo stopped" INT; stty -echo; [ -t 0 ] && echo terminal; while [ "$l" != "~.b" ]; do read -r l; echo "<$l>"; done; exit 4'
        os.execv(sys.executable, child(phone, "interactive", "sh", "-c", script))
    shown = b""

    def until(text: bytes) -> None:
        nonlocal shown
        while text not in shown:
            shown += os.read(terminal, 4096)

    watchdog = threading.Timer(60, os.kill, (pid, signal.SIGKILL))
    watchdog.start()
    try:
        until(b"terminal\r\n")
        os.write(terminal, b"\x03")
        until(b"stopped")
        os.write(terminal, b"a\n~.b\n")
        until(b"<~.b>")
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 4
    finally:
        watchdog.cancel()
        os.close(terminal)


@pytest.fixture(scope="module")
def android_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program for phones, built once; they run it under qemu."""
    if importlib.util.find_spec("ziglang") is None or not any(map(shutil.which, EMULATORS)):
        wanted("ziglang or qemu-user-static")
    return build_program(load_profile("android"), tmp_path_factory.mktemp("android") / "qig")


@pytest.fixture
def deployed(phone: Phone, android_program: Path) -> AdbTransport:
    transport = AdbTransport(phone.serial)
    transport.push(android_program, "qig", executable=True)
    transport.push(model_path(None), "model.gguf")
    return transport


@pytest.mark.slow
def test_a_phones_program_writes_what_it_writes_here(deployed: AdbTransport, android_program: Path) -> None:
    seen: list[bytes] = []
    command = [*emulated(load_profile("android"), Path("./qig")), "generate", "model.gguf"]
    options = ["-p", PROMPT, "-n", "12", "--greedy", "-t", "1"]
    done = deployed.run([*command, *options], on_stdout=seen.append, timeout=300)
    assert done.code == 0, done.stderr
    here = greedy_text(emulated(load_profile("android"), android_program), model_path(None), 12)
    assert done.stdout.decode() == here and len(here) > len(PROMPT) and b"".join(seen) == done.stdout
    done = deployed.run([*command[:-1], "none.gguf", *options], timeout=300)
    assert done.code not in (0, 255) and b"none.gguf" in done.stderr and not done.stdout
