"""`cardproof audit CARD` and `cardproof draft CARD` as a user calls them: files, folders, a hub, exit codes, and errors in one sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cards.generated_cards import consistent, planted
from helpers.hub_server import serve
from helpers.places import ROOT

CARDS = {c.kind: c.text for c in [*planted(1), *consistent(1)]}


def cardproof(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    known = {k: v for k, v in os.environ.items() if k not in {"COLUMNS", "HF_HUB_OFFLINE"}}
    return subprocess.run(
        [sys.executable, "-m", "cardproof", *arguments],
        capture_output=True,
        text=True,
        env=known | {"PYTHONPATH": str(ROOT / "src")} | environment,
        timeout=120,
        check=False,
    )


def card(folder: Path, kind: str) -> str:
    path = folder / "CARD.md"
    path.write_text(CARDS[kind], encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("kind", "fail_on", "code"),
    [
        ("columns shifted", None, 0),
        ("columns shifted", "error", 3),
        ("front matter against text", "error", 0),
        ("front matter against text", "warning", 3),
        ("the Trainer's own card", "warning", 0),
    ],
)
def test_a_card_and_its_exit_code(tmp_path: Path, kind: str, fail_on: str | None, code: int) -> None:
    ran = cardproof("audit", card(tmp_path, kind), *(["--fail-on", fail_on] if fail_on else []))
    assert (ran.returncode, ran.stderr) == (code, "")
    assert ran.stdout.startswith("Audit of ") and max(map(len, ran.stdout.splitlines())) <= 100


def test_json_says_the_same(tmp_path: Path) -> None:
    out = tmp_path / "audit.json"
    ran = cardproof("audit", card(tmp_path, "columns shifted"), "--format", "json", "--out", str(out))
    audit = json.loads(ran.stdout)
    assert audit == json.loads(out.read_text(encoding="utf-8"))
    assert audit["counts"]["error"] == 1 and audit["findings"][0]["lines"]


def test_the_claims_file_has_the_same_exit_codes() -> None:
    assert cardproof("audit", "--no-count").returncode == 0
    assert cardproof("audit", "--no-count", "--fail-on", "error").returncode == 3


def test_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "cards"
    folder.mkdir()
    for i, text in enumerate(CARDS.values()):
        (folder / f"{i}.md").write_text(text, encoding="utf-8")
    out = tmp_path / "findings.jsonl"
    ran = cardproof("audit", str(folder), "--out", str(out), "--jobs", "1", "--fail-on", "error")
    assert (ran.returncode, ran.stderr) == (3, "")
    assert f"{len(CARDS)} cards" in ran.stdout and len(out.read_text().splitlines()) == len(CARDS)


@pytest.mark.parametrize(
    ("arguments", "sentence", "hint"),
    [
        (["audit", "nowhere.md"], "nowhere.md does not exist", "a model card"),
        (["audit", "."], ". is a folder, and no file for the findings is given", "--out"),
        (["audit", "owner/name"], "the card of owner/name cannot be fetched", "as a file"),
        (["draft", "nowhere.md"], "nowhere.md does not exist", "a model card"),
        (["draft", "."], ". is a folder", "inside it"),
    ],
)
def test_bad_input_is_a_sentence_and_a_hint(arguments: list[str], sentence: str, hint: str) -> None:
    ran = cardproof(*arguments, HF_HUB_OFFLINE="1")
    assert ran.returncode == 2
    assert sentence in ran.stderr and hint in ran.stderr and "Traceback" not in ran.stderr


def test_a_hub_id_is_fetched_audited_and_drafted(tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "README.md").write_text(CARDS["columns shifted"], encoding="utf-8")
    with serve() as hub:
        hub.folders[("models", "owner/name")] = folder
        network = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_DISABLE_XET": "1"}
        ran = cardproof("audit", "owner/name", "--fail-on", "error", **network)
        assert (ran.returncode, ran.stderr) == (3, "")
        assert ran.stdout.startswith("Audit of owner/name: ")
        drafted = cardproof("draft", "owner/name", "--out", str(tmp_path / "claims.yaml"), **network)
        assert drafted.returncode == 0 and "claims and" in drafted.stdout
    assert cardproof("audit", "--no-count", "--claims", str(tmp_path / "claims.yaml")).returncode == 0
