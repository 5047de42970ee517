"""The progress bar of long commands."""

from __future__ import annotations

from rich.console import Console
from rich.progress import Progress, TextColumn


class Steps:
    """A progress bar on stderr; without a terminal there, silence but for say()."""

    def __init__(self, title: str) -> None:
        self.console = Console(stderr=True, highlight=False)
        columns = Progress.get_default_columns()
        self._bar = Progress(*columns[:2], TextColumn("{task.fields[count]}"), console=self.console, transient=True)
        self._task = self._bar.add_task(title, total=None, count="")

    def __call__(self, done: int, total: int, title: str | None = None) -> None:
        self._bar.update(self._task, completed=done, total=total, description=title, count=f"{done}/{total}")

    def __enter__(self) -> Steps:
        if self.console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self.console.is_terminal:
            self._bar.stop()

    def say(self, line: str) -> None:
        self.console.print(line, markup=False, soft_wrap=True)
