"""A device's own program, built and run on this machine under emulation: is it right? How fast it is cannot be seen so: see predicted.py."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qig_edge import __version__
from qig_edge.devices.crossbuild import build_program
from qig_edge.devices.emulate import PROMPT, TOKENS, emulated, greedy_text, run_program
from qig_edge.devices.host import program_path
from qig_edge.devices.profile import Profile

NOTE = "Speed is not measured under emulation but predicted; run qig-edge bench on the device to measure it."


def check(model: Path, profile: Profile, progress: Callable[[int, int, str], None] | None = None) -> dict[str, Any]:
    """Builds the program of a device, runs it under qemu, and compares its greedy text with that of this machine's program, by its best kernels or
    else by its portable ones.

    Returns one object: device, program_bytes, emulator_cpu, isa, host_isa, text, host_text, same_text, note. Raises DeviceError without qemu,
    MissingExtra without ziglang, RuntimeFault without this machine's own program.
    """
    from qig_edge.runtime.native import NativeModel

    tell = progress or (lambda done, total, what: None)
    host = program_path()
    emulated(profile, host)  # its absence is said before anything is built
    with NativeModel(model) as opened:  # and so is a bad file
        host_isa = opened.info.isa
    with tempfile.TemporaryDirectory(prefix="qig-device-") as folder:
        program = build_program(
            profile, Path(folder) / f"qig-{profile.name}", lambda done, total: tell(done, total + 2, "building")
        )
        tell(1, 3, "text of this machine")
        expected = greedy_text([str(host)], model)
        tell(2, 3, "text of the emulated device")
        command = emulated(profile, program)
        text = greedy_text(command, model)
        if text != expected and (portable := greedy_text([str(host)], model, isa="ref")) == text:
            # kernel sets add in other orders, which decides where two tokens are equally likely
            expected, host_isa = portable, "ref"
        size = program.stat().st_size
        isa = json.loads(run_program([*command, "info", str(model), "--json"]))["isa"]
    return {
        "device": profile.name,
        "description": profile.description,
        "version": __version__,
        "model": str(model),
        "program_bytes": size,
        "emulator_cpu": profile.emulator_cpu,
        "isa": isa,
        "host_isa": host_isa,
        "prompt": PROMPT,
        "tokens": TOKENS,
        "text": text,
        "host_text": expected,
        "same_text": text == expected,
        "note": NOTE,
    }


def print_check(result: dict[str, Any]) -> None:
    """The result in words on stdout."""
    print(
        f"{result['description']}: one static program of {result['program_bytes'] / 1e6:.2f} MB, kernels {result['isa']}"
    )
    where = f"under emulation of {result['emulator_cpu']}" if result["emulator_cpu"] else "run here as it is"
    if result["same_text"]:
        print(f"{where} its {result['tokens']} greedy tokens are those of this machine (kernels {result['host_isa']}):")
        print(f"  {result['text'].strip()}")
    else:
        print(f"{where} its greedy text DIFFERS from this machine's (kernels {result['host_isa']}):")
        print(f"  device: {result['text'].strip()}\n  here:   {result['host_text'].strip()}")
    print(result["note"])
