"""Totals: a total row over the counts above it, and sums written out in prose, `2,545 (1,078 + 1,467)`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

from cardproof.cards.document import Document
from cardproof.cards.finding import Finding, finding
from cardproof.cards.intervals import numeral, span, total
from cardproof.cards.names import words
from cardproof.cards.numbers import bare_text, numbers
from cardproof.cards.tables import Cell, Table

KIND = "total"
SHARES = "share_of_total"
TOTAL = re.compile(r"(?:grand |overall )?(?:total|sum)(?: [a-z]+)?")
N = r"(?:\d{1,3}(?:,\d{3})+|\d+(?:\.\d+)?)\s?[KMB]?"
WRITTEN = re.compile(
    rf"(?<![\w.,])(?P<w>{N})(?:\s[\w-]+){{0,4}}\s?\((?P<parts>{N}(?:\s[A-Za-z-]+){{0,3}}(?:\s?\+\s?{N}(?:\s[A-Za-z-]+){{0,3}})+)\)"
)


def sums(card: Document) -> Iterator[Finding]:
    """Check total rows, written sums, and shares of a total."""
    for table in card.tables:
        if not table.is_results:
            yield from _rows(table)
    for s in card.sentences:
        if "+" in s.text:
            for m in WRITTEN.finditer(s.bare):
                yield from _written(s.line, m)
    yield from _shares(card)


def _rows(table: Table) -> Iterator[Finding]:
    own = [r for r, label in enumerate(table.labels) if TOTAL.fullmatch(words(label))]
    if len(own) != 1 or own[0] < 2 or own[0] < len(table.rows) - 1:
        return
    (at,) = own
    for c in range(1, len(table.header)):
        whole = table.cell(at, c)
        parts = [x for r in range(at) if (x := table.cell(r, c)) is not None]
        if whole is None or len(parts) < at or whole.number.percent or (not whole.number.whole and not whole.number.unit):
            continue
        if any(p.number.percent or p.number.value < 0 or p.number.unit != whole.number.unit for p in parts):
            continue
        added = total(p.number.loose for p in parts)
        good = added.meets(whole.number.loose) or any(p.number.mark for p in [*parts, whole])
        counts = whole.number.whole and all(p.number.whole for p in parts)
        if not good and not counts:
            continue
        # A total row that is far from the sum counts something else (distinct items, an average).
        if not good and not Fraction(1, 2) <= whole.number.value / max(added.high, Fraction(1)) <= 2:
            continue
        yield finding(
            KIND,
            "ok" if good else "warning",
            f"The total {whole.number.text} {'is' if good else 'is not'} the sum of the {len(parts)} rows above it.",
            [whole, *parts],
            f"{' + '.join(p.number.text for p in parts[:8])}{' + ...' if len(parts) > 8 else ''} = {span(added)}, "
            f"printed {whole.number.text}",
            [] if good else [f"the total is {span(added)}", "a row has another value, is missing or is part of another"],
        )


def _written(line: int, m: re.Match[str]) -> Iterator[Finding]:
    parts = list(numbers(m["parts"]))
    whole = next(iter(numbers(m["w"])), None)
    if whole is None or len(parts) < 2 or any(p.unit != whole.unit for p in parts):
        return
    added = total(p.loose for p in parts)
    good = added.meets(whole.loose)
    if not good and not Fraction(1, 2) <= whole.value / max(added.high, Fraction(1, 10**6)) <= 2:
        return
    yield finding(
        KIND,
        "ok" if good else "warning",
        f"{whole.text} {'is' if good else 'is not'} the sum of its parts.",
        [Cell(line, "total", whole), *[Cell(line, "part", p) for p in parts]],
        f"{' + '.join(p.text for p in parts)} = {span(added)}, printed {whole.text}",
        [] if good else [f"the total is {span(added)}", "a part has another value"],
    )


RATIO = re.compile(rf"(?P<k>{N})\+? (?P<what>[a-z][a-z -]{{2,30}}), (?P<p>\d{{1,3}}(?:\.\d+)?)% ratio", re.I)


def _shares(card: Document) -> Iterator[Finding]:
    """Compare `500 hard negatives, 48% ratio` with a table of counts that has a total and rows of that name."""
    texts = [(s.line, s.bare) for s in card.sentences] + [
        (line, bare_text(c)) for t in card.tables for row, line in zip(t.rows, t.lines, strict=True) for c in row
    ]
    for line, text in texts:
        for m in RATIO.finditer(text) if "ratio" in text else ():
            for table in card.tables:
                judgement = _share(table, line, m)
                if judgement:
                    yield judgement


def _share(table: Table, line: int, m: re.Match[str]) -> Finding | None:
    at = next((r for r, label in enumerate(table.labels) if TOTAL.fullmatch(words(label))), None)
    if at is None or len(table.header) != 2:
        return None
    stem = words(m["what"]).rstrip("s")
    named = [r for r in range(at) if stem in words(table.labels[r])]
    k, p = next(iter(numbers(m["k"]))), next(iter(numbers(m["p"] + "%")))
    whole = table.number(at, 1)
    own = [n for r in named if (n := table.number(r, 1)) is not None]
    if not named or whole is None or k.value <= 0:
        return None
    rest = whole.value - sum((n.value for n in own), Fraction(0))
    options = {"of all": k.value / whole.value, "of the others and these": k.value / (rest + k.value)} | (
        {"of the others": k.value / rest} if rest else {}
    )
    good = any(p.as_share().loose.holds(v) for v in options.values())
    return finding(
        SHARES,
        "ok" if good else "warning",
        f"{k.text} {'are' if good else 'are not'} {p.text} of the data that the table counts.",
        [Cell(line, m.group()[:40], p), table.placed(at, 1, whole)],
        "; ".join(f"{name}: {numeral(100 * v, 1)}%" for name, v in options.items()) + f"; printed {p.text}",
        [] if good else ["a share of other data", "another number"],
    )
