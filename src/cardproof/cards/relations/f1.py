"""F1 from precision and recall, if it is their harmonic mean: for one class, for micro averages, and for entities."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from cardproof.cards.document import Document
from cardproof.cards.finding import Finding, finding
from cardproof.cards.intervals import ExactInterval, harmonic, span
from cardproof.cards.names import is_average, metric, words
from cardproof.cards.numbers import Printed
from cardproof.cards.relations.summary import summaries
from cardproof.cards.tables import Cell, Table

KIND = "f1"
TOKENS = {"token-classification", "span-marker", "spacy", "ner", "named-entity-recognition", "flair"}

NAMED = re.compile(r"(?P<prefix>(?:.* )?)(?P<metric>precision|recall|f1(?: score)?|f score|fscore)")


@dataclass
class Triple:
    """Precision, recall and F1 printed together."""

    precision: Cell
    recall: Cell
    f1: Cell

    def cells(self) -> list[Cell]:
        """The three cells."""
        return [self.precision, self.recall, self.f1]


def fits(t: Triple, loose: bool = False) -> bool:
    """Whether F1 can be the harmonic mean; `loose` also takes numbers as cut off."""
    return possible(t, loose).meets(_of(t.f1.number, loose))


def possible(t: Triple, loose: bool = False) -> ExactInterval:
    """Every F1 that precision and recall allow, in F1's unit."""
    p, r, f = (c.number for c in t.cells())
    if p.percent != f.percent or r.percent != f.percent:
        p, r = p.as_share(), r.as_share()
        if f.percent:
            p, r = p.times(Fraction(100)), r.times(Fraction(100))
    return harmonic(_of(p, loose), _of(r, loose))


def _of(n: Printed, loose: bool) -> ExactInterval:
    return n.loose if loose else n.interval


def f1(card: Document) -> Iterator[Finding]:
    """Check every triple whose roles are known."""
    for table in card.tables:
        yield from _of_table(card, table)
    yield from _of_summaries(card)
    yield from _of_front(card)


def triples(table: Table) -> list[tuple[int, Triple]]:
    """The rows of a table that print all three, with their index."""
    p, r, f = table.column("precision"), table.column("recall"), table.column("f1")
    if p is None or r is None or f is None:
        return []
    rows = []
    for i in range(len(table.rows)):
        cells = [table.cell(i, c) for c in (p, r, f)]
        if all(c is not None and c.number.value >= 0 for c in cells):
            rows.append((i, Triple(*[c for c in cells if c is not None])))
    return rows


def _of_table(card: Document, table: Table) -> Iterator[Finding]:
    rows = triples(table)
    if table.is_results:
        yield from _of_results(card, table, [t for _, t in rows])
        return
    single = [(i, t) for i, t in rows if not is_average(table.labels[i]) or words(table.labels[i]).startswith("micro")]
    single = [(i, t) for i, t in single if t.f1.number.value > 0]
    if not single:
        return
    good = [i for i, t in single if fits(t, loose=True)]
    per_class = bool(table.columns("support", "count", "instances", "samples")) or metric(table.header[0]) in {
        "class",
        "label",
        "entity",
        "tag",
        "type",
        "category",
        "labels",
        "classes",
        "entities",
    }
    bad = [(i, t) for i, t in single if i not in good]
    if not bad:
        cut = [t for _, t in single if not fits(t)]
        yield finding(
            KIND,
            "note" if cut else "ok",
            f"F1 is the harmonic mean in {len(single)} of {len(single)} rows" + (", cut off in some." if cut else "."),
            [c for _, t in single[:2] for c in t.cells()],
            _arithmetic(single[0][1]),
            ["cut off, not rounded"] if cut else [],
        )
        return
    # In a table of models the rows may be macro means: the column is a harmonic mean only if most rows fit.
    sure = [t for i, t in single if i in good and telling(t)]
    if len(good) < max(2, 2 * len(bad)) or (not per_class and len(sure) < max(2, 2 * len(bad))):
        return
    for _, t in bad:
        certain = per_class and len(good) >= 3 * len(bad)
        yield _failed(t, "error" if certain else "warning", f"the other {len(good)} rows fit")


def _arithmetic(t: Triple) -> str:
    return f"2 x {t.precision.number.text} x {t.recall.number.text} / sum = {span(possible(t), 5)}, printed {t.f1.number.text}"


def _failed(t: Triple, severity: str, why: str) -> Finding:
    return finding(
        KIND,
        "error" if severity == "error" else "warning",
        f"F1 {t.f1.number.text} is not the harmonic mean of its precision and recall.",
        t.cells(),
        f"{_arithmetic(t)}; {why}",
        [f"F1 is {span(possible(t), 4)}", "precision or recall has another value", "an average over classes, not the F1 of these two"],
    )


def _of_results(card: Document, table: Table, rows: list[Triple]) -> Iterator[Finding]:
    """A results table: if nearly all rows fit, its F1 is the harmonic mean."""
    rows = [t for t in rows if t.f1.number.value > 0]
    good = [t for t in rows if fits(t, loose=True)]
    bad = [t for t in rows if not fits(t, loose=True)]
    sure = [t for t in good if telling(t)]
    if len(good) < 2 or len(good) < 4 * len(bad) or (bad and len(sure) < max(2, 2 * len(bad))):
        return
    if not bad:
        yield finding(KIND, "ok", f"F1 is the harmonic mean in all {len(good)} rows.", good[-1].cells(), _arithmetic(good[-1]))
    for t in bad:
        yield _failed(t, "error" if len(sure) >= 5 else "warning", f"the other {len(good)} rows fit")


def telling(t: Triple) -> bool:
    """Whether precision and recall are far enough apart that the harmonic mean differs from the plain mean."""
    p, r, f = (c.number.as_share() for c in t.cells())
    if p.value + r.value == 0:
        return False
    return (p.value - r.value) ** 2 / (2 * (p.value + r.value)) > 3 * max(f.step, p.step, r.step)


def is_tokens(card: Document) -> bool:
    """Whether the card describes a tagger, whose F1 over entities is the harmonic mean by definition."""
    return bool(card.front.tags & TOKENS)


def _of_summaries(card: Document) -> Iterator[Finding]:
    trained = [t for table in card.results for _, t in triples(table)]
    harmonic_there = sum(telling(t) for t in trained) > 1 and all(fits(t, loose=True) for t in trained)
    for cells, names, _ in summaries(card):
        by = {n: c for c, n in zip(cells, names, strict=True) if names.count(n) == 1}
        for kind in ("", "micro"):
            if all(kind + n in by for n in ("precision", "recall", "f1")):
                t = Triple(by[kind + "precision"], by[kind + "recall"], by[kind + "f1"])
                if any(c.number.value < 0 for c in t.cells()) or len({c.number.percent for c in t.cells()}) > 1:
                    continue
                judgement = (
                    _of_one(card, t, kind, harmonic_there)
                    if fits(t, loose=True)
                    else _repeats(card, t) or _of_one(card, t, kind, harmonic_there)
                )
                if judgement:
                    yield judgement


def _repeats(card: Document, t: Triple) -> Finding | None:
    """Final scores with the precision and recall of one class in a table, but not its F1."""
    for table in card.tables:
        for i, row in triples(table) if not table.is_results else ():
            alike = row.precision.number.value == t.precision.number.value and row.recall.number.value == t.recall.number.value
            if alike and not is_average(table.labels[i]) and fits(row) and row.f1.number.value != t.f1.number.value:
                return finding(
                    KIND,
                    "warning",
                    f"F1 {t.f1.number.text} is printed with the precision and recall of a class whose F1 is {row.f1.number.text}.",
                    [*t.cells(), row.f1],
                    _arithmetic(t),
                    [f"F1 is {row.f1.number.text}", "F1 is an average, precision and recall are of one class"],
                )
    return None


def _of_one(card: Document, t: Triple, kind: str, harmonic_there: bool) -> Finding | None:
    if fits(t):
        return finding(KIND, "ok", "F1 is the harmonic mean of precision and recall.", t.cells(), _arithmetic(t))
    if fits(t, loose=True):
        return finding(KIND, "note", "F1 is the harmonic mean, cut off.", t.cells(), _arithmetic(t), ["cut off, not rounded"])
    if harmonic_there:
        return _failed(t, "error", "F1 is the harmonic mean in every row of the results table")
    if is_tokens(card) or kind == "micro":
        return _failed(t, "warning", "the F1 over entities or of micro averages is the harmonic mean")
    return finding(
        KIND,
        "note",
        "F1 is not the harmonic mean; it may be a mean over classes.",
        t.cells(),
        _arithmetic(t),
        ["macro or weighted averages"],
    )


def _of_front(card: Document) -> Iterator[Finding]:
    """Metrics of one result of the model-index."""
    groups: dict[tuple[str, str, str], dict[str, Cell]] = {}
    for m in card.front.metrics:
        # `NER Precision` and `NER F Score` belong together, `Sentences F-Score` belongs to neither.
        named = NAMED.fullmatch(words(m.name)) if m.name else None
        label = metric(named["metric"]) if named else metric(m.type)
        prefix = named["prefix"].strip() if named else words(m.name) if m.name and metric(m.name) != label else ""
        if label in {"precision", "recall", "f1"}:
            groups.setdefault((m.task, m.dataset, prefix), {})[label] = Cell(m.line, f"front matter {m.name or m.type}", m.value)
    for by in groups.values():
        if all(n in by for n in ("precision", "recall", "f1")):
            t = Triple(by["precision"], by["recall"], by["f1"])
            if fits(t):
                yield finding(KIND, "ok", "F1 of the front matter is the harmonic mean.", t.cells(), _arithmetic(t))
            elif fits(t, loose=True):
                yield finding(
                    KIND,
                    "note",
                    "F1 of the front matter is the harmonic mean, cut off.",
                    t.cells(),
                    _arithmetic(t),
                    ["cut off, not rounded"],
                )
            elif is_tokens(card):
                yield _failed(t, "warning", "the F1 over entities is the harmonic mean")
