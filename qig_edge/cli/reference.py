"""Writes docs/cli.md from the definitions that --help shows: python -m qig_edge.cli.reference docs/cli.md

The options are read from the commands' annotations, so that the page does not change with the layout of a typer version.
"""

from __future__ import annotations

import enum
import importlib
import inspect
import sys
import typing
from pathlib import Path
from typing import Any

from qig_edge.cli import COMMANDS
from qig_edge.runtime.files import written_whole

HEAD = """# qig-edge on the command line

Written by `make docs` from the commands' own definitions; a test holds it current. `qig-edge COMMAND --help` shows the same.

Payload goes to stdout, status to stderr. Exit codes: 0 done, 1 the reader of a pipe left or a check failed, 2 an error of the user (one line),
130 interrupted.
"""


def reference() -> str:
    """The whole page as Markdown."""
    listed = [f"| [`{name}`](#{name}) | {text} |" for name, (_, text) in COMMANDS.items()]
    table = "\n".join(["| command | what |", "|---|---|", *listed])
    return "\n".join([HEAD, table, *(section(name) for name in COMMANDS)])


def section(name: str) -> str:
    """The page's section of one command."""
    module, text = COMMANDS[name]
    function = importlib.import_module(module).command
    arguments, options = [], []
    usage = [f"qig-edge {name}", "[OPTIONS]"]
    for parameter, kind, info in _parameters(function):
        required = parameter.default in (inspect.Parameter.empty, ...)
        if type(info).__name__ == "ArgumentInfo":
            shown = info.metavar or parameter.name.upper()
            usage.append(shown if required else f"[{shown}]")
            arguments.append(
                _row(f"`{shown}`", info.help, _limits(info, kind, None if required else parameter.default, required))
            )
        else:
            # inside Annotated the first name sits where a default would
            declared = [info.default, *(info.param_decls or ())]
            names = [d for d in declared if isinstance(d, str) and d.startswith("-")] or [
                _plain_name(parameter.name, kind)
            ]
            usage += [f"{names[0]} {_value(kind, info)}".strip()] if required else []
            left = ", ".join(f"`{n}`" for n in names) + (f" {_value(kind, info)}" if _value(kind, info) else "")
            options.append(_row(left, info.help, _limits(info, kind, parameter.default, required)))
    body = inspect.getdoc(function) or text
    parts = ["", f"## {name}", body, "", f"    {' '.join(usage)}", ""]
    return "\n".join(
        [*parts, "| argument or option | what | accepted, default |", "|---|---|---|", *arguments, *options]
    )


def _parameters(function: Any) -> list[tuple[inspect.Parameter, Any, Any]]:
    """Each parameter with its bare type and its typer.Option or typer.Argument."""
    found = []
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        kind, *extras = typing.get_args(parameter.annotation)
        info = next(e for e in extras if type(e).__name__ in ("OptionInfo", "ArgumentInfo"))
        members = [m for m in typing.get_args(kind) if m is not type(None)]
        found.append((parameter, members[0] if type(None) in typing.get_args(kind) else kind, info))
    return found


def _plain_name(name: str, kind: Any) -> str:
    dashed = name.replace("_", "-")
    return f"--{dashed}/--no-{dashed}" if kind is bool else f"--{dashed}"


def _value(kind: Any, info: Any) -> str:
    if kind is bool:
        return ""
    if info.metavar:
        return str(info.metavar)
    inner = next(iter(typing.get_args(kind)), kind)
    return {int: "N", float: "X", Path: "FILE"}.get(inner, "TEXT")


def _limits(info: Any, kind: Any, default: Any, required: bool) -> str:
    low, high = info.min, info.max
    parts = []
    inner = next(iter(typing.get_args(kind)), kind)
    if isinstance(inner, type) and issubclass(inner, enum.Enum):
        parts.append(", ".join(str(m.value) for m in inner))
    if low is not None or high is not None:
        parts.append(
            f"{low} to {high}" if None not in (low, high) else f"at least {low}" if high is None else f"at most {high}"
        )
    if required:
        parts.append("required")
    elif default is not None and not isinstance(default, bool):
        parts.append(f"default {default.value if isinstance(default, enum.Enum) else default}")
    return "; ".join(parts)


def _row(*cells: str | None) -> str:
    return "| " + " | ".join(" ".join((c or "").split()).replace("|", "\\|") for c in cells) + " |"


def main(args: list[str]) -> int:
    """Writes the page to the path given, or to stdout."""
    if len(args) > 1:
        print("error: give one path, docs/cli.md", file=sys.stderr)
        return 2
    text = reference() + "\n"
    if args:
        with written_whole(Path(args[0])) as file:
            file.write(text)
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
