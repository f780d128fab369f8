"""The five result files of a run, from its scores: axes, stress, mechanism, compute, format lock.

Each function takes the Score rows of every arm under one condition and returns what one file holds; `run` reads and writes. Every
number is about the candidate that best-of-N picks. An item is *answered* if that candidate is not a refusal. Quality axes are over
answered items, false refusals over items with the oracle. In here alone, NaN marks an item that does not count.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from cardproof.config.settings import CONDITIONS
from cardproof.evaluation import statistics
from cardproof.evaluation.axes import ALPHA, AXES, AXIS, SINGLE_DRAW, Axis
from cardproof.evaluation.mechanism import mechanism
from cardproof.evaluation.rerank import aligned, best_of, by_rank, curves, equivalence, equivalence_interval, picked
from cardproof.evaluation.results import (
    Axes,
    AxesOfArm,
    AxisTable,
    Compute,
    Curves,
    EquivalentN,
    FormatLock,
    FreeformArm,
    Residual,
    Stress,
    StressSettings,
)
from cardproof.evaluation.statistics import Floats, How
from cardproof.files import write_json
from cardproof.records import Comparison, Estimate
from cardproof.scoring.frames import read_scores

Frames = Mapping[str, pl.DataFrame]
"""Arm -> Score rows of one condition."""

CURVES = ("composite", "strict", "support")
"""Columns of the scores that `compute` follows over N."""


# --- one axis ---------------------------------------------------------------------------------------------------------


def values(best: pl.DataFrame, axis: Axis) -> Floats:
    """The axis per item of a frame of picked candidates; shape (items,), NaN for an item that does not count."""
    counts = ~pl.col("refusal") if axis.over == "answered" else pl.col("oracle_present")
    return best.select(pl.when(counts).then(pl.col(axis.column).cast(pl.Float64)).fill_null(float("nan"))).to_series().to_numpy()


def estimate(best: pl.DataFrame, axis: Axis, how: How) -> Estimate:
    """The axis over the items that count: Wilson's interval for proportions, BCa for means."""
    found = values(best, axis)
    found = found[~np.isnan(found)]
    return statistics.proportion(found, how["level"]) if axis.kind == "proportion" else statistics.mean(found, **how)


def compare(first: pl.DataFrame, second: pl.DataFrame, axis: Axis, how: How) -> Comparison:
    """Second minus first over the items that count for both: McNemar for proportions, sign flips for means."""
    a, b = _both(first, second, axis)
    return statistics.mcnemar(a, b, how["level"]) if axis.kind == "proportion" else statistics.paired_difference(a, b, **how)


def _both(first: pl.DataFrame, second: pl.DataFrame, axis: Axis) -> tuple[Floats, Floats]:
    a, b = values(first, axis), values(second, axis)
    both = ~(np.isnan(a) | np.isnan(b))
    return a[both], b[both]


def compare_axes(first: pl.DataFrame, second: pl.DataFrame, axes: Sequence[Axis], how: How) -> dict[str, Comparison]:
    """`compare` on every axis of one table, with Holm's correction over the table."""
    found = {axis.name: compare(first, second, axis, how) for axis in axes}
    corrected = statistics.holm([comparison.p for comparison in found.values()])
    return {name: found[name].model_copy(update={"p_holm": p}) for name, p in zip(found, corrected, strict=True)}


def _detectable(first: pl.DataFrame, second: pl.DataFrame, axis: Axis) -> float | None:
    a, b = _both(first, second, axis)
    return statistics.minimal_detectable_difference(a.size, float((b - a).std(ddof=1)), alpha=ALPHA) if a.size > 1 else None


def single_draw(table: pl.DataFrame, column: str, how: How) -> Estimate:
    """A quality axis at N = 1: over single candidates that answer, as the axis itself is over picked candidates that answer."""
    answered = by_rank(table, ~pl.col("refusal")).mean(axis=1)
    total = by_rank(table, pl.when("refusal").then(0.0).otherwise(pl.col(column))).mean(axis=1)
    return statistics.ratio(total, answered, **how)


# --- the five files ---------------------------------------------------------------------------------------------------


def axes(frames: Frames, *, reference: str = "base", level: float = 0.95, resamples: int = 10_000, seed: int = 0) -> Axes:
    """Every axis of every arm, all paired comparisons, and what differences n items can show: `evaluation/axes.json`.

    Raises CardproofError as `rerank.aligned` does, or if the reference arm is missing.
    """
    return Axes.model_validate(dict(_table(aligned(frames), reference, How(level=level, resamples=resamples, seed=seed))))


def _table(tables: Frames, reference: str, how: How) -> AxisTable:
    best = {arm: picked(table) for arm, table in tables.items()}
    pairs = statistics.pairs(tables, reference)
    paired = {name: compare_axes(best[a], best[b], AXES, how) for name, (a, b) in pairs.items()}
    return AxisTable(
        condition=_condition(tables),
        best_of=best_of(next(iter(tables.values()))),
        items=next(iter(best.values())).height,
        arms={arm: _axes_of_arm(table, best[arm], how) for arm, table in tables.items()},
        paired=paired,
        minimal_detectable={name: {axis.name: _detectable(best[a], best[b], axis) for axis in AXES} for name, (a, b) in pairs.items()},
        differs={
            name: [axis for axis, found in table.items() if found.p_holm is not None and found.p_holm < ALPHA]
            for name, table in paired.items()
        },
    )


def _axes_of_arm(table: pl.DataFrame, best: pl.DataFrame, how: How) -> AxesOfArm:
    estimates = {axis.name: estimate(best, axis, how) for axis in AXES}
    single = {f"{name}_n1": single_draw(table, AXIS[name].column, how) for name in SINGLE_DRAW}
    return AxesOfArm(answered=int((~best["refusal"]).sum()), oracle_present=int(best["oracle_present"].sum()), **estimates, **single)


def stress(frames: Frames, *, reference: str = "base", level: float = 0.95, resamples: int = 10_000, seed: int = 0) -> Stress:
    """The axes under stress, what grounding is left and how often an arm refuses rightly: `evaluation/stress.json`.

    Quality axes are over answered items with and without the oracle. A slip is a quote that is verbatim in some provided document but not
    in the one it cites; `correct_refusals` is over items without the oracle.
    """
    tables = aligned(frames)
    table = _table(tables, reference, How(level=level, resamples=resamples, seed=seed))
    best = {arm: picked(frame) for arm, frame in tables.items()}
    present = next(iter(best.values()))["oracle_present"]
    return Stress(
        **dict(table),
        settings=StressSettings(items=len(present), oracle_dropped=int((~present).sum())),
        residual={arm: _residual(table.arms[arm], frame) for arm, frame in best.items()},
        correct_refusals={
            arm: statistics.proportion(frame.filter(~pl.col("oracle_present"))["refusal"].to_numpy(), level) for arm, frame in best.items()
        },
    )


def _residual(arm: AxesOfArm, best: pl.DataFrame) -> Residual:
    quotes = [quote for row in best.filter(~pl.col("refusal"))["quotes"] for quote in row]
    slips = sum(quote["strict"] and not quote["attributed"] for quote in quotes)
    return Residual(strict=arm.strict, attribution=arm.attribution, quotes=len(quotes), slips=slips)


def compute(frames: Frames, *, reference: str = "base", level: float = 0.95, resamples: int = 10_000, seed: int = 0) -> Compute:
    """Composite, strict and support at every N, and the N at which the reference meets each arm's N = 1: `evaluation/compute.json`.

    Over all items, so that a curve is about one fixed set: a candidate that refuses (or has no support value) counts 0.
    """
    how = How(level=level, resamples=resamples, seed=seed)
    tables = aligned(frames)
    statistics.pairs(tables, reference)  # raises if the reference is missing
    per_item = {arm: {metric: curves(_zero_for_refusal(table, metric)) for metric in CURVES} for arm, table in tables.items()}
    base = per_item[reference]["composite"]
    return Compute(
        condition=_condition(tables),
        metric="composite",
        max_n=base.shape[1],
        arms={
            arm: Curves(**{metric: [statistics.mean(column, **how) for column in curve.T] for metric, curve in found.items()})
            for arm, found in per_item.items()
        },
        equivalence={
            arm: _equivalence(base, found["composite"][:, 0], reference, how) for arm, found in per_item.items() if arm != reference
        },
    )


def _zero_for_refusal(table: pl.DataFrame, column: str) -> Floats:
    return by_rank(table, pl.when("refusal").then(0.0).otherwise(pl.col(column).cast(pl.Float64).fill_null(0.0)))


def _equivalence(base: Floats, single: Floats, reference: str, how: How) -> EquivalentN:
    target = float(single.mean())
    crossing = equivalence(base.mean(axis=0), target)
    interval = equivalence_interval(base, single, **how)
    return EquivalentN(
        target=target,
        n_equivalent=crossing.n,
        reason=crossing.reason,
        low=interval.low,
        high=interval.high,
        level=how["level"],
        share_below=interval.below,
        share_above=interval.above,
        doublings=math.log2(crossing.n) if crossing.n is not None else None,
        method=f"N at which {reference} composite@N meets composite@1, log2 interpolation; {interval.method}",
    )


def format_lock(
    freeform: Frames,
    clean: Frames,
    *,
    support_margin: float,
    reference: str = "base",
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> FormatLock:
    """Whether the arms still answer as well without the contract, and how far the contract leaks: `evaluation/format_lock.json`.

    `support_margin` (in support, 0 to 1) is the difference held to be none. `strict_rate_contract` is the share of all picked
    free-form replies that still hold quotes; `contract_paired` is the support comparison under `clean`.
    """
    how = How(level=level, resamples=resamples, seed=seed)
    best = {arm: picked(table) for arm, table in aligned(freeform).items()}
    under_contract = {arm: picked(table) for arm, table in aligned(clean).items()}
    pairs = statistics.pairs(best, reference)
    support = AXIS["support"]
    return FormatLock(
        condition=_condition(best),
        best_of=best_of(next(iter(freeform.values()))),
        items=next(iter(best.values())).height,
        arms={arm: _freeform_arm(frame, how) for arm, frame in best.items()},
        paired={name: compare_axes(best[a], best[b], [support], how) for name, (a, b) in pairs.items()},
        equivalence={
            name: statistics.tost_paired(*_both(best[a], best[b], support), support_margin, level) for name, (a, b) in pairs.items()
        },
        contract_paired={
            name: compare_axes(under_contract[a], under_contract[b], [support], how)
            for name, (a, b) in statistics.pairs(under_contract, reference).items()
        },
    )


def _freeform_arm(best: pl.DataFrame, how: How) -> FreeformArm:
    return FreeformArm(
        answered=int((~best["refusal"]).sum()),
        support=estimate(best, AXIS["support"], how),
        rouge_l=estimate(best, AXIS["rouge_l"], how),
        gold_rouge=estimate(best, AXIS["gold_rouge"], how),
        strict_rate_contract=statistics.proportion((best["quotes"].list.len() > 0).to_numpy(), how["level"]),
    )


def _condition(tables: Frames) -> str:
    return str(next(iter(tables.values()))["condition"][0])


# --- files ------------------------------------------------------------------------------------------------------------


def run(
    scores_dir: Path,
    out_dir: Path,
    *,
    support_margin: float,
    arms: Sequence[str],
    reference: str = "base",
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> None:
    """Read `scores_dir/{arm}/{condition}.parquet` and write the five files into `out_dir`.

    `arms` are the arms to expect, in the order in which the files list them.
    Raises CardproofError that names the file, and the column, if one is missing or has a value that no score can be.
    """
    how = How(level=level, resamples=resamples, seed=seed)
    clean, under_stress, freeform = ({arm: read_scores(scores_dir, arm, condition) for arm in arms} for condition in CONDITIONS)
    out = Path(out_dir)
    write_json(out / "axes.json", axes(clean, reference=reference, **how))
    write_json(out / "stress.json", stress(under_stress, reference=reference, **how))
    write_json(out / "mechanism.json", mechanism({"clean": clean, "stress": under_stress}, reference=reference, **how))
    write_json(out / "compute.json", compute(clean, reference=reference, **how))
    write_json(out / "format_lock.json", format_lock(freeform, clean, support_margin=support_margin, reference=reference, **how))
