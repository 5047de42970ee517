"""The ssh transport against a real sshd: pushes, what breaks them, and arguments that arrive as they are."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from qig_edge.devices import ssh as module
from qig_edge.devices.local import LocalTransport
from qig_edge.devices.shell import ShellTransport, neutral
from qig_edge.devices.ssh import SshTransport
from qig_edge.errors import ConfigError, DeviceError, ModelFileError
from tests.devices.conftest import Server

ODD = ["a b", "it's", 'say "x"', "$(touch owned)", "`id`", "line\nbreak\n", "back\\slash\\n", "é\u4e2d", ""]
ODD += ["-n", "*", "!x", "~", "%s", "\t;&|<>", "\\0101"]
SPEAK = "import sys; sys.stdout.buffer.write(b'|'.join(a.encode('utf-8', 'surrogateescape') for a in sys.argv[1:]))"


@pytest.fixture(params=["local", "ssh"])
def way(request: pytest.FixtureRequest, tmp_path: Path) -> object:
    if request.param == "local":
        (tmp_path / "home").mkdir()
        made: ShellTransport = LocalTransport(home=tmp_path / "home")
    else:
        server = request.getfixturevalue("sshd")
        made = SshTransport(server.host)
        made.connect()
    yield made
    made.close()


def home_of(way: ShellTransport) -> Path:
    return Path(way.run(["sh", "-c", "pwd"]).stdout.decode().strip())


def test_arguments_arrive_as_they_are(way: ShellTransport) -> None:
    done = way.run([sys.executable, "-c", SPEAK, *ODD])
    assert done.code == 0 and done.stdout == b"|".join(a.encode() for a in ODD)
    assert not (home_of(way) / "owned").exists()


@pytest.mark.parametrize("shell", ["sh", "bash", "dash", "zsh", "fish", "tcsh", "csh"])
def test_lines_mean_nothing_to_a_login_shell(shell: str) -> None:
    if subprocess.run(["sh", "-c", f"command -v {shell}"], capture_output=True).returncode:
        pytest.skip(f"{shell} is not installed")
    line = neutral("printf '%s|' 'it''s' '$(id)' '!x' 'a\\nb' 'two\nlines' 'é'")
    done = subprocess.run([shell, "-c", line], capture_output=True)
    assert done.stdout.decode() == "its|$(id)|!x|a\\nb|two\nlines|é|"


def test_what_cannot_be_an_argument() -> None:
    with pytest.raises(ConfigError, match="zero byte"):
        neutral("a\0b")
    with pytest.raises(ConfigError, match="through a pipe"):
        neutral("x" * 200_000)


def test_run(way: ShellTransport) -> None:
    assert way.run(["cat"], stdin=b"\0" + b"x" * 300_000).stdout == b"\0" + b"x" * 300_000
    done = way.run(["sh", "-c", "echo out; echo err >&2; exit 7"])
    assert (done.code, done.stdout, done.stderr.strip()) == (7, b"out\n", b"err")
    assert way.run(["no-such-program"]).code == 127
    assert way.run(["true"], stdin=b"x" * 300_000).code == 0  # nobody reads it


def test_output_comes_as_it_is_printed(way: ShellTransport, tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    def seen(data: bytes) -> None:
        if data == b"first\n":
            gate.touch()  # the program waits for this

    script = 'echo first; while [ ! -e "$1" ]; do sleep 0.02; done; echo second'
    assert way.run(["sh", "-c", script, "sh", str(gate)], on_stdout=seen, timeout=30).stdout == b"first\nsecond\n"


def running(marker: str) -> bool:
    done = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return any(line.startswith(f"sleep {marker}") for line in done.stdout.splitlines())


def gone(marker: str) -> bool:
    for _ in range(100):
        if not running(marker):
            return True
        time.sleep(0.05)
    return False


def test_a_timeout_ends_the_program_there(way: ShellTransport) -> None:
    with pytest.raises(DeviceError, match="sleep was ended after 0.5 s"):
        way.run(["sleep", "971.25"], timeout=0.5)
    assert gone("971.25")


def test_an_interrupt_ends_the_program_there(way: ShellTransport) -> None:
    def interrupt(data: bytes) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        way.run(["sh", "-c", "echo up; exec sleep 972.25"], on_stdout=interrupt)
    assert gone("972.25")


def test_push_and_pull(way: ShellTransport, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(3_000_001))
    target = "a folder/it's $(x).bin"
    steps: list[tuple[int, int, str]] = []
    first = way.push(source, target, lambda *step: steps.append(step))
    assert (first.path, first.size, first.sent) == (target, 3_000_001, 3_000_001) and steps[-1][:2] == (3_000_001, 3_000_001)
    there = home_of(way) / target
    assert there.read_bytes() == source.read_bytes() and there.stat().st_mode & 0o777 == 0o644
    assert way.push(source, target, executable=True).sent == 0 and there.stat().st_mode & 0o777 == 0o755
    source.write_bytes(b"other" * 600_000 + b"!")  # as long
    assert way.push(source, target).sent == 3_000_001 and there.read_bytes() == source.read_bytes()
    way.pull(target, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == source.read_bytes()
    assert [p.name for p in there.parent.iterdir()] == [there.name]
    with pytest.raises(DeviceError, match="there is no file"):
        way.pull("nothing", tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
    with pytest.raises(DeviceError, match="is a folder there"):
        way.push(source, "a folder")
    with pytest.raises(ModelFileError, match="No such file"):
        way.push(tmp_path / "missing", "x")


def test_a_push_that_was_cut_goes_on(sshd: Server, tmp_path: Path) -> None:
    size = 24 << 20
    source = tmp_path / "model"
    source.write_bytes(os.urandom(size))
    way = SshTransport(sshd.host)
    way.connect()
    cuts = []

    def cut(done: int, total: int, what: str) -> None:
        if done >= total // 2 and not cuts:
            cuts.append(sshd.cut())

    with pytest.raises(DeviceError, match="the line broke|cannot be reached"):
        way.push(source, "model", cut)
    way.close()
    assert cuts and cuts[0] > 0
    partial = next(sshd.home.glob(".model.*.partial"))
    assert 0 < partial.stat().st_size < size and not (sshd.home / "model").exists()
    again = SshTransport(sshd.host)
    again.connect()
    pushed = again.push(source, "model")
    again.close()
    assert 0 < pushed.sent < size
    assert hashlib.sha256((sshd.home / "model").read_bytes()).digest() == hashlib.sha256(source.read_bytes()).digest()
    assert [p.name for p in sshd.home.iterdir()] == ["model"]


def test_spoilt_beginnings_are_not_kept(way: ShellTransport, tmp_path: Path) -> None:
    source = tmp_path / "model"
    source.write_bytes(os.urandom(100_000))
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    home = home_of(way)
    (home / f".model.{digest[:16]}.partial").write_bytes(b"x" * 50_000)
    (home / f".model.{'0' * 16}.partial").write_bytes(b"of another content")
    (home / ".model.notes.partial").write_bytes(b"somebody's")
    assert way.push(source, "model").sent == 100_000
    assert (home / "model").read_bytes() == source.read_bytes()
    assert sorted(p.name for p in home.iterdir()) == [".model.notes.partial", "model"]


def test_a_line_that_breaks_in_mid_run(sshd: Server) -> None:
    way = SshTransport(sshd.host)
    way.connect()
    with pytest.raises(DeviceError, match=r"^pi: the line broke"):
        way.run(["sh", "-c", "echo up; exec sleep 973.25"], on_stdout=lambda data: sshd.cut() and None)
    way.close()
    assert gone("973.25")


def test_the_shared_connection_goes_with_its_transport(sshd: Server) -> None:
    way = SshTransport(sshd.host)
    way.connect()
    socket = Path(next(o for o in way._options if o.startswith("ControlPath=")).partition("=")[2])
    assert socket.is_socket() and way.run(["true"]).code == 0
    way.close()
    assert not socket.parent.exists()


def test_host_keys_are_never_skipped(sshd: Server) -> None:
    sshd.know("other")
    with pytest.raises(DeviceError, match="host key is another one than ssh knows.*ssh-keygen -R pi"):
        SshTransport(sshd.host).connect()
    sshd.know(None)
    with pytest.raises(DeviceError, match="host key is not known here"):
        SshTransport(sshd.host).connect()


def test_logins_that_fail(sshd: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QIG_EDGE_SSH", f"ssh -F {sshd.config} -o IdentityFile={sshd.folder / 'other'}")
    other = sshd.config.read_text().replace(str(sshd.folder / "user"), str(sshd.folder / "other"))
    (sshd.folder / "other_config").write_text(other)
    monkeypatch.setenv("QIG_EDGE_SSH", f"ssh -F {sshd.folder / 'other_config'}")
    with pytest.raises(DeviceError, match="refuses the login"):
        SshTransport(sshd.host).connect()
    with pytest.raises(DeviceError, match="cannot be reached"):
        SshTransport("ssh://nobody@127.0.0.1:1").connect()
    for bad in ("", "-oProxyCommand=x", "a b", "a\nb"):
        with pytest.raises(DeviceError, match="must be what ssh takes"):
            SshTransport(bad)
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    with pytest.raises(DeviceError, match="apt install openssh-client"):
        SshTransport(sshd.host)


def test_a_host_as_a_url(sshd: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    config = sshd.config.read_text().replace("Host pi", "Host 127.0.0.1").replace(f"  Port {sshd.port}\n", "")
    (sshd.folder / "url_config").write_text(config)
    monkeypatch.setenv("QIG_EDGE_SSH", f"ssh -F {sshd.folder / 'url_config'}")
    way = SshTransport(f"ssh://{sshd.user}@127.0.0.1:{sshd.port}")
    way.connect()
    assert way.run(["echo", "here"]).stdout == b"here\n" and way.host == "127.0.0.1"
    way.close()


def test_two_pushes_of_one_file_at_once(sshd: Server, tmp_path: Path) -> None:
    source = tmp_path / "model"
    source.write_bytes(os.urandom(2_000_000))
    way = SshTransport(sshd.host)
    way.connect()
    sent: list[int] = []
    both = [threading.Thread(target=lambda: sent.append(way.push(source, "model").sent)) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    way.close()
    assert sorted(sent) == [0, 2_000_000]


@pytest.mark.skipif(os.getuid() != 0, reason="only root mounts a small file system")
def test_no_space_left(way: ShellTransport, tmp_path: Path) -> None:
    """A file system of 4 MB: a file of 8 does not begin to travel; where the space goes while it travels, the disk's own word is told."""
    small = home_of(way) / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(small)], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    source = tmp_path / "model"
    source.write_bytes(os.urandom(8 << 20))
    try:
        with pytest.raises(DeviceError, match="no space left for model: 8.4 MB are still to come, 4.2 MB are free"):
            way.push(source, "small/model")
        assert not list(small.iterdir())
        source.write_bytes(os.urandom(2 << 20))

        def fill(done: int, total: int, what: str) -> None:
            (small / "filler").write_bytes(bytes(1))
            subprocess.run(["sh", "-c", 'cat /dev/zero >"$1"', "sh", str(small / "filler")], capture_output=True)

        with pytest.raises(DeviceError, match="no space left"):
            way.push(source, "small/model", fill)
        assert not (small / "model").exists()
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)
