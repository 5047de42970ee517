"""chat and generate on another machine: what is missing there is deployed, and the device's own program does the work."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from qig_edge.errors import DeviceError


def elsewhere(device: str | None, host: str | None) -> bool:
    """Whether --device and --host name another machine than this one. Raises ConfigError for a host without a device."""
    from qig_edge.devices.profile import load_profile
    from qig_edge.errors import ConfigError

    if device is None:
        if host is not None:
            raise ConfigError(f"--host {host} needs --device, what kind of machine it is: rpi4, rpi5, ...")
        return False
    return host is not None or not load_profile(device).is_host


def run_there(
    name: str, model: Path, args: Sequence[str], *, device: str, host: str | None, ctx: int, stdin: bytes | None = None
) -> int:
    """Runs `qig NAME MODEL ARGS` on a device and returns its exit code: on this terminal where stdin is None, else with that input. Output streams.

    Raises what deploy and Transport raise, DeviceError with the program's own line where it fails.
    """
    from qig_edge.cli.progress import Steps
    from qig_edge.devices.deploy import deploy
    from qig_edge.devices.opening import open_transport
    from qig_edge.devices.profile import load_profile

    profile = load_profile(device)
    with contextlib.closing(open_transport(profile, host)) as way:
        with Steps(f"deploying to {way.name}") as steps:
            done = deploy(way, profile, model, host, ctx, steps)
        if done.warning:
            steps.say(f"warning: {done.warning}")
        if done.emulated and {"--stats", "--json"} & set(args):  # where times are told, so is that they are nobody's
            steps.say(f"{profile.name} is EMULATED: what anything takes says nothing about the device")
        command = done.command(name, *args)
        if stdin is None:
            return way.interactive(command)

        def show(data: bytes) -> None:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()

        sys.stdout.flush()
        ran = way.run(command, on_stdout=show, stdin=stdin)
    said = ran.stderr.decode("utf-8", "replace")
    if ran.code:
        raise DeviceError((said.strip().splitlines() or [f"{way.name}: exit code {ran.code}"])[-1].removeprefix("qig: "))
    sys.stderr.write(said)
    return 0
