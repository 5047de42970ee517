"""qig-edge build: the qig program for a device."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    target: Annotated[str, typer.Option(help="rpi4, rpi5, android or host.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; without it qig-TARGET here.")
    ] = None,
) -> None:
    """Build the qig program for a device: one static file that needs nothing else there. Needs the 'cross' extra, no system toolchain.

    Copy it to the device together with a GGUF file and run: ./qig-rpi4 chat MODEL
    """
    from qig_edge.cli.progress import Steps
    from qig_edge.devices.crossbuild import build_program
    from qig_edge.devices.profile import target_profile

    profile = target_profile(target)
    out = output or Path(f"qig-{target}")
    with Steps(f"building qig for {profile.description}") as steps:
        build_program(profile, out, steps)
    steps.say(f"{out.stat().st_size / 1e6:.2f} MB, {profile.description}")
    print(out)
