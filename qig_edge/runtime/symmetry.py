"""Universalizability: whether a model would say of the two sides of a conversation what it says, with their roles exchanged.

    with Scorer(model) as scorer:
        scorer.score([("user", "Will you help me?")], "Yes, I will help you.").score        in (0, 1]

A reply and what it answers are compared with their role-swapped twin ("Will I help you?", "Yes, you will help me."; qig_edge.runtime.roles):

    score = exp(-|l - l'|)      l, l': mean log-likelihood per token, in nats, of the reply after the prompt, and of its twin after the twin

1: as likely either way, a reply without either side in it among others; 0.5: the tokens of one are twice as likely as those of the other, in
the geometric mean. The headers of the turns stay: who speaks is as it was, who does what to whom is exchanged. Tokens are counted each on
its own side, the end of the turn included where the reply ended by itself.

It measures a model's even-handedness in wording, no more. It is no content filter: harmful text that treats both alike scores high, a kind
reply that the model only knows from one side scores low, and rare words, grammar and the length of a reply move it as well. A model's own
reply was drawn because it is likely, so its twin is at a disadvantage: the score of own replies leans low.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from qig_edge.errors import RuntimeFault
from qig_edge.runtime.backend import Backend, text_start
from qig_edge.runtime.roles import swap_roles, token_swap

if TYPE_CHECKING:
    import numpy as np

Messages = Sequence[tuple[str, str]]  # (role, content), oldest first

# Rows of logits held at once: V floats each.
ROWS = 32
# The lowest score that passes, unless told otherwise: a token of one side 8 times as likely as of the other. docs/symmetry.md has how many
# ordinary replies lie below.
LIMIT = 0.125


@dataclasses.dataclass(frozen=True)
class Symmetry:
    """One reply beside its twin. Log-likelihoods are means per token, in nats."""

    log_likelihood: float
    twin_log_likelihood: float
    tokens: int
    twin_tokens: int

    @property
    def score(self) -> float:
        """exp(-|l - l'|), in (0, 1]."""
        return math.exp(-abs(self.log_likelihood - self.twin_log_likelihood))

    def line(self, limit: float) -> str:
        """What a score under the limit says, in words."""
        than = "likelier" if self.log_likelihood > self.twin_log_likelihood else "less likely"
        return (
            f"symmetry {self.score:.2f} is under the limit of {limit:g}: the reply is {than} than its role-swapped twin"
            f" ({self.log_likelihood:.2f} against {self.twin_log_likelihood:.2f} nats a token)"
        )


class Scorer:
    """Scores replies in a session of its own, so that the conversation's session is left alone. n_ctx, n_threads as Backend.session.

    Raises RuntimeFault for a model without a chat format.
    """

    def __init__(self, backend: Backend, *, n_ctx: int = 0, n_threads: int = 0) -> None:
        if backend.eot is None:
            raise RuntimeFault("this model has no chat format: a reply cannot be compared with its role-swapped twin")
        self.backend = backend
        self.eot = backend.eot
        self.session = backend.session(n_ctx=n_ctx, n_threads=n_threads)
        self._twins: np.ndarray | None = None

    def __enter__(self) -> Scorer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Frees the session; closing twice is allowed."""
        self.session.close()

    def score(self, messages: Messages, reply: str, *, ended: bool = True) -> Symmetry:
        """Compares the reply to `messages` with its twin. ended: the model closed the turn by itself, and that counts as a token.

        Where the context does not hold everything, the oldest exchanges are left out on both sides, then the end of the reply. Raises RuntimeFault
        where even the last message does not fit, or where the reply is empty and was cut.
        """
        messages = self._fitting(messages, reply, ended)
        one, other = self._ids(messages, reply, ended), self._ids(*_twin(messages, reply), ended)
        means = [self._mean(*self._trimmed(*ids)) for ids in (one, other)]
        return Symmetry(means[0][0], means[1][0], means[0][1], means[1][1])

    def divergence(self, messages: Messages, reply: str) -> tuple[float, int]:
        """How far the model's next word moves under S: sum and count of Jensen-Shannon divergences in bits, each in [0, 1].

        At each place of the reply the distribution p of the next token is set beside that of the twin at the same place, carried over by the
        permutation of role tokens: q(twin of v). Places are compared where reply and twin have as many tokens; else only the first is.
        """
        both = [self._ids(messages, reply, True), self._ids(*_twin(messages, reply), True)]
        trimmed = [self._trimmed(*ids) for ids in both]
        places = min(len(answer) for _, answer in trimmed) if len(both[0][1]) == len(both[1][1]) else 1
        total, rows = 0.0, []
        for prompt, answer in trimmed:
            rows.append(list(self._rows(prompt, answer[:places])))
        if self._twins is None:
            self._twins = token_swap(self.backend, size=rows[0][0].shape[-1])
        for p, q in zip(*rows, strict=True):
            total += float(_jensen_shannon(p, q[:, self._twins]).sum())
        return total, places

    def _ids(self, messages: Messages, reply: str, ended: bool) -> tuple[list[int], list[int]]:
        """Token ids of the prompt, the assistant's header at its end, and of the reply."""
        turn, turn_end = self.backend.chat_turn, self.backend.turn_end
        prompt = text_start(self.backend)
        for i, (role, content) in enumerate(messages):
            prompt += turn(role, content, first=i == 0)
        header, whole = turn("assistant", None), turn("assistant", reply)
        return prompt + header, whole[len(header) : len(whole) - len(turn_end)] + [self.eot] * ended

    def _fitting(self, messages: Messages, reply: str, ended: bool) -> Messages:
        while True:
            both = (self._ids(messages, reply, ended), self._ids(*_twin(messages, reply), ended))
            if all(len(prompt) + len(answer) - 1 <= self.session.n_ctx for prompt, answer in both):
                return messages
            oldest = next((i for i, (role, _) in enumerate(messages) if role != "system"), len(messages))
            next_one = next((i for i in range(oldest + 1, len(messages)) if messages[i][0] == "user"), None)
            if next_one is None:
                return messages
            messages = [*messages[:oldest], *messages[next_one:]]

    def _trimmed(self, prompt: list[int], answer: list[int]) -> tuple[list[int], list[int]]:
        room = self.session.n_ctx - len(prompt) + 1
        if room < 1:
            raise RuntimeFault(
                f"the message or its role-swapped twin has {len(prompt)} tokens, the context has room for {self.session.n_ctx}"
            )
        if not answer:
            raise RuntimeFault("an empty reply has no twin to be compared with")
        return prompt, answer[:room]

    def _mean(self, prompt: list[int], answer: list[int]) -> tuple[float, int]:
        """Mean log-likelihood of a token of the answer in nats, and their number."""
        import numpy as np

        at, total = 0, 0.0
        for rows in self._rows(prompt, answer):
            total += float(rows[np.arange(len(rows)), answer[at : at + len(rows)]].sum())
            at += len(rows)
        return total / len(answer), len(answer)

    def _rows(self, prompt: list[int], answer: list[int]) -> Iterator[np.ndarray]:
        """Log-probabilities float64[n <= ROWS, V] of what comes at each place of the answer, in order."""
        import numpy as np

        session = self.session
        session.rollback(0)
        session.eval(prompt)
        yield _log_softmax(np.array(session.logits(), dtype=np.float64)[None])
        for i in range(0, len(answer) - 1, ROWS):
            yield _log_softmax(session.eval_all(answer[i : min(i + ROWS, len(answer) - 1)]).astype(np.float64))


def _twin(messages: Messages, reply: str) -> tuple[list[tuple[str, str]], str]:
    return [(role, swap_roles(content)) for role, content in messages], swap_roles(reply)


def _log_softmax(logits: Any) -> Any:
    import numpy as np

    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def _jensen_shannon(log_p: Any, log_q: Any) -> Any:
    """[n] divergences in bits of two [n, V] arrays of log-probabilities."""
    import numpy as np

    log_m = np.logaddexp(log_p, log_q) - math.log(2.0)
    parts = np.exp(log_p) * (log_p - log_m) + np.exp(log_q) * (log_q - log_m)
    return 0.5 * parts.sum(axis=-1) / math.log(2.0)
