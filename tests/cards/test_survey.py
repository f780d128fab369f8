"""The survey of a folder: every card gets a row, none stops it, a second call goes on, and the summary counts the rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cardproof.cards import survey as module
from cardproof.cards.survey import survey
from cardproof.errors import CardproofError
from cards.generated_cards import consistent, planted


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "cards"
    for i, card in enumerate([*planted(1), *consistent(1)]):
        path = root / ("a" if i % 2 else "b") / f"{i:03}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(card.text, encoding="utf-8")
    (root / "broken.md").write_bytes(b"---\n\xff\xfe: [\n---\n# \xff\n")
    (root / "huge.md").write_bytes(b"a" * 2_100_000)
    (root / "notes.txt").write_text("not a card")
    (root / "out.md").symlink_to("/etc/hostname")
    return root


def rows(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


def test_every_card_has_a_row_and_the_summary_counts_them(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "findings.jsonl"
    summary = survey(folder, out, jobs=2)
    entries = rows(out)
    cards = len(planted(1)) + len(consistent(1)) + 2
    assert len(entries) == len({str(r["card"]) for r in entries}) == cards == summary["cards"]
    assert summary["failed"] == 1 and [r["card"] for r in entries if "failed" in r] == ["huge.md"]
    for name, kind in summary["kinds"].items():
        assert kind["cards_checked"] == sum(name in dict(r.get("relations") or {}) for r in entries)  # type: ignore[call-overload]
    wrong = sum(any(f["severity"] == "error" for f in r.get("findings", [])) for r in entries)  # type: ignore[attr-defined,union-attr]
    assert summary["cards_with_an_error"] == wrong > 0
    markdown = (tmp_path / "findings.summary.md").read_text(encoding="utf-8")
    page = (tmp_path / "findings.summary.html").read_text(encoding="utf-8")
    assert all(name in markdown and name in page for name in summary["kinds"])
    assert json.loads((tmp_path / "findings.summary.json").read_text(encoding="utf-8")) == summary


def test_a_killed_survey_goes_on_where_it_stopped(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, whole = tmp_path / "findings.jsonl", tmp_path / "whole.jsonl"
    expected = survey(folder, whole, jobs=1)
    text = whole.read_bytes()
    out.write_bytes(text[: len(text) // 2])  # in the middle of a row
    kept = text[: len(text) // 2].count(b"\n")
    audited: list[str] = []
    real = module.audit_one
    monkeypatch.setattr(module, "audit_one", lambda root, name: audited.append(name) or real(root, name))
    assert survey(folder, out, jobs=1) == expected
    assert len(audited) == len(rows(whole)) - kept
    assert sorted(map(str, rows(out))) == sorted(map(str, rows(whole)))


def test_a_card_that_takes_too_long_is_named(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forever(text: str, name: str) -> None:
        while True:
            pass

    monkeypatch.setattr(module, "audit_text", forever)
    monkeypatch.setattr(module, "SECONDS", 0.05)
    row = module.audit_one(str(folder), "broken.md")
    assert row["failed"] == "took more than 0.05 seconds"


def test_a_folder_without_cards_and_a_foreign_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CardproofError, match="has no Markdown file"):
        survey(tmp_path, tmp_path / "x.jsonl")
    (tmp_path / "a.md").write_text("# a")
    other = tmp_path / "x.jsonl"
    other.write_text("hello\n")
    with pytest.raises(CardproofError, match="line 1: not a row of findings"):
        survey(tmp_path, other)


def test_links_do_not_lead_out(folder: Path, tmp_path: Path) -> None:
    (folder / "up").symlink_to(tmp_path)
    survey(folder, tmp_path / "f.jsonl", jobs=1)
    assert not any(str(r["card"]).startswith(("up", "out")) for r in rows(tmp_path / "f.jsonl"))
