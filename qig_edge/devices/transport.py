"""What every way to reach a device offers: this machine, ssh, adb, an emulator. Nothing but the standard library."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

Progress = Callable[[int, int, str], None]  # bytes done, bytes in all, what


@dataclasses.dataclass(frozen=True)
class Done:
    """A program that ran on a device to its end. code: its exit status, as the device's shell tells it."""

    code: int
    stdout: bytes
    stderr: bytes


@dataclasses.dataclass(frozen=True)
class Pushed:
    """A file that is on the device, whole. sent: bytes that travelled now, fewer than size where a push
    that was interrupted went on, 0 where the file was there."""

    path: str
    size: int
    sent: int


class Transport(Protocol):
    """One reachable device. Paths of a device are strings in its own notation; where they do not begin with "/" they are seen from its home folder.

    Every method raises DeviceError with one line that names the device and what to do: it cannot be reached, its key is unknown or has changed,
    the line broke in mid-run, no space is left. Ctrl-C ends what runs on the device, too.
    """

    base: str  # what a path begins with that holds wherever a shell is opened there: "" where shells begin in the home folder
    name: str  # for people: "pi@raspberrypi.local", "adb R58M...", "this machine", "rpi4 (emulated)"

    def push(self, source: Path, target: str, progress: Progress | None = None, executable: bool = False) -> Pushed:
        """Puts a file at `target`: under another name until its SHA-256 there is that of `source`, then renamed. Goes on where an earlier push of
        the same content stopped; sends nothing where the file is there already. Raises DeviceError before the first byte where the device has
        not the space, ModelFileError where `source` cannot be read."""
        ...

    def pull(self, source: str, target: Path, progress: Progress | None = None) -> None:
        """Brings a file back, checked and whole or not at all."""
        ...

    def run(
        self,
        command: Sequence[str],
        *,
        timeout: float | None = None,
        on_stdout: Callable[[bytes], None] | None = None,
        stdin: bytes = b"",
    ) -> Done:
        """Runs a program: each argument arrives as it stands, whatever its characters. on_stdout sees what it prints as it comes. timeout, in
        seconds, ends it and raises DeviceError. An exit status other than 0 is no error here."""
        ...

    def interactive(self, command: Sequence[str]) -> int:
        """Runs a program on the terminal of this process and returns its exit status."""
        ...

    def close(self) -> None:
        """Ends what still runs there and gives the way back."""
        ...
