"""A page in Chromium, driven through a pipe with its DevTools protocol: what it logs, what it asks of the network, how it lies."""

from __future__ import annotations

import dataclasses
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Chromium reads commands from descriptor 3 and answers on 4.
LAUNCH = (
    "import fcntl, os, sys\n"
    "pair = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 10) for fd in sys.argv[1:3]]\n"
    "for fd, target in zip(pair, (3, 4)):\n"
    "    os.dup2(fd, target)\n"
    "    os.close(fd)\n"
    "os.execv(sys.argv[3], sys.argv[3:])\n"
)
SECONDS = 60.0


def program() -> str | None:
    """The browser's path, None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@dataclasses.dataclass
class Seen:
    """errors: what the console, exceptions and the browser's log said; requests: addresses asked for; value: what the script gave."""

    errors: list[str]
    requests: list[str]
    value: Any


class Browser:
    """One browser process; see() opens a page in it."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read, self._buffer, self._next = write, read, b"", 0
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        self._next += 1
        message = {"id": self._next, "method": method, "params": params, **({"sessionId": session} if session else {})}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == self._next:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def _message(self) -> dict[str, Any]:
        until = time.monotonic() + SECONDS
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, until - time.monotonic()))
            assert ready, "the browser does not answer"
            piece = os.read(self._read, 1 << 16)
            assert piece, "the browser ended"
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(line)

    def see(self, page: Path, width: int, script: str, scheme: str = "light") -> Seen:
        """Loads a file at a width in CSS pixels, as a phone would below 600, and evaluates an expression in it."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable", session)
        self.call("Emulation.setDeviceMetricsOverride", session, width=width, height=800, deviceScaleFactor=1, mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", session, features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.events.clear()
        self.call("Page.navigate", session, url=page.as_uri())
        while not any(e.get("method") == "Page.loadEventFired" for e in self.events):
            self.events.append(self._message())
        found = self.call("Runtime.evaluate", session, expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        errors, requests = [], []
        for event in self.events:
            method, params = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown" or (method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert")):
                errors.append(json.dumps(params)[:500])
            elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                errors.append(params["entry"]["text"])
            elif method == "Network.requestWillBeSent":
                requests.append(params["request"]["url"])
        self.call("Target.closeTarget", targetId=target)
        return Seen(errors, requests, found["result"].get("value"))


@contextmanager
def browser(executable: str, profile: Path) -> Iterator[Browser]:
    """Starts a browser with an empty profile and ends it."""
    (their_read, our_write), (our_read, their_write) = os.pipe(), os.pipe()
    # no sandbox: containers do not let it make one, and the page is our own
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--remote-debugging-pipe"]
    options.append(f"--user-data-dir={profile}")
    command = [sys.executable, "-c", LAUNCH, str(their_read), str(their_write), executable, *options]
    nowhere = subprocess.DEVNULL
    process = subprocess.Popen(command, pass_fds=(their_read, their_write), stdin=nowhere, stdout=nowhere, stderr=nowhere)
    os.close(their_read)
    os.close(their_write)
    try:
        yield Browser(our_write, our_read)
    finally:
        os.close(our_write)  # the end of its pipe ends the browser
        os.close(our_read)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
