"""The golden model: what torch computed when it was made is what torch, libqig with every kernel set, and the Pi's program compute now.

make.py makes the files. Greedy texts are exact, but for steps listed as near-ties: there the second token may be taken, and the text ends being
compared. Tolerances as in tests/convert/test_engines_agree.py.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qig_edge.devices.crossbuild import build_program
from qig_edge.devices.emulate import emulated, emulator, greedy_text
from qig_edge.devices.host import program_path
from qig_edge.devices.profile import load_profile
from qig_edge.errors import DeviceError, MissingExtra
from qig_edge.runtime.native import NativeModel, isa_list

HERE = Path(__file__).resolve().parent
RECIPE_FILES = {"q4": str(HERE / "q4.toml")}
FILES = {"f32": HERE / "golden-f32.gguf", "q8": HERE / "golden-q8_0.gguf", "q4": HERE / "golden-q4_0.gguf"}
LIMITS = {"f32": 1e-4, "q8": 0.25, "q4": 0.25}  # of the logits; quantized: of their standard deviation
FIELDS = {"phi": 0.02, "surprise": 0.05, "confidence": 0.05, "agency": 0.05, "curvature": 0.03}
ENDS = (0, 4)


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    return json.loads((HERE / "expected.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def logits() -> dict[str, np.ndarray]:
    with np.load(HERE / "logits.npz") as stored:
        return {k: stored[k] for k in stored.files}


def test_files_are_small_and_whole(expected: dict[str, Any], logits: dict[str, np.ndarray]) -> None:
    assert (HERE / "checkpoint" / "model.safetensors").stat().st_size < 1 << 20
    assert not (HERE / "checkpoint" / "trainer.pt").exists()
    assert len(expected["prompts"]) >= 3
    assert all(logits[r].shape == (40, 512) and np.isfinite(logits[r]).all() for r in FILES)
    assert [len(t["text"]) > 10 for t in expected["greedy"]["f32"]] == [True] * len(expected["prompts"])


@pytest.mark.parametrize("recipe", FILES)
def test_torch_still_computes_them(recipe: str, expected: dict[str, Any], logits: dict[str, np.ndarray]) -> None:
    torch = pytest.importorskip("torch")
    from qig_edge.convert.recipe import load_recipe, parts
    from qig_edge.train.checkpoint import load_model

    model = load_model(HERE / "checkpoint")
    model.fake_quantize(parts(model.config, load_recipe(RECIPE_FILES.get(recipe, recipe))), recipe != "f32")
    with torch.no_grad():
        out = model(torch.tensor([expected["text_ids"]]), observe=True)
    assert_close(out.logits[0].numpy(), logits[recipe], recipe)
    share = 1e-2 if recipe == "f32" else 1.0
    for field, tolerance in FIELDS.items():
        assert (
            np.abs(getattr(out.telemetry, field)[0].numpy() - expected["telemetry"][recipe][field]).max()
            <= tolerance * share
        )


def assert_close(ours: np.ndarray, stored: np.ndarray, recipe: str) -> None:
    error = np.abs(ours - stored).max(-1)
    if recipe == "f32":
        assert error.max() <= LIMITS[recipe], error.max()
    else:
        error /= stored.std()
        assert error.max() <= LIMITS[recipe], error.max()
        assert (error <= 1e-4).any(), error.min()


@pytest.mark.parametrize("recipe", FILES)
def test_libqig_computes_them(recipe: str, expected: dict[str, Any], logits: dict[str, np.ndarray]) -> None:
    ids, told = expected["text_ids"], expected["telemetry"][recipe]
    share = 1e-2 if recipe == "f32" else 1.0
    assert len(isa_list()) >= 1
    for isa in isa_list():
        with NativeModel(FILES[recipe], isa) as model:
            with model.session(n_threads=1, prompt_telemetry=True) as session:
                at_once = session.eval_all(ids)
                records = [session.telemetry(i) for i in range(len(ids))]
            assert_close(at_once, logits[recipe], recipe)
            for field, tolerance in FIELDS.items():
                error = np.abs(np.array([getattr(r, field) for r in records]) - told[field]).max()
                assert error <= tolerance * share, (isa, field, error)
            np.testing.assert_allclose([r.kappa for r in records], told["kappa"], rtol=1e-5)
            assert {r.blocks_run for r in records} == {expected["blocks_run"]}
            with model.session(n_threads=2) as session:
                for i, token in enumerate(ids):
                    session.eval([token])
                    assert (session.logits() == at_once[i]).all(), (isa, i)


@pytest.mark.parametrize("recipe", FILES)
def test_greedy_text_of_every_kernel_set(recipe: str, expected: dict[str, Any]) -> None:
    texts = []
    for isa in isa_list():
        with NativeModel(FILES[recipe], isa) as model:
            for prompt, wanted in zip(expected["prompts"], expected["greedy"][recipe], strict=True):
                text = prompt.get("text")
                ids = (
                    model.tokenize(text)
                    if text
                    else [*model.chat_turn("user", prompt["chat"]), *model.chat_turn("assistant", None)]
                )
                assert ids == prompt["ids"]
                texts.append(follow(model, ids, wanted))
                if texts[-1] == len(wanted["ids"]):
                    assert model.detokenize(wanted["ids"]).decode() == wanted["text"]
    assert len(texts) == len(isa_list()) * len(expected["prompts"])
    assert sum(texts) > 0.5 * len(isa_list()) * sum(len(w["ids"]) for w in expected["greedy"][recipe])


def follow(model: NativeModel, prompt: list[int], wanted: dict[str, Any]) -> int:
    """Number of greedy tokens that are the expected ones, all of them unless a listed near-tie went the other way."""
    ties = {t["step"]: t["second"] for t in wanted["near_ties"]}
    with model.session(n_threads=1) as session:
        session.eval(prompt)
        for step, token in enumerate(wanted["ids"]):
            best = int(session.logits().argmax())
            if best != token:
                assert ties.get(step) == best, (
                    f"step {step}: token {best} instead of {token}, and no near-tie is listed there"
                )
                return step
            session.eval([token])
    return len(wanted["ids"])


def test_the_converter_makes_the_files_again(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    import gguf

    from qig_edge.convert.gguf_writer import write_gguf
    from qig_edge.convert.recipe import load_recipe
    from qig_edge.train.checkpoint import load_model
    from qig_edge.train.tokenizer import load_tokenizer

    model, tokenizer = load_model(HERE / "checkpoint"), load_tokenizer(HERE / "checkpoint")
    for recipe, stored in FILES.items():
        path = tmp_path / stored.name
        write_gguf(path, model, tokenizer, load_recipe(RECIPE_FILES.get(recipe, recipe)), "golden")
        if path.read_bytes() == stored.read_bytes():
            continue
        # another version of gguf may order or pad otherwise: what is inside must be the same
        ours, theirs = gguf.GGUFReader(path), gguf.GGUFReader(stored)
        assert {k: f.contents() for k, f in ours.fields.items() if "." in k} == {
            k: f.contents() for k, f in theirs.fields.items() if "." in k
        }
        assert [t.name for t in ours.tensors] == [t.name for t in theirs.tensors]
        assert all((a.data == b.data).all() for a, b in zip(ours.tensors, theirs.tensors, strict=True))


@pytest.mark.slow
def test_the_pis_program_writes_the_same_text(tmp_path: Path, expected: dict[str, Any]) -> None:
    """Static aarch64 program under qemu's model of the Pi 4's processor, and this machine's program, on the golden files."""
    profile = load_profile("rpi4")
    try:
        emulator()
        program = build_program(profile, tmp_path / "qig")
    except (DeviceError, MissingExtra) as e:
        if isinstance(e, DeviceError) and shutil.which("qemu-aarch64-static"):
            raise
        pytest.skip(f"not run under emulation: {e}")
    compared = 0
    for recipe, path in FILES.items():
        for i, prompt in enumerate(expected["prompts"]):
            if "text" not in prompt:
                continue
            here = greedy_text([str(program_path())], path, 24, prompt["text"])
            there = greedy_text(emulated(profile, program), path, 24, prompt["text"])
            wanted = expected["greedy"][recipe][i]
            if not any(t["step"] < 24 for t in wanted["near_ties"]):
                assert here == there
                assert wanted["text"].startswith(here.removeprefix(prompt["text"]).rstrip("\n")), (here, wanted["text"])
                compared += 1
            elif here == there:
                compared += 1
    assert compared >= 5
