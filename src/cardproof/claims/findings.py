"""What a check of an audit reports, and the words it shares with the others."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any, Literal, NamedTuple

from pydantic import Field

from cardproof.claims.claims_file import ValueClaim
from cardproof.claims.grim import ExactInterval, decimals, rounded, rounding_interval, truncation_interval
from cardproof.records import Result

Severity = Literal["error", "warning", "note", "ok"]


class Finding(Result):
    """What one check found."""

    id: str
    """The identity's id, or `reading.` and the id of a claim of words."""
    severity: Severity
    """`error`: the printed numbers contradict each other; `warning`: they agree only in a reading the card does not state, or say less than
    its words; `note`: something that follows from them; `ok`: they agree."""
    title: str
    """One sentence."""
    claims: list[str]
    """Ids of the claims involved; of an error, the contradicting ones and no others."""
    computation: list[str]
    """The arithmetic, a line each."""
    readings: list[str] = Field(default_factory=list)
    """What would be consistent: possibilities, never knowledge; for a note, what it may mean."""
    data: dict[str, Any] = Field(default_factory=dict)
    """The numbers found, for cards and reports."""


Values = dict[str, ValueClaim]

LONGEST = 600
"""Characters of the longest finding: title, arithmetic and readings together."""


def fitted(finding: Finding) -> Finding:
    """The finding within its longest length: the longest lines are cut first."""
    lines = [*finding.computation, *finding.readings]
    over = len(finding.title) + sum(map(len, lines)) - LONGEST
    while over > 0 and lines:
        at = max(range(len(lines)), key=lambda i: len(lines[i]))
        kept = max(40, len(lines[at]) - over - 2)
        if kept >= len(lines[at]):
            break
        lines[at] = lines[at][:kept].rstrip() + " …"
        over = len(finding.title) + sum(map(len, lines)) - LONGEST
    shown = len(finding.computation)
    return finding.model_copy(update={"computation": lines[:shown], "readings": lines[shown:]})


# --- numbers on one scale ------------------------------------------------------------------------------------------------


class Number(NamedTuple):
    """A claim's number on the scale that its relations are computed on: percentages as shares, millions as they are."""

    value: Fraction
    step: Fraction
    """One unit of the last printed digit."""
    interval: ExactInterval
    """Every number that rounds to it."""
    cut: ExactInterval
    """Every number that rounds to it or, cut off, leaves it."""


def on_scale(claim: ValueClaim) -> Number:
    """A claim with a value: percentages divided by 100, so that 93.3% and 0.933 are one number."""
    factor = Fraction(1, 100) if claim.unit == "percent" else Fraction(1)
    text = claim.value or "0"
    cut = truncation_interval(text) if not text.startswith("-") else rounding_interval(text)
    wide = ExactInterval(min(claim.interval.low, cut.low), max(claim.interval.high, cut.high))
    if claim.unit == "count" and not decimals(text):
        wide = claim.interval
    return Number(claim.exact * factor, Fraction(1, 10 ** decimals(text)) * factor, claim.interval.scaled(factor), wide.scaled(factor))


def at_most(small: Number, large: Number) -> bool:
    """Whether one printed number can be at most another: rounding is monotone, so equally many decimals leave no slack."""
    return small.value <= large.value if small.step == large.step else small.interval.low <= large.interval.high


def alike(a: Number, b: Number) -> bool:
    """Whether two printed numbers can be one quantity; with equally many decimals they must be printed alike."""
    return a.value == b.value if a.step == b.step else a.interval.meets(b.interval)


def span(interval: ExactInterval, places: int) -> str:
    """An interval with so many decimals."""
    return f"[{rounded(interval.low, places)}, {rounded(interval.high, places)}]"


def listed(numbers: Iterable[int]) -> str:
    """Whole numbers in words: `14, 15 or 16`, runs of four and more as `43 to 49`."""
    found = sorted(numbers)
    if len(found) > 12 and found[-1] - found[0] != len(found) - 1:
        return f"{', '.join(map(str, found[:6]))} and {len(found) - 6} more"
    if len(found) > 3 and found[-1] - found[0] == len(found) - 1:
        return f"{found[0]} to {found[-1]}"
    return " or ".join(filter(None, [", ".join(map(str, found[:-1])), *map(str, found[-1:])]))


def listed_words(words: list[str]) -> str:
    """Words joined as in a sentence."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
