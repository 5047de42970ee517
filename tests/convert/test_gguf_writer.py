"""What the writer puts into a file: keys, tokenizer, tensors and fallbacks of docs/formats.md; and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from qig_edge import __version__
from qig_edge.convert.gguf_writer import write_gguf
from qig_edge.convert.keys import Origin
from qig_edge.convert.names import tensor_names
from qig_edge.convert.recipe import load_recipe, parse
from qig_edge.errors import CheckpointError
from qig_edge.model.kernel import Kernel
from qig_edge.runtime.native import NativeModel
from qig_edge.train.tokenizer import CHAT_TEMPLATE, CONTROL, encode_documents
from tests.convert.tiny import (
    DEPTHS,
    GGUF_RECIPES,
    KINDS,
    TEXT,
    TWINS,
    VOCAB,
    random_kernel,
    tiny_config,
    tiny_tokenizer,
    write,
)


def opened(path: Path) -> gguf.GGUFReader:
    NativeModel(path).close()  # the Python reader trusts what it reads
    return gguf.GGUFReader(path)


def documented_keys(repository: Path) -> set[str]:
    """Keys in the first column of docs/formats.md's table; ".name" continues the key before it."""
    section = (repository / "docs" / "formats.md").read_text("utf-8").split("### Keys")[1].split("### Tensors")[0]
    keys = set()
    for row in re.findall(r"^\| (`.+?) \|", section, re.M):
        names = re.findall(r"`([^`]+)`", row)
        for name in names:
            keys.add(names[0].rpartition(".")[0] + name if name.startswith(".") else name)
    return keys


@pytest.mark.parametrize("kind", {**KINDS, **DEPTHS})
def test_keys_are_the_documented_ones(tmp_path: Path, repository: Path, kind: str) -> None:
    config = tiny_config(**{**KINDS, **DEPTHS}[kind])
    write(tmp_path / "m.gguf", Kernel(config), "q4")
    fields = opened(tmp_path / "m.gguf").fields
    written = {k for k in fields if not k.startswith("GGUF.")}
    documented = documented_keys(repository)
    assert len(documented) > 30
    present = (  # keys that stand in a file only where the model has the part, or where it was told of its origin
        (False, ("general.type", "general.size_label", "general.quantized_by", "general.license", "general.base_model.")),
        (False, ("qig.checkpoint.sha256", "qig.recipe", "qig.parameters.")),
        (config.state == "diagonal", "qig.attention.state_phases"),
        (config.decay, "qig.attention.decay_slopes"),
        (config.gate_learnt, "qig.gate.learnt"),
        (config.code_rate > 0, "qig.code_rate."),
        (config.adaptive, "qig.mandatory_blocks"),
        (config.shallow_dim > 0, "qig.shallow_length"),
        (config.regime, "qig.regime."),
        (config.exit_first > 0, "qig.exit."),
        (config.decoherence_modes > 0, "qig.decoherence."),
        (config.recursion_max_loops > 0, "qig.recursion."),
        (config.symmetry_rank > 0, "qig.symmetry."),
        (config.confidence_learnt, "qig.confidence."),
        (config.draft_lag > 0, "qig.draft."),
        (config.regime_breakdown_coupling != 1, "qig.regime.coupling"),
    )
    absent = {key for key in documented for there, start in present if key.startswith(start) and not there}
    documented.remove("tokenizer.ggml.*")  # they have a section of their own there
    assert {key for key in written if not key.startswith("tokenizer.ggml.")} == documented - absent
    values = {k: fields[k].contents() for k in written}
    assert (values["general.architecture"], values["general.name"], values["general.alignment"]) == ("qig", "tiny", 32)
    assert values["qig.context_length"] == config.context_length
    assert values["qig.attention.metric"] == config.metric
    assert values["qig.gate.margin"] == np.float32(config.gate_margin)
    assert values["tokenizer.chat_template"] == CHAT_TEMPLATE
    assert [values[f"qig.chat.{k}"] for k in ("system", "user", "assistant", "end")] == list(CONTROL[1:])
    if config.decay:
        assert values["qig.attention.decay_slopes"] == config.decay_slopes()


ORIGIN = Origin("Apache-2.0", "step-00000020", "ab" * 32, "q8")
LICENCES = ("Apache-2.0", None)


@pytest.mark.parametrize("licence", LICENCES)
@pytest.mark.parametrize("kind", ["pure", "twin"])
def test_where_a_file_comes_from(tmp_path: Path, repository: Path, kind: str, licence: str | None) -> None:
    config = tiny_config(**(TWINS | KINDS)[kind])
    origin = dataclasses.replace(ORIGIN, licence=licence)
    write_gguf(tmp_path / "m.gguf", Kernel(config), tiny_tokenizer(), load_recipe("q8"), "Mine", origin=origin)
    values = {k: f.contents() for k, f in opened(tmp_path / "m.gguf").fields.items()}
    wanted = {
        "general.name": "Mine",
        "general.type": "model",
        "general.size_label": f"{config.param_counts()['total'] / 1e6:.3g}M",
        "general.quantized_by": f"qig-edge {__version__}",
        "general.file_type": gguf.LlamaFileType.MOSTLY_Q8_0,
        "general.quantization_version": gguf.GGML_QUANT_VERSION,
        "general.base_model.count": 1,
        "general.base_model.0.name": "Mine",
        "general.base_model.0.version": "step-00000020",
        "qig.checkpoint.sha256": "ab" * 32,
        "qig.recipe": "q8",
        f"{'qig' if kind == 'pure' else 'arcee'}.context_length": config.context_length,
        "tokenizer.ggml.model": "gpt2",
    }
    assert {key: values[key] for key in wanted} == wanted
    assert values.get("general.license") == licence
    known = {value.format(id=0) for name, value in vars(gguf.Keys.General).items() if not name.startswith("_")}
    ours = {key for key in values if key.startswith("general.")}
    assert len(ours) > 8 and ours <= known
    assert {key for key in values if key.startswith("qig.") and "chat" not in key} & documented_keys(repository)


Q4_1 = 'what = "w"\nsuffix = "s"\nmax_kl = 1\n[types]\n"*" = "q4_1"\n'


@pytest.mark.parametrize("kind", ["pure", "everything, diagonal, probed", "twin"])
def test_gguf_dump_reads_every_file(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The gguf package's own program, on each recipe's file and on one with Q4_1."""
    from gguf.scripts import gguf_dump

    config = tiny_config(**(TWINS | KINDS | DEPTHS)[kind])
    model, dumped = random_kernel(config, 2), set()
    for recipe in (*map(load_recipe, GGUF_RECIPES), parse(Q4_1, "test", "q4_1")):
        path = tmp_path / f"{recipe.name}.gguf"
        origin = dataclasses.replace(ORIGIN, recipe=recipe.name, parameters={"attention_temperature": 0.1, "show_telemetry": False})
        write_gguf(path, model, tiny_tokenizer(), recipe, "Mine", origin=origin)
        NativeModel(path).close()
        monkeypatch.setattr("sys.argv", ["gguf-dump", "--json", str(path)])
        gguf_dump.main()
        told = json.loads(capsys.readouterr().out)
        assert told["metadata"]["qig.recipe"]["value"] == recipe.name
        assert told["metadata"]["qig.checkpoint.sha256"]["value"] == ORIGIN.sha256
        assert set(told["tensors"]) == {t.gguf for t in tensor_names(config)}
        dumped |= {t["type"] for t in told["tensors"].values()}
    assert dumped == {"F32", "F16", "Q8_0", "Q4_0", "Q4_1"}


@pytest.mark.parametrize("recipe", ["f32", "f16", "q8", "q4"])
def test_tensors_hold_the_weights(tmp_path: Path, recipe: str) -> None:
    model = random_kernel(tiny_config(state="diagonal", head_rank=64), 3)
    write(tmp_path / "m.gguf", model, recipe)
    stored = {t.name: t for t in opened(tmp_path / "m.gguf").tensors}
    names = tensor_names(model.config)
    assert set(stored) == {n.gguf for n in names}
    weights = model.state_dict()
    for n in names:
        t = stored[n.gguf]
        kind = gguf.GGMLQuantizationType[load_recipe(recipe).kind(n).upper()]
        assert t.tensor_type == kind
        assert tuple(t.shape) == n.shape[::-1]
        w = weights[n.torch].numpy()
        w = np.exp(w.astype(np.float64)).astype(np.float32) if n.exponential else w
        assert t.data.tobytes() == gguf.quants.quantize(w, kind).tobytes(), n.gguf


def test_odd_rows_become_f16_with_a_note(tmp_path: Path) -> None:
    model = random_kernel(tiny_config(hidden_dim=80, basin_dim=48), 1)
    written = write(tmp_path / "m.gguf", model, "q4")
    kinds = {t.name: t.tensor_type.name for t in opened(tmp_path / "m.gguf").tensors}
    assert {k for k, v in kinds.items() if v == "F16"} == {
        "token_embd.weight", "basin_proj.weight", "blk.0.ffn_down.weight", "blk.1.ffn_down.weight"
    }  # fmt: skip
    assert written.notes == [
        "2 tensors (token_embd.weight, ...) are F16: rows of 48 weights do not divide into blocks of 32",
        "2 tensors (blk.0.ffn_down.weight, ...) are F16: rows of 80 weights do not divide into blocks of 32",
    ]
    assert not write(tmp_path / "m.gguf", model, "f32").notes
    with NativeModel(tmp_path / "m.gguf") as native, native.session() as session:
        session.eval([1, 2, 3])


def test_tokenizer_comes_back(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    write(tmp_path / "m.gguf", Kernel(tiny_config()), "q8", tokenizer)
    with NativeModel(tmp_path / "m.gguf") as native:
        for text in (*TEXT, "<|end|> is text here", "", " ", "\x00\x7f\u0085 �"):
            tokenizer.encode_special_tokens = True
            assert native.tokenize(text) == tokenizer.encode(text).ids
            tokenizer.encode_special_tokens = False
            assert native.tokenize(text, parse_special=True) == tokenizer.encode(text).ids
            assert native.detokenize(native.tokenize(text)).decode() == text
        assert (native.eos, native.eot) == (0, 4)
        turns = (("system", "Be brief."), ("user", "The hen? <|end|>"), ("assistant", "No."))
        from qig_edge.train.sources import Document

        assert [i for role, text in turns for i in native.chat_turn(role, text)] + [0] == encode_documents(
            tokenizer, [Document(turns)]
        )[0]


def test_a_smaller_tokenizer_is_filled_up(tmp_path: Path) -> None:
    """Ids that no text has are control tokens: drawn by chance they show nothing."""
    tokenizer = tiny_tokenizer(280)
    write(tmp_path / "m.gguf", Kernel(tiny_config()), "q4", tokenizer)
    with NativeModel(tmp_path / "m.gguf") as native:
        assert native.info.vocab_size == VOCAB
        assert native.token_bytes(290) == b""
        assert native.tokenize(TEXT[0]) == tokenizer.encode(TEXT[0]).ids


def broken(change: dict[str, Any], part: str | None = "model") -> Tokenizer:
    table = json.loads(tiny_tokenizer().to_str())
    (table if part is None else table[part]).update(change)
    return Tokenizer.from_str(json.dumps(table))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Tokenizer(models.WordLevel({"a": 0}, "a")), "model.type is 'WordLevel'"),
        (lambda: broken({"add_prefix_space": True}, "pre_tokenizer"), "add_prefix_space is True"),
        (lambda: broken({"use_regex": False}, "pre_tokenizer"), "use_regex is False"),
        (lambda: broken({"ignore_merges": True}), "ignore_merges is True"),
        (lambda: broken({"dropout": 0.1}), "dropout is 0.1"),
        (lambda: broken({"normalizer": json.loads(normalizers_json())}, None), "normalizer is "),
        (lambda: broken({"pre_tokenizer": None}, None), "pre_tokenizer.type is None"),
        (lambda: tiny_tokenizer(VOCAB + 5), f"has the id {VOCAB + 4}, the model's vocab_size is {VOCAB}"),
    ],
)
def test_other_tokenizers_are_refused(tmp_path: Path, make: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=re.escape(message)):
        write(tmp_path / "m.gguf", Kernel(tiny_config()), "f32", make())


def normalizers_json() -> str:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    return json.dumps(json.loads(tokenizer.to_str())["normalizer"])


@pytest.mark.parametrize(
    ("value", "recipe", "message"),
    [
        (float("nan"), "f32", "blocks.1.ffn.up.weight holds values that are not finite"),
        (float("inf"), "q4", "blocks.1.ffn.up.weight holds values that are not finite"),
        (1e5, "f16", "holds 100000, more than f16 can"),
        (-1e6, "q4", "more than q4_0 can"),
        (1e7, "q8", "more than q8_0 can"),
    ],
)
def test_weights_that_do_not_fit_are_named(tmp_path: Path, value: float, recipe: str, message: str) -> None:
    model = Kernel(tiny_config())
    with torch.no_grad():
        model.blocks[1].ffn.up.weight[3, 5] = value
    with pytest.raises(CheckpointError, match=re.escape(message)):
        write(tmp_path / "m.gguf", model, recipe)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"attention": "dot", "basin_dim": 0}, "attention = 'dot' with decay = True has no GGUF form"),
        ({"attention": "dot", "decay": False}, "attention = 'dot' with basin_dim = 32 has no GGUF form"),
        ({"attention": "dot", "basin_dim": 0, "decay": False, "head_rank": 32}, "attention = 'dot' with head_rank = 32"),
        ({"attention": "dot", "basin_dim": 0, "decay": False, "shallow_dim": 32}, "attention = 'dot' with shallow_dim = 32"),
    ],
)
def test_models_without_a_form_are_refused(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=re.escape(message)):
        write(tmp_path / "m.gguf", Kernel(tiny_config(**fields)), "q4")
    assert not (tmp_path / "m.gguf").exists()
