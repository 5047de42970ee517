"""Hugging Face classes of the QIG model. Importing this module registers them, and nothing else does:

    import qig_edge.hf
    model = AutoModelForCausalLM.from_pretrained("runs/nano/step-00002500")

Weights and inner arithmetic stay float32 (distances between near states need it); torch.autocast runs the products in bfloat16.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    DynamicCache,
    GenerationMixin,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.cache_utils import DynamicLayer
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.utils import logging

from qig_edge.config import ModelConfig
from qig_edge.errors import CheckpointError, ConfigError
from qig_edge.model.attention import LayerCache
from qig_edge.model.kernel import Cache, Kernel

FIELDS = ModelConfig().to_dict()


class QigConfig(PretrainedConfig):
    """The fields of qig_edge.config.ModelConfig, as config.json of a checkpoint has them. Raises ConfigError for a value out of its range."""

    model_type = "qig"
    keys_to_ignore_at_inference = ["past_key_values"]
    attribute_map = {
        "hidden_size": "d_model",
        "intermediate_size": "hidden_dim",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "num_key_value_heads": "n_kv_heads",
        "max_position_embeddings": "context_length",
    }

    def __init__(self, **kwargs: Any) -> None:
        renamed = {self.attribute_map.get(k, k): v for k, v in kwargs.items()}
        for name, default in FIELDS.items():
            setattr(self, name, renamed.pop(name, default))
        renamed.setdefault("tie_word_embeddings", False)  # Kernel shares the table by itself
        super().__init__(**renamed)
        self.model_config()

    def model_config(self) -> ModelConfig:
        """The configuration that Kernel is built from."""
        return ModelConfig.from_dict({name: getattr(self, name) for name in FIELDS}, "QigConfig")


class QigForCausalLM(PreTrainedModel, GenerationMixin):  # type: ignore[misc]
    """qig_edge.model.kernel.Kernel behind the interface of transformers; state-dict keys are "kernel." + those of Kernel."""

    config_class = QigConfig
    base_model_prefix = "kernel"
    main_input_name = "input_ids"
    _keep_in_fp32_modules_strict = ["kernel"]  # type: ignore[assignment]

    def __init__(self, config: QigConfig) -> None:
        super().__init__(config)
        self.kernel = Kernel(config.model_config())
        self.post_init()

    def init_weights(self) -> None:
        """Kernel has initialized itself."""

    def _initialize_missing_keys(self, missing_keys: list[str], is_quantized: bool) -> None:
        # half a model is no model: transformers would fill the gaps with random weights and warn
        if missing_keys:
            raise CheckpointError(
                f"the checkpoint lacks {len(missing_keys)} of this model's tensors: {', '.join(sorted(missing_keys)[:3])}"
            )

    def get_input_embeddings(self) -> nn.Module:
        return self.kernel.embedding

    def get_output_embeddings(self) -> None:
        """None: the head is factored, no single matrix stands for it."""

    def resize_token_embeddings(self, *args: Any, **kwargs: Any) -> nn.Embedding:
        """Not possible: raises ConfigError."""
        raise ConfigError("the vocabulary of a QIG model cannot be resized: train with the tokenizer that is meant")

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: DynamicCache | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        return_dict: bool | None = None,
        inputs_embeds: Tensor | None = None,
        position_ids: Tensor | None = None,
        cache_position: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast | tuple[Any, ...]:
        """input_ids [B, T] -> logits [B, T, V] (or the last logits_to_keep of T), loss where labels [B, T] are given (-100: not counted).

        Positions are counted from the start of the cache. Raises ConfigError for padding on the left or between (positions
        would be wrong), for inputs_embeds, positions of one's own, and a cache of another kind than DynamicCache.
        token_type_ids, which tokenizers make by default, mean nothing here.
        """
        if input_ids is None or inputs_embeds is not None:
            raise ConfigError("QIG models take input_ids, not inputs_embeds")
        use_cache = use_cache if use_cache is not None else self.config.use_cache and not self.training
        past = self._past(past_key_values)
        start = past[0].keys.shape[2] if past else 0
        self._check_positions(input_ids, attention_mask, position_ids, start, use_cache)
        out = self.kernel(input_ids, cache=past, keep_cache=use_cache)
        if use_cache:
            if past_key_values is None:
                past_key_values = DynamicCache()
            assert out.cache is not None
            while len(past_key_values.layers) < len(out.cache):  # the integrator's loops have caches of their own
                past_key_values.layers.append(DynamicLayer())
            for i, layer in enumerate(out.cache):
                past_key_values.update(layer.keys[:, :, start:], layer.values[:, :, start:], i)
            if self.kernel.skips:
                past_key_values.qig = out.cache  # type: ignore[attr-defined]  # who ran which block, and the regime's memory
        keep = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) and logits_to_keep else logits_to_keep
        logits = out.logits[:, keep] if not isinstance(keep, int) else out.logits
        loss = (
            self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs)
            if labels is not None
            else None
        )
        result = CausalLMOutputWithPast(
            loss=loss, logits=logits, past_key_values=past_key_values if use_cache else None
        )
        return result if return_dict in (None, True) else result.to_tuple()

    def _past(self, cache: Any) -> Cache | None:
        """Kernel's cache out of transformers', None where it is empty."""
        if cache is None:
            return None
        if not isinstance(cache, DynamicCache):
            raise ConfigError(
                f"past_key_values is a {type(cache).__name__}: QIG models use DynamicCache (leave cache_implementation unset)"
            )
        length = cache.get_seq_length()
        if not length:
            return None
        past = Cache(LayerCache(cast(Tensor, layer.keys), cast(Tensor, layer.values)) for layer in cache.layers)
        if self.kernel.skips:
            ours = getattr(cache, "qig", None)
            if ours is None or ours[0].keys.shape[2] != length or ours[0].keys.shape[0] != past[0].keys.shape[0]:
                raise ConfigError(
                    "past_key_values was cropped, reordered or made elsewhere: a model whose tokens may skip blocks needs the cache it returned"
                )
            for layer, told in zip(past, ours, strict=True):
                layer.present = told.present
            past.memory = ours.memory
        return past

    def _check_positions(
        self, ids: Tensor, mask: Tensor | None, positions: Tensor | None, start: int, use_cache: bool
    ) -> None:
        length = start + ids.shape[1]
        if length > self.config.context_length:
            log = logging.get_logger(__name__)
            log.warning_once(f"{length} tokens: longer than the context of {self.config.context_length}")  # type: ignore[attr-defined]
        if mask is not None:
            if mask.ndim != 2 or mask.shape[-1] != length:
                raise ConfigError(
                    f"attention_mask is {list(mask.shape)}, expected [batch, {length}]: one entry a token, those of the cache included"
                )
            real = mask.bool()
            if not bool((real[:, 1:] <= real[:, :-1]).all() and real[:, 0].all()):
                where = "on the left or between tokens, which QIG models do not support"
                raise ConfigError(f"attention_mask has padding {where}: group texts of equal length")
            if (use_cache or start) and not bool(real.all()):
                raise ConfigError(
                    "attention_mask has padding, which a cache does not support: pass use_cache=False, or no padding"
                )
        if positions is not None:
            expected = torch.arange(start, length, device=positions.device)
            if not bool((positions == expected).all()):
                raise ConfigError(f"position_ids must count from {start}: other positions are not supported")


AutoConfig.register("qig", QigConfig)
AutoModelForCausalLM.register(QigConfig, QigForCausalLM)
