"""Best-of-N: which candidate the reranker takes, what it scores on average at every N, and how many draws an arm is worth.

Candidates of an item are ordered by composite, highest first, ties by candidate index k; nothing is random. A ranked frame is a
frame of Score rows sorted by item and rank, so arrays of shape (items, N) come off it without a join.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from cardproof.errors import CardproofError
from cardproof.evaluation.statistics import BATCH, ROUNDING, Floats


def rank_weights(total: int, n: int) -> Floats:
    """Probability that the i-th best of `total` candidates is the best of a random `n` of them; shape (total,), i = 1 first.

    C(total - i, n - 1) / C(total, n): the other n - 1 come from the total - i worse ones. Sums to 1. Raises ValueError unless
    1 <= n <= total.
    """
    if not 1 <= n <= total:
        raise ValueError(f"best-of-N needs 1 <= N <= {total}, got {n}")
    return np.array([math.comb(total - i, n - 1) / math.comb(total, n) for i in range(1, total + 1)])


def curves(by_rank: ArrayLike) -> Floats:
    """Expected metric of the candidate that best-of-N takes, for N = 1..total, exact over all subsets of the candidates.

    `by_rank` has shape (items, total), each item's best candidate first; so has the result, N = 1 first.
    """
    values = np.asarray(by_rank, dtype=np.float64)
    total = values.shape[1]
    return values @ np.stack([rank_weights(total, n) for n in range(1, total + 1)], axis=1)


# --- frames of Score rows ---------------------------------------------------------------------------------------------


def ranked(frame: pl.DataFrame) -> pl.DataFrame:
    """Score rows of one arm and condition, sorted by item and best candidate first, with `rank` 1..N.

    Raises CardproofError if there are no rows, a candidate comes twice, or items have different numbers of candidates.
    """
    best_of(frame)
    frame = frame.sort("item", "composite", "k", descending=[False, True, False])
    return frame.with_columns((pl.int_range(pl.len()).over("item") + 1).alias("rank"))


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


def aligned(frames: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Every arm's ranked frame of one condition, checked to be pairable row by row.

    Raises CardproofError where arms differ in their items, in which items have the oracle, or in N.
    """
    tables = {arm: ranked(frame) for arm, frame in frames.items()}
    if not tables:
        raise CardproofError("there are no arms to evaluate.", "sample and score at least the reference arm.")
    first, *others = tables
    top = picked(tables[first])
    for arm in others:
        other = picked(tables[arm])
        where = f"arms {first!r} and {arm!r} under {top['condition'][0]!r}"
        odd = sorted(set(top["item"]) ^ set(other["item"]))
        if odd:
            raise CardproofError(
                f"{where} have different items: only one of them has item {odd[0]}.", "sample and score the same items for every arm."
            )
        if tables[arm].height != tables[first].height:
            n, m = best_of(tables[first]), best_of(tables[arm])
            raise CardproofError(f"{where} have {n} and {m} candidates per item.", "sample the same number for every arm.")
        differ = top.filter(top["oracle_present"] != other["oracle_present"])
        if not differ.is_empty():
            raise CardproofError(
                f"{where} disagree whether item {differ['item'][0]} had its oracle.", "sample every arm on the same prompts."
            )
    return tables


def picked(table: pl.DataFrame) -> pl.DataFrame:
    """The best candidate of each item of a ranked frame, sorted by item."""
    return table.filter(pl.col("rank") == 1)


def by_rank(table: pl.DataFrame, values: pl.Expr) -> Floats:
    """A column of a ranked frame as shape (items, N), best candidate first; nulls become NaN."""
    items = table["item"].n_unique()
    return table.select(values.cast(pl.Float64).fill_null(float("nan"))).to_series().to_numpy().reshape(items, -1)


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
    """Share of resamples whose target lies below N = 1."""
    above: float
    """Share of resamples whose target lies above N = M."""
    method: str


def equivalence_interval(
    reference: ArrayLike, targets: ArrayLike, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> EquivalenceInterval:
    """Percentile bootstrap interval of `equivalence`, items resampled for both arms together.

    `reference` has shape (items, M): each item's curve; `targets` has shape (items,): the other arm's metric at N = 1. A resample
    beyond the curve counts as infinitely far there, so a bound beyond the curve is None, never cut to the curve's end.
    """
    base, other = np.asarray(reference, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    items, most = base.shape
    if items < 2:
        return EquivalenceInterval(None, None, 0.0, 0.0, "no interval: one item")
    joint = np.column_stack([base, other])
    rng = np.random.default_rng(seed)
    found = np.empty(resamples)
    for start in range(0, resamples, BATCH):
        size = min(BATCH, resamples - start)
        means = rng.multinomial(items, np.full(items, 1 / items), size=size) @ joint / items
        for offset, row in enumerate(means):
            n, reason = equivalence(row[:-1], float(row[-1]))
            found[start + offset] = n if n is not None else -math.inf if reason == "below N=1" else math.inf
    # inverted_cdf takes one of the resamples: interpolating between infinities would be NaN.
    low, high = (float(q) for q in np.quantile(found, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf"))
    method = f"percentile bootstrap over items, both arms together, {resamples} resamples, seed {seed}; a bound outside N=1..{most} is null"
    return EquivalenceInterval(
        low if math.isfinite(low) else None,
        high if math.isfinite(high) else None,
        float((found == -math.inf).mean()),
        float((found == math.inf).mean()),
        method,
    )
