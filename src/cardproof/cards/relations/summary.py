"""Compare the scores above a training-results table with the rows of that table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import permutations

from cardproof.cards.document import Document
from cardproof.cards.finding import Finding, finding
from cardproof.cards.intervals import numeral
from cardproof.cards.numbers import Printed
from cardproof.cards.relations.schedule import ended
from cardproof.cards.tables import Cell, Table

KIND = "summary_and_table"
SKIPPED = {"epoch", "step", "runtime", "samplespersecond", "stepspersecond", "genlen", "trainingloss"}
ELSEWHERE = r"\btest(?:ing)?\b|\bheld.out\b|\bprivate\b|\bunseen\b"
MASKED = r"fill-mask|masked.language|\bmlm\b|mask(?:ed|ing) (?:lm|token)"
ENCODERS = r"bert|albert|electra|xlm-r|longformer|splinter|\bmpnet"
GENERATED = re.compile(r"rouge|bleu|exactmatch|wer|cer|bertscore|meteor|chrf|ter\b|genlen")
"""Scores of generated text: they depend on how it is decoded."""


@dataclass
class Score:
    """A printed final score and the column it belongs to."""

    cell: Cell
    column: int


def summaries(card: Document) -> Iterator[tuple[list[Cell], list[str], str]]:
    """Groups of final scores: cells, their names, and the words above them. Lists of scores, and hand-made tables of one row."""
    for block in card.blocks:
        if not block.is_hyperparameters and block.heading != "front matter":
            named = [(p.cell(), p.name) for p in block.pairs if p.number is not None]
            yield [c for c, _ in named], [n for _, n in named], f"{block.intro} {block.heading}"
    for table in card.tables:
        if len(table.rows) == 1 and not table.is_results and len(table.header) > 2:
            scores = [(table.placed(0, c, n), table.names[c]) for c in range(len(table.header)) if (n := table.number(0, c))]
            yield [c for c, _ in scores], [n for _, n in scores], f"{table.intro} {table.heading}"


def summary(card: Document) -> Iterator[Finding]:
    """Check every group of final scores that belongs to a results table."""
    tables = card.results
    if not tables:
        return
    done = False
    for cells, names, above in summaries(card):
        if not cells or (done and len(card.blocks) > 12):
            continue
        for table in tables[:1] if len(tables) == 1 else tables:
            scores = _matched(table, cells, names)
            if len(scores) >= 2 or (len(scores) == 1 and _is_trainers(above) and scores[0].cell.line < table.head_line):
                judgement = _judged(card, table, scores, above, len(tables))
                if judgement:
                    done = True
                    yield judgement
                    break


def _is_trainers(above: str) -> bool:
    return "evaluation" in above.lower() or "following results" in above.lower()


def _matched(table: Table, cells: list[Cell], names: list[str]) -> list[Score]:
    scores = []
    for cell, name in zip(cells, names, strict=True):
        column = table.column(name)
        if re.search(ELSEWHERE, cell.place.lower()):
            continue
        if column is not None and (name not in SKIPPED or name == "trainingloss") and names.count(name) == 1:
            scores.append(Score(cell, column))
    # The training loss alone, or beside one other, belongs to a log rather than to an evaluation.
    return scores if any(table.names[s.column] != "trainingloss" for s in scores) else []


def agree(a: Printed, b: Printed) -> bool:
    """Whether two printings can be of one quantity: as they are, or one as a percentage of 1.

    Rounding is monotone: printed with equally many decimals, one quantity is one number, with no slack in the last digit.
    """
    hundredth = Fraction(1, 100)
    forms = ((a, b), (a.times(hundredth), b), (a, b.times(hundredth)))
    return any(x.value == y.value if x.step == y.step else x.interval.meets(y.interval) for x, y in forms)


def _column(table: Table, column: int) -> list[Printed | None]:
    """A column's numbers, each with the decimals of the finest of them: the Trainer drops zeros at the end."""
    column_numbers = [table.number(r, column) for r in range(len(table.rows))]
    steps = [n.step for n in column_numbers if n is not None and n.step <= 1]
    return [n.with_step(min(steps)) if n is not None and steps else n for n in column_numbers]


def _judged(card: Document, table: Table, scores: list[Score], above: str, tables: int) -> Finding | None:
    columns = {s.column: _column(table, s.column) for s in scores}
    if any(all(n is None for n in c) for c in columns.values()):
        return None
    hits = [[n is not None and agree(s.cell.number, n) for n in columns[s.column]] for s in scores]
    rows = range(len(table.rows))
    whole = [r for r in rows if all(h[r] for h in hits)]
    cells = [s.cell for s in scores]
    if whole:
        r = whole[-1]
        which = "the last row" if r == len(table.rows) - 1 else f"the row on line {table.lines[r]}"
        return finding(KIND, "ok", f"The final scores are those of {which}.", cells, f"{len(scores)} of {len(scores)} agree")
    best = max(rows, key=lambda r: (sum(h[r] for h in hits), r))
    missed = [s for s, h in zip(scores, hits, strict=True) if not h[best]]
    row = [table.placed(best, s.column, n) for s in scores if (n := table.number(best, s.column)) is not None]
    told = _moved(table, scores)
    if told is not None:
        return finding(
            KIND,
            "error",
            f"The final scores are those of line {table.lines[told]}, under other headings.",
            [*cells, *[table.placed(told, s.column, n) for s in scores if (n := table.number(told, s.column)) is not None]],
            "the same numbers in another order: the columns of this row are shifted",
            ["the rows of a resumed run were written in another order of columns"],
        )
    if tables > 1 or _is_elsewhere(above):
        return None
    return _missed(card, table, scores, hits, best, missed, cells + row)


def _is_elsewhere(above: str) -> bool:
    return bool(re.search(ELSEWHERE, above.lower()))


def _moved(table: Table, scores: list[Score]) -> int | None:
    """The last row with all scores (two to five, all distinct) under each other's headings; None if there is none."""
    least = 4 if len(scores) == 2 else 3
    if not 2 <= len(scores) <= 5 or len({s.cell.number.value for s in scores}) < len(scores):
        return None
    order = [s.column for s in scores]
    for r in reversed(range(len(table.rows))):
        for other in permutations(order):
            if other != tuple(order) and all(
                (n := table.number(r, c)) is not None
                and max(s.cell.number.digits, s.cell.number.places) >= least
                and s.cell.number.interval.meets(n.interval)
                for s, c in zip(scores, other, strict=True)
            ):
                return r
    return None


def _missed(
    card: Document, table: Table, scores: list[Score], hits: list[list[bool]], best: int, missed: list[Score], cells: list[Cell]
) -> Finding:
    """The finding for scores that no row has together."""
    matched = [s for s in scores if s not in missed]
    complete = ended(card, table)
    names = ", ".join(s.cell.place for s in missed[:3])
    agreeing = [s for s in matched if _distinct(s, table)]
    only_loss = all(table.names[s.column] == "loss" for s in missed)
    agreement = (
        f"line {table.lines[best]} agrees in {len(matched)} of {len(scores)} scores; " if matched else "no row agrees in any score; "
    )
    pairs = [(s.cell.number, n) for s in missed if (n := table.number(best, s.column)) is not None]
    arithmetic = agreement + "; ".join(f"{a.text} against {b.text}" for a, b in pairs[:3])
    if matched and all(a.loose.meets(b.loose) and abs(a.value - b.value) <= max(a.step, b.step) for a, b in pairs):
        title = f"The final {names} differs from the row it repeats by one unit of the last digit."
        return finding(
            KIND, "warning", title, cells, arithmetic, ["one of the two is cut off, not rounded", "the model was evaluated again"]
        )
    if complete is None and not matched and all(_far_out(s, table) for s in scores):
        title = "The final scores are far outside the range of the results table."
        readings = ["scores of other data, another checkpoint or another scale"]
        return finding(KIND, "warning", title, cells, arithmetic, readings)
    if complete is not True and not (matched and agreeing and len(matched) > len(missed)):
        title = "The final scores are in no row of the table, which may stop before the end of training."
        readings = ["the last evaluation is not in the table", "the scores are of another checkpoint or other data"]
        return finding(KIND, "note", title, cells, arithmetic, readings)
    if only_loss and (card.says(MASKED) or (len(scores) == 1 and card.says(ENCODERS))):
        title = "The final loss is in no row; a masked language model draws new masks at each evaluation."
        return finding(KIND, "note", title, cells, arithmetic, ["evaluated again with other masks"])
    beyond = _beyond(missed, table)
    return finding(
        KIND,
        "error" if complete and _certain(table, scores, missed, agreeing, pairs, best) else "warning",
        f"The final {names} is in no row that has the other final scores."
        if matched
        else "The final scores are in no row of the complete results table.",
        cells,
        arithmetic + (f"; {beyond}" if beyond else ""),
        ["evaluated again: another checkpoint, other data or other decoding", "a row or score of another run"],
    )


def _certain(
    table: Table, scores: list[Score], missed: list[Score], agreeing: list[Score], pairs: list[tuple[Printed, Printed]], best: int
) -> bool:
    """Whether no other evaluation explains the difference: one row is surely the repeated one, and decoding plays no part."""
    if not any(abs(a.value - b.value) > max(abs(b.value) / 200, 2 * max(a.step, b.step)) for a, b in pairs):
        return False
    if all(table.names[s.column] == "loss" for s in missed):
        return bool(agreeing) and best == len(table.rows) - 1
    if all(GENERATED.search(table.names[s.column]) for s in missed):
        return False
    return any(table.names[s.column] == "loss" for s in agreeing) or len(agreeing) * 2 > len(scores)


def _distinct(score: Score, table: Table) -> bool:
    """Whether a score is unlikely to agree with a row by chance: it has four digits or more, and at most two rows have it."""
    number = score.cell.number
    same = sum(n is not None and agree(number, n) for n in (table.number(r, score.column) for r in range(len(table.rows))))
    return number.digits >= 4 and same <= 2


def _far_out(score: Score, table: Table) -> bool:
    """Whether a score lies a tenth or more beyond the whole column, as printed and as a percentage."""
    column = [n.as_share().value for r in range(len(table.rows)) if (n := table.number(r, score.column)) is not None]
    value = score.cell.number.as_share().value
    low, high = min(column) * Fraction(9, 10), max(column) * Fraction(11, 10)
    return bool(column) and len(column) > 4 and not any(low <= x <= high for x in (value, value / 100, value * 100))


def _beyond(missed: list[Score], table: Table) -> str:
    """The column's range in words, if a score lies outside it; otherwise empty."""
    for s in missed:
        column = [n.value for r in range(len(table.rows)) if (n := table.number(r, s.column)) is not None]
        if column and not min(column) <= s.cell.number.value <= max(column):
            return f"the column has {numeral(min(column))} to {numeral(max(column))}"
    return ""
