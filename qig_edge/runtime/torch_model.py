"""A checkpoint folder run by torch, as a back end: the reference that converted files are measured against, and what a fresh run is scored by.

    with TorchModel("run/step-00001000") as model, model.session() as session:
        session.eval(model.tokenize("Once upon a time"))
        session.logits()            # float32[vocab]

It runs the model as training does, in float32: no int8 cache and nothing skipped, so it is slow. Telemetry is observed in prompts too, as in ONNX:
libqig leaves surprise out there, so that its confidence after a prompt differs.
"""

from __future__ import annotations

import dataclasses
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from qig_edge.errors import MissingExtra, RuntimeFault
from qig_edge.runtime.backend import Telemetry
from qig_edge.runtime.folder_tokens import FolderTokens
from qig_edge.runtime.native import ModelInfo
from qig_edge.runtime.timeline import Timeline

if TYPE_CHECKING:
    import numpy as np

    from qig_edge.model.kernel import Cache, Kernel
    from qig_edge.model.regime import RegimeMemory
    from qig_edge.model.telemetry import Telemetry as Records

STEP = 128  # tokens evaluated together


class TorchModel(FolderTokens):
    """A QIG checkpoint, or a run's folder (its newest one), on the CPU. Closed by close() or at the end of a with block.

    Raises MissingExtra without torch, CheckpointError for a folder that is no whole checkpoint of a QIG model or its twin.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        try:
            import torch
        except ImportError:
            raise MissingExtra("running a checkpoint", "train") from None
        from qig_edge.train import checkpoint
        from qig_edge.train.tokenizer import load_tokenizer

        self.path = checkpoint.find(Path(path))
        self.config = checkpoint.read_config(self.path)
        super().__init__(load_tokenizer(self.path), self.config.vocab_size)
        self.kernel: Kernel | None = checkpoint.load_model(self.path)
        self.info = _info(self.kernel, self.path, torch.__version__)

    def close(self) -> None:
        """Frees the weights; closing twice is allowed."""
        self.kernel = None

    def __enter__(self) -> TorchModel:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def metadata(self, key: str) -> str | None:
        """None: a checkpoint has no GGUF keys."""
        return None

    def session(self, *, n_ctx: int = 0, n_threads: int = 0) -> TorchSession:
        """A fresh timeline. n_ctx 0: the model's context; n_threads 0: torch's choice, else the number for this whole process.

        Raises RuntimeFault after close() and for values out of range.
        """
        import torch

        if self.kernel is None:
            raise RuntimeFault("the model is closed")
        if n_ctx < 0 or n_threads < 0:
            raise RuntimeFault(f"n_ctx = {n_ctx} and n_threads = {n_threads} must be 0 or more")
        if n_threads:
            torch.set_num_threads(n_threads)
        return TorchSession(self.kernel, n_ctx or self.config.context_length)


class TorchSession(Timeline):
    """One mutable timeline of a TorchModel; belongs to one thread at a time. Made by TorchModel.session()."""

    def __init__(self, kernel: Kernel, n_ctx: int) -> None:
        super().__init__(n_ctx, kernel.config.vocab_size, STEP)
        self._kernel: Kernel | None = kernel
        self._cache: Cache | None = None
        self._records: Records | None = None
        # what the regime detector remembers, by position: a cut cache does not tell it
        self._memories: dict[int, RegimeMemory | None] = {0: None}

    @property
    def cache_bytes(self) -> int:
        """Bytes of keys and values at the present position."""
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in self._cache or [])

    def close(self) -> None:
        """Frees the session; closing twice is allowed."""
        self._kernel = self._cache = None

    def logits(self) -> np.ndarray:
        """float32[vocab] after the last token; raises RuntimeFault before the first eval. After a rollback that token is evaluated again."""
        if self._logits is None and self._pos:
            self._return(self._pos, self._pos - 1)
        return super().logits()

    def telemetry(self, pos: int) -> Telemetry:
        """The record of the token at position pos, from a second pass over the text. Raises RuntimeFault where there is none."""
        import torch

        if not 0 <= pos < self.pos:
            raise RuntimeFault(f"there is no telemetry at position {pos}: the session holds {self.pos} tokens")
        if self._records is None or self._records.phi.shape[1] <= pos:
            with torch.no_grad():
                self._records = self._open().forward(torch.tensor(self.tokens.tolist())[None], observe=True).telemetry
        assert self._records is not None
        told = {f.name: getattr(self._records, f.name)[0, pos].item() for f in dataclasses.fields(self._records)}
        return Telemetry(**told, bytes_read=math.nan)

    def rollback(self, pos: int) -> None:
        """Forgets everything from position pos on. Of a model whose tokens may skip blocks the last few are evaluated again."""
        if not self._checked_rollback(pos):
            return
        self._random_at = {p: r for p, r in self._random_at.items() if p <= pos}
        self._return(pos, pos)

    def _return(self, pos: int, least: int) -> None:
        """Stands at pos with its random numbers, evaluated again from `least` on, or from the last position before it whose memory is known."""
        random, known = self._random, max(p for p in self._memories if p <= least) if self._open().skips else least
        self._cut(known)
        self._again(known, self._history[known:pos].copy())
        self._random = self._random_at[pos] = random

    @property
    def _closed(self) -> bool:
        return self._kernel is None

    def _open(self) -> Kernel:
        if self._kernel is None:
            raise RuntimeFault("the session is closed")
        return self._kernel

    def _clear(self) -> None:
        self._cut(0)

    def _pass(self, ids: np.ndarray, rows: list[np.ndarray] | None) -> None:
        import torch

        with torch.no_grad():
            out = self._open()(torch.tensor(ids.tolist())[None], cache=self._cache, keep_cache=True)
        self._cache = out.cache
        logits = out.logits[0].numpy()
        if rows is not None:
            rows.append(logits)
        self._logits = logits[-1]
        self._advance(ids)
        self._memories[self._pos] = out.cache.memory
        self._records = None

    def _cut(self, pos: int) -> None:
        """The state at `pos`, one of the positions whose memory is known where the model has one."""
        from qig_edge.model.attention import LayerCache
        from qig_edge.model.kernel import Cache

        if pos and self._cache is not None:
            self._cache = Cache(
                LayerCache(x.keys[:, :, :pos], x.values[:, :, :pos], None if x.present is None else x.present[:, :pos])
                for x in self._cache
            )
            self._cache.memory = self._memories.get(pos)
        else:
            self._cache = None
        self._memories = {p: memory for p, memory in self._memories.items() if p <= pos}
        self._records = None


def _info(kernel: Kernel, folder: Path, version: str) -> ModelInfo:
    c = kernel.config
    weights = sum(w.nbytes for w in kernel.state_dict().values())
    return ModelInfo(
        vocab_size=c.vocab_size,
        d_model=c.d_model,
        n_layers=c.n_layers,
        n_heads=c.n_heads,
        n_kv_heads=c.n_kv_heads,
        head_dim=c.head_dim,
        hidden_dim=c.hidden_dim,
        basin_dim=c.basin_dim,
        head_rank=c.head_rank,
        context_length=c.context_length,
        draft_lag=0,
        n_params=c.param_counts()["total"],
        file_bytes=(folder / "model.safetensors").stat().st_size,
        weight_bytes=weights,
        architecture="qig" if c.attention == "qfi" else "arcee",
        name=folder.resolve().name,
        isa=f"torch {version}",
        file_type="checkpoint, F32",
    )
