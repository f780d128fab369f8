"""A whole card: its front matter, tables, labelled values and sentences, each with its line, and what was not read."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property

from cardproof.cards.front_matter import FrontMatter, read_front_matter, split_front_matter
from cardproof.cards.names import metric, words
from cardproof.cards.numbers import Printed, bare_text, numbers, one_number
from cardproof.cards.tables import Cell, Table, read_table, report_at, table_at

PAIR = re.compile(
    r"^\s*(?:[-*+•]\s+|\d+[.)]\s+)?(?:\*\*|__|`|\")?([A-Za-z][^:=|{}<>]{0,60}?)(?:\*\*|__|`|\")?\s*(?::|=)\s*(?:\*\*|__)?\s*(\S.{0,200})$"
)
LONGEST_LINE = 5_000


@dataclass(frozen=True)
class Pair:
    """A label and its value on one line: `- learning_rate: 1e-05`."""

    label: str
    text: str
    line: int
    number: Printed | None
    """The value, if it is one number and nothing else."""

    @property
    def name(self) -> str:
        """The label in one spelling, as a metric."""
        return metric(self.label)

    def cell(self) -> Cell:
        """The value with its place; it must be a number."""
        assert self.number is not None
        return Cell(self.line, self.label, self.number)


@dataclass
class Block:
    """Labelled values on lines that follow each other."""

    heading: str
    intro: str
    pairs: list[Pair]

    @property
    def labelled(self) -> list[tuple[str, str, int]]:
        """(label, value as written, line) of each pair."""
        return [(p.label, p.text, p.line) for p in self.pairs]

    @cached_property
    def numbers(self) -> dict[str, Pair]:
        """The numeric pairs by their written label in lower case; a label that appears twice is left out."""
        named: dict[str, Pair] = {}
        twice = set()
        for p in self.pairs:
            key = words(p.label).replace(" ", "_")
            if p.number is not None:
                if key in named:
                    twice.add(key)
                named[key] = p
        return {k: v for k, v in named.items() if k not in twice}

    @property
    def is_hyperparameters(self) -> bool:
        """Whether it is a list of training settings."""
        keys = {words(p.label).replace(" ", "_") for p in self.pairs}
        return bool(keys & {"learning_rate", "train_batch_size", "per_device_train_batch_size", "batch_size", "seed", "num_epochs"})


@dataclass(frozen=True)
class Sentence:
    """A line of prose."""

    line: int
    text: str
    heading: str
    is_heading: bool = False

    @property
    def bare(self) -> str:
        """The text without emphasis."""
        return bare_text(self.text)

    def cells(self) -> list[Cell]:
        """Its numbers."""
        bare = self.bare
        return [Cell(self.line, context(bare, n), n) for n in numbers(bare)]


def context(text: str, number: Printed) -> str:
    """The words around a number, for a reader."""
    before = text[max(0, number.start - 24) : number.start]
    after = text[number.end : number.end + 24]
    if number.start > 24:
        before = before.partition(" ")[2]
    if number.end + 24 < len(text):
        after = after.rpartition(" ")[0]
    return f"…{before}{text[number.start : number.end]}{after}…".replace("… ", "…").replace(" …", "…")


@dataclass
class Document:
    """A card as it was read."""

    front: FrontMatter
    tables: list[Table] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    sentences: list[Sentence] = field(default_factory=list)
    fences: list[tuple[int, str]] = field(default_factory=list)
    """Lines inside code fences that are in no table."""
    unread: list[tuple[int, str]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    @cached_property
    def results(self) -> list[Table]:
        """The training-results tables."""
        return [t for t in self.tables if t.is_results]

    @cached_property
    def settings(self) -> list[Block]:
        """The lists of training settings."""
        return [b for b in self.blocks if b.is_hyperparameters]

    @cached_property
    def labelled(self) -> list[list[tuple[str, str, int]]]:
        """(label, value as written, line) of every list of labelled values and every table of two columns, each as a group."""
        return [*(block.labelled for block in self.blocks), *(table.labelled for table in self.tables if table.labelled)]

    @cached_property
    def text(self) -> str:
        """The whole card in lower case, for words that decide what a number means."""
        return "\n".join(self.lines).lower()

    def says(self, pattern: str) -> bool:
        """Whether the card has these words anywhere."""
        return bool(re.search(pattern, self.text))


def read_card(text: str) -> Document:
    """Read a card. No text raises an error."""
    lines = [line if len(line) <= LONGEST_LINE else "" for line in _without_comments(text).split("\n")]
    first, last = split_front_matter(lines)
    document = Document(read_front_matter(lines[first:last], first) if last else FrontMatter(), lines=lines)
    document.unread += document.front.unread
    document.unread += [
        (i + 1, f"a line of more than {LONGEST_LINE:,} characters") for i, w in enumerate(text.split("\n")) if len(w) > LONGEST_LINE
    ]
    _Body(lines, document).read(last + 1 if last else 0)
    if last:
        _read_pairs_of_front(lines, first, last, document)
    _note_unread_cells(document)
    return document


def _without_comments(text: str) -> str:
    """The text with HTML comments blanked; the lines keep their numbers."""
    if "<!--" not in text:
        return text
    parts = []
    rest = text
    while (start := rest.find("<!--")) >= 0:
        end = rest.find("-->", start)
        if end < 0:
            break
        parts += [rest[:start], "\n" * rest.count("\n", start, end)]
        rest = rest[end + 3 :]
    return "".join([*parts, rest])


class _Body:
    """Reads a card's lines from top to bottom into a document, keeping the heading, the last text and the open list."""

    def __init__(self, lines: list[str], document: Document) -> None:
        self.lines = lines
        self.document = document
        self.heading = self.intro = ""
        self.fence = False
        self.block: Block | None = None

    def read(self, start: int) -> None:
        """Read all lines from `start` on."""
        i = start
        while i < len(self.lines):
            i += self._structure(i) or self._line(i)

    def _structure(self, i: int) -> int:
        """The number of lines of the fence mark, table or report at line `i`; 0 if there is none."""
        line = self.lines[i]
        if line.lstrip().startswith(("```", "~~~")):
            self.fence = not self.fence
            if "|" not in line:
                self.block = None
                return 1
        taken = table_at(self.lines, i)
        if taken:
            table = read_table(self.lines, i, taken, self.heading, self.intro)
            if table is None:
                self.document.unread.append((i + 1, "a table too wide to read"))
            else:
                self.document.tables.append(table)
        elif "precision" in line and (report := report_at(self.lines, i, self.heading, self.intro)):
            self.document.tables.append(report[0])
            taken = report[1]
        if taken:
            self.block = None
        return taken

    def _line(self, i: int) -> int:
        """A heading, a labelled value, a sentence or an empty line."""
        text = self.lines[i].strip()
        if text.startswith("#") and not self.fence:
            self.heading, self.intro, self.block = bare_text(text.lstrip("#").strip()), "", None
            self.document.sentences.append(Sentence(i + 1, text.lstrip("#").strip(), self.heading, is_heading=True))
        elif text:
            if self.fence:
                self.document.fences.append((i + 1, text))
            pair = read_pair(self.lines[i], i + 1)
            if pair is None:
                self._sentence(i, text)
            else:
                self._pair(pair, text)
        elif self.block is not None and i + 1 < len(self.lines) and not self.lines[i + 1].lstrip().startswith(("-", "*")):
            self.block = None
        return 1

    def _sentence(self, i: int, text: str) -> None:
        if len(text) > 3:
            self.block = None
        if not self.fence:
            self.intro = text
            self.document.sentences.append(Sentence(i + 1, text, self.heading))

    def _pair(self, pair: Pair, text: str) -> None:
        if self.block is None:
            self.block = Block(self.heading, self.intro, [])
            self.document.blocks.append(self.block)
        self.block.pairs.append(pair)
        if pair.number is not None:
            return
        if not self.fence and any(c.isdigit() for c in text):
            self.document.sentences.append(Sentence(pair.line, text, self.heading))
        elif text.endswith(":"):
            self.intro = text


def _read_pairs_of_front(lines: list[str], first: int, last: int, document: Document) -> None:
    """Training settings that people paste into the front matter."""
    block: Block | None = None
    for i in range(first, last):
        pair = read_pair(lines[i], i + 1)
        if pair is None or not lines[i].lstrip().startswith("- "):
            block = None
            continue
        if block is None:
            block = Block("front matter", "", [])
            document.blocks.append(block)
        block.pairs.append(pair)
    document.blocks = [b for b in document.blocks if b.heading != "front matter" or b.is_hyperparameters]


def read_pair(line: str, number: int) -> Pair | None:
    """A line as a label and its value; None if it is something else."""
    if ":" not in line and "=" not in line:
        return None
    match = PAIR.match(line)
    if match is None or match[2].startswith("//"):
        return None
    label, value = bare_text(match[1]), match[2].strip().strip("*").strip()
    if line.lstrip(" -*").startswith('"'):
        value = value.removesuffix(",").strip('"')
    return Pair(label, bare_text(value), number, one_number(value))


def _note_unread_cells(document: Document) -> None:
    """List the cells of numeric columns whose digits are in a form that is not read."""
    for table in document.tables:
        for c in range(1, len(table.header)):
            if not table.numeric(c):
                continue
            for r, row in enumerate(table.rows):
                if c < len(row) and any(ch.isdigit() for ch in row[c]) and table.leading(r, c) is None:
                    document.unread.append((table.lines[r], f"the cell {bare_text(row[c])[:40]!r} in a column of numbers"))
