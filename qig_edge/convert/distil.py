"""Teaching the student of a QIG model (student.py), in two short phases over a text:

    rows     queries and keys alone: each block sees the teacher's states, and KL(teacher's weights || student's) of every row falls
    words    every weight: KL(teacher's next word || student's) of the whole student falls

AdamW, warm-up over ten steps, then falling to nothing in the last 40% of a phase. Nothing random but the order of the text, which the seed of
the mixture fixes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qig_edge.convert.student import begin, full_depth, inputs, widened

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter

    from qig_edge.model.kernel import Kernel
    from qig_edge.train.shards import Mixture

WINDOW = 512  # tokens, or the teacher's context where that is shorter
STEP = 4096  # tokens
ROWS_SHARE = 0.6  # of the tokens
ROWS_RATE, WORDS_RATE = 3e-3, 5e-4
WARM_UP, FALL = 10, 0.4  # steps; share of a phase
LEAST_LOG = -30.0  # of a weight: e^-30 of a row is nothing, and -inf has no difference


@dataclasses.dataclass(frozen=True)
class Distilled:
    """The student after each phase; rows: mean KL of a row in nats, words: mean KL of a next word in nats, before and after their phases; tokens:
    read by the phases."""

    student: Kernel
    rows: tuple[float, float]
    words: tuple[float, float]
    tokens: int


def distil(
    teacher: Kernel,
    mixture: Mixture,
    tokens: int,
    progress: Callable[[int, int, str], None] = lambda done, total, what: None,
    between: Callable[[str, Kernel], None] = lambda phase, student: None,
) -> Distilled:
    """Trains a student on about `tokens` tokens of the mixture, whose windows are not longer than the teacher's context.

    progress(done, total, phase) counts tokens; between(phase, student) is called before the phases ("copied") and after each ("rows", "words").
    Raises CheckpointError for a dense twin.
    """
    import torch

    plain, batch = full_depth(teacher), max(1, STEP // mixture.context)
    steps = max(2, tokens // (batch * mixture.context))
    first = max(1, min(steps - 1, round(ROWS_SHARE * steps)))
    with torch.no_grad():
        student = begin(plain, _ids(mixture, 0, batch))
    between("copied", student.eval())
    student.train()
    read, told = 0, []
    for name, count, rate in (("rows", first, ROWS_RATE), ("words", steps - first, WORDS_RATE)):
        weights = _queries_and_keys(student) if name == "rows" else list(student.parameters())
        optimizer = torch.optim.AdamW(weights, lr=rate, betas=(0.9, 0.98), weight_decay=0.0)
        losses = []
        for step in range(count):
            ids = _ids(mixture, read // mixture.context, batch)
            losses.append(_rows(plain, student, ids) if name == "rows" else _words(teacher, student, ids))
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            for group in optimizer.param_groups:
                group["lr"] = rate * min(1.0, (step + 1) / WARM_UP, (count - step) / max(1.0, FALL * count))
            optimizer.step()
            student.zero_grad(set_to_none=True)
            read += ids.numel()
            progress(read, steps * batch * mixture.context, name)
        tail = losses[-max(1, len(losses) // 10) :]
        told.append((losses[0], math.fsum(tail) / len(tail)))
        between(name, student.eval())
        student.train()
    return Distilled(student.eval(), told[0], told[1], read)


def _queries_and_keys(student: Kernel) -> list[Parameter]:
    return [w for name, w in student.named_parameters() if name.endswith(("attn.q.weight", "attn.k.weight"))]


def _ids(mixture: Mixture, first: int, count: int) -> Tensor:
    import torch

    return torch.from_numpy(mixture.batch(first, count))[:, :-1]


def _rows(plain: Kernel, student: Kernel, ids: Tensor) -> float:
    """Mean KL of the rows of attention, its gradient left in the student's queries and keys; block by block, so that one block's rows are held."""
    import torch
    from torch.nn import functional as F

    positions = torch.arange(ids.shape[1])
    r = plain.coupling(positions)
    total = 0.0
    ours: Any
    theirs: Any
    for ours, theirs, states in zip(student.blocks, plain.blocks, inputs(plain, ids), strict=True):
        with torch.no_grad():
            wanted = theirs.attn.log_weights(theirs.attn_norm(states), positions, r).clamp_min(LEAST_LOG)
            h = ours.attn_norm(widened(states))
        found = ours.attn.log_weights(h, positions, r).clamp_min(LEAST_LOG)
        loss = F.kl_div(found, wanted, reduction="sum", log_target=True) / (ids.numel() * plain.config.n_heads)
        loss.backward()
        total += loss.item()
    return total / len(plain.blocks)


def _words(teacher: Kernel, student: Kernel, ids: Tensor) -> float:
    """Mean KL of the next word, its gradient left in the student."""
    import torch
    from torch.nn import functional as F

    with torch.no_grad():
        wanted = teacher(ids).logits.log_softmax(-1)
    loss = F.kl_div(student(ids).logits.log_softmax(-1), wanted, reduction="sum", log_target=True) / ids.numel()
    loss.backward()
    return loss.item()
