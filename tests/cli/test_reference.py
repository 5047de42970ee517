"""docs/cli.md is what the commands' definitions say."""

from __future__ import annotations

from pathlib import Path

import pytest

from qig_edge.cli import COMMANDS, load
from qig_edge.cli.reference import main, reference, section

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cli.md"


def test_page_is_current() -> None:
    assert PAGE.read_text("utf-8") == reference() + "\n", "docs/cli.md is old: run 'make docs'"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_help_is_on_the_page(name: str) -> None:
    text = section(name)
    checked = 0
    for parameter in load(name).params:
        for option in [*parameter.opts, *parameter.secondary_opts]:
            if option.startswith("-") and option not in ("--help", "-h"):
                assert f"`{option}`" in text or f"{option}/" in text or f"/{option}`" in text, option
                checked += 1
    assert checked > 0


def test_it_writes_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "cli.md")]) == 0 and (tmp_path / "cli.md").read_text("utf-8") == reference() + "\n"
    assert main([]) == 0 and capsys.readouterr().out == reference() + "\n"
    assert main(["a", "b"]) == 2
