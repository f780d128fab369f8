"""A recipe written by hand: training examples, batch, epochs and optimizer steps in one list or table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import ceil

from cardproof.cards.document import Document
from cardproof.cards.finding import Finding, finding
from cardproof.cards.names import words
from cardproof.cards.numbers import numbers
from cardproof.cards.tables import Cell

KIND = "optimizer_steps"
ROLES = {
    "examples": re.compile(r"(?:number of )?(?:sft |train(?:ing)? )(?:rows|examples|samples|pairs)|(?:training )?(?:set|data) size"),
    "batch": re.compile(r"(?:effective|total|global)(?: train)? batch(?: size)?"),
    "epochs": re.compile(r"(?:num(?:ber of)? |training )?epochs"),
    "steps": re.compile(r"(?:total )?(?:optimi[sz]er|optimi[sz]ation|training|gradient) steps|total steps"),
}
ONE_PASS = re.compile(r"\b(?:one|a single|1) (?:complete |full )?(?:corpus |data )?(?:pass|epoch)\b", re.IGNORECASE)


def recipe(card: Document) -> Iterator[Finding]:
    """Check that steps = examples / effective batch x epochs, with the last batch kept or dropped, per epoch or over all epochs."""
    for rows in card.labelled:
        roles: dict[str, Cell] = {}
        once = any(ONE_PASS.search(text) for _, text, _ in rows)
        for label, text, line in rows:
            role = next((r for r, pattern in ROLES.items() if pattern.fullmatch(words(label))), None)
            number = next(iter(numbers(text)), None)
            if role and number is not None and number.whole and number.value > 0 and role not in roles:
                roles[role] = Cell(line, label, number)
        if {"examples", "batch", "steps"} <= roles.keys() and ("epochs" in roles or once):
            yield _judged(roles)


def _judged(roles: dict[str, Cell]) -> Finding:
    e, b, s = (int(roles[k].number.value) for k in ("examples", "batch", "steps"))
    p = int(roles["epochs"].number.value) if "epochs" in roles else 1
    possible = {ceil(e / b) * p, (e // b) * p, ceil(e * p / b), e * p // b}
    good = s in possible
    return finding(
        KIND,
        "ok" if good else "warning",
        f"The recipe makes {ceil(e / b) * p:,} optimizer steps{'' if good else f', not {s:,}'}.",
        list(roles.values()),
        f"ceil({e:,} / {b:,}) x {p} = {ceil(e / b) * p:,}, printed {s:,}",
        [] if good else ["another batch size, number of epochs or number of examples", "training stopped early"],
    )
