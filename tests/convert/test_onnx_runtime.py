"""The onnxruntime back end on the golden model: the same tokens, texts, records and draws as libqig's, and the same ways to go back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from qig_edge.errors import ConfigError, MissingExtra, ModelFileError, RuntimeFault
from qig_edge.runtime.backend import Backend, ContextFull, Sampling, Session, text_start
from qig_edge.runtime.chat import Chat
from qig_edge.runtime.native import NativeModel
from qig_edge.runtime.onnx_model import OnnxModel
from qig_edge.runtime.onnx_session import KEPT_EVERY, STEP
from qig_edge.runtime.opening import open_model, speculate
from qig_edge.runtime.stream import Stats, generate
from tests.convert.onnx_models import GOLDEN, folder

pytestmark = pytest.mark.slow  # for the export
FILE = GOLDEN.parent / "golden-f32.gguf"
LONG = "Once upon a time a little fox saw a bird. “Hello,” said the fox. The bird began to say: I will help you, 123!"


@pytest.fixture(scope="module")
def model() -> Iterator[OnnxModel]:
    with OnnxModel(folder("golden")) as opened:
        yield opened


@pytest.fixture(scope="module")
def native() -> Iterator[NativeModel]:
    with NativeModel(FILE) as opened:
        yield opened


def test_it_is_a_backend(model: OnnxModel) -> None:
    with model.session() as session:
        assert isinstance(model, Backend) and isinstance(session, Session)
        assert session.n_ctx == model.info.context_length == 128


@pytest.mark.parametrize(
    "text",
    [LONG, "", " ", "\t tabs\n\n  two  spaces", "日本語 — Ünïcode", "<|end|> typed", b"\xff\xfeabc\xc3", "a\udcffb", b"\xe6\x97"],
    ids=repr,
)
def test_tokens_are_libqigs(model: OnnxModel, native: NativeModel, text: str | bytes) -> None:
    for special in (False, True):
        ids = model.tokenize(text, parse_special=special)
        assert ids == native.tokenize(text, parse_special=special)
        assert model.detokenize(ids, special=True) == native.detokenize(ids, special=True)
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    assert model.detokenize(model.tokenize(text)) == data


def test_chat_format_is_libqigs(model: OnnxModel, native: NativeModel) -> None:
    for role in ("system", "user", "assistant"):
        for content in ("Hello <|end|>", "", None):
            assert model.chat_turn(role, content) == native.chat_turn(role, content)
    same = ("bos", "eos", "eot", "turn_end")
    assert [getattr(model, n) for n in same] == [getattr(native, n) for n in same]
    assert model.metadata("tokenizer.chat_template") == native.metadata("tokenizer.chat_template")
    assert model.metadata("qig.regime.on_breakdown") is None
    with pytest.raises(ConfigError, match="role = 'nobody' must be one of"):
        model.chat_turn("nobody", "x")


@pytest.mark.parametrize("sampling", [Sampling.greedy(), Sampling(seed=11)], ids=["greedy", "drawn"])
def test_the_same_text_as_libqig(model: OnnxModel, native: NativeModel, sampling: Sampling) -> None:
    """Near-ties within float rounding would differ; on these prompts there are none."""
    texts: list[list[str]] = [[], []]
    for backend, out in zip((model, native), texts, strict=True):
        for prompt in ("Once upon a time", "The little fox", "One day"):
            with backend.session(n_threads=1) as session:
                out.append("".join(generate(backend, session, prompt, sampling=sampling, max_tokens=40, stats=Stats())))
        with backend.session(n_threads=1) as session:
            chat = Chat(backend, session, system="You tell stories.", sampling=sampling, max_tokens=20)
            out += ["".join(chat.answer(q)) for q in ("What is your name?", "Tell me about a fox.", "And then? " * 12, "Go on.")]
    assert texts[0] == texts[1]
    assert sum(map(len, texts[0])) > 200


def test_records_are_libqigs(model: OnnxModel, native: NativeModel) -> None:
    ids = model.tokenize(LONG)
    with model.session(n_threads=1) as mine, native.session(n_threads=1, prompt_telemetry=True) as theirs:
        assert np.abs(mine.eval_all(ids) - theirs.eval_all(ids)).max() <= 1e-3
        for pos in range(len(ids)):
            a, b = mine.telemetry(pos), theirs.telemetry(pos)
            for field in ("phi", "surprise", "confidence", "agency", "curvature", "kappa", "coherence_drift"):
                assert abs(getattr(a, field) - getattr(b, field)) <= 1e-3 * max(1.0, getattr(b, field)), (pos, field)
            assert (a.regime, a.blocks_run) == (b.regime, b.blocks_run)
            assert a.bytes_read >= model.info.weight_bytes // len(ids)


def test_in_steps_as_at_once(model: OnnxModel) -> None:
    ids = np.random.default_rng(2).integers(5, 512, STEP + 40)
    with model.session(n_ctx=400) as one, model.session(n_ctx=400) as other:
        whole = one.eval_all(ids)
        rows = np.concatenate([other.eval_all(part) for part in (ids[:50], ids[50:51], ids[51:])])
        assert whole.shape == (len(ids), 512)
        assert np.abs(whole - rows).max() <= 1e-4
        assert np.array_equal(one.logits(), whole[-1]) and np.array_equal(one.tokens, ids)
        assert one.cache_bytes == 2 * 2 * (2 * len(ids) * 32) * 4


@pytest.mark.parametrize("back", [0, 1, 20, KEPT_EVERY - 1, KEPT_EVERY, KEPT_EVERY + 1, 99, 100])
def test_rollback(model: OnnxModel, back: int) -> None:
    ids = np.random.default_rng(3).integers(5, 512, 110)
    with model.session() as session, model.session() as fresh:
        session.set_sampler(Sampling(seed=4))
        first = [session.eval(ids[:100])] and session.sample()
        session.rollback(back)
        assert session.pos == back
        if back:
            fresh.eval(ids[:back])
            assert np.abs(session.logits() - fresh.logits()).max() <= 1e-4
        else:
            with pytest.raises(RuntimeFault, match="no logits before the first eval"):
                session.logits()
        rows = session.eval_all(ids[back:110])
        assert np.abs(rows - fresh.eval_all(ids[back:110])).max() <= 1e-4
        assert [session.telemetry(i).surprise for i in range(110)] == pytest.approx(
            [fresh.telemetry(i).surprise for i in range(110)], abs=1e-4
        )
        session.rollback(100)
        assert session.sample() == first  # what it drew when it first stood here


def test_slide_is_a_fresh_session(model: OnnxModel) -> None:
    ids = np.random.default_rng(5).integers(5, 512, 90)
    with model.session() as session, model.session() as fresh:
        session.eval(ids)
        session.slide(10, 30)
        fresh.eval(np.concatenate((ids[:10], ids[60:])))
        assert np.array_equal(session.tokens, fresh.tokens)
        assert np.abs(session.logits() - fresh.logits()).max() <= 1e-4
        session.slide(0, 0)
        assert session.pos == 0
        with pytest.raises(RuntimeFault, match="cannot keep 1 \\+ 0 of 0"):
            session.slide(1, 0)


def test_what_does_not_go(model: OnnxModel) -> None:
    with model.session(n_ctx=8) as session:
        with pytest.raises(RuntimeFault, match="no logits before the first eval"):
            session.sample()
        session.eval([5, 6, 7])
        for tokens, error, message in (
            ([1] * 6, ContextFull, "no room for 6 tokens: 3 of 8"),
            ([5, 512], RuntimeFault, r"token = 512 must be in \[0, 512\)"),
            ([-1], RuntimeFault, r"token = -1 must be in"),
            ([], RuntimeFault, "no tokens"),
            (["x"], RuntimeFault, "must be integers"),
        ):
            with pytest.raises(error, match=message):
                session.eval(tokens)  # type: ignore[arg-type]
            assert session.pos == 3
        with pytest.raises(RuntimeFault, match="cannot roll back to 4"):
            session.rollback(4)
        with pytest.raises(RuntimeFault, match="no telemetry at position 3"):
            session.telemetry(3)
        with pytest.raises(ConfigError, match="an ONNX model has no draft"):
            speculate(session, 2)
        speculate(session, -1)
    with pytest.raises(RuntimeFault, match="the session is closed"):
        session.eval([5])
    with pytest.raises(RuntimeFault, match="n_threads = 999"):
        model.session(n_threads=999)
    with pytest.raises(RuntimeFault, match="n_ctx = -1"):
        model.session(n_ctx=-1)
    with pytest.raises(RuntimeFault, match="token = 600 must be in"):
        model.detokenize([600])


def test_threads(model: OnnxModel) -> None:
    for n in (1, 2):
        with model.session(n_threads=n) as session:
            session.eval([5, 6])
            options = model.engine(n).get_session_options()
            assert (session.n_threads, options.intra_op_num_threads) == (n, n)


def test_opening_by_what_the_path_is(tmp_path: Path) -> None:
    with open_model(folder("golden")) as opened, open_model(folder("golden") / "model.onnx") as again:
        assert isinstance(opened, OnnxModel) and isinstance(again, OnnxModel)
        assert text_start(opened) == []
        assert opened.info.n_params == 119112 and opened.info.file_type == "ONNX F32" and not opened.decides
    with open_model(FILE) as opened:
        assert isinstance(opened, NativeModel)
    with pytest.raises(ConfigError, match="thresholds of an ONNX model are part of its graph"):
        open_model(folder("golden"), settings={"gate.margin": "3"})
    with pytest.raises(ConfigError, match="--isa avx2 chooses kernels of libqig"):
        open_model(folder("golden"), "avx2")


def test_damaged_folders(tmp_path: Path) -> None:
    def copy(name: str) -> Path:
        shutil.copytree(folder("golden"), tmp_path / name)
        return tmp_path / name

    lacks = copy("lacks")
    (lacks / "tokenizer.json").unlink()
    torn = copy("torn")
    (torn / "model.onnx").write_bytes((torn / "model.onnx").read_bytes()[:5000])
    other = copy("other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "n_layers": 3}))
    wider = copy("wider")
    (wider / "config.json").write_text(json.dumps({**config, "head_dim": 64}))
    unknown = copy("unknown")
    (unknown / "config.json").write_text("{}")
    for path, message in (
        (lacks, "it has no tokenizer.json"),
        (torn, "onnxruntime does not load it"),
        (other, "does not belong to its config.json: inputs differ in past_key_values.2.key"),
        (wider, "does not belong to its config.json: past_key_values.0.key is"),
        (unknown, "expected 'qig'"),
        (tmp_path / "nothing.onnx", "it has no model.onnx"),
    ):
        with pytest.raises(ModelFileError, match=message) as told:
            open_model(path)
        assert "\n" not in str(told.value)


def test_what_running_needs(tmp_path: Path) -> None:
    """A device that runs a folder has no torch: onnxruntime and tokenizers are enough."""
    import subprocess
    import sys

    absent = ("torch", "transformers", "onnx", "onnxscript", "optimum", "safetensors", "datasets", "zstandard", "jinja2")
    code = f"import sys; sys.modules.update(dict.fromkeys({absent}));from qig_edge.cli import main; main(sys.argv[1:])"
    command = ["generate", str(folder("golden")), "-p", "One day", "-n", "3", "--temperature", "0"]
    done = subprocess.run(
        [sys.executable, "-c", code, *command], capture_output=True, text=True, cwd=Path(__file__).resolve().parents[2]
    )
    assert done.returncode == 0 and done.stdout.startswith("One day "), done.stderr


def test_without_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"pip install 'qig-edge\[onnx\]'"):
        OnnxModel(folder("golden"))
