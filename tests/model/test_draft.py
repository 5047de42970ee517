"""The draft of speculation: what it may look at, what trains it, and that training it alone leaves the model as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from qig_edge.corpus.generate import records
from qig_edge.errors import ConfigError
from qig_edge.model.kernel import Kernel
from qig_edge.train.config import TrainConfig
from qig_edge.train.loop import Trainer, World
from qig_edge.train.losses import Losses
from qig_edge.train.shards import prepare
from qig_edge.train.sources import Source
from tests.convert.tiny import DEPTHS, DRAFT, VOCAB, random_kernel, tiny_config


def draft_of(model: Kernel, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        journey = model(ids).journey
        assert journey is not None
        return model.draft_logits(model.draft_states(journey))


@pytest.mark.parametrize("lag", [1, 2, 5])
def test_what_a_guess_hangs_on(lag: int) -> None:
    """The tokens up to its own, and no state of the last `lag` of them: blocks are changed at those positions alone."""
    model = random_kernel(tiny_config(**{**DRAFT, "draft_lag": lag}), 1)
    ids = torch.randint(5, VOCAB, (1, 12), generator=torch.Generator().manual_seed(2))
    logits = draft_of(model, ids)
    assert logits.shape == (1, 12, DRAFT["draft_vocab"])
    for at in range(12):
        other = ids.clone()
        other[0, at] = (other[0, at] - 5 + 1) % (VOCAB - 5) + 5
        same = (draft_of(model, other) - logits).abs().amax(-1)[0] == 0
        assert same[:at].all() and not same[at:].any()
    with torch.no_grad():
        journey = model(ids).journey
        assert journey is not None
        for at in range(12):
            states = journey.x.clone()
            states[0, at] += 1.0
            moved = model.draft(journey.embedded, states) != model.draft(journey.embedded, journey.x)
            assert moved.any(-1)[0].tolist() == [t == at + lag for t in range(12)]


def test_the_formula() -> None:
    """docs/formats.md in float64, token by token."""
    model = random_kernel(tiny_config(**{**DRAFT, "draft_lag": 2}), 3).double()
    d = model.draft
    assert d is not None
    e, s = (torch.randn((1, 6, 64), generator=torch.Generator().manual_seed(i), dtype=torch.float64) for i in (1, 2))

    def unit(x: torch.Tensor) -> torch.Tensor:
        return x / (x.square().mean() + d.eps).sqrt()

    for t in range(6):
        none = torch.zeros(64, dtype=torch.float64)
        u = torch.cat([unit(e[0, t - 1]) if t > 0 else none, unit(s[0, t - 2]) if t > 1 else none])
        z = e[0, t] + d.input.weight @ u
        z = z + d.down.weight @ torch.relu(d.up.weight @ (unit(z) * d.norm.weight)).square()
        torch.testing.assert_close(d(e, s)[0, t], unit(z) * d.output_norm.weight, rtol=1e-9, atol=1e-9)


def test_before_training_it_reads_the_embedding_out() -> None:
    torch.manual_seed(0)
    model = Kernel(tiny_config(**DRAFT)).eval()
    ids = torch.randint(5, VOCAB, (2, 9))
    with torch.no_grad():
        want = model.head(model.norm(model.embedding(ids)), model.embedding)[..., : DRAFT["draft_vocab"]]
    torch.testing.assert_close(draft_of(model, ids), want)


@pytest.mark.parametrize("kind", ["plain", "everything"])
def test_it_learns_alone(kind: str, tmp_path: Path) -> None:
    """The divergence falls, every other number of the checkpoint stays, and a run that was stopped ends as one that was not."""
    text = tmp_path / "corpus.txt"
    text.write_text("\n".join(r["text"] for r in records(60, 5, ("tales",))), "utf-8")
    tokenizer, shards = prepare(tmp_path / "shards", [Source(str(text))], None, VOCAB, 100, 1000)
    shape = {**DEPTHS, "plain": {}}[kind]
    settings = {"tokens": 24 * 512, "batch_tokens": 512, "micro_tokens": 256, "context": 64, "final_context": 64, "warmup_tokens": 0,
                "optimizer": "adamw", "learning_rate": 1e-2, "weight_draft": 1.0, "only_draft": True, "precision": "float32",
                "quantize_share": 0.2, "ramp_start": 0.0}  # fmt: skip
    config = TrainConfig.from_dict(settings)

    def trainer(out: Path) -> Trainer:
        model = random_kernel(tiny_config(**{**shape, **DRAFT}), 4)
        out.mkdir(exist_ok=True)
        return Trainer(out, model, config, tokenizer, shards, {str(text): 1.0}, {str(text): 1.0}, World())

    whole = trainer(tmp_path / "whole")
    before = {name: value.clone() for name, value in whole.model.state_dict().items()}
    seen: list[float] = []
    whole.run(lambda p: seen.append((p.terms or {})["draft"]))
    after = whole.model.state_dict()
    assert len(seen) == 24 and seen[-1] < 0.7 * seen[0]
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved and moved == {name for name in before if name.startswith("draft.")}

    stopped = trainer(tmp_path / "stopped")

    def stop(progress: object) -> None:
        if stopped.step == 10:
            stopped._anyone = lambda asked: True  # type: ignore[method-assign]

    stopped.run(stop)
    assert stopped.step == 10
    resumed = trainer(tmp_path / "stopped")
    assert resumed.resume()
    resumed.run()
    assert all(torch.equal(value, resumed.model.state_dict()[name]) for name, value in after.items())


def test_memory_saved_changes_no_gradient() -> None:
    """More tokens than distributions are made for at a time, kept and made again."""
    ids = torch.randint(5, VOCAB, (12, 65), generator=torch.Generator().manual_seed(6))
    found = []
    for checkpointing in ("none", "blocks"):
        model = random_kernel(tiny_config(**DRAFT), 5).train()
        config = TrainConfig.from_dict({"weight_draft": 1.0, "checkpointing": checkpointing, "context": 64, "final_context": 64})
        loss, seen = Losses(model, config)(model, ids[:, :-1], ids[:, 1:])
        assert seen["draft"] > 0
        loss.backward()
        found.append({name: p.grad for name, p in model.named_parameters() if name.startswith("draft.")})
    assert len(found[0]) == 5
    for name, grad in found[0].items():
        assert grad is not None and grad.abs().sum() > 0
        torch.testing.assert_close(found[1][name], grad, rtol=1e-5, atol=1e-4, msg=name)


def test_settings_that_make_no_sense() -> None:
    with pytest.raises(ConfigError, match=r"weight_draft = 1.0 needs a model with a draft \(draft_lag\)"):
        TrainConfig.from_dict({"weight_draft": 1.0}).check_model(tiny_config())
    with pytest.raises(ConfigError, match="only_draft = true needs a weight_draft"):
        TrainConfig.from_dict({"only_draft": True, "context": 64, "final_context": 64}).check_model(
            tiny_config(**DRAFT)
        )
