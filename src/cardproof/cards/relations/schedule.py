"""Epochs and steps: steps per epoch in a results table, its last row and the settings, and stated sizes of the data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor

from cardproof.cards.document import Block, Document
from cardproof.cards.finding import Finding, finding
from cardproof.cards.intervals import ExactInterval, numeral, rounded, span
from cardproof.cards.names import words
from cardproof.cards.numbers import numbers
from cardproof.cards.tables import Cell, Table

STEPS = "steps_per_epoch"
END = "end_of_training"
DATA = "steps_and_data"
TOTAL = "total_steps"


def rows_of(table: Table) -> list[tuple[Cell, Cell]]:
    """Epoch and step of every row that prints both."""
    plain = [words(h) for h in table.header]
    if plain.count("epoch") != 1 or plain.count("step") != 1:
        return []
    e, s = plain.index("epoch"), plain.index("step")
    rows = []
    for r in range(len(table.rows)):
        epoch, step = table.number(r, e), table.number(r, s)
        if epoch is not None and step is not None and step.whole and epoch.value >= 0:
            rows.append((table.placed(r, e, epoch), table.placed(r, s, step)))
    return rows


def finest(cells: list[Cell]) -> Fraction:
    """One unit of the column's last digit: zeros at the end are not printed, so the cell with most decimals decides."""
    return min(c.number.step for c in cells)


def per_epoch(rows: list[tuple[Cell, Cell]]) -> ExactInterval | None:
    """The numbers of steps per epoch that every row allows, its epoch rounded or cut off; None if there is none.

    An epoch of a whole number of updates may end a fraction short (`0.9994`), since a last, smaller accumulation is dropped: each row may
    lag by one step an epoch.
    """
    unit = finest([e for e, _ in rows])
    low, high = Fraction(0), Fraction(10**12)
    for epoch, step in rows:
        e, s = epoch.number.value, step.number.value
        if s == 0:
            continue
        top, bottom = e + unit, max(e - unit, Fraction(0))
        low = max(low, s / top)
        if bottom > 0:
            high = min(high, (s + ceil(top)) / bottom)
    return ExactInterval(low, high) if low <= high else None


def steps(card: Document) -> Iterator[Finding]:
    """Check the steps per epoch row by row, and name a single row that contradicts all others."""
    for table in card.results:
        rows = rows_of(table)
        if len(rows) < 3:
            continue
        uneven = _uneven(rows)
        if uneven is not None:
            yield uneven
            continue
        interval = per_epoch(rows)
        if interval:
            yield finding(
                STEPS, "ok", f"Every row fits {span(interval, 1)} steps per epoch.", [rows[0][1], rows[-1][1]], f"{len(rows)} rows"
            )
            continue
        falling = [i for i in range(1, len(rows)) if rows[i][1].number.value < rows[i - 1][1].number.value]
        odd = _odd_ones(rows)
        # With a budget of steps, data are often streamed, and the epoch is only an estimate.
        block = settings_of(card, table)
        streamed = block is None or bool({"training_steps", "max_steps"} & set(block.numbers))
        if odd and not streamed and len(rows) >= 4 and len(falling) <= 1:
            epoch, step = rows[odd[0]]
            others = per_epoch([r for i, r in enumerate(rows) if i not in odd])
            assert others
            expected = epoch.number.value * others.low
            yield finding(
                STEPS,
                "warning",
                f"Step {step.number.text} at epoch {epoch.number.text} does not fit the steps per epoch of all other rows.",
                [epoch, step],
                f"the other {len(rows) - len(odd)} rows give {span(others, 1)} steps per epoch, so about {numeral(expected, 0)} here",
                [f"the step is about {numeral(expected, 0)}", f"the epoch is {numeral(step.number.value / others.low, 2)}"],
            )
        else:
            yield finding(
                STEPS,
                "note",
                "The rows do not share one number of steps per epoch.",
                [rows[0][0], rows[0][1], rows[-1][0], rows[-1][1]],
                f"{len(rows)} rows",
                ["a resumed run", "streamed data, whose epochs are only estimated", "epochs printed with too few digits"],
            )


def _uneven(rows: list[tuple[Cell, Cell]]) -> Finding | None:
    """A single row whose step lies between those of its neighbours, but not halfway, while its epoch and all other rows do."""
    if len(rows) < 5:
        return None
    epochs, steps = [e.number.value for e, _ in rows], [s.number.value for _, s in rows]
    gaps = [b - a for a, b in pairwise(steps)]
    usual = sorted(gaps)[len(gaps) // 2]
    odd = [
        i for i in range(1, len(rows) - 1) if gaps[i - 1] != usual and gaps[i - 1] + gaps[i] == 2 * usual and 0 < gaps[i - 1] < 2 * usual
    ]
    if len(odd) != 1 or sum(g != usual for g in gaps) != 2:
        return None
    (i,) = odd
    unit = finest([e for e, _ in rows])
    off = abs(epochs[i] - (epochs[i - 1] + epochs[i + 1]) / 2)
    moved = abs(gaps[i - 1] - usual) / usual * (epochs[i + 1] - epochs[i - 1]) / 2
    # Epochs of dropped accumulations are uneven by up to a step; the moved step must be far beyond that.
    if moved <= unit or off * 3 > moved + 2 * unit:
        return None
    epoch, step = rows[i]
    expected = steps[i - 1] + usual
    return finding(
        STEPS,
        "warning",
        f"Step {step.number.text} at epoch {epoch.number.text} breaks the even spacing of all other rows.",
        [rows[i - 1][1], epoch, step, rows[i + 1][1]],
        f"every other row follows after {numeral(usual)} steps, so {numeral(expected)} here",
        [f"the step is {numeral(expected)}", "an evaluation out of turn, its epoch printed wrong"],
    )


def _odd_ones(rows: list[tuple[Cell, Cell]]) -> list[int]:
    """The row without which all others fit one number of steps per epoch; empty if there is none."""
    for i in range(len(rows)):
        rest = rows[:i] + rows[i + 1 :]
        if per_epoch(rest):
            return [i]
    return []


def settings_of(card: Document, table: Table) -> Block | None:
    """The settings nearest above a results table."""
    above = [b for b in card.settings if b.pairs[0].line < table.head_line and b.heading != "front matter"]
    return above[-1] if above else None


def ended(card: Document, table: Table) -> bool | None:
    """Whether the table's last row is the end of training: True, False, or None if the settings do not say."""
    block, rows = settings_of(card, table), rows_of(table)
    if block is None or not rows:
        return None
    known = block.numbers
    last_epoch, last_step = rows[-1][0].number.value, rows[-1][1].number.value
    if "training_steps" in known or "max_steps" in known:
        whole = (known.get("training_steps") or known["max_steps"]).cell().number.value
        return last_step == whole if last_step <= whole else None
    if "num_epochs" not in known:
        return None
    planned = known["num_epochs"].cell().number.value
    if len(rows) == planned and last_step == planned * rows[0][1].number.value:
        return True  # one row per epoch; the last epoch may be a little short
    interval = per_epoch(rows) or ExactInterval(
        last_step / max(last_epoch, Fraction(1, 100)), last_step / max(last_epoch, Fraction(1, 100))
    )
    spacing = last_step - rows[-2][1].number.value if len(rows) > 1 else last_step
    left = interval.low * planned - last_step
    # With one row per epoch, training may end a few steps early; otherwise it ends after the last multiple of the evaluation interval.
    return left <= max(interval.low / 50, Fraction(2)) and left < spacing


def end(card: Document) -> Iterator[Finding]:
    """Check that the last row does not lie beyond the epochs or steps of the settings."""
    for table in card.results:
        block, rows = settings_of(card, table), rows_of(table)
        if block is None or not rows or len(card.results) > len(card.settings):
            continue
        known = block.numbers
        epoch, step = rows[-1]
        planned = known.get("num_epochs")
        budget = known.get("training_steps") or known.get("max_steps")
        if budget is not None and budget.number is not None and budget.number.whole:
            late = step.number.value > budget.number.value
            yield finding(
                END,
                "error" if late else "ok",
                f"The table goes up to step {step.number.text}, {'beyond' if late else 'within'} "
                f"the {budget.number.text} steps of the settings.",
                [step, budget.cell()],
                f"{step.number.text} {'>' if late else '<='} {budget.number.text}",
                ["a run continued with other settings", "another number of steps"] if late else [],
            )
        elif planned is not None and planned.number is not None and planned.number.value > 0:
            # Counting in steps overshoots by less than one step and one unit of the epoch's last digit.
            unit = finest([e for e, _ in rows])
            slack = unit + epoch.number.value / max(step.number.value, Fraction(1))
            late = epoch.number.value > planned.number.value + slack
            certain = epoch.number.value > planned.number.value * Fraction(21, 20) + slack
            yield finding(
                END,
                "error" if certain else "warning" if late else "ok",
                f"The table's last row is epoch {epoch.number.text}, {'beyond' if late else 'within'} "
                f"the {planned.number.text} epochs of the settings.",
                [epoch, planned.cell()],
                f"{epoch.number.text} {'>' if late else '<='} {planned.number.text}",
                ["a run continued with other settings", "another number of epochs"] if late else [],
            )


STATED = re.compile(
    r"(?P<n>\d{1,3}(?:,\d{3})+|\d{2,7}) (?:[a-z-]+ ){0,2}(?:training|train) "
    r"(?:examples|samples|images|sentences|pairs|questions|items|rows)",
    re.I,
)
PER_CLASS = re.compile(
    r"(?P<n>\d{1,3}(?:,\d{3})+|\d{2,6})\s+(?:[a-z]+ ){1,5}?(?:of each|per|for each|from each) (?:class|category|label)", re.I
)
CLASSES = re.compile(r"(?:\b(?P<n>\d{1,4}) (?:[a-z]+ ){0,2}(?:classes|categories|labels)\b)|\bknows (?P<m>\d{1,4})\b", re.I)


def class_counts(card: Document) -> list[int]:
    """The numbers of classes that a card mentions."""
    return sorted({int(m["n"] or m["m"]) for s in card.sentences for m in CLASSES.finditer(s.bare)} - {0})


def stated_sizes(card: Document, side: str) -> list[tuple[Cell, int, str]]:
    """Sizes of the training (`train`) or validation (`val`) data that the card states, directly or per class."""
    sizes = []
    classes = class_counts(card)
    for s in card.sentences:
        for m in PER_CLASS.finditer(s.bare):
            before = s.bare[: m.end()].lower()
            last = max((before.rfind(w), k) for k, ws in (("train", ("train",)), ("val", ("val", "test", "held"))) for w in ws)
            if last[0] < 0 or last[1] != side:
                continue
            number = next(iter(numbers(m["n"])), None)
            if number and classes:
                sizes += [(Cell(s.line, m.group()[:40], number), int(number.value) * c, f"{m['n']} x {c} classes") for c in classes]
        if side == "train":
            for m in STATED.finditer(s.bare):
                number = next(iter(numbers(m["n"])), None)
                if number and number.whole:
                    sizes.append((Cell(s.line, m.group()[:40], number), int(number.value), m["n"]))
    return sizes


def data(card: Document) -> Iterator[Finding]:
    """Compare steps per epoch x batch size with a stated number of training examples."""
    if len(card.results) != 1:
        return
    table = card.results[0]
    block, rows = settings_of(card, table), rows_of(table)
    stated = list({n: (c, n, how) for c, n, how in stated_sizes(card, "train")}.values())
    if block is None or len(rows) < 2 or not stated:
        return
    known = block.numbers
    size = known.get("total_train_batch_size") or known.get("train_batch_size")
    interval = per_epoch(rows)
    if size is None or interval is None or size.number is None or not size.number.whole:
        return
    b = int(size.number.value)
    # Rounding alone, without the slack for dropped accumulations: a stated size must give a number of steps inside.
    unit = finest([e for e, _ in rows])
    low = max(s.number.value / (e.number.value + unit) for e, s in rows)
    high = min((s.number.value + 1) / max(e.number.value - unit, unit) for e, s in rows)
    exact = ExactInterval(low, high)
    fits = [n for _, n, _ in stated if any(exact.holds(k) for k in {Fraction(ceil(n / b)), Fraction(n // b), Fraction(n, b)})]
    cells = [c for c, _, _ in stated[:2]] + [size.cell(), rows[-1][1]]
    counted = "; ".join(f"{how} / {b} = {rounded(Fraction(n, b), 1)} steps" for _, n, how in stated[:3])
    most = f"at most {numeral(Fraction(floor(high * b)))} examples"
    yield finding(
        DATA,
        "ok" if fits else "warning",
        "The steps of an epoch fit the stated training examples."
        if fits
        else "The steps of an epoch do not fit the stated number of training examples.",
        cells,
        f"{counted}; the table shows {span(exact, 1)} steps per epoch, so {most} at batch {b}",
        [] if fits else ["part of the examples is not used", "another batch size, or several devices", "another number of examples"],
    )


STEP_COUNT = re.compile(
    r"(?P<n>\d{1,3}(?:,\d{3})+|\d{2,8}) (?:[a-z]+ )?"
    r"(?:training|train|optimization|optimisation|optimizer|optimiser|gradient|update) steps",
    re.I,
)
SUMMED = re.compile(
    r"(?P<n>\d{1,3}(?:,\d{3})+|\d{3,8}) (?:cumulative|total|overall)(?: [a-z]+){0,2} steps|"
    r"(?:total|cumulative)(?: [a-z]+){0,3} steps\D{0,12}(?P<m>\d{1,3}(?:,\d{3})+|\d{3,8})",
    re.I,
)
PART = re.compile(r"\((?P<n>\d{1,3}(?:,\d{3})+|\d{2,8}) (?:[a-z]+ )?steps\)", re.I)


def totals(card: Document) -> Iterator[Finding]:
    """Compare stated numbers of steps with each other, and a stated total with the phases of a table."""
    stated = [(s, m) for s in card.sentences for m in STEP_COUNT.finditer(s.bare) if "warm" not in s.bare.lower()]
    cells = [Cell(s.line, m.group(), next(iter(numbers(m["n"])))) for s, m in stated]
    values = {c.number.value for c in cells}
    if len(cells) > 1 and not card.says(r"\bphases?\b|\bstages?\b|\bround \d"):
        same = len(values) == 1
        yield finding(
            TOTAL,
            "ok" if same else "warning",
            "The card states one number of training steps." if same else "The card states its training steps with different numbers.",
            cells[:4],
            " and ".join(c.number.text for c in cells[:4]),
            [] if same else ["numbers of different runs", "one of them is of another stage"],
        )
    for s in card.sentences:
        for m in SUMMED.finditer(s.bare):
            whole = next(iter(numbers(m["n"] or m["m"])))
            for table in card.tables:
                parts = [
                    Cell(line, text.group(), next(iter(numbers(text["n"]))))
                    for row, line in zip(table.rows, table.lines, strict=True)
                    for text in [PART.search(" ".join(row))]
                    if text
                ]
                if len(parts) < 2 or len(parts) != len(table.rows):
                    continue
                added = sum((p.number.value for p in parts), Fraction(0))
                good = added == whole.value
                yield finding(
                    TOTAL,
                    "ok" if good else "warning",
                    f"The phases make {numeral(added)} steps{'' if good else f', not {whole.text}'}.",
                    [*parts, Cell(s.line, m.group()[:40], whole)],
                    f"{' + '.join(p.number.text for p in parts)} = {numeral(added)}, printed {whole.text}",
                    [] if good else [f"the total is {numeral(added)}", "one phase has another number of steps"],
                )
