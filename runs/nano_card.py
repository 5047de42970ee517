"""The numbers of docs/qig-nano.md: held-out bits per byte of qig-nano (float32 and its Q4_0 file) and of its dense twin, by source.

    python runs/nano_card.py RUN_OF_QIG RUN_OF_TWIN FILE.gguf SHARDS

Every held-out document, in windows of the model's context that do not overlap. Takes some minutes on two cores.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import torch

from qig_edge.model.kernel import Kernel
from qig_edge.runtime.native import NativeModel
from qig_edge.train import checkpoint, shards
from qig_edge.train.evaluate import bits_per_byte

GATES = (0.0, 8.0, 6.0, 5.0, 4.0)


def main(qig: Path, twin: Path, file: Path, folder: Path) -> None:
    held_out = shards.opened(folder)
    rows: dict[str, dict[str, float]] = {}
    for name, run in (("qig-nano float32", qig), ("dense twin float32", twin)):
        model = checkpoint.load_model(run)
        context = model.config.context_length
        with torch.inference_mode():
            rows[name] = bits_per_byte(lambda ids, model=model: model(ids).logits, held_out, context, 2)
    with NativeModel(file) as native, native.session(n_ctx=context) as session:

        def logits_of(ids: torch.Tensor) -> torch.Tensor:
            out = []
            for row in ids.tolist():
                if session.pos:
                    session.rollback(0)
                out.append(torch.from_numpy(session.eval_all(row)))
            return torch.stack(out)

        rows["qig-nano Q4_0, libqig"] = bits_per_byte(logits_of, held_out, context, 1)
    names = list(next(iter(rows.values())))
    print("| held-out text | " + " | ".join(rows) + " |\n|---|" + "---|" * len(rows))
    for source in names:
        label = Path(source).name.split(".")[0]
        print(f"| {label} | " + " | ".join(f"{row[source]:.3f}" for row in rows.values()) + " |")

    model = checkpoint.load_model(qig)
    some = {k: v for k, v in held_out.items() if "books" in k or "tales" in k}
    print("\n| gate margin, nats | active pairs | bits per byte, tales and books |\n|---|---|---|")
    for margin in GATES:
        gated = Kernel(dataclasses.replace(model.config, gate_margin=margin)).eval()
        gated.load_state_dict(model.state_dict())
        with torch.inference_mode():
            ids = torch.from_numpy(next(iter(some.values())).validation[:context].astype("int64"))[None]
            active = gated(ids, observe=True).telemetry.agency.mean().item()
            value = bits_per_byte(lambda ids, gated=gated: gated(ids).logits, some, context, 2)["all"]
        print(f"| {margin or 'off'} | {active:.1%} | {value:.4f} |")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:5]))
