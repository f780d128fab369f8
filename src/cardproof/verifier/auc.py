"""The area under the ROC curve, with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

from cardproof.records import Estimate

MIN_COUPLES = 20
"""Fewest positives, and fewest negatives, for which an AUC is reported."""


def auc(positives: Sequence[float], negatives: Sequence[float], level: float = 0.95, minimum: int = 1) -> Estimate:
    """The area under the ROC curve: the share of (positive, negative) couples in which the positive scores higher; a tie counts half.

    This is Mann-Whitney's U over its maximum. The interval inverts the Hanley-McNeil standard error (Newcombe 2006, method 5), so it has a
    width even at 1. It assumes that scores are independent; scores that share a sentence are not. `n` counts all scores. The value is None
    with fewer than `minimum` positives or negatives.
    """
    m, n = len(positives), len(negatives)
    method = "Mann-Whitney; Newcombe 2006, method 5 (Hanley-McNeil inverted)"
    if min(m, n) < max(1, minimum):
        why = f"not given: {m} positives, {n} negatives, fewer than {max(1, minimum)}"
        return Estimate(value=None, n=m + n, low=None, high=None, level=level, method=why)
    from scipy.stats import rankdata

    ranks = rankdata([*positives, *negatives])
    value = (float(ranks[:m].sum()) - m * (m + 1) / 2) / (m * n)
    z = NormalDist().inv_cdf((1 + level) / 2)
    star = (m + n) / 2 - 1

    def inside(t: float) -> bool:
        variance = t * (1 - t) / (m * n) * (1 + star * ((1 - t) / (2 - t) + t / (1 + t)))
        return (value - t) ** 2 <= z * z * variance

    def bound(outer: float) -> float:
        inner = value
        for _ in range(60):
            middle = (inner + outer) / 2
            inner, outer = (middle, outer) if inside(middle) else (inner, middle)
        return inner

    low = value if value == 0 else bound(0.0)
    high = value if value == 1 else bound(1.0)
    return Estimate(value=value, n=m + n, low=min(low, value), high=max(high, value), level=level, method=method)
