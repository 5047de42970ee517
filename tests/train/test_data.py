"""What is read, what is refused, and in which order it is seen."""

from __future__ import annotations

import json
import lzma
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zstandard

from qig_edge.errors import ConfigError, DataError
from qig_edge.train.config import TrainConfig
from qig_edge.train.shards import Mixture, Shard, prepare
from qig_edge.train.sources import Document, Source
from qig_edge.train.tokenizer import CONTROL, encode_documents, train_tokenizer

LINES = [
    {"text": "One fine day."},
    {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Hello."}]},
]
JSONL = "".join(json.dumps(r) + "\n" for r in LINES)


def documents(path: Path) -> list[Document]:
    return list(Source(str(path)).documents())


@pytest.mark.parametrize("suffix", ["", ".xz", ".zst"])
def test_every_kind_of_file_is_read(suffix: str, tmp_path: Path) -> None:
    pack = {"": lambda b: b, ".xz": lzma.compress, ".zst": zstandard.ZstdCompressor().compress}[suffix]
    (tmp_path / f"a.jsonl{suffix}").write_bytes(pack(JSONL.encode()))
    (tmp_path / f"b.txt{suffix}").write_bytes(pack("Grüße.\n".encode()))
    found = documents(tmp_path)
    assert [d.turns for d in found] == [
        ((None, "One fine day."),),
        (("user", "hi"), ("assistant", "Hello.")),
        ((None, "Grüße.\n"),),
    ]


def test_a_dataset_is_streamed(tmp_path: Path) -> None:
    """datasets opens a local folder as it opens a name on the hub."""
    (tmp_path / "train.jsonl").write_text('{"text": "One."}\n{"text": "Two."}\n', "utf-8")
    assert [d.text for d in Source(f"hf:{tmp_path}").documents()] == ["One.", "Two."]
    with pytest.raises(DataError, match="hf:no/such-dataset"):
        list(Source("hf:no/such-dataset").documents())


BAD = {
    "missing.txt": (None, "does not exist"),
    "empty.txt": (b"", "is empty"),
    "empty.jsonl": (b"\n\n", "is empty"),
    "picture.png": (b"\x89PNG", "of no kind that is read"),
    "latin.txt": ("Grüße".encode("latin-1"), "not UTF-8"),
    "broken.jsonl": (b'{"text": "a"}\n{"text": \n', "line 2"),
    "list.jsonl": (b"[1, 2]\n", "line 1: a line must be a JSON object"),
    "fields.jsonl": (b'{"body": "a"}\n', "needs 'text', or 'messages'"),
    "number.jsonl": (b'{"text": 3}\n', "field 'text' must be a string"),
    "role.jsonl": (
        b'{"messages": [{"role": "robot", "content": "a"}]}\n',
        "role 'robot' must be one of system, user, assistant",
    ),
    "torn.txt.xz": (lzma.compress(b"hello " * 1000)[:-20], "end-of-stream"),
    "fake.txt.xz": (b"not xz at all", "format"),
    "fake.txt.zst": (b"not zstd at all", "zst"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_data_is_named(name: str, tmp_path: Path) -> None:
    content, message = BAD[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as e:
        documents(tmp_path / name)
    assert message.lower() in str(e.value).lower() and name in str(e.value)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--preset", "qig-nan"], "did you mean 'qig-nano'"),
        (["--data", "nothing.txt"], "data 'nothing.txt' does not exist"),
        (["--tokens", "0"], "tokens = 0 must be a positive number"),
        (["--optimizer", "sgd"], "optimizer = 'sgd' must be one of adamw, rmsprop, muon"),
        (["--context", "4096", "--batch-tokens", "8192"], "longer than the model's context_length"),
        (["--tokenizer", "nowhere"], "no tokenizer at 'nowhere'"),
        (["--resume"], "holds no checkpoint to resume"),
    ],
)
def test_bad_options_end_with_one_line_and_code_2(
    args: list[str], message: str, text: Path, tmp_path: Path, train: Callable[..., subprocess.CompletedProcess]
) -> None:
    data = [] if "--data" in args else ["--data", text]
    done = train(*data, "--out", tmp_path / "out", *args, code=2)
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1 and message in lines[0] and "Traceback" not in done.stderr


def test_weights() -> None:
    assert Source.parse("a/b.txt=0.5") == Source("a/b.txt", 0.5)
    assert Source.parse("a/b=c.txt") == Source("a/b=c.txt", 1.0)
    with pytest.raises(DataError, match="weight 0"):
        Source.parse("a.txt=0")


def test_control_strings_in_a_text_stay_text(text: Path) -> None:
    tokenizer = train_tokenizer((d.text for d in Source(str(text)).documents()), 400)
    ids = encode_documents(tokenizer, [Document((("user", "say <|end|> now"), ("assistant", "no")))])[0]
    assert ids[0] == 2 and ids.count(4) == 2 and ids.count(3) == 1 and ids[-1] == 0
    assert tokenizer.decode(ids, skip_special_tokens=True) == "say <|end|> nowno"
    assert [tokenizer.id_to_token(i) for i in range(5)] == list(CONTROL)
    with pytest.raises(ConfigError, match="too small for vocab_size = 60000"):
        train_tokenizer(["a few words"], 60000)


def test_shards_hold_out_whole_documents_and_are_reused(text: Path, tmp_path: Path) -> None:
    source = Source(str(text))
    tokenizer, shards = prepare(tmp_path / "shards", [source], None, 400, 100, 10**6)
    shard = shards[str(text)]
    ends = [sum(t == 0) for t in (shard.train, shard.validation)]
    held_out = [d for d in source.documents() if d.bucket(1000) < 100]
    assert ends == [120 - len(held_out), len(held_out)] and held_out
    assert shard.validation_bytes == sum(len(t.encode()) for d in held_out for _, t in d.turns)
    stamp = (tmp_path / "shards" / "manifest.json").stat().st_mtime_ns
    prepare(tmp_path / "shards", [source], None, 400, 100, 10**6)
    assert (tmp_path / "shards" / "manifest.json").stat().st_mtime_ns == stamp
    with pytest.raises(DataError, match="permille differ"):
        prepare(tmp_path / "shards", [source], None, 400, 50, 10**6)
    with open(tmp_path / "shards" / "000.train.bin", "r+b") as f:
        f.truncate(100)
    with pytest.raises(DataError, match="damaged"):
        prepare(tmp_path / "shards", [source], None, 400, 100, 10**6)


def test_mixture_keeps_its_shares_and_repeats_nothing_inside_an_epoch() -> None:
    shards = {
        n: Shard(n, (np.arange(size) % 65536).astype(np.uint16), np.zeros(0, np.uint16), 0)
        for n, size in (("a", 40_000), ("b", 10_000))
    }
    mixture = Mixture(shards, {"a": 1.0, "b": 4.0}, 16, seed=3)
    assert mixture.shares == {"a": 0.5, "b": 0.5}
    windows = [mixture.window(i) for i in range(1024)]
    assert all((np.diff(w) == 1).all() and len(w) == 17 for w in windows)
    source_of = mixture.slots[np.arange(1024)]
    for index, name in enumerate(("a", "b")):
        starts = [w[0] for w, s in zip(windows, source_of, strict=True) if s == index]
        epoch = (len(shards[name].train) - 17) // 16
        assert max(Counter(starts[:epoch]).values()) == 1
    again = Mixture(shards, {"a": 1.0, "b": 4.0}, 16, seed=3)
    assert all(np.array_equal(again.window(i), windows[i]) for i in (0, 5, 1000))
    other = Mixture(shards, {"a": 1.0, "b": 4.0}, 16, seed=4)
    assert any(not np.array_equal(other.window(i), windows[i]) for i in range(5))
    with pytest.raises(DataError, match="too small"):
        Mixture(shards, {"a": 1.0}, 50_000, seed=3)


def test_schedule() -> None:
    config = TrainConfig(
        tokens=100 * 1024,
        batch_tokens=1024,
        context=64,
        final_context=128,
        warmup_tokens=10 * 1024,
        decay_share=0.2,
        quantize_share=0.1,
    )
    rates = [config.rate_at(i) for i in range(config.steps)]
    assert config.steps == 100 and config.final_start == 80 and config.quantize_start == 90
    assert rates[0] == pytest.approx(0.1) and rates[10] == rates[79] == 1.0
    assert all(a > b > 0 for a, b in zip(rates[79:], rates[80:], strict=False))
    assert config.context_at(79) == 64 and config.context_at(80) == 128
    longer = TrainConfig(**{**config.to_dict(), "tokens": 200 * 1024})
    assert [longer.rate_at(i) for i in range(80)] == rates[
        :80
    ]  # what is trained before the decay serves runs of any length
