"""The predictor held against published measurements: fits its constants, and predicts each row with constants fitted without it.

    python -m qig_edge.bench.validate             the table of docs/devices.md
    python -m qig_edge.bench.validate --sources   the same, each row with constants fitted without any row of its source
"""

from __future__ import annotations

import dataclasses
import math
import sys
from functools import cache, cached_property
from importlib import resources
from typing import TYPE_CHECKING

from qig_edge.bench.predict import (
    ENTRIES,
    POWER,
    Constants,
    Machine,
    Work,
    decode_seconds,
    kernels,
    machine,
    prefill_seconds,
    share_of,
)
from qig_edge.devices.profile import load_profile
from qig_edge.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# the grids that constants are looked for on: shares and reaches in steps of half a percent
SHARES = (0.2, 1.6, 0.005)
BLOCK_CYCLES = (0.0, 1.5e6, 2.5e4)


@dataclasses.dataclass(frozen=True)
class Row:
    """One published measurement: the fields of validation.toml."""

    source: str
    device: str
    engine: str
    model: str
    quant: str
    bytes: float
    weights: dict[str, float]
    blocks: int
    width: int
    threads: int
    decode: float
    prefill: float = 0.0
    prompt: int = 0
    prompt_weights: dict[str, float] = dataclasses.field(default_factory=dict)
    mhz: int = 0
    note: str = ""
    excluded: str = ""

    @cached_property
    def machine(self) -> Machine:
        return machine(load_profile(self.device), self.mhz)

    @cached_property
    def work(self) -> Work:
        """A token at short context. Where an engine's cycles are not known, llama.cpp's are taken; on an unknown processor none."""
        table = kernels(load_profile(self.device).processor, self.engine) or kernels(load_profile(self.device).processor, "llama.cpp")
        return Work(self.bytes, table.product(self.weights) if table else 0.0, self.blocks)

    @cached_property
    def prefill_cycles(self) -> float:
        """Cycles of one token of the prompt, half of it in sight on average; 0 where they are not known."""
        table = kernels(load_profile(self.device).processor, self.engine)
        if not table or not self.prefill:
            return 0.0
        heads = self.blocks * self.width / ENTRIES  # query heads of 128 entries
        return table.product(self.prompt_weights, prefill=True) + table.attention(heads * self.prompt / 2, heads * self.prompt / 2, ENTRIES)


@cache
def rows() -> tuple[Row, ...]:
    """The rows of validation.toml. Raises ConfigError for a row whose source is not listed there."""
    tables = tomllib.loads((resources.files("qig_edge") / "bench" / "validation.toml").read_text("utf-8"))
    known = {s["name"] for s in tables["sources"]}
    found = tuple(Row(**row) for row in tables["rows"])
    for row in found:
        if row.source not in known:
            raise ConfigError(f"validation.toml: source '{row.source}' of a row is not listed (sources: {', '.join(sorted(known))})")
    return found


class Fit:
    """The errors of every row at every constant on the grids, so that fitting without a row is a sum of the others."""

    def __init__(self, all_rows: tuple[Row, ...]) -> None:
        import numpy as np

        self.rows = all_rows
        self.used = [n for n, row in enumerate(all_rows) if not row.excluded]
        self.shares, self.block_cycles = np.arange(*SHARES), np.arange(*BLOCK_CYCLES)
        self.errors = {n: self._errors(all_rows[n]) for n in self.used}
        devices = {all_rows[n].device for n in self.used}
        self.totals = {d: np.sum([self.errors[n] for n in self.used if all_rows[n].device == d], axis=0) for d in devices}

    def _errors(self, row: Row) -> np.ndarray:
        """Squared logarithm of predicted over measured seconds [shares, block_cycles]."""
        import numpy as np

        at, work = row.machine, row.work
        memory = work.bytes / at.bandwidth(row.threads) / self.shares[:, None]
        compute = work.cycles / at.clock_hz / row.threads
        seconds = (memory**POWER + compute**POWER) ** (1 / POWER) + self.block_cycles[None, :] * work.blocks / at.clock_hz
        out: np.ndarray = np.log(seconds * row.decode) ** 2
        return out

    def _best(self, used: list[int]) -> tuple[dict[str, int], int, np.ndarray]:
        """Index of the best share of each device, index of the best block_cycles, and the squared error of each block_cycles [block_cycles]."""
        import numpy as np

        left_out = [n for n in self.used if n not in used]
        sums = {}
        for device in sorted({self.rows[n].device for n in used}):
            sums[device] = self.totals[device] - sum(self.errors[n] for n in left_out if self.rows[n].device == device)
        if not sums:
            raise ConfigError("no measurement is left to fit constants to")
        total: np.ndarray = np.sum([np.min(s, axis=0) for s in sums.values()], axis=0)
        best = int(np.argmin(total))
        return {d: int(np.argmin(s[:, best])) for d, s in sums.items()}, best, total

    def without(self, left_out: set[int]) -> Constants:
        """Constants fitted to all rows but those, least squares of logarithms; the spread is how far rows of each source are off when constants
        come from the other sources. Raises ConfigError where nothing is left."""
        import numpy as np

        used = [n for n in self.used if n not in left_out]
        share, best, total = self._best(used)
        freedom = max(1, len(used) - len(share) - 1)
        most = int(np.max(np.nonzero(total <= total[best] * (1 + 4 / freedom))))
        reach, prefill_spread = self._reach(used)
        return Constants(
            {d: float(self.shares[n]) for d, n in share.items()},
            reach,
            float(self.block_cycles[best]),
            float(self.block_cycles[most]),
            self._spread(used),
            prefill_spread,
            {d: sum(self.rows[n].device == d for n in used) for d in share},
        )

    def _spread(self, used: list[int]) -> float:
        """Root mean square of the logarithm of predicted over measured, each row predicted without its whole source. A device that only one source
        tells of tells nothing here."""
        squares = []
        for source in sorted({self.rows[n].source for n in used}):
            rest = [n for n in used if self.rows[n].source != source]
            if not rest:
                continue
            share, best, _ = self._best(rest)
            mine = (n for n in used if self.rows[n].source == source and self.rows[n].device in share)
            squares += [float(self.errors[n][share[self.rows[n].device], best]) for n in mine]
        if not squares:
            raise ConfigError("no device is left that two sources tell of: how far predictions are off cannot be told")
        return math.sqrt(sum(squares) / len(squares))

    def _reach(self, used: list[int]) -> tuple[dict[str, float], float]:
        """Share of their loops' speed that prompts reached, by device, and the standard deviation of what is left."""
        logs: dict[str, list[float]] = {}
        for row in (self.rows[n] for n in used):
            if row.prefill_cycles:
                seconds = prefill_seconds(row.prefill_cycles, row.machine, row.threads, 1.0)
                logs.setdefault(row.device, []).append(math.log(seconds * row.prefill))
        mean = {d: sum(x) / len(x) for d, x in logs.items()}
        left = [(x - mean[d]) ** 2 for d, values in logs.items() for x in values]
        return {d: math.exp(m) for d, m in mean.items()}, math.sqrt(sum(left) / max(1, len(left) - len(mean)))


@cache
def fit() -> Fit:
    """The fit over validation.toml."""
    return Fit(rows())


@cache
def constants() -> Constants:
    """Constants fitted to every row that is not excluded: what predictions are made with."""
    return fit().without(set())


@cache
def kinds() -> dict[str, str]:
    """What kind of bandwidth the profile of each device has that rows are of."""
    return {row.device: row.machine.kind for row in rows()}


def smallest_bytes() -> float:
    """Of all rows that constants are fitted to, what the smallest model reads a token."""
    return min(row.bytes for row in rows() if not row.excluded)


@dataclasses.dataclass(frozen=True)
class Checked:
    """A row and what was predicted for it. decode, low, high: tokens a second; prefill: likewise, 0 where nothing is predicted; own: whether the
    share was fitted on other rows of the same device."""

    row: Row
    decode: float
    low: float
    high: float
    prefill: float
    own: bool

    @property
    def error(self) -> float:
        """Predicted over measured, less one."""
        return self.decode / self.row.decode - 1


def check(row: Row, by: Constants) -> Checked:
    """A row predicted with those constants."""
    at = row.machine
    share, own = share_of(at, by, kinds())
    rate = 1 / decode_seconds(row.work, at, row.threads, share, by.block_cycles)
    factor = math.exp(2 * (by.spread if own else math.hypot(by.spread, at.spread)))
    reach = by.reach.get(row.device, 0.0)
    prefill = 1 / prefill_seconds(row.prefill_cycles, at, row.threads, reach) if reach and row.prefill_cycles else 0.0
    return Checked(row, rate, rate / factor, rate * factor, prefill, own)


def leave_out(whole_sources: bool = False) -> list[Checked]:
    """Every row predicted with constants that were fitted without it, or without any row of its source."""
    found, done = fit(), []
    for n, row in enumerate(found.rows):
        out = {m for m, other in enumerate(found.rows) if m == n or (whole_sources and other.source == row.source)}
        done.append(check(row, found.without(out)))
    return done


def markdown(checked: list[Checked]) -> str:
    """The rows as a table, those that are no test below the others."""
    heads = ["device", "source", "engine, model", "threads", "MB a token", "measured, tok/s", "PREDICTED", "range", "error", "prefill, measured"]
    heads.append("PREDICTED")
    lines = ["| " + " | ".join(heads) + " |", "|---|---|---|---:|---:|---:|---:|---|---:|---:|---:|"]
    for c in sorted(checked, key=lambda c: (bool(c.row.excluded), c.row.device)):
        r = c.row
        name = f"{r.engine}, {r.model} {r.quant}" + (f" ({r.note})" if r.note else "")
        prefill = [f"{r.prefill:g}" if r.prefill else "", f"{c.prefill:.1f}" if c.prefill else ""]
        cells = [r.device, r.source, name, str(r.threads), f"{r.bytes / 1e6:.0f}", f"{r.decode:g}", f"{c.decode:.2f}", f"{c.low:.2f} to {c.high:.2f}"]
        cells += ["no test: " + r.excluded if r.excluded else f"{c.error:+.0%}", *prefill]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def summary(checked: list[Checked], by: Constants) -> str:
    """The constants, and how far predictions are off, in words."""
    tests = [c for c in checked if not c.row.excluded]
    worst = max(tests, key=lambda c: abs(c.error))
    prompts = [c.prefill / c.row.prefill - 1 for c in tests if c.prefill]
    inside = sum(c.low <= c.row.decode <= c.high for c in tests)
    shares = ", ".join(f"{d} {s:.1%} of {kinds()[d]} bandwidth ({by.rows[d]} rows)" for d, s in by.share.items())
    reach = ", ".join(f"{d} {r:.0%}" for d, r in by.reach.items())
    return (
        f"Constants, fitted to all rows: share {shares}; {by.block_cycles:,.0f} cycles a block and token, at most {by.most_block_cycles:,.0f};"
        f" reach in prefill {reach}. "
        f"{len(tests)} rows: mean error {sum(abs(c.error) for c in tests) / len(tests):.1%}, largest {worst.error:+.1%} ({worst.row.model}"
        f" {worst.row.quant} on {worst.row.device}, {worst.row.threads} threads); {inside} of them inside their range, which is "
        f"-{1 - math.exp(-2 * by.spread):.0%} to +{math.exp(2 * by.spread) - 1:.0%}. Prefill, {len(prompts)} rows: mean error"
        f" {sum(map(abs, prompts)) / len(prompts):.0%}, largest {max(prompts, key=abs):+.0%}."
    )


def main(arguments: list[str]) -> int:
    """Prints the table; 2 for an argument that is not known."""
    if arguments not in ([], ["--sources"]):
        print(f"error: unknown argument '{' '.join(arguments)}' (accepted: --sources)", file=sys.stderr)
        return 2
    checked = leave_out(bool(arguments))
    print(markdown(checked), summary(checked, constants()), sep="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
