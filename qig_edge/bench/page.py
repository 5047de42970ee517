"""Bench rows as one page of HTML that needs nothing else: style and drawings are in it, and its policy forbids it to load anything."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from qig_edge.bench.diagnose import lines as verdict_lines
from qig_edge.bench.page_plots import figures
from qig_edge.bench.report import lines
from qig_edge.runtime.files import written_whole

Row = dict[str, Any]
OPTION = re.compile(r"(?<![\w-])(--?[a-z][a-z0-9.-]*(?: \d+)?)")
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def write_page(rows: Sequence[Row], path: Path) -> None:
    """Writes the page, whole or not at all. Raises OSError where the folder does not let it."""
    with written_whole(path) as file:
        file.write(page(rows))


HEADS = {"PREDICTED": "Predictions, no measurements", "EMULATED": "Timed under emulation, no speeds of the device"}


def page(rows: Sequence[Row]) -> str:
    """The page of one or more rows, a section each."""
    style = (resources.files("qig_edge") / "bench" / "page.css").read_text("utf-8")
    title = ", ".join(dict.fromkeys(f"{r['result']['name']} on {r['device']}" for r in rows))
    head = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # an icon that is there already is not asked for
        f'<link rel="icon" href="data:,"><title>{escape(title)}</title><style>{style}</style></head>\n<body><main>\n'
    )
    return head + "\n".join(_section(row) for row in rows) + "\n</main></body></html>\n"


def _section(row: Row) -> str:
    result = row["result"]
    badges = [row["kind"]] if row["kind"] != "MEASURED" else []
    badges += ["INTERRUPTED"] if row.get("interrupted") else []
    badges += ["THROTTLED"] if row["throttling"].get("throttled") else []
    marks = "".join(f'<span class="badge">{escape(b)}</span>' for b in badges)
    # an option is not broken at its dashes
    verdict = "".join("<p>" + OPTION.sub(r"<code>\1</code>", escape(line)) + "</p>" for line in verdict_lines(row))
    parts = [
        "<section>",
        f"<h1>{escape(result['name'])} on {escape(str(row['machine'].get('cpu') or row['device']))}</h1>",
        f'<p class="sub">{marks}{escape(_subtitle(row))}</p>',
        f'<div class="verdict">{verdict}</div>',
        f'<div class="plots">{"".join(figures(row))}</div>',
        f"<h2>{HEADS.get(row['kind'], 'Measurements')}</h2>",
        _table(("", "median", "range, and more"), [(a, b, c) for a, b, c in lines(row)], kind="measured", numeric=1),
        "<h2>Machine</h2>",
        _table(("", "before", "after"), _state(row), kind="state"),
        _table(("", ""), _machine(row)),
        "<details><summary>The whole row, with every sample, as JSON</summary>",
        f"<pre>{escape(json.dumps(row, indent=1))}</pre></details>",
        "</section>",
    ]
    return "\n".join(parts)


def _subtitle(row: Row) -> str:
    result = row["result"]
    parts = [
        f"{result['n_params'] / 1e6:.1f} M parameters, {result['file_type']}",
        f"{row.get('backend')} back end, kernels {result['isa']}",
        f"{result['threads']} thread{'s' * (result['threads'] > 1)} ({result['threads_batch']} for prefill)",
        f"device {row['device']}",
        f"suite {row['suite']}" if row.get("suite") else "",
        str(row.get("time") or "").replace("T", " ").replace("+00:00", " UTC"),
    ]
    return " · ".join(p for p in parts if p)


def _state(row: Row) -> list[tuple[str, str, str]]:
    def both(what: str, key: str, form: str = "{}", scale: float = 1.0) -> tuple[str, str, str]:
        cells = []
        for when in ("before", "after"):
            value = row[f"state_{when}"].get(key)
            cells.append(
                "-" if value is None else form.format(value / scale if isinstance(value, (int, float)) else value)
            )
        return what, cells[0], cells[1]

    return [
        both("governor", "governor"),
        both("temperature", "temperature_c", "{:.1f} °C"),
        both("clock", "frequency_mhz", "{:.0f} MHz"),
        both("load of the last minute", "load", "{:.2f}"),
        both("cores that other work took", "busy_cores", "{:.2f}"),
        both("free memory", "memory_available_bytes", "{:.2f} GiB", 2**30),
        both("pages swapped in", "swapped_in_pages", "{:.0f}"),
    ]


def _machine(row: Row) -> list[tuple[str, str]]:
    machine = row["machine"]
    cache, total = machine.get("last_cache_bytes"), machine.get("memory_bytes")
    rows = [
        ("board", machine.get("board")),
        ("system", " ".join(str(machine[k]) for k in ("system", "release", "arch") if machine.get(k))),
        ("cores", machine.get("cores")),
        ("memory", f"{total / 2**30:.1f} GiB" if total else None),
        ("last cache", f"{cache / 2**20:.1f} MiB" if cache else None),
        ("processor features", " ".join(machine.get("features") or [])),
        ("model, SHA-256", row.get("model_sha256")),
        ("settings", ", ".join(f"{k}={v}" for k, v in (row.get("settings") or {}).items())),
        ("tokens", row["result"].get("tokens")),
        ("commit", row.get("commit")),
    ]
    return [(what, str(value)) for what, value in rows if value]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "plain", numeric: int = -1) -> str:
    def cells(row: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag}{' class=n' if i == numeric and tag == 'td' else ''}>{escape(c)}</{tag}>" for i, c in enumerate(row)
        )

    top = f"<tr>{cells(heads, 'th')}</tr>" if any(heads) else ""
    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return f'<table class="{kind}">{top}{body}</table>'
