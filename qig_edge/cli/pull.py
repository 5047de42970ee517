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
) -> None:
    """Fetch a model, continue one that was broken off, and check its hash. Afterwards its name stands for it in every command that takes a model;
    the path goes to stdout. HF_ENDPOINT names another hub, HF_TOKEN or `hf auth login` give access to what is not for everybody.
    """
    from qig_edge.runtime.hub import pull

    print(pull(source, quiet=not sys.stderr.isatty()))
