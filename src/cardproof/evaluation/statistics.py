"""Estimates and comparisons over items: what turns columns of numbers into an Estimate or a Comparison.

The item is always the unit, because the candidates of one item are not independent. Every interval and every p value is from `bounded`,
and a p value is the inversion of the interval beside it, so the two never disagree. `docs/statistics.md` says why, with measured rates.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, TypedDict, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from cardproof.errors import CardproofError
from cardproof.evaluation.bounded import METHOD, ROUNDING, Floats, Items, beyond, interval, p_value, stacked
from cardproof.evaluation.noticed import Simulation, smallest_of_one
from cardproof.evaluation.results import Equivalence, PerItem
from cardproof.records import Comparison, Estimate

K = TypeVar("K")


class How(TypedDict):
    """The settings of an evaluation, so that callers can hand them on together."""

    level: float
    simulations: int
    seed: int


class Column(NamedTuple):
    """One axis of one arm, item by item; shape (items,)."""

    totals: Floats
    """The axis times the weight."""
    weights: Floats
    """How often the item counts: 1 or 0, or between them where only some of the candidates that tie do."""

    @property
    def mean(self) -> float | None:
        """The mean over the items that count; None if none does."""
        weight = float(self.weights.sum())
        return float(self.totals.sum()) / weight if weight else None

    def kept(self) -> PerItem:
        """The column as result files keep it."""
        return PerItem(totals=self.totals.tolist(), weights=self.weights.tolist())

    def items(self, low: float = 0.0, high: float = 1.0) -> Items:
        """The items that count, as one sample."""
        kept = self.weights > 0
        return Items(self.totals[kept], self.weights[kept], np.ones(int(kept.sum())), low, high)


def column(values: ArrayLike, weights: ArrayLike | None = None) -> Column:
    """Totals (or plain values) of shape (items,) with their weights, 1 where none are given; ValueError unless finite and of one length."""
    totals = _finite(values)
    kept = np.ones(totals.size) if weights is None else _finite(weights)
    if totals.size != kept.size:
        raise ValueError(f"columns have different lengths: {totals.size} and {kept.size}")
    return Column(totals, kept)


# --- one arm ----------------------------------------------------------------------------------------------------------


def estimate(found: Column, level: float = 0.95) -> Estimate:
    """The mean over the items that count, each with its weight, and its interval; undefined for no items.

    Items are shares or scores in [0, 1]. `count` is given where every item is a whole 0 or 1.
    """
    return estimates({0: found}, level)[0]


def estimates(columns: Mapping[K, Column], level: float = 0.95) -> dict[K, Estimate]:
    """`estimate` of many columns at once."""
    samples = {name: found.items() for name, found in columns.items()}
    known = {name: items for name, items in samples.items() if items.totals.size}
    found: dict[K, Estimate] = {
        name: Estimate(value=None, n=0, low=None, high=None, level=level, method="no items") for name in samples if name not in known
    }
    if known:
        together = stacked(list(known.values()))
        for (name, items), value, low, high in zip(known.items(), together.value, *interval(together, level), strict=True):
            count = int(items.totals.sum()) if _whole(items) else None
            n, method = items.totals.size, method_of(items)
            found[name] = Estimate(value=float(value), n=n, low=float(low), high=float(high), level=level, method=method, count=count)
    return {name: found[name] for name in columns}


def _whole(items: Items) -> bool:
    return items.low == 0 and bool(np.isin(items.totals, (0.0, 1.0)).all() and (items.weights == 1).all())


def method_of(items: Items) -> str:
    """The name of the interval that `bounded` gives a sample."""
    if bool(np.ptp(items.totals / items.weights) <= ROUNDING):
        return f"exact bound for {items.totals.size} items of one value"
    return "clopper-pearson" if _whole(items) else METHOD


# --- two arms, paired -------------------------------------------------------------------------------------------------


def differences(first: Column, second: Column) -> Items:
    """Second minus first over the items that count for both, as one sample in [-1, 1].

    An item counts with the product of its two weights: where candidates tie, the arms' picks are independent.
    """
    weights = first.weights * second.weights
    totals = first.weights * second.totals - second.weights * first.totals
    return Column(totals, weights).items(low=-1.0)


def compare(items: Items, level: float = 0.95) -> Comparison:
    """The mean of paired differences with its interval and the two-sided p that it is 0, which is that interval's inversion."""
    return family({0: items}, level)[0]


def family(tests: Mapping[K, Items], level: float = 0.95, others: Sequence[float] = ()) -> dict[K, Comparison]:
    """The mean of paired differences of every test of one family, each with its interval and the p that inverts it, before and after Holm.

    `others` are p values of the family's further hypotheses. Where no item differs, no outcome could have been significant: such a test
    costs the others nothing (Tarone 1990), and its own p stays 1.
    """
    known = {name: items for name, items in tests.items() if items.totals.size}
    found: dict[K, Comparison] = {
        name: Comparison(difference=None, n=0, low=None, high=None, level=level, p=None, method="no items") for name in tests
    }
    if not known:
        return found
    together = stacked(list(known.values()))
    ps = dict(zip(known, p_value(together).tolist(), strict=True))
    counted = {name: p for name, p in ps.items() if varies(known[name])}
    steps = dict(zip(counted, holm_steps([*counted.values(), *others]), strict=False))
    divisors = np.array([steps[name].divisor if name in steps else 1.0 for name in known])
    bounds = zip(*interval(together, level, 1 - (1 - level) / divisors), strict=True)
    for (name, items), value, (low, high, low_holm, high_holm) in zip(known.items(), together.value, bounds, strict=True):
        found[name] = Comparison(
            difference=float(value),
            n=items.totals.size,
            low=float(low),
            high=float(high),
            level=level,
            p=ps[name],
            p_holm=steps[name].p if name in steps else ps[name],
            divisor=steps[name].divisor if name in steps else 1.0,
            low_holm=float(low_holm),
            high_holm=float(high_holm),
            method=method_of(items),
        )
    return found


def varies(items: Items) -> bool:
    """True where at least one item differs from 0."""
    return bool((np.abs(items.totals) > ROUNDING).any())


def level_of(c: Comparison) -> float:
    """The level of a comparison's corrected interval."""
    if c.divisor is None:
        return c.level
    return 1 - (1 - c.level) / c.divisor


class Step(NamedTuple):
    """What Holm's correction makes of one p value."""

    p: float
    divisor: float
    """The single test is held to alpha / divisor: its interval at 1 - alpha / divisor leaves 0 out exactly where p < alpha."""


def holm_steps(ps: Sequence[float]) -> list[Step]:
    """Holm's (1979) step-down correction, in the order given.

    With m values sorted ascending, the i-th (from 0) becomes max over j <= i of min(1, (m - j) p_j).
    """
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    steps = [Step(1.0, 1.0)] * len(ps)
    highest = 0.0
    for rank, i in enumerate(order):
        left = len(ps) - rank
        highest = max(highest, min(1.0, left * ps[i]))
        steps[i] = Step(highest, highest / ps[i] if ps[i] > 0 and highest < 1 else float(left))
    return steps


def equivalence(items: Items, margin: float, level: float = 0.95, divisor: float = 1.0) -> Equivalence:
    """Whether a mean paired difference lies within +-margin: two one-sided tests at (1 - level) / divisor (Schuirmann 1987).

    p is the larger of the two one-sided p values; `equivalent` says that it is below that alpha, which is the same as the interval
    returned, at 1 - 2 alpha, lying inside the margin. Raises ValueError unless margin > 0.
    """
    if not margin > 0:
        raise ValueError(f"an equivalence margin must be positive, got {margin}")
    alpha = (1 - level) / divisor
    n = items.totals.size
    name = f"two one-sided tests, margin {margin:g}, alpha {alpha:g}"
    level = round(1 - 2 * alpha, 12)
    if n == 0:
        return Equivalence(
            difference=None, n=0, margin=margin, low=None, high=None, level=level, p=None, equivalent=False, method=f"{name}: no items"
        )
    value = float(items.value)
    low, high = (float(end[0]) for end in interval(stacked([items]), 1 - 2 * alpha))
    # A mean on or beyond the margin is not within it, whatever its interval.
    p = max(float(beyond(items, -margin, -1)), float(beyond(items, margin, 1))) if abs(value) < margin else 1.0
    return Equivalence(
        difference=value,
        n=n,
        margin=margin,
        low=low,
        high=high,
        level=level,
        p=p,
        equivalent=-margin < low and high < margin,
        method=f"{name}; {method_of(items)}",
    )


def detectable(items: Items, alpha: float, how: How) -> float | None:
    """The smallest mean difference that the paired test at `alpha` finds with 80% power, at these items' n and spread; None if none.

    None as well where no simulations are asked for.
    """
    if not items.totals.size or not how["simulations"]:
        return None
    return smallest_of_one(items, Simulation(alpha, how["simulations"], how["seed"]))


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


def whole(number: float) -> int | float:
    """An expected count: a whole number as one, where ties do not split it."""
    nearest = round(number)
    return nearest if math.isclose(number, nearest, abs_tol=1e-9) else float(number)


def _finite(values: ArrayLike) -> Floats:
    x = np.asarray(values, dtype=np.float64).reshape(-1)
    if not np.isfinite(x).all():
        raise ValueError("statistics need finite values")
    return x
