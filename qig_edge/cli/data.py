"""qig-edge data: the generated corpus as JSON lines."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


class Kind(str, Enum):
    """Kinds of records that the corpus package makes."""

    tales = "tales"
    talk = "talk"
    facts = "facts"


def command(
    kinds: Annotated[
        list[Kind], typer.Argument(metavar="KIND...", help="tales, talk, facts: any of them, in equal shares.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write, .jsonl.")],
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Number of records.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed: the same seed gives the same file.")] = 0,
) -> None:
    """Write a generated corpus as JSON lines, which 'qig-edge train --data' reads. The file appears whole or not at all."""
    import json

    from qig_edge.cli.progress import Steps
    from qig_edge.corpus.generate import records
    from qig_edge.runtime.files import written_whole

    with Steps(f"writing {output}") as steps, written_whole(output) as file:
        n = 0
        for record in records(count, seed, [k.value for k in kinds]):
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
            n += 1
            if n % 100 == 0 or n == count:
                steps(n, count)
    steps.say(f"{n} records, {output.stat().st_size / 1e6:.1f} MB")
    print(output)
