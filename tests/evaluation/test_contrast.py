"""Two samples that are not paired: the test inverts the interval, a printed number has the spread it is given, and errors are rare."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardproof.evaluation.bounded import Items, stacked
from cardproof.evaluation.contrast import equal, limit, tilted
from cardproof.evaluation.noticed import Simulation, power_between, power_of_one, smallest, smallest_of_one

light = settings(max_examples=40, deadline=None)


def items(values, low=0.0):
    x = np.asarray(values, dtype=float)
    return Items(x, np.ones(x.size), np.ones(x.size), low=low)


def ends(first, second, level):
    one, two = stacked([first]), stacked([second])
    return float(limit(one, two, level, -1)[0]), float(limit(one, two, level, 1)[0])


columns = st.lists(st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 2 / 3, 1.0]), min_size=2, max_size=30)


@light
@given(columns, columns, st.sampled_from([0.9, 0.95, 0.999]))
def test_the_test_inverts_the_interval(a, b, level):
    first, second = items(a), items(b)
    p = float(equal(stacked([first]), stacked([second]))[0])
    for at in (level, 1 - p * (1 + 1e-6), 1 - p * (1 - 1e-6)):
        if 0 < at < 1:
            low, high = ends(first, second, at)
            assert (low > 0 or high < 0) == (p < 1 - at)


def test_the_interval_is_movers_by_hand():
    # 45 of 50 against 40 of 50, Clopper and Pearson's limits: (0.78186, 0.96672) and (0.66280, 0.89970).
    first, second = items([1] * 45 + [0] * 5), items([1] * 40 + [0] * 10)
    low, high = ends(first, second, 0.95)
    assert low == pytest.approx(-0.1 - np.hypot(0.8 - 0.66282, 0.96672 - 0.9), abs=1e-4)
    assert high == pytest.approx(-0.1 + np.hypot(0.89969 - 0.8, 0.9 - 0.78186), abs=1e-4)


@light
@given(columns, st.floats(0, 1), st.integers(1, 100))
def test_a_tilted_sample_has_the_mean_and_n_it_is_given(values, mean, n):
    found = tilted(items(values), mean, n)
    assert float(found.value) == pytest.approx(mean, abs=1e-9)
    assert float((found.masses).sum()) == pytest.approx(n)
    assert (found.masses >= 0).all()


def test_one_value_alone_is_tilted_to_zeros_and_ones():
    found = tilted(items([1.0] * 20), 0.9, 50)
    masses = {x: found.masses[found.totals == x].sum() for x in (0.0, 1.0)}
    assert masses == pytest.approx({0.0: 5.0, 1.0: 45.0})


def test_equal_samples_do_not_differ():
    assert float(equal(stacked([items([0.5, 1.0])]), stacked([items([0.75, 0.75])]))[0]) == 1.0


def test_false_alarms_are_rarer_than_alpha():
    # 500 pairs of one process: p < 0.05 in at most 0.05 + 2 standard errors.
    rng = np.random.default_rng(0)
    first, second = (rng.binomial(3, rng.beta(1.6, 0.4, (500, 40))) / 3 for _ in range(2))
    runs = Items(second, np.ones(second.shape), np.ones(second.shape))
    p = equal(tilted(runs, first.mean(axis=1), 40), runs)
    assert (p < 0.05).mean() <= 0.07


# --- power ------------------------------------------------------------------------------------------------------------


def test_the_smallest_deviation_is_found_as_often_as_it_says():
    rng = np.random.default_rng(1)
    run = items(rng.binomial(3, 0.8, 50) / 3)
    how = Simulation(0.05, 300, 0)
    size = smallest(lambda s: power_between(run, 0.8, 50, 0.0005, -s, how), 0.8)
    assert size is not None
    other = Simulation(0.05, 1000, 7)
    assert power_between(run, 0.8, 50, 0.0005, -size, other) == pytest.approx(0.8, abs=0.07)
    assert power_between(run, 0.8, 50, 0.0005, -size / 3, other) < 0.4


def test_power_grows_with_the_deviation_and_starts_at_alpha():
    differences = items(np.random.default_rng(2).choice([-0.5, 0.0, 0.0, 0.5], 40), low=-1.0)
    how = Simulation(0.05, 400, 0)
    found = [power_of_one(differences, size, how) for size in (0.01, 0.1, 0.2, 0.4)]
    assert found == sorted(found)
    assert found[0] <= 0.07
    assert found[-1] > 0.95


def test_few_items_notice_nothing():
    assert smallest_of_one(items([0.0, 0.1], low=-1.0), Simulation(0.05, 100, 0)) is None
    assert smallest(lambda size: 0.0, 1.0) is None
    assert smallest(lambda size: 1.0, 0.0) is None
    assert smallest(lambda size: float(size >= 0.3), 1.0) == pytest.approx(0.3, abs=0.01)
