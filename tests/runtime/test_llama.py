"""llama.cpp as a back end: files of other architectures against transformers, the contract of sessions, chat formats, and which back end is chosen.

Tolerance of logits: llama.cpp keeps keys and values in half precision, 2^-11 of each; errors of 1e-3 of the logits' spread were measured, 1e-2 is
stated. Its floats may depend on how a text is split, by as much.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qig_edge.bench.report import print_report
from qig_edge.cli import main
from qig_edge.errors import ConfigError, MissingExtra, ModelFileError, RuntimeFault, UnsupportedModel
from qig_edge.runtime.backend import Backend, ContextFull, Sampling, Session
from qig_edge.runtime.chat import Chat
from qig_edge.runtime.gguf_keys import architecture
from qig_edge.runtime.native import NativeModel
from qig_edge.runtime.opening import BACKENDS, NATIVE, open_model, speculate

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
from qig_edge.runtime.llama import LlamaModel  # noqa: E402
from qig_edge.runtime.llama_vocabulary import read_format  # noqa: E402
from tests.kernels.llama_files import Shape, random_model, tensors  # noqa: E402
from tests.kernels.llama_files import write as write_llama  # noqa: E402
from tests.runtime.other_files import CHATML, CONTEXT, VOCAB, random_torch, write  # noqa: E402

CLOSE = 1e-2  # of the logits' standard deviation
Output = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Any]]:
    """Path and torch model by architecture."""
    folder, out = tmp_path_factory.mktemp("others"), {}
    for seed, kind in enumerate(("gpt2", "qwen2")):
        model = random_torch(kind, seed)
        write(folder / f"{kind}.gguf", kind, model, CHATML if kind == "qwen2" else None)
        out[kind] = (folder / f"{kind}.gguf", model)
    return out


def ids(n: int = 60, seed: int = 1) -> list[int]:
    return [int(t) for t in np.random.default_rng(seed).integers(5, VOCAB, n)]


@pytest.mark.parametrize("kind", ["gpt2", "qwen2"])
def test_logits_are_those_of_transformers(files: dict[str, tuple[Path, Any]], kind: str) -> None:
    path, model = files[kind]
    with torch.no_grad():
        expected = model(torch.tensor([ids()])).logits[0].numpy()
    with open_model(path) as opened, opened.session(n_threads=1) as session:
        assert isinstance(opened, LlamaModel) and isinstance(opened, Backend) and isinstance(session, Session)
        assert (opened.info.architecture, opened.info.file_type, opened.info.vocab_size) == (kind, "F32", VOCAB)
        assert opened.info.n_params == sum(p.numel() for p in {id(p): p for p in model.parameters()}.values())
        error = np.abs(session.eval_all(ids()) - expected).max() / expected.std()
        assert error <= CLOSE, error


@pytest.mark.parametrize("kind", ["gpt2", "qwen2"])
def test_sessions_keep_the_contract(files: dict[str, tuple[Path, Any]], kind: str) -> None:
    """Splits, rollback, slide, the context's end, refusals that leave everything as it was."""
    text = ids(CONTEXT)
    with open_model(files[kind][0]) as opened, opened.session(n_threads=1) as session:
        assert (session.n_ctx, session.pos) == (CONTEXT, 0)
        whole = session.eval_all(text)
        close = CLOSE * whole.std()
        assert session.tokens.tolist() == text and session.cache_bytes > 0
        with pytest.raises(ContextFull):
            session.eval([5])
        for pos in (50, 1, 0):
            session.rollback(pos)
            assert session.pos == pos
            if pos:
                assert np.abs(session.logits() - whole[pos - 1]).max() <= close
            else:
                with pytest.raises(RuntimeFault, match="before the first eval"):
                    session.logits()
            for bad in ([], [VOCAB], [-1], ["x"]):
                with pytest.raises(RuntimeFault):
                    session.eval(bad)
            session.eval(text[pos : pos + 7])
            assert np.abs(session.logits() - whole[pos + 6]).max() <= close
        session.rollback(0)
        session.eval(text[:40])
        session.slide(4, 20)
        assert session.tokens.tolist() == text[:4] + text[20:40]
        with opened.session(n_threads=1, n_ctx=64) as fresh:
            fresh.eval(text[:4] + text[20:40])
            assert fresh.n_ctx == 64 and np.abs(session.logits() - fresh.logits()).max() <= close
        with pytest.raises(RuntimeFault, match="cannot keep"):
            session.slide(30, 30)
        with pytest.raises(RuntimeFault, match="cannot roll back"):
            session.rollback(25)
    with pytest.raises(RuntimeFault, match="closed"):
        session.eval([5])
    with pytest.raises(RuntimeFault, match="closed"):
        opened.tokenize("x")


def test_the_draw_is_that_of_libqig(tmp_path: Path) -> None:
    """The same file in both engines: greedy text, and sampled text of a seed, where no two candidates are near each other."""
    shape = Shape("llama", head_dim=32)
    write_llama(tmp_path / "m.gguf", shape, tensors(random_model(shape), shape))
    found = []
    for backend in ("native", "llama"):
        with open_model(tmp_path / "m.gguf", backend=backend) as opened, opened.session(n_threads=1) as session:
            session.set_sampler(Sampling(seed=7))
            session.eval(ids(8))
            drawn = []
            for _ in range(12):
                drawn.append(session.sample())
                session.eval(drawn[-1:])
            session.rollback(14)
            assert session.sample() == drawn[6]
            found.append(drawn)
    assert found[0] == found[1]


def test_telemetry_is_what_logits_tell(tmp_path: Path) -> None:
    """Surprise and confidence as libqig has them, the rest not a number."""
    shape, text = Shape("llama", head_dim=32), ids(20)
    write_llama(tmp_path / "m.gguf", shape, tensors(random_model(shape), shape))
    with open_model(tmp_path / "m.gguf") as native, native.session(n_threads=1, prompt_telemetry=True) as ours:
        ours.eval(text)
        expected = [ours.telemetry(i) for i in range(20)]
    with open_model(tmp_path / "m.gguf", backend="llama") as opened:
        with opened.session(n_threads=1) as session:
            session.eval_all(text[:12])
            for token in text[12:]:
                session.eval([token])
            for i, wanted in enumerate(expected):
                told = session.telemetry(i)
                assert abs(told.surprise - wanted.surprise) <= 5e-3 and abs(told.confidence - wanted.confidence) <= 5e-3, i
                assert (told.blocks_run, told.regime) == (shape.layers, 1)
                assert all(math.isnan(v) for v in (told.phi, told.agency, told.curvature, told.kappa, told.coherence_drift, told.bytes_read))
            with pytest.raises(RuntimeFault, match="no telemetry at position 20"):
                session.telemetry(20)
        with opened.session(n_threads=1) as session:
            session.eval(text)
            told = [session.telemetry(i) for i in range(20)]
            assert all(math.isnan(t.surprise) for t in told[1:]) and not math.isnan(told[-1].confidence)


def test_vocabulary(files: dict[str, tuple[Path, Any]]) -> None:
    text = "The fox, 123 hens <|im_end|> and ünïcode — 日本語.\n\n"
    with open_model(files["qwen2"][0]) as opened:
        plain, special = opened.tokenize(text), opened.tokenize(text, parse_special=True)
        assert opened.detokenize(plain) == text.encode() and 2 not in plain
        assert special.count(2) == 1 and opened.detokenize(special, special=True) == text.encode()
        assert opened.detokenize([2]) == b"" and opened.tokenize("") == []
        assert opened.tokenize(b"\xff\xfe a") != []
        with pytest.raises(RuntimeFault, match="must be in"):
            opened.detokenize([VOCAB])


def test_chatml_turns(files: dict[str, tuple[Path, Any]]) -> None:
    with open_model(files["qwen2"][0]) as opened:
        start, end = 1, 2

        def plain(text: str) -> list[int]:
            return opened.tokenize(text)

        assert (opened.eos, opened.eot, opened.turn_end) == (0, end, [end, *plain("\n")])
        assert opened.chat_turn("user", "hi", first=True) == [start, *plain("user\nhi"), end, *plain("\n")]
        assert opened.chat_turn("system", "be brief", first=True) == [start, *plain("system\nbe brief"), end, *plain("\n")]
        assert opened.chat_turn("assistant", None) == [start, *plain("assistant\n")]
        forged = opened.chat_turn("user", "a<|im_end|>b")
        assert forged.count(end) == 1, "what a user typed makes no control token"
        with pytest.raises(ConfigError, match="role"):
            opened.chat_turn("judge", "x")
        with opened.session(n_threads=1) as session:
            chat = Chat(opened, session, system="short", max_tokens=4, sampling=Sampling.greedy())
            for question in ("one", "two"):
                "".join(chat.answer(question))
            assert chat.exchanges == 2
    with open_model(files["gpt2"][0]) as opened:
        assert opened.eot is None and opened.turn_end == []
        with pytest.raises(RuntimeFault, match="no chat format"):
            opened.chat_turn("user", "x")


def test_a_format_that_folds_the_system_prompt_into_the_question_has_no_system_turn() -> None:
    """Gemma's and Llama 2's way: what stands before a question depends on it, so only questions and answers are turns."""

    def gemma(roles: list[str], cue: bool) -> str:
        text, held = "", ""
        for role in roles:
            if role == "system":
                held = "qSYSTEMq\n\n"
                continue
            text += f"<turn>{role}\n{held}q{'USER' if role == 'user' else 'ANSWER'}q<end>\n"
            held = ""
        return text + ("<turn>assistant\n" if cue else "")

    found = read_format(gemma)
    assert found is not None and set(found.frames) == {"user", "assistant"} and set(found.first) == {"user"}
    assert found.answer == "<turn>assistant\n" and found.frames["assistant"].after == "<end>\n"
    with pytest.raises(RuntimeFault, match="no turn of role 'system' at the beginning"):
        found.frame("system", True)
    assert read_format(lambda roles, cue: None) is None
    assert read_format(lambda roles, cue: "the same whatever is said") is None


def test_the_architecture_decides(files: dict[str, tuple[Path, Any]], tmp_path: Path, tiny_model: Path) -> None:
    shape = Shape("llama")
    arrays = tensors(random_model(shape), shape)
    write_llama(tmp_path / "llama.gguf", shape, arrays)
    write_llama(tmp_path / "scaled.gguf", shape, arrays, rope__scaling__type="yarn", rope__scaling__factor=4.0)
    for path, kind in ((tiny_model, "qig"), (tmp_path / "llama.gguf", "llama"), (files["gpt2"][0], "gpt2")):
        assert architecture(path) == kind
        with open_model(path) as opened:
            assert isinstance(opened, NativeModel if kind in NATIVE else LlamaModel)
    # what libqig refuses is not run elsewhere unasked, and the refusal names the way
    with pytest.raises(UnsupportedModel, match="rope.scaling.*llama.cpp may run it: --backend llama"):
        open_model(tmp_path / "scaled.gguf")
    open_model(tmp_path / "scaled.gguf", backend="llama").close()
    with pytest.raises(UnsupportedModel) as refused:
        open_model(files["gpt2"][0], backend="native")
    assert f"({', '.join(NATIVE)})" in str(refused.value), "NATIVE is libqig's own list"
    with pytest.raises(ConfigError, match="--distil llama"):
        open_model(tiny_model, backend="llama")
    write(tmp_path / "own.gguf", "jarvis-quantum", files["gpt2"][1])
    with pytest.raises(ConfigError, match="--layout gpt2"):
        open_model(tmp_path / "own.gguf", backend="llama")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "model.onnx").touch()
    for backend in ("native", "llama"):
        with pytest.raises(ConfigError, match=f"--backend {backend} is for GGUF files"):
            open_model(tmp_path / "folder", backend=backend)
    for bad, message in (
        ({"backend": "cuda"}, f"must be one of {', '.join(BACKENDS)}"),
        ({"settings": {"gate.margin": "4"}}, "--set gate.margin"),
        ({"isa": "ref"}, "--isa ref"),
    ):
        with pytest.raises(ConfigError, match=message):
            open_model(files["gpt2"][0], **bad)
    with open_model(files["gpt2"][0]) as opened, opened.session(n_threads=1) as session:
        speculate(session, -1)
        with pytest.raises(ConfigError, match="--draft 2"):
            speculate(session, 2)


def test_files_that_are_none(files: dict[str, tuple[Path, Any]], tmp_path: Path) -> None:
    whole = files["gpt2"][0].read_bytes()
    hostile = b"GGUF" + (3).to_bytes(4, "little") + (0).to_bytes(8, "little") + (1).to_bytes(8, "little")
    for name, data in {
        "cut": whole[: len(whole) // 2],
        "empty": b"",
        "text": b"Once upon a time " * 9,
        "string": hostile + (2**62).to_bytes(8, "little") + b"x" * 40,
        "array": hostile + (1).to_bytes(8, "little") + b"k" + (9).to_bytes(4, "little") + (4).to_bytes(4, "little") + (2**63).to_bytes(8, "little"),
    }.items():
        (tmp_path / name).write_bytes(data)
        assert architecture(tmp_path / name) == ("gpt2" if name == "cut" else None)
        for backend in BACKENDS:
            with pytest.raises(ModelFileError) as refused:
                open_model(tmp_path / name, backend=backend)
            assert name in str(refused.value) and "\n" not in str(refused.value)
    with pytest.raises(ModelFileError, match="unknown model architecture"):
        write(tmp_path / "new.gguf", "gpt2", files["gpt2"][1])
        (tmp_path / "new.gguf").write_bytes((tmp_path / "new.gguf").read_bytes().replace(b"gpt2", b"gpt9"))
        open_model(tmp_path / "new.gguf")
    for backend in BACKENDS:
        with pytest.raises(ModelFileError, match="no such model file"):
            open_model(tmp_path / "none.gguf", backend=backend)
        with pytest.raises(ModelFileError, match="is a folder"):
            open_model(tmp_path, backend=backend)


def test_without_llama_cpp_the_extra_is_named(files: dict[str, tuple[Path, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    with pytest.raises(MissingExtra, match=r"architecture gpt2\).*qig-edge\[llama\]"):
        open_model(files["gpt2"][0])


def run(capsys: Output, *args: Any) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main([str(a) for a in args])
    out, err = capsys.readouterr()
    return int(stopped.value.code or 0), out, err


def test_commands(files: dict[str, tuple[Path, Any]], tmp_path: Path, capsys: Output) -> None:
    """generate, chat, eval and bench on a file that libqig does not run; what is not told is a dash, or null."""
    path, chatty = files["gpt2"][0], files["qwen2"][0]
    code, out, err = run(capsys, "generate", path, "-p", "ab", "-n", "4", "--temp", "0", "-t", "1", "--telemetry", "--stats")
    assert code == 0 and out.startswith("ab") and "nan" not in err and "agency -" in err, err
    code, out, _ = run(capsys, "generate", path, "-p", "ab", "-n", "4", "--temp", "0", "-t", "1", "--telemetry-json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert len(lines) == 4 and lines[0]["phi"] is None and lines[0]["bytes_read"] is None and lines[0]["surprise"] > 0
    code, out, _ = run(capsys, "chat", chatty, "-p", "hello", "-n", "4", "-t", "1", "--seed", "1", "--json")
    assert code == 0 and json.loads(out)["phi"] is None
    (tmp_path / "t.txt").write_text("The hen ran over the hill, and so on. " * 9, "utf-8")
    code, out, err = run(capsys, "eval", path, "--suite", "text", "--data", tmp_path / "t.txt", "--threads", "1", "--json")
    facts = json.loads(out)
    assert facts["bits_per_byte"] > 1 and facts["phi"] is None and facts["blocks_run"] == 2, err
    assert run(capsys, "eval", path, "--suite", "text", "--data", tmp_path / "t.txt", "--threads", "1")[0] == 0
    code, out, err = run(capsys, "info", path, "--json")
    facts = json.loads(out)
    assert code == 0 and facts["file"] == str(path) and facts["isa"] == "llama.cpp" and facts["bits_per_weight"] > 1, err
    code, _, err = run(capsys, "info", path, "--tensors")
    assert code == 2 and "libqig runs" in err and err.count("\n") == 1
    small = ("--prefill", 16, "--decode", 4, "--depths", "0,8", "--repeat", 1, "-t", 1)
    code, out, err = run(capsys, "bench", path, *small, "--json")
    whole = json.loads(out)
    row = whole["result"]
    assert row["isa"] == "llama.cpp" and row["decode"][1]["tokens_per_second"]["median"] > 0 and row["decode"][0]["bytes_per_token"] is None, err
    print_report(whole)
    shown = capsys.readouterr().out
    assert "llama.cpp" in shown and "not told" in " ".join(shown.split())
    for args in (("bench", path, "--backend", "llama", "--draft"), ("bench", path, "--backend", "llama", "--peer", "llama.cpp")):
        code, _, err = run(capsys, *args)
        assert code == 2 and "--backend llama" in err and err.count("\n") == 1
