"""The near-miss gap: how much verbatim grounding is lost to cosmetic changes, and to which ones.

A near miss is a quote that is in a document after the normalisation ladder but not before it. The gap of an arm is the mean over
its answered items of content - strict; the ladder says which steps repair the near misses behind it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, get_args

import polars as pl

from cardproof.evaluation import statistics
from cardproof.evaluation.rerank import aligned, by_rank, picked
from cardproof.evaluation.results import GapOfArm, Ladder, Mechanism, QuoteCounts, Repair, Share
from cardproof.evaluation.statistics import Floats, How
from cardproof.records import Comparison, Estimate, QuoteKind, Step

KINDS: tuple[QuoteKind, ...] = get_args(QuoteKind)
STEPS: tuple[Step, ...] = get_args(Step)


def mechanism(
    conditions: Mapping[str, Mapping[str, pl.DataFrame]],
    *,
    reference: str = "base",
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Mechanism:
    """The gap, the kinds of quotes and the ladder of every arm and condition, and the paired differences of the gap.

    `conditions` is condition -> arm -> Score rows. Returns the content of `evaluation/mechanism.json`. The first fields of
    an arm are about its picked candidates (best-of-N); `candidates` is the same over all of its candidates, where selection hides nothing.
    Raises CardproofError as `rerank.aligned` does.
    """
    how = How(level=level, resamples=resamples, seed=seed)
    found: dict[str, dict[str, GapOfArm]] = {}
    paired: dict[str, dict[str, Comparison]] = {}
    for condition, frames in conditions.items():
        tables = aligned(frames)
        found[condition] = {arm: _arm(table, how) for arm, table in tables.items()}
        paired[condition] = {name: _paired_gap(tables[a], tables[b], how) for name, (a, b) in statistics.pairs(tables, reference).items()}
    return Mechanism(conditions=found, paired=paired)


def _arm(table: pl.DataFrame, how: How) -> GapOfArm:
    best = picked(table).filter(~pl.col("refusal"))
    answered = by_rank(table, ~pl.col("refusal")).sum(axis=1)
    lost = by_rank(table, pl.when("refusal").then(0.0).otherwise(pl.col("content") - pl.col("strict"))).sum(axis=1)
    every = table.filter(~pl.col("refusal"))["quotes"]
    candidates = counted(int(answered.sum()), statistics.ratio(lost, answered, **how), every)
    return GapOfArm(**dict(counted(best.height, statistics.mean(_gaps(best), **how), best["quotes"])), candidates=candidates)


def _paired_gap(first: pl.DataFrame, second: pl.DataFrame, how: How) -> Comparison:
    a, b = picked(first), picked(second)
    both = ~(a["refusal"] | b["refusal"])
    return statistics.paired_difference(_gaps(a.filter(both)), _gaps(b.filter(both)), **how)


def _gaps(best: pl.DataFrame) -> Floats:
    return (best["content"] - best["strict"]).to_numpy()


def counted(answered: int, gap: Estimate, column: Iterable[Iterable[Mapping[str, Any]]]) -> QuoteCounts:
    """Counts and shares of the kinds of all quotes, and the ladder of their near misses, beside the gap they make.

    `column` holds one list of Grounding fields per reply. A repair without steps is Unicode NFKC alone, which comes before the
    ladder. Shares of kinds are of all quotes, shares of repairs and steps of the near misses; None if there are none.
    """
    every = [quote for row in column for quote in row]
    kinds = Counter(quote["kind"] for quote in every)
    repairs = Counter(tuple(quote["steps"]) for quote in every if quote["kind"] == "near_miss")
    misses = kinds["near_miss"]
    involved = Counter(step for steps, count in repairs.items() for step in steps for _ in range(count))
    # Most frequent first; ties in the order of the ladder, so that the file does not depend on the order of rows.
    by_count = sorted(repairs, key=lambda steps: (-repairs[steps], len(steps), [STEPS.index(step) for step in steps]))
    return QuoteCounts(
        answered=answered,
        gap=gap,
        quotes=len(every),
        kinds={kind: _share(kinds[kind], len(every)) for kind in KINDS},
        ladder=Ladder(
            near_misses=misses,
            repairs=[Repair(steps=list(steps), **dict(_share(repairs[steps], misses))) for steps in by_count],
            involves={step: _share(involved[step], misses) for step in STEPS},
        ),
    )


def _share(count: int, total: int) -> Share:
    return Share(count=count, share=count / total if total else None)
