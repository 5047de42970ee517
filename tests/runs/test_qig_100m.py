"""runs/qig-100m.sh at a reduced size: two processes, stopped and resumed, on a machine without the text; brought back and measured."""

from __future__ import annotations

import json
import lzma
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from qig_edge.config import load_preset
from qig_edge.corpus.generate import records
from qig_edge.evals.puzzles.generate import LEVELS
from qig_edge.evals.puzzles.generate import records as puzzles

pytest.importorskip("torch")

MODEL = {
    "vocab_size": 400,
    "d_model": 64,
    "n_layers": 5,
    "n_heads": 2,
    "n_kv_heads": 1,
    "head_dim": 32,
    "hidden_dim": 64,
    "context_length": 128,
}
QIG = {"basin_dim": 32, "head_rank": 32, "shallow_dim": 32, "decoherence_modes": 8, "symmetry_rank": 2, "draft_dim": 32, "draft_vocab": 128}
TRAIN = {"batch_tokens": 512, "context": 64, "final_context": 128, "precision": "float32", "validation_bytes": 1000}
TOKENS = 12_288
STEPS = TOKENS // TRAIN["batch_tokens"]  # type: ignore[operator]


def reduced(name: str, path: Path) -> Path:
    """The preset with all its parts and losses, small in every size."""
    tables = load_preset(name)
    sizes = MODEL | (QIG if name == "qig-100m" else {})
    assert set(sizes) <= set(tables["model"])
    tables["model"].update(sizes)
    tables["train"].update(TRAIN)
    lines = []
    for table, values in tables.items():
        lines += [f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def write(path: Path, items: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = "".join(json.dumps(item) + "\n" for item in items).encode()
    path.write_bytes(lzma.compress(content, preset=0) if path.suffix == ".xz" else content)


@pytest.fixture(scope="module")
def environment(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Made-up text in the places of the real one."""
    folder = tmp_path_factory.mktemp("pipeline")
    names = ("stories", "books", "wikipedia", "factbook", "dialogue", "dictionary", "qa")
    for seed, name in enumerate(names):
        write(folder / "data" / "train" / f"{name}.jsonl.xz", list(records(120, seed, ("tales",))))
    for seed, kind in enumerate(("tales", "talk", "facts")):
        write(folder / "out" / "corpus" / f"{kind}.jsonl", list(records(120, 50 + seed, (kind,))))
    write(folder / "out" / "corpus" / "puzzles.jsonl", list(puzzles(400, 1, "train", LEVELS)))
    return {
        **os.environ,
        "PYTHON": sys.executable,
        "OUT": str(folder / "out"),
        "QIG_EDGE_DATA": str(folder / "data"),
        "QIG_PRESET": str(reduced("qig-100m", folder / "qig.toml")),
        "DENSE_PRESET": str(reduced("dense-100m", folder / "dense.toml")),
        "TOKENS": str(TOKENS),
        "MICRO": "256",
        "SETTINGS": "--threads 1 --eval-tokens 1000000",
        "PROCS": "2",
        "PART": "100K",
        "HELD_OUT": "50",
        "PROBLEMS": "70",
        "DOCUMENTS": "2",
        "TASKS": "",
    }


def arguments(repository: Path, *stages: str) -> list[str]:
    return ["bash", str(repository / "runs" / "qig-100m.sh"), *stages]


def run(repository: Path, environment: dict[str, str], *stages: str, code: int = 0, **settings: str) -> str:
    done = subprocess.run(arguments(repository, *stages), env={**environment, **settings}, capture_output=True, text=True, timeout=600)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def steps(folder: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]


@pytest.mark.skipif(sys.platform == "win32", reason="a bash script")
def test_from_text_to_results(repository: Path, environment: dict[str, str]) -> None:
    home = Path(environment["OUT"]) / "qig-100m"
    told = run(repository, environment, "prepare", "pack")
    assert re.search(r"text/books\.jsonl\.xz  \d+  \d+\n", told) and re.search(r"all  \d{5,}  \d+", told)
    books = lzma.decompress((home / "text" / "books.jsonl.xz").read_bytes()).splitlines()
    assert len(books) == 60

    # another machine, which gets the packed shards and no text
    away = home.parent.parent / "away"
    there = {**environment, "OUT": str(away)}
    del there["QIG_EDGE_DATA"]
    (away / "qig-100m").mkdir(parents=True)
    shutil.copy(home / "shards.tar.xz", away / "qig-100m")
    assert "QIG_EDGE_DATA" in run(repository, there, "evaluate", code=1)
    run(repository, there, "train", code=130, STOP_AFTER="1")
    stopped_inside(repository, there, away / "qig-100m" / "qig")
    run(repository, there, "train", "convert")
    for model in ("qig", "dense"):
        folder = away / "qig-100m" / model
        assert steps(folder) == list(range(1, STEPS + 1))
        log = (away / "qig-100m" / f"{model}.log").read_text("utf-8")
        assert "on 2 x cpu" in log and "is not at hand: training goes on with its tokens" in log
    before = (away / "qig-100m" / "qig" / "metrics.jsonl").stat().st_mtime_ns
    run(repository, there, "train")  # what is finished is not begun again
    assert (away / "qig-100m" / "qig" / "metrics.jsonl").stat().st_mtime_ns == before

    # back home, in parts
    parts = sorted((away / "qig-100m" / "back").iterdir())
    assert len([p for p in parts if p.name.startswith("qig.tar.")]) > 1
    assert all(p.stat().st_size <= 100 << 10 for p in parts)
    shutil.copytree(away / "qig-100m" / "back", home / "back", dirs_exist_ok=True)
    damaged = home / "back" / "qig.tar.01"
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "parts of qig" in run(repository, environment, "evaluate", code=2)
    damaged.write_bytes(content)
    run(repository, environment, "evaluate")
    for model in ("qig", "dense"):
        assert (home / f"{model}.gguf").read_bytes() == (away / "qig-100m" / f"{model}.gguf").read_bytes()
        assert steps(home / model) == list(range(1, STEPS + 1))
        for suite in ("puzzles", "text"):
            assert json.loads((home / f"{model}-{suite}.json").read_text("utf-8"))
    assert json.loads((home / "ipc.json").read_text("utf-8"))


def stopped_inside(repository: Path, environment: dict[str, str], folder: Path) -> None:
    """Stops the script between the first steps and the last; what it did is saved."""
    process = subprocess.Popen(arguments(repository, "train"), env=environment, stderr=subprocess.PIPE, text=True)
    metrics = folder / "metrics.jsonl"
    deadline = time.monotonic() + 300
    while not (metrics.is_file() and len(metrics.read_bytes().splitlines()) >= 2):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[1]
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130, err
    stop = int(re.search(r"stopped at step (\d+) of", err)[1])  # type: ignore[index]
    assert 2 <= stop < STEPS and (folder / f"step-{stop:08d}" / "trainer.pt").is_file()


def test_an_unknown_stage_is_refused(repository: Path, environment: dict[str, str], tmp_path: Path) -> None:
    assert "unknown stage 'fly'" in run(repository, environment, "fly", code=2, OUT=str(tmp_path))
    assert "no shards" in run(repository, environment, "train", code=2, OUT=str(tmp_path))
