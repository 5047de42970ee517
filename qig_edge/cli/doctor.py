"""qig-edge doctor: what is missing here, and on a device, and what to type."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qig_edge.cli import options as opt

if TYPE_CHECKING:
    from qig_edge.devices.doctor import Finding


def command(
    model: opt.Model = None,
    device: Annotated[str, typer.Option(help="laptop (this machine), rpi4, rpi5 or android.")] = "laptop",
    host: Annotated[
        str | None, typer.Option(help="Look at that machine, too: the serial of a phone as 'adb devices' lists it, or auto for the only one.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Look at what running MODEL takes: tools of this computer, memory against the model, free space, CPU, governor, and a Raspberry Pi's flags of
    under-voltage and throttling. Each line is ok, or says what to type.

    Exit code 1 where something is missing that the device needs; what is only of use otherwise does not count.
    """
    import json

    from qig_edge.runtime.assets import model_path

    told = examine(model_path(model), device, host)
    bad = [f for found in told.values() for f in found if f.needed and not f.ok]
    if as_json:
        import dataclasses

        machines = [{"name": name, "findings": [dataclasses.asdict(f) for f in found]} for name, found in told.items()]
        print(json.dumps({"ok": not bad, "device": device, "machines": machines}))
    else:
        for name, found in told.items():
            _print(name, found)
    if bad:
        raise typer.Exit(1)


def examine(path: Path, device: str, host: str | None) -> dict[str, list[Finding]]:
    """What was found, by machine."""
    from qig_edge.devices.adb import AdbTransport
    from qig_edge.devices.doctor import Finding, examine_machine, examine_tools, here, wants_of
    from qig_edge.devices.profile import load_profile
    from qig_edge.errors import DeviceError

    profile = load_profile(device)
    if host is not None and profile.transport != "adb":
        raise DeviceError(f"--host {host}: doctor reaches phones (--device android), '{device}' is none")
    if profile.is_host:
        return {"this machine": examine_tools(["libqig"]) + examine_machine(here, wants_of(path))}
    needed = ["ziglang", "qemu"] if host is None else ["ziglang", "adb"]
    told = {"this machine": examine_tools(needed)}
    if host is None:
        return told
    wants = wants_of(path, profile.target.partition("-")[0], remote=True, phone=True)
    try:
        transport = AdbTransport(None if host == "auto" else host)
        found = [Finding("reachable", True, transport.name, needed=True), *examine_machine(transport.run, wants)]
        told[transport.name] = found
    except DeviceError as e:
        told[host] = [Finding("reachable", False, "no", str(e), True)]
    return told


def _print(name: str, found: list[Finding]) -> None:
    """A line a finding: ok, or "missing" where it is needed and "-" where it is not, with what to type beneath."""
    print(name)
    for f in found:
        print(f"  {'ok' if f.ok else 'missing' if f.needed else '-':<8} {f.what:<15} {f.found}")
        if f.mend and not f.ok:
            print(f"  {'':<8} {'':<15} -> {f.mend}")
