"""A real sshd on loopback with keys, port and home folder of its own, and profiles whose programs run under qemu behind it."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from qig_edge.devices.deploy import device_program
from qig_edge.devices.emulate import EMULATORS
from qig_edge.devices.profile import load_profile

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:" + os.environ.get("PATH", ""))


class Server:
    """A running sshd; home: what logins find as their home folder; host: its name in the ssh configuration that QIG_EDGE_SSH names."""

    def __init__(self, folder: Path, host: str = "pi") -> None:
        self.folder, self.home, self.host = folder, folder / "home", host
        self.home.mkdir()
        for name in ("host", "other", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
        shutil.copy(folder / "user.pub", folder / "authorized_keys")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.user = pwd.getpwuid(os.getuid()).pw_name
        (folder / "sshd_config").write_text(
            f"ListenAddress 127.0.0.1:{self.port}\nHostKey {folder / 'host'}\nAuthorizedKeysFile {folder / 'authorized_keys'}\nPidFile none\n"
            f"StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nPermitUserRC no\nSetEnv HOME={self.home}\n"
        )
        self.know("host")
        self.config = folder / "ssh_config"
        self.config.write_text(
            f"Host {self.host}\n  HostName 127.0.0.1\n  Port {self.port}\n  User {self.user}\n  HostKeyAlias {self.host}\n"
            f"  IdentityFile {folder / 'user'}\n  IdentitiesOnly yes\n  IdentityAgent none\n"
            f"  UserKnownHostsFile {folder / 'known_hosts'}\n  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n"
        )
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd starts as root with it only; its package's service makes it, too
        assert SSHD
        with (folder / "sshd.log").open("wb") as log:
            self.process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log)
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.process.poll() is None, (folder / "sshd.log").read_text()
            time.sleep(0.05)
        raise AssertionError("sshd does not answer")

    def know(self, key: str | None) -> None:
        """Makes the key of that name, or none, the one that the client knows."""
        known = f"{self.host} {(self.folder / f'{key}.pub').read_text()}" if key else ""
        (self.folder / "known_hosts").write_text(known)

    def cut(self) -> int:
        """Ends every connection as a cable that is pulled would, from the server's side; how many processes that were."""
        sessions = psutil.Process(self.process.pid).children()
        for session in sessions:
            for process in (session, *(c for c in session.children() if c.name().startswith("sshd"))):
                process.kill()
        return len(sessions)

    def stop(self) -> None:
        self.cut()
        self.process.terminate()
        self.process.wait(10)


def wanted(what: str) -> None:
    """.ci/run, which sets QIG_CI, has it all; elsewhere the test skips and says what is missing."""
    if os.environ.get("QIG_CI"):
        pytest.fail(f"{what} is not installed")
    pytest.skip(f"{what} is not installed")


@pytest.fixture(scope="session")
def _sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if SSHD is None or not shutil.which("ssh-keygen"):
        wanted("openssh-server")
    server = Server(tmp_path_factory.mktemp("sshd"))
    yield server
    server.stop()


@pytest.fixture()
def sshd(_sshd: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server, its home folder empty, its key known."""
    for path in (*_sshd.home.iterdir(),):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    _sshd.know("host")
    monkeypatch.setenv("QIG_EDGE_SSH", f"ssh -F {_sshd.config}")
    return _sshd


@pytest.fixture()
def device(tmp_path: Path) -> Path:
    """A profile's file: rpi4's program, run by qemu wherever it is; its processes are aarch64's, whatever the machine is."""
    pytest.importorskip("ziglang")
    qemu = next((path for name in EMULATORS if (path := shutil.which(name))), None)
    if qemu is None:
        wanted("qemu-user-static")
    path = tmp_path / "emulated-pi.toml"
    path.write_text(
        'name = "emulated-pi"\ndescription = "a Pi of qemu"\ntarget = "aarch64-linux-musl"\nmcpu = "cortex_a72-aes-sha2"\n'
        f'emulator_cpu = "cortex-a72"\ntransport = "ssh"\nrun_prefix = ["{qemu}", "-cpu", "cortex-a72"]\n'
    )
    device_program(load_profile(str(path)))  # once for all tests
    return path
