"""Hardware counters of the processor through Linux' perf_event_open: instructions per cycle of the threads that decode (hw_ipc).

A counter is opened before the session whose threads it is to count (children inherit it), then started and stopped around the work. Where there are
more counters than registers the kernel counts a part of the time and tells which; values are scaled up by it.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import struct
import sys
from types import TracebackType

from qig_edge.bench.machine import ROOT, read

NUMBER = {"x86_64": 298, "aarch64": 241, "riscv64": 241}  # of the system call
ENABLE, DISABLE = 0x2400, 0x2401
HARDWARE, SOFTWARE = 0, 1
CYCLES, INSTRUCTIONS = 0, 1  # of HARDWARE
TASK_CLOCK = 1  # of SOFTWARE: nanoseconds
TIMES = 1 | 2  # read format: time enabled and time running with the value
DISABLED, INHERIT, NO_KERNEL, NO_HYPERVISOR = 1 << 0, 1 << 1, 1 << 5, 1 << 6
SIZE = 64  # of the attributes' first published form


class NoCounter(Exception):
    """No such counter here; the message says why."""


class Counter:
    """One counter of this thread and the threads that it makes from now on; a context manager that closes it.

    Raises NoCounter where the system has none or does not let it be read.
    """

    def __init__(self, kind: int, what: int) -> None:
        call = NUMBER.get(platform.machine())
        if sys.platform != "linux" or call is None:
            raise NoCounter(f"perf events are read on Linux on {', '.join(NUMBER)} only")
        # struct perf_event_attr: type, size, config, sample period, sample type, read format, flags, then zeros up to SIZE
        attributes = struct.pack(
            "<IIQQQQQ", kind, SIZE, what, 0, 0, TIMES, DISABLED | INHERIT | NO_KERNEL | NO_HYPERVISOR
        ).ljust(SIZE, b"\0")
        libc = ctypes.CDLL(None, use_errno=True)
        libc.syscall.restype = ctypes.c_long
        this_thread, any_cpu, no_group, close_on_exec = (ctypes.c_long(x) for x in (0, -1, -1, 8))
        self._fd = int(libc.syscall(ctypes.c_long(call), attributes, this_thread, any_cpu, no_group, close_on_exec))
        if self._fd < 0:
            raise NoCounter(_reason(ctypes.get_errno()))

    def start(self) -> None:
        fcntl.ioctl(self._fd, ENABLE, 0)

    def stop(self) -> float:
        """Stops and gives the count, scaled to the whole time. Raises NoCounter where the counter never ran."""
        fcntl.ioctl(self._fd, DISABLE, 0)
        value, enabled, running = struct.unpack("<QQQ", os.read(self._fd, 24))
        if not running:
            raise NoCounter("the counter never got a register: others use them all")
        return float(value * enabled / running)

    def close(self) -> None:
        os.close(self._fd)

    def __enter__(self) -> Counter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _reason(code: int) -> str:
    if code in (errno.EACCES, errno.EPERM):
        paranoid = read(ROOT / "proc/sys/kernel/perf_event_paranoid")
        return f"perf events are closed to this user (perf_event_paranoid is {paranoid}): sudo sysctl kernel.perf_event_paranoid=1"
    if code in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP):
        return "the processor's counters are hidden here, as in most virtual machines"
    return f"perf_event_open: {os.strerror(code)}"
