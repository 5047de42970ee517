"""What a written file computes against the checkpoint it came from: KL divergence, top-1 agreement and bits per byte of both, on held-out text.

The file is opened by libqig, an ONNX folder by onnxruntime, as a device would; the checkpoint runs in torch at float32.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from qig_edge.errors import DataError, ModelFileError

if TYPE_CHECKING:
    import numpy as np
    from tokenizers import Tokenizer

    from qig_edge.model.build import Model
    from qig_edge.runtime.native import NativeModel
    from qig_edge.runtime.onnx_model import OnnxModel

MOST_TOKENS = 4096  # enough for three digits of the divergence; more costs minutes with a large model
WINDOW = 512  # tokens evaluated together: bounds the logits that are held

# For a checkpoint that is alone: plain sentences written for this purpose, on everyday things.
PLAIN_TEXT = """\
The morning was cold, and the whole village slept under a thin white frost. Anna opened the door of the bakery
before anyone else was awake. She lit the oven, washed her hands and began to knead the dough that had rested
through the night. By six o'clock the first loaves stood in the window, and their smell went down the street as far
as the school. "Good morning," said the old postman, who came every day at the same time. "Is there a roll left for
me?" Anna laughed and gave him two. One of them he always kept for his dog.

A bridge carries its load in one of a few ways. A beam bends, and the ground at both ends holds it up. An arch turns
the weight into a push along its curve, so that every stone presses the next one more firmly into place. A hanging
bridge does the opposite: its cables are pulled tight, and the towers take the strain. Which of them is best depends
on the width of the river, on the ground below and on what the people who build it can afford.

When the rain had stopped, the children ran out into the garden. The grass was wet, and small rivers ran between the
flower beds. Tom found a snail on a leaf and put it carefully on the wall, where nobody would step on it. His sister
wanted to build a dam of sand and sticks. They worked until the sun was low, but the water always found a new way
around. "It does not give up," she said at last, and he answered that they would not give up either. Then their
mother called them in for soup.

To plant a tree, dig a hole that is twice as wide as the roots and no deeper than they are. Loosen the soil at the
sides with a fork. Set the tree upright, fill the hole step by step and press the earth down with your foot, so that
no air is left between the roots. Give it a bucket of water, even if it looks like rain. In the first summer a young
tree needs water once a week. After two or three years it looks after itself.

Long ago sailors found their way by the stars. They knew that one of them hardly moves, while all the others turn
around it in the course of a night. Its height above the horizon told them how far north they were. How far east or
west they had come was a harder question, because for that one must know the time at home, and no clock could keep
it on a rolling ship. The answer took two hundred years, and it was a watchmaker who found it in the end.

The market opens at seven on Saturdays. Farmers bring apples, eggs, cheese and flowers, and the fishmonger
comes all the way from the coast. "How much are the pears?" a woman asks. "Two for the price of one, because
it is late," says the boy behind the table. He wants to go home and play. She takes six, counts her coins and
gives him one more for himself. On the other side of the square somebody plays the violin, and a small crowd
has gathered around the fountain to listen. Nobody is in a hurry today.
"""


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """Token windows to compare on, each seen on its own, and where they come from in words."""

    windows: list[list[int]]
    source: str

    def sample(self, most: int) -> HeldOut:
        """The first windows, of about `most` tokens together."""
        kept = [w for i, w in enumerate(self.windows) if sum(map(len, self.windows[:i])) < most]
        return HeldOut(kept, self.source)


@dataclasses.dataclass(frozen=True)
class Report:
    """kl: mean KL(checkpoint || file) in nats a token; top1: share of positions with the same likeliest token; tokens: positions compared;
    max_error: largest difference of two logits."""

    file_bytes: int
    parameters: int
    bits_per_weight: float
    text: str
    tokens: int
    kl: float
    top1: float
    checkpoint_bits_per_byte: float
    file_bits_per_byte: float
    max_error: float


def size(model: NativeModel | OnnxModel) -> tuple[int, int, float]:
    """Bytes of the file, weights in it, and bits a weight over all tensors."""
    return model.info.file_bytes, model.info.n_params, 8 * model.tensor_bytes() / model.info.n_params


def held_out(folder: Path, model: NativeModel | OnnxModel, tokenizer: Tokenizer, text: Path | None = None) -> HeldOut:
    """Text to compare on: the file `text`, else validation tokens, else a built-in one.

    Validation tokens are those of the checkpoint's run, in shards/ of the run's folder or beside it (--shards of several runs).

    Raises DataError for a text that is no UTF-8 or too short, ModelFileError where the file's tokenizer and the checkpoint's disagree on it.
    """
    window = min(WINDOW, model.info.context_length)
    for shards in (folder.parent / "shards", folder.parent.parent / "shards") if text is None else ():
        windows = _from_shards(shards, window, tokenizer)
        if windows:
            _tokens(PLAIN_TEXT, "built-in text", model, tokenizer)
            return HeldOut(windows, f"held-out documents of {shards}")
    source, content = "built-in text", PLAIN_TEXT
    if text is not None:
        source = str(text)
        try:
            content = text.read_text("utf-8")
        except OSError as e:
            raise DataError(f"text '{text}': {e.strerror}") from None
        except UnicodeDecodeError:
            raise DataError(f"text '{text}' is not UTF-8") from None
    ids = _tokens(content, source, model, tokenizer)
    if len(ids) < 2:
        raise DataError(f"text '{source}' is too short to compare on: {len(ids)} tokens")
    return HeldOut(_cut(ids[:MOST_TOKENS], window), source)


def _tokens(text: str, source: str, model: NativeModel | OnnxModel, tokenizer: Tokenizer) -> list[int]:
    """Ids of a text, on which both tokenizers have to agree."""
    ids = model.tokenize(text)
    tokenizer.encode_special_tokens = True  # as libqig: control strings in a text are text
    if ids != tokenizer.encode(text, add_special_tokens=False).ids:
        raise ModelFileError(
            f"the file's tokenizer and the checkpoint's disagree on '{source}': the conversion is wrong"
        )
    return ids


def _from_shards(folder: Path, window: int, tokenizer: Tokenizer) -> list[list[int]]:
    """Windows from the start of each source's validation tokens, in turn, until there are MOST_TOKENS; none where the tokenizer is another."""
    from qig_edge.train.shards import MANIFEST, opened
    from qig_edge.train.tokenizer import load_tokenizer

    if not (folder / MANIFEST).is_file() or load_tokenizer(folder).get_vocab() != tokenizer.get_vocab():
        return []
    shards = [s.validation for s in opened(folder).values() if len(s.validation) > 1]
    sources = [_cut([int(t) for t in tokens[:MOST_TOKENS]], window) for tokens in shards]
    out: list[list[int]] = []
    for turn in range(max(map(len, sources), default=0)):
        for windows in sources:
            if turn < len(windows) and sum(map(len, out)) < MOST_TOKENS:
                out.append(windows[turn])
    return out


def _cut(ids: list[int], window: int) -> list[list[int]]:
    """Windows of at most `window` inputs and the token that follows; the last may be shorter."""
    return [ids[i : i + window + 1] for i in range(0, len(ids) - 1, window)]


def compare(
    model: Model,
    file: NativeModel | OnnxModel,
    text: HeldOut,
    n_threads: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Both on the same windows; progress(done, total) counts tokens. Raises ModelFileError where the file's logits are no finite numbers."""
    import numpy as np
    import torch

    total = sum(len(w) - 1 for w in text.windows)
    done = same = n_bytes = 0
    kl = ours = theirs = largest = 0.0
    with (
        torch.inference_mode(),
        file.session(n_ctx=max(len(w) - 1 for w in text.windows), n_threads=n_threads) as session,
    ):
        for window in text.windows:
            inputs, targets = window[:-1], np.array(window[1:])
            expected = model(torch.tensor([inputs])).logits[0].numpy()
            p = _log_softmax(expected)
            if session.pos:
                session.rollback(0)
            logits = session.eval_all(inputs)
            if not np.isfinite(logits).all():
                raise ModelFileError("the file computes logits that are not finite: it is not kept")
            q = _log_softmax(logits)
            largest = max(largest, float(np.abs(logits - expected).max()))
            rows = np.arange(len(inputs))
            kl += float((np.exp(p) * (p - q)).sum())
            same += int((p.argmax(-1) == q.argmax(-1)).sum())
            ours -= float(p[rows, targets].sum())
            theirs -= float(q[rows, targets].sum())
            n_bytes += len(file.detokenize(window[1:]))
            done += len(inputs)
            if progress:
                progress(done, total)
    file_bytes, parameters, bits = size(file)
    per_byte = math.log(2) * max(n_bytes, 1)
    return Report(
        file_bytes,
        parameters,
        bits,
        text.source,
        total,
        kl / total,
        same / total,
        ours / per_byte,
        theirs / per_byte,
        largest,
    )


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    """In float64: a divergence of 1e-9 nats is a difference of close numbers."""
    import numpy as np

    x = logits.astype(np.float64)
    x -= x.max(-1, keepdims=True)
    x -= np.log(np.exp(x).sum(-1, keepdims=True))
    return x
