"""qig-edge convert FILE.gguf: a file of another model in another type, by llama.cpp's own quantizer."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qig_edge.errors import ConfigError

if TYPE_CHECKING:
    from qig_edge.convert.llama_quantize import Cost
    from qig_edge.runtime.llama import LlamaModel

NAMED = re.compile(r"[-._](f32|f16|bf16|i?q\d\w*)$", re.IGNORECASE)


def is_gguf(path: Path) -> bool:
    """Whether a path is a file that says that it is GGUF, by its first bytes or its name."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"GGUF" or path.suffix == ".gguf"


def convert_file(source: Path, kind: str, output: Path | None, force: bool, verify: bool, text: Path | None, as_json: bool) -> None:
    """Writes the file, whole or not at all, and says what it costs against the source. kind: q4, q8, f16 or f32."""
    from qig_edge.cli.convert import stoppable
    from qig_edge.cli.progress import Steps
    from qig_edge.convert.llama_quantize import KINDS, WHOLE, check_source, cost, quantize
    from qig_edge.runtime.files import replacing
    from qig_edge.runtime.llama import LlamaModel

    suffix = KINDS[kind][0].partition("_")[2].lower()
    out = output or Path(f"{NAMED.sub('', source.stem)}-{suffix}.gguf")
    if out.is_dir() or not out.parent.is_dir():
        raise ConfigError(f"--output '{out}': " + ("is a folder, a file name is needed" if out.is_dir() else f"there is no folder '{out.parent}'"))
    if out.exists() and out.samefile(source):
        raise ConfigError(f"'{out}' is the file itself: choose another name with -o")
    if out.exists() and not force:
        raise ConfigError(f"'{out}' exists: choose another name with -o, or replace it with --force")
    check_source(source)
    with stoppable(), Steps(f"quantizing {source.name}") as steps, replacing(out) as partial:
        quantize(source, partial, kind, lambda done, total: steps(done, total, f"writing {out.name}"))
        with LlamaModel(source) as before, LlamaModel(partial) as after:
            found = cost(before, after, text, lambda done, total: steps(done, total, "comparing")) if verify else None
            notes = [f"{source.name} was {before.info.file_type} already: its weights are rounded twice"] if (
                before.info.file_type not in (*WHOLE, after.info.file_type) and kind not in ("f16", "f32")
            ) else []
            facts = _facts(before, after)
        for line in [*_table(facts, found), *notes]:
            steps.say(line)
    if as_json:
        import dataclasses

        shown = facts | (dataclasses.asdict(found) if found else {})
        print(json.dumps({"file": str(out), "source": str(source), **shown, "notes": notes}))
    else:
        print(out)


def _facts(before: LlamaModel, after: LlamaModel) -> dict[str, Any]:
    return {
        "name": after.info.name,
        "architecture": after.info.architecture,
        "source_type": before.info.file_type,
        "type": after.info.file_type,
        "source_bytes": before.info.file_bytes,
        "file_bytes": after.info.file_bytes,
        "parameters": after.info.n_params,
        "bits_per_weight": 8 * after.info.weight_bytes / after.info.n_params,
    }


def _table(facts: dict[str, Any], found: Cost | None) -> list[str]:
    """The result in aligned lines."""
    rows = [
        ("model", f"{facts['name']} ({facts['architecture']}), {facts['parameters'] / 1e6:.2f}M parameters"),
        ("types", f"{facts['source_type']} -> {facts['type']}, by llama.cpp"),
        ("size", f"{facts['source_bytes'] / 1e6:.2f} -> {facts['file_bytes'] / 1e6:.2f} MB, {facts['bits_per_weight']:.2f} bits a weight"),
    ]
    if found is not None:
        change = found.result_bits_per_byte / found.source_bits_per_byte - 1
        rows += [
            ("compared on", f"{found.tokens} tokens, {found.text}"),
            ("KL divergence", f"{found.kl:.3g} nats a token"),
            ("same top token", f"{found.top1:.2%}"),
            ("bits per byte", f"{found.result_bits_per_byte:.4f}, source {found.source_bits_per_byte:.4f} ({change:+.2%})"),
        ]
    return [f"{key:<16}{value}" for key, value in rows]
