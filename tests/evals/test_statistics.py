"""Statistics against values worked out by hand, and against their definitions on random numbers."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from qig_edge.evals import statistics as st
from tests.conftest import SEED


def close(a: float | None, b: float, tolerance: float = 1e-12) -> bool:
    return a is not None and abs(a - b) <= tolerance


def test_proportion() -> None:
    p = st.Proportion(3, 4, 0.5)
    assert p.share == 0.75 and close(p.stderr, math.sqrt(0.75 * 0.25 / 4))
    # Wilson at 3 of 4, z = 1.96: centre (0.75 + 3.8415 / 8) / (1 + 3.8415 / 4), half width 1.96 sqrt(0.1875 / 4 + 3.8415 / 64) / 1.9604
    low, high = p.interval
    assert close(low, 0.30064, 1e-5) and close(high, 0.95441, 1e-5)
    low, high = st.Proportion(0, 10).interval
    assert low == 0 and close(high, 0.27753, 1e-5)
    assert close(st.Proportion(10, 10).interval[1], 1)
    assert p.to_dict()["chance"] == 0.5


def test_ranks_share_ties() -> None:
    assert st.ranks([30, 10, 20]).tolist() == [3, 1, 2]
    assert st.ranks([2, 1, 2, 2, 5]).tolist() == [3, 1, 3, 3, 5]
    assert st.ranks([7, 7]).tolist() == [1.5, 1.5] and not len(st.ranks([]))


def test_spearman_by_hand() -> None:
    assert close(st.spearman([1, 2, 3], [10, 20, 90]), 1) and close(st.spearman([1, 2, 3], [5, 4, -9]), -1)
    # without ties 1 - 6 sum d^2 / (n (n^2 - 1)): d = 0, 1, -1, 0 -> 1 - 12 / 60
    assert close(st.spearman([1, 2, 3, 4], [1, 3, 2, 4]), 0.8)
    # ranks 1.5 1.5 3 against 1 2 3: covariance 1.5, variances 1.5 and 2 -> 1.5 / sqrt 3
    assert close(st.spearman([1, 1, 2], [1, 2, 3]), 1.5 / math.sqrt(3))
    assert st.spearman([1, 1, 1], [1, 2, 3]) is None and st.spearman([1], [1]) is None and st.spearman([], []) is None


def test_partial_spearman_by_hand() -> None:
    a, b, c = [1, 2, 3, 4], [1, 3, 2, 4], [2, 1, 3, 4]
    ab, ac, bc = 0.8, 0.8, 0.4  # d^2 sums 2, 2, 6
    assert close(st.spearman(b, c), bc)
    assert close(st.partial_spearman(a, b, c), (ab - ac * bc) / math.sqrt((1 - ac**2) * (1 - bc**2)))
    assert close(st.partial_spearman(a, b, [5, 5, 5, 5]), ab)  # a constant takes nothing out
    assert st.partial_spearman(a, b, a) is None  # all of it is taken out
    assert st.partial_spearman([1, 1, 1, 1], b, c) is None


def test_auroc_by_hand() -> None:
    assert close(st.auroc([1, 2, 3, 4], [False, False, True, True]), 1)
    assert close(st.auroc([4, 3, 2, 1], [False, False, True, True]), 0)
    assert close(st.auroc([0.1, 0.4, 0.35, 0.8], [False, False, True, True]), 0.75)  # three pairs of four
    assert close(st.auroc([1, 1, 1], [True, False, False]), 0.5)
    assert (
        st.auroc([1, 2], [True, True]) is None and st.auroc([1, 2], [False, False]) is None and st.auroc([], []) is None
    )


def test_auroc_is_the_share_of_ordered_pairs() -> None:
    rng = random.Random(SEED)
    checked = 0
    for _ in range(50):
        scores = [rng.randrange(6) for _ in range(rng.randrange(2, 20))]
        positive = [rng.random() < 0.4 for _ in scores]
        pairs = [
            (a, b) for (a, p), (b, q) in itertools.product(zip(scores, positive, strict=True), repeat=2) if p and not q
        ]
        if pairs:
            checked += 1
            assert close(st.auroc(scores, positive), sum((a > b) + (a == b) / 2 for a, b in pairs) / len(pairs))
    assert checked > 20


def test_auroc_stderr_by_hand() -> None:
    # A = 3/4: Q1 = 0.6, Q2 = 2 * 0.5625 / 1.75; two of each: (0.1875 + 0.0375 + Q2 - 0.5625) / 4
    assert close(st.auroc_stderr(0.75, 2, 2), math.sqrt((0.1875 + 0.0375 + 1.125 / 1.75 - 0.5625) / 4))
    assert st.auroc_stderr(1.0, 5, 5) == 0


def test_calibration_by_hand() -> None:
    curve = st.calibration_curve([0.05, 0.15, 0.15, 0.95, 1.0], [False, True, False, True, True])
    assert len(curve) == 10 and [b.count for b in curve] == [1, 2, 0, 0, 0, 0, 0, 0, 0, 2]
    assert close(curve[1].confidence, 0.15) and close(curve[1].accuracy, 0.5) and curve[2].accuracy is None
    assert (curve[9].low, curve[9].high) == (0.9, 1.0) and close(curve[9].confidence, 0.975)
    # 1/5 * 0.05 + 2/5 * 0.35 + 2/5 * 0.025
    assert close(st.calibration_error(curve), 0.01 + 0.14 + 0.01)
    assert st.calibration_error(st.calibration_curve([], [])) is None
    assert close(st.calibration_error(st.calibration_curve([1.0] * 4, [True, True, True, False])), 0.25)
    for bad in (-0.1, 1.5):
        with pytest.raises(ValueError, match="confidence must be in"):
            st.calibration_curve([bad], [True])


def test_selective_accuracy_by_hand() -> None:
    sure, right = [0.9, 0.8, 0.7, 0.1], [True, True, False, False]
    assert [st.selective_accuracy(sure, right, c) for c in (0.25, 0.5, 0.75, 1.0)] == [1, 1, 2 / 3, 0.5]
    # the cut falls among three equals, one of them right: 1 + 1/3 of two
    assert close(st.selective_accuracy([0.9, 0.5, 0.5, 0.5], [True, True, False, False], 0.5), (1 + 1 / 3) / 2)
    assert st.selective_accuracy([0.2, 0.1], [True, False], 0.01) == 1  # at least one answer
    assert st.selective_accuracy([], [], 1) is None
    with pytest.raises(ValueError, match="coverage"):
        st.selective_accuracy([0.5], [True], 0)


def test_order_does_not_matter() -> None:
    rng = random.Random(SEED)
    values, right = [rng.randrange(8) / 8 for _ in range(40)], [rng.random() < 0.5 for _ in range(40)]
    mixed = list(range(40))
    rng.shuffle(mixed)
    for function in (
        st.auroc,
        lambda v, r: st.selective_accuracy(v, r, 0.3),
        lambda v, r: st.calibration_error(st.calibration_curve(v, r)),
    ):
        assert close(function(values, right), function([values[i] for i in mixed], [right[i] for i in mixed]))


def test_bad_values_are_refused() -> None:
    for bad in (math.nan, math.inf):
        for call in (
            lambda b: st.spearman([1, b], [1, 2]),
            lambda b: st.auroc([1, b], [True, False]),
            lambda b: st.calibration_curve([b], [True]),
            lambda b: st.selective_accuracy([b], [True], 1),
            lambda b: st.mean([b]),
        ):
            with pytest.raises(ValueError, match="finite"):
                call(bad)
    with pytest.raises(ValueError, match="do not pair"):
        st.spearman([1, 2, 3], [1, 2])
    assert st.mean([]) is None and st.mean([1, 2]) == 1.5
