"""An estimate as text: the same wherever it is printed, on the card, on the page, in a figure and in the reason of a verdict."""

from __future__ import annotations

DASH = "–"
"""What is printed where there is no number."""
PLACES = 3
"""Decimals of a share, a score or a loss, as on the published card."""


def number(value: float | None, places: int = PLACES) -> str:
    """A real number; a dash for None."""
    return DASH if value is None else f"{value:.{places}f}"


def interval(low: float | None, high: float | None, places: int = PLACES) -> str:
    """An interval, e.g. `[0.760, 0.881]`; empty if a bound is None."""
    return "" if low is None or high is None else f"[{number(low, places)}, {number(high, places)}]"


def measured(value: float | None, low: float | None, high: float | None, places: int = PLACES) -> str:
    """A number with its interval, e.g. `0.824 [0.760, 0.881]`; the number alone if it has no interval."""
    return f"{number(value, places)} {interval(low, high, places)}".rstrip()
