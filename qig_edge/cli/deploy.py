"""qig-edge deploy: the program and a model put in place on a device."""

from __future__ import annotations

from typing import Annotated

import typer

from qig_edge.cli import options as opt


def command(
    model: opt.Model = None,
    device: opt.Device = None,
    host: opt.Host = None,
    ctx: opt.Ctx = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object: command, paths, bytes that travelled.")] = False,
) -> None:
    """Put the qig program and a model on a device and print the command that chats there. What is there already does not travel again.

    It is refused, before anything is sent, where the model and its cache for --ctx positions do not fit the device's memory, its disk has not the
    space, or its system is a 32-bit one. A push that was broken off goes on where it stopped. Needs the 'cross' extra here, nothing there.
    """
    import contextlib
    import json
    import shlex

    from qig_edge.cli.progress import Steps
    from qig_edge.devices.deploy import deploy
    from qig_edge.devices.local import LocalTransport
    from qig_edge.devices.opening import open_transport
    from qig_edge.devices.profile import load_profile
    from qig_edge.errors import ConfigError
    from qig_edge.runtime.assets import model_path

    if device is None:
        raise ConfigError("deploy needs --device: rpi4, say, with --host pi@raspberrypi.local")
    profile, path = load_profile(device), model_path(model)
    with contextlib.closing(open_transport(profile, host)) as way:
        if isinstance(way, LocalTransport):
            raise ConfigError(f"deploy needs a device to go to: --host USER@HOST beside --device {device}")
        with Steps(f"deploying to {way.name}") as steps:
            done = deploy(way, profile, path, host, ctx, steps)
    if done.warning:
        steps.say(f"warning: {done.warning}")
    there = done.command("chat", *(["--ctx", str(ctx)] if ctx else []))
    if as_json:
        sent = {part: {"path": p.path, "bytes": p.size, "sent": p.sent} for part, p in (("program", done.program), ("model", done.model))}
        print(json.dumps({"device": profile.name, "host": way.name, "command": there, **sent}))
        return
    total = done.program.sent + done.model.sent
    steps.say(f"{total / 1e6:.1f} MB sent; on {way.name}:" if total else f"everything was there; on {way.name}:")
    print(shlex.join(there))
