"""qig-edge bench on other machines: one, or several at once."""

from __future__ import annotations

import contextlib
import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from qig_edge.errors import ConfigError, QigError

if TYPE_CHECKING:
    from qig_edge.bench.suite import Suite
    from qig_edge.cli.bench_output import Output


def bench_there(
    model: Path,
    devices: list[str],
    host: str | None,
    hosts: Path | None,
    suite: Suite,
    name: str | None,
    threads: int,
    threads_batch: int,
    isa: str,
    settings: dict[str, str],
    shown: Output,
) -> None:
    """Measures and prints. Raises ConfigError where a device has no host; what measure_there and open_transport raise for one device. Of several, a
    line on stderr tells why one failed, and the exit code is 1, or 2 where all did."""
    from qig_edge.bench.remote import measure_all, measure_there, read_hosts, table
    from qig_edge.cli.progress import Steps
    from qig_edge.devices.opening import open_transport
    from qig_edge.devices.profile import load_profile

    if len(devices) > 1 and (host is not None or shown.needs_row):
        raise ConfigError("several devices take hosts from --hosts FILE and give a table or --json: they go without --host, --csv, --md and --html")
    if len(set(devices)) < len(devices):
        raise ConfigError(f"--device {','.join(devices)} names a device twice")
    named = read_hosts(hosts) if hosts else {}
    profiles = [load_profile(d) for d in devices]
    where = [host or named.get(d) or p.host or None for d, p in zip(devices, profiles, strict=True)]
    if nowhere := [d for d, h in zip(devices, where, strict=True) if h is None]:
        raise ConfigError(f"device '{nowhere[0]}' has no host: give --host, or a line {nowhere[0]} = \"user@host\" in --hosts FILE")
    several = len(devices) > 1
    failed: dict[str, QigError] = {}
    with contextlib.ExitStack() as stack:
        steps = Steps("bench " + ",".join(devices))
        targets = {}
        # one after the other, and no bar yet: ssh may ask for passwords
        for d, profile, at in zip(devices, profiles, where, strict=True):
            try:
                way = stack.enter_context(contextlib.closing(open_transport(profile, at)))
            except QigError as e:
                failed[d] = e
                continue
            progress = steps.beside(d) if several else steps
            told: dict[str, Any] = {"threads": threads, "threads_batch": threads_batch, "isa": isa, "settings": settings, "progress": progress}
            targets[d] = functools.partial(measure_there, way, profile, model, suite, host=at, name=name, **told)
        rows: list[dict[str, Any]] = []
        if targets:
            stack.enter_context(steps)
            rows, broken = measure_all(targets)
            failed |= broken
    if not several:
        for error in failed.values():
            raise error
        shown.show(rows[0])
        return
    if rows:
        print(json.dumps(rows) if shown.form == "--json" else "\n".join(table(rows)))
    for d, error in failed.items():
        steps.say(f"error: {d}: {error}")
    if failed:
        raise typer.Exit(1 if rows else 2)
