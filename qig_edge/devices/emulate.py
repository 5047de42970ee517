"""Runs a device's own program under qemu on this machine: it shows that the program is right, never how fast it is."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

from qig_edge.devices.profile import Profile
from qig_edge.errors import DeviceError

EMULATORS = ("qemu-aarch64-static", "qemu-aarch64")
PROMPT = "Once upon a time there was a fox"
TOKENS = 48


def emulator() -> str:
    """Path of qemu's user mode for aarch64. Raises DeviceError naming the package where there is none."""
    for name in EMULATORS:
        path = shutil.which(name)
        if path:
            return path
    raise DeviceError(
        f"{EMULATORS[0]} is not installed: run 'apt install qemu-user-static' (Debian, Ubuntu, Raspberry Pi OS)"
    )


def greedy_text(command: list[str], model: Path, tokens: int = TOKENS, prompt: str = PROMPT, isa: str = "auto") -> str:
    """Greedy continuation that a `qig` program (with its emulator before it) prints; errors as run_program."""
    return run_program(
        [*command, "generate", str(model), "-p", prompt, "-n", str(tokens), "--greedy", "-t", "1", "--isa", isa]
    )


def run_program(command: list[str]) -> str:
    """What a program prints. Raises DeviceError with the last line of its complaint where it fails."""
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit code {done.returncode}"]
        raise DeviceError(f"{' '.join(command[:5])}: {lines[-1].removeprefix('error: ')}")
    return done.stdout.decode("utf-8", "replace")


def emulated(profile: Profile, program: Path) -> list[str]:
    """The command that runs a device's program here, on qemu's model of its processor, or as it is where the device is of this machine's kind.

    Raises DeviceError without qemu, or where neither can run it.
    """
    if not profile.emulator_cpu:
        if not profile.target.startswith(platform.machine()):
            needs = profile.target.partition("-")[0]
            raise DeviceError(
                f"a program for {profile.name} runs on {needs} machines, this one is {platform.machine()}"
            )
        return [str(program)]
    return [emulator(), "-cpu", profile.emulator_cpu, str(program)]
