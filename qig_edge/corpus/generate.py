"""The entry: seeded streams of records, and the command that writes them to files.

    python -m qig_edge.corpus.generate OUT_DIR [--seed 1]

Records: {"text", "source": "qig-tales" | "qig-facts"} or {"messages": [{"role", "content"}], "source": "qig-talk"}.
"""

import argparse
import json
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from qig_edge.corpus.facts import fact
from qig_edge.corpus.tales import tale
from qig_edge.corpus.talk import talk

KINDS = ("tales", "talk", "facts")
# Megabytes of each that the command writes by default.
SIZES = {"tales": 20.0, "talk": 14.0, "facts": 1.0}


def _tale(rng: random.Random) -> dict:
    return {"text": tale(rng)["text"], "source": "qig-tales"}


_MAKE: dict[str, Callable[[random.Random], dict]] = {"tales": _tale, "talk": talk, "facts": fact}


def records(n: int, seed: int, kinds: Sequence[str] = KINDS) -> Iterator[dict]:
    """n records, the kinds in turn. The same arguments give the same records."""
    unknown = set(kinds) - set(KINDS)
    if unknown:
        raise ValueError(f"unknown kind {sorted(unknown)}; known: {', '.join(KINDS)}")
    # A string seed, so that each kind has its own stream whatever the other kinds are.
    rngs = {k: random.Random(f"{k}:{seed}") for k in kinds}
    for i in range(n):
        kind = kinds[i % len(kinds)]
        yield _MAKE[kind](rngs[kind])


def write(path: Path, kind: str, seed: int, megabytes: float, max_repeat: float = 0.25) -> tuple[int, int]:
    """Write distinct records up to the size, and stop early once new draws are mostly repeats. (records, bytes)"""
    rng = random.Random(f"{kind}:{seed}")
    seen: set[str] = set()
    size = draws = 0
    with path.open("w", encoding="utf-8") as out:
        while size < megabytes * 1e6:
            line = json.dumps(_MAKE[kind](rng), ensure_ascii=False)
            draws += 1
            if line in seen:
                if draws > 2000 and draws - len(seen) > max_repeat * draws:
                    break
                continue
            seen.add(line)
            out.write(line + "\n")
            size += len(line.encode()) + 1
    return len(seen), size


def main(argv: Sequence[str] | None = None) -> None:
    """Write OUT_DIR/{tales,talk,facts}.jsonl."""
    ap = argparse.ArgumentParser(description="Write the generated training corpus.")
    ap.add_argument("out", type=Path)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    for kind in KINDS:
        ap.add_argument(f"--{kind}-mb", type=float, default=SIZES[kind])
    args = ap.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    for kind in args.kinds:
        path = args.out / f"{kind}.jsonl"
        n, size = write(path, kind, args.seed, getattr(args, f"{kind}_mb"))
        print(f"{path}: {n} records, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
