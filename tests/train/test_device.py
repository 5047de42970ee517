"""Everything that a training step computes stays on one device, told without a GPU: tests/train/fake_gpu.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils import backend_registration

from tests.conftest import wanted


@pytest.fixture(autouse=True)
def pretending() -> None:
    if not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"):
        wanted(f"a torch that can pretend to have a device (this is {torch.__version__})")


COMMON = """
d_model = 64
n_layers = 4
n_heads = 2
n_kv_heads = 1
head_dim = 32
hidden_dim = 64
context_length = 64
"""
TRAIN = """
[train]
batch_tokens = 512
context = 32
final_context = 64
"""
QIG = f"""
[model]
vocab_size = 400
basin_dim = 32
{COMMON}
gate_margin = 5.0
gate_learnt = true
code_rate = 0.9
coupling_learnt = true
shallow_dim = 32
regime = true
regime_linear_share = 0.1
regime_breakdown_share = 0.03
exit_first = 2
exit_rule = "{{rule}}"
decoherence_modes = 8
confidence_learnt = true
symmetry_rank = 2
draft_lag = 2
draft_dim = 32
draft_vocab = 128
{TRAIN}
checkpointing = "{{checkpointing}}"
weight_exits = 0.3
weight_draft = 1.0
weight_calibration = 0.1
weight_sparsity = 0.02
weight_integration = 0.01
weight_phi = 0.01
weight_basin = 0.02
weight_budget = 0.1
weight_kappa = 0.01
weight_symmetry = 0.01
"""
PRESETS = {
    "probe": QIG.format(rule="probe", checkpointing="none"),
    "bures": QIG.format(rule="bures", checkpointing="blocks"),
    "recursive": f"[model]\nvocab_size = 400\nbasin_dim = 32\nrecursion_min_loops = 1\nrecursion_max_loops = 2\n{COMMON}\n{TRAIN}",
    "diagonal": f'[model]\nvocab_size = 400\nbasin_dim = 32\nstate = "diagonal"\nstate_phases = true\n{COMMON}\n{TRAIN}',
    "dense": f'[model]\nvocab_size = 400\nbasin_dim = 0\nhead_rank = 0\nattention = "dot"\ndecay = false\n{COMMON}\n{TRAIN}',
}


def run(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """The script, with presets by their names as files in `folder`."""
    for name, text in PRESETS.items():
        (folder / f"{name}.toml").write_text(text, "utf-8")
    script = Path(__file__).with_name("fake_gpu.py")
    root = str(script.parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    return subprocess.run([sys.executable, str(script), *args], env=environment, cwd=folder, capture_output=True, text=True, timeout=600)


def test_a_step_stays_on_its_device(tmp_path: Path) -> None:
    done = run(tmp_path, *(f"{name}.toml" for name in PRESETS))
    assert done.returncode == 0, done.stderr[:4000]
    told = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert len(told) == len(PRESETS) and all(passes == "4" for passes, *_ in told.values())
    assert {"cross_entropy", "exits", "draft", "symmetry", "kappa"} <= set(told["probe.toml"])
    assert told["dense.toml"] == ["4", "cross_entropy"]


def test_a_tensor_left_behind_is_found(tmp_path: Path) -> None:
    done = run(tmp_path, "plant", "probe.toml")
    assert done.returncode and "same device" in done.stderr
