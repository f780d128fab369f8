"""A classification report: its averages and its accuracy follow from the rows of the classes and their supports."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

from cardproof.cards.document import Document
from cardproof.cards.finding import Finding, finding
from cardproof.cards.intervals import ExactInterval, harmonic, mean, numeral, span, total
from cardproof.cards.names import is_average, words
from cardproof.cards.numbers import numbers
from cardproof.cards.tables import Cell, Table

KIND = "report_averages"
SUPPORTS = "report_supports"
SUPPORT = ("support", "count", "images", "samples", "instances", "examples", "supports", "testcases", "n", "numberofsamples")
SCORES = ("precision", "recall", "f1")


def report(card: Document) -> Iterator[Finding]:
    """Check every table with precision, recall or F1 by class."""
    for table in card.tables:
        if table.is_results or len(table.rows) < 2:
            continue
        columns = {n: c for n in SCORES if (c := table.column(n)) is not None}
        classes = [
            r for r in range(len(table.rows)) if not is_average(table.labels[r]) and all(table.number(r, c) for c in columns.values())
        ]
        if len(columns) < 2 or len(classes) < 2:
            continue
        weights = table.column(*SUPPORT)
        yield from _averages(table, columns, classes, weights)
        yield from _accuracy_row(table, columns, classes, weights)
        yield from _prose(card, table, columns, classes, weights)


def _plain(table: Table, column: int, rows: list[int], loose: bool = False) -> list[ExactInterval]:
    scores = [n for r in rows if (n := table.number(r, column)) is not None]
    return [n.loose if loose else n.interval for n in scores]


def _weights(table: Table, rows: list[int], column: int | None) -> list[Fraction] | None:
    if column is None:
        return None
    supports = [table.number(r, column) for r in rows]
    if any(n is None or not n.whole or n.value < 0 for n in supports):
        return None
    values = [n.value for n in supports if n is not None]
    return values if sum(values) > 0 else None


def weighted(parts: list[ExactInterval], weights: list[Fraction]) -> ExactInterval:
    """The mean with these weights."""
    return total(p.scaled(w) for p, w in zip(parts, weights, strict=True)).scaled(1 / sum(weights, Fraction(0)))


def _averages(table: Table, columns: dict[str, int], classes: list[int], weights_column: int | None) -> Iterator[Finding]:
    weights = _weights(table, classes, weights_column)
    complete = _supports(table, classes, weights, weights_column)
    if complete is not None:
        yield complete[0]
        if not complete[1]:
            return
    for r, label in enumerate(table.labels):
        kind = next((k for k in ("macro", "weighted", "micro") if k in words(label)), None)
        plain_mean = kind is None and re.fullmatch(r"(?:avg|average|mean)", words(label)) is not None
        if kind is None and not plain_mean:
            continue
        if re.search(r"\bf1\b|\bprecision\b|\brecall\b|auc", words(label)):
            continue
        for name, c in columns.items():
            cell = table.cell(r, c)
            if cell is None:
                continue
            options = {"macro": mean(_plain(table, c, classes, True))}
            if weights:
                options["weighted"] = weighted(_plain(table, c, classes, True), weights)
            wanted = [kind] if kind in {"macro", "weighted"} else list(options) if plain_mean else []
            possible = [options[k] for k in wanted if k in options]
            if not possible:
                continue
            if name == "f1" and kind == "macro" and {"precision", "recall"} <= columns.keys():
                possible.append(harmonic(*(mean(_plain(table, columns[n], classes, True)) for n in ("precision", "recall"))))
            good = any(p.meets(cell.number.loose) for p in possible)
            best = possible[0]
            yield finding(
                KIND,
                "ok" if good else "error" if kind and complete is not None else "warning",
                f"The {kind or 'average'} {name} {cell.number.text} {'is' if good else 'is not'} the "
                f"{'weighted mean' if kind == 'weighted' else 'mean'} of the {len(classes)} classes.",
                [cell, *[x for i in classes[:6] if (x := table.cell(i, c))]],
                f"the classes give {span(best, 4)}, printed {cell.number.text}",
                [] if good else ["a class is missing or its row is of another run", f"the average is {span(best, 4)}"],
            )


def _accuracy_row(table: Table, columns: dict[str, int], classes: list[int], weights_column: int | None) -> Iterator[Finding]:
    """The row of accuracy: one number, the mean of the recalls weighted by the supports."""
    weights = _weights(table, classes, weights_column)
    rows = [r for r, label in enumerate(table.labels) if words(label) == "accuracy"]
    if weights is None or "recall" not in columns or len(rows) != 1:
        return
    recalls = _plain(table, columns["recall"], classes, True)
    cells = [c for n in ("f1", "recall", "precision") if n in columns and (c := table.cell(rows[0], columns[n]))]
    support = table.number(rows[0], weights_column) if weights_column is not None else None
    # If the table leaves classes out, the recalls of the others do not determine the accuracy.
    if len(recalls) != len(weights) or not cells or support is None or support.value != sum(weights):
        return
    possible = weighted(recalls, weights)
    good = any(possible.meets(c.number.loose) for c in cells)
    yield finding(
        KIND,
        "ok" if good else "warning",
        f"The accuracy {cells[0].number.text} {'follows' if good else 'does not follow'} from the recalls of the classes.",
        [*cells, *[x for i in classes[:5] if (x := table.cell(i, columns["recall"]))]],
        f"weighted by the supports they give {span(possible, 4)}, printed {cells[0].number.text}",
        [] if good else ["another average is printed in this row", "classes are left out", "items may have several labels"],
    )


def _supports(table: Table, classes: list[int], weights: list[Fraction] | None, column: int | None) -> tuple[Finding, bool] | None:
    """Whether the classes' supports add up to the averages' support."""
    if weights is None or column is None:
        return None
    rows = [r for r in range(len(table.rows)) if r not in classes and (n := table.number(r, column)) is not None and n.whole]
    if not rows:
        return None
    added = sum(weights, Fraction(0))
    cells = [c for r in rows if (c := table.cell(r, column))]
    good = all(c.number.value == added for c in cells)
    part = all(c.number.value > added for c in cells)
    return (
        finding(
            SUPPORTS,
            "ok" if good else "note" if part else "warning",
            f"The supports of the classes add up to {numeral(added)}{'.' if good else ', not to the total.'}",
            [*cells, *[x for i in classes[:5] if (x := table.cell(i, column))]],
            f"{' + '.join(numeral(w) for w in weights[:8])}{' + ...' if len(weights) > 8 else ''} = {numeral(added)}, "
            f"printed {cells[0].number.text}",
            [] if good else ["classes are left out of the table", "the total is of other data"],
        ),
        good,
    )


STATED = re.compile(
    r"(?P<what>overall accuracy|accuracy|(?:mean|macro|average|macro[- ]averaged?) (?:f1|recall|precision))"
    r"(?: (?:over|of|across|score) [a-z ]{0,30}?)?\s*(?::|=|is|of|\|)?\s*(?=\d)",
    re.IGNORECASE,
)


def _prose(card: Document, table: Table, columns: dict[str, int], classes: list[int], weights_column: int | None) -> Iterator[Finding]:
    """Overall accuracy and mean scores stated under the table's own heading."""
    weights = _weights(table, classes, weights_column)
    recalls = _plain(table, columns["recall"], classes) if "recall" in columns else []
    for s in card.sentences:
        if s.heading != table.heading:
            continue
        bare = s.bare
        for m in STATED.finditer(bare):
            number = next((n for n in numbers(bare) if n.start >= m.end() - 1), None)
            if number is None or number.start > m.end() + 2:
                continue
            what = m["what"].lower()
            cell = Cell(s.line, what, number)
            if what.endswith("accuracy") and card.says(r"\bner\b|entit|flair|token-classification|seqeval"):
                continue  # taggers count tokens or spans, not items
            if what.endswith("accuracy") and weights and len(recalls) == len(weights):
                possible = weighted(recalls, weights)
            elif what.endswith("recall") and recalls:
                possible = mean(recalls)
            elif what.endswith("precision") and "precision" in columns:
                possible = mean(_plain(table, columns["precision"], classes))
            elif what.endswith("f1") and "f1" in columns:
                possible = mean(_plain(table, columns["f1"], classes))
            elif what.endswith("f1") and "recall" in columns and "precision" in columns:
                possible = mean([harmonic(p, r) for p, r in zip(_plain(table, columns["precision"], classes), recalls, strict=True)])
            else:
                continue
            good = any(possible.meets(x) for x in (number.loose, number.as_share().loose, number.times(Fraction(100)).loose))
            yield finding(
                KIND,
                "ok" if good else "warning",
                f"The {what} {number.text} {'follows' if good else 'does not follow'} from the rows of the classes.",
                [cell, *[x for i in classes[:5] if (x := table.cell(i, columns.get("recall", next(iter(columns.values())))))]],
                f"the {len(classes)} classes give {span(possible, 4)}, printed {number.text}",
                [] if good else ["classes are left out", "another run or another average"],
            )
