"""The golden Jarvis model: what NumPy computed when it was made is what NumPy, torch, libqig with every kernel set, and stock llama.cpp compute now.

make_jarvis.py makes the files. Greedy texts are exact, but for steps listed as near-ties: there the second token may be taken, and the text ends
being compared.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qig_edge.jarvis.files import read_network, torch_model
from qig_edge.runtime.llama_library import library
from qig_edge.runtime.native import NativeModel, isa_list

FOLDER = Path(__file__).resolve().parent / "jarvis"


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    return json.loads((FOLDER / "expected.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def logits() -> np.ndarray:
    with np.load(FOLDER / "logits.npz", allow_pickle=False) as stored:
        return stored["logits"]


def convert(path: Path, layout: str, recipe: str = "f32") -> Path:
    pytest.importorskip("tokenizers")
    from qig_edge.convert.jarvis_gguf import write_jarvis
    from qig_edge.convert.origin import origin
    from qig_edge.convert.recipe import load_recipe
    from qig_edge.train.tokenizer import load_tokenizer

    npz = FOLDER / "model.npz"
    write_jarvis(path, read_network(npz), load_tokenizer(FOLDER), load_recipe(recipe), "golden", origin(FOLDER, recipe, None, npz.name), layout)
    return path


def follow(likeliest: Callable[[list[int]], int], prompt: dict[str, Any]) -> int:
    """Number of greedy tokens that are the expected ones, all of them unless a listed near-tie went the other way. likeliest(ids): after these."""
    ties = {t["step"]: t["second"] for t in prompt["near_ties"]}
    for step, token in enumerate(prompt["greedy"]):
        best = likeliest(prompt["ids"] + prompt["greedy"][:step])
        if best != token:
            assert ties.get(step) == best, f"'{prompt['text']}', step {step}: {best} instead of {token}, no near-tie is listed there"
            return step
    return len(prompt["greedy"])


def check_texts(likeliest: Callable[[list[int]], int], expected: dict[str, Any]) -> None:
    told = [follow(likeliest, prompt) for prompt in expected["prompts"]]
    assert len(told) >= 3 and sum(told) > 0.7 * sum(len(p["greedy"]) for p in expected["prompts"]) > 40, told


def test_files_are_small_and_learnt_something(expected: dict[str, Any], logits: np.ndarray) -> None:
    assert sum(p.stat().st_size for p in FOLDER.iterdir()) < 300_000
    assert not (FOLDER / "trainer.pt").exists()
    targets = expected["text_ids"][1:]
    log_p = logits[:-1] - np.log(np.exp(logits[:-1]).sum(-1, keepdims=True))
    assert -log_p[np.arange(len(targets)), targets].mean() < 2
    assert all(len(p["continuation"]) > 20 for p in expected["prompts"])


def test_numpy_still_computes_them(expected: dict[str, Any], logits: np.ndarray) -> None:
    network = read_network(FOLDER / "model.npz")
    out = network.forward(np.array([expected["text_ids"]]), observe=True)
    assert np.abs(out.logits[0] - logits).max() <= 5e-5
    assert out.metrics is not None and out.metrics.keys() == expected["metrics"].keys()
    for name, values in out.metrics.items():
        assert np.abs(values[0] - expected["metrics"][name]).max() <= 1e-4, name
    check_texts(lambda ids: int(network.forward(np.array([ids])).logits[0, -1].argmax()), expected)


def test_torch_computes_them(expected: dict[str, Any], logits: np.ndarray) -> None:
    torch = pytest.importorskip("torch")
    with torch.no_grad():
        out = torch_model(read_network(FOLDER / "model.npz"))(torch.tensor([expected["text_ids"]]), observe=True)
    assert np.abs(out.logits[0].numpy() - logits).max() <= 1e-4
    for name, values in expected["metrics"].items():
        assert np.abs(getattr(out.metrics, name)[0].numpy() - values).max() <= 1e-3, name


def test_libqig_computes_them(tmp_path: Path, expected: dict[str, Any], logits: np.ndarray) -> None:
    path = convert(tmp_path / "golden.gguf", "jarvis")
    for isa in isa_list():
        with NativeModel(path, isa) as model, model.session(n_threads=1) as session:
            error = np.abs(session.eval_all(expected["text_ids"]) - logits).max()
            assert error <= 2e-4, (isa, error)
            for prompt in expected["prompts"]:
                assert model.tokenize(prompt["text"]) == prompt["ids"]
                assert model.detokenize(prompt["greedy"]).decode() == prompt["continuation"]

            def likeliest(ids: list[int], session: Any = session) -> int:
                session.rollback(0)
                session.eval(ids)
                return int(session.logits().argmax())

            check_texts(likeliest, expected)


@pytest.mark.parametrize(("recipe", "most"), [("f16", 0.001), ("q8", 0.005), ("q4", 0.3)])
def test_quantized_files_stay_near(tmp_path: Path, recipe: str, most: float, expected: dict[str, Any], logits: np.ndarray) -> None:
    p = np.exp(logits.astype(np.float64))
    p /= p.sum(-1, keepdims=True)
    with NativeModel(convert(tmp_path / "golden.gguf", "jarvis", recipe)) as model, model.session(n_threads=1) as session:
        q = np.exp(session.eval_all(expected["text_ids"]).astype(np.float64))
    kl = (p * np.log(p / (q / q.sum(-1, keepdims=True)))).sum(-1).mean()
    assert kl <= most, kl


def test_stock_llama_cpp_writes_the_same_text(tmp_path: Path, expected: dict[str, Any], logits: np.ndarray) -> None:
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    llama_cpp = library("the golden text")
    path = convert(tmp_path / "golden.gguf", "gpt2")
    model = llama_cpp.Llama(str(path), n_ctx=0, n_threads=1, n_threads_batch=1, logits_all=True, verbose=False)
    try:
        model.eval(expected["text_ids"])
        error = np.abs(np.array(model.scores[: len(logits)]) - logits).max()
        assert error <= 5e-2, error
        for prompt in expected["prompts"]:
            assert model.tokenize(prompt["text"].encode(), add_bos=True) == prompt["ids"]

        def likeliest(ids: list[int]) -> int:
            model.reset()
            model.eval(ids)
            return int(np.array(model.scores[len(ids) - 1]).argmax())

        check_texts(likeliest, expected)
    finally:
        model.close()
