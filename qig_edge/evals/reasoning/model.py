"""A Backend as a model class of lm-evaluation-harness: likelihoods of answers, and greedy text, for the tasks that it defines.

Requests are asked in the order of their tokens, on one session that is rolled back to what a request has in common with the one before: the choices
of a question share its text, which is so evaluated once. Conventions are those of the harness's own model for transformers, so that scores agree:
context and answer are tokenized together; what the context of the model cannot hold is cut on the left; generation leaves room for all it may write.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from lm_eval.api.model import TemplateLM
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from qig_edge.errors import ConfigError, RuntimeFault
from qig_edge.evals.reasoning.kept import Kept
from qig_edge.runtime.backend import Backend, Session, document_start, text_start

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

MOST_WRITTEN = 256  # tokens, where a task says nothing: the harness's own number
ROWS = 128  # logits of so many tokens are held at a time


class BackendLM(TemplateLM):
    """The harness's view of a Backend. progress(done, total) counts requests, kept holds answers of an earlier start.

    cut: requests of which the context had to be cut; evaluated: tokens given to the model.
    """

    def __init__(
        self, backend: Backend, session: Session, progress: Callable[[int, int], None], kept: Kept | None = None
    ) -> None:
        super().__init__()
        self.model, self.session, self.progress, self.kept = backend, session, progress, kept
        self.cut = self.evaluated = 0

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        return self.model.eos

    @property
    def prefix_token_id(self) -> int:
        """What a text without context is scored after."""
        return document_start(self.model)

    @property
    def max_length(self) -> int:
        """Positions of the session."""
        return self.session.n_ctx

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        """Token ids, after what a text is to begin with unless add_special_tokens is False.

        Raises ConfigError where the tokens do not hold the text.
        """
        ids = self.model.tokenize(string)
        lost = _lost(string, self.model.detokenize(ids, special=True))
        if lost:
            raise ConfigError(f"the model's tokenizer cannot encode the text {lost!r}: it would be scored on another one")
        return ids if add_special_tokens is False else [*text_start(self.model), *ids]

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """(ln p of the continuation, whether it is the greedy one) of each (context, continuation).

        Raises ConfigError for a text that the tokenizer or the context of the model does not hold.
        """
        pairs = [(r.args, *self._tokens(*r.args)) for r in requests]
        return self._loglikelihood_tokens(pairs)

    def _tokens(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        if context:
            before, after = self._encode_pair(context, continuation)
        else:
            before, after = [self.prefix_token_id], self.tok_encode(continuation, add_special_tokens=False)
        if not after:
            raise ConfigError(f"the model's tokenizer makes no token of its own of the answer {continuation[:40]!r}")
        return list(before), list(after)

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], **kwargs: Any
    ) -> list[tuple[float, bool]]:
        most = self.max_length
        inputs: list[list[int]] = []
        for _, context, continuation in requests:
            if len(continuation) > most:
                raise ConfigError(f"an answer of {len(continuation)} tokens does not fit the model's context of {most}")
            whole = context + continuation
            self.cut += len(whole) > most + 1
            inputs.append(whole[-(most + 1) :][:-1])
        found: list[tuple[float, bool]] = [(math.nan, False)] * len(requests)

        def score(i: int) -> Any:
            return list(self._score(inputs[i], requests[i][2]))

        for i, answer in self._each([r[0] for r in requests], inputs, "loglikelihood", score):
            found[i] = float(answer[0]), bool(answer[1])
        return found

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """ln p of each whole text, in windows that do not overlap but for one token."""
        windows: list[tuple[Any, list[int], list[int]]] = []
        counts = []
        for (text,) in (r.args for r in requests):
            rolling = get_rolling_token_windows(self.tok_encode(text), self.prefix_token_id, self.max_length, 1)
            parts = [make_disjoint_window(window) for window in rolling]
            windows += [((text, n), list(context), list(after)) for n, (context, after) in enumerate(parts)]
            counts.append(len(parts))
        each = iter([x for x, _ in self._loglikelihood_tokens(windows)])
        return [math.fsum(next(each) for _ in range(n)) for n in counts]

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Greedy text after each context, up to the first of the strings that the task stops at, or an end of text or turn.

        Raises ConfigError where a task draws at random, or the context of the model holds no more than what may be written.
        """
        inputs, limits = [], []
        for request in requests:
            context, how = request.args
            if how.get("do_sample") or how.get("temperature"):
                raise ConfigError("a task that draws its answers at random cannot be scored: answers are greedy")
            most = int(how.get("max_gen_toks", MOST_WRITTEN))
            room = self.max_length - most
            if room <= 0:
                raise ConfigError(
                    f"task '{request.task_name}' lets a model write {most} tokens, more than its context of {self.max_length} holds: "
                    "name other tasks (--tasks)"
                )
            ids = self.tok_encode(context)
            self.cut += len(ids) > room
            inputs.append(ids[-room:])
            limits.append(most)
        written = [""] * len(requests)

        def write(i: int) -> Any:
            return self._write(inputs[i], _stops(requests[i].args[1]), limits[i])

        for i, answer in self._each([r.args for r in requests], inputs, "generate_until", write):
            written[i] = str(answer)
        return written

    def _each(
        self, requests: Sequence[Any], inputs: Sequence[list[int]], kind: str, ask: Callable[[int], Any]
    ) -> list[tuple[int, Any]]:
        """(number, answer) of every request, asked in the order of the inputs unless its answer is kept."""
        out = []
        for done, i in enumerate(sorted(range(len(inputs)), key=inputs.__getitem__), 1):
            answer = self.kept.get(kind, requests[i]) if self.kept else None
            if answer is None:
                answer = ask(i)
                if self.kept:
                    self.kept.put(answer, kind, requests[i])
            out.append((i, answer))
            self.progress(done, len(inputs))
        return out

    def _score(self, inputs: list[int], continuation: list[int]) -> tuple[float, bool]:
        """inputs end before the last token of the continuation, whose tokens they predict from position len(inputs) - len(continuation) on."""
        first = len(inputs) - len(continuation)
        self._go_to(inputs, first)
        total, greedy = [], True
        for at in range(first, len(inputs), ROWS):
            upto = min(len(inputs), at + ROWS)
            logits = self.session.eval_all(inputs[at:upto]).astype(np.float64)
            targets = continuation[at - first : upto - first]
            top = logits.max(-1)
            chosen = logits[np.arange(len(targets)), targets]
            total.append(float((chosen - top - np.log(np.exp(logits - top[:, None]).sum(-1))).sum()))
            greedy = greedy and bool((logits.argmax(-1) == targets).all())
        self.evaluated += len(inputs) - first
        value = math.fsum(total)
        if not math.isfinite(value):
            raise RuntimeFault("the model's logits are not finite numbers: there is nothing to compare")
        return value, greedy

    def _write(self, inputs: list[int], stops: list[str], most: int) -> str:
        self._go_to(inputs, len(inputs) - 1)
        self.session.eval(inputs[-1:])
        self.evaluated += 1
        ids: list[int] = []
        ends = {self.model.eos, self.model.eot}
        while True:
            token = int(self.session.logits().argmax())
            if token in ends:
                break
            ids.append(token)
            text = self.model.detokenize(ids).decode("utf-8", "replace")
            if len(ids) == most or any(stop in text for stop in stops):
                break
            self.session.eval([token])
            self.evaluated += 1
        text = self.model.detokenize(ids).decode("utf-8", "replace")
        for stop in stops:
            text = text.split(stop)[0]
        return text

    def _go_to(self, ids: list[int], upto: int) -> None:
        """The session is to hold ids[:upto] and nothing else: keeps what it has of that, evaluates the rest."""
        have = self.session.tokens[:upto]
        same = np.asarray(ids[: len(have)]) == have
        common = len(have) if same.all() else int(same.argmin())
        self.session.rollback(common)
        if common < upto:
            self.session.eval(ids[common:upto])
            self.evaluated += upto - common


def _stops(how: dict[str, Any]) -> list[str]:
    until = how.get("until") or []
    return [s for s in ([until] if isinstance(until, str) else until) if s]


def _lost(text: str, back: bytes) -> str:
    """The first characters of a text that its tokens do not give back, "" where they give it all, but for blanks and compatible forms."""
    given, had = (_plain(t) for t in (back.decode("utf-8", "replace"), text))
    if given == had:
        return ""
    at = next((i for i, (a, b) in enumerate(zip(given, had, strict=False)) if a != b), min(len(given), len(had)))
    return had[at : at + 20] or given[at : at + 20]


def _plain(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).split())
