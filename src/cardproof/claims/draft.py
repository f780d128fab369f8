"""A draft of a claims file from any card: its numbers with their places, and the relations that a claims file can state."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import yaml

from cardproof.cards.audit_card import audit_document
from cardproof.cards.document import Document, read_card
from cardproof.cards.finding import Finding
from cardproof.cards.names import NOT_SCORES, metric, words
from cardproof.cards.numbers import Printed
from cardproof.cards.source import read_text
from cardproof.cards.tables import Cell
from cardproof.claims.claims_file import ClaimsFile, parse_claims, read_claims

HEAD = """# A draft, made from {card} by `cardproof draft`: check every line before it is used.
#
# - `kind`, `unit` and `text` are guesses. Write `proportion` where a number is k of n items, and its `n`.
# - Name the arms (the models that are compared), and the arm of each number.
# - Relations that the draft found are under `identities`; add those it could not find.
# - Remove what is not a claim. `cardproof audit --claims FILE` audits what is left.
"""
MOST_ROWS = 40
"""Rows of a table whose numbers become claims; of a training-results table only the last."""


@dataclass
class Drafted:
    """A claims file as data, and the claim of each cell."""

    claims: list[dict[str, Any]] = field(default_factory=list)
    identities: list[dict[str, Any]] = field(default_factory=list)
    ids: dict[tuple[int, str, str], str] = field(default_factory=dict)
    """(line, place, text) of a cell -> its claim."""
    used: Counter[str] = field(default_factory=Counter)


def draft(path: Path) -> dict[str, Any]:
    """The draft of a card's file as data, checked to be a valid claims file; CardproofError where the card cannot be read."""
    card = read_card(read_text(path))
    found = Drafted()
    for section, cell in cells_of(card):
        _claim(found, section, cell)
    for finding in audit_document(card, str(path)).findings:
        for cell in finding.used:
            # Some cells are computed from others, and some are already claims under another name.
            if _printed(cell)[0].lstrip("-") in card.lines[cell.line - 1] and _id(found, cell) is None:
                _claim(found, "card", cell)
        _identity(found, finding)
    raw = {"card": _title(card, path), "arms": [], "claims": found.claims, "identities": found.identities}
    parse_claims(raw, f"the draft of {path}")
    return raw


def to_yaml(raw: dict[str, Any], card: str) -> str:
    """A draft as the text of a claims file."""
    return HEAD.format(card=card) + yaml.safe_dump(raw, sort_keys=False, allow_unicode=True, width=140, default_flow_style=None)


def _title(card: Document, path: Path) -> str:
    return next((s.bare for s in card.sentences if s.is_heading and s.bare), path.stem)


# --- claims ----------------------------------------------------------------------------------------------------------------


def cells_of(card: Document) -> Iterator[tuple[str, Cell]]:
    """A card's numbers that can be claims, with the section each is in: front matter, lists, tables, sentences."""
    for m in card.front.metrics:
        yield "front_matter", Cell(m.line, f"front matter {m.name or m.type}", m.value)
    for block in card.blocks:
        for p in block.pairs:
            if p.number is not None and p.name != "seed":
                yield block.heading or "card", p.cell()
    for table in card.tables:
        rows = [len(table.rows) - 1] if table.is_results else range(min(len(table.rows), MOST_ROWS))
        for r in rows:
            for c in range(0 if len(table.rows) == 1 else 1, len(table.header)):
                if (n := table.leading(r, c)) is not None:
                    yield table.heading or "card", table.placed(r, c, n)
    for s in card.sentences:
        for cell in s.cells() if not s.is_heading else ():
            yield s.heading or "card", cell


def _key(cell: Cell) -> tuple[int, str, str]:
    return (cell.line, cell.place, cell.number.text)


def _slug(text: str, longest: int = 40) -> str:
    """A text as a part of an id."""
    found = re.sub(r"[^a-z0-9]+", "_", words(text)).strip("_")[:longest].strip("_")
    return found if found[:1].isalpha() else f"x{found}"


def _id(found: Drafted, cell: Cell) -> str | None:
    """The claim of a cell; of a number of a sentence, whatever it is called there."""
    named = [name for (line, _, text), name in found.ids.items() if (line, text) == (cell.line, cell.number.text)]
    return found.ids.get(_key(cell)) or (named[0] if len(named) == 1 else None)


def _claim(found: Drafted, section: str, cell: Cell) -> None:
    if _key(cell) in found.ids or not _plain(cell.number):
        return
    place = cell.place.strip("…").removeprefix("front matter ")
    base = f"{_slug(section, 24)}.{_slug(place)}"
    found.used[base] += 1
    name = base if found.used[base] == 1 else f"{base}_{found.used[base]}"
    found.ids[_key(cell)] = name
    value, unit = _printed(cell)
    found.claims.append(
        {
            "id": name,
            "kind": _kind(cell, unit),
            "text": cell.place.strip("…").strip() or cell.number.text,
            "value": value,
            "unit": unit,
            "where": {"section": _slug(section, 24), "place": f"line {cell.line}"},
        }
    )


def _plain(n: Printed) -> bool:
    """Whether a claims file can hold the number: decimal, of a size that can be written out."""
    return n.step >= Fraction(1, 10**20) and abs(n.value) < 10**15 and "e" not in n.text.lower().rstrip("xsme ") and "×" not in n.text


def _printed(cell: Cell) -> tuple[str, str]:
    """The value as a claims file writes it, and its unit."""
    n = cell.number
    digits = re.search(r"[-−]?[\d,]*\.?\d+", n.text)
    text = (digits.group() if digits else "0").replace("−", "-")
    text = f"0{text}" if text.startswith(".") else text
    if n.percent or n.unit == "points":
        return text, "percent"
    if n.unit == "M":
        return text, "million"
    if n.unit in {"K", "B", "T"}:
        return f"{float(n.value):.0f}", "count"
    label = words(cell.place.rpartition("/")[2])
    if "loss" in label:
        return text, "nats"
    if n.whole and n.value >= 0:
        return text, "count"
    return text, "share" if 0 <= n.value <= 1 and not NOT_SCORES.search(label) else "score"


def _kind(cell: Cell, unit: str) -> str:
    label = words(cell.place)
    if cell.number.value < 0 or cell.number.extra.get("sign") == "+":
        return "difference"
    if "loss" in label:
        return "loss"
    if "param" in label and cell.number.value > 1000:
        return "size"
    if unit == "count":
        return "count"
    name = metric(cell.place.rpartition("/")[2])
    # Whether a score is a share of items or a mean of other scores is for the reader of the draft to say.
    return "mean" if unit in {"share", "percent"} or name in {"accuracy", "f1", "wer"} else "setting"


# --- identities --------------------------------------------------------------------------------------------------------------


def _identity(found: Drafted, finding: Finding) -> None:
    """What a claims file can state of a relation between two or three drafted claims."""
    ids = [_id(found, c) for c in finding.used]
    if finding.kind in {"front_matter_and_text", "repeated"} and len(ids) >= 2 and ids[0] and ids[1] and ids[0] != ids[1]:
        for name, cell, other in ((ids[0], finding.used[0], finding.used[1]), (ids[1], finding.used[1], finding.used[0])):
            # One of the two is a percentage without its sign.
            if cell.number.value > 1 >= other.number.value and not cell.number.unit:
                next(c for c in found.claims if c["id"] == name)["unit"] = "percent"
        _add(found, "same", first=ids[0], second=ids[1])
    elif finding.kind == "difference" and len(ids) == 3 and all(ids) and len(set(ids)) == 3 and not _relative(finding):
        _add(found, "difference", minuend=ids[1], subtrahend=ids[0], difference=ids[2])
        next(c for c in found.claims if c["id"] == ids[2])["kind"] = "difference"
    elif finding.kind == "share_of_n":
        for share, n in zip(ids[::2], finding.used[1::2], strict=False):
            if share and n.number.whole:
                claim = next(c for c in found.claims if c["id"] == share)
                claim |= {"kind": "proportion", "n": int(n.number.value)}


def _relative(finding: Finding) -> bool:
    """Whether an agreeing change is one relative to the first number, which a claims file cannot state."""
    a, b, change = (c.number for c in finding.used)
    return finding.severity == "ok" and abs(abs(b.value - a.value) - abs(change.value)) > 2 * max(a.step, b.step, change.step)


def _add(found: Drafted, rule: str, **named: str | None) -> None:
    found.identities.append({"rule": rule, "id": f"{rule}_{len(found.identities) + 1}", **named})


# --- comparison ----------------------------------------------------------------------------------------------------------------


def compare(raw: dict[str, Any], claims_path: Path) -> list[str]:
    """The numbers that a draft has and a claims file does not, and the reverse: one sentence each, empty where they agree."""
    return differences(raw, read_claims(claims_path))


def differences(raw: dict[str, Any], file: ClaimsFile) -> list[str]:
    """`compare`, with the claims file read."""
    drafted = Counter(str(c["value"]).replace(",", "") for c in raw["claims"])
    held = Counter(v.replace(",", "") for c in file.values().values() for v in (c.value, c.rollouts) if v is not None)
    places: dict[str, list[str]] = {}
    for claim in raw["claims"]:
        places.setdefault(str(claim["value"]).replace(",", ""), []).append(claim["where"]["place"])
    found = [f"The card prints {n} ({', '.join(places[n][:3])}), which no claim holds." for n in drafted if n not in held]
    return found + [f"A claim holds {n}, which the draft did not find on the card." for n in held if n not in drafted]
