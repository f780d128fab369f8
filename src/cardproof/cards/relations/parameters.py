"""Trainable, base and total parameters: peft's line, and the same written by hand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

from cardproof.cards.document import Document
from cardproof.cards.finding import Finding, finding
from cardproof.cards.intervals import ExactInterval, exactly, numeral, rounded
from cardproof.cards.names import words
from cardproof.cards.numbers import Printed, numbers
from cardproof.cards.tables import Cell

KIND = "parameters"
PEFT = re.compile(
    r"trainable(?: params| parameters|)\s?:\s?(?P<a>[\d,._]+[KMB]?)\s?\|\|\s?"
    r"all params\s?:\s?(?P<b>[\d,._]+[KMB]?)\s?\|\|\s?trainable\s?%\s?:?\s?(?P<c>[\d.]+)",
    re.I,
)


def parameters(card: Document) -> Iterator[Finding]:
    """Check peft's lines, and lists or tables that print a trainable and a base or total number."""
    for i, line in enumerate(card.lines, 1):
        if "trainable" in line.lower() and "||" in line and (m := PEFT.search(line)):
            a, b, c = (next(iter(numbers(m[k].replace("_", ""))), None) for k in "abc")
            if a and b and c and b.value > 0:
                yield _share(Cell(i, "trainable params", a), [("all params", Cell(i, "all params", b))], Cell(i, "trainable%", c), True)
    yield from _by_hand(card)
    yield from _of_stated_base(card)


OF_BASE = re.compile(r"^(?P<a>[\d,.]+\s?[KMB]?) \(~?(?P<c>[\d.]+)% of (?:the |its |all )?(?P<b>[\d,.]+\s?[KMB])\b", re.I)


def _of_stated_base(card: Document) -> Iterator[Finding]:
    """`Trainable parameters: 2,179,072 (~0.14% of the 1.54B base)`."""
    for block in card.blocks:
        for p in block.pairs:
            m = OF_BASE.match(p.text) if "param" in p.label.lower() else None
            a, b, c = (next(iter(numbers(m[k])), None) for k in "abc") if m else (None, None, None)
            if a and b and c and b.value > 0:
                yield _share(Cell(p.line, p.label, a), [("base", Cell(p.line, "base", b))], Cell(p.line, "share", c), False)


def _share(part: Cell, wholes: list[tuple[str, Cell]], share: Cell, certain: bool) -> Finding:
    possible = {name: q * exactly(100) for name, w in wholes if (q := part.number.loose.over(w.number.loose)) is not None}
    good = [name for name, q in possible.items() if q.meets(share.number.loose)]
    name, first = next(iter(possible.items()), ("", ExactInterval(Fraction(0), Fraction(0))))
    return finding(
        KIND,
        "ok" if good else "error" if certain else "warning",
        f"{share.number.text}{'' if share.number.percent else '%'} {'is' if good else 'is not'} the share of the trainable parameters.",
        [part, *[w for _, w in wholes], share],
        f"100 x {part.number.text} / {name} {wholes[0][1].number.text} = {rounded(first.low, 4)}, printed {share.number.text}"
        + ("" if not good or good[0] == name else f"; it is of the {good[0]}"),
        [] if good else [f"the share is {rounded(first.low, share.number.places)}%", "the counts are of another adapter or base"],
    )


def _by_hand(card: Document) -> Iterator[Finding]:
    for rows in card.labelled:
        roles: dict[str, Cell] = {}
        share = None
        for label, text, line in rows:
            plain = words(label)
            if "param" not in plain:
                continue
            own = list(numbers(text))
            if not own or own[0].value < 1000 or own[0].percent:
                if own and own[0].percent and "trainable" in plain:
                    share = Cell(line, label, own[0])
                continue
            role = (
                "trainable"
                if "trainable" in plain
                else "total"
                if re.search(r"\btotal\b|\ball\b", plain)
                else "base"
                if re.search(r"\bbase\b|\bfrozen\b", plain)
                else ""
            )
            if role:
                roles[role] = Cell(line, label, own[0])
            if role == "trainable" and len(own) > 1 and own[1].percent:
                share = Cell(line, label, own[1])
        if "trainable" not in roles:
            continue
        if "base" in roles and "total" in roles:
            yield _sum(roles)
        wholes: list[tuple[str, Cell]] = [(k, roles[k]) for k in ("total", "base") if k in roles]
        if "base" in roles and "total" not in roles:
            t, b = roles["trainable"].number, roles["base"].number
            both = Printed(f"{numeral(t.value + b.value)}", t.value + b.value, max(t.step, b.step), digits=9)
            wholes.append(("total", Cell(roles["base"].line, "base and trainable", both)))
        if share is not None and wholes:
            yield _share(roles["trainable"], wholes, share, "total" in roles)


def _sum(roles: dict[str, Cell]) -> Finding:
    t, b, w = (roles[k] for k in ("trainable", "base", "total"))
    added = t.number.loose + b.number.loose
    good = added.meets(w.number.loose) or b.number.loose.meets(w.number.loose)
    return finding(
        KIND,
        "ok" if good else "error" if t.number.whole and b.number.whole and w.number.whole else "warning",
        f"Base and trainable parameters {'add' if good else 'do not add'} up to the total.",
        [b, t, w],
        f"{b.number.text} + {t.number.text} = {numeral(b.number.value + t.number.value)}, printed {w.number.text}",
        [] if good else [f"the total is {numeral(b.number.value + t.number.value)}", "one of the counts is of another model"],
    )
