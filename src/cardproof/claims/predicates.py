"""Claims of words, tested: on a card's printed values, or on a run's estimates and their intervals."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import log2
from typing import NamedTuple

from cardproof.claims.claims_file import DoublingsWithin, EquivalentWithin, Expression, Greater, IntervalBelow, RatioAtMost, ValueClaim
from cardproof.claims.grim import decimals, rounded
from cardproof.evaluation.printed import measured
from cardproof.records import Estimate


class Outcome(NamedTuple):
    """Whether a test holds, and its computation in one line."""

    holds: bool
    shown: str


def on_card(expression: Expression, values: Mapping[str, ValueClaim]) -> Outcome:
    """The test on printed values, taken as they are printed."""
    places = {i: decimals(c.value or "") for i, c in values.items()}
    if isinstance(expression, DoublingsWithin):
        few, more = (int(values[i].rollouts or 0) for i in (expression.fewer, expression.more))
        if not few or not more:
            return Outcome(False, f"{expression.fewer} or {expression.more} has no number of rollouts")
        found = log2(more / few)
        holds = float(expression.low) <= found <= float(expression.high)
        return Outcome(holds, f"log2({more} / {few}) = {found:g}, {_in(holds)} [{expression.low}, {expression.high}]")
    if isinstance(expression, IntervalBelow):
        claim = values[expression.claim]
        holds = claim.exact <= Fraction(expression.bound)
        return Outcome(holds, f"{claim.shown} {'<=' if holds else '>'} {expression.bound}")
    if isinstance(expression, RatioAtMost):
        of, to = values[expression.of], values[expression.to]
        holds = of.exact <= Fraction(expression.bound) * to.exact
        ratio = f" = {rounded(of.exact / to.exact, 2)}" if to.exact else ""
        return Outcome(holds, f"{of.shown} / {to.shown}{ratio} {'<=' if holds else '>'} {expression.bound}")
    left, right = values[expression.left], values[expression.right]
    d = rounded(left.exact - right.exact, max(places[left.id], places[right.id]))
    if isinstance(expression, EquivalentWithin):
        holds = abs(left.exact - right.exact) <= Fraction(expression.margin)
        return Outcome(holds, f"{left.shown} - {right.shown} = {d}, {_in(holds)} ±{expression.margin}")
    holds = left.exact > right.exact
    return Outcome(holds, f"{left.shown} {'>' if holds else '<='} {right.shown}, by {d}")


def on_run(expression: Expression, found: Mapping[str, Estimate], result: Estimate | None) -> Outcome:
    """The test on a run's estimates (every operand has a value); `result` is the estimate the expression itself points to."""
    if isinstance(expression, DoublingsWithin):
        value = None if result is None else result.value
        if value is None:
            return Outcome(False, "the run finds no number of doublings: the two curves do not meet")
        holds = float(expression.low) <= value <= float(expression.high)
        return Outcome(holds, f"{value:.3g} doublings, {_in(holds)} [{expression.low}, {expression.high}]")
    if isinstance(expression, IntervalBelow):
        e = found[expression.claim]
        top = e.high if e.high is not None else _value(e)
        holds = top <= float(expression.bound)
        return Outcome(holds, f"{_shown(e)} ends {'at or below' if holds else 'above'} {expression.bound}")
    if isinstance(expression, RatioAtMost):
        of, to = _value(found[expression.of]), _value(found[expression.to])
        holds = of <= float(expression.bound) * to
        return Outcome(holds, f"{of:.4g} / {to:.4g} {'<=' if holds else '>'} {expression.bound}")
    left, right = _value(found[expression.left]), _value(found[expression.right])
    beside = f"; paired difference {_shown(result)}" if result is not None and result.value is not None else ""
    if isinstance(expression, EquivalentWithin):
        low = high = left - right
        if result is not None and result.low is not None and result.high is not None:
            low, high = result.low, result.high
        holds = -float(expression.margin) <= low and high <= float(expression.margin)
        return Outcome(holds, f"{left:.4g} - {right:.4g} = {left - right:.4g}{beside}, {_in(holds)} ±{expression.margin}")
    holds = left > right
    return Outcome(holds, f"{left:.4g} {'>' if holds else '<='} {right:.4g}{beside}")


def pointer_of(expression: Expression) -> str | None:
    """The result an expression itself points to."""
    return expression.result if isinstance(expression, EquivalentWithin | Greater | DoublingsWithin) else None


def _in(holds: bool) -> str:
    return "within" if holds else "outside"


def _value(estimate: Estimate) -> float:
    if estimate.value is None:
        raise ValueError("an estimate without a value has no place in a test")
    return estimate.value


def _shown(e: Estimate) -> str:
    return measured(_value(e), e.low, e.high)
