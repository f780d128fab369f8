"""Standard errors: that of a share p over n cases is the root of p (1 - p) / (n - 1) (lm-eval) or / n, so each row implies its n."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

from cardproof.cards.document import Document
from cardproof.cards.finding import Finding, finding
from cardproof.cards.intervals import ExactInterval, span
from cardproof.cards.names import words
from cardproof.cards.tables import Cell, Table

KIND = "standard_error"
SHARES = {"acc", "acc norm", "exact match", "mc1", "multiple choice grade", "pass 1", "em"}


def standard_errors(card: Document) -> Iterator[Finding]:
    """lm-eval's tables: accuracy and its normalised form are over the same items, so their errors must allow one n."""
    for table in card.tables:
        plain = [words(h) for h in table.header]
        yield from _with_n(table, plain)
        if "stderr" not in plain or "value" not in plain or "metric" not in plain:
            continue
        yield from _of_table(table, plain.index("metric"), plain.index("value"), plain.index("stderr"))


def _with_n(table: Table, plain: list[str]) -> Iterator[Finding]:
    """A share, its standard error and its n in one row."""
    at = {k: [c for c, p in enumerate(plain) if p in names] for k, names in _COLUMNS.items()}
    if any(len(c) != 1 for c in at.values()):
        return
    checked = None
    for r in range(len(table.rows)):
        p, e, n = (table.cell(r, at[k][0]) for k in ("share", "error", "n"))
        if p is None or e is None or n is None or not n.number.whole or n.number.value < 2:
            continue
        allowed = sizes(p.number.as_share().loose, (e.number if not p.number.percent else e.number.times(Fraction(1, 100))).loose)
        if allowed is None:
            continue
        checked = (p, e, n)
        # p (1 - p) / n or / (n - 1)
        if not allowed.low - 1 <= n.number.value <= allowed.high + 2:
            yield finding(
                KIND,
                "warning",
                f"The standard error {e.number.text} is not that of {p.number.text} over {n.number.text} cases.",
                [p, e, n],
                f"{p.number.text} ± {e.number.text} needs {span(allowed, 0)} cases, printed {n.number.text}",
                ["a standard deviation or the half of an interval", "a bootstrap over groups", "another number of cases"],
            )
            return
    if checked:
        yield finding(KIND, "ok", "The standard errors follow from the shares and their n.", list(checked), f"{checked[1].number.text}")


_COLUMNS = {
    "share": {"accuracy", "acc", "exact match", "share", "proportion", "success rate", "recall"},
    "error": {"stderr", "se", "std err", "standard error", "s e"},
    "n": {"n", "items", "samples", "test cases", "cases", "questions", "examples"},
}


def sizes(p: ExactInterval, error: ExactInterval) -> ExactInterval | None:
    """The n - 1 that a share and its standard error allow; None if the error may be 0."""
    if error.low <= 0 or p.low < 0 or p.high > 1:
        return None
    spread = [x * (1 - x) for x in (p.low, p.high)]
    top = Fraction(1, 4) if p.low <= Fraction(1, 2) <= p.high else max(spread)
    return ExactInterval(min(spread) / error.high**2, top / error.low**2)


def _of_table(table: Table, m: int, v: int, e: int) -> Iterator[Finding]:
    task = ""
    groups: dict[str, list[tuple[Cell, Cell, ExactInterval]]] = {}
    for r, row in enumerate(table.rows):
        task = table.labels[r] or task
        value, error = table.cell(r, v), table.cell(r, e)
        if value is None or error is None or m >= len(row) or words(re.sub(r"\W+", " ", row[m])) not in SHARES:
            continue
        if not 0 < value.number.value < 1 or error.number.value <= 0:
            continue
        allowed = sizes(value.number.loose, error.number.loose)
        if allowed:
            groups.setdefault(task, []).append((value, error, allowed))
    checked, first = 0, None
    for task, rows in groups.items():
        if len(rows) < 2:
            continue
        checked += 1
        first = first or rows
        low, high = max(n.low for *_, n in rows), min(n.high for *_, n in rows)
        if low > high + 1:
            yield finding(
                KIND,
                "warning",
                f"The standard errors of {task[:40]} are of different numbers of items.",
                [c for a, b, _ in rows for c in (a, b)],
                "; ".join(f"{a.number.text} ± {b.number.text}: {span(n, 0)} items" for a, b, n in rows),
                ["a value or a standard error of another run", "a bootstrap instead of the formula"],
            )
            return
    if checked and first:
        yield finding(
            KIND,
            "ok",
            f"The standard errors of {checked} tasks allow one number of items each.",
            [c for a, b, _ in first for c in (a, b)],
            f"{span(first[0][2], 0)} items",
        )
