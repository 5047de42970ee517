"""A phone as far as the system's `adb` can tell: a server that speaks the device's side of ADB's protocol over TCP.

Messages: six little-endian words (command, two arguments, length, checksum, command inverted), then the payload. CNXN greets, AUTH asks for a
signature, OPEN asks for a service on a stream, WRTE carries bytes and waits for OKAY, CLSE ends a stream. Services: shell,v2 (framed stdin, stdout,
stderr and exit status, the program's stdin and stdout being one socket as on a phone) and sync (stat, send, receive). Commands run in Android's own
shell and tools, mksh and toybox, where this machine has them, else in its sh; where they say /data/local/tmp they get a folder of the test.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import queue
import select
import shutil
import signal
import socket
import struct
import subprocess
import termios
import threading
from pathlib import Path

HEADER = struct.Struct("<4sIIIII")
FRAME = struct.Struct("<BI")
STDIN, STDOUT, STDERR, EXIT, CLOSE_STDIN = range(5)
TOKEN, SIGNATURE, PUBLIC_KEY = 1, 2, 3
MAX_DATA = 1 << 18
DATA_FOLDER = "/data/local/tmp"


class Stream:
    """One service at work: bytes of the computer come out of read(), write() sends and waits until they have been taken."""

    def __init__(self, line: Line, mine: int, theirs: int) -> None:
        self.line, self.mine, self.theirs = line, mine, theirs
        self.arrived: queue.Queue[bytes] = queue.Queue()
        self.taken = threading.Semaphore(0)
        self.closed = False
        self.rest = b""

    def read(self, size: int) -> bytes:
        """Exactly size bytes, or b"" where the stream ends before them."""
        while len(self.rest) < size:
            data = b"" if self.closed and self.arrived.empty() else self.arrived.get()
            if not data:
                return b""
            self.line.send(b"OKAY", self.mine, self.theirs)
            self.rest += data
        out, self.rest = self.rest[:size], self.rest[size:]
        return out

    def write(self, data: bytes) -> None:
        for begin in range(0, len(data), MAX_DATA):
            if self.closed:
                return
            self.line.send(b"WRTE", self.mine, self.theirs, data[begin : begin + MAX_DATA])
            self.taken.acquire()

    def finish(self) -> None:
        """The service has no more to say."""
        if not self.closed:
            self.line.send(b"CLSE", self.mine, self.theirs)
            self.close()

    def close(self) -> None:
        """The other side closed, or the line is gone."""
        self.closed = True
        self.arrived.put(b"")
        self.taken.release()


class Line:
    """One connection of adb's server to the phone."""

    def __init__(self, phone: Phone, connection: socket.socket) -> None:
        self.phone, self.connection = phone, connection
        self.streams: dict[int, Stream] = {}
        self.lock = threading.Lock()
        threading.Thread(target=self.serve, daemon=True).start()

    def send(self, command: bytes, first: int, second: int, data: bytes = b"") -> None:
        inverted = int.from_bytes(command, "little") ^ 0xFFFFFFFF
        with self.lock, contextlib.suppress(OSError):
            self.connection.sendall(HEADER.pack(command, first, second, len(data), sum(data) & 0xFFFFFFFF, inverted) + data)

    def receive(self, size: int) -> bytes:
        parts = []
        while size:
            data = self.connection.recv(min(size, 1 << 16))
            if not data:
                raise ConnectionResetError
            parts.append(data)
            size -= len(data)
        return b"".join(parts)

    def serve(self) -> None:
        try:
            while True:
                command, first, second, length, _, _ = HEADER.unpack(self.receive(HEADER.size))
                self.take(command, first, second, self.receive(length))
        except OSError:
            self.connection.close()
            for stream in list(self.streams.values()):
                stream.close()

    def take(self, command: bytes, first: int, second: int, data: bytes) -> None:
        if command == b"CNXN":
            self.greet() if self.phone.trusting else self.send(b"AUTH", TOKEN, 0, b"\x5a" * 20)
        elif command == b"AUTH" and first == SIGNATURE:
            self.send(b"AUTH", TOKEN, 0, b"\xa5" * 20)  # not a key it knows; the public key comes next, for the owner to accept or not
        elif command == b"OPEN":
            mine = len(self.streams) + 1
            stream = self.streams[mine] = Stream(self, mine, first)
            self.send(b"OKAY", mine, first)
            threading.Thread(target=self.phone.service, args=(stream, data.rstrip(b"\0").decode()), daemon=True).start()
        elif command in (b"WRTE", b"OKAY", b"CLSE") and second in self.streams:
            stream = self.streams[second]
            if command == b"WRTE":
                stream.arrived.put(data)
                self.phone.count(len(data))
            elif command == b"OKAY":
                stream.taken.release()
            else:
                stream.close()

    def greet(self) -> None:
        banner = f"device::ro.product.name=double;ro.product.model=Double;ro.product.device=double;features={','.join(self.phone.features)}"
        self.send(b"CNXN", 0x01000001, MAX_DATA, banner.encode())


class Phone:
    """Listens on a port of its own until close(). folder is what it has at /data/local/tmp, tools a folder of programs that come before the
    system's; trusting: whether it takes any computer; features: what it says it can."""

    def __init__(self, folder: Path, *, trusting: bool = True, features: tuple[str, ...] = ("shell_v2", "cmd", "stat_v2")) -> None:
        self.folder, self.trusting, self.features = folder / "data", trusting, features
        self.tools = folder / "tools"
        self.folder.mkdir(parents=True)
        self.tools.mkdir()
        self.path = [str(self.tools)]
        mksh, toybox = shutil.which("mksh"), shutil.which("toybox")
        if mksh and toybox:
            system = folder / "system"
            system.mkdir()
            for name in subprocess.run([toybox], capture_output=True, text=True, check=True).stdout.split():
                (system / name).symlink_to(toybox)
            (system / "sh").symlink_to(mksh)
            self.path.append(str(system))
        else:
            self.path.append(os.environ["PATH"])
        self.commands: list[str] = []
        self.lines: list[Line] = []
        self.left: int | None = None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.serial = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self.lines.append(Line(self, self.listener.accept()[0]))

    def close(self) -> None:
        # a blocked accept() keeps a listener alive that is only closed
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()

    def cut(self) -> None:
        """Breaks every connection, as a pulled cable does."""
        for line in self.lines:
            with contextlib.suppress(OSError):
                line.connection.shutdown(socket.SHUT_RDWR)
        self.lines.clear()

    def cut_after(self, size: int) -> None:
        """Breaks the connections after so many more bytes of the computer's."""
        self.left = size

    def count(self, size: int) -> None:
        if self.left is not None:
            self.left -= size
            if self.left <= 0:
                self.left = None
                self.cut()

    def there(self, path: str) -> str:
        return path.replace(DATA_FOLDER, str(self.folder))

    def service(self, stream: Stream, name: str) -> None:
        kind, _, rest = name.partition(":")
        if kind == "sync":
            Sync(self, stream).serve()
        elif kind.startswith("shell,v2"):
            self.commands.append(rest)
            Shell(self, stream, rest, terminal=",pty" in kind).serve()
        stream.finish()


class Shell:
    """A command and its output in frames of one byte that says which, four that say how much, and the bytes."""

    def __init__(self, phone: Phone, stream: Stream, command: str, terminal: bool) -> None:
        self.stream = stream
        ours, theirs = pty.openpty() if terminal else (s.detach() for s in socket.socketpair())
        errors, their_errors = (os.dup(ours), os.dup(theirs)) if terminal else (s.detach() for s in socket.socketpair())
        self.output, self.errors = ours, errors
        self.process = subprocess.Popen(
            ["sh", "-c", phone.there(command)],
            executable=shutil.which("sh", path=":".join(phone.path[1:])),
            stdin=theirs,
            stdout=theirs,
            stderr=their_errors,
            cwd="/",
            env={"PATH": ":".join(phone.path), "HOME": "/", "SHELL": "/bin/sh", "USER": "shell"},
            start_new_session=True,
            preexec_fn=(lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)) if terminal else None,
        )
        self.terminal = terminal
        os.close(theirs)
        os.close(their_errors)

    def serve(self) -> None:
        feeder = threading.Thread(target=self.feed, daemon=True)
        feeder.start()
        # a program has ended when nothing holds its stdout and stderr any more: whoever keeps them open keeps the computer waiting
        pipes = {self.output: STDOUT} if self.terminal else {self.output: STDOUT, self.errors: STDERR}
        while pipes and not self.stream.closed:
            for pipe in select.select(list(pipes), [], [], 0.05)[0]:
                try:
                    data = os.read(pipe, 1 << 15)
                except OSError:  # a terminal without a program
                    data = b""
                if data:
                    self.stream.write(FRAME.pack(pipes[pipe], len(data)) + data)
                else:
                    del pipes[pipe]
        if self.stream.closed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGHUP)
            if not self.terminal:
                self.shut(socket.SHUT_RDWR)
        code = self.process.wait()
        self.stream.write(FRAME.pack(EXIT, 1) + bytes([code if code >= 0 else 0x80 | -code]))
        self.stream.finish()
        feeder.join()  # its descriptors are nobody else's until it has ended
        os.close(self.output)
        os.close(self.errors)

    def shut(self, how: int) -> None:
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self.output)) as end:
            end.shutdown(how)

    def feed(self) -> None:
        with contextlib.suppress(OSError):
            while head := self.stream.read(FRAME.size):
                kind, size = FRAME.unpack(head)
                data = self.stream.read(size)
                if kind == STDIN:
                    while data:
                        data = data[os.write(self.output, data) :]
                elif kind == CLOSE_STDIN and not self.terminal:
                    self.shut(socket.SHUT_WR)


class Sync:
    """Files by adb push and adb pull."""

    def __init__(self, phone: Phone, stream: Stream) -> None:
        self.phone, self.stream = phone, stream

    def serve(self) -> None:
        while head := self.stream.read(8):
            kind, size = head[:4], int.from_bytes(head[4:], "little")
            if kind == b"QUIT":
                return
            path = self.phone.there(self.stream.read(size).decode())
            {b"STAT": self.stat, b"STA2": self.stat_v2, b"LST2": self.stat_v2, b"SEND": self.send, b"RECV": self.receive}[kind](path, kind)

    def stat(self, path: str, kind: bytes) -> None:
        try:
            found = os.lstat(path)
            self.stream.write(struct.pack("<4sIII", kind, found.st_mode, found.st_size, int(found.st_mtime)))
        except OSError:
            self.stream.write(struct.pack("<4sIII", kind, 0, 0, 0))

    def stat_v2(self, path: str, kind: bytes) -> None:
        answer = struct.Struct("<4sIQQIIIIQqqq")
        try:
            found = os.stat(path) if kind == b"STA2" else os.lstat(path)
        except OSError as e:
            self.stream.write(answer.pack(kind, e.errno, *[0] * 10))
            return
        ids = (found.st_dev, found.st_ino, found.st_mode, found.st_nlink, 2000, 2000)
        times = (int(found.st_atime), int(found.st_mtime), int(found.st_ctime))
        self.stream.write(answer.pack(kind, 0, *ids, found.st_size, *times))

    def send(self, path: str, kind: bytes) -> None:
        path, _, mode = path.rpartition(",")
        with open(path, "wb") as file:
            while head := self.stream.read(8):
                kind, size = head[:4], int.from_bytes(head[4:], "little")
                if kind == b"DONE":
                    os.chmod(path, int(mode) & 0o777)
                    self.stream.write(struct.pack("<4sI", b"OKAY", 0))
                    return
                file.write(self.stream.read(size))

    def receive(self, path: str, kind: bytes) -> None:
        try:
            data = Path(path).read_bytes()
        except OSError as e:
            said = str(e.strerror).encode()
            self.stream.write(struct.pack("<4sI", b"FAIL", len(said)) + said)
            return
        for begin in range(0, len(data), 1 << 16):
            part = data[begin : begin + (1 << 16)]
            self.stream.write(struct.pack("<4sI", b"DATA", len(part)) + part)
        self.stream.write(struct.pack("<4sI", b"DONE", 0))
