"""What the products of a model are fed with, measured on text of the kind that it was trained on: the second moments that rounding weighs errors by.

The text is never the one that the finished file is compared on: training tokens of the run, a file that the user gives, or generated stories and
talk for a checkpoint that is alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qig_edge.convert.names import tensor_names
from qig_edge.errors import CheckpointError, DataError

if TYPE_CHECKING:
    import numpy as np
    from tokenizers import Tokenizer

    from qig_edge.model.kernel import Kernel

WINDOW = 512  # tokens evaluated together
TOKENS = 8192
MEASURED = 4  # one window of so many is what --measure compares on, the others are what moments are taken of
FEWEST = 64


@dataclasses.dataclass(frozen=True)
class Sample:
    """windows: token ids, each seen on its own, WINDOW inputs and the token after them at most; source: where they come from in words."""

    windows: list[list[int]]
    source: str

    @property
    def tokens(self) -> int:
        return sum(len(w) - 1 for w in self.windows)

    def parted(self) -> tuple[Sample, Sample]:
        """What moments are taken of, and what is compared on; both hold all sources. Raises DataError where there is only one window."""
        if len(self.windows) < 2:
            raise DataError(f"calibration text '{self.source}' is too short to be divided: {self.tokens} tokens")
        fit = [w for i, w in enumerate(self.windows) if i % MEASURED]
        return Sample(fit, self.source), Sample(self.windows[::MEASURED], self.source)


def sample(
    folder: Path,
    tokenizer: Tokenizer,
    context: int,
    text: Path | None = None,
    tokens: int = TOKENS,
    *,
    shards: Path | None = None,
) -> Sample:
    """Text to calibrate on: the file `text`, else training tokens of `shards` or of the run that `folder` is a checkpoint of, else generated English.

    Raises DataError for a text that cannot be read, is no UTF-8 or is too short.
    """
    window = min(WINDOW, context)
    if text is not None:
        try:
            content = text.read_text("utf-8")
        except OSError as e:
            raise DataError(f"calibration text '{text}': {e.strerror}") from None
        except UnicodeDecodeError:
            raise DataError(f"calibration text '{text}' is not UTF-8") from None
        return _checked(_cut(_encoded(tokenizer, content)[:tokens], window), str(text))
    for place in (shards,) if shards else (folder.parent / "shards", folder.parent.parent / "shards"):
        windows = _from_shards(place, tokenizer, window, tokens)
        if windows:
            return _checked(windows, "the text it learnt from" if shards else f"training text of {place}")
    return _checked(_cut(_encoded(tokenizer, _generated(tokens))[:tokens], window), "generated stories and talk")


def moments(
    model: Kernel, text: Sample, progress: Callable[[int, int], None] = lambda done, total: None
) -> dict[str, np.ndarray]:
    """Mean of x x' [in, in] over the inputs of each product, by its module name; "embedding" is the vocabulary's table (see _of_table).

    A product that no token of the text came by has none. Raises CheckpointError for weights that are no finite numbers.
    """
    import torch

    weights = model.state_dict()
    for tensor in tensor_names(model.config):
        if not torch.isfinite(weights[tensor.torch]).all():
            raise CheckpointError(f"{tensor.torch} holds values that are not finite: the training went wrong before this checkpoint")
    sums: dict[str, Any] = {}
    seen: dict[str, int] = {}

    def add(name: str, x: torch.Tensor) -> None:
        rows = x.detach().reshape(-1, x.shape[-1]).float()
        sums[name] = sums.get(name, 0) + (rows.T @ rows).double()
        seen[name] = seen.get(name, 0) + len(rows)

    with _watched(model, add), torch.inference_mode():
        for done, window in enumerate(text.windows):
            out = model(torch.tensor([window[:-1]]))
            if model.draft is not None:
                model.draft_states(out.journey)
            progress(done + 1, len(text.windows))
    found = {name: (total / seen[name]).numpy() for name, total in sums.items()}
    return _with_head(model, found)


@contextlib.contextmanager
def _watched(model: Kernel, add: Callable[[str, Any], None]) -> Iterator[None]:
    """While this lasts, add(name, inputs) is told of every product that is called, and of what the head is given as "head"."""
    hooks = [
        product.register_forward_pre_hook(lambda _, inputs, name=name: add(name, inputs[0]))
        for name, product in model.products()
    ]
    hooks.append(model.norm.register_forward_hook(lambda _, inputs, out: add("head", out)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _with_head(model: Kernel, found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The head's products are linear in what it is given, so their moments follow from that one's."""
    import numpy as np

    inner = found.pop("head")
    down, out, proj = model.head.down, model.head.out, model.embedding.proj
    if down is not None:
        found["head.down"] = inner
        w = down.weight.detach().double().numpy()
        inner = w @ inner @ w.T
    if out is not None:
        found["head.out"] = inner
    # The table's rows are read as states, in which the projection weighs errors, and, where the head shares it, as the head's weights: both count
    # alike.
    parts = []
    if out is None:
        parts.append(inner)
    if proj is not None:
        p = proj.weight.detach().double().numpy()
        parts.append(p.T @ p)
    elif out is not None:
        parts.append(np.eye(model.config.embed_dim))
    found["embedding"] = sum(part / np.trace(part) for part in parts if np.trace(part) > 0)
    return found


def _encoded(tokenizer: Tokenizer, text: str) -> list[int]:
    tokenizer.encode_special_tokens = True  # control strings in a text are text
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


def _generated(tokens: int) -> str:
    """English text of the project's own corpus, some characters a token."""
    from qig_edge.corpus.generate import records

    texts, size = [], 0
    for record in records(1 << 20, 20, ("tales", "talk")):
        texts.append(record["text"] if "text" in record else "\n".join(turn["content"] for turn in record["messages"]))
        size += len(texts[-1])
        if size >= 6 * tokens:
            break
    return "\n\n".join(texts)


def _from_shards(folder: Path, tokenizer: Tokenizer, window: int, tokens: int) -> list[list[int]]:
    """Windows spread over each source's training tokens, the sources in turn; none where there are no shards of this tokenizer."""
    from qig_edge.train.shards import MANIFEST, opened
    from qig_edge.train.tokenizer import load_tokenizer

    if not (folder / MANIFEST).is_file() or load_tokenizer(folder).get_vocab() != tokenizer.get_vocab():
        return []
    trains = [s.train for s in opened(folder).values() if len(s.train) > window]
    if not trains:
        return []
    each = max(1, tokens // window // len(trains))
    out = []
    for turn in range(each):
        for train in trains:
            start = (len(train) - window - 1) * turn // each
            out.append([int(t) for t in train[start : start + window + 1]])
    return out


def _cut(ids: list[int], window: int) -> list[list[int]]:
    return [ids[i : i + window + 1] for i in range(0, len(ids) - 1, window)]


def _checked(windows: list[list[int]], source: str) -> Sample:
    made = Sample(windows, source)
    if made.tokens < FEWEST:
        raise DataError(f"calibration text '{source}' is too short: {made.tokens} tokens, at least {FEWEST} are needed")
    return made
