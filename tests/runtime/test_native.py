"""The ctypes binding against the real library: prototypes equal the header's, and every method does what it says."""

from __future__ import annotations

import ctypes as ct
import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qig_edge.devices import host
from qig_edge.errors import ConfigError, DeviceError, ModelFileError, RuntimeFault
from qig_edge.runtime import native, prototypes
from qig_edge.runtime.backend import Backend, ContextFull, Sampling, Session
from qig_edge.runtime.chat import Chat
from qig_edge.runtime.native import NativeModel, NativeSession

HEADER = Path(__file__).resolve().parents[2] / "kernels" / "include" / "qig.h"
C_TYPES = {
    "int32_t": ct.c_int32,
    "int64_t": ct.c_int64,
    "uint64_t": ct.c_uint64,
    "float": ct.c_float,
    "char *": ct.c_char_p,
}
STRUCTS = {
    "qig_model_info": prototypes.CModelInfo,
    "qig_tensor_info": prototypes.CTensorInfo,
    "qig_session_params": prototypes.CSessionParams,
    "qig_sampler_params": prototypes.CSamplerParams,
    "qig_telemetry": prototypes.CTelemetry,
}


def header() -> str:
    return re.sub(r"/\*.*?\*/", "", HEADER.read_text("utf-8"), flags=re.DOTALL)


def declared_fields(body: str) -> list[tuple[str, object]]:
    fields: list[tuple[str, object]] = []
    for statement in filter(None, (s.strip() for s in body.split(";"))):
        found = re.fullmatch(r"(?:const\s+)?(\w+)\s+(.*)", statement, re.DOTALL)
        assert found, statement
        for name in found[2].split(","):
            name = name.strip()
            kind: object = C_TYPES[f"{found[1]} *" if name.startswith("*") else found[1]]
            size = re.search(r"\[(\d+)\]", name)
            fields.append((re.sub(r"\W.*", "", name.lstrip("*")), kind * int(size[1]) if size else kind))  # type: ignore[operator]
    return fields


def test_prototypes_are_those_of_the_header() -> None:
    text = header()
    declared = dict(re.findall(r"QIG_API [\w\s*]*?\b(qig_\w+)\(([^)]*)\)", text))
    assert len(declared) > 20 and set(declared) == set(prototypes.PROTOTYPES)
    for name, arguments in declared.items():
        n = 0 if arguments.strip() == "void" else arguments.count(",") + 1
        assert len(prototypes.PROTOTYPES[name][1]) == n, name


@pytest.mark.parametrize("name", STRUCTS)
def test_structs_are_those_of_the_header(name: str) -> None:
    body = re.search(r"typedef struct \{([^}]*)\} " + name + ";", header())
    assert body, name
    assert declared_fields(body[1]) == [(n, t) for n, t in STRUCTS[name]._fields_]


@pytest.fixture()
def model(tiny_model: Path) -> Iterator[NativeModel]:
    with NativeModel(tiny_model) as opened:
        yield opened


@pytest.fixture()
def session(model: NativeModel) -> Iterator[NativeSession]:
    with model.session(n_threads=1) as made:
        yield made


def test_protocols(model: NativeModel, session: NativeSession) -> None:
    assert isinstance(model, Backend) and isinstance(session, Session)


def test_settings_in_force(tiny_model: Path) -> None:
    with NativeModel(tiny_model, settings={"gate.margin": "2.5"}) as changed:
        assert changed.settings() == {"gate.margin": [2.5], "gate.threshold": [0.0]}


def test_info_and_tensors(model: NativeModel, tiny_model: Path) -> None:
    info = model.info
    assert (info.vocab_size, info.d_model, info.n_layers, info.context_length) == (320, 64, 2, 64)
    assert info.name == "tiny" and info.architecture == "qig" and info.file_type == "Q4_0"
    assert info.file_bytes == tiny_model.stat().st_size and info.isa == native.isa_list()[0]
    tensors = {t.name: t for t in model.tensors()}
    assert tensors["token_embd.weight"].shape == (32, 320) and tensors["token_embd.weight"].type == "Q4_0"
    assert tensors["output_norm.weight"].shape == (64,) and tensors["output_norm.weight"].bytes == 256
    assert sum(math.prod(t.shape) for t in tensors.values()) == info.n_params
    assert (
        model.metadata("general.name") == "tiny"
        and model.metadata("no.such") is None
        and model.metadata("qig.block_count") is None
    )
    assert (model.eos, model.eot) == (0, 4)


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=60), raw=st.binary(max_size=60))
def test_text_comes_back(tiny_model: Path, text: str, raw: bytes) -> None:
    with NativeModel(tiny_model) as model:
        assert model.detokenize(model.tokenize(text)).decode() == text
        assert model.detokenize(model.tokenize(raw)) == raw
        assert all(t > 4 for t in model.tokenize("<|end|>" + text))


def test_control_tokens(model: NativeModel) -> None:
    assert model.tokenize("<|user|>a<|end|>", parse_special=True)[0::2] == [2, 4]
    assert model.detokenize([2, 4]) == b"" and model.detokenize([2, 4], special=True) == b"<|user|><|end|>"
    plain = model.tokenize("a <|end|> b")
    assert model.chat_turn("user", "a <|end|> b") == [2, *plain, 4]
    assert model.chat_turn("assistant", None) == [3] and model.chat_turn("system", "") == [1, 4]
    with pytest.raises(ConfigError, match="role = 'tool' must be one of system, user, assistant"):
        model.chat_turn("tool", "x")
    with pytest.raises(RuntimeFault, match="token = 320"):
        model.token_bytes(320)


def test_eval_does_not_depend_on_the_split(model: NativeModel) -> None:
    ids = model.tokenize("The quick brown fox jumps")
    with model.session() as whole, model.session(n_threads=1, n_batch=3) as split:
        rows = whole.eval_all(ids)
        assert rows.shape == (len(ids), 320) and np.isfinite(rows).all()
        for i, token in enumerate(ids):
            split.eval([token])
            assert np.array_equal(split.logits(), rows[i])
        assert np.array_equal(whole.tokens, ids) and whole.tokens.dtype == np.int32 and split.pos == len(ids)


def test_thread_counts(model: NativeModel) -> None:
    for asked, told in (
        ({"n_threads": 2, "n_threads_batch": 3}, (2, 3)),
        ({"n_threads": 3, "n_threads_batch": 1}, (3, 1)),
        ({"n_threads": 2}, (2, 2)),
    ):
        with model.session(**asked) as made:
            assert (made.n_threads, made.n_threads_batch) == told
            made.eval(list(range(5, 40)))
            made.eval([9])
            assert (made.n_threads, made.n_threads_batch) == told
    with model.session(n_threads_batch=2) as made:
        assert 1 <= made.n_threads <= 4 and made.n_threads_batch == 2
    for bad in ({"n_threads": -1}, {"n_threads_batch": 257}):
        name, value = next(iter(bad.items()))
        with pytest.raises(RuntimeFault, match=f"^{name} = {value} must be 1 to 256, or 0 to choose$"):
            model.session(**bad)


def test_logits_are_a_read_only_view(session: NativeSession) -> None:
    assert session.n_threads == 1
    with pytest.raises(RuntimeFault, match="before the first eval"):
        session.logits()
    session.eval([10])
    view = session.logits()
    before = view.copy()
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1
    session.eval([11])
    assert not np.array_equal(view, before) and np.array_equal(view, session.logits())


def test_rollback_and_slide_equal_a_fresh_session(model: NativeModel, session: NativeSession) -> None:
    ids = model.tokenize("abcdefgh ijkl")
    session.eval(ids)
    there = session.logits().copy()
    session.eval([20, 21, 22])
    session.rollback(len(ids))
    assert np.array_equal(session.logits(), there) and session.pos == len(ids)
    session.slide(2, 5)
    with model.session() as fresh:
        fresh.eval(ids[:2] + ids[-5:])
        assert np.array_equal(session.tokens, fresh.tokens) and np.array_equal(session.logits(), fresh.logits())


def test_context_full_evaluates_nothing(session: NativeSession) -> None:
    session.eval(list(range(5, 65)))
    last = session.logits().copy()
    with pytest.raises(ContextFull):
        session.eval([5] * 5)
    assert session.pos == 60 and np.array_equal(session.logits(), last)
    session.eval([5] * 4)
    assert session.pos == session.n_ctx == 64 and session.cache_bytes > 0


def test_sampling(session: NativeSession, model: NativeModel) -> None:
    session.eval([30, 31])
    session.set_sampler(Sampling.greedy())
    assert session.sample() == int(np.argmax(session.logits()))

    def drawn(seed: int) -> list[int]:
        with model.session() as s:
            s.eval([30, 31])
            s.set_sampler(Sampling(temperature=5.0, top_k=0, top_p=1.0, min_p=0.0, seed=seed))
            out = []
            for _ in range(20):
                out.append(s.sample())
                s.eval(out[-1:])
            return out

    assert drawn(1) == drawn(1) != drawn(2)


def test_telemetry(session: NativeSession, model: NativeModel) -> None:
    session.eval([40, 41, 42])
    session.eval([43])
    t = session.telemetry(3)
    for value in (t.phi, t.surprise, t.confidence, t.agency):
        assert 0 <= value <= 1
    assert t.blocks_run == 2 and t.bytes_read > 0 and t.kappa > 0 and 0 <= t.curvature <= math.pi
    assert math.isnan(session.telemetry(1).surprise)
    with model.session(prompt_telemetry=True) as s:
        s.eval([40, 41, 42])
        assert not math.isnan(s.telemetry(1).surprise)
    with pytest.raises(RuntimeFault, match="position 4"):
        session.telemetry(4)


def test_bad_arguments(model: NativeModel, session: NativeSession, tiny_model: Path) -> None:
    with pytest.raises(RuntimeFault, match="320"):
        session.eval([320])
    with pytest.raises(RuntimeFault, match="integers"):
        session.eval(["a"])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="cache_type = 'i4' must be one of auto, f32, i8"):
        model.session(cache_type="i4")
    with pytest.raises(RuntimeFault):
        model.session(n_threads=-1)
    with pytest.raises(ConfigError, match="isa = 'sse' must be one of auto, "):
        NativeModel(tiny_model, isa="sse")
    bad = (
        ("temperature", -1.0),
        ("temperature", math.nan),
        ("top_k", -1),
        ("top_p", 0.0),
        ("min_p", 2.0),
        ("repeat_penalty", 0.0),
        ("seed", -1),
    )
    for name, value in bad:
        with pytest.raises(ConfigError, match=name):
            Sampling(**{name: value})  # type: ignore[arg-type]


def test_bad_files(tmp_path: Path, tiny_model: Path) -> None:
    text, torn = tmp_path / "notes.txt", tmp_path / "torn.gguf"
    text.write_text("just words\n" * 50)
    torn.write_bytes(tiny_model.read_bytes()[: tiny_model.stat().st_size // 2])
    for path, match in (
        (text, "not a GGUF"),
        (torn, "torn.gguf"),
        (tmp_path / "none.gguf", "no such model file"),
        (tmp_path, "is a folder"),
    ):
        with pytest.raises(ModelFileError, match=match) as caught:
            NativeModel(path)
        assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_closing_in_any_order(tiny_model: Path) -> None:
    model = NativeModel(tiny_model)
    session = model.session()
    session.eval([9])
    model.close()
    for call in (lambda: session.eval([9]), lambda: session.pos, model.tensors):
        with pytest.raises(RuntimeFault, match="closed"):
            call()
    session.close()
    model.close()


def test_chat_on_the_real_library_equals_a_fresh_session(model: NativeModel) -> None:
    greedy = Sampling.greedy()
    with model.session() as session:
        chat = Chat(model, session, system="be kind", sampling=greedy, max_tokens=9)
        for i in range(8):
            list(chat.answer(f"q{i}"))
        assert chat.exchanges < 8, "the context was to be too small for eight exchanges"
        history = list(session.tokens)
        with model.session() as fresh:
            fresh.eval(history)
            assert np.array_equal(fresh.logits(), session.logits())
    system = model.chat_turn("system", "be kind")
    assert history[: len(system)] == system and history[len(system)] == model.chat_turn("user", "")[0]


def test_missing_library_names_what_to_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "site" / "qig_edge"
    package.mkdir(parents=True)
    monkeypatch.setattr(host, "PACKAGE", package)
    monkeypatch.setenv("QIG_EDGE_BUILD", str(tmp_path))
    with pytest.raises(RuntimeFault, match="QIG_EDGE_BUILD = .* is no folder that holds libqig.so"):
        host.library_path()
    (tmp_path / "libqig.so").write_bytes(b"")
    assert host.library_path() == tmp_path / "libqig.so"
    monkeypatch.delenv("QIG_EDGE_BUILD")
    with pytest.raises(RuntimeFault, match="pip install"):
        host.library_path()
    (package.parent / "kernels").mkdir()
    (package.parent / "kernels" / "CMakeLists.txt").write_text("")
    with pytest.raises(RuntimeFault, match="cmake -S kernels -B build/host"):
        host.library_path()
    (package / "lib").mkdir()
    (package / "lib" / "libqig.so").write_bytes(b"no library")
    monkeypatch.setattr(prototypes, "library_path", lambda: package / "lib" / "libqig.so")
    with pytest.raises(RuntimeFault, match="does not load"):
        prototypes.library.__wrapped__()


def test_a_32_bit_system_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "pointer_bits", lambda: 32)
    with pytest.raises(DeviceError, match="32-bit system .* install the 64-bit Raspberry Pi OS"):
        host.library_path()


def test_read_bandwidth_is_a_rate() -> None:
    assert native.read_bandwidth(1 << 20, 1, 2) > 1e6


def test_whole_characters() -> None:
    data = "é🦊".encode()
    assert [native.utf8_whole(data[:n]) for n in range(len(data) + 1)] == [0, 0, 2, 2, 2, 2, 6]
