"""The ranges of metrics: shares lie in [0, 1] or 0 to 100, correlations in [-1, 1], errors and counts are not negative."""

from __future__ import annotations

from collections.abc import Iterator

from cardproof.cards.document import Document
from cardproof.cards.finding import Finding, finding
from cardproof.cards.names import CORRELATIONS, NON_NEGATIVE, NOT_SCORES, SHARES, metric, words
from cardproof.cards.numbers import Printed
from cardproof.cards.relations.summary import summaries
from cardproof.cards.tables import Cell

KIND = "range"


def limits(name: str) -> tuple[int | None, int | None, str] | None:
    """The least and greatest value of a metric on the scale of 100, and the range in words; None if it has no range."""
    if name in SHARES:
        return 0, 100, "0 to 1, or 0 to 100 per cent"
    if name in CORRELATIONS:
        return -100, 100, "-1 to 1"
    if name in NON_NEGATIVE:
        return 0, None, "0 or more"
    return None


def outside(name: str, number: Printed) -> str | None:
    """The range that a number is outside of, in words; None if it lies inside."""
    bounds = limits(name)
    if bounds is None:
        return None
    low, high, text = bounds
    if (low is not None and number.value < low) or (high is not None and number.value > high):
        return text
    return None


def ranges(card: Document) -> Iterator[Finding]:
    """Check every score whose name has a range."""
    cells: list[tuple[Cell, str]] = []
    for group, names, _ in summaries(card):
        cells += list(zip(group, names, strict=True))
    cells += [(Cell(m.line, f"front matter {m.name or m.type}", m.value), metric(m.type)) for m in card.front.metrics]
    for table in card.tables:
        for c, name in enumerate(table.names):
            if limits(name):
                cells += [
                    (table.placed(r, c, n), name)
                    for r in range(len(table.rows))
                    if not NOT_SCORES.search(words(table.labels[r])) and (n := table.number(r, c)) is not None
                ]
    checked = [(c, n) for c, n in cells if limits(n)]
    bad = [(c, n, text) for c, n in checked if (text := outside(n, c.number))]
    for cell, name, text in bad[:5]:
        yield finding(
            KIND,
            "error",
            f"{cell.place} {cell.number.text} is impossible: {name} lies in {text}.",
            [cell],
            f"{cell.number.text} is outside {text}",
            ["the number belongs to another column or metric", "a decimal point is missing"],
        )
    if checked and not bad:
        yield finding(KIND, "ok", f"{len(checked)} scores lie in the ranges of their metrics.", [checked[0][0]], f"{len(checked)} scores")
