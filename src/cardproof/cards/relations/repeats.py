"""One quantity printed twice: a score of a table's row repeated in a sentence, and counts of one thing."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cardproof.cards.document import Document
from cardproof.cards.finding import Finding, finding
from cardproof.cards.intervals import numeral
from cardproof.cards.names import metric, words
from cardproof.cards.numbers import Printed, numbers
from cardproof.cards.relations.summary import agree
from cardproof.cards.tables import Cell

KIND = "repeated"
SCORE = re.compile(
    r"(?:the )?(?P<row>[\w-]{3,30}) (?P<column>accuracy|f1|recall|precision|wer|cer) (?:of |is |\(|: ?|= ?)(?P<n>\d+(?:\.\d+)?\s?%?)", re.I
)


def repeats(card: Document) -> Iterator[Finding]:
    """Compare scores in prose with the row they name, and the count of a noun in a heading with a sentence."""
    for s in card.sentences:
        if s.is_heading:
            continue
        for m in SCORE.finditer(s.bare):
            yield from _score(card, s.line, m)
    yield from _counts(card)


def _score(card: Document, line: int, m: re.Match[str]) -> Iterator[Finding]:
    number = next(iter(numbers(m["n"].strip())), None)
    if number is None or (
        "_" not in m["row"]
        and m["row"].lower() in {"the", "overall", "test", "validation", "training", "final", "best", "average", "and", "with", "mean"}
    ):
        return
    cells: list[Cell] = []
    for t in card.tables:
        column = t.column(metric(m["column"]))
        for r, label in enumerate(t.labels):
            if column is not None and words(label) == words(m["row"]) and (n := t.number(r, column)) is not None:
                cells.append(t.placed(r, column, n))
    if not cells:
        return
    good = any(agree(c.number, number) for c in cells)
    yield finding(
        KIND,
        "ok" if good else "warning",
        f"The {m['column']} of {m['row']} is printed as {number.text} and as {cells[0].number.text}.",
        [Cell(line, m.group()[:40], number), *cells],
        f"{number.text} {'=' if good else 'is not'} {cells[0].number.text}",
        [] if good else ["one of the two is of an earlier run", "two different measurements under one name"],
    )


HEADING = re.compile(r"\b(?P<noun>[a-z]{4,20}s) \((?P<n>\d{1,5})\+?\)$", re.I)


def _counts(card: Document) -> Iterator[Finding]:
    """`Supported agents (58+)` in a heading, `to 13 agents and no others` in a sentence."""
    for h in card.sentences:
        m = HEADING.search(h.bare) if h.is_heading else None
        if m is None:
            continue
        stated: Printed = next(iter(numbers(m["n"])))
        noun = m["noun"].lower()
        other = re.compile(
            rf"\b(?P<k>\d{{1,5}}) (?:[a-z]+ )?{noun}\b(?= and no others?|,? only\b)|\bonly (?P<o>\d{{1,5}}) (?:[a-z]+ )?{noun}\b", re.I
        )
        for s in card.sentences:
            for match in other.finditer(s.bare):
                k = next(iter(numbers(match["k"] or match["o"])))
                good = k.value == stated.value
                yield finding(
                    KIND,
                    "ok" if good else "warning",
                    f"The card counts its {noun} as {stated.text} and as {k.text}.",
                    [Cell(h.line, h.bare[:30], stated), Cell(s.line, match.group()[:40], k)],
                    f"{numeral(stated.value)} {'=' if good else 'is not'} {numeral(k.value)}",
                    [] if good else ["counts of different versions or of different things"],
                )
