"""qig-edge convert --ollama: the converted file and its Modelfile as one folder."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qig_edge.convert.jarvis_verify import StockReport
    from qig_edge.convert.keys import Origin
    from qig_edge.convert.verify import Report

# notes, the comparison, and facts for --json: at least architecture, context_length, parameters_of_qig
Converted = tuple[list[str], "Report | StockReport | None", dict[str, Any]]


def folder_written(out: Path, origin: Origin, system: str | None, convert: Callable[[Path], Converted]) -> Converted:
    """Writes `out` whole or not at all: NAME.gguf, which `convert` makes, and the Modelfile. Returns what `convert` did, and who can run it."""
    from qig_edge.cli.convert import stoppable
    from qig_edge.convert import ollama
    from qig_edge.runtime.files import replacing_folder

    name = f"{out.resolve().name}.gguf"
    with stoppable(), replacing_folder(out) as partial:
        notes, report, facts = convert(partial / name)
        text = ollama.modelfile(name, facts["architecture"], facts["context_length"], origin.licence, system, facts["parameters_of_qig"])
        (partial / ollama.MODELFILE).write_text(text, "utf-8", newline="\n")
    told = ollama.RUNS[facts["architecture"]]
    print(f"ollama create NAME -f {out / ollama.MODELFILE}   ({told})", file=sys.stderr)
    return [*notes, told], report, facts


def converted(
    out: Path,
    origin: Origin,
    ollama: bool,
    system: str | None,
    as_json: bool,
    asked: dict[str, Any],
    convert: Callable[[Path], Converted],
) -> None:
    """Lets `convert` write the file `out`, or the folder of that name for Ollama, and tells of it on stdout. asked: what --json begins with."""
    import dataclasses
    import json

    notes, report, facts = folder_written(out, origin, system, convert) if ollama else convert(out)
    if as_json:
        print(json.dumps({"file": str(out), **asked, **facts, **(dataclasses.asdict(report) if report else {}), "notes": notes}))
    else:
        print(out)
