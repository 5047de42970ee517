"""The progress bar of long commands."""

from __future__ import annotations

from collections.abc import Callable

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

    def beside(self, title: str) -> Callable[[int, int, str], None]:
        """A bar of its own for work that goes on at the same time; title stands before what is done."""
        task = self._bar.add_task(title, total=None, count="")

        def step(done: int, total: int, what: str) -> None:
            self._bar.update(task, completed=done, total=total, description=f"{title}: {what}", count=f"{done}/{total}")

        return step

    def __enter__(self) -> Steps:
        if self.console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self.console.is_terminal:
            self._bar.stop()

    def say(self, line: str) -> None:
        self.console.print(line, markup=False, soft_wrap=True)
