"""Best-of-N against enumeration of every subset, and compute equivalence against curves whose crossing is known."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardproof.errors import CardproofError
from cardproof.evaluation import rerank

light = settings(max_examples=60, deadline=None)


@light
@given(
    st.integers(1, 8).flatmap(
        lambda n: st.tuples(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=n, max_size=n), st.integers(1, n))
    )
)
def test_expected_metric_agrees_with_all_subsets(drawn):
    # Few distinct composites, so ties happen; the metric is another number of each candidate, so a wrong tie shows.
    composites, n = drawn
    metric = [float(k + 1) for k in range(len(composites))]
    taken = []
    for subset in itertools.combinations(range(len(composites)), n):
        best = max(subset, key=lambda k: (composites[k], -k))
        taken.append(metric[best])
    by_rank = [metric[k] for k in rerank.ranked(frame([(1, k, c) for k, c in enumerate(composites)]))["k"]]
    assert rerank.curves([by_rank])[0, n - 1] == pytest.approx(sum(taken) / len(taken))


def test_weights_by_hand():
    # Of the 6 pairs of 4 candidates the best is in 3, the second best leads 2, the third 1, the worst none.
    assert rerank.rank_weights(4, 2) == pytest.approx([3 / 6, 2 / 6, 1 / 6, 0])
    assert rerank.rank_weights(8, 8) == pytest.approx([1] + [0] * 7)
    assert rerank.rank_weights(8, 1) == pytest.approx([1 / 8] * 8)
    for n in (0, 9):
        with pytest.raises(ValueError, match="1 <= N <= 8"):
            rerank.rank_weights(8, n)


def test_ties_go_to_the_earlier_candidate():
    table = rerank.ranked(frame([(1, k, c) for k, c in enumerate([0.5, 0.9, 0.5, 0.9])]))
    assert table["k"].to_list() == [1, 3, 0, 2]
    assert rerank.picked(table)["k"].to_list() == [1]


def frame(rows, arm="base", oracle_present=True):
    columns = ["item", "k", "composite"]
    table = pl.DataFrame(rows, schema=columns, orient="row")
    return table.with_columns(pl.lit(arm).alias("arm"), pl.lit("clean").alias("condition"), pl.lit(oracle_present).alias("oracle_present"))


def test_ranked_frame():
    table = rerank.ranked(frame([(2, 1, 0.1), (1, 0, 0.5), (2, 0, 0.1), (1, 1, 0.7)]))
    assert table.select("item", "k", "rank").rows() == [(1, 1, 1), (1, 0, 2), (2, 0, 1), (2, 1, 2)]
    assert rerank.picked(table)["k"].to_list() == [1, 0]
    assert rerank.by_rank(table, pl.col("composite")).tolist() == [[0.7, 0.5], [0.1, 0.1]]
    assert rerank.best_of(table) == 2


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
    targets = curves[:, 1] + rng.normal(0, 0.02, 30)
    found = rerank.equivalence_interval(curves, targets, resamples=1500, seed=1)
    assert found == rerank.equivalence_interval(curves, targets, resamples=1500, seed=1)
    assert found.low < rerank.equivalence(curves.mean(axis=0), targets.mean()).n < found.high
    # Arms are resampled together: a target that is N = 2 of the same items stays N = 2 in every resample.
    same = rerank.equivalence_interval(curves, curves[:, 1], resamples=200)
    assert (same.low, same.high) == pytest.approx((2, 2))


def test_equivalence_interval_beyond_the_curve_is_open():
    rng = np.random.default_rng(0)
    curves = np.sort(rng.random((20, 4)), axis=1)
    above = rerank.equivalence_interval(curves, np.full(20, 2.0), resamples=100)
    assert (above.low, above.high, above.below, above.above) == (None, None, 0.0, 1.0)
    near_one = rerank.equivalence_interval(curves, curves[:, 0] + rng.normal(0, 0.3, 20), resamples=500)
    assert near_one.low is None
    assert near_one.high is not None
    assert 0 < near_one.below < 1
    assert rerank.equivalence_interval(curves[:1], [0.1]).low is None
