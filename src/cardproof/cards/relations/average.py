"""Average columns and rows: the mean of the cells beside or below them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cardproof.cards.document import Document
from cardproof.cards.finding import Finding, finding
from cardproof.cards.intervals import ExactInterval, mean, span
from cardproof.cards.names import NOT_SCORES, words
from cardproof.cards.numbers import numbers
from cardproof.cards.tables import Cell, Table

KIND = "average"
AVERAGE = re.compile(r"(?:avg|average|mean|macro avg|ave|avg\.|average score|avg score|overall avg|mean score)\.?( %| wer| acc(?:uracy)?)?")


def is_average_label(text: str) -> bool:
    """Whether a heading or row label says that it is a plain average."""
    return AVERAGE.fullmatch(words(text)) is not None


def average(card: Document) -> Iterator[Finding]:
    """Average columns, average rows, and averages below an evaluation table in a code fence."""
    for table in card.tables:
        if not table.is_results and not table.columns("precision", "recall"):
            yield from _column(table)
            yield from _rows(table)
    yield from _below(card)


def _column(table: Table) -> Iterator[Finding]:
    columns = [c for c, h in enumerate(table.header) if c and is_average_label(h)]
    if len(columns) != 1:
        return
    (own,) = columns
    others = [c for c in range(1, len(table.header)) if c != own and not NOT_SCORES.search(words(table.header[c])) and table.numeric(c)]
    if len(others) < 2:
        return
    fits: list[tuple[int, Cell, ExactInterval]] = []
    fails: list[tuple[int, Cell, ExactInterval]] = []
    for r in range(len(table.rows)):
        cell = table.cell(r, own)
        parts = [table.leading(r, c) for c in others]
        if cell is None or any(p is None for p in parts) or len({p.percent for p in parts if p}) > 1:
            continue
        possible = mean([p.loose for p in parts if p is not None])
        (fits if possible.meets(cell.number.loose) else fails).append((r, cell, possible))
    if not fits or (fails and len(fits) < max(2, 3 * len(fails))):
        return
    for r, cell, possible in fails:
        parts_cells = [c for o in others if (c := table.cell(r, o))]
        yield finding(
            KIND,
            "warning",
            f"The average {cell.number.text} is not the mean of the {len(others)} scores of its row, as it is in the other rows.",
            [cell, *parts_cells],
            f"the mean is {span(possible, 3)}, printed {cell.number.text}; {len(fits)} of {len(fits) + len(fails)} rows fit",
            [f"the average is {span(possible, 3)}", "a score of the row is of another run", "a mean over other columns in this row"],
        )
    if fits and not fails:
        r, cell, possible = fits[0]
        yield finding(
            KIND,
            "ok",
            f"The average column is the mean of {len(others)} columns in {len(fits)} rows.",
            [cell, *[c for o in others[:4] if (c := table.cell(r, o))]],
            f"{span(possible, 3)}, printed {cell.number.text}",
        )


def _rows(table: Table) -> Iterator[Finding]:
    """An average row over the rows above or below it, column by column."""
    own = [r for r, label in enumerate(table.labels) if is_average_label(label)]
    if len(own) != 1 or len(table.rows) < 3:
        return
    (at,) = own
    # An average covers the rows above it; in the first row, all rows below.
    rows = list(range(at)) if at else list(range(1, len(table.rows)))
    for c in range(1, len(table.header)):
        cell = table.cell(at, c)
        if cell is None or NOT_SCORES.search(words(table.header[c])):
            continue
        parts = [x for r in rows if (x := table.cell(r, c)) is not None]
        if len(parts) < 2 or len(parts) < len(rows) or len({p.number.percent for p in [cell, *parts]}) > 1:
            continue
        possible = mean([p.number.loose for p in parts])
        good = possible.meets(cell.number.loose)
        near = good or abs(cell.number.value - possible.low) < abs(cell.number.value) / 20
        certain = bool(re.search(r"shot|arc|hellaswag|mmlu", " ".join(table.labels).lower())) and len(parts) >= 4
        if not good and not near and not certain:
            continue
        yield finding(
            KIND,
            "ok" if good else "error" if certain else "warning",
            f"The average {cell.number.text} {'is' if good else 'is not'} the mean of the {len(parts)} rows.",
            [cell, *parts],
            f"the mean is {span(possible, 3)}, printed {cell.number.text}",
            []
            if good
            else [f"the average is {span(possible, 3)}", "a mean over other rows", "one row has another value", "a weighted mean"],
        )


def _below(card: Document) -> Iterator[Finding]:
    """`Average: 0.686` right below an lm-eval table: the mean over tasks of acc_norm if the table has it, else of the first metric."""
    for line, text in card.fences + [(s.line, s.text) for s in card.sentences if s.text.lower().startswith(("average", "avg"))]:
        match = re.match(r"\W*(?:average|avg)(?: score)?\W*[:=]?\s*(?=[\d.])", text, re.IGNORECASE)
        number = next(iter(numbers(text[match.end() :])), None) if match else None
        table = next((t for t in card.tables if t.lines and t.lines[-1] < line <= t.lines[-1] + 3), None)
        if number is None or table is None or "metric" not in [words(h) for h in table.header]:
            continue
        cell = Cell(line, "Average", number)
        choices = _means(table)
        good = next((name for name, m in choices.items() if m.meets(number.loose)), None)
        first = next(iter(choices.values()), None)
        if first is None:
            continue
        yield finding(
            KIND,
            "ok" if good else "warning",
            f"The average {number.text} is {'the mean of ' + good if good else 'not the mean of one metric over the tasks'}.",
            [cell, *[c for r in range(min(4, len(table.rows))) if (c := _value(table, r))]],
            "; ".join(f"{name}: {span(m, 4)}" for name, m in choices.items()) + f"; printed {number.text}",
            [] if good else ["a mean over other tasks or metrics", f"the average is {span(first, 4)}"],
        )


def _value(table: Table, row: int) -> Cell | None:
    column = next((c for c, h in enumerate(table.header) if words(h) == "value"), None)
    return None if column is None else table.cell(row, column)


def _means(table: Table) -> dict[str, ExactInterval]:
    """The means that an average below an lm-eval table can be, by name; a row without a task belongs to the task above."""
    at = [words(h) for h in table.header].index("metric")
    tasks: dict[str, dict[str, ExactInterval]] = {}
    task = ""
    for r, row in enumerate(table.rows):
        task = table.labels[r] or task
        cell = _value(table, r)
        if cell is not None and at < len(row):
            tasks.setdefault(task, {}).setdefault(words(row[at]), cell.number.loose)
    if len(tasks) < 2:
        return {}
    means = {}
    for name, order in (("acc_norm where given, else the first metric", "acc norm"), ("the first metric", ""), ("acc where given", "acc")):
        means[name] = mean([m.get(order) or next(iter(m.values())) for m in tasks.values()])
    means["every row"] = mean([v for m in tasks.values() for v in m.values()])
    return means
