"""qig-edge bench on other machines: one, or several at once."""

from __future__ import annotations

import contextlib
import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING

from qig_edge.errors import ConfigError

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
    """Measures and prints. Raises ConfigError where a device has no host, DeviceError where one cannot be reached."""
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
    with contextlib.ExitStack() as stack:
        # one after the other: ssh may ask for passwords
        ways = [stack.enter_context(contextlib.closing(open_transport(p, h))) for p, h in zip(profiles, where, strict=True)]
        steps = stack.enter_context(Steps("bench " + ",".join(devices)))
        rows = measure_all(
            [
                (
                    d,
                    functools.partial(
                        measure_there,
                        way,
                        profile,
                        model,
                        suite,
                        host=at,
                        name=name,
                        threads=threads,
                        threads_batch=threads_batch,
                        isa=isa,
                        settings=settings,
                        progress=steps if len(devices) == 1 else None,
                    ),
                )
                for d, way, profile, at in zip(devices, ways, profiles, where, strict=True)
            ]
        )
    if len(rows) == 1:
        shown.show(rows[0])
    else:
        print(json.dumps(rows) if shown.form == "--json" else "\n".join(table(rows)))
