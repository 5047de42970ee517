"""Peak memory told before a run against peaks that real steps reach, settings that fit a budget, and the dry run."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from qig_edge.config import ModelConfig, load_preset, preset_model
from qig_edge.errors import ConfigError
from qig_edge.train import memory
from qig_edge.train.config import TrainConfig
from qig_edge.train.memory import Estimator, parse_bytes, plan
from tests.model.test_presets import reduced

ROOT = Path(__file__).resolve().parents[2]
# Of estimate / measured. The rest is pages of code that an operation brings in, and holes below 256 KiB.
LEAST, MOST = 0.9, 1.4

# A process of its own for each peak, or it would find the pages of the one before; forked, because torch takes seconds to import.
STEPS = """
import json, os, sys, torch
torch.set_num_threads(1)
from qig_edge.config import ModelConfig
from qig_edge.model.kernel import Kernel
from qig_edge.train.config import TrainConfig
from qig_edge.train.losses import Losses
from qig_edge.train.memory import steady_heap
from qig_edge.train.optim import Optimizers

def status(key):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(key))

def peak(model_config, config, device):
    rows = config.micro_tokens // config.context
    if device == "cpu":
        steady_heap()
        small = torch.nn.Linear(8, 8)
        small(torch.randn(4, 8)).sum().backward()
        torch.optim.AdamW(small.parameters()).step()  # the first optimizer brings modules with it
        start = status("VmRSS")
        open("/proc/self/clear_refs", "w").write("5")
    model = Kernel(model_config).to(device).train()
    model.ramp(1.0, config.soft_start)
    model.recompute(config.checkpointing)
    losses = Losses(model, config, torch.arange(model_config.vocab_size)).to(device)
    optimizers = Optimizers(model, config)
    for step in range(2):
        for micro in range(2):
            batch = torch.randint(0, model_config.vocab_size, (rows, config.context + 1), device=device)
            with torch.autocast(device, torch.bfloat16, enabled=config.precision == "bfloat16"):
                loss, _ = losses(model, batch[:, :-1], batch[:, 1:])
            (loss / config.batch_tokens).backward()
        optimizers.step(1.0, batch)
    return status("VmHWM") - start if device == "cpu" else torch.cuda.max_memory_allocated()

fraction, device, cases = json.loads(sys.argv[1])
for model_table, train_table in cases:
    child = os.fork()
    if not child:
        if fraction:
            torch.cuda.set_per_process_memory_fraction(fraction)
        print(peak(ModelConfig(**model_table), TrainConfig(**train_table), device), flush=True)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit(1)
"""


def settings(context: int, rows: int, **more: Any) -> TrainConfig:
    """A run of one phase, with micro-batches of that many rows."""
    micro = context * rows
    lengths = {"context": context, "final_context": context, "micro_tokens": micro, "batch_tokens": 4 * micro}
    return TrainConfig(**{**lengths, "tokens": 400 * micro, "hard_share": 1.0, "precision": "float32", **more})


def measured(cases: list[tuple[ModelConfig, TrainConfig]], device: str = "cpu", fraction: float = 0.0) -> list[int]:
    """Peak bytes of each, at most `fraction` of a GPU's memory where it is given."""
    tables = json.dumps([fraction, device, [[m.to_dict(), c.to_dict()] for m, c in cases]])
    done = subprocess.run([sys.executable, "-c", STEPS, tables], capture_output=True, text=True, cwd=ROOT, timeout=1500)
    assert done.returncode == 0, done.stderr[-2000:]
    return [int(line) for line in done.stdout.split()]


SMALL = ModelConfig(
    vocab_size=500,
    d_model=64,
    n_layers=2,
    n_heads=8,
    n_kv_heads=4,
    head_dim=8,
    hidden_dim=256,
    basin_dim=32,
    context_length=512,
)
WHOLE = dataclasses.replace(
    SMALL,
    vocab_size=8000,
    n_layers=4,
    gate_learnt=True,
    shallow_dim=64,
    regime=True,
    exit_first=2,
    decoherence_modes=16,
    code_rate=0.9,
)
# Sizes at which most of the memory is, in turn: distributions over the vocabulary, squares of attention, weights, and all of it.
CASES: dict[str, tuple[ModelConfig, TrainConfig]] = {
    "vocabulary": (dataclasses.replace(SMALL, vocab_size=16000), settings(128, 8)),
    "attention": (SMALL, settings(512, 3)),
    "attention recomputed": (SMALL, settings(512, 6, checkpointing="attention")),
    "weights of the twin, adamw": (
        dataclasses.replace(SMALL, attention="dot", decay=False, basin_dim=0, vocab_size=100_000, hidden_dim=8192),
        settings(64, 1, optimizer="adamw"),
    ),
    "every component, blocks recomputed": (
        WHOLE,
        settings(256, 4, checkpointing="blocks", weight_exits=0.3, optimizer_states="bfloat16"),
    ),
}


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks of a process are read from /proc")
def test_the_estimate_is_what_steps_take() -> None:
    peaks = measured(list(CASES.values()))
    assert len(peaks) == len(CASES) >= 3
    wrong = []
    for (name, (model_config, config)), found in zip(CASES.items(), peaks, strict=True):
        estimate = Estimator(model_config, config, "cpu", False)(config)
        told = f"{name}: estimated {estimate.total / 1e6:.0f} MB, measured {found / 1e6:.0f} MB"
        print(told)
        # the pages of code are not what is to be told
        assert estimate.total > 2 * memory.CPU_BYTES, told
        if not LEAST <= estimate.total / found <= MOST:
            wrong.append(told)
    assert not wrong


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here whose allocator could be capped")
def test_a_capped_gpu_trains_what_the_plan_fits() -> None:
    model_config, tables = preset_model("qig-100m"), load_preset("qig-100m")
    config = TrainConfig.from_dict(tables["train"])
    config, _ = plan(model_config, config, parse_bytes("4GB"), "cuda", True)
    most = int(4e9) - memory.CUDA_BYTES
    cases = []
    for phase in memory.phases(config):
        rows = max(1, config.micro_tokens // phase.context)
        lengths = {"context": phase.context, "final_context": phase.context, "micro_tokens": rows * phase.context}
        cases.append((model_config, dataclasses.replace(config, **lengths, precision="bfloat16")))
    fraction = most / torch.cuda.get_device_properties(0).total_memory
    peaks = measured(cases, "cuda", fraction)
    assert len(peaks) == len(cases) and all(peak <= most for peak in peaks)


@pytest.mark.slow
def test_qig_100m_trains_in_4_gb() -> None:
    model_config = preset_model("qig-100m")
    config = TrainConfig.from_dict(load_preset("qig-100m")["train"])
    lean = dataclasses.replace(config, checkpointing="blocks", micro_tokens=1, optimizer_states="bfloat16")
    estimate = Estimator(model_config, lean, "cuda", True)(lean)
    assert estimate.total <= parse_bytes("4GB")
    assert estimate.weights + estimate.gradients + estimate.optimizer > 9 * model_config.param_counts()["total"]


def test_smaller_budgets_take_what_costs_time_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    known: dict[object, int] = {}
    simulate = memory.activations

    def once(model_config: ModelConfig, config: TrainConfig, phase: memory.Phase, rows: int, bfloat16: bool) -> int:
        key = (config.checkpointing, phase, rows)
        if key not in known:
            known[key] = simulate(model_config, config, phase, rows, bfloat16)
        return known[key]

    monkeypatch.setattr(memory, "activations", once)
    model_config = dataclasses.replace(reduced(preset_model("qig-100m")), n_layers=4, exit_first=2, context_length=256)
    config = settings(64, 16, final_context=256, decay_share=0.2)
    whole = Estimator(model_config, config, "cpu", False)(config).total
    seen, budget = [], whole
    for _ in range(30):
        try:
            fitted, estimate = plan(model_config, config, budget, "cpu", False)
        except ConfigError as e:
            told = str(e)
            break
        assert estimate.total <= budget
        changed = {k for k, v in fitted.to_dict().items() if v != config.to_dict()[k]}
        assert changed <= {"micro_tokens", "checkpointing", "optimizer_states"}  # never what is learnt
        seen.append((fitted.optimizer_states, fitted.checkpointing, fitted.micro_tokens))
        budget = estimate.total - 1
    assert seen[0] == ("float32", "none", 1024)
    assert {level for _, level, _ in seen} == {"none", "attention", "blocks"}
    assert {micro for _, level, micro in seen if level == "none"} >= {1024, 512, 256}
    levels = [("none", "attention", "blocks").index(level) for states, level, _ in seen if states == "float32"]
    assert levels == sorted(levels)
    assert f"the run does not fit {budget / 1e9:.2f} GB: it takes" in told and "GB at least" in told


def test_what_optimizers_keep() -> None:
    from qig_edge.model.kernel import Kernel
    from qig_edge.train.optim import Optimizers
    from qig_edge.train.states import states_bytes

    model_config = reduced(preset_model("qig-100m"))
    for name in ("adamw", "rmsprop", "muon"):
        for dtype, share in (("float32", 1.0), ("bfloat16", 0.5)):
            model = Kernel(model_config)
            optimizers = Optimizers(model, settings(64, 1, optimizer=name, optimizer_states=dtype))
            for p in model.parameters():
                p.grad = torch.randn_like(p)
            optimizers.step(1.0, torch.zeros(1, 65, dtype=torch.int64))
            kept = [v for part in optimizers.parts for s in part.state.values() for v in s.values() if v.ndim]
            assert len(kept) > 20
            found = sum(v.numel() * v.element_size() for v in kept)
            assert abs(found / (share * states_bytes(optimizers.parts)) - 1) < 0.02, (name, dtype)
            saved = optimizers.state_dict()
            again = Optimizers(model, settings(64, 1, optimizer=name, optimizer_states=dtype))
            again.load_state_dict(saved)
            for one, other in zip(optimizers.parts, again.parts, strict=True):
                for a, b in zip(one.state.values(), other.state.values(), strict=True):
                    assert all(torch.equal(a[k], b[k]) and a[k].dtype == b[k].dtype for k in a)


def test_halved_states_learn_alike() -> None:
    from qig_edge.model.kernel import Kernel
    from qig_edge.train.losses import Losses
    from qig_edge.train.optim import Optimizers

    model_config = reduced(preset_model("qig-nano"))
    ids = torch.randint(0, 89, (4, 33))
    ends = []
    for dtype in ("float32", "bfloat16"):
        torch.manual_seed(2)
        model = Kernel(model_config).train()
        config = settings(32, 4, optimizer_states=dtype)
        losses, optimizers = Losses(model, config), Optimizers(model, config)
        for _ in range(40):
            loss, _ = losses(model, ids[:, :-1], ids[:, 1:])
            (loss / 128).backward()
            optimizers.step(1.0, ids)
        ends.append(loss.item() / 128)
    assert ends[0] < 2.0 and abs(ends[1] - ends[0]) < 0.15 * ends[0]


def test_sizes_are_read() -> None:
    cases = {"4GB": 4_000_000_000, "3.5 GiB": 3.5 * 2**30, "900mb": 900_000_000}
    assert {text: parse_bytes(text) for text in cases} == cases
    for text in ("four", "4", "-4GB", "0GB", "4 GBs", ""):
        with pytest.raises(ConfigError, match="must be a positive number with a unit"):
            parse_bytes(text)


Train = Callable[..., subprocess.CompletedProcess[str]]


def test_a_dry_run_tells_and_touches_nothing(
    train: Train, preset: Callable[..., Path], text: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    args = ("--preset", preset(), "--data", text, "--out", out, "--dry-run")
    facts = json.loads(train(*args, "--json", "--vram", "1GB").stdout)
    assert facts["tokens"] == 12288 and facts["steps"] == 24 and facts["accumulation"] == 2
    assert facts["memory_bytes"]["total"] < 1e9 and facts["checkpointing"] == "none"
    speed = {int(k): v for k, v in facts["tokens_per_second"].items()}
    assert set(speed) == {32, 64} and all(v > 0 for v in speed.values())
    seconds = 19 * 512 / speed[32] + 5 * 512 / speed[64]
    assert abs(facts["days"] * 86400 / seconds - 1) < 1e-6
    shown = train(*args).stdout
    for word in ("GB at the peak", "tok/s at context 32", "0.0M tokens in 24 steps", "minutes on this machine"):
        assert word in shown, shown
    assert not out.exists()


def test_a_budget_is_kept_to_or_refused_in_one_line(
    train: Train, preset: Callable[..., Path], text: Path, tmp_path: Path
) -> None:
    args = ("--preset", preset(), "--data", text, "--out", tmp_path / "run")
    for size, message in (
        ("1MB", "the run does not fit 0.00 GB: it takes 0.05 GB at least"),
        ("huge", "memory 'huge'"),
    ):
        err = train(*args, "--vram", size, code=2).stderr
        assert message in err and err.count("\n") == 1
        assert not (tmp_path / "run").exists()
    done = train(*args, "--vram", "200MB", "--tokens", "1024")
    assert "--vram 200MB: micro_tokens 256, checkpointing none" in done.stderr
