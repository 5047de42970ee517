"""Writes docs/kernels.md: what the ARM kernels are predicted to take, and what this machine's kernels were measured to reach.

    python kernels/tools/report.py BENCH PAGE        BENCH: the built qig-kernels-bench;  PAGE: the file to write       (make kernels-report)

The predictions are arm_cycles.py's. The measurements are qig-kernels-bench's of the best kernel set here, one line a kernel and shape.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from arm_cycles import markdown  # noqa: E402

from qig_edge.devices.host import cpu_info  # noqa: E402
from qig_edge.errors import DeviceError, QigError  # noqa: E402

SHAPES = HERE.parent / "bench" / "shapes.txt"
SETS = ("L1", "L2", "memory")


@dataclass
class Measured:
    """A kernel on a shape. rates, macs: GB/s and GMAC/s by working set; us: of a call, from memory or, for vectors, from the cache.

    share: of memory's ceiling; of_one: time over that of the same product with one column.
    """

    us: str = ""
    rates: dict[str, str] = field(default_factory=dict)
    macs: dict[str, str] = field(default_factory=dict)
    share: str = ""
    of_one: str = ""


def measure(bench: Path) -> str:
    """What qig-kernels-bench prints. Raises DeviceError where it fails."""
    done = subprocess.run([str(bench), str(SHAPES)], capture_output=True, text=True)
    if done.returncode:
        raise DeviceError(f"{bench}: {(done.stderr.strip().splitlines() or ['it failed'])[-1]}")
    return done.stdout


def read(text: str) -> dict[tuple[str, str], Measured]:
    """Its rows by kernel and shape. Raises DeviceError for a line that is none."""
    rows: dict[tuple[str, str], Measured] = {}
    for line in text.splitlines()[1:]:
        words = line.replace(" x ", "x").split()
        if len(words) < 4 or words[2] not in (*SETS, "cache"):
            raise DeviceError(f"not a row of qig-kernels-bench: '{line}'")
        kernel, shape, where, us, *rest = words
        row = rows.setdefault((kernel, shape.replace("x", " x ")), Measured())
        if where in ("memory", "cache"):
            row.us = us
        if rest:
            row.rates[where], row.macs[where] = rest[0], rest[3]
        if where == "memory":
            row.share, row.of_one = rest[2], rest[4] if len(rest) > 4 else ""
    if not rows:
        raise DeviceError("qig-kernels-bench printed no row")
    return rows


def table(rows: dict[tuple[str, str], Measured]) -> str:
    """The rows as Markdown."""
    lines = [
        "| kernel | shape | us | GB/s in L1 | L2 | memory | of the ceiling | GMAC/s in L1 | L2 | memory | of n = 1 |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for (kernel, shape), row in rows.items():
        rates, macs = ([d.get(s, "") for s in SETS] for d in (row.rates, row.macs))
        lines.append("| " + " | ".join([f"`{kernel}`", shape, row.us, *rates, row.share, *macs, row.of_one]) + " |")
    return "\n".join(lines) + "\n"


def page(measured: str) -> str:
    """The whole page."""
    return f"""# Kernels

Written by `make kernels-report`. How the runtime's inner loops stand: predicted for ARM, measured on one machine.

## ARM: predicted

{markdown()}
A matrix product on the A72 ends at its one multiply-long a cycle, a matrix-vector product rather at its memory: 5 cycles for 18 bytes are 5.4 GB/s
for one core at 1.5 GHz. A cached value costs more than a key because it is widened and converted to float entry by entry; gates leave most values
unread. `smmla` pays for several columns only: one alone costs what dot products would.

## This machine: measured

{cpu_info()["model"]}, one thread. Shapes: `kernels/bench/shapes.txt`; `us` is one call on the whole shape, from memory (vectors: from the
cache). In L1 and L2 a kernel works on as many rows or keys as 16 and 256 KB hold. The ceiling is plain reading from memory, measured before and
after each row. Processor time, medians of 7 trials: a busy machine shares its caches and memory all the same, so numbers are comparable within a
run, not between runs;
a share above 100% says that the ceiling was read in a slower moment of the machine than the row.

{table(read(measured))}"""


def main(arguments: list[str]) -> int:
    """0, or 2 with a line on stderr."""
    if len(arguments) != 2:
        print("usage: report.py BENCH PAGE", file=sys.stderr)
        return 2
    try:
        text = page(measure(Path(arguments[0])))
    except QigError as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    Path(arguments[1]).write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
