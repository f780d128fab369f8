"""Costs: numbers of calls in a sentence times the prices in a table, compared with the sum that the sentence states."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

from cardproof.cards.document import Document
from cardproof.cards.finding import Finding, finding
from cardproof.cards.intervals import numeral
from cardproof.cards.names import words
from cardproof.cards.numbers import Printed, numbers
from cardproof.cards.tables import Cell

KIND = "cost"
PRICE = re.compile(r"\$\s?(?P<p>\d+(?:\.\d+)?)\s?/\s?(?:call|request|query|item|token|image)", re.I)
STATED = re.compile(r"(?P<about>[~≈]?)\$\s?(?P<p>\d[\d,]*(?:\.\d+)?)\s?/?\s?(?:per )?(?:a )?month", re.I)
CALLS = re.compile(r"(?P<n>\d[\d,]*(?:\.\d+)?[KMk]?) (?P<what>[a-z]+(?: [a-z]+)?)")


def costs(card: Document) -> Iterator[Finding]:
    """Check sentences that state a monthly sum and at least two numbers of calls whose prices a table lists."""
    prices = []
    for t in card.tables:
        for row, line in zip(t.rows, t.lines, strict=True):
            m = next((m for c in row[1:] if (m := PRICE.search(c))), None)
            if m:
                prices.append((words(row[0]), Cell(line, row[0][:30], next(iter(numbers(m["p"]))))))
    if len(prices) < 2:
        return
    for s in card.sentences:
        m = STATED.search(s.text)
        if m is None:
            continue
        used: list[tuple[Cell, Cell]] = []
        for call in CALLS.finditer(s.text[: m.start()]):
            stem = words(call["what"]).split(" ")[0][:7].rstrip("s")
            price = next((c for label, c in prices if stem in label), None)
            number: Printed | None = next(iter(numbers(call["n"])), None)
            if price and number and price not in [p for _, p in used]:
                used.append((Cell(s.line, call.group(), number), price))
        if len(used) < 2:
            continue
        added = sum((n.number.value * p.number.value for n, p in used), Fraction(0))
        stated = next(iter(numbers(m["p"])))
        good = abs(stated.value - added) <= (added / 10 if m["about"] else stated.step)
        yield finding(
            KIND,
            "ok" if good else "warning",
            f"The calls cost {numeral(added)} a month, {'as' if good else 'not'} {stated.text}.",
            [Cell(s.line, m.group(), stated), *[c for pair in used for c in pair]],
            " + ".join(f"{n.number.text} x {p.number.text}" for n, p in used) + f" = {numeral(added)}, printed {m.group()}",
            [] if good else ["other prices or other numbers of calls"],
        )
