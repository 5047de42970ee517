"""libqig opens what is whole and refuses everything else with one line: the fuzzers' seeds, further damage at random, and what is no file."""

from __future__ import annotations

import ctypes as ct
import importlib.util
import itertools
import os
import socket
import struct
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qig_edge.errors import ModelFileError
from qig_edge.runtime.native import NativeModel
from qig_edge.runtime.prototypes import library


def _seeds(name: str) -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "kernels" / "fuzz" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


seeds = _seeds("make_seeds")
scored_seeds = _seeds("scored_seeds")
VALID: dict[str, bytes] = seeds.valid() | scored_seeds.valid()
HOSTILE: dict[str, tuple[bytes, str]] = seeds.hostile() | scored_seeds.hostile()
CUT: dict[str, bytes] = seeds.boundaries()


def refused(path: Path) -> str:
    """The line that libqig refuses a file with."""
    with pytest.raises(ModelFileError) as caught:
        NativeModel(path).close()
    line = str(caught.value)
    assert line.startswith(f"{path}: ") and len(line) > len(f"{path}: ")
    assert line.isprintable()
    return line


def opened(path: Path) -> str | None:
    """None where the file opens (and tokenizes, and lists its tensors), else the line that it is refused with."""
    try:
        with NativeModel(path) as model:
            ids = model.tokenize("hello the <|end|> caf\u00e9", parse_special=True)
            assert model.detokenize(ids, special=True) == "hello the <|end|> caf\u00e9".encode()
            assert all(t.offset + t.bytes <= path.stat().st_size for t in model.tensors())
    except ModelFileError as e:
        return str(e)
    return None


def test_there_are_seeds() -> None:
    assert len(VALID) >= 8 and len(HOSTILE) >= 120 and len(CUT) >= 200


@pytest.mark.parametrize("name", VALID)
def test_valid_opens(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(VALID[name])
    with NativeModel(path) as model:
        layers = 3 if name.startswith("deep") else 1
        assert (model.info.vocab_size, model.info.d_model, model.info.n_layers, model.info.head_dim) == (270, 32, layers, 16)
        assert model.info.file_bytes == len(VALID[name])
        assert (model.eot is None) == (name == "no_chat")
        assert (model.metadata("tokenizer.chat_template") == "{{ messages }}") != name.startswith("scored")
        assert model.metadata("general.alignment") is None  # no string
        assert model.metadata("general.nothing") is None
    assert opened(path) is None


def test_weights_are_counted(tmp_path: Path) -> None:
    """An untied embedding is read one row a token, a tied one whole."""
    for name, untied in (("q4_0", False), ("q4_0_diagonal_untied", True)):
        path = tmp_path / f"{name}.gguf"
        path.write_bytes(VALID[name])
        with NativeModel(path) as model:
            tensors = {t.name: t for t in model.tensors()}
            unread = tensors["token_embd.weight"].bytes * 269 // 270 if untied else 0
            assert model.info.weight_bytes == sum(t.bytes for t in tensors.values()) - unread
            assert ("output.weight" in tensors) == untied
            assert model.info.file_type == "Q4_0"


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_is_refused(name: str, tmp_path: Path) -> None:
    data, words = HOSTILE[name]
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    assert words in refused(path)


def test_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    for data in CUT.values():
        path.write_bytes(data)
        line = refused(path)
        assert "truncated" in line or "not a GGUF file" in line, (len(data), line)


@pytest.mark.parametrize("cut", [1, 33, 5000])
def test_cut_names_the_tensor(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    whole = VALID["q8_0"]
    path.write_bytes(whole[:-cut])
    line = refused(path)
    assert "truncated: tensor " in line and f"the file has {len(whole) - cut}" in line


@settings(max_examples=300)
@given(st.data())
def test_damage_opens_or_is_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Whatever is written over the directory, the library answers: with a model that works, or with a line."""
    whole = bytearray(VALID[data.draw(st.sampled_from(sorted(VALID)))])
    for _ in range(data.draw(st.integers(1, 3))):
        value = data.draw(st.sampled_from([0, 1, 2, 31, 255, 1 << 31, 1 << 32, 1 << 62, 1 << 63, (1 << 64) - 1]) | st.integers(0, (1 << 64) - 1))
        width = data.draw(st.sampled_from([1, 2, 4, 8]))
        at = data.draw(st.integers(4, min(len(whole), 9000) - width))
        whole[at : at + width] = struct.pack("<Q", value)[:width]
    path = tmp_path_factory.mktemp("damage") / "model.gguf"
    path.write_bytes(whole)
    try:
        NativeModel(path).close()
    except ModelFileError as e:
        assert str(e).isprintable()


def raw_open(path: str) -> tuple[int, str]:
    """Status and error line of qig_model_open itself."""
    handle, err = ct.c_void_p(1), ct.create_string_buffer(512)
    status = library().qig_model_open(os.fsencode(path), None, ct.byref(handle), err, len(err))
    assert (status == 0) == (handle.value is not None)
    if handle.value is not None:
        library().qig_model_close(handle)
    return status, err.value.decode()


def test_what_is_no_file(tmp_path: Path) -> None:
    """A missing file, a folder, a FIFO without a writer (which must not hang), a socket, a device, and a file that may not be read."""
    fifo, sock = tmp_path / "fifo", tmp_path / "s"
    os.mkfifo(fifo)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(sock))
        for path, words in (
            (tmp_path / "nothing.gguf", "No such file"),
            (tmp_path, "is a directory"),
            (fifo, "is not a regular file"),
            (Path("/dev/null"), "is not a regular file"),
            (sock, str(sock)),
        ):
            status, line = raw_open(str(path))
            assert status == -2 and words in line and line.startswith(str(path)), (status, line)
    secret = tmp_path / "secret.gguf"
    secret.write_bytes(VALID["q4_0"])
    secret.chmod(0)
    if os.geteuid():
        assert raw_open(str(secret)) == (-2, f"{secret}: Permission denied")


def test_line_is_one_line(tmp_path: Path) -> None:
    """A newline in a path or in the file does not split the error, and a short buffer cuts it on a whole character."""
    path = tmp_path / "two\nlines \u00e9.gguf"
    path.write_bytes(b"\n\n\n\n" + bytes(40))
    status, line = raw_open(str(path))
    assert status == -3 and line.isprintable() and "starts with '????'" in line
    full = os.fsencode(str(tmp_path / "\u00e9.gguf"))
    room = len(full) + 16
    for size in range(1, room):
        err = ct.create_string_buffer(b"x" * room, room)
        library().qig_model_open(full, None, ct.byref(ct.c_void_p()), err, size)
        assert len(err.value) < size and err.raw[size:] == b"x" * (room - size)
        err.value.decode()


def test_unknown_isa_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(VALID["q4_0"])
    err = ct.create_string_buffer(256)
    assert library().qig_model_open(os.fsencode(path), b"abacus", ct.byref(ct.c_void_p()), err, 256) == -4
    assert b"'abacus'" in err.value and b"ref" in err.value


def _slot(text: str, size: int) -> int:
    """Where libqig's table of tokens looks for a text first; the file below is made of texts that begin at the same place."""
    h, wrap = len(text), (1 << 64) - 1
    for byte in text.encode():
        h = (h ^ byte) * 0x100000001B3 & wrap
    h = h * 0x9E3779B97F4A7C15 & wrap
    h = (h ^ h >> 32) * 0xD6E8FEB86659FD93 & wrap
    return (h >> 32) & (size - 1)


def test_vocabulary_that_collides_is_refused(tmp_path: Path) -> None:
    """Texts chosen for their hash must not make opening quadratic. A changed hash makes this file harmless, and the test fail: change both."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    texts = ("".join(t) for t in itertools.product(letters, repeat=4))
    bad = list(itertools.islice((t for t in texts if _slot(t, 2048) < 4), 400))
    assert len(bad) == 400
    f = seeds.tiny()
    all_texts = seeds.byte_texts() + bad + list(seeds.CONTROLS)
    assert 512 < len(all_texts) <= 1024  # a table of 2048
    kinds = [1] * (len(all_texts) - len(seeds.CONTROLS)) + [3] * len(seeds.CONTROLS)
    f.keys["tokenizer.ggml.tokens"] = seeds.ARRAY, seeds.strings(all_texts)
    f.keys["tokenizer.ggml.token_type"] = seeds.ARRAY, seeds.array(seeds.I32, len(kinds), struct.pack(f"<{len(kinds)}i", *kinds))
    path = tmp_path / "model.gguf"
    path.write_bytes(f.render())
    assert "the vocabulary is made to collide" in refused(path)
