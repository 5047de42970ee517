"""The suite "reasoning" in every engine: one dense twin as checkpoint, GGUF file in libqig and in llama.cpp, a QIG model as ONNX folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval", reason="lm-eval is not installed: extra eval")
pytest.importorskip("torch", reason="torch is not installed: extra train")

from lm_eval.api.instance import Instance  # noqa: E402

from qig_edge.errors import QigError  # noqa: E402
from qig_edge.evals.opening import open_evaluated  # noqa: E402
from qig_edge.evals.reasoning.model import BackendLM  # noqa: E402
from qig_edge.evals.suites import Options, run  # noqa: E402
from qig_edge.train import checkpoint  # noqa: E402
from tests.convert.tiny import TWINS, random_kernel, tiny_config, tiny_tokenizer, write  # noqa: E402
from tests.evals.items import write_sets  # noqa: E402

CASE = "depth"
PAIRS = [(f"Question: {q}\nAnswer:", a) for q in ("Who ran?", "Who sat down, and why?") for a in (" a fox", " a dog", " nobody")]


def told(path: Path, backend: str = "auto") -> list[Any]:
    """(ln p, greedy) of every pair, and greedy text after one."""
    with open_evaluated(path, backend=backend) as model:
        session = model.session(n_threads=1)
        lm = BackendLM(model, session, lambda done, total: None)
        choices = [Instance(request_type="loglikelihood", doc={}, arguments=p, idx=0, metadata=("t", i, 1)) for i, p in enumerate(PAIRS)]
        how = {"until": ["\n"], "max_gen_toks": 8}
        text = Instance(request_type="generate_until", doc={}, arguments=("The fox", how), idx=0, metadata=("t", 0, 1))
        found = [*lm.loglikelihood(choices), *lm.generate_until([text])]
        session.close()
    return found


def alike(a: list[Any], b: list[Any], near: float) -> None:
    assert len(a) == len(b) == len(PAIRS) + 1
    worst = max(abs(x - y) for (x, _), (y, _) in zip(a[:-1], b[:-1], strict=True))
    assert worst < near, worst
    assert [g for _, g in a[:-1]] == [g for _, g in b[:-1]]


@pytest.mark.parametrize("kind", TWINS)
def test_a_twin_scores_the_same_in_every_engine(tmp_path: Path, kind: str) -> None:
    model, tokenizer = random_kernel(tiny_config(**TWINS[kind]), 3), tiny_tokenizer()
    checkpoint.write(tmp_path / "twin", model, tokenizer, None)
    write(tmp_path / "twin.gguf", model, "f32", tokenizer)
    torch_told, native = told(tmp_path / "twin"), told(tmp_path / "twin.gguf")
    alike(torch_told, native, 1e-3)
    assert torch_told[-1] == native[-1]
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    alike(native, told(tmp_path / "twin.gguf", "llama"), 0.15)  # keys and values in half precision


def test_an_onnx_folder_scores_as_its_checkpoint(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: extra onnx")
    pytest.importorskip("onnx", reason="onnx is not installed: extra onnx")
    from tests.convert.onnx_models import folder, kernel

    checkpoint.write(tmp_path / "model", kernel(CASE), tiny_tokenizer(), None)
    alike(told(tmp_path / "model"), told(folder(CASE)), 1e-3)
    with open_evaluated(folder(CASE)) as model:
        result = run("reasoning", model, Options(tasks=("piqa",), data_dir=write_sets(tmp_path), threads=1))
    assert result.to_dict()["tasks"]["piqa"]["items"] == 4


def test_the_hub_that_does_not_answer(tmp_path: Path) -> None:
    """Tests run with HF_HUB_OFFLINE: the hub is as good as gone."""
    write(tmp_path / "m.gguf", random_kernel(tiny_config(), 3), "f32", tiny_tokenizer())
    with (
        open_evaluated(tmp_path / "m.gguf") as model,
        pytest.raises(QigError, match="the hub does not give the items of 'piqa' .*--data-dir DIR reads local files"),
    ):
        run("reasoning", model, Options(tasks=("piqa",)))
