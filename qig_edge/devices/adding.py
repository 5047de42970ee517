"""A profile of one's own, written from what a reachable machine says of itself."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

from qig_edge.devices.probe import Probe, probe
from qig_edge.devices.profile import Profile, load_profile, shipped_names, user_folder
from qig_edge.devices.transport import Transport
from qig_edge.errors import DeviceError
from qig_edge.runtime.files import written_whole

TARGETS = {"aarch64": ("aarch64-linux-musl", "generic", "cortex-a76"), "x86_64": ("x86_64-linux-musl", "baseline", "")}


def add_device(way: Transport, name: str, host: str, force: bool = False) -> tuple[Path, Profile]:
    """Writes NAME.toml into the user's folder and returns it with the profile. force: also over one that is there.

    Where the board is one of a shipped profile, that one's facts are taken over. Raises DeviceError for a name that is no file name, one that is
    taken, and a machine that qig does not run on.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) or name.endswith(".toml"):
        raise DeviceError(f"device name '{name}' must be letters, digits, '-', '_' and '.', and no file's")
    path = user_folder() / f"{name}.toml"
    if path.exists() and not force:
        raise DeviceError(f"device '{name}' is there already ({path}): --force writes it anew")
    found = probe(way)
    profile = described(found, name, host)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as file:
        file.write(f"# Probed on {way.name}: {found.machine['cpu']}, {', '.join(found.parts) or 'no part numbers'}.\n{toml(profile)}")
    return path, profile


def described(found: Probe, name: str, host: str) -> Profile:
    """The profile of a probed machine. Raises DeviceError for one that qig does not run on."""
    machine = found.machine
    arch = {"arm64": "aarch64", "amd64": "x86_64"}.get(machine["arch"], machine["arch"])
    if found.bits == 32 or arch not in TARGETS:
        raise DeviceError(f"{host} is a {found.bits or '?'}-bit {machine['arch']} system; qig runs on 64-bit {' and '.join(TARGETS)}")
    board = machine["board"] or ""
    shipped = [p for p in map(load_profile, shipped_names()) if p.board and board.startswith(p.board)]
    target, mcpu, emulator_cpu = TARGETS[arch]
    base = shipped[0] if shipped else Profile(name, "", target, mcpu, emulator_cpu)
    return dataclasses.replace(
        base,
        name=name,
        description=f"{machine['board'] or machine['cpu']} ({machine['cores']} cores, {(machine['memory_bytes'] or 0) / 1e9:.1f} GB)",
        cores=machine["cores"] or 0,
        transport="ssh",
        host=host,
        board="",  # another machine than the one at hand, whatever that is
    )


def toml(profile: Profile) -> str:
    """A profile as its file has it, without what is as by default."""
    default = Profile(profile.name, profile.description, profile.target)
    lines = []
    for field in dataclasses.fields(profile):
        value = getattr(profile, field.name)
        if field.name in ("name", "description", "target") or value != getattr(default, field.name):
            lines.append(f"{field.name} = {_value(dataclasses.asdict(profile)[field.name])}\n")
    return "".join(lines)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(v)}" for key, v in value.items() if v is not None) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(v) for v in value) + "]"
    return json.dumps(value)  # texts, numbers and truth values are alike in both
