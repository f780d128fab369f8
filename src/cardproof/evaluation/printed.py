"""An estimate as text: the same wherever it is printed, on the card, on the page, in a figure and in the reason of a verdict."""

from __future__ import annotations

from cardproof.records import Comparison

DASH = "–"
"""What is printed where there is no number."""
PLACES = 3
"""Decimals of a share, a score or a loss, as on the published card."""
TINY = 1e-12
"""A difference up to this is rounding."""


def number(value: float | None, places: int = PLACES) -> str:
    """A real number; a dash for None."""
    return DASH if value is None else f"{value:.{places}f}"


def interval(low: float | None, high: float | None, places: int = PLACES) -> str:
    """An interval, e.g. `[0.760, 0.881]`; empty if a bound is None."""
    return "" if low is None or high is None else f"[{number(low, places)}, {number(high, places)}]"


def measured(value: float | None, low: float | None, high: float | None, places: int = PLACES) -> str:
    """A number with its interval, e.g. `0.824 [0.760, 0.881]`; the number alone if it has no interval."""
    return f"{number(value, places)} {interval(low, high, places)}".rstrip()


def p_text(p: float) -> str:
    """A p value, e.g. `p = 0.012`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def stance(c: Comparison) -> str:
    """What a comparison shows: `higher`, `lower`, the same with `_uncertain` if chance explains it, `same`, or `undefined`.

    Judged at 1 - level, by p after Holm's correction if the comparison is one of a family.
    """
    if c.difference is None:
        return "undefined"
    if abs(c.difference) <= TINY:
        return "same"
    p = c.p if c.p_holm is None else c.p_holm
    direction = "higher" if c.difference > 0 else "lower"
    return direction if p is not None and p < 1 - c.level else f"{direction}_uncertain"
