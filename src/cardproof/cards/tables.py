"""Tables of a card: Markdown's, also inside code fences, and classification reports printed with spaces; every cell with its line."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property

from cardproof.cards.names import metric, words
from cardproof.cards.numbers import Printed, bare_text, first_number, one_number

WIDEST = 60
LONGEST = 2_000
REPORT_HEAD = re.compile(r"\s*(precision)\s+(recall)\s+(f1[- ]score|f1)\s+(support)\s*")
REPORT_ROW = re.compile(r"\s*(.*?)\s+((?:\d*\.?\d+(?:\s+|$)){2,4})\s*")


@dataclass(frozen=True)
class Cell:
    """One number of a card and its place."""

    line: int
    """From 1, as an editor counts."""
    place: str
    """The row and column, or the label, in words."""
    number: Printed

    def __str__(self) -> str:
        return f"line {self.line} {self.place[:44]}: {self.number.text}".replace("  ", " ")


@dataclass
class Table:
    """A table: its column names, and its rows as texts, with the line of each."""

    heading: str
    header: list[str]
    rows: list[list[str]]
    lines: list[int]
    """Line of each row, from 1."""
    head_line: int
    intro: str = ""
    """The last text above it."""
    _cells: dict[tuple[int, int], Printed | None] = field(default_factory=dict)

    @property
    def labelled(self) -> list[tuple[str, str, int]]:
        """(label, value as written, line) of each row of a table of two columns; empty for any other table."""
        if len(self.header) != 2:
            return []
        return [(label, row[1], line) for label, row, line in zip(self.labels, self.rows, self.lines, strict=True) if len(row) > 1]

    @cached_property
    def names(self) -> list[str]:
        """The columns' names in one spelling."""
        return [metric(bare_text(h)) for h in self.header]

    @cached_property
    def labels(self) -> list[str]:
        """The rows' labels: the first column."""
        return [bare_text(row[0]) if row else "" for row in self.rows]

    def number(self, row: int, column: int) -> Printed | None:
        """The number of a cell that has one number and nothing else."""
        key = (row, column)
        if key not in self._cells:
            cells = self.rows[row]
            self._cells[key] = one_number(cells[column]) if column < len(cells) else None
        return self._cells[key]

    def leading(self, row: int, column: int) -> Printed | None:
        """The number a cell starts with."""
        cells = self.rows[row]
        return self.number(row, column) or (first_number(cells[column]) if column < len(cells) else None)

    def cell(self, row: int, column: int) -> Cell | None:
        """A cell's number with its place."""
        number = self.leading(row, column)
        return None if number is None else self.placed(row, column, number)

    def placed(self, row: int, column: int, number: Printed) -> Cell:
        """A number of a cell with the cell's place."""
        if self.is_results:
            at = [words(h) for h in self.header].index(str(self.row_name))
            step = bare_text(self.rows[row][at]) if at < len(self.rows[row]) else "?"
            return Cell(self.lines[row], f"{self.row_name} {step} / {bare_text(self.header[column])[:20]}", number)
        label = self.labels[row] if column else ""
        return Cell(self.lines[row], f"{label[:24]} / {bare_text(self.header[column])[:20]}".strip(" /"), number)

    def columns(self, *names: str) -> list[int]:
        """The columns of one of these names."""
        return [i for i, n in enumerate(self.names) if n in names]

    def column(self, *names: str) -> int | None:
        """The one column with one of these names; None if there is no such column or more than one."""
        columns = self.columns(*names)
        return columns[0] if len(columns) == 1 else None

    def numeric(self, column: int) -> bool:
        """Whether more than half of a column's cells start with a number."""
        filled = [i for i, row in enumerate(self.rows) if column < len(row) and row[column].strip()]
        return bool(filled) and 2 * sum(self.leading(i, column) is not None for i in filled) > len(filled)

    @cached_property
    def is_results(self) -> bool:
        """Whether it is a training-results table: a row for each evaluation, with Epoch or Step and a loss."""
        return self.row_name is not None and any("loss" in words(h) for h in self.header) and len(self.rows) > 0

    @cached_property
    def row_name(self) -> str | None:
        """What tells the rows of a training-results table apart: its step, else its epoch."""
        plain = [words(h) for h in self.header]
        return next((n for n in ("step", "epoch") if plain.count(n) == 1), None)


def split_row(line: str) -> list[str]:
    """The cells of a table's line."""
    text = line.strip()
    text = text[1:] if text.startswith("|") else text
    text = text[:-1] if text.endswith("|") and not text.endswith("\\|") else text
    if "\\|" not in text and "`" not in text:
        return [c.strip() for c in text.split("|")]
    return [c.replace("\\|", "|").strip() for c in re.split(r"(?<!\\)\|", text)]


def is_delimiter(line: str) -> bool:
    """Whether a line is the rule under a table's header."""
    text = line.strip()
    return "-" in text and "|" in text and len(text) < 3000 and not text.strip("|:- \t")


def table_at(lines: list[str], at: int) -> int:
    """The number of lines of the Markdown table that starts at `at`; 0 if there is none."""
    if at + 1 >= len(lines) or "|" not in lines[at] or not is_delimiter(lines[at + 1]):
        return 0
    end = at + 2
    while end < len(lines) and "|" in lines[end] and end - at < LONGEST and not lines[end].lstrip().startswith("```"):
        end += 1
    return end - at


def read_table(lines: list[str], at: int, length: int, heading: str, intro: str) -> Table | None:
    """The Markdown table of `length` lines at `at`; None if it is too wide to read."""
    header = split_row(lines[at].lstrip("` ") if lines[at].lstrip().startswith("```") else lines[at])
    if len(header) > WIDEST:
        return None
    rows = [split_row(line)[: len(header)] for line in lines[at + 2 : at + length]]
    numbers = list(range(at + 3, at + length + 1))
    kept = [(r, n) for r, n in zip(rows, numbers, strict=True) if not all(set(c) <= set("-: ") for c in r) or any(c for c in r)]
    return Table(heading, header, [r for r, _ in kept], [n for _, n in kept], at + 1, intro)


def report_at(lines: list[str], at: int, heading: str, intro: str) -> tuple[Table, int] | None:
    """A classification report as scikit-learn prints it, starting at `at`, and its number of lines."""
    if not REPORT_HEAD.fullmatch(lines[at]):
        return None
    rows, numbers, end = [], [], at + 1
    for i in range(at + 1, min(len(lines), at + 300)):
        text = lines[i]
        if not text.strip():
            end = i + 1
            continue
        match = REPORT_ROW.fullmatch(text) if len(text) < 300 else None
        if match is None:
            break
        values = match[2].split()
        # The row of accuracy leaves precision and recall empty.
        values = ["", "", *values] if len(values) == 2 else values if len(values) == 4 else []
        if not values:
            break
        rows.append([match[1], *values])
        numbers.append(i + 1)
        end = i + 1
    if len(rows) < 2:
        return None
    return Table(heading, ["class", "precision", "recall", "f1-score", "support"], rows, numbers, at + 1, intro), end - at
