"""Attention that collapses while a model learns is told, in the log and in the metrics."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.train.conftest import PRESET

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize(("attention", "rate", "collapses"), [("dot", 2.0, True), ("dot", 0.01, False), ("qfi", 0.01, False)])
def test_rates_that_no_dot_product_stands_are_told(
    attention: str, rate: float, collapses: bool, text: Path, tmp_path: Path, train: Run
) -> None:
    shape = {"dot": 'attention = "dot"\ndecay = false', "qfi": ""}[attention]
    preset = tmp_path / "preset.toml"
    preset.write_text(PRESET.format(optimizer="muon").replace("[train]", f"{shape}\n[train]"), "utf-8")
    done = train("--preset", preset, "--data", text, "--out", tmp_path / "run", "--matrix-learning-rate", rate)
    assert ("attention has collapsed" in done.stderr) == collapses
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert [r["step"] for r in records if "phi" in r] == [r["step"] for r in records if "bits_per_byte" in r]
    assert (records[-1]["phi"] < 0.05) == collapses
