"""Differences and gains: a column of improvements against the two columns it compares, and `from A to B (+C)` in prose."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cardproof.cards.document import Document
from cardproof.cards.finding import Finding, finding
from cardproof.cards.intervals import ExactInterval, exactly, span
from cardproof.cards.names import NOT_SCORES, words
from cardproof.cards.numbers import Printed, bare_text, numbers, one_number
from cardproof.cards.tables import Cell, Table

KIND = "difference"
GAIN = re.compile(
    r"(?:abs(?:olute)? |rel(?:ative)? )?(?:delta|diff(?:erence)?|improvement|gain|change|increase|gap|δ|Δ)s?(?: %| pp| points| abs| rel)?"
)


def differences(card: Document) -> Iterator[Finding]:
    """Check every stated difference whose two numbers are printed beside it."""
    for table in card.tables:
        if not table.is_results:
            yield from _of_table(table)
            yield from _of_rows(table)
    yield from _of_lists(card)
    yield from _of_prose(card)


def _alone(text: str, number: str) -> bool:
    """Whether a cell has one number, alone or followed by its interval in brackets."""
    rest = bare_text(text).removeprefix(number).strip()
    return not rest or rest.startswith("[")


def readings(a: Printed, b: Printed) -> dict[str, list[ExactInterval]]:
    """What a printed gain from a to b can be: the difference, or the change relative to a, to b or to the distance of a from 1."""
    x, y = a.loose, b.loose
    hundred = exactly(100)
    plain = [y - x, x - y]
    if not a.percent and not b.percent and abs(a.value) <= 1 and abs(b.value) <= 1:
        plain += [(y - x) * hundred, (x - y) * hundred]
    relative = [q * hundred for d in (y - x, x - y) for base in (x, y) if (q := d.over(base)) is not None]
    for top in (1, 100):
        if x.high < top and (q := (y - x).over(exactly(top) - x)) is not None:
            relative.append(q * hundred)
    ratio = [q for q in (y.over(x), x.over(y)) if q is not None]
    return {"difference": plain, "relative": relative, "ratio": ratio}


def fits(a: Printed, b: Printed, gain: Printed) -> str | None:
    """The reading in which the gain is that from a to b; None if there is none."""
    size = gain.loose
    mirrored = ExactInterval(-size.high, -size.low)
    for name, options in readings(a, b).items():
        if name == "ratio" and gain.unit != "x":
            continue
        if name == "relative" and gain.unit == "points":
            continue
        if any(o.meets(size) or o.meets(mirrored) for o in options):
            return name
    return None


def _of_table(table: Table) -> Iterator[Finding]:
    plain = [re.sub(r"\s+", " ", words(h) or h.strip().lower().strip("* ")) for h in table.header]
    gains = [c for c, p in enumerate(plain) if c and (GAIN.fullmatch(p) or p in {"Δ", "δ"})]
    if len(gains) != 1:
        return
    (g,) = gains
    others = [c for c in range(1, len(table.header)) if c != g and table.numeric(c) and not NOT_SCORES.search(plain[c])]
    if len(others) != 2:
        return
    good: list[tuple[Cell, Cell, Cell]] = []
    bad: list[tuple[Cell, Cell, Cell]] = []
    for r in range(len(table.rows)):
        a, b, d = (table.cell(r, c) for c in (*others, g))
        if (
            a is None
            or b is None
            or d is None
            or a.number.mark
            or b.number.mark
            or d.number.mark
            or not _alone(table.rows[r][g], d.number.text)
        ):
            continue
        if a.number.unit != b.number.unit or a.number.unit not in {"", "%"}:
            continue
        (good if fits(a.number, b.number, d.number) else bad).append((a, b, d))
    for a, b, d in bad:
        signed = d.number.unit in {"points", "%"} or d.number.extra.get("sign") == "+"
        if not good and not signed:
            continue
        yield finding(
            KIND,
            "error" if len(good) >= 2 or d.number.unit == "points" else "warning",
            f"The change {d.number.text} is not that between {a.number.text} and {b.number.text}.",
            [a, b, d],
            f"{b.number.text} - {a.number.text} = {span(b.number.interval - a.number.interval, 4)}, printed {d.number.text}",
            ["the change or one of the two numbers has another value", "the change is between other numbers"],
        )
    if good and not bad:
        a, b, d = good[0]
        yield finding(
            KIND,
            "ok",
            f"The changes of {len(good)} rows follow from their two numbers.",
            [a, b, d],
            f"{b.number.text} - {a.number.text}: {d.number.text}",
        )


def _change_among(named: list[tuple[str, Cell]]) -> Iterator[Finding]:
    """Three numbers in a row, the third of which is called an improvement, a gain, a difference, ..."""
    for (_, a), (_, b), (label, d) in zip(named, named[1:], named[2:], strict=False):
        if not re.search(r"\b(?:improvement|gain|difference|increase|change|delta|impact)\b", words(label)):
            continue
        same = a.number.unit == b.number.unit and a.number.unit in {"", "%"} and not any(c.number.mark for c in (a, b, d))
        signed = d.number.extra.get("sign") in {"+", "-", "−"} or d.number.unit == "points"
        if not same or not signed or d.number.unit == "x":
            continue
        how = fits(a.number, b.number, d.number)
        yield finding(
            KIND,
            "ok" if how else "warning",
            f"The change {d.number.text} {'is' if how else 'is not'} that from {a.number.text} to {b.number.text}.",
            [a, b, d],
            f"{b.number.text} - {a.number.text} = {span(b.number.interval - a.number.interval, 4)}; printed {d.number.text}",
            [] if how else ["the change or one of the two numbers has another value", "the change is between other numbers"],
        )


def _of_rows(table: Table) -> Iterator[Finding]:
    """A table of three rows, the last of which is the change between the other two."""
    if len(table.rows) == 3:
        for c in range(1, len(table.header)):
            cells = [(table.labels[r], _signed(table, r, c)) for r in range(3)]
            yield from _change_among([(label, cell) for label, cell in cells if cell is not None])


def _signed(table: Table, r: int, c: int) -> Cell | None:
    """A cell's number; an arrow before it is ignored."""
    text = bare_text(table.rows[r][c]).lstrip("▲▼↑↓ ") if c < len(table.rows[r]) else ""
    number = one_number(text)
    return None if number is None else table.placed(r, c, number)


def _of_lists(card: Document) -> Iterator[Finding]:
    """A list that prints two scores and then the change between them."""
    for block in card.blocks:
        yield from _change_among([(p.label, p.cell()) for p in block.pairs if p.number is not None])


N = r"[-+]?\d+(?:\.\d+)?\s?%?"
FROM_TO = re.compile(
    rf"(?:\bfrom |(?<![\w.,/-]))(?P<a>{N})(?<! )\s?(?:to|→|->|=>)\s?(?P<b>{N})(?:\s?[(,;]\s?|\s+)(?:i\.e\.,? |which is |that is |an? )?"
    r"(?:(?:improvement|gain|increase|decrease|reduction|change|drop) of )?"
    r"\(?(?P<c>[-+−]\d+(?:\.\d+)?\s?(?:%|(?:percentage )?points?|pp|pts)?)(?P<rel> relative)?",
    re.IGNORECASE,
)
BY_FROM = re.compile(
    rf"\bby (?P<c>[-+−]?\d+(?:\.\d+)?\s?(?:%|(?:percentage )?points?|pp|pts))(?P<rel> relative(?:ly)?)?,? \(?from (?P<a>{N}) to (?P<b>{N})",
    re.IGNORECASE,
)


def _of_prose(card: Document) -> Iterator[Finding]:
    for s in card.sentences:
        bare = s.bare
        if not re.search(r" to |→|->|=>", bare):
            continue
        for m in [*FROM_TO.finditer(bare), *BY_FROM.finditer(bare)]:
            a, b, c = (next(iter(numbers(m[k].strip())), None) for k in ("a", "b", "c"))
            if a is None or b is None or c is None:
                continue
            if a.percent != b.percent:
                a = Printed(a.text, a.value, a.step, "%", a.mark, a.digits)
                b = Printed(b.text, b.value, b.step, "%", b.mark, b.digits)
            how = fits(a, b, c)
            cells = [Cell(s.line, w, n) for w, n in (("from", a), ("to", b), ("change", c))]
            yield finding(
                KIND,
                "ok" if how else "warning",
                f"The change {c.text} {'is' if how else 'is not'} that from {a.text} to {b.text}.",
                cells,
                f"{b.text} - {a.text} = {span(b.interval - a.interval, 4)}"
                + (f", relative {span(q * exactly(100), 2)}%" if (q := (b.interval - a.interval).over(a.interval)) else "")
                + f"; printed {c.text}",
                [] if how else ["the change or one of the two numbers has another value"],
            )
