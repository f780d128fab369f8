"""What a printed number can mean: its rounding interval, and the counts and denominators it could come from (GRIM).

All arithmetic is exact (`fractions.Fraction`), so no verdict ever depends on a float's last bit. GRIM is the granularity test of
Brown & Heathers (2017): a proportion of n items can only be k/n, so most printed decimals are impossible for most n. It says nothing about
means of per-item ratios, whose grain is finer than 1/n; callers apply it to proportions only.
"""

from __future__ import annotations

import re
from fractions import Fraction
from math import ceil, floor

from cardproof.cards.intervals import ExactInterval, rounded
from cardproof.cards.numbers import FLOAT_DIGITS, FLOAT_ERROR

__all__ = [
    "NUMBER",
    "ExactInterval",
    "counts",
    "counts_in",
    "decimals",
    "denominators",
    "rounded",
    "rounding_interval",
    "truncation_interval",
]

NUMBER = re.compile(r"(?=.{1,40}\Z)-?(?:[0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)(\.[0-9]+)?")
"""A number as a card prints it: decimal, perhaps with thousands separators, no exponent, at most 40 characters."""


def exact(text: str) -> Fraction:
    """A printed number, exactly."""
    return Fraction(text.replace(",", ""))


def decimals(text: str) -> int:
    """Decimals a number is printed with: 2 for `0.10`."""
    return len(text.partition(".")[2])


def _error(text: str) -> Fraction:
    """What a number may be off by beside its rounding: floats printed in full (`0.9105504587155964`) have an error of their own."""
    digits = len(text.replace("-", "").replace(",", "").replace(".", "").lstrip("0"))
    return abs(exact(text)) * FLOAT_ERROR if digits >= FLOAT_DIGITS else Fraction(0)


def rounding_interval(text: str) -> ExactInterval:
    """Every number that rounds to the printed one, whichever way a half is rounded: the printed value +- half its last digit."""
    half = max(Fraction(1, 2 * 10 ** decimals(text)), _error(text))
    return ExactInterval(exact(text) - half, exact(text) + half)


def truncation_interval(text: str) -> ExactInterval:
    """Every number whose decimals, cut off, give the printed one (for a number >= 0), up to a millionth of a digit below the next."""
    return ExactInterval(exact(text), exact(text) + Fraction(999_999, 10 ** (decimals(text) + 6)))


def counts_in(span: ExactInterval, n: int) -> range:
    """The numerators k, 0 <= k <= n, for which k/n lies in a span."""
    return range(max(0, ceil(span.low * n)), min(n, floor(span.high * n)) + 1)


def counts(text: str, n: int) -> list[int]:
    """The numerators k, 0 <= k <= n, for which k/n prints as `text`; empty where no proportion of n items can."""
    return list(counts_in(rounding_interval(text), n))


def denominators(span: ExactInterval, most: int, least: int = 1) -> tuple[list[int], int | None]:
    """The denominators n, least <= n <= most, with a k/n in the span, and the n from which on every one has (None where none is).

    From n = 1 / width on, every n has one, so no more are tried.
    """
    width = span.high - span.low
    always = max(least, ceil(1 / width)) if width > 0 else most + 1
    found = [n for n in range(least, min(most, always - 1) + 1) if counts_in(span, n)]
    return found, always if always <= most else None
