"""The suites of qig-edge eval. A suite is a module with

    run(backend, options) -> result        result.to_dict() is the JSON, result.tables() what a terminal shows, result.notes() lines below it

and one line in SUITES. Modules are imported when they are asked for.
"""

from __future__ import annotations

import dataclasses
import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from qig_edge.errors import ConfigError
from qig_edge.runtime.backend import Backend

# name: module
SUITES: dict[str, str] = {
    "puzzles": "qig_edge.evals.puzzles.suite",
    "reasoning": "qig_edge.evals.reasoning.suite",
    "symmetry": "qig_edge.evals.symmetry",
    "text": "qig_edge.evals.text",
}
GRADED = ("puzzles", "reasoning")  # those that tell each item's result: what ipc.py computes with
LIMIT = 700  # items, of a suite that names no other number


def _silent(done: int, total: int) -> None:
    """Progress that nobody watches."""


@dataclasses.dataclass(frozen=True)
class Options:
    """What every suite is given.

    limit: most items; levels: difficulties, empty for all; data: files of texts; held_out: of these the documents
    that training with this validation_permille did not see, 0 for all; stride: tokens from window to window, 0 for half a context;
    tasks: of reasoning, empty for all; data_dir: the folder of its items, None for the hub; identity: what the model's answers depend on, for a
    suite that keeps them (empty: none are kept); threads 0: the back end's choice; progress(done, total) is called as it goes. A suite refuses
    what it has no use for.
    """

    limit: int = LIMIT
    levels: tuple[int, ...] = ()
    seed: int = 0
    data: tuple[str, ...] = ()
    held_out: int = 0
    stride: int = 0
    tasks: tuple[str, ...] = ()
    data_dir: Path | None = None
    identity: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    threads: int = 0
    progress: Callable[[int, int], None] = _silent

    def refuse(self, suite: str, *names: str) -> None:
        """Raises ConfigError where one of these options is set: the suite has no use for it."""
        for name in names:
            if getattr(self, name):
                raise ConfigError(f"--{name.replace('_', '-')} says nothing to the suite '{suite}'")


@dataclasses.dataclass(frozen=True)
class Scored:
    """One problem's result, for what is computed over many (ipc.py). group: family or task; level: of difficulty, larger is harder, None where
    nobody graded it; chance: of a lucky guess, below 1."""

    group: str
    level: int | None
    chance: float
    right: bool


@dataclasses.dataclass(frozen=True)
class Table:
    """A table for a terminal: cells are text, the first column is the row's name."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Result(Protocol):
    """What a suite found."""

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON: no NaN, None where a quantity is undefined."""

    def tables(self) -> list[Table]:
        """What to show."""

    def notes(self) -> list[str]:
        """Lines that the reader of the tables has to know."""


class Graded(Result, Protocol):
    """What a suite of GRADED found."""

    @property
    def scored(self) -> Sequence[Scored]:
        """One a problem, in an order that hangs on the problems alone."""


def usual_limit(name: str) -> int:
    """How many items a suite asks where nobody says: all of each task that scores are published on."""
    return sys.maxsize if name == "reasoning" else LIMIT


def run(name: str, backend: Backend, options: Options) -> Result:
    """Runs one suite. Raises ConfigError for an unknown name, and what the suite raises."""
    if name not in SUITES:
        raise ConfigError(f"unknown suite '{name}' (suites: {', '.join(SUITES)})")
    result: Result = importlib.import_module(SUITES[name]).run(backend, options)
    return result


def run_graded(name: str, backend: Backend, options: Options) -> Graded:
    """Runs one suite of GRADED. Raises ConfigError for another name, and what the suite raises."""
    if name not in GRADED:
        raise ConfigError(f"suite '{name}' grades no problems (suites that do: {', '.join(GRADED)})")
    return cast(Graded, run(name, backend, options))
