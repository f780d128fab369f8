"""The Bayesian bootstrap's tails against an exact integral and against draws, its closed forms by hand, and its inversions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom

from cardproof.evaluation import bounded
from cardproof.evaluation.bounded import Items, beyond, bound, interval, p_value, stacked

light = settings(max_examples=60, deadline=None)


def items(values, low=0.0, weights=None, masses=None):
    x = np.asarray(values, dtype=float)
    ones = np.ones(x.size)
    w = ones if weights is None else np.asarray(weights, dtype=float)
    return Items(x * w, w, ones if masses is None else np.asarray(masses, dtype=float), low=low)


def imhof(lam, masses):
    """P(sum of gammas times lam <= 0), exactly: Imhof's (1961) integral, over the logarithm of its variable."""
    lam, masses = np.asarray(lam, dtype=float), np.asarray(masses, dtype=float)
    lam, masses = lam[lam != 0], masses[lam != 0]
    step = min(0.1, 0.6 / np.sqrt(masses.sum()))
    t = np.exp(np.arange(-36, 120, step))[:, None] / np.abs(lam).max()
    angle = (masses * np.arctan(lam * t)).sum(-1)
    modulus = 0.5 * (masses * np.log1p((lam * t) ** 2)).sum(-1)
    return 0.5 - (np.sin(angle) * np.exp(-modulus)).sum() * step / np.pi


def test_the_exact_integral_is_exact():
    # Zeros and ones are a beta distribution.
    for k, n, q in ((12, 12, 1e-4), (6, 12, 0.025), (49, 50, 0.3)):
        c = beta.ppf(q, k + 0.5, n - k + 0.5)
        assert imhof([1 - c, -c], [k + 0.5, n - k + 0.5]) == pytest.approx(q, rel=1e-9)


@pytest.mark.parametrize("n", [3, 12, 50, 200])
@pytest.mark.parametrize("law", ["ratios", "uniform", "near one", "weighted"])
def test_tails_come_near_the_exact_ones(n, law):
    rng = np.random.default_rng(n)
    values = {"ratios": rng.binomial(3, 0.8, n) / 3, "near one": np.r_[np.ones(n - 1), 0.5]}.get(law, rng.random(n))
    weights = rng.integers(1, 9, n) / 8 if law == "weighted" else np.ones(n)
    sample = items(values, weights=weights)
    if np.ptp(values) == 0:
        return
    for side in (-1, 1):
        own = (bounded.OWN, bounded.OTHER) if side < 0 else (bounded.OTHER, bounded.OWN)
        for tail in (1e-5, 0.05 / 29 / 2, 0.025, 0.2):
            c = float(bound(sample, tail, side))
            below = imhof(np.r_[sample.totals - c * sample.weights, -c, 1 - c], np.r_[np.ones(n), own])
            assert (below if side < 0 else 1 - below) == pytest.approx(tail, rel=0.09)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from([-1.0, 0.0, 0.25, 1 / 3, 0.5, 1.0]), min_size=1, max_size=40),
    st.sampled_from([1.0, 0.5, 0.125]),
    st.sampled_from([-1, 1]),
)
def test_the_saddlepoint_is_found_and_the_score_rises(values, weight, side):
    weights = np.where(np.arange(len(values)) % 2, weight, 1.0)
    sample = items(values, low=-1.0, weights=weights)
    both, _ = bounded._with_ends(Items(*(a[None] for a in sample[:3]), low=-1.0), np.array([float(side)]))
    # Round places as well: there an item of the sample and c may coincide.
    c = np.sort(np.r_[np.linspace(-0.99, 0.99, 41), np.arange(-9, 10) / 10])
    many = both.at(np.zeros(c.size, dtype=int))
    score, _, t = bounded._score(many, c, many.masses, np.zeros(c.size))
    q = (many.totals - c[:, None] * many.weights) / (1 - (many.totals - c[:, None] * many.weights) * t[:, None])
    assert np.abs((many.masses * q).sum(1)).max() <= 1e-9 * np.sqrt((many.masses * q * q).sum(1)).max()
    assert (np.diff(score) >= -1e-9).all()


def test_tails_agree_with_draws():
    # 200,000 sets of Dirichlet weights: a tail of 0.025 has the standard error 0.00035.
    values = np.random.default_rng(0).binomial(4, 0.7, 30) / 4
    drawn = np.random.default_rng(1).dirichlet(np.r_[np.ones(30), 0.75, 0.25], 200_000) @ np.r_[values, 0.0, 1.0]
    assert float(bound(items(values), 0.025, -1)) == pytest.approx(np.quantile(drawn, 0.025), abs=0.002)


def test_zeros_and_ones_have_clopper_and_pearsons_interval():
    low, high = (float(end[0]) for end in interval(stacked([items([1] * 23 + [0] * 22)]), 0.95))
    assert (low, high) == pytest.approx((beta.ppf(0.025, 23, 23), beta.ppf(0.975, 24, 22)))


def test_one_value_alone_has_the_bound_that_its_n_allows():
    # 0.025^(1/50) = 0.92888; of fifty zero differences, +-0.07112.
    ones, zeros = items([1.0] * 50), items([0.0] * 50, low=-1.0)
    assert (float(bound(ones, 0.025, -1)), float(bound(ones, 0.025, 1))) == pytest.approx((0.92888, 1.0), abs=1e-5)
    assert (float(bound(zeros, 0.025, -1)), float(bound(zeros, 0.025, 1))) == pytest.approx((-0.07112, 0.07112), abs=1e-5)
    assert float(bound(items([0.5]), 0.025, -1)) == pytest.approx(0.0125)


columns = st.lists(st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 2 / 3, 1.0]), min_size=1, max_size=30)


@light
@given(columns, st.sampled_from([0.9, 0.95, 0.999]), st.booleans(), st.floats(-0.999, 0.999))
@example([0.0, 0.25], 0.9, False, 2.225073858507203e-309)
def test_a_p_value_is_below_alpha_where_the_interval_leaves_the_value_out(values, level, paired, c):
    signs = np.resize([1, -1, 1], len(values)) if paired else np.ones(len(values))
    sample = stacked([items(np.array(values) * signs, low=-1.0 if paired else 0.0)])
    low, high = (float(end[0]) for end in interval(sample, level))
    value = float(sample.value[0])
    assert sample.low <= low <= value <= high <= 1
    for place in (c if paired else abs(c), low - 1e-7, low + 1e-7, high - 1e-7, high + 1e-7):
        if sample.low < place < 1:
            assert (float(p_value(sample, place)[0]) < 1 - level) == (place < low or place > high)


@light
@given(st.lists(columns, min_size=1, max_size=5))
def test_many_samples_at_once_give_the_same(samples):
    together = interval(stacked([items(values) for values in samples]), 0.95)
    for i, values in enumerate(samples):
        alone = interval(stacked([items(values)]), 0.95)
        assert [end[i] for end in together] == pytest.approx([end[0] for end in alone], abs=1e-9)


def test_an_item_may_count_in_part():
    # Half of an item is half its total and half its weight: the ratio is (1 + 0.25) / (1 + 0.5).
    found = Items(np.array([1.0, 0.25]), np.array([1.0, 0.5]), np.ones(2))
    assert float(found.value) == pytest.approx(1.25 / 1.5)
    assert float(found.n) == 2
    assert 0 < float(bound(found, 0.025, -1)) < float(found.value) < float(bound(found, 0.025, 1)) < 1


def test_beyond_the_range_nothing_is_possible():
    sample = items([0.2, 0.4, 0.6])
    assert float(beyond(sample, 0.0, -1)) == 0
    assert float(beyond(sample, 1.0, 1)) == 0


def covered(n, mean, draw, repeats=600):
    rng = np.random.default_rng(round(1000 * mean) + n)
    values = draw(rng, (repeats, n))
    low, high = interval(Items(values, np.ones(values.shape), np.ones(values.shape)), 0.95)
    return float(((low <= mean) & (mean <= high)).mean())


@pytest.mark.parametrize("n", [12, 50])
@pytest.mark.parametrize("mean", [0.5, 0.82, 0.962, 0.995])
def test_intervals_cover_as_often_as_they_say(n, mean):
    # 600 samples: two standard errors of 0.95 are 0.018. benchmarks/verdicts.py counts more often, and on a finer grid.
    def of(rng, shape):
        return rng.binomial(3, rng.beta(2 * mean, 2 - 2 * mean, shape)) / 3

    assert covered(n, mean, of) >= 0.932
    k = np.arange(n + 1)
    sample = stacked([items([1.0] * i + [0.0] * (n - i)) for i in k])
    low, high = interval(sample, 0.95)
    assert binom.pmf(k, n, mean)[(low <= mean) & (mean <= high)].sum() >= 0.95
