"""qig-edge convert --ollama: the converted file and its Modelfile as one folder."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qig_edge.convert.keys import Origin
    from qig_edge.convert.verify import Report

Converted = tuple[list[str], "Report | None", dict[str, Any]]


def folder_written(out: Path, origin: Origin, system: str | None, convert: Callable[[Path], Converted]) -> Converted:
    """Writes `out` whole or not at all: NAME.gguf, which `convert` makes, and the Modelfile. Returns what `convert` did, and who can run it."""
    from qig_edge.cli.convert import stoppable
    from qig_edge.convert import ollama
    from qig_edge.runtime.files import replacing_folder
    from qig_edge.runtime.native import NativeModel

    name = f"{out.resolve().name}.gguf"
    with stoppable(), replacing_folder(out) as partial:
        notes, report, facts = convert(partial / name)
        with NativeModel(partial / name) as model:
            info = model.info
        text = ollama.modelfile(name, info.architecture, info.context_length, origin.licence, system, facts["parameters_of_qig"])
        (partial / ollama.MODELFILE).write_text(text, "utf-8", newline="\n")
    told = ollama.CANNOT if info.architecture == "qig" else ollama.CAN
    print(f"ollama create NAME -f {out / ollama.MODELFILE}   ({told})", file=sys.stderr)
    return [*notes, told], report, facts
