"""Tokenizes the data of a run ahead of it, so that training can happen where the text is not.

    python runs/shards.py PRESET PERMILLE FOLDER DATA...

Prints a line for each source and the sum: tokens to train on, held-out tokens. PERMILLE is train's --validation-permille; DATA are named exactly as
train's --data will name them, weights and repetitions do no harm.
"""

from __future__ import annotations

import sys
from pathlib import Path

from qig_edge.config import load_preset, model_config
from qig_edge.errors import QigError
from qig_edge.train.config import TrainConfig
from qig_edge.train.shards import prepare
from qig_edge.train.sources import Source


def main(preset: str, permille: str, folder: str, *data: str) -> None:
    tables = load_preset(preset)
    train = TrainConfig.from_dict({**tables.get("train", {}), "validation_permille": int(permille)})
    sources = {s.name: s for s in map(Source.parse, data)}
    _, shards = prepare(
        Path(folder),
        list(sources.values()),
        None,
        model_config(tables["model"], preset).vocab_size,
        train.validation_permille,
        train.validation_bytes,
        lambda text, share: print(f"{text} ({share:.0%})", file=sys.stderr),
    )
    for name, shard in shards.items():
        print(f"{name}  {len(shard.train)}  {len(shard.validation)}")
    print(f"all  {sum(len(s.train) for s in shards.values())}  {sum(len(s.validation) for s in shards.values())}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except QigError as e:
        sys.exit(f"error: {e}")
