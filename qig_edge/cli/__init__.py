"""The qig-edge command: a Typer application whose commands are imported only when they are called.

COMMANDS is the whole registry. A command is a module with a function `command` annotated for Typer; heavy imports go inside that function.
Payload goes to stdout, status to stderr. Exit codes: 0 done, 1 the reader of a pipe left, 2 an error of the user (one line), 130 interrupted.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from qig_edge import __version__
from qig_edge.errors import QigError

if TYPE_CHECKING:
    from collections.abc import Callable

# name: (module, one line of help)
COMMANDS: dict[str, tuple[str, str]] = {
    "chat": ("qig_edge.cli.chat", "Talk with a model."),
    "generate": ("qig_edge.cli.generate", "Continue a text."),
    "info": ("qig_edge.cli.info", "Show what a model file or a preset holds."),
    "bench": ("qig_edge.cli.bench", "Measure a model on this machine, or predict it for a device."),
    "diagnose": ("qig_edge.cli.diagnose", "Say what bounds a model here and what to change."),
    "devices": ("qig_edge.cli.devices", "List the devices, show one, or add your own."),
    "deploy": ("qig_edge.cli.deploy", "Put the program and a model on a device."),
    "build": ("qig_edge.cli.build", "Build the qig program for a device."),
    "doctor": ("qig_edge.cli.doctor", "Say what is missing here or on a device, and what to type."),
    "eval": ("qig_edge.cli.eval", "Evaluate a model on graded problems, and its own state with it."),
    "ipc": ("qig_edge.cli.ipc", "Intelligence per compute of a model, or of two."),
    "train": ("qig_edge.cli.train", "Train a model from text."),
    "ablate": ("qig_edge.cli.ablate", "Measure what each component of a model is worth."),
    "convert": ("qig_edge.cli.convert", "Convert a checkpoint to GGUF or ONNX."),
    "pull": ("qig_edge.cli.pull", "Fetch a model from the Hugging Face hub."),
    "models": ("qig_edge.cli.models", "List the models that were pulled."),
    "data": ("qig_edge.cli.data", "Write a generated corpus or graded problems as JSON lines."),
}
SETTINGS = {"help_option_names": ["-h", "--help"]}
# typer's public BadParameter is a usage error, whichever click stands behind it
UsageError: type[Exception] = typer.BadParameter.__bases__[0]


class LazyGroup(typer.core.TyperGroup):
    """Lists commands from the registry, imports the one that is called."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return load(cmd_name) if cmd_name in COMMANDS else None

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def load(name: str) -> Any:
    """The click command of one registered name, its module imported."""
    module, text = COMMANDS[name]
    single = typer.Typer(rich_markup_mode=None, add_completion=False, context_settings=SETTINGS)
    function = importlib.import_module(module).command
    single.command(name, help=function.__doc__ or text)(function)
    return typer.main.get_command(single)


app = typer.Typer(
    cls=LazyGroup,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings=SETTINGS,
)


def _placeholder() -> None:
    """Never runs: LazyGroup loads the command itself. It makes the name known to typer, for suggestions after a typing error."""


for _name, (_module, _text) in COMMANDS.items():
    app.command(_name, help=_text)(_placeholder)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"qig-edge {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train, convert, measure and run small language models with geometric attention on small computers."""


def guarded(run: Callable[[], Any]) -> int:
    """Runs a command and returns its exit code, turning what a user can cause into one line on stderr."""
    try:
        code = run()
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except QigError as e:
        return _fail(str(e))
    except UsageError as e:
        return _fail(_usage_line(e))
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        # the reader of stdout left: what is still buffered has nowhere to go, and the interpreter must not try at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as e:
        where = f"{e.filename}: " if e.filename else ""
        return _fail(f"{where}{e.strerror or e}")
    except MemoryError:
        return _fail("out of memory")


def _usage_line(e: Exception) -> str:
    text = str(e.format_message()) if hasattr(e, "format_message") else str(e)
    ctx = getattr(e, "ctx", None)
    return text.rstrip(".") + (f"; see '{ctx.command_path} --help'" if ctx is not None else "")


def _fail(line: str) -> int:
    print("error: " + " ".join(line.split()), file=sys.stderr)
    return 2


def main(args: Sequence[str] | None = None) -> None:
    """Entry point of the qig-edge script: runs one command and exits."""
    given = list(sys.argv[1:] if args is None else args) or ["--help"]
    sys.exit(guarded(lambda: app(given, prog_name="qig-edge", standalone_mode=False)))
