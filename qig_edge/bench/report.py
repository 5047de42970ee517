"""A row on the terminal: a table, and the verdict in words."""

from __future__ import annotations

import statistics
from typing import Any

from qig_edge.bench.diagnose import lines as verdict


def lines(row: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(what, median, range) of each measurement in a row; of a prediction what it has, its interval in place of the range."""
    result = row["result"]
    out = []
    if load := result.get("load_ms"):
        out.append(("open, warm", f"{load['median']:.2f} ms", _range(load, "ms", 2)))
    if row["kind"] != "PREDICTED":
        out.append(_cold("open, cold", row.get("load_cold_ms")))
        out.append(_cold("start to first token, cold", row.get("first_token_cold_ms")))
    if warm := row.get("first_token_warm_ms"):
        out.append(("start to first token, warm", f"{warm['median']:.1f} ms", _range(warm, "ms", 1)))
    if first := result.get("first_token"):
        out.append((f"first token after {first['prompt']}", f"{first['ms']['median']:.1f} ms", _range(first["ms"], "ms", 1)))
    prefill = result["prefill"]
    out.append((f"prefill {prefill['tokens']}", *_rate(prefill)))
    for d in result["decode"]:
        out.append((f"decode {d['tokens']} at depth {d['depth']}", *_rate(d)))
    out.append(("peak memory", f"{result['peak_rss_bytes'] / 2**20:.1f} MiB", _memory(result)))
    for d in (d for d in result["decode"] if d["fits"] and d["bytes_per_token"] is not None):
        reads = f"reads {d['bytes_per_second'] / 1e9:.2f} GB/s, {d['ceiling_fraction']:.0%} of the ceiling"
        out.append((f"bytes a token at depth {d['depth']}", f"{d['bytes_per_token'] / 1e6:.2f} MB", reads))
        blocks, pairs = f"{d['blocks_run']:.2f} of {result['n_layers']}", f"{d['agency']:.0%} of the pairs active"
        on = "on random tokens" if result["tokens"] == "random" else f"on {result['tokens']}"
        out.append((f"blocks run at depth {d['depth']}", blocks, f"{pairs}, {on}"))
        if "over_all_keys" in d:
            out.append((f"keys read at depth {d['depth']}", *_keys(d)))
    ceiling = f"{result['bandwidth_bytes_per_second'] / 1e9:.2f} GB/s"
    out.append(
        (
            "read bandwidth",
            ceiling,
            f"buffer of {result['bandwidth_buffer_bytes'] / 2**20:.1f} MiB, {result['threads']} threads",
        )
    )
    if row["kind"] == "PREDICTED":
        out = [(what, value, said if "PREDICTED" in said else f"{said}, PREDICTED") for what, value, said in out]
    return out + _costs(row) + _sustained(row) + _state(row)


def _costs(row: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Energy, instructions a cycle, intelligence per compute: the value, or a dash and the reason."""
    energy, hw, ipc = row.get("energy"), row.get("hw"), row.get("ipc")
    out: list[tuple[str, str, str]] = []
    if energy is None or hw is None or ipc is None:
        return out
    if energy["joules_per_token"] is None:
        out.append(("energy a token", "-", energy["reason"]))
    else:
        idle = "" if energy["idle_watts"] is None else f" ({energy['idle_watts']:.1f} W idle)"
        out.append(("energy a token", f"{energy['joules_per_token'] * 1e3:.3g} mJ", f"{energy['watts']:.1f} W{idle}; {energy['source']}"))
    if hw["ipc"] is None:
        out.append(("instructions a cycle (hw_ipc)", "-", hw["reason"]))
    else:
        out.append(("instructions a cycle (hw_ipc)", f"{hw['ipc']:.2f}", f"{hw['instructions_per_token'] / 1e6:.2f} M instructions a token"))
    if ipc["value"] is None:
        out.append(("intelligence per compute (IPC)", "-", ipc["reason"]))
    else:
        top = f"reasoning {ipc['reasoning']:.3f} x adaptability {ipc['adaptability']:.3f}"
        below = f"({ipc['parameters'] / 1e6:.2f} M x {ipc['seconds_per_token'] * 1e3:.3g} ms a token)"
        suite = f", suite {ipc['suite']}" if ipc.get("suite") else ""
        out.append(("intelligence per compute (IPC)", f"{ipc['value']:.4g}", f"{top} / {below}{suite}"))
    return out


def _sustained(row: dict[str, Any]) -> list[tuple[str, str, str]]:
    run = row.get("sustained")
    if run is None:
        return []
    rates = [s["tokens_per_second"] for s in run["samples"]]
    if not rates:
        return [("sustained decode", "-", "interrupted before the first sample")]
    took = f"{run['samples'][-1]['seconds'] / 60:.1f} of {run['minutes']:g} minutes" + (", INTERRUPTED" if run["interrupted"] else "")
    kept = "" if run["kept"] is None else f", {run['kept']:.0%} of the first speed kept"
    middle = f"{statistics.median(rates):.1f} tok/s"
    return [("sustained decode", middle, f"{min(rates):.1f} to {max(rates):.1f} tok/s, {len(rates)} samples in {took}{kept}")]


def _state(row: dict[str, Any]) -> list[tuple[str, str, str]]:
    before, after, said = row["state_before"], row["state_after"], row["throttling"]
    heat, governor = [s.get("temperature_c") for s in (before, after)], before.get("governor")
    out = [("throttled", {None: "-", True: "yes", False: "no"}[said["throttled"]], said["why"])]
    if None not in heat:
        out.append(("temperature", f"{heat[1]:.1f} °C", f"{heat[0]:.1f} °C before; {after.get('temperature_sensor')}"))
    if governor is not None:
        out.append(("frequency governor", governor, "" if governor == after.get("governor") else f"{after.get('governor')} after"))
    return out


def print_report(row: dict[str, Any]) -> None:
    """The table and the verdict on stdout."""
    from rich.console import Console
    from rich.table import Table

    result, machine = row["result"], row["machine"]
    console = Console(highlight=False)
    title = f"{result['name']}  {result['file_type']}  {result['n_params'] / 1e6:.1f}M parameters"
    title += "" if row["kind"] == "MEASURED" else f"  {row['kind']}"
    title += "  INTERRUPTED" if row.get("interrupted") else ""
    table = Table(title=title, title_justify="left")
    table.add_column("")
    table.add_column("median", justify="right")
    table.add_column("range")
    for line in lines(row):
        table.add_row(*line)
    console.print(table)
    cpu = f"{machine['cpu']}, {machine['cores']} cores, kernels {result['isa']},"
    cpu += f" {result['threads']} thread{'s' * (result['threads'] > 1)} ({result['threads_batch']} for prefill)"
    console.print(cpu, markup=False, soft_wrap=True)
    for sentence in verdict(row):
        console.print(sentence, markup=False, soft_wrap=True)


def _range(series: dict[str, Any], unit: str, digits: int) -> str:
    samples = series.get("samples")
    if not samples:
        return f"{series['min']:.{digits}f} to {series['max']:.{digits}f} {unit}, PREDICTED"
    return f"{min(samples):.{digits}f} to {max(samples):.{digits}f} {unit}, {len(samples)} samples"


def _rate(test: dict[str, Any]) -> tuple[str, str]:
    if not test["fits"]:
        return "-", "does not fit the context"
    rate = test["tokens_per_second"]
    return f"{rate['median']:.1f} tok/s", _range(rate, "tok/s", 1)


def _keys(test: dict[str, Any]) -> tuple[str, str]:
    seen, gain = test["keys_seen"], test["over_all_keys"]
    sketched = f"{test['keys_sketched'] / seen:.1%} sketched ({test['sketch_bytes'] / 1e6:.2f} MB), {test['values_read'] / seen:.1%} of the values"
    return (
        f"{test['keys_read'] / seen:.1%}",
        f"{sketched}; {gain['median']:.2f} times as fast as with all keys ({gain['min']:.2f} to {gain['max']:.2f})",
    )


def _cold(what: str, series: dict[str, Any] | None) -> tuple[str, str, str]:
    if series is None:
        return what, "-", "the page cache cannot be dropped here"
    return what, f"{series['median']:.1f} ms", _range(series, "ms", 1)


def _memory(result: dict[str, Any]) -> str:
    return f"file {result['file_bytes'] / 2**20:.1f} MiB, cache {result['cache_bytes'] / 2**20:.1f} MiB"
