"""What an audit of a card reports: one relation between cells of the card, its arithmetic, and readings that would resolve it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal

from cardproof.cards.tables import Cell

Severity = Literal["error", "warning", "note", "ok"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note", "ok")
LONGEST = 600
"""Most characters of a whole finding."""


@dataclass
class Finding:
    """One relation of a card, and whether its numbers satisfy it."""

    kind: str
    severity: Severity
    """`error`: no reading that the card leaves open is consistent, and what its cells mean is certain; `warning`: the numbers disagree, and
    the relation or a reading was found by heuristics; `note`: consistent in a reading that it names; `ok`: consistent."""
    title: str
    """One sentence: what is impossible, or what agrees."""
    cells: list[str]
    """The cells used, each with its line."""
    arithmetic: str
    readings: list[str] = field(default_factory=list)
    """What would resolve it: possibilities, not knowledge."""
    lines: list[int] = field(default_factory=list)
    used: list[Cell] = field(default_factory=list, repr=False)
    """The cells themselves, in the order of their roles."""

    def text(self) -> str:
        """All of it, at most 600 characters."""
        return "\n".join(self.parts())

    def parts(self) -> list[str]:
        """Title, cells, arithmetic and readings, cut to fit together."""
        cells = "; ".join(self.cells)
        readings = "Possible readings: " + "; or ".join(self.readings) if self.readings else ""
        room = LONGEST - len(self.title) - len(self.arithmetic) - len(readings) - 3
        if len(cells) > room:
            cells = cells[: max(20, room - 2)].rsplit(";", 1)[0] + " …"
        parts = [p for p in (self.title, cells, self.arithmetic, readings) if p]
        while sum(map(len, parts)) + len(parts) > LONGEST:
            longest = max(range(len(parts)), key=lambda i: len(parts[i]))
            over = sum(map(len, parts)) + len(parts) - LONGEST
            parts[longest] = parts[longest][: max(40, len(parts[longest]) - over - 2)] + " …"
        return parts

    def row(self) -> dict[str, Any]:
        """The finding as plain JSON types, without the `Cell` objects."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "used"}


def finding(kind: str, severity: Severity, title: str, cells: list[Cell], arithmetic: str, readings: list[str] | None = None) -> Finding:
    """A finding about these cells."""
    places = [str(c) for c in cells[:8]] + ([f"and {len(cells) - 8} more"] if len(cells) > 8 else [])
    return Finding(kind, severity, title, places, arithmetic, readings or [], sorted({c.line for c in cells}), list(cells))
