"""qig-edge doctor: what is missing here, and on a device, and what to type."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qig_edge.cli import options as opt

if TYPE_CHECKING:
    from qig_edge.devices.doctor import Finding


def command(
    model: opt.Model = None,
    device: Annotated[str, typer.Option(help="laptop (this machine), or one of `qig-edge devices`.")] = "laptop",
    host: Annotated[
        str | None,
        typer.Option(help="Look at that machine, too: what ssh takes, or a phone's serial as 'adb devices' lists it, auto for the only one."),
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
    from qig_edge.devices.doctor import Finding, examine_machine, examine_tools, here, wants_of
    from qig_edge.devices.opening import open_transport
    from qig_edge.devices.profile import load_profile
    from qig_edge.errors import DeviceError

    profile = load_profile(device)
    host = host or profile.host or None
    if profile.is_host and host is None:
        return {"this machine": examine_tools(["libqig"]) + examine_machine(here, wants_of(path))}
    told = {"this machine": examine_tools(["ziglang", "qemu" if host is None else profile.transport])}
    if host is None:
        return told
    # what runs behind an emulator there need not be of the machine's own kind
    arch = "" if profile.run_prefix else profile.target.partition("-")[0]
    wants = wants_of(path, arch, remote=True, phone=profile.transport == "adb")
    try:
        with contextlib.closing(open_transport(profile, host)) as transport:
            reachable = Finding("reachable", True, transport.name, needed=True)
            told[transport.name] = [reachable, *examine_machine(transport.run, wants)]
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
