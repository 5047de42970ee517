"""How qig-edge bench shows what it measured: as a table, JSON, CSV or Markdown on stdout, and as a page; and two results side by side."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from qig_edge.errors import ConfigError


class Output:
    """The forms that were asked for, checked before anything is measured; evaluation: of the same model, for the row's IPC. Raises ConfigError for
    two forms at once, or a folder of the page that is not there; DataError for an evaluation that is none."""

    def __init__(self, as_json: bool, as_csv: bool, as_markdown: bool, html: Path | None, evaluation: Path | None = None) -> None:
        forms = [name for name, on in (("--json", as_json), ("--csv", as_csv), ("--md", as_markdown)) if on]
        if len(forms) > 1:
            raise ConfigError(f"{' and '.join(forms)} say how stdout is written: give one of them")
        if html is not None and (html.is_dir() or not os.access(html.absolute().parent, os.W_OK)):
            raise ConfigError(f"--html '{html}' must be a file in a folder that is there and can be written")
        self.form = forms[0] if forms else ""
        self.html = html
        self.evaluation = None
        if evaluation is not None:
            from qig_edge.bench.evaluation import load_evaluation

            self.evaluation = load_evaluation(evaluation)

    def check(self, model: Path) -> None:
        """Raises DataError where the evaluation is of another model than the one to be measured."""
        if self.evaluation is not None:
            from qig_edge.bench.evaluation import check_same

            check_same(model, self.evaluation)

    @property
    def needs_row(self) -> bool:
        """Whether a form was asked for that only one model's row has."""
        return self.html is not None or self.evaluation is not None or self.form in ("--csv", "--md")

    def show(self, row: dict[str, Any]) -> None:
        """Writes the page first, so that a reader of stdout that leaves early does not lose it; a disk that is full by then does not lose the row.
        Raises OSError of the page after the row is printed."""
        if self.evaluation is not None:
            from qig_edge.bench.evaluation import with_evaluation

            row = with_evaluation(row, self.evaluation)
        failed: OSError | None = None
        if self.html is not None:
            from qig_edge.bench.page import write_page

            try:
                write_page([row], self.html)
            except OSError as e:
                failed = e
        self._print(row)
        if failed is not None:
            raise failed

    def _print(self, row: dict[str, Any]) -> None:
        if self.form == "--json":
            print(json.dumps(row))
        elif self.form:
            from qig_edge.bench.formats import as_csv, as_markdown

            print((as_csv if self.form == "--csv" else as_markdown)([row]), end="")
        else:
            from qig_edge.bench.report import print_report

            print_report(row)


def only_comparing(model: Path | None, random: str | None, html: Path | None, other: bool) -> None:
    """Raises ConfigError for options that do not go with --compare."""
    if model is not None or random is not None or html is not None or other:
        raise ConfigError("--compare reads two results and measures nothing: it goes with --json and --anyway alone")


def print_comparison(files: tuple[Path, Path], anyway: bool, as_json: bool) -> None:
    """The verdict on two results. Raises DataError for files that are none, ConfigError for rows that are not alike."""
    from qig_edge.bench.compare import compare, lines
    from qig_edge.bench.rows import load_row

    found = compare(load_row(files[0]), load_row(files[1]), (files[0].name, files[1].name), anyway)
    print(json.dumps(found) if as_json else "\n".join(lines(found)))
