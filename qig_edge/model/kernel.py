"""The QIG-Kernel, assembled: basin embedding, blocks of QFI attention and squared-ReLU feed-forward, factored head.

    model = Kernel(preset_model("qig-nano"));  logits = model(ids).logits

The dense twin is the same code with attention = "dot", an unfactored embedding and no decay: a standard transformer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qig_edge.config import ModelConfig
from qig_edge.model import quant
from qig_edge.model.attention import Attention, LayerCache, Observed, running_coupling
from qig_edge.model.embedding import BasinEmbedding, Head
from qig_edge.model.feed_forward import FeedForward
from qig_edge.model.telemetry import Telemetry, angle, surprise_and_confidence


@dataclass
class Output:
    """logits [B, T, V] float32; cache of every layer; telemetry where it was asked for."""

    logits: Tensor
    cache: list[LayerCache] | None = None
    telemetry: Telemetry | None = None


class Block(nn.Module):
    """x [B, T, D] -> x + attention(norm x) -> + feed_forward(norm)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attn_norm = nn.RMSNorm(config.d_model, eps=config.norm_eps)
        self.attn = Attention(config)
        self.ffn_norm = nn.RMSNorm(config.d_model, eps=config.norm_eps)
        self.ffn = FeedForward(config)

    def forward(
        self, x: Tensor, positions: Tensor, cache: LayerCache | None = None, observe: bool = False
    ) -> tuple[Tensor, LayerCache, Observed | None]:
        attended, grown, observed = self.attn(self.attn_norm(x), positions, cache, observe)
        x = x + attended
        return x + self.ffn(self.ffn_norm(x)), grown, observed


class Kernel(nn.Module):
    """A causal language model over token ids [B, T]."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = BasinEmbedding(config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm = nn.RMSNorm(config.d_model, eps=config.norm_eps)
        self.head = Head(config)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Normal weights of variance 1 / fan-in; what writes into the residual stream starts at zero, so that every block starts as the identity."""
        for module in self.modules():
            if isinstance(module, quant.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5)
        # an unfactored tied table reads out with the rows it reads in: shorter rows keep the first logits small
        nn.init.normal_(self.embedding.table, std=self.config.embed_dim**-0.5 if self.config.basin_dim else 0.02)
        if self.embedding.proj is not None:
            nn.init.normal_(
                self.embedding.proj.weight
            )  # rows of the table have length 1: this gives states of unit mean square
        for name, module in self.products():
            if name.endswith(("attn.o", "ffn.down")):
                nn.init.zeros_(module.weight)

    def forward(
        self, ids: Tensor, cache: list[LayerCache] | None = None, observe: bool = False, keep_cache: bool = False
    ) -> Output:
        """cache: of earlier positions, from a call with keep_cache. observe: telemetry too (needs the text from its start, so no cache)."""
        if observe and cache is not None:
            raise ValueError("telemetry needs the text from its first token: cache must be None")
        past = cache[0].keys.shape[2] if cache else 0
        positions = torch.arange(past, past + ids.shape[1], device=ids.device)
        x = self.embedding(ids).float()  # the residual stream stays in float32 under autocast
        grown, observed, curvature = [], [], []
        for i, block in enumerate(self.blocks):
            before = x
            x, layer, seen = block(x, positions, cache[i] if cache else None, observe)
            if keep_cache:
                grown.append(layer)
            if seen is not None:
                observed.append(seen)
                curvature.append(angle(before, x))
        logits = self.head(self.norm(x), self.embedding).float()
        telemetry = self._telemetry(logits, ids, observed, curvature) if observe else None
        return Output(logits, grown if keep_cache else None, telemetry)

    def _telemetry(self, logits: Tensor, ids: Tensor, observed: list[Observed], curvature: list[Tensor]) -> Telemetry:
        surprise, confidence = surprise_and_confidence(logits, ids)
        length = torch.arange(1, ids.shape[1] + 1, device=ids.device)
        kappa = self.config.kappa_0 * running_coupling(self.config, length).expand(ids.shape)
        return Telemetry(
            phi=torch.stack([o.phi for o in observed]).mean(0),
            surprise=surprise,
            confidence=confidence,
            agency=torch.stack([o.active for o in observed]).mean(0),
            curvature=torch.stack(curvature).mean(0),
            kappa=kappa,
            blocks_run=len(self.blocks),
        )

    def products(self) -> Iterator[tuple[str, quant.Linear]]:
        """Every product of the model by its module name."""
        for name, module in self.named_modules():
            if isinstance(module, quant.Linear):
                yield name, module

    def flops_per_token(self, context: int) -> float:
        """Floating-point operations of a training step per token at that context: 6 per weight in a product, and attention's two T x T products."""
        weights = sum(module.weight.numel() for _, module in self.products())
        if self.head.out is None:
            weights += self.embedding.table.numel()
        c = self.config
        return 6 * weights + 6 * c.n_layers * c.n_heads * (c.state_dim + c.head_dim) * context

    def fake_quantize(self, kinds: dict[str, str] | None, int8_cache: bool) -> None:
        """Runs with weights (by module name, "embedding" for the table), inputs and cache rounded as a quantized file's are; None: off."""
        for name, product in self.products():
            product.kind = kinds.get(name) if kinds else None
        self.embedding.kind = kinds.get("embedding") if kinds else None
        for module in self.modules():
            if isinstance(module, Attention):
                module.int8_cache = int8_cache
