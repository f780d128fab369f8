"""The five result files of a run, from its scores: axes, stress, mechanism, compute, format lock.

Each function takes the Score rows of every arm under one condition and returns the content of one JSON file; `results` puts the five
together and tests the primary hypotheses as one family; `run` reads and writes. A number is about the candidate that best-of-N picks, in
expectation where candidates tie. An item is *answered* where that candidate is not a refusal: quality axes are over answered items (a reply
without answer text has support 0), false refusals over items with the oracle. `all_items` holds the quality axes over all items, a refusal
counting 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import polars as pl

from cardproof.config.settings import CONDITIONS, PRIMARY
from cardproof.evaluation import statistics
from cardproof.evaluation.axes import AXES, AXIS, SINGLE_DRAW, Axis
from cardproof.evaluation.bounded import Floats, Items
from cardproof.evaluation.mechanism import gaps, mechanism
from cardproof.evaluation.of_run import Evaluation
from cardproof.evaluation.picked_rouge import PickedRouge
from cardproof.evaluation.rerank import Table, aligned, choices, equivalence, equivalence_interval
from cardproof.evaluation.results import (
    AllItems,
    Axes,
    AxesOfArm,
    AxisTable,
    Compute,
    Curves,
    Equivalence,
    EquivalentN,
    FormatLock,
    FreeformArm,
    Mechanism,
    PerItem,
    Residual,
    Stress,
    StressSettings,
)
from cardproof.evaluation.statistics import Column, How, column
from cardproof.files import write_json
from cardproof.records import Comparison
from cardproof.scoring.frames import read_scores

Frames = Mapping[str, pl.DataFrame]
"""Arm -> Score rows of one condition."""
Settled = Mapping[str, Mapping[str, Comparison]]
"""Pair -> axis -> a comparison that another family has corrected."""
Primary = dict[str, dict[str, Comparison | Equivalence]]
"""Pair -> primary hypothesis -> its test."""

CURVES = ("composite", "strict", "support")
"""Columns of the scores that `compute` follows over N."""
FREEFORM = ("support", "rouge_l", "gold_rouge")
"""Axes that are given without the contract."""


# --- one axis ---------------------------------------------------------------------------------------------------------


def values(table: Table, axis: Axis, n: int | None = None) -> Column:
    """The axis item by item, in expectation over what best-of-n takes (all candidates where n is None)."""
    if axis.over == "oracle_present":
        present = table.of_items("oracle_present").cast(pl.Float64).to_numpy()
        return column(table.expected(pl.col(axis.column), n) * present, present)
    return column(
        table.expected(pl.when("refusal").then(0.0).otherwise(pl.col(axis.column).cast(pl.Float64)), n),
        table.expected(~pl.col("refusal"), n),
    )


def over_all(found: Column) -> Column:
    """The same axis over all items: what is not answered counts 0."""
    return column(found.totals)


# --- the five files ---------------------------------------------------------------------------------------------------


def axes(
    frames: Frames,
    *,
    reference: str = "base",
    level: float = 0.95,
    simulations: int = 400,
    seed: int = 0,
    settled: Settled | None = None,
    primary: Primary | None = None,
) -> Axes:
    """Every axis of every arm, all paired comparisons, and what differences n items can show: `evaluation/axes.json`.

    Comparisons that `settled` does not hold are one family for each pair. Raises CardproofError as `rerank.aligned` does, or if the
    reference arm is missing.
    """
    how = How(level=level, simulations=simulations, seed=seed)
    return Axes(**dict(_table(aligned(frames), reference, settled or {}, how)), primary=primary or {})


def _table(tables: Mapping[str, Table], reference: str, settled: Settled, how: How) -> AxisTable:
    found = {arm: {axis.name: values(table, axis) for axis in AXES} for arm, table in tables.items()}
    paired, detectable = _paired_axes(found, statistics.pairs(tables, reference), settled, how)
    return AxisTable(
        condition=_condition(tables),
        best_of=_first(tables).best_of,
        items=len(_first(tables).shares),
        arms={arm: _axes_of_arm(table, found[arm], how["level"]) for arm, table in tables.items()},
        paired=paired,
        minimal_detectable=detectable,
        differs={
            name: [axis for axis, c in table.items() if c.p_holm is not None and c.p_holm < 1 - how["level"]]
            for name, table in paired.items()
        },
        per_item=_per_item((f"/arms/{arm}/{axis}", c) for arm, by_axis in found.items() for axis, c in by_axis.items()),
    )


def _axes_of_arm(table: Table, found: Mapping[str, Column], level: float) -> AxesOfArm:
    single = {f"{name}_n1": values(table, AXIS[name], 1) for name in SINGLE_DRAW}
    over_answered = {axis.name: over_all(found[axis.name]) for axis in AXES if axis.over == "answered"}
    return AxesOfArm(
        answered=statistics.whole(found["strict"].weights.sum()),
        oracle_present=int(table.of_items("oracle_present").sum()),
        choices=choices(table),
        all_items=AllItems(**statistics.estimates(over_answered, level)),
        **statistics.estimates({**found, **single}, level),
    )


def _paired_axes(
    found: Mapping[str, Mapping[str, Column]], pairs: Mapping[str, tuple[str, str]], settled: Settled, how: How
) -> tuple[dict[str, dict[str, Comparison]], dict[str, dict[str, float | None]]]:
    """Every axis compared for every pair of arms, and the smallest difference each comparison would have noticed."""
    paired: dict[str, dict[str, Comparison]] = {}
    detectable: dict[str, dict[str, float | None]] = {}
    alpha = 1 - how["level"]
    for name, (a, b) in pairs.items():
        tests = {axis: statistics.differences(found[a][axis], found[b][axis]) for axis in found[a]}
        known = settled.get(name, {})
        rest = statistics.family({axis: items for axis, items in tests.items() if axis not in known}, how["level"])
        paired[name] = {axis: known.get(axis) or rest[axis] for axis in tests}
        size = max(1, sum(statistics.varies(tests[axis]) for axis in rest))
        detectable[name] = {
            axis: statistics.detectable(items, alpha / (len(PRIMARY) if axis in known else size), how) for axis, items in tests.items()
        }
    return paired, detectable


def _per_item(columns: Iterable[tuple[str, Column]]) -> dict[str, PerItem]:
    """JSON pointer of an estimate -> what each item adds to it, so that it can be tested against another number."""
    return {pointer: c.kept() for pointer, c in columns}


def stress(
    frames: Frames,
    *,
    reference: str = "base",
    level: float = 0.95,
    simulations: int = 400,
    seed: int = 0,
    settled: Settled | None = None,
) -> Stress:
    """The axes under stress, what grounding is left and how often an arm refuses rightly: `evaluation/stress.json`.

    Quality axes are over answered items with and without the oracle. A slip is a quote that is verbatim in some provided document but not
    in the one it cites; `correct_refusals` is over items without the oracle.
    """
    tables = aligned(frames)
    table = _table(tables, reference, settled or {}, How(level=level, simulations=simulations, seed=seed))
    per_item = dict(table.per_item)
    per_item |= {f"/residual/{arm}/{name}": per_item[f"/arms/{arm}/{name}"] for arm in tables for name in ("strict", "attribution")}
    present = _first(tables).of_items("oracle_present").to_numpy()
    refused = {arm: column(frame.expected(pl.col("refusal"))[~present]) for arm, frame in tables.items()}
    return Stress(
        **dict(table) | {"per_item": per_item},
        settings=StressSettings(items=len(present), oracle_dropped=int((~present).sum())),
        residual={arm: _residual(table.arms[arm], frame) for arm, frame in tables.items()},
        correct_refusals=statistics.estimates(refused, level),
    )


def _residual(arm: AxesOfArm, table: Table) -> Residual:
    answered = pl.when("refusal").then(0.0)
    slipped = pl.col("quotes").list.eval(pl.element().struct.field("strict") & ~pl.element().struct.field("attributed")).list.sum()
    return Residual(
        strict=arm.strict,
        attribution=arm.attribution,
        quotes=statistics.whole(table.expected(answered.otherwise(pl.col("quotes").list.len())).sum()),
        slips=statistics.whole(table.expected(answered.otherwise(slipped)).sum()),
    )


def compute(frames: Frames, *, reference: str = "base", level: float = 0.95, settled: Mapping[str, Comparison] | None = None) -> Compute:
    """Composite, strict and support at every N, and the N at which the reference meets each arm's N = 1: `evaluation/compute.json`.

    Over all items, so that a curve is about one fixed set: a candidate that refuses (or has no support value) counts 0. If `settled`
    (arm -> the test of its single rollout against the reference's) corrects for a family, the interval of N is at that test's level.
    """
    tables = aligned(frames)
    statistics.pairs(tables, reference)  # raises if the reference is missing
    per_item = {arm: {metric: _zero_for_refusal(table, metric) for metric in CURVES} for arm, table in tables.items()}
    base = per_item[reference]["composite"]
    return Compute(
        condition=_condition(tables),
        metric="composite",
        max_n=base.shape[1],
        arms={
            arm: Curves(
                **{
                    metric: list(statistics.estimates({i: column(points) for i, points in enumerate(curve.T)}, level).values())
                    for metric, curve in found.items()
                }
            )
            for arm, found in per_item.items()
        },
        equivalence={
            arm: _equivalence(base, found["composite"][:, 0], reference, level, (settled or {}).get(arm))
            for arm, found in per_item.items()
            if arm != reference
        },
        per_item=_per_item(
            (f"/arms/{arm}/{metric}/{i}", column(points))
            for arm, found in per_item.items()
            for metric, curve in found.items()
            for i, points in enumerate(curve.T)
        ),
    )


def _zero_for_refusal(table: Table, name: str) -> Floats:
    return table.curves(pl.when("refusal").then(0.0).otherwise(pl.col(name).cast(pl.Float64)))


def _equivalence(base: Floats, single: Floats, reference: str, level: float, test: Comparison | None) -> EquivalentN:
    test = test or statistics.compare(statistics.differences(column(base[:, 0]), column(single)), level)
    target = float(single.mean())
    crossing = equivalence(base.mean(axis=0), target)
    found = equivalence_interval(base, single, statistics.level_of(test))
    return EquivalentN(
        target=target,
        n_equivalent=crossing.n,
        reason=crossing.reason,
        low=found.low,
        high=found.high,
        level=statistics.level_of(test),
        share_below=found.below,
        share_above=found.above,
        doublings=math.log2(crossing.n) if crossing.n is not None else None,
        single=test,
        method=f"N at which {reference} composite@N meets composite@1, log2 interpolation; {found.method}",
    )


def format_lock(freeform: Frames, clean: Frames, *, support_margin: float, reference: str = "base", level: float = 0.95) -> FormatLock:
    """Whether the arms still answer as well without the contract, and how far the contract leaks: `evaluation/format_lock.json`.

    `support_margin` (in support, 0 to 1) is the difference held to be none. `strict_rate_contract` is the share of all picked
    free-form replies that still hold quotes; `contract_paired` is the support comparison under `clean`.
    """
    tables, under_contract = aligned(freeform), aligned(clean)
    found = {arm: {name: values(table, AXIS[name]) for name in FREEFORM} for arm, table in tables.items()}
    support = {arm: values(table, AXIS["support"]) for arm, table in under_contract.items()}
    pairs = statistics.pairs(tables, reference)
    tests = {name: statistics.differences(found[a]["support"], found[b]["support"]) for name, (a, b) in pairs.items()}
    return FormatLock(
        condition=_condition(tables),
        best_of=_first(tables).best_of,
        items=len(_first(tables).shares),
        arms={arm: _freeform_arm(table, found[arm], level) for arm, table in tables.items()},
        paired={name: {"support": statistics.compare(items, level)} for name, items in tests.items()},
        equivalence={name: statistics.equivalence(items, support_margin, level) for name, items in tests.items()},
        contract_paired={
            name: {"support": statistics.compare(statistics.differences(support[a], support[b]), level)}
            for name, (a, b) in statistics.pairs(under_contract, reference).items()
        },
        per_item=_per_item((f"/arms/{arm}/{name}", c) for arm, by_axis in found.items() for name, c in by_axis.items()),
    )


def _freeform_arm(table: Table, found: Mapping[str, Column], level: float) -> FreeformArm:
    quoting = column(table.expected(pl.col("quotes").list.len() > 0))
    return FreeformArm(
        answered=statistics.whole(found["support"].weights.sum()),
        choices=choices(table),
        **statistics.estimates({**found, "strict_rate_contract": quoting}, level),
    )


def _condition(tables: Mapping[str, Table]) -> str:
    return str(_first(tables).rows["condition"][0])


def _first(tables: Mapping[str, Table]) -> Table:
    return next(iter(tables.values()))


# --- the primary family -----------------------------------------------------------------------------------------------


def primary_tests(
    clean: Frames, under_stress: Frames, hypotheses: Sequence[str], support_margin: float, reference: str, level: float
) -> Primary:
    """Pair -> hypothesis -> its test, all of one pair corrected together.

    `strict_*` and `gap_*` are paired differences of the picked candidates, `compute` that of the composite of a single rollout,
    `support_equivalence` that support differs by less than the margin.
    """
    tables = {"clean": aligned(clean), "stress": aligned(under_stress)}
    of: dict[str, tuple[str, Callable[[Table], Column]]] = {
        "strict_clean": ("clean", lambda table: values(table, AXIS["strict"])),
        "strict_stress": ("stress", lambda table: values(table, AXIS["strict"])),
        "gap_clean": ("clean", gaps),
        "gap_stress": ("stress", gaps),
        "support_equivalence": ("clean", lambda table: values(table, AXIS["support"])),
        "compute": ("clean", lambda table: over_all(values(table, AXIS["composite"], 1))),
    }
    found: Primary = {}
    for name, (a, b) in statistics.pairs(tables["clean"], reference).items():
        tests = {
            key: statistics.differences(take(tables[condition][a]), take(tables[condition][b]))
            for key, (condition, take) in of.items()
            if key in hypotheses
        }
        found[name] = _corrected(tests, support_margin, level)
    return found


def _corrected(tests: dict[str, Items], margin: float, level: float) -> dict[str, Comparison | Equivalence]:
    """The tests of one family, each with its p after Holm's correction; an equivalence test is one of them like any other."""
    support = tests.pop("support_equivalence", None)
    if support is None:
        return dict(statistics.family(tests, level))
    alone = statistics.equivalence(support, margin, level)
    others = [] if alone.p is None else [alone.p]
    differing = statistics.family(tests, level, others)
    ps = [c.p for key, c in differing.items() if c.p is not None and statistics.varies(tests[key])]
    step = statistics.holm_steps([*ps, *others])[-1] if others else None
    flat = alone if step is None else statistics.equivalence(support, margin, level, step.divisor).model_copy(update={"p_holm": step.p})
    return {**differing, "support_equivalence": flat}


# --- files ------------------------------------------------------------------------------------------------------------


def results(
    clean: Frames,
    under_stress: Frames,
    freeform: Frames,
    *,
    support_margin: float,
    hypotheses: Sequence[str] = PRIMARY,
    reference: str = "base",
    level: float = 0.95,
    simulations: int = 400,
    seed: int = 0,
) -> Evaluation:
    """The content of the five files; the primary hypotheses of each pair of arms are one family, in `axes` under `primary`."""
    how = How(level=level, simulations=simulations, seed=seed)
    found = primary_tests(clean, under_stress, hypotheses, support_margin, reference, level)

    def of(key: str) -> dict[str, Comparison]:
        return {pair: test for pair, tests in found.items() if isinstance(test := tests.get(key), Comparison)}

    strict = {name: {pair: {"strict": test} for pair, test in of(f"strict_{name}").items()} for name in ("clean", "stress")}
    gap = {condition: of(f"gap_{condition}") for condition in ("clean", "stress")}
    single = {pair.removesuffix(f"-{reference}"): test for pair, test in of("compute").items()}
    return Evaluation(
        axes(clean, reference=reference, **how, settled=strict["clean"], primary=found),
        stress(under_stress, reference=reference, **how, settled=strict["stress"]),
        mechanism({"clean": clean, "stress": under_stress}, reference=reference, level=level, settled=gap),
        compute(clean, reference=reference, level=level, settled=single),
        format_lock(freeform, clean, support_margin=support_margin, reference=reference, level=level),
    )


def run(
    scores_dir: Path,
    out_dir: Path,
    *,
    support_margin: float,
    arms: Sequence[str],
    hypotheses: Sequence[str] = PRIMARY,
    reference: str = "base",
    level: float = 0.95,
    simulations: int = 400,
    seed: int = 0,
    rouge: PickedRouge | None = None,
) -> None:
    """Read `scores_dir/{arm}/{condition}.parquet` and write the five files into `out_dir`.

    `arms` are the arms to expect, in the order in which the files list them; `rouge` checks the ROUGE-L that the files give.
    Raises CardproofError that names the file, and the column, if one is missing or has a value that no score can be.
    """
    how = How(level=level, simulations=simulations, seed=seed)
    read = rouge.read if rouge else read_scores
    frames = [{arm: read(scores_dir, arm, condition) for arm in arms} for condition in CONDITIONS]
    found = results(*frames, support_margin=support_margin, hypotheses=hypotheses, reference=reference, **how)
    for name, content in found._asdict().items():
        if rouge and not isinstance(content, Mechanism | Compute):
            content = content.model_copy(update={"rouge_check": rouge.of(content.condition)})
        write_json(Path(out_dir) / f"{name}.json", content)
