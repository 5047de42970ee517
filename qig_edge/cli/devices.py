"""qig-edge devices: the profiles of the devices that programs are built, checked and predicted for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from qig_edge.devices.profile import Profile

ACTIONS = ("list", "show", "add")


def command(
    action: Annotated[
        str, typer.Argument(metavar="[list|show|add]", help="All of them as a table, everything about one, or one of your own.")
    ] = "list",
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Of show and add: the device.")] = None,
    host: Annotated[
        str | None, typer.Option(metavar="HOST", help="Of add: where it is, as ssh takes it: user@host, a name of your ssh configuration.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Of add: also over a profile of that name.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object; of list: an array of them.")] = False,
) -> None:
    """List the devices that --device and --target take, or show one: processor, memory bandwidth with its sources, target, sensors.

    add asks a reachable machine what it is and writes a profile into your configuration folder; --device NAME then needs no --host.
    """
    import dataclasses
    import json

    from qig_edge.devices.profile import device_names, load_profile
    from qig_edge.errors import ConfigError, DeviceError

    if action not in ACTIONS:
        raise ConfigError(f"devices: unknown action '{action}' (actions: {', '.join(ACTIONS)})")
    if action != "add" and (host is not None or force):
        raise ConfigError(f"--host and --force belong to devices add, not to {action}")
    if action == "add":
        _add(name, host, force, as_json)
        return
    if action == "list":
        if name is not None:
            raise ConfigError(f"devices list takes no name, '{name}' was given: qig-edge devices show {name}")
        profiles = [load_profile(n) for n in device_names()]
        if as_json:
            print(json.dumps([dataclasses.asdict(p) for p in profiles]))
        else:
            _table(profiles)
        return
    if name is None:
        raise DeviceError(f"devices show needs a name (devices: {', '.join(device_names())})")
    profile = load_profile(name)
    print(json.dumps(dataclasses.asdict(profile)) if as_json else "\n".join(_lines(profile)))


def _add(name: str | None, host: str | None, force: bool, as_json: bool) -> None:
    import contextlib
    import dataclasses
    import json
    import sys

    from qig_edge.devices.adding import add_device
    from qig_edge.devices.opening import open_transport
    from qig_edge.devices.profile import Profile
    from qig_edge.errors import ConfigError

    if name is None or host is None:
        raise ConfigError("devices add needs a name and where the machine is: qig-edge devices add kitchen --host pi@kitchen")
    # which machine it is follows from the probe; that it is reached by ssh is all that is known before
    with contextlib.closing(open_transport(Profile(name, "", "aarch64-linux-musl", transport="ssh"), host)) as way:
        path, profile = add_device(way, name, host, force)
    print(json.dumps(dataclasses.asdict(profile)) if as_json else path)
    print(f"{profile.description}; use it as --device {name}", file=sys.stderr)


def _table(profiles: list[Profile]) -> None:
    rows = [("device", "what", "GB/s", "memory, GB", "by")]
    for p in profiles:
        best = max(p.bandwidth, key=lambda b: b.gb_s, default=None)
        rate = f"{best.gb_s:g} ({best.low:g} to {best.high:g})" if best else "-"
        rows.append((p.name, p.description, rate, ", ".join(f"{m:g}" for m in p.memory_gb) or "-", p.transport))
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _cores(p: Profile) -> str:
    return ", ".join(f"{c.cores} x {c.core} at {c.mhz} MHz" for c in p.clusters)


def _lines(p: Profile) -> list[str]:
    """Everything about one device, in words; what is only known on it is read where the device is this machine."""
    told = [("device", p.name), ("what", p.description), ("chip", p.cpu), ("cores", _cores(p)), ("instructions", " ".join(p.features))]
    if p.is_host:
        import psutil

        from qig_edge.devices.host import cpu_info

        here = cpu_info()
        memory = psutil.virtual_memory().total / 1e9
        told.append(("this machine", f"{here['model']}, {here['cores']} cores, {memory:.1f} GB of memory"))
        told.append(("its instructions", " ".join(here["features"])))
        told.append(("its bandwidth", "qig-edge bench measures it"))
    each = {1: "", 2: " shared by two"}
    caches = [f"L{c.level} {c.kib} KiB{each.get(c.shared_by, f' shared by {c.shared_by}')}" for c in p.caches]
    told += [("caches", ", ".join(caches)), ("memory", ", ".join(f"{m:g} GB" for m in p.memory_gb))]
    for b in p.bandwidth:
        threads = f"{b.threads} thread{'s' if b.threads > 1 else ''}"
        told.append(("bandwidth", f"{b.gb_s:g} GB/s ({b.low:g} to {b.high:g}), {b.kind}, {threads}: {b.source}"))
        told.append(("", b.note))
    told += [("target", f"{p.target}, -mcpu={p.mcpu}"), ("emulated as", p.emulator_cpu), ("reached by", p.transport)]
    told += [(s.what, s.path or s.command) for s in p.sensors]
    return [f"{what:<17} {value}" for what, value in told if value]
