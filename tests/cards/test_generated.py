"""The audit of any card on generated cards of known truth: what is planted is found, and what is consistent is left in peace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from cardproof.cards.audit_card import audit_text
from cardproof.cards.finding import LONGEST
from cards.generated_cards import consistent, planted

EACH = 12


def test_every_planted_contradiction_is_found(record_property: Callable[[str, object], None]) -> None:
    cards = planted(EACH)
    contradictions: Counter[str] = Counter()
    hits: Counter[str] = Counter()
    for card in cards:
        contradictions[card.kind] += 1
        findings = audit_text(card.text, card.kind).findings
        hits[card.kind] += any(f.kind in card.relations and f.severity in {"error", "warning"} for f in findings)
    print(f"\n{'planted contradiction':<32}{'planted':>8}{'found':>8}{'missed':>8}")
    for kind in contradictions:
        print(f"{kind:<32}{contradictions[kind]:>8}{hits[kind]:>8}{contradictions[kind] - hits[kind]:>8}")
    record_property("planted contradictions, cards", len(cards))
    assert hits == contradictions


def test_no_consistent_card_is_called_wrong(record_property: Callable[[str, object], None]) -> None:
    cards = consistent(EACH)
    counted: dict[str, Counter[str]] = {}
    for card in cards:
        counts = audit_text(card.text, card.kind).counts()
        of = counted.setdefault(card.kind, Counter())
        of["cards"] += 1
        of["checked"] += sum(counts.values()) > 0
        of["errors"] += counts["error"] > 0
        of["warnings"] += counts["warning"] > 0
    print(f"\n{'consistent reading':<36}{'cards':>8}{'checked':>8}{'errors':>8}{'warnings':>9}")
    for kind, of in counted.items():
        print(f"{kind:<36}{of['cards']:>8}{of['checked']:>8}{of['errors']:>8}{of['warnings']:>9}")
    record_property("consistent cards", len(cards))
    assert sum(of["errors"] for of in counted.values()) == 0
    assert sum(of["warnings"] for of in counted.values()) <= 0.02 * len(cards)


@pytest.mark.parametrize("seed", [1, 2])
def test_every_finding_is_short_and_names_its_cells(seed: int) -> None:
    for card in [*planted(2, seed), *consistent(2, seed)]:
        lines = card.text.split("\n")
        for f in audit_text(card.text, card.kind).findings:
            assert len(f.text()) <= LONGEST
            assert f.cells and f.arithmetic and all(1 <= n <= len(lines) for n in f.lines)
            assert f.severity in {"ok", "note"} or f.readings
