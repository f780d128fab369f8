"""Numbers as people print them: with units, signs, thousands separators, powers of ten, percent; and the values each can have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

from cardproof.cards.intervals import ExactInterval

LONGEST = 40
"""Most characters of a number; a longer run of digits is a name or a hash."""

NUMBER = re.compile(
    r"""(?P<mark>[~≈<>≤≥]\s?|(?:about|around|approximately|nearly|over|under|up\sto|at\sleast|at\smost|more\sthan|less\sthan)\s)?
    (?<![\w.,/@#^])(?P<currency>[$€£]\s?)?(?P<sign>[-+−–])?(?P<dollar>[$€£])?
    (?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)
    (?:(?P<exponent>[eE][-+]?\d{1,3})|\s?(?:×|x|\\times|\*)\s?10\s?(?:\^|\*\*)\s?\{?(?P<power>[-−+]?\d{1,3})\}?)?
    (?P<after>\s?\\?%|\s?(?:percentage\s)?(?:points?|pts?|pp)\b|\s?(?:per\scent|percent)\b|[KMBTkmb](?![\w/])|\s(?:million|billion|thousand)\b|x\b|\+)?
    (?![\w]*[_@/]\w)(?P<unit>\s?(?:[KMGT]i?B|ms|s|h|GB|hours?|minutes?|seconds?)\b)?(?!\w|\.\d)""",
    re.VERBOSE,
)
MULTIPLIER = {"k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12, "thousand": 10**3, "million": 10**6, "billion": 10**9}
MARKS = {
    "about": "~",
    "around": "~",
    "approximately": "~",
    "nearly": "~",
    "≈": "~",
    "over": ">",
    "at least": ">",
    "more than": ">",
    "≥": ">",
} | {
    "under": "<",
    "up to": "<",
    "at most": "<",
    "less than": "<",
    "≤": "<",
}
FLOAT_DIGITS = 12
"""A number with at least so many significant digits is a float printed in full: its last digit says nothing about its error."""
FLOAT_ERROR = Fraction(1, 10**7)
"""Relative error allowed to a float printed in full: metrics computed in float32 have 24 bits, about 6e-8."""


@dataclass(frozen=True)
class Printed:
    """One printed number."""

    text: str
    """As printed, with its unit."""
    value: Fraction
    """With its multiplier (25.95M is 25,950,000); a percentage is not divided by 100."""
    step: Fraction
    """One unit in the last printed digit."""
    unit: str = ""
    """`%`, `points`, `x`, `MB`, `ms`, ... or nothing."""
    mark: str = ""
    """`~`, `<`, `>` (also for `500+`): the number is not meant exactly."""
    digits: int = 1
    """Significant digits printed."""
    start: int = 0
    end: int = 0
    """Its place in the text."""
    extra: dict[str, str] = field(default_factory=dict, compare=False)

    @property
    def percent(self) -> bool:
        """Whether it is printed as a percentage."""
        return self.unit == "%"

    @property
    def places(self) -> int:
        """Printed decimals."""
        count = 0
        while self.step * 10**count < 1 and count < 20:
            count += 1
        return count

    @property
    def whole(self) -> bool:
        """Whether it is a plain whole number: a count."""
        return self.value.denominator == 1 and self.step == 1 and not self.unit

    @cached_property
    def interval(self) -> ExactInterval:
        """Every number that rounds to the printed one, halves either way; a whole number is exact."""
        if self.whole:
            return ExactInterval(self.value, self.value)
        return self.around(Fraction(1, 2), Fraction(1, 2))

    @cached_property
    def loose(self) -> ExactInterval:
        """The same, and every number that gives the printed one when its further digits are cut off."""
        if self.whole:
            return ExactInterval(self.value, self.value)
        # The end is open: the next printed number, cut off, is itself.
        one = Fraction(999_999, 1_000_000)
        return self.around(Fraction(1, 2), one) if self.value >= 0 else self.around(one, Fraction(1, 2))

    def around(self, below: Fraction, above: Fraction) -> ExactInterval:
        """From `below` units of the last digit under the value to `above` over it."""
        error = abs(self.value) * FLOAT_ERROR if self.digits >= FLOAT_DIGITS else Fraction(0)
        return ExactInterval(self.value - max(below * self.step, error), self.value + max(above * self.step, error))

    def as_share(self) -> Printed:
        """A percentage as a share of 1; anything else as it is."""
        return self.times(Fraction(1, 100)) if self.percent else self

    def times(self, factor: Fraction) -> Printed:
        """The number times a factor, as when its unit changes; the result is never a count."""
        return Printed(self.text, self.value * factor, self.step * factor, "" if self.percent else self.unit, self.mark, self.digits)

    def with_step(self, step: Fraction) -> Printed:
        """The same number with more decimals: it was printed without its zeros at the end."""
        return self if step >= self.step else Printed(self.text, self.value, step, self.unit, self.mark, self.digits, self.start, self.end)


def numbers(text: str) -> Iterator[Printed]:
    """Every number of a line, from left to right."""
    for match in NUMBER.finditer(text):
        if (number := _printed(match)) is not None:
            yield number


PLUS_MINUS = re.compile(r"\s?(?:±|\+/-|\+-|\\pm)\s?")


def one_number(text: str) -> Printed | None:
    """The number of a cell or value with one number and, besides, only emphasis, a mark or a unit; None otherwise.

    For `0.47 ± 0.01` it is 0.47; `extra` keeps the 0.01.
    """
    bare = bare_text(text)
    if len(bare) <= 2 * LONGEST and len(parts := PLUS_MINUS.split(bare)) == 2:
        value, error = one_number(parts[0]), one_number(parts[1])
        if value is None or error is None:
            return None
        unit = value.unit or error.unit
        return Printed(value.text, value.value, value.step, unit, value.mark, value.digits, extra={"error": parts[1]})
    if not bare or len(bare) > LONGEST or not any(c.isdigit() for c in bare):
        return None
    comma = re.fullmatch(r"(-?\d{1,3}),(\d{1,2}|\d{4,})(\s?%)?", bare)
    if comma or re.fullmatch(r"-?0,\d+(\s?%)?", bare):
        bare = bare.replace(",", ".")
    match = NUMBER.match(bare)
    if match is None or match.end() != len(bare):
        return None
    return _printed(match)


def first_number(text: str) -> Printed | None:
    """The number a cell starts with, whatever follows it (`0.536 (60/112)`, `0.4735 ± 0.0146`); None if it starts with something else."""
    bare = bare_text(text)
    match = NUMBER.match(bare)
    return None if match is None else _printed(match)


EMPHASIS = re.compile(r"\*\*|__|`|\$|<[^<>]{0,80}>|(?<!\w)[*_]|[*_](?!\w)|\\(?=[%$_*])|&nbsp;")
LINK = re.compile(r"!?\[([^\[\]]{0,200})\]\([^()\s]{0,400}\)")


def bare_text(text: str) -> str:
    """A cell's text without links, emphasis, code marks, HTML tags and dollar signs of formulas."""
    if "[" in text:
        text = LINK.sub(r"\1", text)
    money = re.match(r"\s*\**[~<>]?\$\d[\d.,]*(?!\s*\\times)[^$]*$", text)
    return (text if money else EMPHASIS.sub("", text)).replace(" ", " ").strip()


def _printed(match: re.Match[str]) -> Printed | None:
    if match.end() - match.start() > LONGEST:
        return None
    digits = match["digits"].replace(",", "")
    if digits.startswith("."):
        digits = "0" + digits
    power = int((match["exponent"] or "e0")[1:]) + int((match["power"] or "0").replace("−", "-"))
    if abs(power) > 60:
        return None
    after = (match["after"] or "").strip().lower().replace("\\", "")
    factor = Fraction(10) ** power * MULTIPLIER.get(after, 1)
    value, step = Fraction(digits) * factor, Fraction(1, 10 ** len(digits.partition(".")[2])) * factor
    sign = (match["sign"] or "").strip()
    mark = (match["mark"] or "").strip().lower()
    unit = (match["unit"] or "").strip()
    if after in {"%", "per cent", "percent"}:
        unit = "%"
    elif after in {"point", "points", "pt", "pts", "pp"} or after.startswith("percentage"):
        unit = "points"
    elif after == "x":
        unit = "x"
    elif match["currency"] or match["dollar"]:
        unit = "$"
    if unit == "" and after in MULTIPLIER:
        unit = after[0].upper()
    return Printed(
        text=match.group().strip(),
        value=-value if sign in {"-", "−", "–"} else value,
        step=step,
        unit=unit,
        mark=">" if after == "+" else MARKS.get(mark, mark),
        digits=len(digits.replace(".", "").lstrip("0")) or 1,
        start=match.start(),
        end=match.end(),
        extra={"sign": sign},
    )
