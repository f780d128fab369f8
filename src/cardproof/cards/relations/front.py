"""Compare the metrics of the front matter with the same metrics in the text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

from cardproof.cards.document import Document
from cardproof.cards.finding import Finding, finding
from cardproof.cards.front_matter import IndexMetric
from cardproof.cards.names import metric
from cardproof.cards.numbers import numbers
from cardproof.cards.relations.summary import agree, summaries
from cardproof.cards.tables import Cell

KIND = "front_matter_and_text"
EMISSIONS = "emissions"


def front(card: Document) -> Iterator[Finding]:
    """Check each metric of the model-index that the final scores also name: its value must be somewhere in the text."""
    metrics = card.front.metrics
    if metrics:
        scores = [(c, n) for cells, names, _ in summaries(card) for c, n in zip(cells, names, strict=True)]
        names = [metric(m.type) for m in metrics]
        for m, name in zip(metrics, names, strict=True):
            own = [c for c, n in scores if n in {name, metric(m.name)}]
            if own and names.count(name) == 1:
                yield _judged(card, m, own)
    yield from _emissions(card)


def _judged(card: Document, m: IndexMetric, own: list[Cell]) -> Finding:
    printed = Cell(m.line, f"front matter {m.name or m.type}", m.value)
    match = next((c for c in own if agree(c.number, m.value)), None)
    if match:
        return finding(KIND, "ok", f"The front matter repeats {match.place}.", [printed, match], f"{m.value.text} and {match.number.text}")
    elsewhere = next((c for c in everywhere(card) if agree(c.number, m.value) and c.number.digits >= min(3, m.value.digits)), None)
    if elsewhere:
        return finding(
            KIND,
            "note",
            f"The front matter's {m.name or m.type} is printed elsewhere in the text.",
            [printed, elsewhere, own[0]],
            f"{m.value.text} and {elsewhere.number.text}",
        )
    one_unit = any(
        abs(c.number.value - m.value.value) <= max(c.number.step, m.value.step) for c in own if c.number.percent == m.value.percent
    )
    other = bool(re.search(r"\btest\b", f"{m.name} {m.split}".lower())) and "test" not in own[0].place.lower() and not one_unit
    return finding(
        KIND,
        "note" if other else "warning",
        f"The front matter's {m.name or m.type} is not the one in the text, and is not printed anywhere in it.",
        [printed, own[0]],
        f"{m.value.text} against {own[0].number.text}",
        ["cut off, not rounded"] if one_unit else ["another split or data set", "a score of an earlier state of the model"],
    )


def everywhere(card: Document) -> Iterator[Cell]:
    """Every number of the body: lists, tables, sentences."""
    for block in card.blocks:
        for p in block.pairs:
            yield from ([p.cell()] if p.number else [Cell(p.line, p.label, n) for n in numbers(p.text)])
    for table in card.tables:
        for r, row in enumerate(table.rows):
            for c in range(len(row)):
                if (n := table.leading(r, c)) is not None:
                    yield table.placed(r, c, n)
                    if table.number(r, c) is None:
                        yield from (table.placed(r, c, m) for m in numbers(row[c]))
    for s in card.sentences:
        yield from s.cells()
    for line, text in card.fences:
        yield from (Cell(line, text[:30], n) for n in numbers(text))


def _emissions(card: Document) -> Iterator[Finding]:
    if card.front.emissions is None:
        return
    number, line = card.front.emissions
    own = [
        p.cell() for b in card.blocks for p in b.pairs if p.number is not None and "co2" in p.label.lower() and "gram" in p.label.lower()
    ]
    if not own:
        return
    thousand = Fraction(1000)
    printed = own[0].number
    forms = [(printed, number), (printed.times(thousand), number), (printed, number.times(thousand))]
    good = any(a.loose.meets(b.loose) for a, b in forms)
    yield finding(
        EMISSIONS,
        "ok" if good else "warning",
        f"The emissions of front matter and text {'agree' if good else 'differ'}.",
        [Cell(line, "front matter emissions", number), own[0]],
        f"{number.text} against {own[0].number.text}",
        [] if good else ["emissions of another run"],
    )
