"""Closed intervals of exact numbers, and their arithmetic: the values a printed number can have, and what follows from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from math import floor


@dataclass(frozen=True, slots=True)
class ExactInterval:
    """A closed interval of exact numbers."""

    low: Fraction
    high: Fraction

    def __add__(self, other: ExactInterval) -> ExactInterval:
        return ExactInterval(self.low + other.low, self.high + other.high)

    def __sub__(self, other: ExactInterval) -> ExactInterval:
        return ExactInterval(self.low - other.high, self.high - other.low)

    def __mul__(self, other: ExactInterval) -> ExactInterval:
        ends = [a * b for a in (self.low, self.high) for b in (other.low, other.high)]
        return ExactInterval(min(ends), max(ends))

    def over(self, other: ExactInterval) -> ExactInterval | None:
        """The quotient; None if the divisor may be 0."""
        if other.low <= 0 <= other.high:
            return None
        return self * ExactInterval(1 / other.high, 1 / other.low)

    def scaled(self, factor: Fraction | int) -> ExactInterval:
        """All numbers of the interval times a factor >= 0."""
        return ExactInterval(self.low * factor, self.high * factor)

    def widened(self, by: Fraction) -> ExactInterval:
        """The interval with `by` more on both sides."""
        return ExactInterval(self.low - by, self.high + by)

    def meets(self, other: ExactInterval) -> bool:
        """True if the two share at least one number."""
        return self.low <= other.high and other.low <= self.high

    def holds(self, value: Fraction | int) -> bool:
        """True if the value lies inside, ends included."""
        return self.low <= value <= self.high


def exactly(value: Fraction | int) -> ExactInterval:
    """The interval of one number."""
    return ExactInterval(Fraction(value), Fraction(value))


def total(parts: Iterable[ExactInterval]) -> ExactInterval:
    """The sum of intervals."""
    intervals = list(parts)
    return ExactInterval(sum((p.low for p in intervals), Fraction(0)), sum((p.high for p in intervals), Fraction(0)))


def mean(parts: list[ExactInterval]) -> ExactInterval:
    """The mean of one or more intervals."""
    return total(parts).scaled(Fraction(1, len(parts)))


def harmonic(p: ExactInterval, r: ExactInterval) -> ExactInterval:
    """F1 = 2 p r / (p + r), which rises in both; 0 if both are 0."""

    def f1(a: Fraction, b: Fraction) -> Fraction:
        return 2 * a * b / (a + b) if a + b > 0 else Fraction(0)

    return ExactInterval(f1(max(p.low, Fraction(0)), max(r.low, Fraction(0))), f1(max(p.high, Fraction(0)), max(r.high, Fraction(0))))


def rounded(value: Fraction, places: int) -> str:
    """A number printed with so many decimals, halves away from zero, as a reader would round it."""
    scaled = abs(value) * 10**places
    digits = str(floor(scaled + Fraction(1, 2))).rjust(places + 1, "0")
    sign = "-" if value < 0 and int(digits) else ""
    return sign + (f"{digits[:-places]}.{digits[-places:]}" if places else digits)


def numeral(value: Fraction, places: int = 6) -> str:
    """A number for a reader: whole numbers with thousands separators, others with at most `places` decimals."""
    if value.denominator == 1:
        return f"{int(value):,}"
    text = rounded(value, places).rstrip("0").rstrip(".")
    return text if abs(value) < 1000 else f"{float(value):,.{min(places, 2)}f}"


def span(interval: ExactInterval, places: int = 6) -> str:
    """An interval for a reader."""
    return (
        numeral(interval.low, places)
        if interval.low == interval.high
        else f"{numeral(interval.low, places)} to {numeral(interval.high, places)}"
    )
