"""Rows as CSV and Markdown: a line a test, in the manner of llama-bench, so that lines of several devices go into one table."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from qig_edge.bench.rows import series

Row = dict[str, Any]


def flat(row: Row) -> list[dict[str, Any]]:
    """One dictionary a timed test, everything that identifies it repeated in each; None where it is not known."""
    result, energy, hw = row["result"], row.get("energy") or {}, row.get("hw") or {}
    same = {
        "kind": row["kind"],
        "device": row["device"],
        "cpu": row["machine"].get("cpu"),
        "commit": row.get("commit"),
        "time": row.get("time"),
        "suite": row.get("suite"),
        "interrupted": row.get("interrupted"),
        "model": result["name"],
        "model_sha256": row.get("model_sha256"),
        "quantization": result["file_type"],
        "parameters": result["n_params"],
        "file_bytes": result["file_bytes"],
        "cache_bytes": result["cache_bytes"],
        "peak_rss_bytes": result["peak_rss_bytes"],
        "backend": row.get("backend"),
        "kernels": result["isa"],
        "threads": result["threads"],
        "threads_batch": result["threads_batch"],
        "governor": row["state_before"].get("governor"),
        "temperature_before_c": row["state_before"].get("temperature_c"),
        "temperature_after_c": row["state_after"].get("temperature_c"),
        "throttled": row["throttling"].get("throttled"),
        "joules_per_token": energy.get("joules_per_token"),
        "hw_ipc": hw.get("ipc"),
        "ipc": (row.get("ipc") or {}).get("value"),
    }
    decode = {f"decode {d['tokens']} at depth {d['depth']}": d for d in result["decode"]}
    out = []
    for what, (unit, found) in series(row).items():
        d = decode.get(what, {})
        samples = found.get("samples") or []
        out.append(
            {
                "test": what,
                "median": found["median"],
                "min": min(samples, default=found.get("min")),
                "max": max(samples, default=found.get("max")),
                "unit": unit,
                "samples": " ".join(f"{s:.6g}" for s in samples),
                **{key: d.get(key) for key in ("depth", "bytes_per_token", "ceiling_fraction", "blocks_run", "agency")},
                **same,
            }
        )
    return out


def as_csv(rows: Sequence[Row]) -> str:
    """All tests of all rows below one line of names."""
    lines = [line for row in rows for line in flat(row)]
    out = io.StringIO()
    writer = csv.DictWriter(out, list(lines[0]) if lines else ["test"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()


def as_markdown(rows: Sequence[Row]) -> str:
    """A table of all tests of all rows; the rest of a row is in its JSON."""
    heads = ["device", "model", "type", "size", "back end", "threads", "test", "median", "range", "of the ceiling"]
    out = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in rows:
        result = row["result"]
        predicted = "" if row["kind"] == "MEASURED" else f"{row['kind']} "
        for line in flat(row):
            share = line["ceiling_fraction"]
            between = "-" if line["min"] is None else f"{line['min']:.2f} to {line['max']:.2f}"
            cells = [
                row["device"], result["name"], result["file_type"], f"{result['file_bytes'] / 2**20:.1f} MiB",
                f"{row['backend']} {result['isa']}", str(result["threads"]), line["test"],
                f"{predicted}{line['median']:.2f} {line['unit']}", between, "-" if share is None else f"{share:.0%}",
            ]  # fmt: skip
            out.append("| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |")
    return "\n".join(out) + "\n"
