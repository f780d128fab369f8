"""Published card against a run, claim by claim, as rows for a page and for Markdown."""

from __future__ import annotations

from typing import Any

from cardproof.claims.comparable import why_not
from cardproof.claims.found import SCALAR
from cardproof.claims.verdicts import Judgement, Verdicts
from cardproof.evaluation.printed import DASH
from cardproof.pages.formats import cell, published, regenerated, remark, words


def rows(claims: Verdicts) -> list[dict[str, Any]]:
    """One row for each claim: section, text, printed and regenerated value, their difference if they compare, verdict and reason."""
    return [
        {
            "id": row.id,
            "section": section(row),
            "text": row.text,
            "arm": row.arm,
            "printed": published(row),
            "run": regenerated(row),
            "n": count(row),
            "difference": row.difference if claims.comparable else None,
            "verdict": row.verdict,
            "tier": row.tier,
            "why": remark(row) if claims.comparable or row.verdict != "not_comparable" or row.kind == "predicate" else "",
        }
        for row in claims.claims
    ]


def count(row: Judgement) -> int | None:
    """How many items or quotes a claim's result is over; None if it is a single number, or there is none."""
    result = row.regenerated
    return None if result is None or result.method == SCALAR else result.n


def section(row: Judgement) -> str:
    """The section of the published card that a claim is in."""
    return row.where.partition(":")[0]


def heading(claims: Verdicts) -> str:
    """The comparison's title, which says if the two are not comparable."""
    if claims.card is None:
        return f"Run {claims.run}"
    if claims.comparable:
        return f"The published card and the run {claims.run}"
    return f"Run {claims.run} beside the published card (not comparable)"


def warning(claims: Verdicts) -> str:
    """What the comparison does not show, and why; empty if the run compares, or has no card to compare with."""
    if claims.comparable or claims.card is None:
        return ""
    why = why_not(claims.compared)
    return f"{why[0].upper()}{why[1:]}. So its numbers say nothing about whether the printed ones hold, in either direction."


def markdown(claims: Verdicts) -> str:
    """The whole comparison as Markdown."""
    lines = [f"# {cell(heading(claims))}", ""]
    if warning(claims):
        lines += [f"**{cell(warning(claims))}**", ""]
    counted = [f"{count} {words(verdict)}" for verdict, count in claims.counts.items() if count]
    if claims.card is None:
        return "\n".join([*lines, cell(claims.answer.sentence), ""])
    lines += [f"**Does the card hold?** {cell(claims.answer.sentence)}", ""]
    lines += [f"{len(claims.claims)} claims of {cell(claims.card)}: {', '.join(counted)}.", ""]
    for name, group in by_section(rows(claims)):
        lines += [f"## {cell(name.capitalize())}", "", "| claim | printed | this run | n | verdict | why |", "|---|---|---|---|---|---|"]
        for row in group:
            n = DASH if row["n"] is None else str(row["n"])
            cells = (row["text"], row["printed"], row["run"], n, words(row["verdict"]), row["why"])
            lines.append(f"| {' | '.join(cell(c) for c in cells)} |")
        lines.append("")
    return "\n".join(lines)


def by_section(rows: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """The rows of each section, in the card's order."""
    sections: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        sections.setdefault(row["section"], []).append(row)
    return list(sections.items())
