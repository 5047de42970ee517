"""The passes of a training step on a device that does not exist: python tests/train/fake_gpu.py [plant] PRESET...

Tensors have shapes and a device and no content (torch's fake tensors), so that operations on tensors of two devices are
found without a GPU. What it can't find: errors of kernels, numbers, bfloat16 (there is no autocast for such a device),
the optimizer's step, which reads numbers. "plant" leaves one tensor on the CPU.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import backend_registration

from qig_edge.config import load_preset, model_config
from qig_edge.model.build import new_model
from qig_edge.model.kernel import Kernel
from qig_edge.train.config import TrainConfig
from qig_edge.train.losses import Losses
from qig_edge.train.recipe import quantized_parts

DEVICE = "nowhere:0"
ROWS = 4


class Module(backend_registration._DummyBackendModule):
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


real_tensor = torch.tensor


def tensor(data: Any, *, dtype: torch.dtype | None = None, device: Any = None) -> torch.Tensor:
    """torch.tensor, which would copy real numbers to the device."""
    made = real_tensor(data, dtype=dtype)
    return made if device is None else torch.empty(made.shape, dtype=made.dtype, device=device)


def moved(module: nn.Module) -> Any:
    """module.to(DEVICE), without contents."""
    for part in module.modules():
        for name, p in part._parameters.items():
            if p is not None:
                part._parameters[name] = nn.Parameter(torch.empty(p.shape, dtype=p.dtype, device=DEVICE))
        for name, b in part._buffers.items():
            if b is not None:
                part._buffers[name] = torch.empty(b.shape, dtype=b.dtype, device=DEVICE)
    return module


def main(preset: str, plant: bool) -> None:
    tables = load_preset(preset)
    config = model_config(tables["model"], preset)
    train = TrainConfig.from_dict(tables["train"])
    passes = 0
    with FakeTensorMode():
        model = moved(new_model(config)).train()
        swap = torch.arange(config.vocab_size, device="cpu" if plant else DEVICE)
        losses = moved(Losses(model, train, swap))
        for context, softness in ((train.context, train.soft_start), (train.final_context, 0.0)):
            for quantized in (False, True):
                model.ramp(1.0, softness)
                model.fake_quantize(quantized_parts(config) if quantized else None, quantized)
                batch = torch.zeros(ROWS, context + 1, dtype=torch.int64, device=DEVICE)
                loss, terms = losses(model, batch[:, :-1], batch[:, 1:])
                (loss / train.batch_tokens).backward()
                found = {t.device for t in (loss, *terms.values(), *(p.grad for p in model.parameters() if p.grad is not None))}
                assert found == {torch.device(DEVICE)}, found
                model.zero_grad()
                model.settle()
                passes += 1
        model.eval()
        with torch.no_grad():
            seen = model(batch[:, :-1])
            assert seen.logits.device == torch.device(DEVICE)
            if isinstance(model, Kernel):
                model.embedding.refresh()
                assert model(batch[:, :-1], observe=True).telemetry.phi.device == torch.device(DEVICE)
    print(preset, passes, *terms)


if __name__ == "__main__":
    backend_registration._setup_privateuseone_for_python_backend("nowhere", backend_module=Module())
    torch.set_num_threads(1)
    torch.tensor = tensor  # type: ignore[assignment]
    plant = sys.argv[1] == "plant"
    for name in sys.argv[1 + plant :]:
        main(name, plant)
