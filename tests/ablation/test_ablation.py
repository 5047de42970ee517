"""The ablation: its rows, one of them trained and measured for real, interrupted and resumed, and the table."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from qig_edge.ablation.report import lines, results, state_lines, write
from qig_edge.ablation.rows import CHANGES, EQUAL, FULL, TWIN, block_weights, equal_bytes, make, rows
from qig_edge.ablation.run import claimed, model_file
from qig_edge.cli import app
from qig_edge.config import load_preset, preset_model, qig_config
from qig_edge.errors import ConfigError
from qig_edge.train.config import TrainConfig

PRESET = "qig-micro"
TINY = """[model]
vocab_size = 300
d_model = 32
n_layers = 4
n_heads = 2
n_kv_heads = 1
head_dim = 32
hidden_dim = 64
basin_dim = 32
context_length = 64
gate_learnt = true
shallow_dim = 32
regime = true
exit_first = 2
decoherence_modes = 8
confidence_learnt = true

[train]
tokens = 2048
batch_tokens = 256
micro_tokens = 256
context = 32
final_context = 32
warmup_tokens = 256
eval_tokens = 2048
save_tokens = 512
validation_permille = 100
weight_exits = 0.1
weight_calibration = 0.1
precision = "float32"
"""


def preset() -> tuple[object, TrainConfig]:
    tables = load_preset(PRESET)
    return qig_config(tables["model"], PRESET), TrainConfig.from_dict(tables["train"])


def test_every_row_differs_and_its_settings_fit() -> None:
    model, train = preset()
    found = rows(model, train)  # type: ignore[arg-type]
    assert found[0].name == FULL and len(found) >= 15
    assert len({(r.model, r.train) for r in found}) == len(found)
    for row in found:
        row.train.check_model(row.model)
        assert row.what
    assert set(CHANGES) - {EQUAL} >= {r.name for r in found}
    with pytest.raises(ConfigError, match="row 'nothing' must be one of full"):
        make("nothing", model, train)  # type: ignore[arg-type]


def test_twin_and_equal_bytes_have_the_size_they_are_named_after() -> None:
    model, train = preset()
    twin = make(TWIN, model, train).model  # type: ignore[arg-type]
    assert abs(twin.param_counts()["total"] / preset_model(PRESET).param_counts()["total"] - 1) < 0.03
    for share in (0.4, 0.6, 0.9):
        full = preset_model(PRESET)
        target = share * full.n_layers * sum(block_weights(full))
        row = equal_bytes(full, train, target)
        assert abs(row.model.n_layers * sum(block_weights(row.model)) / target - 1) < 0.1
        assert not row.model.adaptive


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "tiny.toml").write_text(TINY)
    texts = (f"The fox number {i} ran over hill {i % 7} and sat down with {i % 5} hens." for i in range(600))
    (tmp_path / "text.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return tmp_path / "tiny.toml", tmp_path / "text.jsonl"


def test_rows_are_trained_measured_and_not_trained_twice(tmp_path: Path, files: tuple[Path, Path]) -> None:
    toml, text = files
    out = tmp_path / "out"
    command = ["ablate", "--preset", str(toml), "--data", str(text), "--out", str(out), "--threads", "1"]
    done = CliRunner().invoke(app, [*command, "--only", "full", "--only", "attention alone", "--only", "equal bytes"])
    assert done.exit_code == 0, done.output
    found = results(out)
    assert list(found) == ["full", "attention alone", "equal bytes"]
    full = found["full"][0]
    assert full["bits_per_byte"]["all"] > 0 and set(full["puzzles"]) >= {"1", "5", "all"}
    assert 0 < full["active_pairs"] <= 1 and 2 <= full["blocks_run"] <= 4
    plain = found["attention alone"][0]
    assert plain["blocks_run"] == 4 and plain["block_weights_share"] == 1 and plain["active_pairs"] == 1
    table = (out / "ablation.md").read_text()
    assert "| full |" in table and "tok/s" in table and (out / "ablation.png").stat().st_size > 1000
    before = {p: p.stat().st_mtime_ns for p in out.glob("rows/*/result.json")}
    again = CliRunner().invoke(app, [*command, "--table"])
    assert again.exit_code == 0 and before == {p: p.stat().st_mtime_ns for p in out.glob("rows/*/result.json")}
    again = CliRunner().invoke(app, [*command, "--only", "full", "--only", "equal bytes"])
    assert again.exit_code == 0 and before == {p: p.stat().st_mtime_ns for p in out.glob("rows/*/result.json")}
    other = CliRunner().invoke(app, [*command, "--only", "full", "--tokens", "4096"])
    assert isinstance(other.exception, ConfigError) and "was trained with train.tokens = 2048, this is 4096" in str(
        other.exception
    )


def test_a_row_belongs_to_one_process_at_a_time(tmp_path: Path) -> None:
    with claimed(tmp_path / "row") as first:
        assert first
        with claimed(tmp_path / "row") as second:
            assert not second
        assert (tmp_path / "row" / "claim").read_text() == str(os.getpid())
    assert not (tmp_path / "row" / "claim").exists()
    (tmp_path / "row" / "claim").write_text("999999999")  # of a process that died
    with claimed(tmp_path / "row") as third:
        assert third


def test_the_table_shows_spread_and_what_is_missing(tmp_path: Path) -> None:
    model = preset_model(PRESET).to_dict()
    base = {
        "parameters": 800_000,
        "puzzles": {"1": 0.5, "all": 0.25},
        "active_pairs": 0.2,
        "blocks_run": 6.5,
        "block_weights_read": 400_000.0,
        "phi": 0.5,
        "regimes": [0.1, 0.87, 0.03],
        "deep_share": 0.4,
        "active_units": 0.2,
        "beta": 0.43,
        "temperatures": [0.1],
        "model": model,
    }
    for name, seed, bits in (("full", 1, 2.0), ("full", 2, 2.1), ("no routing", 1, 1.9), ("no decay", 3, 1.8)):
        folder = tmp_path / "rows" / f"{name}-{seed}"
        folder.mkdir(parents=True)
        result = {**base, "name": name, "seed": seed, "bits_per_byte": {"all": bits}}
        (folder / "result.json").write_text(json.dumps(result))
    table = lines(results(tmp_path), {"full": 1000.0})
    assert "2.0500 ± 0.0500" in table[2] and "| 1000 |" in table[2]
    assert "-5.00%" in table[3] and table[3].endswith("| - |") and "50 - - - -" in table[3]
    assert "| 1.8000 |  |" in table[4]  # no full model of that seed: nothing to hold it against
    assert "10% / 87% / 3%" in state_lines(results(tmp_path))[2]
    assert write(tmp_path, {})[1].is_file()


def test_bad_input_is_one_line(tmp_path: Path, files: tuple[Path, Path]) -> None:
    toml, text = files
    for arguments, message in (
        (["--preset", "qig-none", "--data", str(text)], "unknown preset"),
        (
            ["--preset", str(toml), "--data", str(text), "--only", "everything"],
            "--only 'everything' must be one of full",
        ),
        (["--preset", str(toml), "--data", str(tmp_path / "none.txt")], "none.txt"),
        (["--preset", str(toml), "--data", str(text), "--table"], "holds no finished row"),
    ):
        done = CliRunner().invoke(app, ["ablate", "--out", str(tmp_path / "o"), *arguments])
        assert done.exit_code != 0
        assert message in (done.output + str(done.exception)), (done.output, done.exception)


def test_a_row_of_dot_products_has_a_file_unless_it_decays(tmp_path: Path) -> None:
    """The speed of the dense twin comes from it: written from the checkpoint of a row that was trained before there was such a file."""
    from qig_edge.runtime.native import NativeModel
    from qig_edge.train import checkpoint
    from tests.convert.tiny import TWINS, random_kernel, tiny_config, tiny_tokenizer

    twin, decays, gone = tmp_path / "twin", tmp_path / "decays", tmp_path / "gone"
    gone.mkdir()
    for folder, fields in ((twin, TWINS["twin"]), (decays, {**TWINS["twin"], "decay": True})):
        checkpoint.write(folder, random_kernel(tiny_config(**fields), 1), tiny_tokenizer(), None)
    file = model_file(TWIN, twin)
    assert file == twin / "model-q4_0.gguf"
    with NativeModel(file) as model:
        assert (model.info.architecture, model.info.name) == ("arcee", TWIN)
    written = file.stat().st_mtime_ns
    assert model_file(TWIN, twin) == file and file.stat().st_mtime_ns == written
    assert model_file("dot product", decays) is None and not (decays / "model-q4_0.gguf").exists()
    assert model_file(TWIN, gone) is None
