"""A device behind the system's ssh: keys, agents, jump hosts, ports and known hosts are those of the user's own configuration.

QIG_EDGE_SSH names another ssh, with options: QIG_EDGE_SSH="ssh -F my-config". Where the configuration shares no connection by itself, one is opened
per transport and every command goes over it, so that a password is asked for once; it is given up with close(), or five minutes after the last one.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from qig_edge.devices.shell import ShellTransport, neutral
from qig_edge.devices.transport import Done
from qig_edge.errors import DeviceError

SSH = "QIG_EDGE_SSH"
OWN_FAILURE = 255  # ssh's exit status where it is not the remote program's
KEPT = 300  # seconds that the shared connection outlives its last command
LONGEST_SOCKET = 90  # characters; a socket's path has 108 bytes, and ssh puts a suffix behind it for a moment
# As scp sets them: what a login may do beside running this command is not wanted here.
QUIET = ("ClearAllForwardings=yes", "ForwardAgent=no", "ForwardX11=no", "PermitLocalCommand=no", "RemoteCommand=none", "RequestTTY=no")
# Options for which the user's configuration says nothing: without them a line that is cut is never noticed.
DEFAULTS = {"serveraliveinterval": ("0", "ServerAliveInterval=15"), "connecttimeout": ("none", "ConnectTimeout=15")}


class SshTransport(ShellTransport):
    """host: what ssh takes: user@host, a name of the configuration, ssh://user@host:port. Raises DeviceError for anything else, and without ssh."""

    def __init__(self, host: str) -> None:
        super().__init__()
        if not host or host.startswith("-") or any(c.isspace() or not c.isprintable() for c in host):
            raise DeviceError(f"host '{host}' must be what ssh takes: user@host, a name of ssh's configuration, or ssh://user@host:port")
        self.name = host
        self.ssh = shlex.split(os.environ.get(SSH) or "ssh")
        if not self.ssh or shutil.which(self.ssh[0]) is None:
            raise DeviceError(f"{self.ssh[0] if self.ssh else SSH} is not installed: run 'apt install openssh-client'")
        self._options = [part for option in QUIET for part in ("-o", option)]
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def connect(self) -> None:
        """Logs in, once; on a terminal ssh may ask for a password or whether to trust a new key. Raises DeviceError where it does not get in."""
        configured = self._configured()
        for key, (unset, option) in DEFAULTS.items():
            if configured.get(key, unset) == unset:
                self._options += ["-o", option]
        shared: list[str] = []
        if configured.get("controlpath", "none") == "none" and os.name == "posix":
            self._folder = tempfile.TemporaryDirectory(prefix="qig-ssh-")  # only this user may look into it
            socket = str(Path(self._folder.name) / "line")
            if len(socket) <= LONGEST_SOCKET:
                self._options += ["-o", f"ControlPath={socket}"]
                shared = ["-o", "ControlMaster=yes", "-o", f"ControlPersist={KEPT}"]
        asking = [] if sys.stderr.isatty() else ["-o", "BatchMode=yes"]
        # a file takes what it says: the connection that stays behind would hold a pipe open
        with tempfile.TemporaryFile() as said:
            argv = [*self.ssh, *self._options, *shared, *asking, "-T", "--", self.name, "exit 0"]
            code = subprocess.call(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said)
            said.seek(0)
            self._whole(Done(code, b"", said.read()))
        self._options += ["-o", "BatchMode=yes"]
        if shared:
            self._options += ["-o", "ControlMaster=no"]

    def close(self) -> None:
        """Ends what still runs, and the shared connection."""
        super().close()
        if self._folder:
            subprocess.call(
                [*self.ssh, *self._options, "-O", "exit", "--", self.name],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            self._folder.cleanup()
            self._folder = None

    def _configured(self) -> dict[str, str]:
        """What ssh would use for this host, by option in lower case."""
        done = subprocess.run([*self.ssh, "-G", "--", self.name], capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no message"]
            raise DeviceError(f"host '{self.name}': ssh does not take it: {lines[0].strip()}")
        return {key.lower(): value for key, _, value in (line.partition(" ") for line in done.stdout.splitlines())}

    def _argv(self, line: str, terminal: bool) -> list[str]:
        tty = ["-o", "RequestTTY=force"] if terminal else ["-T"]
        return [*self.ssh, *tty, *self._options, "--", self.name, neutral(line)]

    def _broken(self, done: Done) -> str | None:
        if done.code != OWN_FAILURE:
            return None
        said = done.stderr.decode("utf-8", "replace")
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        if "REMOTE HOST IDENTIFICATION HAS CHANGED" in said:
            return (
                f"{self.name}: its host key is another one than ssh knows: somebody may be in between. If the system there was installed anew,"
                f" 'ssh-keygen -R {self.host}' forgets the old key"
            )
        if "Host key verification failed" in said:
            return f"{self.name}: its host key is not known here: connect once with '{shlex.join([*self.ssh, self.name])}' and compare it"
        if "Permission denied" in said or "Too many authentication failures" in said:
            return f"{self.name} refuses the login: '{shlex.join([*self.ssh, self.name])}' must work; 'ssh-copy-id {self.name}' leaves a key there"
        if re.search(r"resolve hostname|connect to host|timed out during|Connection timed out", said):
            return f"{self.name} cannot be reached: {lines[-1]}"
        return f"{self.name}: the line broke" + (f": {lines[-1]}" if lines else "; the program there may have ended")

    @property
    def host(self) -> str:
        """The name without user, scheme and port, as ssh-keygen takes it."""
        bare = self.name.removeprefix("ssh://").rpartition("@")[2]
        return bare.partition("/")[0].rpartition(":")[0] or bare if self.name.startswith("ssh://") else bare
