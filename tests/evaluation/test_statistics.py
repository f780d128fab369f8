"""Estimates, comparisons and families, against other libraries and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from cardproof.errors import CardproofError
from cardproof.evaluation import statistics
from cardproof.evaluation.statistics import column, compare, differences, estimate, family

light = settings(max_examples=60, deadline=None)
values = st.lists(st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 1.0]), min_size=1, max_size=20)
pairs = st.integers(1, 15).flatmap(
    lambda n: st.tuples(*[st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=n, max_size=n) for _ in range(2)])
)


# --- estimates --------------------------------------------------------------------------------------------------------


def test_an_estimate_of_flags_has_a_count():
    found = estimate(column([1, 0, 1, 1]))
    assert (found.value, found.n, found.count, found.method) == (0.75, 4, 3, "clopper-pearson")
    # beta.ppf(0.025, 3, 2), beta.ppf(0.975, 4, 1)
    assert (found.low, found.high) == pytest.approx((0.19412, 0.99369), abs=1e-5)


def test_an_estimate_of_shares_has_none():
    found = estimate(column([0.5, 1.0, 0.0]))
    assert (found.value, found.n, found.count) == (0.5, 3, None)
    assert found.method.startswith("bayesian bootstrap")
    assert 0 < found.low < 0.5 < found.high < 1


def test_no_items_and_one_item():
    assert (estimate(column([])).value, estimate(column([])).n, estimate(column([0.5], [0.0])).low) == (None, 0, None)
    one = estimate(column([0.7]))
    # 0.7 x 0.025 and 1 - 0.3 x 0.025
    assert (one.value, one.low, one.high) == pytest.approx((0.7, 0.0175, 0.9925))
    assert one.method == "exact bound for 1 items of one value"


def test_items_count_with_their_weights():
    # Items with (total, share that answers) (0.5, 1), (1, 1), (0, 0), (0.25, 0.5): 1.75 / 2.5 over the three that answer.
    found = estimate(column([0.5, 1, 0, 0.25], [1, 1, 0, 0.5]))
    assert (found.value, found.n) == (0.7, 3)
    assert found.low < 0.7 < found.high


@light
@given(values)
def test_no_interval_is_a_point_or_holds_nan(drawn):
    found = estimate(column(drawn))
    assert math.isfinite(found.low)
    assert math.isfinite(found.high)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.low < found.high


def test_bad_columns_are_refused():
    with pytest.raises(ValueError, match="finite"):
        column([0.1, float("nan")])
    with pytest.raises(ValueError, match="lengths"):
        column([0.1], [1, 1])


def test_whole():
    assert statistics.whole(3.0000000001) == 3
    assert isinstance(statistics.whole(2.0), int)
    assert statistics.whole(2.5) == 2.5


# --- comparisons ------------------------------------------------------------------------------------------------------


def test_differences_are_over_items_that_count_for_both():
    found = differences(column([1, 0.5, 0], [1, 1, 0]), column([0.5, 1, 1], [1, 1, 1]))
    assert found.totals.tolist() == [-0.5, 0.5]
    # An arm that is half a refusal counts half: 0.5 x 1 - 1 x 0.25, with weight 0.5.
    half = differences(column([0.25], [0.5]), column([1.0]))
    assert (half.totals.tolist(), half.weights.tolist()) == ([0.25], [0.5])


@light
@given(pairs)
def test_p_and_interval_of_a_comparison_agree_before_and_after_the_correction(pair):
    tests = {
        "first": differences(column(pair[0]), column(pair[1])),
        "second": differences(column(pair[1]), column(pair[0])),
        "third": differences(column(pair[0]), column(pair[0])),
    }
    for found in family(tests).values():
        assert found.low <= found.difference <= found.high
        assert (found.p < 0.05) == (found.low > 0 or found.high < 0)
        assert (found.p_holm < 0.05) == (found.low_holm > 0 or found.high_holm < 0)
        assert found.p_holm >= found.p
        assert found.low_holm <= found.low


def test_a_difference_that_cannot_vary_costs_nothing():
    rng = np.random.default_rng(0)
    one = differences(column(rng.random(20) / 2), column(rng.random(20)))
    none = differences(column([1.0] * 20), column([1.0] * 20))
    alone, beside = family({"one": one})["one"], family({"one": one, "none": none})
    assert beside["one"].p_holm == alone.p_holm == alone.p
    assert (beside["none"].difference, beside["none"].p, beside["none"].p_holm) == (0.0, 1.0, 1.0)
    assert beside["none"].low < 0 < beside["none"].high
    two = family({"one": one, "two": differences(column(rng.random(20)), column(rng.random(20)))})
    assert two["one"].p_holm > alone.p_holm


def test_comparisons_without_items():
    found = family({"none": differences(column([]), column([]))})["none"]
    assert (found.difference, found.p, found.p_holm, found.n) == (None, None, None, 0)


def test_signs_turn_with_the_order():
    a, b = column([0.2, 0.4, 0.9, 0.1]), column([0.3, 0.9, 0.9, 0.5])
    one, other = compare(differences(a, b)), compare(differences(b, a))
    assert (one.difference, one.low, one.p) == pytest.approx((-other.difference, -other.high, other.p))


# Few examples: each call of multipletests collects garbage, which takes longer than its arithmetic.
@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 1), max_size=10))
def test_holm_agrees_with_statsmodels(ps):
    expected = multipletests(ps, method="holm")[1] if ps else []
    assert [step.p for step in statistics.holm_steps(ps)] == pytest.approx(list(expected))


@light
@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=8))
def test_holms_divisor_gives_the_same_decision(ps):
    for p, step in zip(ps, statistics.holm_steps(ps), strict=True):
        assert (p < 0.05 / step.divisor) == (step.p < 0.05)


# --- equivalence and power --------------------------------------------------------------------------------------------


@light
@given(pairs, st.sampled_from([0.05, 0.2, 0.6]), st.sampled_from([1.0, 6.0]))
def test_equivalence_is_the_interval_inside_the_margin(pair, margin, divisor):
    found = statistics.equivalence(differences(column(pair[0]), column(pair[1])), margin, 0.95, divisor)
    assert found.equivalent == (-margin < found.low and found.high < margin)
    assert found.equivalent == (found.p < 0.05 / divisor)
    assert found.level == pytest.approx(1 - 0.1 / divisor)


def test_equivalence_of_degenerate_columns():
    nothing = statistics.equivalence(differences(column([]), column([])), 0.1)
    assert (nothing.difference, nothing.equivalent, nothing.p) == (None, False, None)
    # Two equal items say little: 0.05^(1/2) = 0.22 of the range is not excluded.
    assert statistics.equivalence(differences(column([1, 1]), column([1, 1])), 0.1).equivalent is False
    assert statistics.equivalence(differences(column([1] * 60), column([1] * 60)), 0.1).equivalent is True
    with pytest.raises(ValueError, match="margin"):
        statistics.equivalence(differences(column([1]), column([1])), 0.0)


def test_detectable():
    rng = np.random.default_rng(0)
    found = differences(column(rng.random(40)), column(rng.random(40)))
    how = {"level": 0.95, "simulations": 200, "seed": 0}
    size = statistics.detectable(found, 0.05, how)
    # The normal approximation, 2.8 sd / sqrt(n), is less than what the bounded test needs.
    assert size == pytest.approx(2.8 * found.totals.std() / math.sqrt(40), rel=0.5)
    assert statistics.detectable(found, 0.05 / 9, how) > size
    assert statistics.detectable(found, 0.05, {**how, "simulations": 0}) is None
    assert statistics.detectable(differences(column([]), column([])), 0.05, how) is None


def test_pairs():
    assert statistics.pairs(["base", "hybrid", "grounded"]) == {
        "grounded-base": ("base", "grounded"),
        "hybrid-base": ("base", "hybrid"),
        "grounded-hybrid": ("hybrid", "grounded"),
    }
    assert statistics.pairs(["base"]) == {}
    with pytest.raises(CardproofError, match="reference arm 'base'"):
        statistics.pairs(["grounded"])
