"""Predictions: the arithmetic on a made-up device, published measurements predicted from the others, rows that say PREDICTED."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path

import pytest

from qig_edge.bench import diagnose, predict, predicted, validate
from qig_edge.bench.formats import as_csv, as_markdown
from qig_edge.bench.page import write_page
from qig_edge.bench.predict import Constants, Kernels, Machine, Work
from qig_edge.bench.predicted import Counted, count, lines, predicted_row
from qig_edge.bench.random_model import write_random
from qig_edge.bench.rows import load_row
from qig_edge.cli import main
from qig_edge.config import ModelConfig
from qig_edge.devices.profile import load_profile
from qig_edge.errors import ConfigError, DeviceError, ModelFileError

PIS = ("rpi4", "rpi5", "rpi-zero2w")
TOY = Machine("toy", 1e9, ((1, 8.0), (3, 4.0)), 0.1, "read")
LOOPS = Kernels("toy", "libqig", "made up", {"q4_0": [4.0, 12.0], "q8_0": [8.0, 16.0]}, 64.0, 128.0, 10.0)
SHAPE = {
    "d_model": 64,
    "n_layers": 3,
    "n_heads": 4,
    "n_kv_heads": 2,
    "head_dim": 32,
    "hidden_dim": 96,
    "basin_dim": 32,
    "context_length": 64,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("predict") / "tiny.gguf"
    write_random(ModelConfig.from_dict({"vocab_size": 320, **SHAPE}), "tiny", path, seed=3)
    return path


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("predict") / "twin.gguf"
    dense = {**SHAPE, "basin_dim": 0, "attention": "dot", "decay": False}
    write_random(ModelConfig.from_dict({"vocab_size": 320, **dense}), "twin", path, seed=3)
    return path


@pytest.fixture(scope="module")
def counted(model: Path) -> Counted:
    return count(model, [0, 40])


@pytest.fixture(scope="module")
def counted_twin(twin: Path) -> Counted:
    return count(twin, [0, 40])


def test_the_arithmetic_by_hand() -> None:
    assert [TOY.bandwidth(t) for t in (1, 2, 3, 4)] == [8e9, 6e9, 4e9, 4e9]
    # 320 weights of Q4_0 are 10 units of 4 cycles; four columns of a product are 12 cycles together; unknown types count as Q8_0
    assert LOOPS.product({"q4_0": 320}) == 40 and LOOPS.product({"q4_0": 320}, prefill=True) == 30
    assert LOOPS.product({"q4_0": 320, "q9_9": 64}) == 56
    # 10 keys of 64 entries: half of 64 cycles and a score each; 4 values of half of 128 cycles
    assert LOOPS.attention(10, 4, 64) == 10 * (32 + 10) + 4 * 64
    work = Work(bytes=6e6, cycles=1e6, blocks=10)
    assert predict.memory_seconds(work, TOY, 2, 0.5) == pytest.approx(2e-3)
    assert predict.compute_seconds(work, TOY, 2) == pytest.approx(5e-4)
    both = (2e-3**4 + 5e-4**4) ** 0.25
    assert predict.decode_seconds(work, TOY, 2, 0.5, 0) == pytest.approx(both)
    assert predict.decode_seconds(work, TOY, 2, 0.5, 1e5) == pytest.approx(both + 1e-3)
    assert predict.prefill_seconds(1e6, TOY, 4, 0.5) == pytest.approx(5e-4)
    assert predict.prefill_seconds(1e6, TOY, 4, 0.5, memory=1e-3) == pytest.approx((5e-4**4 + 1e-3**4) ** 0.25)


def test_a_device_without_rows_takes_what_its_kind_of_bandwidth_tells() -> None:
    by = Constants({"a": 0.5, "b": 0.9, "c": 0.4}, {}, 0, 0, 0.05, 0.1, {})
    kinds = {"a": "copy", "b": "read", "c": "copy"}
    assert predict.share_of(dataclasses.replace(TOY, name="b"), by, kinds) == (0.9, True)
    assert predict.share_of(dataclasses.replace(TOY, name="x", kind="copy"), by, kinds) == (
        pytest.approx(math.sqrt(0.2)),
        False,
    )
    assert predict.share_of(dataclasses.replace(TOY, name="x", kind="decode"), by, kinds) == (1.0, False)
    with pytest.raises(ConfigError, match="no device"):
        predict.pooled({}, [])


def test_the_fit_finds_constants_that_made_its_rows() -> None:
    """Rows computed with known constants on the profiles' own bandwidths: fitted back to the grid's step, whatever is left out."""
    made = []
    row = next(r for r in validate.rows() if r.device == "rpi5" and not r.excluded)
    for n in range(6):
        device = "rpi4" if n % 2 else "rpi5"
        # small models, in which 300,000 cycles a block can be seen
        r = dataclasses.replace(
            row, device=device, source=f"made {n // 2}", bytes=2e7 * (n + 1), weights={}, threads=1 + n % 4, prefill=0.0
        )
        share = {"rpi4": 0.5, "rpi5": 0.8}[device]
        made.append(dataclasses.replace(r, decode=1 / predict.decode_seconds(r.work, r.machine, r.threads, share, 3e5)))
    fit = validate.Fit(tuple(made))
    for left_out in (set(), {0}, {5}):
        by = fit.without(left_out)
        assert by.share == pytest.approx({"rpi4": 0.5, "rpi5": 0.8}, abs=0.006) and by.block_cycles == pytest.approx(
            3e5, abs=3e4
        )
        assert by.spread < 0.02
    with pytest.raises(ConfigError, match="no measurement is left"):
        fit.without(set(range(6)))


def test_published_measurements_are_predicted_without_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    checked = validate.leave_out()
    with capsys.disabled():
        print()
        for c in checked:
            what = f"{c.row.device:<11}{c.row.model} {c.row.quant}, {c.row.threads} threads"
            left = "  (no test)" if c.row.excluded else f"{c.error:+6.1%}"
            print(
                f"{what:<58} measured {c.row.decode:7.3f}  PREDICTED {c.decode:7.3f} ({c.low:.3f} to {c.high:.3f}) {left}"
            )
    tests = [c for c in checked if c.row.device in PIS and not c.row.excluded]
    assert len(tests) >= 40 and {c.row.device for c in tests} >= {"rpi4", "rpi5"}
    assert len({c.row.source for c in tests}) >= 6
    for c in tests:
        assert abs(c.error) <= 0.25, c.row
        assert 0.7 * c.decode <= c.low < c.decode < c.high <= 1.3 * c.decode, c.row
        assert c.own
    inside = sum(c.low <= c.row.decode <= c.high for c in tests)
    assert inside >= 0.85 * len(tests), "two standard deviations hold most of them"


def test_whole_sources_left_out() -> None:
    """A row's neighbours on its own board do not help it."""
    tests = [c for c in validate.leave_out(whole_sources=True) if not c.row.excluded]
    assert len(tests) >= 40
    assert all(abs(c.error) <= 0.25 for c in tests)


def test_every_row_has_a_source_and_what_is_no_test_a_reason() -> None:
    tables = validate.tomllib.loads(Path(validate.__file__).with_name("validation.toml").read_text("utf-8"))
    urls = {s["name"]: s["url"] for s in tables["sources"]}
    assert all(url.startswith("https://") for url in urls.values()) and all(s["note"] for s in tables["sources"])
    assert {r.source for r in validate.rows()} == set(urls), "a source without rows"
    out = [r for r in validate.rows() if r.excluded]
    assert 0 < len(out) < len(validate.rows()) / 4 and all(len(r.excluded) > 30 for r in out)
    for r in validate.rows():
        assert r.bytes > 0 and r.decode > 0 and r.blocks > 0 and r.weights
        assert bool(r.prefill) == bool(r.prompt) == bool(r.prompt_weights)
        bits = 8 * r.bytes / sum(r.weights.values())
        assert 3.2 < bits < 16.5, r


def test_the_documented_table_is_the_commands(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert validate.main([]) == 0
    printed = capsys.readouterr().out.strip()
    page = (repository / "docs" / "devices.md").read_text("utf-8")
    for part in printed.split("\n\n"):
        assert part in page, "docs/devices.md is older than python -m qig_edge.bench.validate"
    assert validate.main(["--what"]) == 2


def test_what_a_token_reads_and_computes(counted: Counted) -> None:
    blocks = 3 * (2 * 64 * 32 * (4 + 2) + 2 * 64 * 96)
    expected = {"q4_0": blocks + 32 * 64 + (32 + 64) * 32 + (320 - 32) * 32}
    assert (
        set(counted.weights) == {"q4_0"} and 0.8 * expected["q4_0"] < counted.weights["q4_0"] <= 1.2 * expected["q4_0"]
    )
    assert counted.prompt_weights["q4_0"] < counted.weights["q4_0"]
    assert counted.group == 2 and set(counted.depths) == {0, 40}
    assert counted.depths[40]["bytes_per_token"] > counted.depths[0]["bytes_per_token"]
    # tokens 40 to 47 see 41 to 48 keys, in three blocks of two key heads
    assert counted.depths[40]["keys_read"] == 3 * 2 * 44.5


def test_less_of_the_blocks_is_less_of_everything_but_the_head(counted: Counted) -> None:
    half = counted.of_blocks(0.5)
    head = counted.weights["q4_0"] - counted.prompt_weights["q4_0"]
    assert half.weights["q4_0"] == pytest.approx(head + counted.prompt_weights["q4_0"] / 2)
    assert half.depths[40]["keys_read"] == counted.depths[40]["keys_read"] / 2
    assert (
        0.5 * counted.depths[0]["bytes_per_token"]
        < half.depths[0]["bytes_per_token"]
        < counted.depths[0]["bytes_per_token"]
    )
    whole = counted.of_blocks(1.0)
    assert whole.weights == pytest.approx(counted.weights) and whole.depths[40] == pytest.approx(counted.depths[40])


@pytest.mark.parametrize("device", ["rpi4", "rpi5", "rpi-zero2w", "android", "old-laptop"])
@pytest.mark.parametrize("engine", predict.ENGINES)
def test_a_row_is_marked_and_says_what_it_comes_from(
    counted: Counted, counted_twin: Counted, model: Path, device: str, engine: str
) -> None:
    of = counted if engine == "libqig" else counted_twin
    row = predicted_row(load_profile(device), of, model=model, prefill=32, depths=[0, 40], engine=engine)
    result = row["result"]
    assert (
        row["predicted"] is True
        and row["engine"] == engine
        and row["from"]["bandwidth"][0]["source"].startswith("https://")
    )
    assert json.loads(json.dumps(row, allow_nan=False)) == row
    rates = [d["tokens_per_second"] for d in result["decode"]]
    assert all(d["predicted"] is True for d in result["decode"]) and result["prefill"]["predicted"] is True
    assert (result["prefill"]["tokens_per_second"] is None) == (row["from"]["kernels"] is None)
    for rate in [
        *rates,
        *([result["prefill"]["tokens_per_second"], result["first_token"]["ms"]] if row["from"]["kernels"] else []),
    ]:
        assert 0 < rate["min"] < rate["median"] < rate["max"]
    assert 0 < result["peak_rss_range"]["min"] < result["peak_rss_bytes"] < result["peak_rss_range"]["max"]
    assert rates[1]["median"] < rates[0]["median"]
    said = lines(row)
    numbers = [line for line in said if "tok/s" in line or "MiB" in line or " ms " in line]
    assert len(numbers) >= 3 and all("PREDICTED" in line for line in numbers)
    assert any("extrapolated" in line for line in said), "a toy is far below every row"
    assert ("No Raspberry Pi or phone was timed with libqig" in said[-1]) == (engine == "libqig")


def test_threads_are_those_that_decode_fastest_unless_they_are_named(counted: Counted, model: Path) -> None:
    """On the Pi 5 four threads read less than two."""
    big = dataclasses.replace(
        counted, depths={0: {**counted.depths[0], "bytes_per_token": 1e9}}, weights={"q4_0": 1.7e9}
    )
    row = predicted_row(load_profile("rpi5"), big, model=model, depths=[0])
    assert (row["result"]["threads"], row["result"]["threads_batch"]) == (2, 4)
    row = predicted_row(load_profile("rpi5"), big, model=model, depths=[0], threads=3)
    assert (row["result"]["threads"], row["result"]["threads_batch"]) == (3, 3)
    # where it makes no difference: all of them
    row = predicted_row(load_profile("old-laptop"), big, model=model, depths=[0])
    assert row["result"]["threads"] == 2
    for wrong in ({"threads": 5}, {"threads_batch": 5}, {"threads": -1}):
        with pytest.raises(ConfigError, match=r"must be 0 \(chosen\) or in \[1, 4\] on rpi5"):
            predicted_row(load_profile("rpi5"), big, model=model, depths=[0], **wrong)


def test_nothing_is_predicted_without_a_bandwidth_or_a_model(counted: Counted, model: Path, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="device 'laptop' has no memory bandwidth and clock"):
        predicted_row(load_profile("laptop"), counted, model=model)
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"no model")
    with pytest.raises(ModelFileError):
        count(broken, [0])


def test_bench_for_a_device_predicts_and_marks(
    model: Path, twin: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command; the run under emulation, which test_devices.py has, is left out."""
    told = {
        "description": "toy",
        "program_bytes": 1,
        "isa": "neon",
        "emulator_cpu": "x",
        "host_isa": "ref",
        "tokens": 1,
        "note": "",
    }
    told |= {"text": "a", "host_text": "a"}
    monkeypatch.setattr("qig_edge.bench.emulated.check", lambda path, profile, steps: {**told, "same_text": True})
    asked = ["bench", str(model), "--device", "rpi4", "--depths", "0,40", "--prefill", "16"]

    def run(*more: str) -> str:
        with pytest.raises(SystemExit) as left:
            main([*asked, *more])
        out, err = capsys.readouterr()
        assert not left.value.code, err
        return out

    text = run()
    rates = re.findall(r"^.*(?:tok/s| ms |MiB).*$", text, re.M)
    assert len(rates) == 5 and all(line.split()[0] == "PREDICTED" for line in rates)
    row = json.loads(run("--json"))
    assert (
        row["predicted"] is True
        and row["emulated"]["same_text"]
        and [d["depth"] for d in row["result"]["decode"]] == [0, 40]
    )
    both = json.loads(run("--json", "--peer", "llama.cpp", "--peer-model", str(twin)))
    assert [r["engine"] for r in both] == ["libqig", "llama.cpp"] and all(r["predicted"] is True for r in both)
    with pytest.raises(SystemExit) as left:
        main([*asked, "--peer", "llama.cpp"])
    assert left.value.code == 2 and "llama.cpp does not run" in capsys.readouterr().err
    monkeypatch.setattr(
        "qig_edge.bench.emulated.check", lambda path, profile, steps: {**told, "same_text": False, "host_text": "b"}
    )
    with pytest.raises(SystemExit) as left:
        main(asked)
    assert left.value.code == 1 and "DIFFERS" in capsys.readouterr().out


def test_cycles_are_known_for_every_processor_that_a_profile_names() -> None:
    named = {load_profile(n).processor for n in ("rpi4", "rpi5", "rpi-zero2w", "android")}
    assert named <= {k.processor for k in predict.all_kernels() if k.engine == "libqig"}
    for k in predict.all_kernels():
        assert k.engine in predict.ENGINES and k.source and {"q4_0", "q8_0"} <= set(k.weights)
        assert all(0 < one <= four for one, four in k.weights.values()) and min(k.key, k.value, k.score) > 0
    assert predict.kernels("Cortex-A72", "libqig") and not predict.kernels("Cortex-A53", "llama.cpp")
    assert set(predicted.TYPES.values()) <= {"q4_0", "q8_0", "q4_k", "f16"}


@pytest.mark.parametrize("device", ["rpi4", "old-laptop"])
def test_what_reads_rows_reads_predicted_ones(counted: Counted, model: Path, tmp_path: Path, device: str) -> None:
    """With a prefill and without one."""
    row = predicted_row(load_profile(device), counted, model=model, depths=[0, 40])
    (tmp_path / "row.json").write_text(json.dumps(row), "utf-8")
    assert load_row(tmp_path / "row.json") == row
    marked = as_markdown([row])
    assert marked.count("PREDICTED") >= 2
    assert "PREDICTED" in as_csv([row])
    write_page([row], tmp_path / "page.html")
    assert "PREDICTED" in (tmp_path / "page.html").read_text("utf-8")
    assert any("PREDICTED" in line for line in diagnose.lines(row))


@pytest.mark.slow
def test_the_documented_headline_is_the_commands(repository: Path) -> None:
    from qig_edge.bench.headline import table

    page = (repository / "docs" / "devices.md").read_text("utf-8")
    for device in ("rpi4", "rpi5"):
        assert table(load_profile(device)) in page, "docs/devices.md is older than python -m qig_edge.bench.headline"
