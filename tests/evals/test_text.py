"""The text suite: windows, sums, standard errors."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from qig_edge.errors import ConfigError, DataError
from qig_edge.evals.suites import Options, run
from qig_edge.evals.text import Result, against, ratio
from qig_edge.runtime.backend import Telemetry
from qig_edge.runtime.native import NativeModel
from qig_edge.train.sources import Document

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "golden-q8_0.gguf"
VOCAB = 257


class Bigrams:
    """A back end whose next byte hangs on the last one alone, so that windows cannot matter; its session notes what it was asked."""

    bos, eos, eot = None, 256, None

    def __init__(self, n_ctx: int) -> None:
        self.n_ctx, self.pos, self.windows = n_ctx, 0, []
        self.table = np.random.default_rng(0).standard_normal((VOCAB, VOCAB)).astype(np.float32)

    def tokenize(self, text: str, *, parse_special: bool = False) -> list[int]:
        return list(text.encode())

    def session(self, *, n_ctx: int = 0, n_threads: int = 0) -> Bigrams:
        return self

    def rollback(self, pos: int) -> None:
        assert pos == 0
        self.pos = 0
        self.windows.append(0)

    def eval_all(self, tokens: Sequence[int]) -> np.ndarray:
        self.pos += len(tokens)
        assert self.pos <= self.n_ctx
        self.windows[-1] = self.pos
        return self.table[list(tokens)]

    def telemetry(self, pos: int) -> Telemetry:
        assert 0 <= pos < self.pos
        return Telemetry(0.5, math.nan, 0.5, 0.25, 0.1, 64.0, 0.0, pos % 3, 4, 1)

    def close(self) -> None:
        pass


def write(path: Path, *texts: str) -> str:
    path.write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    return str(path)


@pytest.mark.parametrize("stride", [0, 1, 5, 16])
def test_every_token_counts_once_whatever_the_stride(tmp_path: Path, stride: int) -> None:
    texts = [
        "a",
        "sixteen letters.",
        "one more than them",
        "a much longer text that needs several windows of sixteen tokens",
    ]
    model = Bigrams(16)
    result = run("text", model, Options(data=(write(tmp_path / "x.jsonl", *texts),), stride=stride))  # type: ignore[arg-type]
    assert isinstance(result, Result)
    log_p = model.table - np.log(np.exp(model.table.astype(np.float64)).sum(-1, keepdims=True))
    for text, (_, size, nats) in zip(texts, result.documents, strict=True):
        ids = [256, *text.encode()]
        assert size == len(text) and nats == pytest.approx(
            -sum(log_p[a, b] for a, b in zip(ids, ids[1:], strict=False)), rel=1e-6
        )
    assert result.total.tokens == sum(map(len, texts)) and result.total.nats == pytest.approx(
        sum(n for *_, n in result.documents)
    )
    facts = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert facts["agency"] == 0.25 and sum(facts["regimes"]) == pytest.approx(1)
    assert facts["stride"] == (stride or 8) and len(model.windows) >= len(texts)
    # past the first window at least context - stride tokens are in sight
    few = sum(s.tokens for low, s in result.by_sight.items() if low < 16 - (stride or 8) and low < 4)
    assert few == sum(min(3, len(t)) for t in texts) or stride == 16


def test_a_real_model_and_its_own_logits(tmp_path: Path) -> None:
    text = "The fox went over the hill and sat down."
    with NativeModel(GOLDEN) as model:
        result = run("text", model, Options(data=(write(tmp_path / "x.jsonl", text),), threads=1))
        ids = [model.eos, *model.tokenize(text)]
        with model.session(n_threads=1) as session:
            logits = session.eval_all(ids[:-1]).astype(np.float64)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    bits = -sum(log_p[i, t] for i, t in enumerate(ids[1:])) / math.log(2)
    assert result.to_dict()["bits_per_byte"] == pytest.approx(bits / len(text), rel=1e-6)
    assert result.to_dict()["stderr"] is None


def test_standard_errors_are_those_of_resampled_documents() -> None:
    draw = np.random.default_rng(1)
    size = draw.integers(50, 500, 400)
    nats = size * draw.normal(1.2, 0.2, 400)
    told = ratio(size.tolist(), nats.tolist())
    picks = draw.integers(0, 400, (2000, 400))
    assert told["stderr"] == pytest.approx((nats[picks].sum(1) / size[picks].sum(1) / math.log(2)).std(), rel=0.1)
    other = nats * draw.normal(1.01, 0.05, 400)
    a, b = (
        Result([("x", int(s), float(n)) for s, n in zip(size, values, strict=True)], {}, 1, 1)
        for values in (other, nats)
    )
    change = against(a, b)
    assert change["change"] == pytest.approx(other.sum() / nats.sum() - 1)
    assert change["change_stderr"] == pytest.approx((other[picks].sum(1) / nats[picks].sum(1)).std(), rel=0.1)


def test_only_what_training_held_out(tmp_path: Path) -> None:
    texts = [f"text number {i}" for i in range(300)]
    name = write(tmp_path / "x.jsonl", *texts)
    result = run("text", Bigrams(16), Options(data=(name,), held_out=100))  # type: ignore[arg-type]
    assert isinstance(result, Result)
    held = [t for t in texts if Document(((None, t),)).bucket(1000) < 100]
    assert 10 < len(held) < 60 and [size for _, size, _ in result.documents] == [len(t) for t in held]
    with pytest.raises(DataError, match="among the documents held out at 1 of 1000"):
        run("text", Bigrams(16), Options(data=(write(tmp_path / "y.jsonl", "text number 0"),), held_out=1))  # type: ignore[arg-type]


def test_what_cannot_be_scored(tmp_path: Path) -> None:
    model = Bigrams(16)
    with pytest.raises(DataError, match="holds no text to score"):
        run("text", model, Options(data=(write(tmp_path / "x.jsonl", ""),)))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="--levels says nothing to the suite 'text'"):
        run("text", model, Options(data=("x",), levels=(1,)))  # type: ignore[arg-type]
