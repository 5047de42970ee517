"""The two ways of storing the feed-forward's second matrix: both compute what torch does, one reads less, and convert chooses and says why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from qig_edge.cli import main
from qig_edge.convert import orientation
from qig_edge.convert.gguf_writer import write_gguf
from qig_edge.convert.names import tensor_names
from qig_edge.convert.recipe import load_recipe, parts
from qig_edge.convert.verify import HeldOut
from qig_edge.devices.profile import load_profile
from qig_edge.errors import ConfigError
from qig_edge.model.kernel import Kernel
from qig_edge.model.quant import round_a8, round_q4_0
from qig_edge.runtime.native import NativeModel, isa_list
from qig_edge.train import checkpoint
from tests.convert.tiny import KINDS, VOCAB, random_kernel, tiny_config, tiny_tokenizer

Output = pytest.CaptureFixture[str]
TOKENS = 32
TOKENIZER = tiny_tokenizer()
SEEDS = (0, 1, 2)
CLOSE, LIMIT = 1e-4, 0.25  # of the logits' standard deviation, as in test_engines_agree


def sparse_file(path: Path, model: Kernel, recipe: str, sparse: bool = True) -> Path:
    write_gguf(path, model, TOKENIZER, load_recipe(recipe), "tiny", sparse_down=sparse)
    return path


def inputs_of_down(model: Kernel, ids: list[int]) -> dict[str, torch.Tensor]:
    """Hidden units [tokens, hidden] of each feed-forward."""
    seen: dict[str, torch.Tensor] = {}
    hooks = [
        p.register_forward_pre_hook(lambda _, x, name=name: seen.update({name: x[0][0]}))
        for name, p in model.products()
        if name.endswith(".ffn.down")
    ]
    with torch.no_grad():
        model(torch.tensor([ids]))
    for hook in hooks:
        hook.remove()
    return seen


def test_names_and_shapes_of_the_transpose() -> None:
    config = tiny_config()
    dense, sparse = tensor_names(config), tensor_names(config, sparse_down=True)
    assert [t.torch for t in dense] == [t.torch for t in sparse]
    changed = [(a, b) for a, b in zip(dense, sparse, strict=True) if a != b]
    assert [b.gguf for _, b in changed] == ["blk.0.ffn_down_t.weight", "blk.1.ffn_down_t.weight"]
    assert all(b.transposed and b.shape == a.shape[::-1] and b.part == a.part for a, b in changed)


def test_parts_round_along_the_outputs() -> None:
    config, q4 = tiny_config(), load_recipe("q4")
    kinds = parts(config, q4, sparse_down=True)
    assert {k for k, v in kinds.items() if v == "q4_0_t"} == {"blocks.0.ffn.down", "blocks.1.ffn.down"}
    assert {k: v.removesuffix("_t") for k, v in kinds.items()} == parts(config, q4)
    model = random_kernel(config, 0)
    model.fake_quantize(kinds, True)
    down, x = dict(model.products())["blocks.0.ffn.down"], torch.rand(3, config.hidden_dim)
    with torch.no_grad():
        got, want = down(x), round_a8(x) @ round_q4_0(down.weight.T.contiguous())
    assert torch.allclose(got, want, rtol=0, atol=1e-5)


@pytest.mark.parametrize("recipe", ["f32", "f16", "q8", "q4"])
@pytest.mark.parametrize("kind", ["pure", "diagonal, phases, gates", "own head"])
def test_file_computes_what_torch_rounds_to(tmp_path: Path, kind: str, recipe: str) -> None:
    close, ran = [], 0
    for seed in SEEDS:
        model = random_kernel(tiny_config(**KINDS[kind]), seed)
        path = sparse_file(tmp_path / "m.gguf", model, recipe)
        ids = torch.randint(5, VOCAB, (1, TOKENS))
        model.fake_quantize(parts(model.config, load_recipe(recipe), sparse_down=True), recipe != "f32")
        with torch.no_grad():
            expected = model(ids).logits[0].numpy()
        for isa in isa_list():
            with NativeModel(path, isa) as native:
                with native.session(n_threads=1) as session:
                    at_once = session.eval_all(ids[0].tolist())
                with native.session(n_threads=3, n_batch=5) as session:
                    assert (session.eval_all(ids[0].tolist()) == at_once).all(), "batch or threads show"
                with native.session(n_threads=2) as session:
                    for i, token in enumerate(ids[0].tolist()):
                        session.eval([token])
                        assert (session.logits() == at_once[i]).all(), (isa, i)
            error = np.abs(at_once - expected).max(-1) / expected.std()
            assert error.max() <= (CLOSE if recipe == "f32" else LIMIT), (seed, isa, error.max())
            close += [e <= CLOSE for e in error]
            ran += 1
    assert ran == len(SEEDS) * len(isa_list())
    assert np.mean(close) >= 0.25, f"{np.mean(close):.0%} of the rows agree to {CLOSE}"


def test_only_rows_of_active_units_are_counted_as_read(tmp_path: Path) -> None:
    model = random_kernel(tiny_config(), 3)
    ids = list(range(20, 20 + TOKENS))
    active = sum(x.count_nonzero(-1) for x in inputs_of_down(model, ids).values())
    assert isinstance(active, torch.Tensor) and active.min() > 0 and active.max() < 2 * model.config.hidden_dim
    read = []
    for sparse in (False, True):
        path = sparse_file(tmp_path / f"{sparse}.gguf", model, "f32", sparse)
        with NativeModel(path) as native, native.session(n_threads=1) as session:
            for token in ids:
                session.eval([token])
            read.append([session.telemetry(i).bytes_read for i in range(TOKENS)])
    row = 4 * model.config.d_model
    whole = model.config.n_layers * model.config.hidden_dim * row
    # an activation within rounding of 0 may be on either side of it
    off = np.array(read[0]) - whole + active.numpy() * row - np.array(read[1])
    assert (np.abs(off) <= row).all() and (off == 0).mean() > 0.9


def test_widths_that_do_not_divide_are_f16(tmp_path: Path) -> None:
    for fields in ({"hidden_dim": 80}, {"d_model": 72, "head_dim": 16, "n_heads": 2, "n_kv_heads": 1}):
        model = random_kernel(tiny_config(**fields), 1)
        path = tmp_path / "m.gguf"
        written = write_gguf(path, model, TOKENIZER, load_recipe("q4"), "tiny", sparse_down=True)
        assert any("ffn_down_t" in note and "are F16" in note for note in written.notes) or "d_model" in fields
        with NativeModel(path) as native:
            types = {t.name: t.type for t in native.tensors()}
            assert types["blk.0.ffn_down_t.weight"] == "F16"
            with native.session() as session:
                session.eval([1, 2, 3])
                assert np.isfinite(session.logits()).all()


@pytest.mark.parametrize("recipe", ["f32", "q4"])
def test_share_of_active_units(recipe: str) -> None:
    model, ids = random_kernel(tiny_config(), 4), list(range(20, 53))
    units = torch.cat([round_a8(x) if recipe == "q4" else x for x in inputs_of_down(model, ids[:-1]).values()])
    share = orientation.active_share(model, load_recipe(recipe), HeldOut([ids], "a test"))
    assert share == pytest.approx(float((units != 0).float().mean()), abs=1e-6)
    assert 0.1 < share < 0.9
    assert not any(p._forward_pre_hooks for _, p in model.products())


def test_what_the_bytes_decide() -> None:
    rpi4, laptop = load_profile("rpi4"), load_profile("laptop")
    for share, sparse in ((0.1, True), (0.44, True), (0.47, False), (0.9, False)):
        choice = orientation.of_profile(rpi4, share)
        assert choice is not None and choice.sparse == sparse and choice.share == share
        assert f"{share:.1%}" in choice.why and "rpi4" in choice.why
    assert orientation.of_profile(laptop, 0.2) is None
    hopeless = orientation.of_profile(laptop, 0.8)
    assert hopeless is not None and not hopeless.sparse and "80.0%" in hopeless.why


# --- the command ---------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "little"
    checkpoint.write(out, random_kernel(tiny_config(), 5), TOKENIZER, None)
    return out


def convert(*args: str | Path) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(["convert", *map(str, args)])
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


def is_sparse(path: Path) -> bool:
    with NativeModel(path) as model:
        names = {t.name for t in model.tensors()}
    assert len({"blk.0.ffn_down.weight", "blk.0.ffn_down_t.weight"} & names) == 1
    return "blk.0.ffn_down_t.weight" in names


@pytest.mark.parametrize(
    ("options", "timed", "sparse", "why"),
    [
        (["--ffn-down", "dense"], None, False, "dense, as asked for"),
        (["--ffn-down", "sparse", "--no-verify"], None, True, "sparse, as asked for"),
        (["--device", "rpi4"], None, None, "for rpi4"),
        ([], (1e-3, 0.5e-3), True, "the dense file decodes 1000 tokens/s, the sparse one 2000 (+100.0%)"),
        ([], (1e-3, 1.1e-3), False, "the dense file decodes 1000 tokens/s, the sparse one 909 (-9.1%)"),
        (["--ffn-down", "auto", "--f32"], (1e-3, 0.99e-3), False, "the sparse one 1010 (+1.0%)"),
    ],
)
def test_choice_of_the_command(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Output,
    folder: Path,
    options: list[str],
    timed: tuple[float, float] | None,
    sparse: bool | None,
    why: str,
) -> None:
    files: list[Any] = []

    def seconds(dense: NativeModel, other: NativeModel, ids: list[int]) -> tuple[float, float]:
        files.append((is_sparse(dense.path), is_sparse(other.path), len(ids)))
        assert timed is not None, "nothing is to be timed"
        return timed

    monkeypatch.setattr(orientation, "decode_seconds", seconds)
    target = tmp_path / "m.gguf"
    assert convert(folder, "-o", target, "--json", *options) == 0
    out, err = capsys.readouterr()
    facts = json.loads(out)
    assert why in facts["ffn_down_why"] and facts["ffn_down_why"] in err
    assert facts["ffn_down"] == ("sparse" if is_sparse(target) else "dense")
    if sparse is not None:
        assert is_sparse(target) == sparse
    assert files == ([(False, True, orientation.PROMPT + orientation.DECODE)] if timed else [])
    assert (facts["active_share"] is None) == ("as asked for" in why)
    if sparse is None:
        assert is_sparse(target) == (facts["active_share"] * orientation.DEARER < 1)
    assert list(tmp_path.iterdir()) == [target]


def test_auto_times_both_for_real(tmp_path: Path, capsys: Output, folder: Path) -> None:
    assert convert(folder, "-o", tmp_path / "m.gguf", "--json", "--no-verify") == 0
    facts = json.loads(capsys.readouterr().out)
    dense, sparse = facts["decode"]
    assert dense > 0 and sparse > 0
    assert (facts["ffn_down"] == "sparse") == (sparse >= orientation.GAIN * dense) == is_sparse(tmp_path / "m.gguf")


def test_refusals(tmp_path: Path, capsys: Output, folder: Path) -> None:
    for options, message in (
        (["--ffn-down", "fast"], "--ffn-down 'fast' must be one of auto, dense, sparse"),
        (["--device", "toaster"], "unknown device 'toaster'"),
    ):
        assert convert(folder, "-o", tmp_path / "m.gguf", *options) == 2
        out, err = capsys.readouterr()
        assert out == "" and message in err and err.count("\n") == 1
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConfigError):
        orientation.check_choice("")


@pytest.fixture(autouse=True)
def quiet_threads() -> Iterator[None]:
    """convert sets torch's thread count for small models: it is put back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
