"""Best-of-N: which candidates the reranker may take, what it scores on average at every N, and how many draws an arm is worth.

Candidates of an item are ordered by composite, highest first. Where the best of a subset tie, each of them is taken equally often: the
expectation over these picks and over all subsets is exact, and nothing is random. A `Table` is a frame of Score rows sorted by item and
rank, so arrays of shape (items, N) come off it without a join.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from cardproof.errors import CardproofError
from cardproof.evaluation.bounded import METHOD, ROUNDING, Floats, Items, Side, beyond, bound
from cardproof.evaluation.results import Choices


class Table(NamedTuple):
    """The scores of one arm and condition, ready for best-of-N."""

    rows: pl.DataFrame
    """Score rows sorted by item, then composite (best first), then k, with `rank` 1..N."""
    shares: Floats
    """How often each candidate is taken: shape (items, N places, N), the last axis best-of-1 to best-of-N."""

    @property
    def best_of(self) -> int:
        """N, the number of candidates per item."""
        return int(self.shares.shape[1])

    def matrix(self, values: pl.Expr) -> Floats:
        """A column as shape (items, N), best candidate first; an empty value is 0."""
        flat = self.rows.select(values.cast(pl.Float64).fill_null(0.0)).to_series().to_numpy()
        return np.asarray(flat.reshape(len(self.shares), -1))

    def expected(self, values: pl.Expr, n: int | None = None) -> Floats:
        """The mean of a column over the candidates that best-of-n takes (all N where n is None); shape (items,)."""
        return np.asarray((self.matrix(values) * self.shares[:, :, (n or self.best_of) - 1]).sum(axis=1))

    def curves(self, values: pl.Expr) -> Floats:
        """`expected` for N = 1..N: shape (items, N)."""
        return np.asarray(np.einsum("ik,ikn->in", self.matrix(values), self.shares))

    def of_items(self, column: str) -> pl.Series:
        """A column that is the same for all candidates of an item; one value for each item."""
        return self.rows.filter(pl.col("rank") == 1)[column]


def rank_weights(total: int, n: int) -> Floats:
    """Probability that the i-th best of `total` candidates is the best of a random `n` of them; shape (total,), i = 1 first.

    C(total - i, n - 1) / C(total, n): the other n - 1 come from the total - i worse ones. Sums to 1. Raises ValueError unless
    1 <= n <= total.
    """
    if not 1 <= n <= total:
        raise ValueError(f"best-of-N needs 1 <= N <= {total}, got {n}")
    return np.array([math.comb(total - i, n - 1) / math.comb(total, n) for i in range(1, total + 1)])


def shares(composites: ArrayLike) -> Floats:
    """How often best-of-n takes each candidate, over all subsets and all picks among equals; n = 1..N.

    `composites` has shape (items, N), best first; the result (items, N places, N). Candidates that tie have the mean of their places'
    `rank_weights`: in a random subset every one of them is as likely to be there, and to be picked.
    """
    values = np.asarray(composites, dtype=np.float64)
    items, total = values.shape
    weights = np.stack([rank_weights(total, n) for n in range(1, total + 1)], axis=1)
    summed = np.concatenate([np.zeros((1, total)), np.cumsum(weights, axis=0)])
    place = np.arange(total)
    begins = np.concatenate([np.ones((items, 1), dtype=bool), values[:, :-1] - values[:, 1:] > ROUNDING], axis=1)
    first = np.maximum.accumulate(np.where(begins, place, 0), axis=1)
    ends = np.concatenate([begins[:, 1:], np.ones((items, 1), dtype=bool)], axis=1)
    last = np.minimum.accumulate(np.where(ends, place, total)[:, ::-1], axis=1)[:, ::-1] + 1
    return np.asarray((summed[last] - summed[first]) / (last - first)[:, :, None])


# --- frames of Score rows ---------------------------------------------------------------------------------------------


def ranked(frame: pl.DataFrame) -> Table:
    """Score rows of one arm and condition as a Table.

    Raises CardproofError if there are no rows, a candidate comes twice, or items have different numbers of candidates.
    """
    n = best_of(frame)
    rows = frame.sort("item", "composite", "k", descending=[False, True, False])
    rows = rows.with_columns((pl.int_range(pl.len()).over("item") + 1).alias("rank"))
    return Table(rows, shares(rows["composite"].cast(pl.Float64).to_numpy().reshape(-1, n)))


def choices(table: Table) -> Choices:
    """For how many items the composite chose: `unique` where it has a single best candidate, `some` where not all tie; of `items`."""
    composites = table.matrix(pl.col("composite"))
    tied = (composites >= composites[:, :1] - ROUNDING).sum(axis=1)
    return Choices(items=len(tied), unique=int((tied == 1).sum()), some=int((tied < table.best_of).sum()))


def best_of(frame: pl.DataFrame) -> int:
    """N, the number of candidates per item; raises CardproofError as `ranked` does."""
    if frame.is_empty():
        raise CardproofError("a table of scores has no rows.", "score at least one item, and run again.")
    where = f"scores of {frame['arm'][0]}/{frame['condition'][0]}"
    counts = frame.group_by("item").agg(pl.len().alias("rows"), pl.col("k").n_unique().alias("ks")).sort("item")
    twice = counts.filter(pl.col("rows") != pl.col("ks"))
    if not twice.is_empty():
        raise CardproofError(
            f"{where}: item {twice['item'][0]} has two rows of one candidate k.", "delete the file and score this arm again."
        )
    fewest, most = counts.row(counts["rows"].arg_min() or 0, named=True), counts.row(counts["rows"].arg_max() or 0, named=True)
    if fewest["rows"] != most["rows"]:
        raise CardproofError(
            f"{where}: item {fewest['item']} has {fewest['rows']} candidates and item {most['item']} has {most['rows']}.",
            "best-of-N needs as many for every item: sample the missing ones and score again.",
        )
    return int(fewest["rows"])


def aligned(frames: Mapping[str, pl.DataFrame]) -> dict[str, Table]:
    """Every arm's Table of one condition, checked to be pairable item by item.

    Raises CardproofError where arms differ in their items, in which items have the oracle, or in N.
    """
    tables = {arm: ranked(frame) for arm, frame in frames.items()}
    if not tables:
        raise CardproofError("there are no arms to evaluate.", "sample and score at least the reference arm.")
    first, *others = tables
    top = tables[first].rows.filter(pl.col("rank") == 1)
    for arm in others:
        other = tables[arm].rows.filter(pl.col("rank") == 1)
        where = f"arms {first!r} and {arm!r} under {top['condition'][0]!r}"
        odd = sorted(set(top["item"]) ^ set(other["item"]))
        if odd:
            raise CardproofError(
                f"{where} have different items: only one of them has item {odd[0]}.", "sample and score the same items for every arm."
            )
        n, m = tables[first].best_of, tables[arm].best_of
        if n != m:
            raise CardproofError(f"{where} have {n} and {m} candidates per item.", "sample the same number for every arm.")
        differ = top.filter(top["oracle_present"] != other["oracle_present"])
        if not differ.is_empty():
            raise CardproofError(
                f"{where} disagree whether item {differ['item'][0]} had its oracle.", "sample every arm on the same prompts."
            )
    return tables


# --- compute equivalence ----------------------------------------------------------------------------------------------


class Crossing(NamedTuple):
    """Where a best-of-N curve meets a target; `n` is None beyond the curve's ends and `reason` then says which."""

    n: float | None
    reason: str | None


def equivalence(curve: Sequence[float] | Floats, target: float) -> Crossing:
    """The N at which the curve (its values at N = 1..M) first meets the target, log2-interpolated between neighbouring N.

    Between N = i and i + 1, log2 N is linear in the metric: N = i ((i + 1)/i)^f with f the share of the rise that the target needs.
    """
    values = np.asarray(curve, dtype=np.float64)
    if target < values[0] - ROUNDING:
        return Crossing(None, "below N=1")
    reached = np.flatnonzero(values >= target - ROUNDING)
    if reached.size == 0:
        return Crossing(None, f"above N={values.size}")
    i = int(reached[0])
    if i == 0:
        return Crossing(1.0, None)
    f = min(1.0, (target - float(values[i - 1])) / float(values[i] - values[i - 1]))
    return Crossing(i * ((i + 1) / i) ** f, None)


class EquivalenceInterval(NamedTuple):
    """Interval of an equivalent N; a bound beyond the curve's ends is None."""

    low: float | None
    high: float | None
    below: float
    """Probability that the target lies below N = 1."""
    above: float
    """Probability that the target lies above N = M."""
    method: str


def equivalence_interval(reference: ArrayLike, targets: ArrayLike, level: float = 0.95) -> EquivalenceInterval:
    """Every N at which the paired difference between curve and target is not shown to be other than 0, at `level`.

    `reference` has shape (items, M): each item's curve, which rises; `targets` has shape (items,): the other arm's metric at N = 1, both in
    [0, 1]. Between neighbouring N each item's curve is linear in log2 N, as in `equivalence`. A bound beyond the curve is None, never cut
    to the curve's end.
    """
    base, other = np.asarray(reference, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    most, tail = base.shape[1], (1 - level) / 2

    def gaps(logs: Floats) -> Items:
        """Curve less target at each N, given as log2; a row for each."""
        n = 2**logs
        i = np.clip(np.floor(n + ROUNDING).astype(int), 1, max(1, most - 1))
        f = np.log2(n / i) / np.log2((i + 1) / i)
        upper = base[:, np.minimum(i, most - 1)]
        values = ((1 - f) * base[:, i - 1] + f * upper - other[:, None]).T
        return Items(values, np.ones(values.shape), np.ones(values.shape), low=-1.0)

    def edge(side: Side) -> float | None:
        """The N at which the bound of the gap on one side reaches 0; None if it is there before N = 1, or not yet at the last N."""
        low, high = 0.0, math.log2(most)
        ends = bound(gaps(np.array([low, high])), tail, side)
        if ends[0] >= 0 or ends[1] <= 0:
            return None
        for _ in range(5):
            grid = np.linspace(low, high, 17)
            first = int(np.argmax(bound(gaps(grid[1:]), tail, side) >= 0))
            low, high = float(grid[first]), float(grid[first + 1])
        return float(2**high)

    first, last = (_share_above_zero(gaps(np.array([log]))) for log in (0.0, math.log2(most)))
    method = f"every N that the paired test ({METHOD}) does not exclude; a bound outside N=1..{most} is null"
    # The gap rises with N: its upper bound reaches 0 first, its lower bound last.
    return EquivalenceInterval(edge(1), edge(-1), first, 1 - last, method)


def _share_above_zero(items: Items) -> float:
    """Probability that the mean of one sample is above 0, by the side that `bound` uses."""
    value = float(items.value[0])
    if abs(value) <= ROUNDING:
        return 0.5
    return 1 - float(beyond(items, 0.0, -1)[0]) if value > 0 else float(beyond(items, 0.0, 1)[0])
