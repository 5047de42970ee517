"""How a file of plots is written: PLOTS, plot = collection(), then one plot(...) after another."""

from collections.abc import Callable
from typing import Any


def collection() -> tuple[list[dict[str, Any]], Callable[..., None]]:
    """An empty list of plots, and the function that adds one.

    theme picks the closing lines, topic names the plot in a request, rows fill its own slots.
    """
    plots: list[dict[str, Any]] = []

    def plot(
        name: str,
        theme: str,
        title: str,
        topic: str,
        text: str,
        who: str = "any",
        rows: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        plots.append(dict(name=name, theme=theme, title=title, topic=topic, text=text, who=who, rows=rows or {}, **more))

    return plots, plot
