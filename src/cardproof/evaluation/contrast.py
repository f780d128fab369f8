"""Two samples that are not paired: the interval of their difference, and the test that is its inversion.

The interval is MOVER's (Zou and Donner 2008): each sample's own bounds, put together. A printed number is such a sample: its own n items,
spread as the run's are, around the printed mean.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from cardproof.evaluation.bounded import ROUNDING, Floats, Items, Side, bound

PSEUDO = 0.5
FARTHEST = 37.0
"""Largest normal score: beyond it a tail is less than what a float holds."""


def reach(first: Items, second: Items, tail: float | Floats, side: Side | Floats) -> Floats:
    """How far the bound of mean(second) - mean(first) on one side lies from the difference itself; shape (...).

    Below it is sqrt((m2 - l2)^2 + (u1 - m1)^2), with m, l, u each sample's mean and bounds; above it is the mirror image.
    """
    return np.asarray(np.hypot(bound(second, tail, side) - second.value, bound(first, tail, -np.asarray(side)) - first.value))


def limit(first: Items, second: Items, level: float | Floats, side: Side) -> Floats:
    """One bound of mean(second) - mean(first), of the interval at `level`; shape (...)."""
    return np.asarray(second.value - first.value + side * reach(first, second, (1 - np.asarray(level)) / 2, side))


def equal(first: Items, second: Items) -> Floats:
    """Two-sided p that both have one mean: the alpha at which the interval at 1 - alpha begins to hold 0; shape (samples,)."""
    difference = second.value - first.value
    p = np.ones(difference.shape)
    apart = np.abs(difference) > ROUNDING
    if apart.any():
        z = _score_of(first.at(apart), second.at(apart), np.abs(difference[apart]), np.where(difference[apart] > 0, -1.0, 1.0))
        p[apart] = 2 * ndtr(-z)
    return p


def _score_of(first: Items, second: Items, difference: Floats, side: Floats) -> Floats:
    """The normal score at which the reach is the difference, by guarded secant steps; 0 where it is never as small."""
    low, high = np.zeros(difference.shape), np.full(difference.shape, FARTHEST)
    z = np.full(difference.shape, 1.96)
    # The reach grows about as z does: the secant starts from the origin.
    last_z, last = np.zeros(difference.shape), np.zeros(difference.shape)
    open_rows = np.arange(difference.size)
    for _ in range(200):
        now, wanted = z[open_rows], difference[open_rows]
        found = reach(first.at(open_rows), second.at(open_rows), ndtr(-now), side[open_rows])
        short = found < wanted
        low[open_rows], high[open_rows] = np.where(short, now, low[open_rows]), np.where(short, high[open_rows], now)
        apart = np.abs(now - last_z) > 1e-13
        rise = np.where(apart, (found - last) / np.where(apart, now - last_z, 1.0), 0.0)
        after = now + (wanted - found) / np.where(rise > 0, rise, 1.0)
        least, most = low[open_rows], high[open_rows]
        after = np.where((rise > 0) & (after > least) & (after < most), after, (least + most) / 2)
        going = (np.abs(found - wanted) >= 1e-11) & (most - least > 1e-10)
        z[open_rows[going]] = after[going]
        last_z, last, open_rows = now[going], found[going], open_rows[going]
        if not open_rows.size:
            break
    return z


def tilted(items: Items, mean: float | Floats, n: float) -> Items:
    """A sample of n items with the spread of `items` and another mean, by exponential tilting (Efron 1981); shape (...).

    Half a pseudo-item at each end of the range takes part, so that every mean can be reached; from a sample that is all one value this
    gives the widest spread there is, that of zeros and ones. An item of weight w counts w.
    """
    counted = items.masses * items.weights
    values = items.totals / np.where(counted > 0, items.weights, 1.0)
    target = np.asarray(mean, dtype=np.float64)
    shape = np.broadcast_shapes(values.shape[:-1], target.shape)
    ends = np.broadcast_to(np.array([items.low, items.high]), (*shape, 2))
    points = np.concatenate([np.broadcast_to(values, (*shape, values.shape[-1])), ends], -1)
    masses = np.concatenate([np.broadcast_to(counted, (*shape, counted.shape[-1])), np.full((*shape, 2), PSEUDO)], -1)
    share = np.clip((np.broadcast_to(target, shape) - items.low) / (items.high - items.low), 0.0, 1.0)
    at_end = (share <= 0) | (share >= 1)
    shares = _tilt((points - items.low) / (items.high - items.low), masses, np.where(at_end, 0.5, share))
    only = np.zeros(shares.shape)
    only[..., -2], only[..., -1] = 1 - share, share
    return Items(points, np.ones(points.shape), n * np.where(at_end[..., None], only, shares), items.low, items.high)


def _tilt(x: Floats, masses: Floats, mean: Floats) -> Floats:
    """Shares proportional to masses exp(theta x), with theta such that their mean is `mean`; x in [0, 1], by guarded Newton steps."""
    lower, upper, theta = np.full(mean.shape, -500.0), np.full(mean.shape, 500.0), np.zeros(mean.shape)
    for _ in range(200):
        grown = masses * np.exp(theta[..., None] * np.where(theta[..., None] > 0, x - 1, x))
        shares = grown / grown.sum(-1, keepdims=True)
        found = (shares * x).sum(-1)
        if (np.abs(found - mean) < 1e-13).all():
            break
        spread = np.maximum((shares * (x - found[..., None]) ** 2).sum(-1), 1e-300)
        lower, upper = np.where(found < mean, theta, lower), np.where(found < mean, upper, theta)
        after = theta + (mean - found) / spread
        theta = np.where((after > lower) & (after < upper), after, (lower + upper) / 2)
    return np.asarray(shares)
