"""The audit of one card: every relation found in it, worst first, and what could not be read."""

from __future__ import annotations

import textwrap
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cardproof.cards.architecture import Architecture, lora, read_architecture
from cardproof.cards.document import Document, read_card
from cardproof.cards.finding import SEVERITIES, Finding
from cardproof.cards.relations.every import RELATIONS
from cardproof.cards.source import read_text

MOST_UNREAD = 20


@dataclass
class CardAudit:
    """What an audit of one card found."""

    card: str
    findings: list[Finding]
    """Worst first, then in the order of the relations."""
    unread: list[tuple[int, str]]
    """Line and reason of what could not be read."""

    def counts(self) -> dict[str, int]:
        """Findings by severity."""
        counted = Counter(f.severity for f in self.findings)
        return {s: counted[s] for s in SEVERITIES}

    def row(self) -> dict[str, Any]:
        """As plain JSON types."""
        return {
            "card": self.card,
            "counts": self.counts(),
            "findings": [f.row() for f in self.findings],
            "unread": [{"line": line, "why": why} for line, why in self.unread],
        }


def audit_document(card: Document, name: str, model: Architecture | None = None) -> CardAudit:
    """Audit a card that was read; with the architecture of its model, also LoRA's parameters."""
    findings: list[Finding] = []
    seen = set()
    for entry in [f for relation in RELATIONS for f in relation(card)] + ([] if model is None else list(lora(card, model))):
        key = (entry.kind, tuple(entry.cells))
        if key not in seen:
            seen.add(key)
            findings.append(entry)
    findings.sort(key=lambda f: SEVERITIES.index(f.severity))
    return CardAudit(name, findings, card.unread)


def audit_text(text: str, name: str) -> CardAudit:
    """Audit a card's text."""
    return audit_document(read_card(text), name)


def audit_file(path: Path, architecture: Path | None = None) -> CardAudit:
    """Audit a card's file, with its model's `config.json` if there is one; CardproofError if either cannot be read."""
    card = read_card(read_text(path))
    return audit_document(card, str(path), None if architecture is None else read_architecture(architecture))


def render(audit: CardAudit, width: int = 100) -> str:
    """The audit for a terminal: first the findings in full, then a line for each relation that agrees, then what could not be read."""
    counts = ", ".join(f"{n} {s if n == 1 or s == 'ok' else s + 's'}" for s, n in audit.counts().items())
    lines = textwrap.wrap(f"Audit of {audit.card}: {len(audit.findings)} relations found; {counts}.", width)
    for f in audit.findings:
        if f.severity == "ok":
            continue
        title, *rest = f.parts()
        lines += ["", *_wrap(f"{f.kind}: {title}", f.severity.upper().ljust(8), width)]
        for part in rest:
            lines += _wrap(part, " " * 8, width)
    agreeing = [f for f in audit.findings if f.severity == "ok"]
    if agreeing:
        lines += ["", "These agree:"]
        for f in agreeing:
            lines += _wrap(f"{f.kind}: {f.title} {f.arithmetic}", "OK      ", width)
    if audit.unread:
        lines += ["", "Not read:"]
        for line, why in audit.unread[:MOST_UNREAD]:
            lines += _wrap(f"line {line}: {why}", "-       ", width)
        if len(audit.unread) > MOST_UNREAD:
            lines.append(f"        and {len(audit.unread) - MOST_UNREAD} more")
    return "\n".join(lines) + "\n"


def _wrap(text: str, label: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, initial_indent=label, subsequent_indent=" " * 8, break_on_hyphens=False) or [label]
