"""Tokenized data that was copied, moved or left without its text: what is taken for the same data, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from qig_edge.errors import DataError
from qig_edge.train import sources as sources_module
from qig_edge.train.shards import MANIFEST, only_tokenized, prepare
from qig_edge.train.sources import Source

SETTINGS = (None, 300, 100, 10**6)


@pytest.fixture
def data(text: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(text, tmp_path / "mine.jsonl"))


@pytest.fixture
def folder(data: Path, tmp_path: Path) -> Path:
    prepare(tmp_path / "shards", [Source(str(data))], *SETTINGS)
    return tmp_path / "shards"


def touched(path: Path) -> None:
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))


def test_a_copy_with_other_times_is_the_same_data(data: Path, folder: Path) -> None:
    before = (folder / MANIFEST).read_bytes()
    touched(data)
    _, shards = prepare(folder, [Source(str(data))], *SETTINGS)
    assert len(shards[str(data)].train) > 1000
    assert (folder / MANIFEST).read_bytes() == before


def test_content_is_not_read_again_where_size_and_time_are_as_they_were(
    data: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    sha256 = sources_module._sha256
    monkeypatch.setattr(sources_module, "_sha256", lambda path: read.append(path) or sha256(path))
    prepare(folder, [Source(str(data))], *SETTINGS)
    assert not read
    touched(data)
    prepare(folder, [Source(str(data))], *SETTINGS)
    assert read == [data]


def test_a_changed_file_is_refused_also_where_its_size_is_the_same(data: Path, folder: Path) -> None:
    content = data.read_bytes()
    data.write_bytes(content.replace(b"the", b"eth", 1))
    touched(data)
    with pytest.raises(DataError, match=r"tokenized from other data \(.*mine\.jsonl differ\)"):
        prepare(folder, [Source(str(data))], *SETTINGS)
    data.write_bytes(content + b'{"text": "One more."}\n')
    with pytest.raises(DataError, match=r"mine\.jsonl differ"):
        prepare(folder, [Source(str(data))], *SETTINGS)


def test_the_sources_must_be_the_same_ones(data: Path, folder: Path, text: Path) -> None:
    with pytest.raises(DataError, match=rf"\({text} differ\)"):
        prepare(folder, [Source(str(data)), Source(str(text))], *SETTINGS)
    with pytest.raises(DataError, match=rf"\({text}, {data} differ\)"):
        prepare(folder, [Source(str(text))], *SETTINGS)


def test_a_folder_of_an_earlier_version_opens_by_size_and_time(data: Path, folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    (entry,) = manifest["wanted"]["sources"][str(data)]
    assert len(entry) == 4 and len(entry.pop()) == 64
    (folder / MANIFEST).write_text(json.dumps(manifest), "utf-8")
    prepare(folder, [Source(str(data))], *SETTINGS)
    touched(data)  # it kept nothing by which the content could be told
    with pytest.raises(DataError, match=r"mine\.jsonl differ"):
        prepare(folder, [Source(str(data))], *SETTINGS)


def test_tokens_stand_for_a_text_that_is_not_at_hand(data: Path, folder: Path, tmp_path: Path) -> None:
    source = Source(str(data))
    _, shards = prepare(folder, [source], *SETTINGS)
    had = shards[str(data)].train.tolist()
    moved = folder.rename(tmp_path / "elsewhere")
    data.unlink()
    assert only_tokenized(moved, [source]) == [str(data)]
    _, shards = prepare(moved, [source], *SETTINGS)
    assert shards[str(data)].train.tolist() == had
    other = Source(str(tmp_path / "other.jsonl"))
    with pytest.raises(DataError, match=r"other\.jsonl' does not exist"):
        prepare(moved, [source, other], *SETTINGS)
    with pytest.raises(DataError, match=r"mine\.jsonl' does not exist"):
        only_tokenized(tmp_path / "nowhere", [source])


@pytest.mark.parametrize("content", [b"", b"[]", b'{"wanted": {}}', b'{"wanted": {"sources": 1}, "sources": {}}', b"\xff"])
def test_a_damaged_manifest_is_named(content: bytes, data: Path, folder: Path) -> None:
    (folder / MANIFEST).write_bytes(content)
    with pytest.raises(DataError, match=r"manifest\.json' is damaged"):
        prepare(folder, [Source(str(data))], *SETTINGS)


def test_a_run_goes_on_without_the_text_and_says_so(
    text: Path, preset: Callable[..., Path], tmp_path: Path, train: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    data = Path(shutil.copy(text, tmp_path / "mine.jsonl"))
    args = ["--preset", preset(), "--data", f"{data}=2", "--out", tmp_path / "run", "--shards", tmp_path / "shards"]
    told = "is not at hand: training goes on with its tokens"
    assert told not in train(*args, "--tokens", "2048").stderr
    data.unlink()
    done = train(*args, "--tokens", "4096", "--resume")
    assert done.stderr.count(told) == 1 and done.stdout.strip() == str(tmp_path / "run" / "step-00000008")
    shutil.rmtree(tmp_path / "shards")
    done = train(*args, "--tokens", "4096", "--resume", code=2)
    assert f"data '{data}' does not exist" in done.stderr
