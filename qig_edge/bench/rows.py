"""Rows that were written before: reading them back, and the flat lines that tables, CSV and comparisons are made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qig_edge.bench.measure import SCHEMA
from qig_edge.errors import DataError

# What any reader of a row counts on, by path. A prediction has them too: states may be empty, throttling {"throttled": null, "why": ...}, series
# without "samples" but with median, min and max.
NEEDED = {
    "schema": int, "kind": str, "machine": dict, "state_before": dict, "state_after": dict, "throttling": dict, "result": dict,
    "result.decode": list, "result.prefill": dict, "result.isa": str, "result.threads": int, "result.file_bytes": int, "result.cache_bytes": int,
}  # fmt: skip


def load_row(path: Path) -> dict[str, Any]:
    """The one row of a file that `bench --json` wrote. Raises DataError for a file that cannot be read, holds no row or several, or one of
    another schema."""
    try:
        text = path.read_text("utf-8")
    except OSError as e:
        raise DataError(f"{path}: {e.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: no row of 'qig-edge bench --json' (it is no text)") from None
    try:
        rows = [json.loads(text)]
    except ValueError:
        try:
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError:
            raise DataError(f"{path}: no row of 'qig-edge bench --json' (it is no JSON)") from None
    rows = rows[0] if len(rows) == 1 and isinstance(rows[0], list) else rows
    if len(rows) != 1:
        raise DataError(f"{path}: holds {len(rows)} rows; one is needed")
    row = rows[0]
    if not isinstance(row, dict) or "result" not in row:
        raise DataError(f"{path}: no row of 'qig-edge bench --json'")
    if row.get("schema") != SCHEMA:
        raise DataError(f"{path}: schema {row.get('schema')} where this version reads {SCHEMA}: measure anew")
    for where, kind in NEEDED.items():
        found: Any = row
        for key in where.split("."):
            found = found.get(key) if isinstance(found, dict) else None
        if not isinstance(found, kind):
            raise DataError(f"{path}: '{where}' is missing or of another type")
    return row


def is_row(path: Path) -> bool:
    """Whether a file is meant as rows: JSON begins with a brace or a bracket, no model file does."""
    try:
        with path.open("rb") as file:
            return file.read(64).lstrip()[:1] in (b"{", b"[")
    except OSError:
        return False


def series(row: dict[str, Any]) -> dict[str, tuple[str, dict[str, Any]]]:
    """{what: (unit, series)} of each timed test of a row that ran, in its order; "tok/s" is better when larger, "ms" when smaller."""
    result = row["result"]
    out: dict[str, tuple[str, dict[str, Any]]] = {}
    if result["prefill"]["fits"]:
        out[f"prefill {result['prefill']['tokens']}"] = "tok/s", result["prefill"]["tokens_per_second"]
    for d in result["decode"]:
        if d["fits"]:
            out[f"decode {d['tokens']} at depth {d['depth']}"] = "tok/s", d["tokens_per_second"]
    if first := result.get("first_token"):
        out[f"first token after {first['prompt']}"] = "ms", first["ms"]
    for what, found in (
        ("open, warm", result.get("load_ms")),
        ("open, cold", row.get("load_cold_ms")),
        ("start to first token, cold", row.get("first_token_cold_ms")),
        ("start to first token, warm", row.get("first_token_warm_ms")),
    ):
        if found:
            out[what] = "ms", found
    return out
