"""One greedy answer of a Backend to one line, with the state that the model reported on the way.

The session is fed the end-of-text token and then the prompt: in training every text comes after one. What the model then writes up to a newline or
an end token is its answer; the closing token is part of it, because ending is a decision too.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from qig_edge.runtime.backend import Backend, Session, Telemetry, document_start

# Most tokens of an answer: the longest right ones take about half of it even where each byte is a token.
ANSWER_TOKENS = 24


@dataclasses.dataclass(frozen=True)
class Answer:
    """text: the first line, stripped. written: the bytes of each token that the model wrote, the closing one included, b"" for an end token.

    phi: mean over the positions that wrote a token each (the prompt's last token wrote the first). surprise: mean over the tokens
    written, under the distribution each came from. confidences, probabilities: for each token written, the confidence before it and
    its softmax. records: every token evaluated, prompt first.
    """

    text: str
    written: tuple[bytes, ...]
    prompt_tokens: int
    phi: float
    surprise: float
    confidences: tuple[float, ...]
    probabilities: tuple[float, ...]
    records: tuple[Telemetry, ...]

    def tokens_right(self, expected: str) -> list[bool]:
        """Whether each token led on towards the expected answer and its newline or end.

        The list ends with the first that did not: after it no token is right or wrong.
        """
        line, so_far, right = f"{expected}\n".encode(), b"", []
        for piece in self.written:
            ok = so_far.strip() == line.strip() if not piece else line.startswith((so_far + piece).lstrip(b" "))
            right.append(ok)
            if not ok:
                break
            so_far += piece
        return right


def first_line(text: str) -> str:
    """What counts of an answer: everything before the first newline, without blanks around it."""
    return text.partition("\n")[0].strip()


def prompt_ids(backend: Backend, prompt: str) -> list[int]:
    """The token that a text is scored after, and the prompt as tokens."""
    return [document_start(backend), *backend.tokenize(prompt)]


def fits(backend: Backend, session: Session, prompt: str) -> bool:
    """Whether the context holds the prompt and a whole answer."""
    return len(prompt_ids(backend, prompt)) + ANSWER_TOKENS <= session.n_ctx


def ask(backend: Backend, session: Session, prompt: str) -> Answer:
    """The greedy answer to a prompt, on a session with a greedy sampler, whose history is forgotten.

    Raises ContextFull where prompt and answer do not fit.
    """
    ids = prompt_ids(backend, prompt)
    ends = {backend.eos, backend.eot}
    session.rollback(0)
    session.eval(ids)
    written: list[bytes] = []
    probabilities: list[float] = []
    while len(written) < ANSWER_TOKENS:
        token = session.sample()
        probabilities.append(_softmax(session.logits(), token))
        session.eval([token])
        written.append(b"" if token in ends else backend.detokenize([token]))
        if token in ends or b"\n" in written[-1]:
            break
    records = tuple(session.telemetry(i) for i in range(session.pos))
    wrote, came = records[len(ids) - 1 : -1], records[len(ids) :]
    return Answer(
        text=first_line(b"".join(written).decode("utf-8", "replace")),
        written=tuple(written),
        prompt_tokens=len(ids),
        phi=math.fsum(r.phi for r in wrote) / len(wrote),
        surprise=math.fsum(r.surprise for r in came) / len(came),
        confidences=tuple(r.confidence for r in wrote),
        probabilities=tuple(probabilities),
        records=records,
    )


def _softmax(logits: np.ndarray, token: int) -> float:
    weights = np.exp(logits.astype(np.float64) - float(logits.max()))
    return float(weights[token] / weights.sum())
