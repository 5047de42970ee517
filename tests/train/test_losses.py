"""Terms of the loss: each does what its name says, is off at weight 0, and says so where the model lacks its part."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from qig_edge.errors import ConfigError
from qig_edge.model.kernel import Kernel
from qig_edge.train.config import TrainConfig
from qig_edge.train.losses import TERMS, Losses
from tests.convert.tiny import DEPTHS, DRAFT, VOCAB, random_kernel, tiny_config

WEIGHTS = {f"weight_{name}": 0.1 for name in TERMS}
SWAP = torch.arange(VOCAB)
SWAP[[10, 20]] = torch.tensor([20, 10])


def settings(**fields: object) -> TrainConfig:
    return TrainConfig.from_dict({"context": 64, "final_context": 64, "batch_tokens": 1024, **fields})


def full_model(seed: int = 0) -> Kernel:
    return random_kernel(tiny_config(**{**DEPTHS["everything"], "exit_rule": "probe", **DRAFT}), seed).train()


def batch(rows: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.randint(5, VOCAB, (rows, 33), generator=torch.Generator().manual_seed(1))
    return ids[:, :-1], ids[:, 1:]


def test_weight_zero_is_cross_entropy_alone() -> None:
    model = full_model()
    ids, targets = batch()
    loss, seen = Losses(model, settings())(model, ids, targets)
    assert set(seen) == {"cross_entropy"}
    torch.testing.assert_close(loss / targets.numel(), seen["cross_entropy"])


def test_every_term_is_told_apart_and_added_with_its_weight() -> None:
    model = full_model()
    model.ramp(0.5, 0.05)
    ids, targets = batch()
    losses = Losses(model, settings(**WEIGHTS), SWAP)
    loss, seen = losses(model, ids, targets)
    assert set(seen) == {"cross_entropy", *TERMS}
    assert all(torch.isfinite(v) and v >= 0 for v in seen.values()), seen
    total = seen["cross_entropy"] + 0.1 * sum(v for k, v in seen.items() if k != "cross_entropy")
    torch.testing.assert_close(loss / targets.numel(), total, atol=1e-5, rtol=1e-5)


# what a term pulls on: parameters that must feel it, and ones that must not
PULLS = {
    "integration": ("blocks.0.attn.q.weight", "head.down.weight"),
    "phi": ("blocks.0.attn.log_temperature", "head.down.weight"),
    "sparsity": ("blocks.0.attn.gate_threshold", "head.down.weight"),
    "calibration": ("calibration.bias", "blocks.0.attn.q.weight"),
    "basin": ("embedding.table", "blocks.0.attn.gate_threshold.nothing"),
    "kappa": ("coupling_beta", "embedding.table"),
    "exits": ("exits.2.probe.weight", "calibration.bias"),
    "draft": ("draft.input.weight", "embedding.table"),
    "budget": ("blocks.2.router.phi_weight", "head.down.weight"),
    "symmetry": ("embedding.table", "calibration.bias"),
}


@pytest.mark.parametrize("name", TERMS)
def test_a_term_pulls_on_its_part(name: str) -> None:
    assert set(PULLS) == set(TERMS)
    model = full_model(2)
    model.ramp(1.0, 0.05)
    ids, targets = batch(8)
    config = settings(**{f"weight_{name}": 1.0}, phi_target=0.99, kappa_target=10.0)
    losses = Losses(model, config, SWAP)
    with torch.no_grad():
        losses.basin_mean.copy_(torch.randn(losses.basin_mean.shape, generator=torch.Generator().manual_seed(3)))
    for part in model.modules():
        if hasattr(part, "config") and hasattr(part.config, "deep_share") and name == "budget":
            part.config = dataclasses.replace(part.config, deep_share=0.0)
    loss, seen = losses(model, ids, targets)
    (loss / targets.numel() - _cross_entropy(model, ids, targets)).backward()
    assert seen[name] > 0
    pulled, left = PULLS[name]
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None and p.grad.abs().max() > 1e-7}
    assert pulled in gradients, sorted(gradients)
    assert left not in gradients


def _cross_entropy(model: Kernel, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The part of the loss that every run has: the same forward pass again, so that its gradients cancel."""
    return torch.nn.functional.cross_entropy(model(ids).logits.flatten(0, 1), targets.flatten())


def test_the_symmetry_of_a_symmetric_text_is_zero() -> None:
    model = random_kernel(tiny_config(), 1).train()
    ids, targets = batch()
    _, seen = Losses(model, settings(weight_symmetry=1.0), torch.arange(VOCAB))(model, ids, targets)
    assert seen["symmetry"].abs() < 1e-6


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("exits", "exit_first"),
        ("calibration", "confidence_learnt"),
        ("budget", "shallow_dim"),
        ("kappa", "coupling_learnt"),
    ],
)
def test_a_term_without_its_part_is_named(name: str, part: str) -> None:
    with pytest.raises(ConfigError, match=part):
        settings(**{f"weight_{name}": 0.1}).check_model(tiny_config())
    with pytest.raises(ConfigError, match=f"weight_{name} = -1"):
        settings(**{f"weight_{name}": -1.0})
