"""Depth in torch and in libqig: the same file, the same text, the same decision for every token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from qig_edge.model.kernel import Kernel
from qig_edge.runtime.native import NativeModel, isa_list
from tests.convert.tiny import VOCAB, random_kernel, tiny_config, tiny_tokenizer, write

TOKENS, SEED = 48, 3
TOKENIZER = tiny_tokenizer()
REGIME = {
    "regime": True,
    "regime_low": 0.86,
    "regime_high": 0.9,
    "regime_hysteresis": 0.01,
    "regime_curvature": 0.6,
    "regime_linear_coupling": 0.8,
    "regime_breakdown_coupling": 1.25,
}
LOOPS = {"recursion_min_loops": 1, "recursion_max_loops": 4, "recursion_min_phi": 0.88}
# fields of the configuration, threshold of exits, rate of collapse, threshold of routing
CASES: dict[str, tuple[dict[str, Any], float, float, float]] = {
    "regime": (REGIME, 0, 0, 0),
    "probe": ({"exit_first": 2, "exit_rule": "probe"}, 0.42, 0, 0),
    "bures": ({"exit_first": 2}, 0.25, 0, 0),
    "collapse": ({"exit_first": 2, "exit_rule": "probe", "decoherence_modes": 24}, 0.3, 3.0, 0),
    "route": ({"shallow_dim": 32}, 0, 0, 0.75),
    "loops": (LOOPS, 0, 0, 0),
    "gates": ({"gate_learnt": True, "gate_margin": 4.0}, 0, 0, 0),
    "symmetry and code rate": ({"symmetry_rank": 3, "code_rate": 0.8}, 0, 0, 0),
    "everything": (
        {
            **REGIME,
            **LOOPS,
            "exit_first": 3,
            "exit_rule": "probe",
            "decoherence_modes": 24,
            "shallow_dim": 32,
            "symmetry_rank": 3,
            "code_rate": 0.8,
            "gate_learnt": True,
        },
        0.42,
        30.0,
        0.75,
    ),
}
FIELDS = {"phi": 1e-4, "surprise": 5e-3, "confidence": 1e-3, "curvature": 1e-3, "coherence_drift": 5e-3, "kappa": 1e-3}


def deep_kernel(name: str) -> Kernel:
    """A random model of that case, whose every threshold cuts somewhere among its tokens."""
    fields, exits, collapse, route = CASES[name]
    model = random_kernel(tiny_config(n_layers=6, **fields), SEED)
    with torch.no_grad():
        for leave in model.exits.values():
            leave.steer.threshold.fill_(exits)
            if leave.probe is not None:
                leave.probe.weight.normal_(std=model.config.d_model**-0.5)
                leave.probe.bias.fill_(0.1)
        if model.decoherence is not None:
            model.decoherence.steer.threshold.fill_(collapse)
            model.decoherence.modes.copy_(torch.linalg.qr(torch.randn(model.config.d_model, 24)).Q.T)
        for block in (*model.blocks, *([] if model.integrator is None else [model.integrator.block])):
            block.attn.o.weight.normal_(std=block.attn.o.in_features**-0.5)
            block.ffn.down.weight.normal_(std=block.ffn.down.in_features**-0.5)
            if model.config.gate_learnt:
                block.attn.gate_threshold.uniform_(0.0, 0.1)
            if block.router is not None:
                block.router.steer.threshold.fill_(route)
                block.router.phi_weight.fill_(0.2)
                block.router.shallow.down.weight.normal_(std=32**-0.5)
        if model.embedding.token_scale is not None:
            model.embedding.token_scale.uniform_(1, 2)
    return model


@pytest.mark.parametrize("name", CASES)
def test_torch_and_libqig_decide_alike(tmp_path: Path, name: str) -> None:
    model = deep_kernel(name)
    write(tmp_path / "m.gguf", model, "f32", TOKENIZER)
    ids = torch.randint(5, VOCAB, (1, TOKENS), generator=torch.Generator().manual_seed(SEED))
    with torch.no_grad():
        out = model(ids, observe=True)
    seen, ran = out.telemetry, 0
    assert seen is not None
    blocks = seen.blocks_run[0].numpy()
    stops = bool({"regime", "exit_first", "recursion_max_loops"} & set(CASES[name][0]))
    assert (len(set(blocks)) > 1) == stops, set(blocks)
    for isa in isa_list():
        with NativeModel(tmp_path / "m.gguf", isa) as native, native.session(prompt_telemetry=True) as session:
            logits = session.eval_all(ids[0].tolist())
            records = [session.telemetry(i) for i in range(TOKENS)]
        for field in ("blocks_run", "regime"):
            ours, torchs = np.array([getattr(r, field) for r in records]), getattr(seen, field)[0].numpy()
            assert (ours == torchs).all(), (isa, field, np.nonzero(ours != torchs), SEED)
        error = np.abs(logits - out.logits[0].numpy()).max()
        assert error <= 2e-4, (isa, error)
        for field, tolerance in FIELDS.items():
            ours, torchs = np.array([getattr(r, field) for r in records]), getattr(seen, field)[0].numpy()
            error = np.abs(ours - torchs).max()
            assert error <= tolerance, (isa, field, error)
        ran += 1
    assert ran >= 1
