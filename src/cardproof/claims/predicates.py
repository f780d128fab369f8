"""Claims of words, tested on a card's printed values; `words` tests them on a run."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import log2
from typing import NamedTuple

from cardproof.claims.claims_file import DoublingsWithin, EquivalentWithin, Expression, Greater, IntervalBelow, RatioAtMost, ValueClaim
from cardproof.claims.grim import decimals, rounded


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


def pointer_of(expression: Expression) -> str | None:
    """The result an expression itself points to."""
    return expression.result if isinstance(expression, EquivalentWithin | Greater | DoublingsWithin) else None


def _in(holds: bool) -> str:
    return "within" if holds else "outside"
