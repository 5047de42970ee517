"""What stock llama.cpp computes of a file in the layout of gpt2, against the Jarvis checkpoint in NumPy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qig_edge.errors import ModelFileError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from qig_edge.jarvis.network import Network

TOKENS = 256  # one by one: llama.cpp's own interface gives a token's logits at a time


@dataclasses.dataclass(frozen=True)
class StockReport:
    """kl: mean KL(checkpoint || file) in nats a token; top1: share of positions with the same likeliest token; tokens: positions compared."""

    text: str
    tokens: int
    kl: float
    top1: float


def compare_stock(
    network: Network, tokenizer: Tokenizer, path: Path, progress: Callable[[int, int], None] = lambda done, total: None
) -> StockReport | None:
    """On the built-in text; None where llama-cpp-python is not installed. Raises ModelFileError for a file that llama.cpp does not open, or that
    computes what is no finite number."""
    from qig_edge.bench.llama_cpp_engine import SETTINGS, LlamaCpp
    from qig_edge.convert.verify import PLAIN_TEXT, _log_softmax
    from qig_edge.errors import MissingExtra

    ids = tokenizer.encode(PLAIN_TEXT, add_special_tokens=False).ids[:TOKENS]
    window = min(len(ids), network.config.context_length)
    try:
        engine = LlamaCpp(path, window, 1, SETTINGS[:1])
    except MissingExtra:
        return None
    kl, same = 0.0, 0
    try:
        for first in range(0, len(ids), window):
            part = ids[first : first + window]
            p = _log_softmax(network.forward(np.array([part])).logits[0])
            engine.rollback(SETTINGS[0], 0)
            for i, token in enumerate(part):
                engine.eval(SETTINGS[0], [token])
                logits = engine.logits(SETTINGS[0])
                if not np.isfinite(logits).all():
                    raise ModelFileError("the file computes logits that are not finite: it is not kept")
                q = _log_softmax(logits[None])[0]
                kl += float((np.exp(p[i]) * (p[i] - q)).sum())
                same += int(p[i].argmax() == q.argmax())
                progress(first + i + 1, len(ids))
    finally:
        engine.close()
    return StockReport("built-in text, by llama.cpp", len(ids), kl / len(ids), same / len(ids))
