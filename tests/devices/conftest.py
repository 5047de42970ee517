"""A real sshd on loopback and adb's own server with phones' doubles, each with keys, port and home folder of its own, and profiles whose programs run
under qemu behind them."""

from __future__ import annotations

import abc
import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from qig_edge.devices.adb import HOME, phones
from qig_edge.devices.deploy import device_program
from qig_edge.devices.emulate import EMULATORS
from qig_edge.devices.profile import load_profile
from tests.conftest import wanted
from tests.devices.adbd import Phone

Connect = Callable[..., Phone]
SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:" + os.environ.get("PATH", ""))
# What the probe of a Raspberry Pi prints.
PI = """Welcome to the kitchen
qig-told system Linux
qig-told release 6.6.31+rpt-rpi-v8
qig-told arch aarch64
qig-told class 02
qig-told bits 64
qig-told cores 4
qig-told space Filesystem     1024-blocks    Used Available Capacity Mounted on
qig-told space /dev/mmcblk0p2    29000000 9000000  18500000      33% /
qig-told sha256sum there
qig-told throttled throttled=0x50005
qig-file /proc/cpuinfo
 processor\t: 0
 Features\t: fp asimd evtstrm crc32 cpuid
 CPU part\t: 0xd08

qig-file /proc/meminfo
 MemTotal:        3885000 kB
 MemAvailable:    3300000 kB

qig-file /proc/loadavg
 0.25 0.10 0.05 1/150 1234

qig-file /proc/device-tree/model
 Raspberry Pi 4 Model B Rev 1.4
qig-file /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor
 ondemand

qig-file /sys/class/thermal/thermal_zone0/type
 cpu-thermal

qig-file /sys/class/thermal/thermal_zone0/temp
 61234

"""


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


def wait_for(what: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def adb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """adb's server on a port of its own, with keys of its own."""
    if shutil.which("adb") is None:
        wanted("adb")
    home = tmp_path_factory.mktemp("adb")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
        patch.setenv("ANDROID_SDK_HOME", str(home))
        patch.setenv("HOME", str(home))
        patch.delenv("ADB_VENDOR_KEYS", raising=False)
        patch.delenv("ANDROID_SERIAL", raising=False)
        subprocess.run(["adb", "start-server"], check=True, capture_output=True, env={**os.environ, "TMPDIR": str(home)})
        yield
        subprocess.run(["adb", "kill-server"], check=True, capture_output=True)


@pytest.fixture
def connect(adb_server: None, tmp_path: Path) -> Iterator[Connect]:
    """Makes phones and lets adb's server connect to them."""
    made: list[Phone] = []

    def new(**more: object) -> Phone:
        phone = Phone(tmp_path / f"phone {len(made)}".replace(" ", "-"), **more)  # type: ignore[arg-type]
        made.append(phone)
        again(phone)
        return phone

    yield new
    for phone in made:
        subprocess.run(["adb", "disconnect", phone.serial], capture_output=True)
        phone.close()


def again(phone: Phone) -> None:
    """Connects a phone, also one whose line broke: adb may still be busy with the old connection."""

    def connected() -> bool:
        subprocess.run(["adb", "disconnect", phone.serial], capture_output=True)
        subprocess.run(["adb", "connect", phone.serial], capture_output=True)
        return phones("adb").get(phone.serial) in ("device", "unauthorized")

    wait_for(connected)


@pytest.fixture
def phone(connect: Connect) -> Phone:
    return connect()


def tool(phone: Phone, name: str, script: str) -> None:
    path = phone.tools / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


class Place(abc.ABC):
    """Where commands put programs: behind ssh or adb. host: what --host takes; name: what the device is called; home: its home folder, as a folder
    here; device: the profile's file."""

    def __init__(self, host: str, name: str, home: Path, device: Path) -> None:
        self.host, self.name, self.home, self.device = host, name, home, device

    @property
    def options(self) -> tuple[object, ...]:
        return ("--device", self.device, "--host", self.host)

    def held(self, path: str) -> Path:
        """A path as the device has it."""
        return self.home / path

    @abc.abstractmethod
    def typed(self, line: str) -> subprocess.CompletedProcess[bytes]:
        """What a shell does with a line that somebody who opened it there types."""

    @abc.abstractmethod
    def cut(self) -> None:
        """Breaks the line."""

    @abc.abstractmethod
    def mend(self) -> None:
        """Makes it whole."""


class SshPlace(Place):
    def __init__(self, server: Server, device: Path) -> None:
        super().__init__(server.host, server.host, server.home, device)
        self.server = server

    def typed(self, line: str) -> subprocess.CompletedProcess[bytes]:
        # a login begins in the folder that the user database names, which is not the test's
        return subprocess.run(["sh", "-c", line], cwd=self.home, stdin=subprocess.DEVNULL, capture_output=True)

    def cut(self) -> None:
        assert self.server.cut()

    def mend(self) -> None:
        pass


class AdbPlace(Place):
    def __init__(self, phone: Phone, device: Path) -> None:
        super().__init__(phone.serial, f"adb {phone.serial}", phone.folder / "qig", device)
        self.phone = phone

    def held(self, path: str) -> Path:
        assert path.startswith(HOME + "/"), path
        return Path(self.phone.there(path))

    def typed(self, line: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(["adb", "-s", self.host, "shell", line], stdin=subprocess.DEVNULL, capture_output=True)

    def cut(self) -> None:
        self.phone.cut()

    def mend(self) -> None:
        again(self.phone)


@pytest.fixture(params=["ssh", "adb"])
def place(request: pytest.FixtureRequest, device: Path) -> Place:
    if request.param == "ssh":
        return SshPlace(request.getfixturevalue("sshd"), device)
    phone = request.getfixturevalue("phone")
    profile = device.with_name("emulated-phone.toml")
    profile.write_text(device.read_text().replace('"ssh"', '"adb"').replace("emulated-pi", "emulated-phone"))
    return AdbPlace(phone, profile)
