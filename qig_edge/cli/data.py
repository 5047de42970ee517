"""qig-edge data: the generated corpus and the graded problems as JSON lines."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from qig_edge.errors import ConfigError


class Kind(str, Enum):
    """Kinds of records: those of the corpus package, and the problems of evals."""

    tales = "tales"
    talk = "talk"
    facts = "facts"
    puzzles = "puzzles"


class Split(str, Enum):
    """The two sides of the problems, without a common instance."""

    train = "train"
    test = "test"


def command(
    kinds: Annotated[
        list[Kind],
        typer.Argument(metavar="KIND...", help="tales, talk, facts: any of them, in equal shares; or puzzles, alone."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write, .jsonl.")],
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Number of records.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed: the same seed gives the same file.")] = 0,
    split: Annotated[
        Split | None, typer.Option(help="Of puzzles: train, or test, which shares no problem with it [default: train].")
    ] = None,
    levels: Annotated[
        str | None, typer.Option(metavar="N-N", help="Of puzzles: 3, 1-5 or 1,3-4 [default: 1-5].")
    ] = None,
) -> None:
    """Write a generated corpus as JSON lines, which 'qig-edge train --data' reads. The file appears whole or not at all.

    Puzzles of the test split have no text to train on: 'train' refuses them.
    """
    import json

    from qig_edge.cli.progress import Steps
    from qig_edge.runtime.files import written_whole

    made = _records([k.value for k in kinds], count, seed, split, levels)
    with Steps(f"writing {output}") as steps, written_whole(output) as file:
        n = 0
        for record in made:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
            n += 1
            if n % 100 == 0 or n == count:
                steps(n, count)
    steps.say(f"{n} records, {output.stat().st_size / 1e6:.1f} MB")
    print(output)


def _records(
    kinds: list[str], count: int, seed: int, split: Split | None, levels: str | None
) -> Iterator[dict[str, Any]]:
    if "puzzles" not in kinds:
        for name, given in (("split", split.value if split else None), ("levels", levels)):
            if given is not None:
                raise ConfigError(f"--{name} {given} goes with the kind puzzles, not with {', '.join(kinds)}")
        from qig_edge.corpus.generate import records as corpus_records

        return corpus_records(count, seed, kinds)
    if len(kinds) > 1:
        raise ConfigError(f"kinds {', '.join(kinds)}: puzzles go into a file of their own, tales, talk and facts mix")
    from qig_edge.evals.puzzles.generate import LEVELS, parse_levels, records

    return records(count, seed, (split or Split.train).value, LEVELS if levels is None else parse_levels(levels))
