"""This machine as a device, and a device that is emulated on it."""

from __future__ import annotations

import shlex
from pathlib import Path

from qig_edge.devices.shell import ShellTransport
from qig_edge.devices.transport import Done


class LocalTransport(ShellTransport):
    """Programs of this machine; `home` is where paths that do not begin with "/" are seen from, the user's home folder by default."""

    def __init__(self, name: str = "this machine", home: Path | None = None) -> None:
        super().__init__()
        self.name = name
        self.home = shlex.quote(str(home or Path.home()))

    def _argv(self, line: str, terminal: bool) -> list[str]:
        return ["sh", "-c", line]

    def _broken(self, done: Done) -> str | None:
        return None
