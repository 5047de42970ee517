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
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qig_edge.errors import MissingExtra, RuntimeFault
from qig_edge.runtime import sampler
from qig_edge.runtime.backend import ContextFull, Sampling, Telemetry
from qig_edge.runtime.folder_tokens import FolderTokens
from qig_edge.runtime.native import ModelInfo

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


class TorchSession:
    """One mutable timeline of a TorchModel; belongs to one thread at a time. Made by TorchModel.session()."""

    def __init__(self, kernel: Kernel, n_ctx: int) -> None:
        self._kernel: Kernel | None = kernel
        self.n_ctx = n_ctx
        self._history: list[int] = []
        self._cache: Cache | None = None
        self._logits: np.ndarray | None = None
        self._records: Records | None = None
        # what the regime detector remembers, by position: a cut cache does not tell it
        self._memories: dict[int, RegimeMemory | None] = {0: None}
        self._sampling = Sampling.greedy()
        self._random = sampler.seeded(0)

    @property
    def pos(self) -> int:
        """Tokens evaluated so far."""
        return len(self._history)

    @property
    def tokens(self) -> np.ndarray:
        """int32[pos], a copy of the history."""
        import numpy as np

        return np.array(self._history, np.int32)

    @property
    def cache_bytes(self) -> int:
        """Bytes of keys and values at the present position."""
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in self._cache or [])

    def close(self) -> None:
        """Frees the session; closing twice is allowed."""
        self._kernel = self._cache = None

    def eval(self, tokens: Sequence[int] | np.ndarray) -> None:
        """Evaluates tokens after the present position. Raises ContextFull where they do not fit, RuntimeFault for no tokens or a token that
        there is not; then nothing was evaluated."""
        self._evaluate(self._checked(tokens), None)

    def eval_all(self, tokens: Sequence[int] | np.ndarray) -> np.ndarray:
        """As eval, and returns every row of logits: float32[n, vocab]."""
        import numpy as np

        rows: list[np.ndarray] = []
        self._evaluate(self._checked(tokens), rows)
        return np.concatenate(rows)

    def logits(self) -> np.ndarray:
        """float32[vocab] after the last token; raises RuntimeFault before the first eval. After a rollback that token is evaluated again."""
        if self._logits is None:
            if not self._history:
                raise RuntimeFault("there are no logits before the first eval")
            last = self._history[-1]
            self.rollback(self.pos - 1)
            self._evaluate([last], None)
        assert self._logits is not None
        return self._logits

    def set_sampler(self, sampling: Sampling) -> None:
        """Sets how sample() draws and seeds it anew."""
        self._sampling, self._random = sampling, sampler.seeded(sampling.seed)

    def sample(self) -> int:
        """A token drawn from the last logits; it is not evaluated."""
        token, self._random = sampler.draw(self._sampling, self.logits(), self.tokens, self._random)
        return token

    def telemetry(self, pos: int) -> Telemetry:
        """The record of the token at position pos, from a second pass over the text. Raises RuntimeFault where there is none."""
        import torch

        if not 0 <= pos < self.pos:
            raise RuntimeFault(f"there is no telemetry at position {pos}: the session holds {self.pos} tokens")
        if self._records is None or self._records.phi.shape[1] <= pos:
            with torch.no_grad():
                self._records = self._open().forward(torch.tensor([self._history]), observe=True).telemetry
        assert self._records is not None
        told = {f.name: getattr(self._records, f.name)[0, pos].item() for f in dataclasses.fields(self._records)}
        return Telemetry(**told, bytes_read=math.nan)

    def rollback(self, pos: int) -> None:
        """Forgets everything from position pos on. Of a model whose tokens may skip blocks the last few are evaluated again."""
        if not 0 <= pos <= self.pos:
            raise RuntimeFault(f"cannot roll back to {pos}: the session is at {self.pos}")
        if pos == self.pos:
            return
        known = max(p for p in self._memories if p <= pos) if self._open().skips else pos
        again = self._history[known:pos]
        self._cut(known)
        if again:
            self._evaluate(again, None)

    def slide(self, n_keep: int, n_tail: int) -> None:
        """Keeps the first n_keep and the last n_tail tokens and evaluates them anew."""
        if n_keep < 0 or n_tail < 0 or n_keep + n_tail > self.pos:
            raise RuntimeFault(f"cannot keep {n_keep} + {n_tail} of {self.pos} tokens")
        ids = self._history[:n_keep] + self._history[self.pos - n_tail :]
        self._cut(0)
        if ids:
            self._evaluate(ids, None)

    def _open(self) -> Kernel:
        if self._kernel is None:
            raise RuntimeFault("the session is closed")
        return self._kernel

    def _checked(self, tokens: Sequence[int] | np.ndarray) -> list[int]:
        vocab = self._open().config.vocab_size
        ids = [int(t) for t in tokens]
        if not ids:
            raise RuntimeFault("there are no tokens to evaluate")
        for t in ids:
            if not 0 <= t < vocab:
                raise RuntimeFault(f"token = {t} must be in [0, {vocab})")
        if self.pos + len(ids) > self.n_ctx:
            raise ContextFull(f"no room for {len(ids)} tokens: {self.pos} of {self.n_ctx} positions are taken")
        return ids

    def _evaluate(self, ids: list[int], rows: list[np.ndarray] | None) -> None:
        import torch

        kernel = self._open()
        for at in range(0, len(ids), STEP):
            part = ids[at : at + STEP]
            with torch.no_grad():
                out = kernel(torch.tensor([part]), cache=self._cache, keep_cache=True)
            self._cache = out.cache
            self._history += part
            self._memories[self.pos] = out.cache.memory
            logits = out.logits[0].numpy()
            if rows is not None:
                rows.append(logits)
            self._logits = logits[-1]
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
        del self._history[pos:]
        self._logits = self._records = None


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
