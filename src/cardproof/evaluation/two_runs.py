"""The axes of two runs: each difference, tested over the items that both runs have, and the items whose value changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from cardproof.config.settings import CONDITIONS
from cardproof.errors import CardproofError
from cardproof.evaluation import statistics
from cardproof.evaluation.axes import AXES, TITLES
from cardproof.evaluation.bounded import Floats, Items
from cardproof.evaluation.evaluate import FREEFORM
from cardproof.evaluation.of_run import Evaluation
from cardproof.evaluation.results import Axes, AxesOfArm, FormatLock, FreeformArm, PerItem, Stress
from cardproof.evaluation.statistics import Column, column
from cardproof.records import Comparison, Estimate, Result
from cardproof.runs import evaluation

GAP = "gap"
AXIS_TITLES = {**TITLES, GAP: "near-miss gap"}
"""Axis -> its title, in the order of a table."""
SMALLEST = 1e-9
"""Values of an item that are closer than this are the same."""


class Measured(NamedTuple):
    """One axis of an arm under a condition."""

    estimate: Estimate
    file: str
    pointer: str
    per_item: PerItem | None


class AxisOfTwo(Result):
    """One axis of one arm and condition in two runs."""

    condition: str
    """`clean`, `stress` or `freeform`."""
    arm: str
    """The arm, by its name in both runs."""
    axis: str
    """The axis, or `gap` for the near-miss gap."""
    first: Estimate | None
    """Its value in the first run, over that run's items; None if that run has no such arm."""
    second: Estimate | None
    """The same in the second run."""
    difference: float | None
    """Second minus first; None if they do not compare."""
    paired: Comparison | None
    """The same over the items that both runs have and count; all axes of an arm and condition are one family. None without such items."""
    items: int
    """Items that both runs asked."""
    changed: int
    """How many of these have another value, or count in one run alone; 0 if they do not compare."""


class ItemOfTwo(Result):
    """One axis of one item that differs between two runs."""

    condition: str
    """The condition that the item was asked under."""
    item: int | str
    """Id of the question."""
    question: str
    """The question."""
    arm: str
    """The arm."""
    axis: str
    """The axis, or `gap`."""
    first: float | None
    """Its value in the first run, in expectation over the candidates that best-of-N picks; None if the item does not count there."""
    second: float | None
    """The same in the second run."""


class Asked(NamedTuple):
    """The items of one condition of a run."""

    ids: Sequence[int | str]
    """In the order of the result files."""
    questions: Mapping[int | str, tuple[str, str]]
    """Id -> question and reference answer: two items are the same if all three are."""


class Shared(NamedTuple):
    """The items that two runs have in common: ids, questions, and their places in each run's columns."""

    ids: list[int | str]
    questions: list[str]
    first: list[int]
    second: list[int]


def shared(first: Asked, second: Asked) -> Shared:
    """The items that both runs asked under one condition."""
    places = {item: place for place, item in enumerate(second.ids)}
    same = [(item, place) for place, item in enumerate(first.ids) if item in places and first.questions[item] == second.questions[item]]
    ids = [item for item, _ in same]
    return Shared(ids, [first.questions[item][0] for item in ids], [place for _, place in same], [places[item] for item in ids])


def measured(found: Evaluation) -> dict[tuple[str, str, str], Measured]:
    """(condition, arm, axis) -> what the result files of a run hold of it, in the order of the card."""
    return {(condition, arm, axis): value for condition in CONDITIONS for arm, axis, value in _of_condition(found, condition)}


def _of_condition(found: Evaluation, condition: str) -> Iterator[tuple[str, str, Measured]]:
    table: dict[str, tuple[str, Axes | Stress | FormatLock]] = {
        "clean": ("axes", found.axes),
        "stress": ("stress", found.stress),
        "freeform": ("format_lock", found.format_lock),
    }
    name, content = table[condition]
    axes = FREEFORM if condition == "freeform" else [axis.name for axis in AXES]
    gaps = found.mechanism.conditions.get(condition, {})
    arms: Mapping[str, AxesOfArm | FreeformArm] = content.arms
    for arm, values in arms.items():
        for axis in axes:
            pointer = f"/arms/{arm}/{axis}"
            yield arm, axis, Measured(getattr(values, axis), evaluation(name), pointer, content.per_item.get(pointer))
        if arm in gaps:
            pointer = f"/conditions/{condition}/{arm}/gap"
            yield arm, GAP, Measured(gaps[arm].gap, evaluation("mechanism"), pointer, found.mechanism.per_item.get(pointer))


def compared(
    first: Mapping[tuple[str, str, str], Measured],
    second: Mapping[tuple[str, str, str], Measured],
    asked: Mapping[str, tuple[Asked, Asked]],
    withheld: frozenset[str] = frozenset(),
) -> tuple[list[AxisOfTwo], list[ItemOfTwo]]:
    """Every axis of two runs, and the items that changed; the axes in `withheld` do not compare, so nothing is said of their differences.

    `asked`: condition -> the items of both runs. CardproofError if a result's items are not those that were asked.
    """
    rows: list[AxisOfTwo] = []
    items: list[ItemOfTwo] = []
    keys = list(dict.fromkeys([*first, *second]))
    keys.sort(key=lambda key: list(CONDITIONS).index(key[0]))
    for condition, arm in dict.fromkeys(key[:2] for key in keys):
        common = shared(*asked[condition]) if condition in asked else Shared([], [], [], [])
        tests: dict[str, Items] = {}
        changes: dict[str, list[ItemOfTwo]] = {}
        named = [key for key in keys if key[:2] == (condition, arm)]
        for key in named:
            if key in first and key in second and key[2] not in withheld and condition in asked:
                pair = [_column(side[key], run) for side, run in zip((first, second), asked[condition], strict=True)]
                one, other = (_at(found, places) for found, places in zip(pair, (common.first, common.second), strict=True))
                tests[key[2]] = statistics.differences(one, other)
                changes[key[2]] = list(_changed(condition, arm, key[2], common, one, other))
        items += [change for found in changes.values() for change in found]
        counts = {axis: len(found) for axis, found in changes.items()}
        rows += _rows(named, first, second, tests, counts, len(common.ids), withheld)
    order = {axis: place for place, axis in enumerate(AXIS_TITLES)}
    arms = list(dict.fromkeys(row.arm for row in rows))
    items.sort(key=lambda i: (list(CONDITIONS).index(i.condition), arms.index(i.arm)))
    return sorted(rows, key=lambda r: (list(CONDITIONS).index(r.condition), arms.index(r.arm), order[r.axis])), items


def _rows(
    keys: Sequence[tuple[str, str, str]],
    first: Mapping[tuple[str, str, str], Measured],
    second: Mapping[tuple[str, str, str], Measured],
    tests: Mapping[str, Items],
    changed: Mapping[str, int],
    items: int,
    withheld: frozenset[str],
) -> Iterator[AxisOfTwo]:
    """The rows of one arm and condition, whose tests are one family."""
    level = next((side[key].estimate.level for key in keys for side in (first, second) if key in side), 0.95)
    family = statistics.family({axis: items for axis, items in tests.items() if items.totals.size}, level)
    for key in keys:
        one, other = (side[key].estimate if key in side else None for side in (first, second))
        values = [None if e is None else e.value for e in (one, other)]
        apart = None if None in values or key[2] in withheld else float(values[1] - values[0])  # type: ignore[operator]
        yield AxisOfTwo(
            condition=key[0],
            arm=key[1],
            axis=key[2],
            first=one,
            second=other,
            difference=apart,
            paired=family.get(key[2]),
            items=items,
            changed=changed.get(key[2], 0),
        )


def _column(found: Measured, run: Asked) -> Column:
    """A result item by item; CardproofError if it is not one of a share or score over the items that were asked."""
    kept = found.per_item
    sizes = set() if kept is None else {len(kept.totals), len(kept.weights)}
    if kept is None or sizes != {len(run.ids)} or not all(-1 <= x <= 1 for x in (*kept.totals, *kept.weights)):
        sentence = f"{found.file} does not hold {found.pointer} for each of the {len(run.ids)} items that were asked."
        raise CardproofError(sentence, "evaluate the run again: `cardproof evaluate`.")
    return column(kept.totals, kept.weights)


def _at(found: Column, places: Sequence[int]) -> Column:
    return Column(found.totals[list(places)], found.weights[list(places)])


def _changed(condition: str, arm: str, axis: str, common: Shared, first: Column, second: Column) -> Iterator[ItemOfTwo]:
    for item, question, one, other in zip(common.ids, common.questions, _values(first), _values(second), strict=True):
        if (one is None) != (other is None) or (one is not None and other is not None and abs(one - other) > SMALLEST):
            yield ItemOfTwo(condition=condition, item=item, question=question, arm=arm, axis=axis, first=one, second=other)


def _values(found: Column) -> list[float | None]:
    """Each item's own value; None where it does not count."""
    totals: Floats = found.totals
    return [float(total / weight) if weight > 0 else None for total, weight in zip(totals, found.weights, strict=True)]
