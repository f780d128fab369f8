"""The near-miss gap: how much verbatim grounding is lost to cosmetic changes, and to which ones.

A near miss is a quote that is in a document after the normalisation ladder but not before it. The gap of an arm is the mean over
its answered items of content - strict; the ladder says which steps repair the near misses behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import repeat
from typing import Any, get_args

import polars as pl

from cardproof.evaluation import statistics
from cardproof.evaluation.rerank import Table, aligned
from cardproof.evaluation.results import GapOfArm, Ladder, Mechanism, PerItem, QuoteCounts, Repair, Share
from cardproof.evaluation.statistics import Column, column
from cardproof.records import Comparison, Estimate, QuoteKind, Step

KINDS: tuple[QuoteKind, ...] = get_args(QuoteKind)
STEPS: tuple[Step, ...] = get_args(Step)


def mechanism(
    conditions: Mapping[str, Mapping[str, pl.DataFrame]],
    *,
    reference: str = "base",
    level: float = 0.95,
    settled: Mapping[str, Mapping[str, Comparison]] | None = None,
) -> Mechanism:
    """The gap, the kinds of quotes and the ladder of every arm and condition, and the paired differences of the gap.

    `conditions` is condition -> arm -> Score rows. Returns the content of `evaluation/mechanism.json`. The first fields of an arm are about
    its picked candidates (best-of-N, in expectation over ties); `candidates` is the same over all of its candidates, where selection hides
    nothing. `settled` (condition -> pair) are comparisons that a larger family has corrected. Raises CardproofError as `aligned` does.
    """
    found: dict[str, dict[str, GapOfArm]] = {}
    paired: dict[str, dict[str, Comparison]] = {}
    per_item: dict[str, PerItem] = {}
    for condition, frames in conditions.items():
        tables = aligned(frames)
        known = (settled or {}).get(condition, {})
        found[condition] = {arm: _arm(table, level) for arm, table in tables.items()}
        paired[condition] = {
            name: known.get(name) or statistics.family({0: statistics.differences(gaps(tables[a]), gaps(tables[b]))}, level)[0]
            for name, (a, b) in statistics.pairs(tables, reference).items()
        }
        for arm, table in tables.items():
            per_item[f"/conditions/{condition}/{arm}/gap"] = gaps(table).kept()
    return Mechanism(conditions=found, paired=paired, per_item=per_item)


def gaps(table: Table, n: int | None = None) -> Column:
    """The gap item by item, in expectation over what best-of-n takes."""
    lost = pl.when("refusal").then(0.0).otherwise(pl.col("content") - pl.col("strict"))
    return column(table.expected(lost, n), table.expected(~pl.col("refusal"), n))


def _arm(table: Table, level: float) -> GapOfArm:
    answered = table.rows["refusal"].not_().to_numpy()
    picked = table.shares[:, :, -1].reshape(-1)
    taken = answered & (picked > 0)
    gap = gaps(table)
    every = counted(int(answered.sum()), statistics.estimate(gaps(table, 1), level), table.rows["quotes"].filter(pl.Series(answered)))
    best = counted(gap.weights.sum(), statistics.estimate(gap, level), table.rows["quotes"].filter(pl.Series(taken)), picked[taken])
    return GapOfArm(**dict(best), candidates=every)


def counted(
    answered: float, gap: Estimate, rows: Iterable[Iterable[Mapping[str, Any]]], shares: Iterable[float] | None = None
) -> QuoteCounts:
    """Counts and shares of the kinds of all quotes, and the ladder of their near misses, beside the gap they make.

    `rows` holds one list of Grounding fields per reply; `shares` says how often each reply is taken (always if left out), so a count is an
    expected one. A repair without steps is Unicode NFKC alone, which comes before the ladder. Shares of kinds are of all quotes, shares of
    repairs and steps of the near misses; None if there are none.
    """
    kinds: dict[QuoteKind, float] = dict.fromkeys(KINDS, 0.0)
    repairs: dict[tuple[Step, ...], float] = {}
    involved: dict[Step, float] = dict.fromkeys(STEPS, 0.0)
    for row, share in zip(rows, repeat(1.0) if shares is None else shares, strict=False):
        for quote in row:
            kinds[quote["kind"]] += share
            if quote["kind"] == "near_miss":
                steps = tuple(quote["steps"])
                repairs[steps] = repairs.get(steps, 0.0) + share
                for step in steps:
                    involved[step] += share
    every, misses = sum(kinds.values()), kinds["near_miss"]
    # Most frequent first; ties in the order of the ladder, so that the file does not depend on the order of rows.
    by_count = sorted(repairs, key=lambda steps: (-round(repairs[steps], 9), len(steps), [STEPS.index(step) for step in steps]))
    return QuoteCounts(
        answered=statistics.whole(answered),
        gap=gap,
        quotes=statistics.whole(every),
        kinds={kind: _share(kinds[kind], every) for kind in KINDS},
        ladder=Ladder(
            near_misses=statistics.whole(misses),
            repairs=[Repair(steps=list(steps), **dict(_share(repairs[steps], misses))) for steps in by_count],
            involves={step: _share(involved[step], misses) for step in STEPS},
        ),
    )


def _share(count: float, total: float) -> Share:
    return Share(count=statistics.whole(count), share=count / total if total else None)
