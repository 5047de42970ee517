"""Drawing in NumPy draws what libqig draws."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from qig_edge.errors import RuntimeFault
from qig_edge.runtime import sampler
from qig_edge.runtime.backend import Sampling
from qig_edge.runtime.native import NativeModel

SETTINGS = [
    Sampling.greedy(),
    Sampling(),
    Sampling(top_k=1),
    Sampling(temperature=1.5, top_k=0, top_p=0.9, min_p=0.0),
    Sampling(temperature=0.3, top_k=5, top_p=0.5, min_p=0.1, repeat_penalty=2.0, repeat_last_n=3),
    Sampling(temperature=2.0, top_k=300, top_p=0.999, min_p=0.02, repeat_penalty=0.5),
]


@pytest.mark.parametrize("number", range(len(SETTINGS)))
def test_draws_what_libqig_draws(tiny_model: Path, number: int) -> None:
    drawn = set()
    with NativeModel(tiny_model) as model, model.session(n_threads=1) as session:
        for seed in (0, 1, 2**64 - 1):
            sampling = dataclasses.replace(SETTINGS[number], seed=seed)
            session.rollback(0)
            session.set_sampler(sampling)
            session.eval([7, 8, 9])
            state = sampler.seeded(seed)
            for _ in range(20):
                mine, state = sampler.draw(sampling, session.logits(), session.tokens, state)
                token = session.sample()
                assert mine == token
                drawn.add(token)
                session.eval([token])
    assert len(drawn) > 1


def test_without_order_the_same_distribution() -> None:
    """With top-p off libqig draws in another order: the shares have to be the probabilities."""
    logits = np.log(np.array([0.5, 0.25, 0.2, 0.05], np.float32))
    sampling = Sampling(temperature=1.0, top_k=0, top_p=1.0, min_p=0.15, repeat_penalty=1.0)
    counts, state = np.zeros(4), sampler.seeded(5)
    for _ in range(4000):
        token, state = sampler.draw(sampling, logits, np.array([], np.int32), state)
        counts[token] += 1
    assert counts[3] == 0
    assert np.abs(counts[:3] / 4000 - np.array([0.5, 0.25, 0.2]) / 0.95).max() < 0.04


def test_ties_go_to_the_lower_id() -> None:
    assert sampler.draw(Sampling.greedy(), np.array([1, 3, 3, 2], np.float32), np.array([], np.int32), 0)[0] == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_no_numbers(bad: float) -> None:
    with pytest.raises(RuntimeFault, match="not a number" if np.isnan(bad) else "infinite"):
        sampler.draw(Sampling(), np.array([0, bad, 1], np.float32), np.array([], np.int32), 0)
