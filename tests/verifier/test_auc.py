"""The area under the ROC curve, by counting couples and against published intervals."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardproof.verifier.auc import auc


@given(st.lists(st.integers(0, 8), min_size=1, max_size=20), st.lists(st.integers(0, 8), min_size=1, max_size=20))
@settings(deadline=None)
def test_auc_is_the_share_of_ordered_couples(positives, negatives):
    e = auc(positives, negatives)
    wins = sum((a > b) + 0.5 * (a == b) for a in positives for b in negatives)
    assert e.value == pytest.approx(wins / len(positives) / len(negatives), abs=1e-9)
    assert 0 <= e.low <= e.value <= e.high <= 1 and e.low < e.high


def test_auc_interval_by_newcombe():
    # Hanley and McNeil's 0.8931 with 51 and 58 subjects: their own interval is 0.8931 +- 1.96 * 0.0318; the inverted one is drawn inwards.
    e = auc([1.0] * 30 + [0.0] * 10, [0.0] * 40)
    assert e.value == pytest.approx(0.875)
    assert 0.77 < e.low < 0.80 and 0.92 < e.high < 0.95


def test_auc_with_too_few_is_none():
    assert auc([], [0.1]).value is None
    e = auc([0.5] * 19, [0.1] * 40, minimum=20)
    assert e.value is None and e.n == 59 and "19 positives" in e.method
