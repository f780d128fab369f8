"""What a check of an audit reports, and the words it shares with the others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field

from cardproof.claims.claims_file import ValueClaim
from cardproof.claims.grim import ExactInterval, rounded
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
    """Ids of the claims involved."""
    computation: list[str]
    """The arithmetic, a line each."""
    readings: list[str] = Field(default_factory=list)
    """What would be consistent; for a note, what it may mean."""
    data: dict[str, Any] = Field(default_factory=dict)
    """The numbers found, for cards and reports."""


Values = dict[str, ValueClaim]


def span(interval: ExactInterval, places: int) -> str:
    """An interval with so many decimals."""
    return f"[{rounded(interval.low, places)}, {rounded(interval.high, places)}]"


def listed(numbers: Iterable[int]) -> str:
    """Whole numbers in words: `14, 15 or 16`, runs of four and more as `43 to 49`."""
    found = sorted(numbers)
    if len(found) > 3 and found[-1] - found[0] == len(found) - 1:
        return f"{found[0]} to {found[-1]}"
    return " or ".join(filter(None, [", ".join(map(str, found[:-1])), *map(str, found[-1:])]))


def listed_words(words: list[str]) -> str:
    """Words joined as in a sentence."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
