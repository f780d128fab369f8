"""Two runs side by side, as Markdown and as a page."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from cardproof.errors import shown
from cardproof.evaluation.printed import DASH, interval, number
from cardproof.evaluation.two_runs import AXIS_TITLES, AxisOfTwo, ItemOfTwo
from cardproof.files import write_text
from cardproof.pages.formats import cell, moved, p_value, setting, words
from cardproof.pages.report import SYNTHETIC, environment, filled
from cardproof.pages.two_runs import Difference, Side, TwoRuns, VerdictsOfTwo
from cardproof.records import Estimate

MOST_ITEMS = 40
"""Most items that Markdown lists, those that changed most; the page and JSON have all."""
LONGEST = 120
"""Longest question in a list of items, in characters."""
NO_VERDICT = "no verdict"


class ChangedItem(NamedTuple):
    """One item under one condition, for one arm: all axes that changed."""

    condition: str
    item: int | str
    question: str
    arm: str
    changes: list[str]
    """`AXIS FROM → TO`, in words."""
    most: float
    """The largest change; 1 where the item counts in one run alone."""


def markdown(found: TwoRuns) -> str:
    """The whole comparison as Markdown. Whatever a run's files say is escaped."""
    lines = [f"# {_told(heading(found))}", ""]
    if any(side.synthetic for side in found.runs):
        lines += [f"> {SYNTHETIC}", ""]
    for obstacle in found.not_comparable:
        lines += [f"**Not comparable:** {_told(obstacle.sentence)}{_about(obstacle.axes)}", ""]
    lines += [f"- {_told(note)}" for note in found.notes]
    lines += ["", _told(summary(found)), ""]
    lines += _table(("run", "name", "scale", "chain of evidence", "digest"), (_side_row(*named) for named in sides(found)))
    for label, side in sides(found):
        lines += [f"**{label}:** {_told(side.answer)}", ""] if side.answer else []
    lines += ["## Verdicts", "", f"{_told(verdicts_said(found.verdicts))}", ""]
    heads = ("", "claim", "printed", "A", "B", "verdict in A", "verdict in B")
    lines += _table(heads, map(_verdict_row, changed_first(found.verdicts))) if found.verdicts else []
    lines += ["## Axes", "", AXES_SAID, ""]
    for condition, rows in by_condition(found.axes):
        lines += [f"### {_told(condition)}", ""]
        lines += _table(("arm", "axis", "A", "B", "B − A", "over shared items", "n", "p", "items changed"), (axis_row(row) for row in rows))
    lines += _items(found)
    for title, empty, differences in parts(found):
        lines += [f"## {title}", ""]
        lines += _table(("", "A", "B"), ((d.name, plain(d.first), plain(d.second)) for d in differences)) if differences else [empty, ""]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def write_page(found: TwoRuns, out: Path, templates: Path) -> None:
    """Write the comparison as one HTML file that needs no network and no script."""
    folder = templates / "page"
    env = environment(folder)
    env.filters |= {f.__name__: f for f in (verdict, axis_row, plain, shown, compact)}
    context = {
        "found": found,
        "heading": heading(found),
        "summary": summary(found),
        "sides": list(sides(found)),
        "verdicts_said": verdicts_said(found.verdicts),
        "verdicts": changed_first(found.verdicts),
        "conditions": by_condition(found.axes),
        "axes_said": AXES_SAID,
        "about": _about,
        "items_said": items_said(found),
        "items": [(condition, list(rows)) for condition, rows in groupby(changed_items(found.items), key=lambda i: i.condition)],
        "parts": parts(found),
    }
    write_text(out, filled(env, folder, "two_runs.html.j2", context))


# --- what both say ----------------------------------------------------------------------------------------------------

AXES_SAID = (
    "A and B are each over the run's own items. The difference over shared items is paired: only items that both runs asked and count. "
    "All axes of an arm and condition are one family under Holm's correction, and so are the intervals."
)


def heading(found: TwoRuns) -> str:
    """The title."""
    first, second = found.runs
    return f"Run A ({first.name}) and run B ({second.name})"


def summary(found: TwoRuns) -> str:
    """What differs, in a sentence."""
    if found.same:
        return "Both runs have the same results, byte by byte: the digests of their chains are equal."
    changed = sum(row.changed for row in found.verdicts)
    settled = [row for row in found.axes if row.paired and row.paired.p_holm is not None and row.paired.p_holm < 1 - row.paired.level]
    sentences = [
        f"{changed} of {len(found.verdicts)} verdicts changed" if found.verdicts else "No verdicts",
        f"{len(settled)} of {sum(row.paired is not None for row in found.axes)} axes differ over the shared items"
        if any(row.paired for row in found.axes)
        else "no axis could be compared over shared items",
        _count(len(changed_items(found.items)), "answer has another value", "answers have another value")
        if found.items
        else "no item changed",
        f"{_count(len(found.settings), 'setting differs', 'settings differ')}",
        f"{_count(len(found.packages), 'package or version differs', 'packages or versions differ')}",
    ]
    return "; ".join(sentences) + "."


def sides(found: TwoRuns) -> Iterable[tuple[str, Side]]:
    """The runs with their letters."""
    return zip(("A", "B"), found.runs, strict=True)


def verdicts_said(rows: Sequence[VerdictsOfTwo]) -> str:
    """How many verdicts changed, and from what to what."""
    moves = Counter((verdict(row.first_verdict), verdict(row.second_verdict)) for row in rows if row.changed)
    if not rows:
        return "Neither run has verdicts."
    if not moves:
        return f"None of {len(rows)} verdicts changed."
    listed = ", ".join(f"{count} from {one} to {other}" for (one, other), count in moves.most_common())
    return f"{sum(moves.values())} of {len(rows)} verdicts changed: {listed}."


def verdict(name: str | None) -> str:
    """A verdict in words."""
    return NO_VERDICT if name is None else words(name)


def changed_first(rows: Sequence[VerdictsOfTwo]) -> list[VerdictsOfTwo]:
    """The claims whose verdict changed, then the others, each in the order of the card."""
    return sorted(rows, key=lambda row: not row.changed)


def by_condition(rows: Sequence[AxisOfTwo]) -> list[tuple[str, list[AxisOfTwo]]]:
    """The rows of each condition."""
    return [(condition, list(group)) for condition, group in groupby(rows, key=lambda row: row.condition)]


def axis_row(row: AxisOfTwo) -> tuple[str, ...]:
    """Arm, axis, both values, their difference, the paired difference with n and p, and how many items changed."""
    paired = row.paired
    apart = DASH if row.difference is None else f"{row.difference:+.3f}"
    over = (DASH, "", "") if paired is None else (moved(paired), str(paired.n), p_value(paired).removeprefix("p = ").replace("p <", "<"))
    changed = DASH if row.difference is None or not row.items else f"{row.changed} of {row.items}"
    return (row.arm, AXIS_TITLES[row.axis], _estimate(row.first), _estimate(row.second), apart, *over, changed)


def items_said(found: TwoRuns) -> str:
    """How many items changed."""
    if not found.items:
        return "No shared item has another value." if any(row.paired for row in found.axes) else "Nothing to compare item by item."
    listed = changed_items(found.items)
    asked = sum(rows[0].items for _, rows in _by_arm(found.axes) if rows)
    return (
        f"{len(listed)} of {asked} answers (an item under a condition, by one arm) have another value. Values are those of the candidates "
        "that best-of-N picks; an item that the arm refuses does not count."
    )


def changed_items(items: Iterable[ItemOfTwo]) -> list[ChangedItem]:
    """One entry for each item, condition and arm, in the order of conditions and arms."""
    entries: dict[tuple[str, str, int | str], ChangedItem] = {}
    for i in items:
        empty = ChangedItem(i.condition, i.item, i.question, i.arm, [], 0.0)
        entry = entries.get((i.condition, i.arm, i.item), empty)
        size = 1.0 if i.first is None or i.second is None else abs(i.second - i.first)
        change = f"{AXIS_TITLES[i.axis]} {_item_value(i.first)} → {_item_value(i.second)}"
        entries[i.condition, i.arm, i.item] = entry._replace(changes=[*entry.changes, change], most=max(entry.most, size))
    return list(entries.values())


def parts(found: TwoRuns) -> list[tuple[str, str, list[Difference]]]:
    """Title, what to say if nothing differs, and what does."""
    return [
        ("Settings", "The settings are the same.", found.settings),
        ("Made from", "Data, models and adapters are the same, as far as records tell.", found.made_from),
        ("Packages", "The records name the same versions.", found.packages),
        ("Code of the steps", "Every step of both runs ran the same code, as far as records tell.", found.code),
    ]


def plain(value: Any) -> str:
    """A value that differs, on one line; a digest by its beginning."""
    text = value if isinstance(value, str) else setting(value)
    return f"{text[:12]}…" if len(text) in (40, 64) and not text.strip("0123456789abcdef") else shown(text)


def compact(question: str) -> str:
    """A question as a list shows it."""
    flat = " ".join(question.split())
    return shown(flat if len(flat) <= LONGEST else f"{flat[: LONGEST - 1]}…")


def _about(axes: Sequence[str]) -> str:
    """The axes that a reason is about, as words after its sentence; empty for all."""
    return "" if set(axes) == set(AXIS_TITLES) else f" This is about {' and '.join(AXIS_TITLES[axis] for axis in axes)}."


def _estimate(e: Estimate | None) -> str:
    return DASH if e is None or e.value is None else f"{number(e.value)} {interval(e.low, e.high)}, n = {e.n}"


def _item_value(value: float | None) -> str:
    return "not counted" if value is None else f"{value:.3f}".rstrip("0").rstrip(".")


def _by_arm(rows: Sequence[AxisOfTwo]) -> list[tuple[tuple[str, str], list[AxisOfTwo]]]:
    named = groupby((row for row in rows if row.paired), key=lambda row: (row.condition, row.arm))
    return [(key, list(group)) for key, group in named]


def _count(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


# --- Markdown ---------------------------------------------------------------------------------------------------------


def _items(found: TwoRuns) -> list[str]:
    listed = changed_items(found.items)
    most = sorted(listed, key=lambda i: -i.most)[:MOST_ITEMS]
    kept = [i for i in listed if i in most]
    lines = ["## Items that changed", "", items_said(found), ""]
    if len(kept) < len(listed):
        lines += [f"The {len(kept)} that changed most; `--html FILE` and `--format json` have all.", ""]
    rows = ((i.condition, i.arm, i.item, compact(i.question), "; ".join(i.changes)) for i in kept)
    return [*lines, *(_table(("condition", "arm", "item", "question", "from → to"), rows) if kept else [])]


def _side_row(label: str, side: Side) -> tuple[str, ...]:
    chain = side.chain if side.chain != "whole" else f"whole, {side.results} results"
    return (label, side.name, side.scale, chain, plain(side.digest) if side.digest else DASH)


def _verdict_row(row: VerdictsOfTwo) -> tuple[str, ...]:
    changed = "changed" if row.changed else ""
    return (changed, row.text, row.printed, row.first, row.second, verdict(row.first_verdict), verdict(row.second_verdict))


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(f"| {' | '.join(map(_told, row))} |" for row in rows), ""]


def _told(text: object) -> str:
    """Text from a run's files for Markdown on a terminal: on one line, nothing in it read as markup or by the terminal."""
    return "".join(ch if ch.isprintable() else shown(ch) for ch in cell(text))
