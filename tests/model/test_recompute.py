"""What is computed again in the backward pass gives the same gradients, and moves no running statistics twice."""

from __future__ import annotations

import pytest
import torch

from qig_edge.config import preset_model
from qig_edge.model.kernel import Kernel
from qig_edge.train.config import CHECKPOINTING
from tests.model.test_presets import reduced

NAMES = ("qig-100m", "qig-recursive-50m", "dense-nano")


def trained_a_step(name: str, level: str, softness: float) -> tuple[dict[str, torch.Tensor], int]:
    """Gradients and buffers after one forward and backward pass, and the number of tensors kept in between."""
    torch.manual_seed(5)
    model = Kernel(reduced(preset_model(name))).train()
    model.ramp(0.7, softness)
    model.recompute(level)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.05 * torch.randn_like(p))
    ids = torch.randint(0, 89, (2, 41))
    kept = 0

    def keep(x: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += x.numel()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        logits = model(ids[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
    loss.backward()
    grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return grads | {f"buffer {n}": b for n, b in model.named_buffers()}, kept


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("softness", [0.0, 0.05])
def test_gradients_and_statistics_are_the_same(name: str, softness: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qig_edge.model.attention.CHUNK", 16)
    (plain, most), *others = (trained_a_step(name, level, softness) for level in CHECKPOINTING)
    assert len(plain) > 10 and len(others) == 2
    for found, kept in others:
        assert found.keys() == plain.keys()
        for key, value in plain.items():
            assert torch.equal(found[key], value), key
        # the twin's fused attention keeps no squares
        assert kept < most or name == "dense-nano"
    assert others[1][1] < others[0][1]
