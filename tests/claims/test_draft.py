"""The draft of a claims file: every card gives a valid one, with the card's own numbers and lines, and it audits as the card does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from cardproof.cards.audit_card import audit_file
from cardproof.cards.source import read_text
from cardproof.claims.audit import run_audit
from cardproof.claims.claims_file import ClaimsFile, parse_claims
from cardproof.claims.draft import compare, draft, to_yaml
from cards.generated_cards import Generated, consistent, planted
from helpers.places import CLAIMS, ROOT, SHARED

CARDS = [*planted(1), *consistent(1)]
REAL = sorted(p for p in (SHARED / "data" / "cards").glob("*.md") if p.stem != "INDEX") if (SHARED / "data" / "cards").is_dir() else []


@pytest.mark.parametrize("card", CARDS, ids=lambda c: c.kind)
def test_a_draft_is_a_valid_claims_file_of_the_cards_own_numbers(tmp_path: Path, card: Generated) -> None:
    path = tmp_path / "CARD.md"
    path.write_text(card.text, encoding="utf-8")
    raw = draft(path)
    lines = card.text.split("\n")
    assert raw["claims"]
    for claim in raw["claims"]:
        line = int(claim["where"]["place"].removeprefix("line "))
        assert claim["value"].lstrip("-") in lines[line - 1].replace("−", "-"), "the number is on the line it names"
    file = tmp_path / "claims.yaml"
    file.write_text(to_yaml(raw, "CARD.md"), encoding="utf-8")
    assert parse_claims(yaml.safe_load(file.read_text(encoding="utf-8")), "again") == parse_claims(raw, "the draft")
    if not card.planted:
        assert run_audit(file, count_parameters=False).counts["error"] == 0


def test_a_planted_contradiction_is_one_in_the_draft_too(tmp_path: Path) -> None:
    path = tmp_path / "CARD.md"
    found = {}
    for kind in ("front matter against text", "gain in a table", "share of a row's cases"):
        path.write_text(next(c for c in CARDS if c.kind == kind).text, encoding="utf-8")
        file = tmp_path / "claims.yaml"
        file.write_text(to_yaml(draft(path), "CARD.md"), encoding="utf-8")
        found[kind] = run_audit(file, count_parameters=False).counts["error"]
    assert all(found.values()), found


@pytest.mark.parametrize("path", REAL, ids=lambda p: p.stem)
def test_real_cards_have_drafts(path: Path) -> None:
    raw = draft(path)
    assert len(raw["claims"]) > 4
    assert isinstance(parse_claims(raw, path.stem), ClaimsFile)


def test_a_draft_is_compared_with_a_claims_file(tmp_path: Path) -> None:
    path = tmp_path / "CARD.md"
    path.write_text("# m\n\n- Accuracy: 0.911\n- Loss: 0.5\n", encoding="utf-8")
    raw = draft(path)
    claims = tmp_path / "claims.json"
    claims.write_text(json.dumps(raw), encoding="utf-8")
    assert compare(raw, claims) == []
    raw["claims"][0]["value"] = "0.912"
    assert compare(raw, claims) == [
        "The card prints 0.912 (line 3), which no claim holds.",
        "A claim holds 0.911, which the draft did not find on the card.",
    ]


def test_the_published_cards_numbers_are_found_where_a_card_prints_them(tmp_path: Path) -> None:
    """A card that prints every value of the published claims file, one a line, has a draft that holds them all."""
    raw = yaml.safe_load(CLAIMS.read_text(encoding="utf-8"))
    values = [c["value"] for c in raw["claims"] if c.get("value")] + [c["rollouts"] for c in raw["claims"] if c.get("rollouts")]
    path = tmp_path / "CARD.md"
    path.write_text(
        "# m\n\n" + "".join(f"- number {chr(97 + i % 26)}{chr(97 + i // 26)}: {v}\n" for i, v in enumerate(values)), encoding="utf-8"
    )
    assert read_text(path)
    assert compare(draft(path), CLAIMS) == []


SECOND = ROOT / "docs" / "examples" / "second-card"


def test_the_second_card_and_its_claims_file_are_audited_alike() -> None:
    """The invented card holds two contradictions: an average, which a claims file cannot state, and a gain, which it can."""
    card = audit_file(SECOND / "README.md")
    assert {(f.kind, f.severity) for f in card.findings if f.severity in {"error", "warning"}} == {
        ("report_averages", "error"),
        ("difference", "warning"),
    }
    claims = run_audit(SECOND / "claims.yaml", count_parameters=False)
    assert [f.id for f in claims.findings if f.severity != "ok"] == ["gain"]
    assert len(claims.findings) > 10


def test_the_second_claims_file_holds_the_cards_numbers() -> None:
    found = compare(draft(SECOND / "README.md"), SECOND / "claims.yaml")
    assert [s.split(" ", 3)[3] for s in found] == ["4.0 (line 74), which no claim holds.", "120 (line 71), which no claim holds."]
