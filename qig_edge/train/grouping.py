"""Batches by regime: the windows of the next few steps are measured by the model as it is and dealt out by their
integration.

A step then sees windows of one regime, from loosely to strongly integrated, and so does each of its micro-batches; over
a pool of steps the data is the same as without. The measurement costs one forward pass a window, about a third of a
step. What is dealt is part of the checkpoint, so a resumed run deals alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

POOL = 8  # steps


class Grouping:
    """Which windows a step reads. Without grouping, step s of `rows` windows reads s rows .. (s + 1) rows - 1."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.start, self.steps = 0, 0
        self.order: list[int] = []

    def windows(self, step: int, end: int, rows: int, measure: Callable[[list[int]], np.ndarray]) -> list[int]:
        """The `rows` window numbers of a step, sorted by phi; `end` is the first step that must not share a pool with
        it.

        measure: window numbers -> their mean phi. It is called when a pool begins.
        """
        if not self.start <= step < self.start + self.steps or len(self.order) != self.steps * rows:
            self.start, self.steps = step, min(POOL, end - step)
            numbers = list(range(step * rows, (step + self.steps) * rows))
            phi = measure(numbers)
            by_phi = [numbers[i] for i in np.argsort(phi, kind="stable")]
            turns = np.random.default_rng((self.seed, step)).permutation(self.steps)
            self.order = [n for turn in turns for n in by_phi[turn * rows : (turn + 1) * rows]]
        at = (step - self.start) * rows
        return self.order[at : at + rows]

    def state_dict(self) -> dict[str, Any]:
        return {"start": self.start, "steps": self.steps, "order": self.order}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.start, self.steps, self.order = state["start"], state["steps"], state["order"]
