"""The gallery of made-up runs: made by its tool, and labelled synthetic wherever it is looked at."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from cardproof.errors import CardproofError
from cardproof.pages import figures, publish
from helpers.places import ROOT
from helpers.synthetic_run import ARMS

KEPT = ROOT / "docs/examples/synthetic"


@pytest.fixture(scope="module")
def gallery() -> object:
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import gallery
    finally:
        sys.path.pop(0)
    return gallery


@pytest.fixture(scope="module")
def made(gallery, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "DPI", 40)
        return gallery.made(tmp_path_factory.mktemp("gallery") / "run", ARMS, 6)


def labelled(folder: Path) -> None:
    card = (folder / "card/README.md").read_text(encoding="utf-8")
    assert "# cardproof synthetic card — made-up results, not a reproduction of the published card" in card
    assert "**Every number here is made up**" in card
    header = card.split("---\n")[1]
    assert "- synthetic\n" in header and "- not-a-reproduction\n" in header
    captions = [line for line in card.splitlines() if line.startswith("*") and line.endswith("*")]
    assert len(captions) == len(figures.FIGURES)
    assert all(": synthetic, made-up results." in re.sub(r"<!-- .*? -->", "", line) for line in captions)
    for name in ("index.html", "diff.html", "diff.md"):
        assert "Synthetic." in (folder / "report" / name).read_text(encoding="utf-8")


def test_what_is_made_up_says_so_on_every_page(made: Path) -> None:
    labelled(made)


def test_what_is_kept_says_so_on_every_page() -> None:
    labelled(KEPT / "as-published")
    text = (KEPT / "README.md").read_text(encoding="utf-8")
    assert "**Everything here is synthetic.**" in text
    assert all("(synthetic)" in line for line in text.splitlines() if line.startswith("## "))
    images = re.findall(r"!\[.*?, synthetic\]\((.*?)\)", text)
    assert len(images) == text.count("![") == len(list(KEPT.rglob("*.png"))) > 12
    assert all((KEPT / image).is_file() for image in images)


def test_made_up_results_are_never_published(made: Path) -> None:
    with pytest.raises(CardproofError, match="the results of this run are made up"):
        publish.prepare(made, "someone/name")
