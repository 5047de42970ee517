"""qig-edge pull: a model from the Hugging Face hub into the user's model folder."""

from __future__ import annotations

import sys
from typing import Annotated

import typer


def command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="hf:OWNER/REPO[/FILE]",
            help="A GGUF file of a repository; without FILE its only one, or its checkpoint.",
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout instead of the path.")] = False,
) -> None:
    """Fetch a model, continue one that was broken off, and check its hash. Afterwards its name stands for it in every command that takes a model;
    the path goes to stdout. HF_ENDPOINT names another hub, HF_TOKEN or `hf auth login` give access to what is not for everybody.
    """
    import json

    from qig_edge.runtime.hub import pull
    from qig_edge.runtime.store import folder

    path = pull(source, quiet=not sys.stderr.isatty())
    print(json.dumps({"name": path.relative_to(folder()).as_posix(), "path": str(path)}) if as_json else path)
