"""A row of the bench for a device that is not there: the ARM program checked under emulation, its speed predicted.

What a token reads and computes is told by the runtime's own counters, in a short run of `qig bench` on this machine: they are the same wherever
the same decisions are taken, and but for near ties every kernel set takes the same ones. The row has the fields of a measured one, with
"predicted": true, and numbers of the form {"median", "min", "max"} in the place of {"median", "samples"}; null is what is not predicted. "from"
tells what it was computed from, "emulated" what the check found.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qig_edge import __version__
from qig_edge.bench.identity import commit, model_hash
from qig_edge.bench.measure import SCHEMA
from qig_edge.bench.predict import (
    Constants,
    Kernels,
    Machine,
    Work,
    decode_seconds,
    kernels,
    machine,
    pooled,
    prefill_seconds,
    share_of,
)
from qig_edge.bench.validate import constants, kinds, smallest_bytes
from qig_edge.devices.emulate import run_program
from qig_edge.devices.host import program_path
from qig_edge.devices.profile import Profile
from qig_edge.errors import ConfigError, DeviceError, ModelFileError, RuntimeFault

FIRST_TOKEN_PROMPT = 32  # tokens before the first one, as in `qig bench`
FASTER = {"median": "median", "min": "max", "max": "min"}  # the least time belongs to the highest rate
TOKENS = 8  # decoded at each depth to read the counters
# A judgement, as no board was timed with libqig: two standard deviations of a fifth each way, beside those of llama.cpp's rows.
OTHER_ENGINE = math.log(1.2) / 2
# Of libqig, counted and not fitted: callgrind finds some 120,000 instructions a token of qig-nano (4 blocks) outside of products and attention, and a
# vector of NEON is half as wide as the AVX2 that was counted, of a part of them. Nothing for a large model, a tenth of the time of this one.
BLOCK_CYCLES = 4e4
# what is said of a prefill whose loops met no board: anything from half of what its center assumes to twice that
UNTRIED = math.log(2) / 2
NOTE = "No Raspberry Pi or phone was timed with libqig."
ISAS = {"dotprod": "neon_dotprod", "neon": "neon", "avx2": "avx2"}  # the kernel set by what a profile's features have, the best first
# rows of kernels.toml by the file's types; what is not here is computed as Q8_0
TYPES = {"Q4_0": "q4_0", "Q8_0": "q8_0", "F16": "f16", "Q4_1": "q4_k", "Q6_K": "q4_k"}


@dataclasses.dataclass(frozen=True)
class Counted:
    """A model as its counters tell it. info, bench: what `qig info` and `qig bench` say; weights: of matrices that a generated token goes through, by
    type; prompt_weights: without the head; depths: bytes_per_token, keys_read, values_read, blocks_run and agency by depth."""

    info: dict[str, Any]
    bench: dict[str, Any]
    weights: dict[str, float]
    prompt_weights: dict[str, float]
    depths: dict[int, dict[str, float]]

    @property
    def group(self) -> float:
        """Query heads that share a key."""
        return float(self.info["n_heads"] / self.info["n_kv_heads"])

    def of_blocks(self, share: float) -> Counted:
        """The same model with so much of its blocks' weights, keys and values read: what a model that was trained to skip does on average."""
        head = {k: n - self.prompt_weights.get(k, 0.0) for k, n in self.weights.items()}
        blocks = {k: n * share for k, n in self.prompt_weights.items()}
        first, whole = self.depths[0], sum(self.weights.values())
        left_out = first["bytes_per_token"] * sum(self.prompt_weights.values()) / whole * (1 - share)
        depths = {}
        for depth, at in self.depths.items():
            cache = at["bytes_per_token"] - first["bytes_per_token"]
            read = first["bytes_per_token"] - left_out + cache * share
            depths[depth] = {**{k: v * share for k, v in at.items()}, "bytes_per_token": read, "agency": at["agency"]}
        return Counted(self.info, self.bench, {k: head[k] + blocks.get(k, 0.0) for k in head}, blocks, depths)


def count(
    model: Path, depths: Sequence[int], settings: Mapping[str, str] | None = None, text: Path | None = None, positions: int = 0
) -> Counted:
    """Counts what one token of a model costs at each depth, with the `qig` program of this machine. Depth 0 is always counted. positions: of the
    session, whose memory is read off, where they are more than the depths need.

    Raises ModelFileError for a file that libqig does not open, RuntimeFault where the program is missing or fails.
    """
    program, asked = str(program_path()), sorted({0, *depths})
    command = [program, "bench", str(model), "--json", "-t", "1", "--prefill", "1", "--decode", str(TOKENS), "--repeat", "1"]
    command += ["--ctx", str(max(positions, asked[-1] + TOKENS)), "--depths", ",".join(map(str, asked))]
    command += [part for key, value in (settings or {}).items() for part in ("--set", f"{key}={value}")]
    command += ["--text", str(text)] if text else []
    bench, info = json.loads(run_counted(command)), json.loads(run_counted([program, "info", str(model), "--json"]))
    blocks, head, size = matrices(model)
    read = bench["decode"][0]["bytes_per_token"] / size  # what is not read of the matrices is not computed either
    weights = {k: (blocks.get(k, 0.0) + head.get(k, 0.0)) * min(read, 1.0) for k in {**blocks, **head}}
    told = ("bytes_per_token", "keys_read", "values_read", "blocks_run", "agency")
    by_depth = {d["depth"]: {k: float(d[k]) for k in told} for d in bench["decode"]}
    return Counted(info, bench, weights, {k: n * min(read, 1.0) for k, n in blocks.items()}, by_depth)


def run_counted(command: list[str]) -> str:
    """What the program of this machine prints; a file that it refuses is a ModelFileError."""
    try:
        return run_program(command)
    except DeviceError as e:
        line = str(e).partition(": ")[2].removeprefix("qig: ")
        raise (ModelFileError if "GGUF" in line else RuntimeFault)(line) from None


def matrices(model: Path) -> tuple[dict[str, float], dict[str, float], float]:
    """Weights by type of the matrices in the blocks and of those of the head, and their bytes. The file was opened by libqig before."""
    from gguf import GGUFReader

    found = [t for t in GGUFReader(model).tensors if len(t.shape) > 1 and not t.name.startswith("draft")]
    tied = not any(t.name == "output.weight" for t in found)
    blocks: dict[str, float] = {}
    head: dict[str, float] = {}
    size = 0.0
    for t in found:
        if t.name == "token_embd.weight" and not tied:
            continue
        into = head if t.name.startswith(("output", "token_embd.")) else blocks
        kind = TYPES.get(t.tensor_type.name, "q8_0")
        into[kind] = into.get(kind, 0.0) + float(t.n_elements)
        size += float(t.n_bytes)
    return blocks, head, size


@dataclasses.dataclass(frozen=True)
class Predictor:
    """Rates of one engine on one device. own: whether the share was fitted on that device."""

    profile: Profile
    engine: str
    threads: int
    at: Machine
    by: Constants
    share: float
    own: bool
    table: Kernels | None

    def decode(self, counted: Counted, depth: int) -> dict[str, Any]:
        """Tokens a second at a depth, with the range that two standard deviations span; to its lower end belongs the most that blocks may cost."""
        work = self.work(counted, depth)
        sigma = math.hypot(self.by.spread, 0.0 if self.own else self.at.spread, 0.0 if self.engine == "llama.cpp" else OTHER_ENGINE)
        own = 0.0 if self.engine == "llama.cpp" else BLOCK_CYCLES
        seconds = decode_seconds(work, self.at, self.threads, self.share, self.by.block_cycles + own)
        slowest = decode_seconds(work, self.at, self.threads, self.share, self.by.most_block_cycles + own)
        return {"median": 1 / seconds, "min": math.exp(-2 * sigma) / slowest, "max": math.exp(2 * sigma) / seconds}

    def work(self, counted: Counted, depth: int) -> Work:
        """Of a token at that depth. llama.cpp keeps keys and values in 16 bits and reads them all."""
        at = counted.depths[depth]
        read, keys, values = at["bytes_per_token"], at["keys_read"] * counted.group, at["values_read"] * counted.group
        if self.engine == "llama.cpp":
            positions = (depth + TOKENS / 2) * counted.info["n_layers"]
            entries = counted.info["n_kv_heads"] * counted.info["head_dim"]
            read = counted.depths[0]["bytes_per_token"] + positions * entries * 4
            keys = values = positions * counted.info["n_heads"]
        cycles = self.table.product(counted.weights) + self.table.attention(keys, values, counted.info["head_dim"]) if self.table else 0.0
        return Work(read, cycles, at["blocks_run"])

    def prefill(self, counted: Counted, tokens: int, threads: int) -> dict[str, Any] | None:
        """Tokens a second of a prompt that long with so many threads; None where the cycles are not known. libqig's loops met no board: from half
        of the center to twice that."""
        if not self.table:
            return None
        heads = counted.depths[0]["blocks_run"] * counted.info["n_heads"]
        pairs = heads * tokens / 2
        cycles = self.table.product(counted.prompt_weights, prefill=True) + self.table.attention(pairs, pairs, counted.info["head_dim"])
        fitted = self.engine == "llama.cpp" and self.profile.name in self.by.reach
        reach = self.by.reach[self.profile.name] if fitted else pooled(self.by.reach, list(self.by.reach))
        once = counted.depths[0]["bytes_per_token"] / (self.share * self.at.bandwidth(threads)) / tokens
        rate = 1 / prefill_seconds(cycles, self.at, threads, reach, once)
        sigma = self.by.prefill_spread if fitted else math.hypot(self.by.prefill_spread, UNTRIED)
        return {"median": rate, "min": rate * math.exp(-2 * sigma), "max": rate * math.exp(2 * sigma)}


def predictor(profile: Profile, counted: Counted, threads: int = 0, engine: str = "libqig") -> Predictor:
    """The predictor of a profile; threads 0: as many as decode fastest, the most where that is the same.

    Raises DeviceError where nothing can be predicted, ConfigError for more threads than the device has cores worth one.
    """
    at, by = machine(profile), constants()
    share, own = share_of(at, by, kinds())
    table = kernels(profile.processor, engine)
    check_threads(profile, threads, "threads")
    asked = [threads] if threads else range(1, profile.cores + 1)
    each = [Predictor(profile, engine, t, at, by, share, own, table) for t in asked]
    return max(each, key=lambda p: (p.decode(counted, 0)["median"], p.threads))


def check_threads(profile: Profile, threads: int, what: str) -> None:
    """Raises ConfigError for a number of threads that is not predicted for a device."""
    if not 0 <= threads <= profile.cores:
        raise ConfigError(f"{what} = {threads} must be 0 (chosen) or in [1, {profile.cores}] on {profile.name}, whose cores are worth a thread each")


def predicted_row(
    profile: Profile,
    counted: Counted,
    *,
    model: Path,
    threads: int = 0,
    threads_batch: int = 0,
    prefill: int = 512,
    depths: Sequence[int] = (0, 1024),
    engine: str = "libqig",
    settings: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The row. threads as predictor; threads_batch 0: threads, or all cores where that is 0 too.

    Raises DeviceError where nothing can be predicted, ConfigError for a number of threads, or a QIG model in llama.cpp.
    """
    if engine == "llama.cpp" and counted.info["architecture"] == "qig":
        raise ConfigError(f"llama.cpp does not run '{model}' (architecture qig): --peer-model FILE names the model to hold it against")
    p = predictor(profile, counted, threads, engine)
    check_threads(profile, threads_batch, "threads_batch")
    batch = threads_batch or threads or profile.cores
    decode = []
    for depth in depths:
        rate, work, at = p.decode(counted, depth), p.work(counted, depth), counted.depths[depth]
        decode.append(
            {
                "depth": depth,
                "tokens": TOKENS,
                "fits": True,
                "predicted": True,
                "tokens_per_second": rate,
                "bytes_per_token": work.bytes,
                "cycles_per_token": work.cycles,
                "blocks_run": at["blocks_run"],
                "agency": at["agency"],
                "bytes_per_second": work.bytes * rate["median"],
                "ceiling_fraction": work.bytes * rate["median"] / p.at.bandwidth(p.threads),
            }
        )
    rss = float(counted.bench["peak_rss_bytes"])
    first, short = p.prefill(counted, prefill, batch), p.prefill(counted, FIRST_TOKEN_PROMPT, batch)
    wait = {name: FIRST_TOKEN_PROMPT / short[other] * 1e3 for name, other in FASTER.items()} if short else None
    nothing_ran = {"reason": "nothing ran"}
    return {
        "schema": SCHEMA,
        "kind": "PREDICTED",
        "predicted": True,
        "suite": None,
        "interrupted": False,
        "device": profile.name,
        "profile": {"name": profile.name, "description": profile.description},
        "version": __version__,
        "commit": commit(),
        "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": {
            **dict.fromkeys(("system", "release", "board", "physical_cores", "memory_bytes", "python")),
            "arch": profile.target.partition("-")[0],
            "cpu": profile.cpu,
            "cores": profile.cores,
            "features": list(profile.features),
            "memory_gb": list(profile.memory_gb),
            "last_cache_bytes": max((c.kib << 10 for c in profile.caches), default=None),
        },
        "model_sha256": model_hash(model),
        "backend": "native" if engine == "libqig" else "llama",
        "engine": engine,
        "state_before": {},
        "state_after": {},
        "throttling": {"throttled": None, "why": "nothing ran"},
        "settings": dict(settings or {}),
        "result": {
            "name": counted.info["name"],
            "model": str(model),
            "architecture": counted.info["architecture"],
            "file_type": counted.info["file_type"],
            "tokens": counted.bench["tokens"],
            "n_params": counted.info["n_params"],
            "n_layers": counted.info["n_layers"],
            "context": counted.bench["context"],
            "file_bytes": counted.info["file_bytes"],
            "weight_bytes": counted.info["weight_bytes"],
            "cache_bytes": counted.bench["cache_bytes"],
            "cpu": profile.cpu,
            "isa": next((kernel for feature, kernel in ISAS.items() if feature in profile.features), "ref"),
            "threads": p.threads,
            "threads_batch": batch,
            "load_ms": None,
            "first_token": {"prompt": FIRST_TOKEN_PROMPT, "predicted": True, "ms": wait} if wait else None,
            "prefill": {"tokens": prefill, "fits": first is not None, "predicted": True, "tokens_per_second": first},
            "decode": decode,
            "peak_rss_bytes": rss,
            "peak_rss_range": {"predicted": True, "min": rss * 0.9, "max": rss * 1.15},
            "bandwidth_bytes_per_second": p.at.bandwidth(p.threads),
            "bandwidth_buffer_bytes": counted.info["file_bytes"],
        },
        **dict.fromkeys(("load_cold_ms", "first_token_cold_ms", "first_token_warm_ms", "own_state", "sustained")),
        "energy": {"joules_per_token": None, "watts": None, "idle_watts": None, "source": None, **nothing_ran},
        "hw": {"ipc": None, "instructions_per_token": None, "cycles_per_token": None, **nothing_ran},
        "ipc": {"value": None, **nothing_ran},
        "from": {
            "bandwidth": [{"threads": b.threads, "gb_s": b.gb_s, "kind": b.kind, "source": b.source} for b in profile.bandwidth],
            "share": p.share,
            "share_fitted_here": p.own,
            "block_cycles": {"fitted": p.by.block_cycles, "most": p.by.most_block_cycles, "counted": BLOCK_CYCLES if engine == "libqig" else 0.0},
            "spread": p.by.spread,
            "rows": p.by.rows.get(profile.name, 0),
            "smallest_bytes": smallest_bytes(),
            "kernels": p.table.source if p.table else None,
            "note": NOTE if engine == "libqig" else "",
        },
    }


def lines(row: dict[str, Any]) -> list[str]:
    """The row in words, each line of it marked."""
    result, told = row["result"], row["from"]
    threads = f"{result['threads']} threads ({result['threads_batch']} for prefill)"
    out = [f"{result['name']}  {result['file_type']}  {row['engine']} on {row['device']}, {threads}:"]
    first = result["prefill"]["tokens_per_second"]
    if first is not None:
        out.append(f"  PREDICTED  prefill {result['prefill']['tokens']:<18} {_rate(first)}")
    if (start := result["first_token"]) is not None:
        wait = start["ms"]
        out.append(f"  PREDICTED  first token after {start['prompt']:<8} {wait['median']:8.1f} ms     ({wait['min']:.1f} to {wait['max']:.1f})")
    for d in result["decode"]:
        out.append(f"  PREDICTED  decode at depth {d['depth']:<10} {_rate(d['tokens_per_second'])}   {d['bytes_per_token'] / 1e6:.2f} MB a token")
    rss, between = result["peak_rss_bytes"], result["peak_rss_range"]
    out.append(f"  PREDICTED  memory {'':<19} {rss / 2**20:8.0f} MiB    ({between['min'] / 2**20:.0f} to {between['max'] / 2**20:.0f})")
    smallest = min(row["machine"]["memory_gb"], default=0)
    if smallest and between["max"] > smallest * 1e9 * 0.8:
        out.append(f"  it may not fit the smallest of these devices, which has {smallest:g} GB")
    read = result["decode"][0]["bytes_per_token"]
    if read < told["smallest_bytes"] / 4:
        out.append(
            f"  extrapolated: the smallest model that was measured reads {told['smallest_bytes'] / 1e6:.0f} MB a token, this one {read / 1e6:.1f};"
            " what does not grow with a model counts for more here"
        )
    own = f"fitted to {told['rows']} published measurements of llama.cpp on this device" if told["share_fitted_here"] else "not fitted on this device"
    sources = ", ".join(sorted({b["source"] for b in told["bandwidth"]}))
    out.append(f"  from {result['bandwidth_bytes_per_second'] / 1e9:.1f} GB/s ({sources}), of which decoding reaches {told['share']:.0%} ({own});")
    out.append(f"  cycles: {told['kernels'] or 'not known, so memory alone decides'}. {told['note']}".rstrip())
    return out


def _rate(rate: dict[str, Any]) -> str:
    return f"{rate['median']:8.1f} tok/s  ({rate['min']:.1f} to {rate['max']:.1f})"
