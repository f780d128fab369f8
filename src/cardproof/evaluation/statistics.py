"""Intervals and paired tests over items: what turns a column of numbers into an Estimate or a Comparison.

The item is always the unit: intervals resample items and tests pair items, because the candidates of one item are
not independent. Everything random takes a seed and names it in its method text. NaN never leaves this module.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cardproof.errors import CardproofError
from cardproof.evaluation.results import Equivalence
from cardproof.records import Comparison, Estimate

Floats = NDArray[np.float64]

# Differences that only float rounding made: sums of shares of at most a few hundred terms agree to about 1e-15.
ROUNDING = 1e-12
# 2^14 sign patterns are enumerated in a few milliseconds; beyond that the Monte Carlo error is the smaller cost.
EXACT_SIGN_FLIPS = 14
# Resamples handled at a time, so memory stays at BATCH x items whatever the number of resamples.
BATCH = 1000


class Bounds(NamedTuple):
    """The bounds of an interval and how it was made; None where no interval can be given."""

    low: float | None
    high: float | None
    method: str


class How(TypedDict):
    """The three settings every bootstrap takes, so that callers can hand them on together."""

    level: float
    resamples: int
    seed: int


# --- one arm ----------------------------------------------------------------------------------------------------------


def wilson(count: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion, as (low, high) in [0, 1].

    Source: Wilson (1927), without continuity correction. Raises ValueError unless 0 <= count <= n and n > 0.
    """
    from scipy.stats import binomtest

    if n < 1 or not 0 <= count <= n:
        raise ValueError(f"a proportion needs 0 <= count <= n and n > 0, got {count} of {n}")
    ci = binomtest(int(count), int(n)).proportion_ci(_level(level), method="wilson")
    return float(ci.low), float(ci.high)


def bca(values: ArrayLike, level: float = 0.95, resamples: int = 10_000, seed: int = 0) -> Bounds | None:
    """Bootstrap interval of the mean of `values` over items, bias-corrected and accelerated.

    `values` has shape (items,), in the unit of the interval. None for no items; bounds None for one item; both bounds
    the value itself for constant values. If the BCa correction is undefined, the percentile interval is given
    instead, and the method text says so. Source: Efron (1987), as in `scipy.stats.bootstrap`. Raises ValueError on non-finite values.
    """
    x = _finite(values)
    if x.size == 0:
        return None
    return _bca(
        (x,), lambda v, axis: v.mean(axis=axis), constant=bool(np.ptp(x) <= ROUNDING), how=How(level=level, resamples=resamples, seed=seed)
    )


def _bca(columns: tuple[Floats, ...], statistic: Callable[..., Any], constant: bool, how: How) -> Bounds:
    """BCa interval of a statistic of one or more columns that are resampled together."""
    from scipy.stats import bootstrap

    level, resamples, seed = _level(how["level"]), how["resamples"], how["seed"]
    n = columns[0].size
    if n == 1:
        return Bounds(None, None, "no interval: one item")
    if constant:
        value = float(statistic(*columns, axis=-1))
        return Bounds(value, value, f"bootstrap over items: all {n} items have the same value, so the interval is that value")
    rng = np.random.default_rng(seed)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # scipy warns of a degenerate distribution; the NaN it then returns is handled below.
        warnings.simplefilter("ignore")
        result = bootstrap(
            columns,
            statistic,
            n_resamples=resamples,
            batch=BATCH,
            vectorized=True,
            paired=True,
            confidence_level=level,
            method="BCa",
            rng=rng,
        )
    low, high = (float(bound) for bound in result.confidence_interval)
    tail = f"over items, {resamples} resamples, seed {seed}"
    if math.isfinite(low) and math.isfinite(high):
        return Bounds(low, high, f"bca bootstrap {tail}")
    drawn = np.quantile(result.bootstrap_distribution, [(1 - level) / 2, (1 + level) / 2])
    return Bounds(float(drawn[0]), float(drawn[1]), f"percentile bootstrap (bca undefined) {tail}")


def proportion(flags: ArrayLike, level: float = 0.95) -> Estimate:
    """The share of true flags with Wilson's interval; shape (items,), undefined for no items."""
    x = np.asarray(flags, dtype=bool)
    n, count = int(x.size), int(x.sum())
    if n == 0:
        return Estimate(value=None, n=0, low=None, high=None, level=level, method="wilson: no items", count=0)
    low, high = wilson(count, n, level)
    return Estimate(value=count / n, n=n, low=low, high=high, level=level, method="wilson", count=count)


def mean(values: ArrayLike, level: float = 0.95, resamples: int = 10_000, seed: int = 0) -> Estimate:
    """The mean of `values`, shape (items,), with its BCa interval; undefined for no items."""
    x = _finite(values)
    interval = bca(x, level, resamples, seed)
    if interval is None:
        return Estimate(value=None, n=0, low=None, high=None, level=level, method="mean: no items")
    return Estimate(value=float(x.mean()), n=x.size, low=interval.low, high=interval.high, level=level, method=interval.method)


def ratio(numerators: ArrayLike, denominators: ArrayLike, level: float = 0.95, resamples: int = 10_000, seed: int = 0) -> Estimate:
    """The ratio of two sums over items, sum(numerators) / sum(denominators), with its BCa interval.

    Both have shape (items,); items whose denominator is 0 take no part. It is the mean over answered candidates where
    items have different numbers of them: an item counts with the share of its candidates that answer.
    """
    top, bottom = _paired_columns(numerators, denominators)
    keep = bottom > 0
    top, bottom = top[keep], bottom[keep]
    if top.size == 0:
        return Estimate(value=None, n=0, low=None, high=None, level=level, method="ratio of sums: no items")
    constant = bool(np.ptp(top / bottom) <= ROUNDING)
    interval = _bca(
        (top, bottom), lambda t, b, axis: t.sum(axis=axis) / b.sum(axis=axis), constant, How(level=level, resamples=resamples, seed=seed)
    )
    value = float(top.sum() / bottom.sum())
    return Estimate(value=value, n=top.size, low=interval.low, high=interval.high, level=level, method=f"ratio of sums; {interval.method}")


# --- two arms, paired -------------------------------------------------------------------------------------------------


def paired_difference(a: ArrayLike, b: ArrayLike, level: float = 0.95, resamples: int = 10_000, seed: int = 0) -> Comparison:
    """The mean of b - a over items, with a BCa interval and a two-sided paired sign-flip test.

    `a` and `b` have shape (items,), the same items in the same order. Raises ValueError on unequal lengths.
    Sources: Fisher (1935) for the test; Phipson and Smyth (2010) for (1 + hits) / (1 + resamples).
    """
    x, y = _paired_columns(a, b)
    if x.size == 0:
        return Comparison(difference=None, n=0, low=None, high=None, level=level, p=None, method="paired difference: no items")
    d = y - x
    interval = bca(d, level, resamples, seed)
    assert interval is not None
    p, test = sign_flip(d, resamples, seed)
    return Comparison(
        difference=float(d.mean()), n=d.size, low=interval.low, high=interval.high, level=level, p=p, method=f"{interval.method}; {test}"
    )


def sign_flip(differences: ArrayLike, resamples: int = 10_000, seed: int = 0) -> tuple[float, str]:
    """Two-sided p that the mean of `differences` is 0, by flipping signs, and how it was found.

    Shape (items,). Zero differences are the same under either sign, so only the others are flipped: all sign patterns where
    at most 14 items differ, else seeded random ones. The statistic is |sum of differences|.
    """
    d = _finite(differences)
    d = d[np.abs(d) > ROUNDING]
    scale = float(np.abs(d).sum())
    # Patterns that tie with the observed sum must count as hits whatever the order of summation.
    observed = abs(float(d.sum())) - ROUNDING * max(scale, 1.0)
    if d.size <= EXACT_SIGN_FLIPS:
        patterns = np.arange(2**d.size)[:, None] >> np.arange(d.size) & 1
        hits = int((np.abs((1 - 2 * patterns) @ d) >= observed).sum())
        return hits / 2**d.size, f"sign-flip permutation test, exact ({d.size} items differ)"
    rng = np.random.default_rng(seed)
    hits = 0
    for start in range(0, resamples, BATCH):
        signs = rng.integers(0, 2, size=(min(BATCH, resamples - start), d.size)) * 2 - 1
        hits += int((np.abs(signs @ d) >= observed).sum())
    return (1 + hits) / (1 + resamples), f"sign-flip permutation test, {resamples} random patterns, seed {seed} ({d.size} items differ)"


def mcnemar(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> Comparison:
    """The difference of two paired proportions, share(b) - share(a), with McNemar's exact test.

    `a` and `b` are flags of shape (items,), the same items in the same order. With n01 items true in `b` only and n10 in `a` only,
    p is the two-sided binomial test of n01 among n01 + n10 at 1/2 (McNemar 1947, exact form). The interval is the adjusted
    Wald interval of Bonett and Price (2012): with p01 = (n01 + 1)/(n + 2) and p10 = (n10 + 1)/(n + 2),
    p01 - p10 -+ z sqrt((p01 + p10 - (p01 - p10)^2)/(n + 2)), cut to [-1, 1]. Raises ValueError on unequal lengths.
    """
    from scipy.stats import binomtest, norm

    x, y = (column.astype(bool) for column in _paired_columns(a, b))
    n = int(x.size)
    if n == 0:
        return Comparison(difference=None, n=0, low=None, high=None, level=level, p=None, method="mcnemar: no items")
    gained, lost = int((y & ~x).sum()), int((x & ~y).sum())
    p = float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    p01, p10 = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    centre = p01 - p10
    half = float(norm.ppf((1 + _level(level)) / 2)) * math.sqrt((p01 + p10 - centre**2) / (n + 2))
    low, high = max(-1.0, centre - half), min(1.0, centre + half)
    method = f"bonett-price interval; mcnemar exact test ({gained} gained, {lost} lost)"
    return Comparison(difference=(gained - lost) / n, n=n, low=low, high=high, level=level, p=p, method=method)


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """p values after Holm's step-down correction, in the order given; None stays None and does not count as a hypothesis.

    With m values sorted ascending, the i-th (from 0) becomes max over j <= i of min(1, (m - j) p_j). Source: Holm (1979).
    """
    known = sorted((p, i) for i, p in enumerate(ps) if p is not None)
    corrected: list[float | None] = [None] * len(ps)
    highest = 0.0
    for rank, (p, i) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * p))
        corrected[i] = highest
    return corrected


def tost_paired(a: ArrayLike, b: ArrayLike, margin: float, level: float = 0.95) -> Equivalence:
    """Whether the mean of b - a lies within +-margin: two one-sided paired t tests at 1 - level.

    `a` and `b` have shape (items,); `margin` > 0 in their unit. p is the larger of the two one-sided p values and `equivalent` is
    p < 1 - level, which is the same as the interval at 2 level - 1 (returned) lying inside the margin. Source: Schuirmann (1987).
    Fewer than two items: no p, not equivalent. A constant difference: p 0 or 1, as it lies inside the margin or not.
    """
    from scipy.stats import t as student

    if not margin > 0:
        raise ValueError(f"an equivalence margin must be positive, got {margin}")
    x, y = _paired_columns(a, b)
    d = y - x
    n = int(d.size)
    alpha = 1 - _level(level)
    difference = float(d.mean()) if n else None
    name = f"two one-sided paired t tests (tost), margin {margin:g}, alpha {alpha:g}"
    low = high = lower = upper = None
    if n < 2:
        name += ": fewer than two items"
    elif difference is not None and float(np.ptp(d)) <= ROUNDING:
        lower, upper = float(difference <= -margin), float(difference >= margin)
        name += ": the difference is constant, its variance 0"
        low = high = difference
    elif difference is not None:
        se = float(d.std(ddof=1)) / math.sqrt(n)
        lower = float(student.sf((difference + margin) / se, n - 1))
        upper = float(student.cdf((difference - margin) / se, n - 1))
        reach = float(student.isf(alpha, n - 1)) * se
        low, high = difference - reach, difference + reach
    p = None if lower is None or upper is None else max(lower, upper)
    return Equivalence(
        difference=difference,
        n=n,
        margin=margin,
        low=low,
        high=high,
        level=round(1 - 2 * alpha, 12),
        p_above_lower=lower,
        p_below_upper=upper,
        p=p,
        equivalent=p is not None and p < alpha,
        method=name,
    )


def minimal_detectable_difference(n: int, sd: float, power: float = 0.8, alpha: float = 0.05) -> float | None:
    """The smallest mean paired difference that a two-sided test at `alpha` finds with probability `power`.

    (z(1 - alpha/2) + z(power)) sd / sqrt(n), the normal approximation to the paired t test (Cohen 1988); `sd` is the standard
    deviation of the differences over n items, in their unit. None for fewer than two items, or if the differences do not vary:
    a spread of 0 in a sample says nothing about what could have been found.
    """
    from scipy.stats import norm

    if n < 2 or sd <= ROUNDING:
        return None
    return float(norm.ppf(1 - alpha / 2) + norm.ppf(power)) * sd / math.sqrt(n)


def pairs(arms: Collection[str], reference: str = "base") -> dict[str, tuple[str, str]]:
    """The comparisons of a table: name -> (first, second), each named `second-first` as the difference is taken.

    Every other arm with the reference, in alphabetical order, then all other pairs with the alphabetically earlier arm as the
    second, so names do not depend on the order of arms. Raises CardproofError if the reference is not one of the arms.
    """
    if reference not in arms:
        raise CardproofError(
            f"there are no scores of the reference arm {reference!r} (arms: {', '.join(arms) or 'none'}).", "sample and score it first."
        )
    others = sorted(set(arms) - {reference})
    found = {f"{arm}-{reference}": (reference, arm) for arm in others}
    return found | {f"{second}-{first}": (first, second) for i, second in enumerate(others) for first in others[i + 1 :]}


# --- input ------------------------------------------------------------------------------------------------------------


def _finite(values: ArrayLike) -> Floats:
    x = np.asarray(values, dtype=np.float64).reshape(-1)
    if not np.isfinite(x).all():
        raise ValueError("statistics need finite values")
    return x


def _paired_columns(a: ArrayLike, b: ArrayLike) -> tuple[Floats, Floats]:
    x, y = _finite(a), _finite(b)
    if x.size != y.size:
        raise ValueError(f"paired columns have different lengths: {x.size} and {y.size}")
    return x, y


def _level(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"a confidence level lies between 0 and 1, got {level}")
    return level
