"""What a printed number can mean: its rounding interval, and the counts and denominators it could come from (GRIM).

All arithmetic is exact (`fractions.Fraction`), so no verdict ever depends on a float's last bit. GRIM is the granularity test of
Brown & Heathers (2017): a proportion of n items can only be k/n, so most printed decimals are impossible for most n. It says nothing about
means of per-item ratios, whose grain is finer than 1/n; callers apply it to proportions only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
"""A number as a card prints it: plain decimal, no exponent, no thousands separator."""


@dataclass(frozen=True)
class ExactInterval:
    """A closed interval of exact numbers."""

    low: Fraction
    high: Fraction

    def __add__(self, other: ExactInterval) -> ExactInterval:
        return ExactInterval(self.low + other.low, self.high + other.high)

    def __sub__(self, other: ExactInterval) -> ExactInterval:
        return ExactInterval(self.low - other.high, self.high - other.low)

    def meets(self, other: ExactInterval) -> bool:
        """True where the two share at least one number."""
        return self.low <= other.high and other.low <= self.high

    def holds(self, value: Fraction) -> bool:
        """True where the value lies inside, ends included."""
        return self.low <= value <= self.high


def decimals(text: str) -> int:
    """Decimals a number is printed with: 2 for `0.10`."""
    return len(text.partition(".")[2])


def rounding_interval(text: str) -> ExactInterval:
    """Every number that rounds to the printed one, whichever way a half is rounded: the printed value +- half its last digit."""
    half = Fraction(1, 2 * 10 ** decimals(text))
    return ExactInterval(Fraction(text) - half, Fraction(text) + half)


def truncation_interval(text: str) -> ExactInterval:
    """Every number whose decimals, cut off, give the printed one (for a number >= 0); the upper end itself is the next printed number."""
    return ExactInterval(Fraction(text), Fraction(text) + Fraction(1, 10 ** decimals(text)))


def rounded(value: Fraction, places: int) -> str:
    """A number printed with so many decimals, halves away from zero, as a reader would round it."""
    scaled = abs(value) * 10**places
    digits = str(floor(scaled + Fraction(1, 2))).rjust(places + 1, "0")
    sign = "-" if value < 0 and int(digits) else ""
    return sign + (f"{digits[:-places]}.{digits[-places:]}" if places else digits)


def counts(text: str, n: int) -> list[int]:
    """The numerators k, 0 <= k <= n, for which k/n prints as `text`; empty where no proportion of n items can."""
    span = rounding_interval(text)
    return list(range(max(0, ceil(span.low * n)), min(n, floor(span.high * n)) + 1))


def denominators(text: str, most: int, least: int = 1) -> dict[int, list[int]]:
    """The denominators n, least <= n <= most, that can print as `text`, each with its numerators."""
    return {n: found for n in range(least, most + 1) if (found := counts(text, n))}
