"""What a test would have noticed: its power at a true deviation, and the smallest one it finds, by simulating the test itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from cardproof.evaluation.bounded import Floats, Items, Side, beyond
from cardproof.evaluation.contrast import reach, tilted

POWER = 0.8
HALVINGS = 7
"""Deviations are found to within the largest possible one / 2^7."""


class Simulation(NamedTuple):
    """How a test is simulated."""

    alpha: float
    """Level of the single test, the correction for their number included."""
    repeats: int
    seed: int


def power_of_one(items: Items, deviation: float, how: Simulation) -> float:
    """How often the test that a mean is 0 finds a true mean of `deviation`, at the sample's own n and spread."""
    uniforms = np.random.default_rng(how.seed).random((how.repeats, int(items.n)))
    side: Side = -1 if deviation > 0 else 1
    drawn = _drawn(_distinct(tilted(items, deviation, 1.0)), uniforms)
    wrong_way = drawn.value * side >= 0
    return float((~wrong_way & (2 * beyond(drawn, 0.0, side) < how.alpha)).mean())


def power_between(items: Items, mean: float, n_printed: int, half: float, deviation: float, how: Simulation) -> float:
    """How often the comparison with a printed mean finds that the run's true mean is `mean` + deviation.

    `items` are the run's, `n_printed` the printed number's; `half` is half of its last digit, 0 for a count that is known exactly.
    """
    rng = np.random.default_rng(how.seed)
    first, second = rng.random((how.repeats, n_printed)), rng.random((how.repeats, int(items.n)))
    card = _drawn(_distinct(tilted(items, mean, 1.0)), first)
    run = _drawn(_distinct(tilted(items, mean + deviation, 1.0)), second)
    nearest = np.clip(run.value, card.value - half, card.value + half)
    nearest = np.clip(nearest, items.low, items.high)
    assumed = card if half == 0 else tilted(run, nearest, n_printed)
    gap = run.value - nearest
    return float((np.abs(gap) > reach(assumed, run, how.alpha / 2, np.where(gap > 0, -1.0, 1.0))).mean())


def smallest(power: Callable[[float], float], most: float) -> float | None:
    """The smallest deviation in (0, most] that is found with 80% power; None where even the largest is not."""
    if most <= 0 or power(most) < POWER:
        return None
    low, high = 0.0, most
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return high


def smallest_of_one(items: Items, how: Simulation) -> float | None:
    """The smallest mean difference that the test of 0 finds with 80% power, in either direction; None where none is found."""
    if items.n < 1:
        return None
    found = [smallest(lambda size, sign=sign: power_of_one(items, sign * size, how), items.high) for sign in (-1.0, 1.0)]  # type: ignore[misc]
    return None if None in found else max(size for size in found if size is not None)


def _distinct(items: Items) -> Items:
    """The same sample with each value once, all weights 1."""
    points, index = np.unique(np.round(items.totals, 12), return_inverse=True)
    return Items(points, np.ones(points.size), np.bincount(index.reshape(-1), items.masses).astype(np.float64), items.low, items.high)


def _drawn(population: Items, uniforms: Floats) -> Items:
    """Samples of a population, one for each row of `uniforms` (repeats, n): the same uniforms give like samples of like populations."""
    edges = np.cumsum(population.masses) / population.masses.sum()
    index = np.minimum(np.searchsorted(edges, uniforms), population.masses.size - 1)
    counts = np.zeros((len(uniforms), population.masses.size))
    np.add.at(counts, (np.arange(len(uniforms))[:, None], index), 1.0)
    points = np.broadcast_to(population.totals, counts.shape)
    return Items(points, np.ones(counts.shape), counts, population.low, population.high)
