"""Best-of-N against enumeration of every subset, and compute equivalence against curves whose crossing is known."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardproof.errors import CardproofError
from cardproof.evaluation import rerank, statistics
from cardproof.evaluation.results import Choices

light = settings(max_examples=60, deadline=None)


def brute(composites, metric, n):
    """The mean over every subset of n candidates, and over every pick among its best."""
    taken = []
    for subset in itertools.combinations(range(len(composites)), n):
        best = max(composites[k] for k in subset)
        tied = [metric[k] for k in subset if composites[k] == best]
        taken.append(sum(tied) / len(tied))
    return sum(taken) / len(taken)


@light
@given(
    st.integers(1, 8).flatmap(
        lambda n: st.tuples(
            st.lists(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=n, max_size=n), min_size=1, max_size=3),
            st.lists(st.floats(0, 1), min_size=n, max_size=n),
        )
    )
)
def test_expected_metrics_agree_with_all_subsets_and_all_picks_among_equals(drawn):
    # Few distinct composites, so ties happen; the metric is another number of each candidate, so a wrong tie shows.
    composites, metric = drawn
    total = len(metric)
    rows = [(item, k, c) for item, row in enumerate(composites) for k, c in enumerate(row)]
    table = rerank.ranked(frame(rows).with_columns(metric=pl.Series(metric * len(composites))))
    found = table.curves(pl.col("metric"))
    for item, row in enumerate(composites):
        for n in range(1, total + 1):
            expected = brute(row, metric, n)
            assert abs(found[item, n - 1] - expected) < 1e-12
            assert abs(table.expected(pl.col("metric"), n)[item] - expected) < 1e-12


def test_weights_by_hand():
    # Of the 6 pairs of 4 candidates the best is in 3, the second best leads 2, the third 1, the worst none.
    assert rerank.rank_weights(4, 2) == pytest.approx([3 / 6, 2 / 6, 1 / 6, 0])
    assert rerank.rank_weights(8, 8) == pytest.approx([1] + [0] * 7)
    assert rerank.rank_weights(8, 1) == pytest.approx([1 / 8] * 8)
    for n in (0, 9):
        with pytest.raises(ValueError, match="1 <= N <= 8"):
            rerank.rank_weights(8, n)


def test_ties_share_what_their_places_would_have_had():
    # Of three pairs the two best tie in all three that hold either: (1, 2), (1, 3), (2, 3); the first pair is taken half by each.
    assert rerank.shares([[0.9, 0.9, 0.1]])[0, :, 1] == pytest.approx([0.5, 0.5, 0.0])
    assert rerank.shares([[0.0, 0.0, 0.0]])[0] == pytest.approx(np.full((3, 3), 1 / 3))
    assert rerank.shares([[0.9, 0.5, 0.5]])[0, :, 2] == pytest.approx([1, 0, 0])


def test_how_often_there_was_a_choice():
    table = rerank.ranked(frame([(1, 0, 0.0), (1, 1, 0.0), (2, 0, 0.5), (2, 1, 0.7), (3, 0, 0.2), (3, 1, 0.2)]))
    assert rerank.choices(table) == Choices(items=3, unique=1, some=1)
    three = rerank.ranked(frame([(1, 0, 0.5), (1, 1, 0.5), (1, 2, 0.1)]))
    assert rerank.choices(three) == Choices(items=1, unique=0, some=1)


def frame(rows, arm="base", oracle_present=True):
    columns = ["item", "k", "composite"]
    table = pl.DataFrame(rows, schema=columns, orient="row")
    return table.with_columns(pl.lit(arm).alias("arm"), pl.lit("clean").alias("condition"), pl.lit(oracle_present).alias("oracle_present"))


def test_ranked_frame():
    table = rerank.ranked(frame([(2, 1, 0.1), (1, 0, 0.5), (2, 0, 0.1), (1, 1, 0.7)]))
    assert table.rows.select("item", "k", "rank").rows() == [(1, 1, 1), (1, 0, 2), (2, 0, 1), (2, 1, 2)]
    assert table.matrix(pl.col("composite")).tolist() == [[0.7, 0.5], [0.1, 0.1]]
    assert table.of_items("item").to_list() == [1, 2]
    assert table.best_of == 2


def test_ranked_frame_of_bad_rows():
    with pytest.raises(CardproofError, match="item 2 has 1 candidates and item 1 has 2"):
        rerank.ranked(frame([(1, 0, 0.5), (1, 1, 0.5), (2, 0, 0.5)]))
    with pytest.raises(CardproofError, match="item 1 has two rows of one candidate"):
        rerank.ranked(frame([(1, 0, 0.5), (1, 0, 0.5)]))
    with pytest.raises(CardproofError, match="no rows"):
        rerank.ranked(frame([(1, 0, 0.5)]).clear())


def test_arms_must_be_pairable():
    base = frame([(1, 0, 0.5), (2, 0, 0.5)])
    with pytest.raises(CardproofError, match="only one of them has item 2"):
        rerank.aligned({"base": base, "other": base.filter(pl.col("item") == 1)})
    with pytest.raises(CardproofError, match="1 and 2 candidates"):
        rerank.aligned({"base": base, "other": pl.concat([base, base.with_columns(k=pl.lit(1, pl.Int64))])})
    with pytest.raises(CardproofError, match="item 1 had its oracle"):
        rerank.aligned({"base": base, "other": frame([(1, 0, 0.5), (2, 0, 0.5)], oracle_present=False)})
    with pytest.raises(CardproofError, match="no arms"):
        rerank.aligned({})


# --- compute equivalence ----------------------------------------------------------------------------------------------


def test_equivalence_on_a_curve_linear_in_log2_n():
    curve = [0.5 + 0.1 * np.log2(n) for n in range(1, 9)]
    for n in (1, 1.5, 2, 3, 5.5, 8):
        assert rerank.equivalence(curve, 0.5 + 0.1 * np.log2(n)).n == pytest.approx(n)
    assert rerank.equivalence(curve, 0.4) == (None, "below N=1")
    assert rerank.equivalence(curve, 0.9) == (None, "above N=8")


def test_equivalence_by_hand():
    # Halfway between N = 2 and N = 3 in the metric: 2 (3/2)^(1/2).
    assert rerank.equivalence([0.4, 0.5, 0.6], 0.55).n == pytest.approx(2 * 1.5**0.5)
    # The first N that meets the target, on a plateau and at its ends.
    assert rerank.equivalence([0.4, 0.5, 0.5, 0.6], 0.5).n == 2
    assert rerank.equivalence([0.4], 0.4).n == 1
    assert rerank.equivalence([0.0, 0.0], 0.0).n == 1


def test_equivalence_interval():
    rng = np.random.default_rng(0)
    curves = np.sort(rng.random((30, 4)), axis=1)
    targets = np.clip(curves[:, 1] + rng.normal(0, 0.02, 30), 0, 1)
    found = rerank.equivalence_interval(curves, targets)
    assert found.low < rerank.equivalence(curves.mean(axis=0), targets.mean()).n < found.high
    # Arms are paired: a target that is N = 2 of the same items is as near to it as 30 equal differences can say.
    same = rerank.equivalence_interval(curves, curves[:, 1])
    assert same.low < 2 < same.high
    assert same.high - same.low < found.high - found.low + 1


def test_the_equivalence_interval_inverts_the_paired_test():
    rng = np.random.default_rng(3)
    curves = np.sort(rng.random((30, 4)), axis=1)
    targets = np.clip(curves.mean(axis=1) + rng.normal(0, 0.1, 30), 0, 1)
    found = rerank.equivalence_interval(curves, targets, 0.95)
    for n in (1, 2, 3, 4):
        gap = statistics.differences(statistics.column(targets), statistics.column(curves[:, n - 1]))
        inside = (found.low is None or found.low <= n) and (found.high is None or n <= found.high)
        assert (statistics.compare(gap).p >= 0.05) == inside


def test_equivalence_interval_beyond_the_curve_is_open():
    rng = np.random.default_rng(0)
    curves = np.sort(rng.random((20, 4)), axis=1) / 2
    above = rerank.equivalence_interval(curves, np.full(20, 1.0))
    assert (above.low, above.high) == (None, None)
    assert above.below < 1e-3
    assert above.above > 1 - 1e-3
    near_one = rerank.equivalence_interval(curves, np.clip(curves[:, 0] + rng.normal(0, 0.3, 20), 0, 1))
    assert near_one.low is None
    assert near_one.high is not None
    assert 0.025 < near_one.below < 1
    assert rerank.equivalence_interval(curves[:1], [0.1]).low is None
