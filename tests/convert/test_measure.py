"""convert --measure and --recipe: what rounding costs, a recipe for a budget, files by it, their limits; where calibration text comes from."""

from __future__ import annotations

import json
import random
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch

from qig_edge.cli import main
from qig_edge.convert import calibration, measure
from qig_edge.convert.names import tensor_names
from qig_edge.convert.recipe import load_recipe, parse
from qig_edge.errors import ConfigError, DataError
from qig_edge.runtime.native import NativeModel
from qig_edge.train import checkpoint
from tests.convert.tiny import DEPTHS, DRAFT, TWINS, VOCAB, random_kernel, tiny_config, tiny_tokenizer

Output = pytest.CaptureFixture[str]
QUICK = ("--ffn-down", "dense")


def convert(*args: str | Path) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(["convert", *map(str, args)])
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


def error_of(capsys: Output) -> str:
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1, err
    return err


@pytest.fixture(autouse=True)
def little_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "TOKENS", 512)
    monkeypatch.setattr(calibration.sample, "__defaults__", (None, 512))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    at = tmp_path_factory.mktemp("run") / "little" / "step-00000007"
    checkpoint.write(at, random_kernel(tiny_config(), 4), tiny_tokenizer(), None)
    return at


def sample(tokens: int = 256) -> calibration.Sample:
    ids = torch.randint(5, VOCAB, (tokens // 32, 33), generator=torch.Generator().manual_seed(3)).tolist()
    return calibration.Sample(ids, "random ids")


def test_budgets() -> None:
    assert measure.budget_bytes("4.8", 1000) == 600
    assert measure.budget_bytes("32", 1000) == 4000
    assert measure.budget_bytes("33", 1000) == 33
    assert [measure.budget_bytes(text, 8) for text in ("1900000", "1.9MB", "2 kB", "1MiB", "5B")] == [1900000, 1900000, 2000, 1 << 20, 5]
    for text in ("", "0", "-1", "4.8bits", "nan", "1e3", "MB"):
        with pytest.raises(ConfigError, match="bits a weight up to 32 as in 4.8"):
            measure.budget_bytes(text, 8)


@pytest.mark.parametrize("kind", ["exits", "everything, diagonal, probed", "twin"])
def test_moments_are_those_of_the_inputs(kind: str) -> None:
    config = tiny_config(**(DEPTHS | TWINS)[kind])
    model, text = random_kernel(config, 1), sample()
    found = calibration.moments(model, text)
    parts = {t.part for t in tensor_names(config) if t.part}
    assert set(found) <= parts and len(found) > 8
    assert {"embedding", "blocks.0.ffn.down"} <= set(found) and ("draft.input" in found) == ("draft_lag" in (DEPTHS | TWINS)[kind])
    for name, moment in found.items():
        assert moment.shape[0] == moment.shape[1] and np.allclose(moment, moment.T)
        assert np.linalg.eigvalsh(moment).min() > -1e-6 * np.trace(moment), name
    seen = []
    hook = model.blocks[0].attn.q.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        for window in text.windows:
            model(torch.tensor([window[:-1]]))
    hook.remove()
    rows = torch.cat([x.reshape(-1, x.shape[-1]) for x in seen]).double().numpy()
    assert np.allclose(found["blocks.0.attn.q"], rows.T @ rows / len(rows), rtol=1e-4, atol=1e-6)
    assert not any(product.kind for _, product in model.products())


def test_costs_and_what_is_proposed() -> None:
    model, text = random_kernel(tiny_config(), random.randrange(1000)), sample()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    moments = calibration.moments(model, text)
    found = measure.costs(model, moments, text)
    matrices = {t.gguf: t for t in tensor_names(model.config) if t.part}
    assert [c.tensor for c in found] == list(matrices)
    for cost in found:
        assert 0 <= cost.kl["q8_0"] < cost.kl["q4_0"], cost
        assert cost.bytes["q4_0"] == cost.weights * 18 // 32 and cost.bytes["q8_0"] == cost.weights * 34 // 32
    weights = model.config.param_counts()["total"]
    proposals = [measure.propose(model, found, moments, text, int(bits * weights / 8)) for bits in (5.0, 6.0, 7.5)]
    for bits, made in zip((5.0, 6.0, 7.5), proposals, strict=True):
        assert made.bytes <= bits * weights / 8 and made.bits_per_weight <= bits
    assert proposals[0].kl_sum > proposals[1].kl_sum > proposals[2].kl_sum
    assert proposals[0].kl > proposals[2].kl > 0
    # more bytes went where they save most: no single exchange of equal bytes among equal matrices is better
    best = max(found, key=lambda c: (c.kl["q4_0"] - c.kl["q8_0"]) / c.weights)
    assert proposals[1].types[best.tensor] == "q8_0"
    recipe = parse(measure.as_toml(proposals[1], "mine", "a text", 9), "test", "mine")
    assert {name: recipe.kind(t) for name, t in matrices.items()} == proposals[1].types
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not any(product.kind for _, product in model.products())
    with pytest.raises(ConfigError, match="bytes are too few: the cheapest types take"):
        measure.propose(model, found, moments, text, weights // 8)


def test_measure_writes_a_recipe_that_converts(tmp_path: Path, capsys: Output, folder: Path) -> None:
    recipe = tmp_path / "mine.toml"
    assert convert(folder, "--measure", "--budget", "6", "-o", recipe, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["recipe"] == recipe.read_text("utf-8") and told["proposal"]["bits_per_weight"] <= 6
    assert {t["tensor"]: t["proposed"] for t in told["tensors"]}["basin_proj.weight"] in load_recipe(str(recipe)).types[-1] + ("q8_0", "q4_1")
    assert convert(folder, "--recipe", recipe, "-o", tmp_path / "m.gguf", *QUICK, "--no-verify", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["recipe"] == "mine" and abs(facts["bits_per_weight"] - told["proposal"]["bits_per_weight"]) < 1e-6
    with NativeModel(tmp_path / "m.gguf") as model:
        types = {t.name: t.type.lower() for t in model.tensors()}
        assert model.metadata("qig.recipe") == "mine"
    assert {t["tensor"]: t["proposed"] for t in told["tensors"]} == {k: types[k] for k in (t["tensor"] for t in told["tensors"])}
    assert convert(folder, "--measure", "--budget", "6") == 0
    out = capsys.readouterr().out
    assert "token_embd.weight" in out and "[types]" in out


def test_a_recipe_with_q4_1_reads_ffn_down_whole(tmp_path: Path, capsys: Output, folder: Path) -> None:
    (tmp_path / "r.toml").write_text('what = "w"\nsuffix = "s"\nmax_kl = 5\n[types]\n"*.ffn_down*" = "q4_1"\n"*" = "q8_0"\n')
    assert convert(folder, "--recipe", tmp_path / "r.toml", "-o", tmp_path / "m.gguf", "--ffn-down", "sparse") == 2
    assert "stores ffn_down as q4_1, which only the dense product reads" in error_of(capsys)
    assert convert(folder, "--recipe", tmp_path / "r.toml", "-o", tmp_path / "m.gguf", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["ffn_down"] == "dense" and facts["kl"] < 1 and facts["worst_tensor"].endswith("ffn_down.weight")
    assert {t.tensor_type.name for t in gguf.GGUFReader(tmp_path / "m.gguf").tensors if "ffn_down" in t.name} == {"Q4_1"}


def test_a_file_beyond_its_recipes_limit_is_not_kept(tmp_path: Path, capsys: Output, folder: Path) -> None:
    text = 'what = "w"\nsuffix = "s"\nmax_kl = 1e-7\n[types]\n"*" = "q4_0"\n'
    recipe = tmp_path / "strict.toml"
    recipe.write_text(text)
    assert convert(folder, "--recipe", recipe, "-o", tmp_path / "m.gguf", *QUICK) == 2
    line = error_of(capsys)
    assert "nats a token passes max_kl = 1e-07 of recipe 'strict': it is not kept" in line
    assert list(tmp_path.iterdir()) == [recipe]
    assert convert(folder, "--recipe", recipe, "-o", tmp_path / "m.gguf", *QUICK, "--no-verify") == 0
    assert "worst tensor" in capsys.readouterr().err


def test_where_calibration_text_comes_from(tmp_path: Path, capsys: Output, folder: Path) -> None:
    tokenizer = tiny_tokenizer()
    made = calibration.sample(folder, tokenizer, 64)
    assert made.source == "generated stories and talk" and made.tokens > 400 and all(len(w) <= 65 for w in made.windows)
    (tmp_path / "t.txt").write_text("The hen ran over the hill. " * 60, "utf-8")
    given = calibration.sample(folder, tokenizer, 64, tmp_path / "t.txt")
    assert given.source == str(tmp_path / "t.txt") and given.tokens > 100
    fit, seen = given.parted()
    assert fit.tokens + seen.tokens == given.tokens and seen.tokens > 30
    (tmp_path / "short.txt").write_text("Hen.")
    (tmp_path / "latin.txt").write_bytes(b"\xff\xfe")
    for name, message in (("short.txt", "is too short: "), ("latin.txt", "is not UTF-8"), ("none.txt", "No such file")):
        with pytest.raises(DataError, match=message):
            calibration.sample(folder, tokenizer, 64, tmp_path / name)
        assert convert(folder, "-o", tmp_path / "m.gguf", "--calibration", tmp_path / name) == 2
        assert message in error_of(capsys) and not (tmp_path / "m.gguf").exists()
    assert (DRAFT["draft_lag"], VOCAB) == (3, 300)


def test_licences(tmp_path: Path, capsys: Output, folder: Path) -> None:
    card = tmp_path / "little" / "step-00000001"
    checkpoint.write(card, random_kernel(tiny_config(), 4), tiny_tokenizer(), None)
    (card / "README.md").write_text("---\ntags:\n- x\nlicense: cc-by-sa-4.0  # because\n---\nlicense: not this one\n")
    for source, options, licence in ((card, [], "cc-by-sa-4.0"), (card, ["--license", "MIT"], "MIT"), (folder, [], None)):
        assert convert(source, "-o", tmp_path / "m.gguf", "--force", "--f32", "--no-verify", *QUICK, *options) == 0
        with NativeModel(tmp_path / "m.gguf") as model:
            assert model.metadata("general.license") == licence
            digest = model.metadata("qig.checkpoint.sha256")
            assert digest is not None and len(digest) == 64
            assert model.metadata("general.base_model.0.version") == source.name
    capsys.readouterr()
    assert convert(folder, "-o", tmp_path / "n.gguf", "--license", "a\nb") == 2
    assert "--license must be one line" in error_of(capsys)


def test_refusals(tmp_path: Path, capsys: Output, folder: Path) -> None:
    (tmp_path / "bad.toml").write_text('what = "w"\nsuffix = "s"\nmax_kl = 5\nlimit = 3\n[types]\n"*" = "q4_0"\n')
    nan = tmp_path / "nan"
    model = random_kernel(tiny_config(), 1)
    with torch.no_grad():
        model.blocks[0].attn.v.weight[2, 3] = float("nan")
    checkpoint.write(nan, model, tiny_tokenizer(), None)
    mismatch = tmp_path / "mismatch"
    checkpoint.write(mismatch, random_kernel(tiny_config(), 1), tiny_tokenizer(VOCAB + 20), None)
    cases = (
        (folder, ["--recipe", tmp_path / "bad.toml"], "unknown key 'limit': the keys are what, suffix, max_kl, types"),
        (folder, ["--recipe", "q5"], "recipe 'q5' must be one of f16, f32, int8-arm64, int8-x86, int8-x86-vnni, q4, q4-small, q8"),
        (folder, ["--recipe", "q4", "--q8"], "--q8 and --recipe exclude each other"),
        (folder, ["--measure", "--q4"], "--measure tries every type"),
        (folder, ["--budget", "4"], "--budget is of --measure"),
        (folder, ["--measure", "-o", tmp_path / "r.gguf"], "so the name ends in .toml"),
        (folder, ["--measure", "--budget", "many"], "--budget 'many'"),
        (nan, ["--q4"], "blocks.0.attn.v.weight holds values that are not finite"),
        (nan, ["--f32"], "blocks.0.attn.v.weight holds values that are not finite"),
        (nan, ["--measure"], "blocks.0.attn.v.weight holds values that are not finite"),
        (mismatch, ["--q4"], f"the tokenizer has the id {VOCAB + 19}, the model's vocab_size is {VOCAB}"),
    )
    before = sorted(tmp_path.rglob("*"))
    for source, args, message in cases:
        out = [] if "-o" in args or "--measure" in args else ["-o", tmp_path / "m.gguf"]
        assert convert(source, *args, *out) == 2, args
        assert message in error_of(capsys), args
    assert sorted(tmp_path.rglob("*")) == before
