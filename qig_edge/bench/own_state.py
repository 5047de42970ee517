"""What the model says of itself while it reads: a trace of its telemetry, token by token, for the page's plots."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from qig_edge.bench.timing import text_tokens
from qig_edge.runtime.backend import Sampling, text_start
from qig_edge.runtime.opening import OpenedModel, OpenedSession

TOKENS, LEAST_TOKENS = 128, 32
FIELDS = ("phi", "surprise", "confidence", "agency", "regime", "blocks_run", "bytes_read")
SAMPLING = Sampling(seed=1)


def own_state(model: OpenedModel, session: OpenedSession, prompt: str, text: Path | None) -> dict[str, Any]:
    """Records of a text's beginning, at most TOKENS and as many as the session has positions; without a text of `prompt` and the model's own
    continuation of it (random tokens would say nothing).

    {"of": what was read, and a list for each of FIELDS}, None where the back end does not tell. The session is fresh. Raises DataError for a text
    without tokens.
    """
    if text is not None:
        for token in text_tokens(model, TOKENS, text)[: session.n_ctx]:
            session.eval([token])
    else:
        for token in [*text_start(model), *model.tokenize(prompt)][: session.n_ctx]:
            session.eval([token])
        session.set_sampler(SAMPLING)
        ends = {model.eos, model.eot}
        while session.pos < min(TOKENS, session.n_ctx) and (token := session.sample()) not in ends:
            session.eval([token])
    records = [session.telemetry(pos) for pos in range(session.pos)]
    of = str(text) if text is not None else f"'{prompt}' and the model's own continuation"
    return {"of": of, **{name: [_known(getattr(r, name)) for r in records] for name in FIELDS}}


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
