"""A process with known truth that makes runs: score tables whose expectations are chosen, so that errors of verdicts can be counted.

A candidate's axes are the same for all of an item's candidates; only its composite differs, so best-of-N leaves the expectations as chosen
on every axis, and the composite has a curve. Items differ: each has its own propensities, drawn once for all runs that share it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cardproof.scoring.table import parquet_schema

Floats = NDArray[np.float64]
CANDIDATES = 8
QUOTE = pl.DataFrame(parquet_schema().empty_table()).schema["quotes"].inner  # type: ignore[attr-defined]
CONDITIONS = ("clean", "stress", "freeform")
DROPPED = 0.3
"""Share of items without their oracle under stress."""
SPREAD = 0.3
"""Half the range of an item's composites: what best-of-N has to choose from."""


class Truth(NamedTuple):
    """Expectations of one arm under one condition."""

    strict: float
    content: float
    support: float
    citation: float = 0.95
    rouge: float = 0.5
    refusal: float = 0.1
    slip: float = 0.0
    """Share of quotes that are strict but not in the document they cite."""
    composite: float = 0.5
    """Of a single rollout that answers."""


CARD: dict[str, dict[str, Truth]] = {
    "clean": {
        "base": Truth(0.824, 0.987, 0.838, 0.933, 0.511, 0.10, composite=0.531),
        "hybrid": Truth(0.819, 0.980, 0.83, 0.911, 0.5, 0.10),
        "grounded": Truth(0.962, 0.995, 0.820, 1.000, 0.587, 0.08, composite=0.607),
    },
    "stress": {
        "base": Truth(0.689, 0.917, 0.8),
        "hybrid": Truth(0.661, 0.9, 0.8),
        "grounded": Truth(0.984, 0.984, 0.8, slip=0.025),
    },
    "freeform": {"base": Truth(0.0, 0.0, 0.720), "hybrid": Truth(0.0, 0.0, 0.72), "grounded": Truth(0.0, 0.0, 0.724)},
}
"""A process whose truth is what the published card prints, as far as it prints it."""


class Propensities(NamedTuple):
    """What one arm tends to do with each item; shape (items,) or (items, 3)."""

    kinds: Floats
    """Of a quote: strict, near miss, fabricated."""
    quotes: NDArray[np.int64]
    support: Floats
    citation: Floats
    rouge: Floats
    refusal: Floats


def propensities(truth: Truth, items: int, rng: np.random.Generator) -> Propensities:
    """The items themselves, seen by one arm: drawn once where runs share them."""

    def share(mean: float, concentration: float) -> Floats:
        inner = 0 < mean < 1
        return rng.beta(mean * concentration, (1 - mean) * concentration, items) if inner else np.full(items, mean)

    mix = np.array([truth.strict, truth.content - truth.strict, 1 - truth.content]) * 2.0
    kinds = np.zeros((items, 3))
    some = mix > 1e-9
    kinds[:, some] = rng.dirichlet(mix[some], items) if some.sum() > 1 else 1.0
    return Propensities(
        kinds, rng.integers(1, 5, items), share(truth.support, 4), share(truth.citation, 2), share(truth.rouge, 2), share(truth.refusal, 2)
    )


def frame(truth: Truth, seen: Propensities, arm: str, condition: str, rng: np.random.Generator) -> pl.DataFrame:
    """One arm's Score rows under one condition."""
    items = len(seen.quotes)
    present = np.arange(items) >= (round(DROPPED * items) if condition == "stress" else 0)
    counts = rng.multinomial(seen.quotes, seen.kinds)
    strict = counts[:, 0] / seen.quotes
    slipped = np.minimum(strict, rng.binomial(seen.quotes, truth.slip) / seen.quotes)
    support = rng.beta(np.maximum(seen.support * 6, 1e-3), np.maximum((1 - seen.support) * 6, 1e-3))
    rouge = (rng.random(items) < seen.rouge).astype(float)
    refusal = rng.random(items) < seen.refusal
    ladder = np.linspace(-SPREAD, SPREAD, CANDIDATES)
    composite = truth.composite + ladder[None, :] * rng.uniform(0.4, 1.0, (items, 1)) + rng.uniform(-0.1, 0.1, (items, 1))
    columns: dict[str, Any] = {
        "oracle_present": present,
        "refusal": refusal,
        "strict": strict,
        "content": (counts[:, 0] + counts[:, 1]) / seen.quotes,
        "attribution": strict - slipped,
        "citation_validity": (rng.random(items) < seen.citation).astype(float),
        "rouge_l": 0.1 + 0.4 * rouge,
        "gold_rouge": rouge,
        "support": support,
    }
    table = pl.DataFrame({"item": np.arange(items), **columns}).select(pl.all().repeat_by(CANDIDATES).explode())
    return table.with_columns(
        pl.Series("k", np.tile(np.arange(CANDIDATES), items)),
        pl.Series("composite", composite.reshape(-1)),
        pl.lit(arm).alias("arm"),
        pl.lit(condition).alias("condition"),
        pl.Series("quotes", [[]], dtype=pl.List(QUOTE)).new_from_index(0, items * CANDIDATES),
    )


class Pair(NamedTuple):
    """A card's scores and a run's: condition -> arm -> Score rows."""

    card: dict[str, dict[str, pl.DataFrame]]
    run: dict[str, dict[str, pl.DataFrame]]


def pair(
    rng: np.random.Generator,
    *,
    shared: bool,
    items: int = 50,
    card_items: int = 50,
    truth: Mapping[str, Mapping[str, Truth]] = CARD,
    run_truth: Mapping[str, Mapping[str, Truth]] | None = None,
) -> Pair:
    """A card and a run of one process, with the same items or with fresh ones; `run_truth` plants a deviation in the run."""
    sides: tuple[dict[str, dict[str, pl.DataFrame]], ...] = ({}, {})
    for condition in CONDITIONS:
        for side in sides:
            side[condition] = {}
        for arm in truth[condition]:
            expected = (truth[condition][arm], (run_truth or truth)[condition][arm])
            seen = [propensities(expected[0], card_items, rng)]
            seen.append(seen[0] if shared and expected[0] == expected[1] else propensities(expected[1], items, rng))
            for side, of, what in zip(sides, expected, seen, strict=True):
                side[condition][arm] = frame(of, what, arm, condition, rng)
    return Pair(*sides)
