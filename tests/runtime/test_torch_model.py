"""A checkpoint as a back end: the interface that sessions share, held to the model's own forward pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: extra train")

from qig_edge.errors import CheckpointError, RuntimeFault  # noqa: E402
from qig_edge.runtime.backend import Backend, ContextFull, Sampling, Session  # noqa: E402
from qig_edge.runtime.native import NativeModel  # noqa: E402
from qig_edge.runtime.torch_model import TorchModel  # noqa: E402
from qig_edge.train import checkpoint  # noqa: E402
from tests.conftest import SEED  # noqa: E402
from tests.convert.tiny import DEPTHS, VOCAB, random_kernel, tiny_config, tiny_tokenizer  # noqa: E402

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
NEAR = 2e-4  # float32 logits of the same sums in another order


def saved(tmp_path: Path, kind: str) -> Path:
    folder = tmp_path / kind
    checkpoint.write(folder, random_kernel(tiny_config(**DEPTHS[kind]), SEED), tiny_tokenizer(), None)
    return folder


def whole(model: TorchModel, ids: list[int]) -> np.ndarray:
    assert model.kernel is not None
    with torch.no_grad():
        return model.kernel(torch.tensor([ids])).logits[0].numpy()


@pytest.mark.parametrize("kind", DEPTHS)
def test_pieces_and_rollbacks_are_the_whole(tmp_path: Path, kind: str) -> None:
    """Adaptive models too, whose decisions hang on what came before: every way to the same tokens gives the logits of one pass."""
    rng = np.random.default_rng(SEED)
    with TorchModel(saved(tmp_path, kind)) as model:
        assert isinstance(model, Backend)
        session = model.session(n_threads=1)
        assert isinstance(session, Session)
        kept = list(map(int, rng.integers(5, VOCAB, 20)))
        session.eval(kept)
        compared = 0
        for back, more in ((13, 5), (18, 1), (4, 9), (0, 7), (3, 4)):
            session.rollback(back)
            kept = kept[:back]
            if back:
                assert np.abs(session.logits() - whole(model, kept)[-1]).max() < NEAR
            new = list(map(int, rng.integers(5, VOCAB, more)))
            rows = session.eval_all(new)
            kept += new
            assert session.tokens.tolist() == kept and rows.shape == (more, VOCAB)
            assert np.abs(rows - whole(model, kept)[-more:]).max() < NEAR
            assert np.array_equal(session.logits(), rows[-1])
            compared += 1
        assert compared == 5
        session.slide(2, 3)
        kept = kept[:2] + kept[-3:]
        assert session.tokens.tolist() == kept
        assert np.abs(session.logits() - whole(model, kept)[-1]).max() < NEAR


@pytest.mark.parametrize("kind", ["everything", "decoherence"])
def test_a_rollback_draws_what_it_drew(tmp_path: Path, kind: str) -> None:
    """Also where the logits had to be made again, and where a model that skips blocks has evaluated more than the last token again."""
    ids = list(map(int, np.random.default_rng(SEED).integers(5, VOCAB, 12)))
    with TorchModel(saved(tmp_path, kind)) as model, model.session(n_threads=1) as session:
        session.set_sampler(Sampling(temperature=1.0, seed=3))
        session.eval(ids)
        drawn = []
        for _ in range(6):
            drawn.append(session.sample())
            session.eval(drawn[-1:])
        for back in (0, 3, 5):
            session.rollback(len(ids) + back)
            again = []
            for _ in range(6 - back):
                again.append(session.sample())
                session.eval(again[-1:])
            assert again == drawn[back:], (back, SEED)
        assert len(set(drawn)) > 1


def test_greedy_text_and_tokens_are_libqigs() -> None:
    text = "Once upon a time"
    with TorchModel(GOLDEN / "checkpoint") as ours, NativeModel(GOLDEN / "golden-f32.gguf") as theirs:
        assert ours.tokenize(text + " é") == theirs.tokenize(text + " é")
        assert ours.detokenize(ours.tokenize("a é\n")) == "a é\n".encode()
        assert (ours.eos, ours.eot, ours.bos) == (theirs.eos, theirs.eot, theirs.bos)
        written = []
        for model in (ours, theirs):
            session = model.session(n_threads=1)
            session.set_sampler(Sampling.greedy())
            session.eval([0, *model.tokenize(text)])
            for _ in range(16):
                session.eval([session.sample()])
            written.append(session.tokens.tolist())
            session.close()
        assert written[0] == written[1]


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint"):
        TorchModel(tmp_path)
    with pytest.raises(CheckpointError, match="model_type 'jarvis"):
        TorchModel(GOLDEN / "jarvis")
    model = TorchModel(GOLDEN / "checkpoint")
    session = model.session(n_ctx=8)
    with pytest.raises(RuntimeFault, match="no logits before the first eval"):
        session.logits()
    for bad, why in (([], "no tokens"), ([512], "token = 512 must be in"), ([-1], "token = -1")):
        with pytest.raises(RuntimeFault, match=why):
            session.eval(bad)
    with pytest.raises(ContextFull):
        session.eval([1] * 9)
    assert session.pos == 0
    session.eval([1, 2, 3])
    assert 0 <= session.telemetry(2).phi <= 1
    for wrong in (lambda: session.telemetry(3), lambda: session.rollback(4), lambda: session.slide(2, 2)):
        with pytest.raises(RuntimeFault):
            wrong()
    session.close()
    with pytest.raises(RuntimeFault, match="closed"):
        session.eval([1])
    model.close()
    with pytest.raises(RuntimeFault, match="closed"):
        model.session()
