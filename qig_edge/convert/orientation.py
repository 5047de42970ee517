"""Which way the feed-forward's second matrix is stored: dense (ffn_down, every weight read) or sparse (ffn_down_t, the rows of active units read).

Square-ReLU leaves most hidden units at zero, and the sparse product skips their rows, but pays more for a weight that it does read. So the share of
active units is measured on text, and on this machine both files decode the same tokens in turn; for another device the bytes decide.
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

from qig_edge.convert.recipe import Recipe, parts
from qig_edge.errors import ConfigError

if TYPE_CHECKING:
    from qig_edge.convert.verify import HeldOut
    from qig_edge.devices.profile import Profile
    from qig_edge.model.kernel import Kernel
    from qig_edge.runtime.native import NativeModel, NativeSession

CHOICES = ("auto", "dense", "sparse")
DEARER = 2.2  # time of a weight in the sparse product over one in the dense, both from the cache: qig-kernels-bench
HOPELESS = 0.7  # share of active units above which no machine is expected to gain, so that nothing is timed
GAIN = 1.02  # how much faster the sparse file has to decode: less is noise
SAMPLE = 1024  # tokens that the share is measured on
ROUNDS, PROMPT, DECODE = 9, 16, 48  # each round times DECODE tokens of both files


@dataclasses.dataclass(frozen=True)
class Orientation:
    """sparse: the choice; why: it in words with its numbers; share: of active units; decode: tokens a second, dense and sparse, where timed."""

    sparse: bool
    why: str
    share: float | None = None
    decode: tuple[float, float] | None = None


def check_choice(choice: str) -> None:
    """Raises ConfigError for what --ffn-down does not take."""
    if choice not in CHOICES:
        raise ConfigError(f"--ffn-down '{choice}' must be one of {', '.join(CHOICES)}")


def active_share(model: Kernel, recipe: Recipe, text: HeldOut) -> float:
    """Share of the deep feed-forwards' hidden units whose row a file of this recipe would read: not 0 after the rounding of its inputs."""
    import torch

    from qig_edge.model.quant import INT8_INPUT, round_a8

    kinds = parts(model.config, recipe, sparse_down=True)
    seen = active = 0

    def count(name: str, x: torch.Tensor) -> None:
        nonlocal seen, active
        units = round_a8(x) if kinds.get(name) in INT8_INPUT else x
        seen += units.numel()
        active += int(units.count_nonzero())

    hooks = [
        product.register_forward_pre_hook(lambda _, inputs, name=name: count(name, inputs[0]))
        for name, product in model.products()
        if name.endswith(".ffn.down")
    ]
    try:
        with torch.inference_mode():
            for window in text.windows:
                model(torch.tensor([window[:-1]]))
    finally:
        for hook in hooks:
            hook.remove()
    return active / max(seen, 1)


def by_bytes(share: float, device: str) -> Orientation:
    """The choice for a machine that is not at hand: decode is bound by what it reads, and by arithmetic where that is DEARER."""
    cost = share * DEARER
    sparse = cost < 1
    return Orientation(
        sparse,
        f"{_word(sparse)} for {device}: {share:.1%} of the hidden units are active, and a weight of theirs costs up to {DEARER:g} times a dense one:"
        f" {cost:.2f} of the dense product's time",
        share,
    )


def by_time(share: float, dense: NativeModel, sparse: NativeModel, text: HeldOut) -> Orientation:
    """The choice for this machine: the file that decodes faster, the dense one where they are about even."""
    ids = max(text.windows, key=len)[: PROMPT + DECODE]
    seconds = decode_seconds(dense, sparse, ids)
    rates = (1 / seconds[0], 1 / seconds[1])
    chosen = rates[1] >= GAIN * rates[0]
    return Orientation(
        chosen,
        f"{_word(chosen)}: {share:.1%} of the hidden units are active; on one thread of this machine the dense file decodes"
        f" {rates[0]:.0f} tokens/s, the sparse one {rates[1]:.0f} ({rates[1] / rates[0] - 1:+.1%})",
        share,
        rates,
    )


def decode_seconds(dense: NativeModel, sparse: NativeModel, ids: list[int]) -> tuple[float, float]:
    """Seconds a token of both on one thread, of its processor time: the best of rounds that alternate, because what disturbs one makes it longer."""
    with dense.session(n_ctx=len(ids), n_threads=1) as a, sparse.session(n_ctx=len(ids), n_threads=1) as b:
        rounds = [(_decode(a, ids), _decode(b, ids)) for _ in range(ROUNDS)]
    return min(r[0] for r in rounds), min(r[1] for r in rounds)


def _decode(session: NativeSession, ids: list[int]) -> float:
    prompt = min(PROMPT, len(ids) // 2)
    if session.pos:
        session.rollback(0)
    session.eval(ids[:prompt])
    start = time.thread_time()
    for token in ids[prompt:]:
        session.eval([token])
    return (time.thread_time() - start) / (len(ids) - prompt)


def _word(sparse: bool) -> str:
    return "sparse" if sparse else "dense"


def of_profile(profile: Profile, share: float) -> Orientation | None:
    """by_bytes where it decides: for a device that is not this machine, or a share that no machine gains from; None: measure (by_time)."""
    if not profile.is_host:
        return by_bytes(share, profile.name)
    if share > HOPELESS:
        return Orientation(
            False,
            f"dense: {share:.1%} of the hidden units are active, too many for reading them one by one to pay",
            share,
        )
    return None
