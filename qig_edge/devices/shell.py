"""What transports have in common that hand lines to a POSIX shell on the device: push, pull and run, by nothing but sh, cat, df, wc and sha256sum.

A line travels in an alphabet that every login shell leaves as it is, and an sh there decodes it: no character of an argument means anything on the
way. Arguments of the scripts below are positional parameters, never pasted into them.
"""

from __future__ import annotations

import abc
import contextlib
import hashlib
import os
import posixpath
import queue
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from qig_edge.devices.transport import Done, Progress, Pushed
from qig_edge.errors import ConfigError, DeviceError, ModelFileError
from qig_edge.runtime.files import replacing

CHUNK = 1 << 20
GRACE = 5.0  # seconds in which what was told to end must have ended
LONGEST = 120_000  # characters of a line; Linux takes 131,072 in one argument
SPARE = 1 << 20  # bytes that stay free on the device
DIFFERS = 9  # exit status of FINISH where the file is not what was sent
PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 _./:,=+@-")

# $1 folder, $2 target, $3 partial file, $4 size, $5 what the partial files of other contents begin with, $6 mode. A login shell's greeting may come
# before what is printed here, so each line begins with a word of its own.
QUERY = """
command -v sha256sum >/dev/null || { echo 'sha256sum is missing there' >&2; exit 1; }
[ -d "$2" ] && { echo "$2 is a folder there" >&2; exit 1; }
mkdir -p "$1" || exit 1
for f in "$5".????????????????.partial; do [ "$f" = "$3" ] || rm -f "$f"; done
df -Pk "$1" | sed 's/^/qig-space /'
if [ -f "$3" ]; then echo "qig-partial $(wc -c <"$3")"; fi
if [ -f "$2" ] && [ "$(wc -c <"$2")" -eq "$4" ]; then chmod "$6" "$2"; echo "qig-target $(sha256sum <"$2")"; fi
"""
APPEND = 'cat >>"$1"'
# $1 partial file, $2 target, $3 hash, $4 mode
FINISH = f"""
case $(sha256sum <"$1") in "$3"*) ;; *) rm -f "$1"; exit {DIFFERS} ;; esac
chmod "$4" "$1" || exit 1
sync -d "$1" 2>/dev/null || sync
mv -f "$1" "$2"
"""
DESCRIBE = '[ -f "$1" ] || { echo "there is no file $1" >&2; exit 1; }; echo "qig-file $(wc -c <"$1") $(sha256sum <"$1")"'
_LOCKS: dict[tuple[str, str], threading.Lock] = {}


def neutral(line: str) -> str:
    """A line of sh as one that any login shell (csh and fish too) hands to an sh unchanged. Raises ConfigError for a zero byte or an endless line."""
    data = os.fsencode(line)
    if 0 in data:
        raise ConfigError("an argument for the device holds a zero byte, which no program can be given")
    spelt = "".join(chr(b) if b in PLAIN else f"\\0{b:03o}" for b in data)
    if len(spelt) > LONGEST:
        raise ConfigError(f"the arguments for the device have {len(data)} bytes: give long texts through a pipe")
    return f"""exec sh -c 'eval "$(printf %b "$1")"' qig '{spelt}'"""


def watched(command: Sequence[str], stdin_bytes: int) -> str:
    """The line of sh that runs a program with the first stdin_bytes of its input and ends it when the input ends after them: whoever started it has
    gone, or wants it gone.

    adbd gives a line one socket as its input and output, and waits until nobody holds it: what watches is the shell itself, in its builtin read, as
    a cat would outlive it. It is ended by KILL: an mksh that has only just forked loses a TERM, as may the program, which gets a KILL later on.
    """
    program = shlex.join(command)
    # a file takes the input: a pipe would let the watch below read what is meant for the program
    staged = "exec 4</dev/null;"
    if stdin_bytes:
        staged = f'f=.qig-input.$$; (umask 077; head -c {stdin_bytes} <&3 >"$f") || exit 1; exec 4<"$f"; rm -f "$f";'
    return (
        f"exec 3<&0; {staged} {program} <&4 3<&- 4<&- & p=$!;"
        " { read -r x <&3; kill -TERM $p; sleep 3 </dev/null 3<&-; kill -KILL $p; } >/dev/null 2>&1 & w=$!;"
        " wait $p; c=$?; exec 2>/dev/null; kill -KILL $w; exit $c"
    )


class Job:
    """A process whose output threads take, so that neither of its pipes fills while the other is waited for."""

    def __init__(self, argv: Sequence[str]) -> None:
        self.process = subprocess.Popen(
            list(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
        )
        self._said: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
        for which in ("stdout", "stderr"):
            threading.Thread(target=self._read, args=(which,), daemon=True).start()

    def _read(self, which: str) -> None:
        with getattr(self.process, which) as pipe:
            while data := os.read(pipe.fileno(), 1 << 16):
                self._said.put((which, data))
        self._said.put((which, b""))

    def write(self, data: bytes) -> None:
        """Gives it all of data. Raises OSError where it reads no more."""
        assert self.process.stdin
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self.process.stdin.fileno(), rest) :]

    def close_input(self) -> None:
        if self.process.stdin:
            with contextlib.suppress(OSError):
                self.process.stdin.close()

    def finish(self, timeout: float | None = None, on_stdout: Callable[[bytes], None] | None = None, keep: bool = True) -> Done:
        """What it prints, to its end. keep: whether stdout is kept, too, where on_stdout sees it. Raises TimeoutError."""
        parts: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
        limit = None if timeout is None else time.monotonic() + timeout
        open_pipes = 2
        while open_pipes:
            try:
                left = None if limit is None else max(0.0, limit - time.monotonic())
                which, data = self._said.get(timeout=left)
            except queue.Empty:
                raise TimeoutError from None
            open_pipes -= not data
            if data and which == "stdout" and on_stdout:
                on_stdout(data)
            if keep or which == "stderr":
                parts[which].append(data)
        return Done(self.process.wait(), b"".join(parts["stdout"]), b"".join(parts["stderr"]))

    def end(self) -> None:
        """Ends it: its input first, which tells the far end, then the process here."""
        self.close_input()
        for stop in (lambda: None, self.process.terminate, self.process.kill):
            stop()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(GRACE)
                return


class ShellTransport(abc.ABC):
    """The Transport of a device whose shell can be given lines. home: its home folder as a word of sh."""

    base = ""
    name: str
    home = '"$HOME"'

    def __init__(self) -> None:
        self._jobs: set[Job] = set()

    @abc.abstractmethod
    def _argv(self, line: str, terminal: bool) -> list[str]:
        """The process here that gives the device's shell a line; terminal: with the terminal of this process."""

    @abc.abstractmethod
    def _broken(self, done: Done) -> str | None:
        """What is wrong with the way to the device, where that is what ended a process; None where a program there ended."""

    def close(self) -> None:
        """Ends what still runs."""
        for job in list(self._jobs):
            job.end()

    def run(
        self,
        command: Sequence[str],
        *,
        timeout: float | None = None,
        on_stdout: Callable[[bytes], None] | None = None,
        stdin: bytes = b"",
    ) -> Done:
        """See Transport."""
        with self._job(watched(command, len(stdin))) as job:

            def feed() -> None:
                with contextlib.suppress(OSError):  # a program need not read what it is given
                    job.write(stdin)

            threading.Thread(target=feed, daemon=True).start()
            try:
                done = job.finish(timeout, on_stdout)
            except TimeoutError:
                raise DeviceError(f"{self.name}: {command[0]} was ended after {timeout:g} s") from None
        return self._whole(done)

    def interactive(self, command: Sequence[str]) -> int:
        """See Transport."""
        terminal = sys.stdin.isatty() and sys.stdout.isatty()
        argv = self._argv(f"cd {self.home} && exec {shlex.join(command)}", terminal)
        # Ctrl-C is the program's: it stops an answer there
        before = signal.signal(signal.SIGINT, lambda number, frame: None) if terminal else None
        try:
            code = subprocess.call(argv)
        finally:
            if terminal:
                signal.signal(signal.SIGINT, before)
        self._left(code)
        return code

    def _left(self, code: int) -> None:
        """After a program on somebody's terminal: raises DeviceError where its line broke."""
        self._whole(Done(code, b"", b""))

    def push(self, source: Path, target: str, progress: Progress | None = None, executable: bool = False) -> Pushed:
        """See Transport."""
        try:
            size, digest = source.stat().st_size, file_hash(source)
        except OSError as e:
            raise ModelFileError(f"{source}: {e.strerror}") from None
        target = target if target.startswith("/") else f"./{target}"
        mode = "755" if executable else "644"
        with _LOCKS.setdefault((self.name, target), threading.Lock()):
            for _ in range(2):  # what lay there of an earlier push may be spoilt: then once more, from the beginning
                pushed = self._push(source, size, digest, target, mode, progress)
                if pushed:
                    return pushed
        raise DeviceError(f"{self.name}: {target} is not what was sent: {source} changed meanwhile, or the device's disk loses data")

    def _push(self, source: Path, size: int, digest: str, target: str, mode: str, progress: Progress | None) -> Pushed | None:
        folder, name = posixpath.split(target)
        stem = posixpath.join(folder, f".{name}")
        partial = f"{stem}.{digest[:16]}.partial"
        told = self._script(QUERY, folder, target, partial, str(size), stem, mode)
        shown = target.removeprefix("./")
        if (there := re.search(r"^qig-target (\w+)", told, re.M)) and there[1] == digest:
            return Pushed(shown, size, 0)
        begun = int(found[1]) if (found := re.search(r"^qig-partial +(\d+)", told, re.M)) else 0
        if begun > size:
            self._script('rm -f "$1"', partial)
            begun = 0
        free = re.search(r"^qig-space .*\s\d+\s+\d+\s+(-?\d+)\s+\S+\s+/", told, re.M)
        if not free:
            raise DeviceError(f"{self.name}: df does not tell the space of {folder}")
        if size - begun + SPARE > int(free[1]) * 1024:
            coming, space = (size - begun) / 1e6, int(free[1]) * 1024 / 1e6
            raise DeviceError(f"{self.name}: no space left for {name}: {coming:.1f} MB are still to come, {space:.1f} MB are free there")
        if begun < size or not size:  # an empty file has to be made, too
            self._send(source, begun, size, partial, name, progress)
        done = self._script_done(FINISH, partial, target, digest, mode)
        if done.code == DIFFERS:
            return None
        self._succeeded(done)
        return Pushed(shown, size, size - begun)

    def _send(self, source: Path, begun: int, size: int, partial: str, name: str, progress: Progress | None) -> None:
        """Appends a file's bytes from `begun` on to the partial file."""
        sent = begun
        with source.open("rb") as file, self._job(shlex.join(["sh", "-c", APPEND, "qig", partial])) as job:
            file.seek(begun)
            # where writing fails, the far end says why
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                while sent < size and (data := file.read(min(CHUNK, size - sent))):
                    job.write(data)
                    sent += len(data)
                    if progress:
                        progress(sent, size, f"sending {name} to {self.name}")
            job.close_input()
            done = job.finish()
        self._succeeded(self._whole(done))

    def pull(self, source: str, target: Path, progress: Progress | None = None) -> None:
        """See Transport."""
        path = source if source.startswith("/") else f"./{source}"
        described = re.search(r"^qig-file +(\d+) (\w+)", self._script(DESCRIBE, path), re.M)
        if not described:
            raise DeviceError(f"{self.name}: sha256sum does not tell the hash of {source}")
        size, digest, got = int(described[1]), hashlib.sha256(), 0
        with replacing(target) as partial, partial.open("wb") as file:

            def take(data: bytes) -> None:
                nonlocal got
                file.write(data)
                digest.update(data)
                got += len(data)
                if progress:
                    progress(got, size, f"fetching {source} from {self.name}")

            with self._job(shlex.join(["cat", path])) as job:
                done = job.finish(on_stdout=take, keep=False)
            self._succeeded(self._whole(done))
            if digest.hexdigest() != described[2]:
                raise DeviceError(f"{self.name}: {source} arrived as something else: it changed meanwhile")

    @contextlib.contextmanager
    def _job(self, line: str) -> Iterator[Job]:
        """A line of sh at work in the home folder; it is ended where the block is left before it."""
        job = Job(self._argv(f"cd {self.home} && {{ {line}\n}}", terminal=False))
        self._jobs.add(job)
        try:
            yield job
        finally:
            job.end() if job.process.poll() is None else job.close_input()
            self._jobs.discard(job)

    def _whole(self, done: Done) -> Done:
        if complaint := self._broken(done):
            raise DeviceError(complaint)
        return done

    def _script_done(self, script: str, *args: str) -> Done:
        return self.run(["sh", "-c", script, "qig", *args])

    def _script(self, script: str, *args: str) -> str:
        return self._succeeded(self._script_done(script, *args)).stdout.decode("utf-8", "replace")

    def _succeeded(self, done: Done) -> Done:
        if done.code:
            lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit code {done.code}"]
            full = next((line for line in lines if "No space left" in line or "quota exceeded" in line), None)
            raise DeviceError(f"{self.name}: " + (f"no space left ({full.strip()})" if full else lines[-1].strip()))
        return done


def file_hash(path: Path) -> str:
    """SHA-256 of a file, hexadecimal. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(CHUNK):
            digest.update(data)
    return digest.hexdigest()
