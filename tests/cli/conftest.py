"""Running the command line inside this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

from qig_edge.cli import main


class Result(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture()
def qig_edge(capfd: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """qig_edge(*args) runs one command and gives its exit code, stdout and stderr."""

    def run(*args: object) -> Result:
        with pytest.raises(SystemExit) as left:
            main([str(a) for a in args])
        out, err = capfd.readouterr()
        return Result(int(left.value.code or 0), out, err)

    return run
