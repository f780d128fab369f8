"""Intervals and tests against statsmodels, scipy's other routes, brute force and hand-computed values."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as sm_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import ttost_paired

from cardproof.errors import CardproofError
from cardproof.evaluation import statistics

counts = st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
levels = st.sampled_from([0.8, 0.9, 0.95, 0.99])
# Rounded so that ties happen and no difference is of the size of rounding noise.
numbers = st.floats(-1, 1).map(lambda x: round(x, 2))
columns = st.integers(2, 12).flatmap(
    lambda n: st.tuples(st.lists(numbers, min_size=n, max_size=n), st.lists(numbers, min_size=n, max_size=n))
)
flags = st.integers(1, 40).flatmap(
    lambda n: st.tuples(st.lists(st.booleans(), min_size=n, max_size=n), st.lists(st.booleans(), min_size=n, max_size=n))
)
light = settings(max_examples=60, deadline=None)


@light
@given(counts, levels)
def test_wilson_agrees_with_statsmodels(count_n, level):
    count, n = count_n
    assert statistics.wilson(count, n, level) == pytest.approx(proportion_confint(count, n, 1 - level, "wilson"), abs=1e-9)


def test_wilson_of_a_published_share():
    # 23/45: centre (23 + z^2/2)/(45 + z^2) with z^2 = 3.84146 is 0.51024; half width z sqrt(23*22/45 + z^2/4)/(45 + z^2) = 0.14019.
    assert statistics.wilson(23, 45) == pytest.approx((0.37004, 0.65043), abs=1e-5)


@pytest.mark.parametrize(("count", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_a_proportion_that_is_none_is_refused(count, n):
    with pytest.raises(ValueError, match="0 <= count <= n"):
        statistics.wilson(count, n)


@pytest.mark.parametrize("level", [0, 1, 95])
def test_a_level_that_is_none_is_refused(level):
    with pytest.raises(ValueError, match="level"):
        statistics.wilson(1, 2, level)
    with pytest.raises(ValueError, match="level"):
        statistics.bca([0.0, 1.0], level)


# --- bootstrap --------------------------------------------------------------------------------------------------------


def reference_bca(values, level, resamples, seed):
    """Efron's BCa written out, on the mean."""
    x = np.asarray(values)
    rng = np.random.default_rng(seed)
    drawn = np.sort(x[rng.integers(0, x.size, (resamples, x.size))].mean(axis=1))
    z0 = stats.norm.ppf(((drawn < x.mean()).sum() + (drawn <= x.mean()).sum()) / (2 * resamples))
    left_out = (x.sum() - x) / (x.size - 1)
    u = left_out.mean() - left_out
    a = (u**3).sum() / (6 * (u**2).sum() ** 1.5)
    z = z0 + stats.norm.ppf([(1 - level) / 2, (1 + level) / 2])
    return np.quantile(drawn, stats.norm.cdf(z0 + z / (1 - a * z)))


def test_bca_agrees_with_efrons_formula():
    # Two different random streams of 20,000 resamples: bounds agree to Monte Carlo error, about 0.002 for this spread.
    values = np.random.default_rng(5).beta(2, 0.5, 40)
    found = statistics.bca(values, 0.95, 20_000, 3)
    assert found[:2] == pytest.approx(reference_bca(values, 0.95, 20_000, 9), abs=0.006)
    assert found.method == "bca bootstrap over items, 20000 resamples, seed 3"


def test_bca_covers_the_mean_as_often_as_it_says():
    # 300 samples of 30: the share covered has standard error 0.0126 around 0.95 and the small-sample BCa is a little short of it.
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(300):
        low, high, _ = statistics.bca(rng.beta(2, 1, 30), 0.95, 400, seed)
        covered += low <= 2 / 3 <= high
    assert 0.89 <= covered / 300 <= 0.985


def test_one_seed_one_interval():
    values = np.random.default_rng(1).random(20)
    other = np.random.default_rng(2).random(20)
    many = np.random.default_rng(3).random(20) + 0.5
    for make in (
        lambda seed: statistics.bca(values, 0.95, 1500, seed),
        lambda seed: statistics.mean(values, 0.95, 1500, seed),
        lambda seed: statistics.ratio(values, many, 0.95, 1500, seed),
        lambda seed: statistics.paired_difference(values, other, 0.95, 1500, seed),
    ):
        assert make(7) == make(7)
        assert make(7) != make(8)


@light
@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), max_size=12))
def test_no_interval_holds_nan(values):
    for found in (statistics.mean(values, 0.95, 60, 0), statistics.paired_difference([0.0] * len(values), values, 0.95, 60, 0)):
        for bound in (found.low, found.high):
            assert bound is None or math.isfinite(bound)
        assert found.n == len(values)
        assert (found.low is None) == (len(values) < 2)


def test_degenerate_columns():
    assert statistics.bca([]) is None
    assert statistics.mean([]).value is None
    one = statistics.mean([0.7])
    assert (one.value, one.low, one.high, one.method) == (0.7, None, None, "no interval: one item")
    constant = statistics.mean([0.1] * 3)
    assert constant.low == constant.high == pytest.approx(0.1)
    assert "all 3 items have the same value" in constant.method
    with pytest.raises(ValueError, match="finite"):
        statistics.mean([0.1, float("nan")])


def test_where_bca_is_undefined_the_percentile_stands_in():
    # With one resample that lies above the mean the bias correction is infinite.
    found = [statistics.bca([0.0, 1.0, 1.0, 1.0, 0.3], 0.95, 1, seed) for seed in range(20)]
    assert all(math.isfinite(f.low) and math.isfinite(f.high) for f in found)
    assert any(f.method.startswith("percentile bootstrap (bca undefined)") for f in found)


def test_proportion():
    found = statistics.proportion([True, False, True, True])
    assert (found.value, found.n, found.count, found.method) == (0.75, 4, 3, "wilson")
    assert statistics.proportion([]).value is None
    assert statistics.proportion([]).count == 0


def test_ratio():
    # Items with (sum, answers) (1, 2), (2, 2), (0, 0), (0.5, 1): 3.5 / 5 over the three that answer.
    found = statistics.ratio([1, 2, 0, 0.5], [2, 2, 0, 1], resamples=200)
    assert (found.value, found.n) == (0.7, 3)
    assert found.low < 0.7 < found.high
    values = np.random.default_rng(0).random(25)
    as_mean = statistics.mean(values, resamples=500)
    as_ratio = statistics.ratio(values, np.ones(25), resamples=500)
    assert (as_ratio.value, as_ratio.low, as_ratio.high) == pytest.approx((as_mean.value, as_mean.low, as_mean.high))
    assert statistics.ratio([0], [0]).value is None


# --- paired -----------------------------------------------------------------------------------------------------------


@light
@given(columns)
def test_sign_flips_agree_with_brute_force(pair):
    a, b = pair
    d = [y - x for x, y in zip(a, b, strict=True)]
    sums = [abs(math.fsum(sign * x for sign, x in zip(signs, d, strict=True))) for signs in itertools.product((1, -1), repeat=len(d))]
    expected = sum(s >= abs(math.fsum(d)) - 1e-9 for s in sums) / len(sums)
    p, method = statistics.sign_flip(d)
    assert p == expected
    assert "exact" in method


def test_sign_flips_by_hand():
    # Three items, all better: of 8 patterns only +++ and --- reach the observed sum, p = 2/8.
    found = statistics.paired_difference([0, 0, 0], [0.1, 0.2, 0.3], resamples=200)
    assert found.p == 0.25
    assert found.difference == pytest.approx(0.2)
    assert statistics.paired_difference([1, 1], [1, 1]).p == 1.0


def test_random_sign_flips_come_near_the_exact_p():
    # 16 items: 65,536 patterns by scipy's exact enumeration; 20,000 random ones have a standard error below 0.0036.
    d = np.random.default_rng(4).normal(0.3, 1, 16)
    exact = stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    p, method = statistics.sign_flip(d, 20_000, 1)
    assert p == pytest.approx(exact, abs=0.015)
    assert "20000 random patterns, seed 1" in method


def test_a_random_p_is_never_zero():
    p, _ = statistics.sign_flip(np.linspace(1, 2, 40), 99, 0)
    assert p == 0.01


@light
@given(flags)
def test_mcnemar_agrees_with_statsmodels(pair):
    a, b = (np.array(column) for column in pair)
    table = [[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]]
    found = statistics.mcnemar(a, b)
    assert found.p == pytest.approx(min(1.0, sm_mcnemar(table, exact=True).pvalue))
    assert found.difference == pytest.approx(b.mean() - a.mean())
    assert -1 <= found.low <= found.difference <= found.high <= 1


def test_mcnemar_by_hand():
    # 10 items, 4 gained, 1 lost: p = 2 P(X <= 1), X ~ B(5, 1/2), = 12/32. Bonett-Price: 5/12 - 2/12 = 0.25,
    # half width 1.95996 sqrt((7/12 - 0.0625)/12) = 0.40833.
    a = [0, 0, 0, 0, 1, 1, 1, 1, 0, 0]
    b = [1, 1, 1, 1, 0, 1, 1, 1, 0, 0]
    found = statistics.mcnemar(a, b)
    assert (found.difference, found.p) == pytest.approx((0.3, 0.375))
    assert (found.low, found.high) == pytest.approx((-0.15833, 0.65833), abs=1e-5)
    assert "4 gained, 1 lost" in found.method
    assert statistics.mcnemar([], []).difference is None


# Few examples: each call of multipletests collects garbage, which takes longer than its arithmetic.
@settings(max_examples=20, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=10))
def test_holm_agrees_with_statsmodels(ps):
    known = [p for p in ps if p is not None]
    expected = iter(multipletests(known, method="holm")[1] if known else [])
    for p, corrected in zip(ps, statistics.holm(ps), strict=True):
        assert corrected is None if p is None else corrected == pytest.approx(next(expected))


@light
@given(columns, st.sampled_from([0.05, 0.2, 0.6]), st.sampled_from([0.9, 0.95]))
def test_tost_agrees_with_statsmodels(pair, margin, level):
    a, b = (np.array(column) for column in pair)
    found = statistics.tost_paired(a, b, margin, level)
    if np.ptp(b - a) <= 1e-12:
        assert found.equivalent == (abs((b - a).mean()) < margin)
        return
    p, lower, upper = ttost_paired(b, a, -margin, margin)
    assert (found.p, found.p_above_lower, found.p_below_upper) == pytest.approx((p, lower[1], upper[1]))
    assert found.equivalent == (p < 1 - level)
    # The textbook twin: the interval at 1 - 2 alpha lies inside the margin.
    assert found.equivalent == (-margin < found.low and found.high < margin)


def test_tost_of_degenerate_columns():
    assert statistics.tost_paired([], [], 0.1).difference is None
    assert statistics.tost_paired([1], [1], 0.1).equivalent is False
    assert statistics.tost_paired([1, 1], [1, 1], 0.1).equivalent is True
    assert statistics.tost_paired([1, 1], [0, 0], 0.1).equivalent is False
    with pytest.raises(ValueError, match="margin"):
        statistics.tost_paired([1, 1], [0, 0], 0.0)


def test_minimal_detectable_difference():
    # (1.95996 + 0.84162) 0.3 / sqrt(50); and a t test at that difference has about the power asked for.
    found = statistics.minimal_detectable_difference(50, 0.3)
    assert found == pytest.approx(0.118861, abs=1e-6)
    power = 1 - stats.nct.cdf(stats.t.isf(0.025, 49), 49, found / (0.3 / math.sqrt(50)))
    assert power == pytest.approx(0.8, abs=0.02)
    assert statistics.minimal_detectable_difference(1, 0.3) is None
    assert statistics.minimal_detectable_difference(50, 0.0) is None


def test_unequal_columns_are_refused():
    for compare in (statistics.paired_difference, statistics.mcnemar):
        with pytest.raises(ValueError, match="lengths"):
            compare([1], [1, 0])


def test_pairs():
    assert statistics.pairs(["base", "hybrid", "grounded"]) == {
        "grounded-base": ("base", "grounded"),
        "hybrid-base": ("base", "hybrid"),
        "grounded-hybrid": ("hybrid", "grounded"),
    }
    assert statistics.pairs(["base"]) == {}
    with pytest.raises(CardproofError, match="reference arm 'base'"):
        statistics.pairs(["grounded"])
