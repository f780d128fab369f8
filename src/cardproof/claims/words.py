"""Claims of words, tested on a run: by intervals alone, never by point values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from cardproof.claims.claims_file import DoublingsWithin, EquivalentWithin, Expression, IntervalBelow, RatioAtMost
from cardproof.evaluation.bounded import ROUNDING, Items, interval, stacked
from cardproof.evaluation.printed import number
from cardproof.evaluation.statistics import Column, differences
from cardproof.records import Estimate

LEVEL = 0.95
TAIL = (1 - LEVEL) / 2
Span = tuple[float | None, float | None]
Word = Literal["shown", "refuted", "not_resolved", "undefined"]


class Said(NamedTuple):
    """What a run says about a claim of words, the computation in one line, and the interval it rests on."""

    verdict: Word
    shown: str
    span: Span | None = None


class Measured(NamedTuple):
    """A claim's number in a run, in the unit of results."""

    estimate: Estimate
    column: Column | None
    """Item by item; None where the result has no items."""


def on_run(expression: Expression, found: Mapping[str, Measured], result: Any, ordered: bool = False) -> Said:
    """The test on a run: shown if an interval lies wholly where the words say, refuted if it lies wholly outside, else not resolved.

    `result` is what the expression itself points to: a paired comparison, an equivalence test, or a number of equivalent rollouts.
    `ordered` says that by definition no item's difference left - right is below 0. Intervals are those of the result, corrected for its
    family where it has one; all others are at 95%.
    """
    if isinstance(expression, DoublingsWithin):
        return _doublings(expression, result)
    if isinstance(expression, IntervalBelow):
        e = found[expression.claim].estimate
        return _within(f"{_shown(e)} against {expression.bound}", (e.low, e.high), None, float(expression.bound))
    if isinstance(expression, RatioAtMost):
        return _ratio(expression, found[expression.of], found[expression.to])
    left, right = found[expression.left], found[expression.right]
    values = f"{number(_value(left.estimate))} - {number(_value(right.estimate))}"
    difference, span = _difference(left, right, result, ordered)
    shown = f"{values}, difference {number(difference)}{_span(span)}"
    if isinstance(expression, EquivalentWithin):
        margin = float(expression.margin)
        return _within(f"{shown} against ±{expression.margin}", span, -margin, margin)
    if span is None or span[0] is None or span[1] is None:
        return Said("not_resolved", f"{shown}, without an interval")
    return Said("shown" if span[0] > 0 else "refuted" if span[1] < 0 else "not_resolved", f"{shown} against 0", span)


def _within(shown: str, span: Span | None, least: float | None, most: float) -> Said:
    """Whether an interval lies within [least, most]; an end that is None is open."""
    if span is None or span == (None, None):
        return Said("not_resolved", f"{shown}: it has no interval")
    low, high = (-math.inf if span[0] is None else span[0]), (math.inf if span[1] is None else span[1])
    floor = -math.inf if least is None else least
    verdict: Word = "shown" if floor <= low and high <= most else "refuted" if high < floor or low > most else "not_resolved"
    return Said(verdict, f"{shown}: the interval lies {_WHERE[verdict]}", span)


_WHERE = {"shown": "wholly inside", "refuted": "wholly outside", "not_resolved": "across the bound"}


def _difference(left: Measured, right: Measured, result: Any, ordered: bool) -> tuple[float, Span | None]:
    """left - right with its interval: the result's, else that of the paired items."""
    if isinstance(result, Mapping) and result.get("difference") is not None:
        corrected = (result.get("low_holm"), result.get("high_holm"))
        return float(result["difference"]), (result.get("low"), result.get("high")) if None in corrected else corrected
    if left.column is None or right.column is None or len(left.column.totals) != len(right.column.totals):
        return _value(left.estimate) - _value(right.estimate), None
    items = differences(right.column, left.column)
    items = items._replace(low=0.0) if ordered and bool((items.totals >= -ROUNDING).all()) else items
    return float(items.value), _interval(items)


def _interval(items: Items) -> tuple[float, float]:
    low, high = interval(stacked([items]), LEVEL)
    return float(low[0]), float(high[0])


def _ratio(expression: RatioAtMost, of: Measured, to: Measured) -> Said:
    """of <= bound x to, as the paired difference of - bound x to."""
    bound, a, b = float(expression.bound), _value(of.estimate), _value(to.estimate)
    quotient = f" = {a / b:.2f}" if b else ""
    shown = f"{number(a)} / {number(b)}{quotient}, {number(a)} - {expression.bound} x {number(b)}"
    if a == 0 and b == 0:
        return Said("undefined", "0 / 0: neither has any")
    if of.column is None or to.column is None or len(of.column.totals) != len(to.column.totals):
        return Said("not_resolved", f"{shown}: it has no interval")
    items = differences(Column(bound * to.column.totals, to.column.weights), of.column)._replace(low=-bound)
    span = _interval(items)
    return _within(f"{shown} = {number(float(items.value))}{_span(span)} against 0", span, None, 0.0)


def _doublings(expression: DoublingsWithin, result: Any) -> Said:
    """The doublings between two numbers of rollouts, by the interval of the equivalent N; a bound beyond the curve is open."""
    if not isinstance(result, Mapping):
        return Said("undefined", "the run finds no number of equivalent rollouts")
    low, high = (None if result.get(key) is None else math.log2(result[key]) for key in ("low", "high"))
    value = result.get("doublings")
    shown = f"{value:.3g} doublings" if value is not None else f"no number of doublings ({result.get('reason')})"
    bounds = f"[{expression.low}, {expression.high}]"
    if low is None and high is None:
        # Both ends beyond the same end of the curve is an answer, too.
        beyond = result.get("share_below", 0.0) > 1 - TAIL or result.get("share_above", 0.0) > 1 - TAIL
        verdict: Word = "refuted" if beyond and value is None else "not_resolved"
        return Said(verdict, f"{shown}, interval open at both ends against {bounds}")
    return _within(
        f"{shown}{_span((low, high))} against [{expression.low}, {expression.high}]",
        (low, high),
        float(expression.low),
        float(expression.high),
    )


def _value(estimate: Estimate) -> float:
    if estimate.value is None:
        raise ValueError("an estimate without a value has no place in a test")
    return estimate.value


def _shown(e: Estimate) -> str:
    return f"{number(_value(e))}{_span((e.low, e.high))}"


def _span(span: Span | None) -> str:
    if span is None or span == (None, None):
        return ""
    low, high = ("open" if end is None else number(end) for end in span)
    return f" [{low}, {high}]"
