"""qig-edge models: what was pulled."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def command(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout instead of a table.")] = False,
) -> None:
    """List the models that `qig-edge pull` fetched: name, size, architecture and quantization."""
    import json
    import sys

    from qig_edge.runtime.store import folder, pulled

    rows = [facts(name, path) for name, path in pulled().items()]
    if as_json:
        print(json.dumps({"folder": str(folder()), "models": rows}))
        return
    if not rows:
        print(f"no models in {folder()}: fetch one with qig-edge pull hf:OWNER/REPO", file=sys.stderr)
        return
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        kind = f"{row['architecture'] or '-':<12}{row['quantization'] or '-'}"
        print(f"{row['name']:<{width}}  {row['bytes'] / 1e6:>10,.1f} MB  {kind}" + (f"  ({row['error']})" if row["error"] else ""))


def facts(name: str, path: Path) -> dict[str, Any]:
    """Name, path, bytes, architecture and quantization; error: why libqig does not open it, None where it does."""
    from qig_edge.errors import QigError

    architecture = quantization = error = None
    if path.is_dir():
        size = sum(p.stat().st_size for p in path.iterdir() if p.is_file() and p.suffix != ".gguf")
        architecture, error = _checkpoint(path)
    else:
        from qig_edge.runtime.native import NativeModel

        size = path.stat().st_size
        try:
            with NativeModel(path) as model:
                architecture, quantization = model.info.architecture, model.info.file_type
        except QigError as e:
            error = str(e)
    return {
        "name": name,
        "path": str(path),
        "bytes": size,
        "architecture": architecture,
        "quantization": quantization,
        "error": error,
    }


def _checkpoint(path: Path) -> tuple[str | None, str | None]:
    """model_type of a checkpoint's config.json, and what is wrong with it."""
    import json

    try:
        kind = json.loads((path / "config.json").read_text("utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as e:
        return None, f"config.json: {e}"
    return f"{kind} checkpoint", None
