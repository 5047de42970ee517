"""The way to an Android phone: the system's own `adb`, with the server, keys and environment variables (ANDROID_SERIAL, ANDROID_ADB_SERVER_PORT)
that it has for everybody."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Sequence

from qig_edge.devices.shell import Job, ShellTransport
from qig_edge.devices.transport import Done
from qig_edge.errors import ConfigError, DeviceError

HOME = "/data/local/tmp/qig"  # the one place where what came through adb may be executed
OLDEST = (1, 0, 41)
ANSWER = 60.0  # seconds for what adb knows by itself
LONGEST = 60_000  # bytes of a line: adb tells its length in four hexadecimal digits
READY = "device"
MISSING = "adb is not installed: run 'apt install adb' (Debian, Ubuntu) or 'brew install android-platform-tools' (macOS)"
ADVICE = {
    "unauthorized": "unlock it and allow USB debugging from this computer",
    "authorizing": "unlock it and allow USB debugging from this computer",
    "offline": "plug it in again, or run 'adb disconnect {0}' and 'adb connect {0}' where it is reached over the network",
    "no permissions": "this user may not open its USB device: run 'apt install android-sdk-platform-tools-common' for the udev rules, then plug it"
    " in again",
}


def adb_program() -> str:
    """Path of adb. Raises DeviceError where there is none, or one too old."""
    path = shutil.which("adb")
    if path is None:
        raise DeviceError(MISSING)
    found = re.search(r"version (\d+)\.(\d+)\.(\d+)", asked([path, "version"]).stdout.decode("utf-8", "replace"))
    if not found or tuple(map(int, found.groups())) < OLDEST:
        shown = ".".join(found.groups()) if found else "unknown"
        raise DeviceError(f"adb at {path} has version {shown}: {'.'.join(map(str, OLDEST))} or newer is needed")
    return path


def asked(command: Sequence[str]) -> Done:
    """What adb says to a question about itself. Raises DeviceError where it says nothing for a minute."""
    try:
        done = subprocess.run(list(command), stdin=subprocess.DEVNULL, capture_output=True, timeout=ANSWER)
    except subprocess.TimeoutExpired:
        raise DeviceError(f"adb does not answer '{' '.join(command[1:])}': run 'adb kill-server', then try again") from None
    return Done(done.returncode, done.stdout, done.stderr)


def phones(adb: str) -> dict[str, str]:
    """The state of each phone that adb's server sees, by serial: "device" is the good one. Raises DeviceError where there is no server to ask."""
    done = asked([adb, "devices"])
    if done.code:
        raise DeviceError(f"adb: {complaint(done.stderr) or 'its server does not start'}")
    lines = (line.split("\t", 1) for line in done.stdout.decode("utf-8", "replace").splitlines() if "\t" in line)
    return {serial: "no permissions" if state.startswith("no permissions") else state.strip() for serial, state in lines}


def complaint(stderr: bytes) -> str:
    """The line of adb's stderr that says what is wrong; empty where there is none."""
    lines = [line.strip() for line in stderr.decode("utf-8", "replace").splitlines() if line.strip() and not line.startswith("*")]
    told = [line for line in lines if line.startswith(("error:", "adb:"))] or lines[-1:]
    return re.sub(r"^(adb: )?(error: )?", "", told[0]) if told else ""


def trouble(serial: str, state: str | None) -> str:
    """What is wrong with a phone that is not ready, and what to do. state: None where adb does not see it."""
    if state is None:
        return f"adb does not see the phone {serial}: " + (
            f"run 'adb connect {serial}'" if ":" in serial else "plug it in, unlock it and switch on USB debugging in its developer options"
        )
    return f"the phone {serial} is {state}: " + ADVICE.get(state, "start Android on it").format(serial)


def chosen(found: dict[str, str], serial: str | None) -> str:
    """The serial of the phone to use: the one asked for, else the only one. Raises DeviceError naming those there are."""
    listed = ", ".join(s if state == READY else f"{s} ({state})" for s, state in sorted(found.items()))
    if serial is None:
        if not found:
            raise DeviceError("adb sees no phone: plug one in, unlock it and switch on USB debugging in its developer options")
        if len(found) > 1:
            raise DeviceError(f"adb sees {len(found)} phones, name one with --host: {listed}")
        serial = next(iter(found))
    if found.get(serial) != READY:
        known = f" (phones: {listed})" if found and serial not in found else ""
        raise DeviceError(trouble(serial, found.get(serial)) + known)
    return serial


class AdbTransport(ShellTransport):
    """One phone. Its home folder is /data/local/tmp/qig; Android 8 or newer, for its shell has to tell exit statuses and hashes.

    serial: as `adb devices` lists it; without it ANDROID_SERIAL's, else the only phone there is. Raises DeviceError with one line where adb is
    missing, or no phone is the one, connected, and willing.
    """

    base = home = HOME  # adb shell begins in /

    def __init__(self, serial: str | None = None) -> None:
        super().__init__()
        self.adb = adb_program()
        self.serial = chosen(phones(self.adb), serial or os.environ.get("ANDROID_SERIAL") or None)
        self.name = f"adb {self.serial}"
        features = asked([self.adb, "-s", self.serial, "features"])
        if features.code:
            raise DeviceError(f"{self.name}: {complaint(features.stderr)}")
        if b"shell_v2" not in features.stdout.split():
            raise DeviceError(f"{self.name}: its Android is too old to tell exit statuses: version 8 or newer is needed")
        # adb's own exit status is 0 where the line broke in mid-run, so that of a program comes at the end of stderr, behind a word that no program
        # can know
        self._mark = f"qig-ended-{secrets.token_hex(8)}"

    def _argv(self, line: str, terminal: bool) -> list[str]:
        line = f"mkdir -p {HOME} && {line}"
        data = os.fsencode(line)
        if 0 in data:
            raise ConfigError("an argument for the device holds a zero byte, which no program can be given")
        if len(data) > LONGEST:
            raise ConfigError(f"the arguments for the device have {len(data)} bytes: give long texts through a pipe")
        # without -e none a ~ that begins a line is adb's, not the program's
        return [self.adb, "-s", self.serial, "shell", "-e", "none", "-t" if terminal else "-T", line]

    @contextlib.contextmanager
    def _job(self, line: str) -> Iterator[Job]:
        with super()._job(f"( {line}\n); printf '{self._mark} %d' $? >&2") as job:
            yield job

    def _whole(self, done: Done) -> Done:
        ended = re.search(rb"%b (\d+)" % self._mark.encode(), done.stderr)
        if not ended:
            raise DeviceError(self._broken(done))
        return Done(int(ended[1]), done.stdout, done.stderr[: ended.start()] + done.stderr[ended.end() :])

    def _broken(self, done: Done) -> str:
        """Why a line did not come to its end."""
        state = phones(self.adb).get(self.serial)
        if state != READY:
            return f"{self.name}: the connection broke: {trouble(self.serial, state)}"
        return f"{self.name}: {complaint(done.stderr) or 'the connection broke and is there again: run the command once more'}"

    def _left(self, code: int) -> None:
        # there is no room for a word of our own on somebody's terminal
        if phones(self.adb).get(self.serial) != READY:
            raise DeviceError(self._broken(Done(code, b"", b"")))
