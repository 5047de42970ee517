"""A row on the terminal: a table, and the verdict in words."""

from __future__ import annotations

from typing import Any

# a decode that reaches this share of the read bandwidth is bound by it
BOUND = 0.6


def lines(row: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(what, median, range of the samples) of each measurement in a row."""
    result = row["result"]
    out = [("open, warm", f"{result['load_ms']['median']:.2f} ms", _range(result["load_ms"], "ms", 2))]
    out.append(_cold("open, cold", row["load_cold_ms"]))
    out.append(_cold("start to first token, cold", row["first_token_cold_ms"]))
    warm = row["first_token_warm_ms"]
    out.append(("start to first token, warm", f"{warm['median']:.1f} ms", _range(warm, "ms", 1)))
    first = result["first_token"]
    out.append(
        (f"first token after {first['prompt']}", f"{first['ms']['median']:.1f} ms", _range(first["ms"], "ms", 1))
    )
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
    return out


def verdict(row: dict[str, Any]) -> str:
    """What bounds decoding here and what would make it faster, in words."""
    result = row["result"]
    measured = [d for d in result["decode"] if d["fits"]]
    if not measured:
        return "No decode test fits the context."
    shallow, deep = measured[0], measured[-1]
    share = shallow["ceiling_fraction"]
    if share is None:
        text = f"What a token makes {result['isa']} read is not told, so neither is the share of the memory bandwidth."
    elif share >= BOUND:
        text = f"Decode is bound by memory: {share:.0%} of what plain reading reaches. Fewer bytes a token (--q4, a smaller model) make it faster."
    else:
        text = (
            f"Decode reaches {share:.0%} of what plain reading reaches: arithmetic and waiting count more than bytes here."
            + (" A model this small sits in the processor's cache." if result["file_bytes"] < 8 << 20 else "")
            + " Try other thread counts (-t)."
        )
    if deep is not shallow:
        slower = 1 - deep["tokens_per_second"]["median"] / shallow["tokens_per_second"]["median"]
        text += f" At depth {deep['depth']} it is {abs(slower):.0%} {'slower' if slower >= 0 else 'faster'}."
    return text


def print_report(row: dict[str, Any]) -> None:
    """The table and the verdict on stdout."""
    from rich.console import Console
    from rich.table import Table

    result, machine = row["result"], row["machine"]
    console = Console(highlight=False)
    table = Table(
        title=f"{result['name']}  {result['file_type']}  {result['n_params'] / 1e6:.1f}M parameters",
        title_justify="left",
    )
    table.add_column("")
    table.add_column("median", justify="right")
    table.add_column("range")
    for line in lines(row):
        table.add_row(*line)
    console.print(table)
    cpu = f"{machine['cpu']}, {machine['cores']} cores, kernels {result['isa']},"
    cpu += f" {result['threads']} threads ({result['threads_batch']} for prefill)"
    console.print(cpu, markup=False, soft_wrap=True)
    console.print(verdict(row), markup=False, soft_wrap=True)


def _range(series: dict[str, Any], unit: str, digits: int) -> str:
    samples = series["samples"]
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
