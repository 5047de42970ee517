"""What qig-100m is predicted to do on a device, with all blocks and with some left out, beside its dense twin.

    python -m qig_edge.bench.headline [DEVICE]     the table of docs/devices.md; DEVICE: rpi4 unless one is named

No qig-100m was trained. Its shape is filled with the shipped qig-nano, spread over it (`bench --trained`), so that attention leaves out what it does
in a trained model; the twin has random weights, of which it reads all. How many weights a trained qig-100m would leave out is not known: what
stands for it is the share that the full model of docs/ablation.md reads (qig-micro, 0.7M parameters), and the same share of keys and values.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from qig_edge.bench.predicted import Counted, count, predicted_row
from qig_edge.bench.random_model import random_model
from qig_edge.cli import guarded
from qig_edge.devices.profile import Profile, load_profile
from qig_edge.runtime.assets import shipped_model

# docs/ablation.md, rows "full" and "attention alone": block weights read, 409k of 590k; over both seeds 66 to 71%
READ = 0.69
DEPTHS = (0, 1024)


def table(profile: Profile, depths: Sequence[int] = DEPTHS, preset: str = "qig-100m", twin: str = "dense-100m") -> str:
    """The rows as Markdown. Raises DeviceError for a device that nothing can be predicted for, RuntimeFault where the qig program is missing."""
    paths = {preset: random_model(preset, trained=shipped_model()), twin: random_model(twin)}
    counted = {name: count(path, depths) for name, path in paths.items()}
    shown: list[tuple[str, str, str, Counted]] = [
        (f"{preset}, all blocks", preset, "libqig", counted[preset]),
        (f"{preset}, {READ:.0%} of the block weights read", preset, "libqig", counted[preset].of_blocks(READ)),
        (twin, twin, "libqig", counted[twin]),
        (twin, twin, "llama.cpp", counted[twin]),
    ]
    rows = [(what, engine, predicted_row(profile, c, model=paths[name], depths=depths, engine=engine)) for what, name, engine, c in shown]
    reference = rows[-1][2]["result"]["decode"]
    heads = [f"PREDICTED decode at depth {d}, tok/s" for d in depths]
    lines = ["| model, Q4_0 | engine | MB a token at depth " + " and ".join(map(str, depths)) + " | " + " | ".join(heads) + " | over the last row |"]
    lines.append("|---|---|---|" + "---|" * len(depths) + "---|")
    for what, engine, row in rows:
        decode: list[dict[str, Any]] = row["result"]["decode"]
        read = " and ".join(f"{d['bytes_per_token'] / 1e6:.1f}" for d in decode)
        rates = [d["tokens_per_second"] for d in decode]
        over = " and ".join(f"{r['median'] / t['tokens_per_second']['median']:.2f}" for r, t in zip(rates, reference, strict=True))
        cells = [what, engine, read, *(f"{r['median']:.0f} ({r['min']:.0f} to {r['max']:.0f})" for r in rates), over]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    print(table(load_profile(sys.argv[1] if len(sys.argv) > 1 else "rpi4")))


if __name__ == "__main__":
    sys.exit(guarded(main))
