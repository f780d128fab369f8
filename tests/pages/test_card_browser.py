"""The card in a real browser, in a column as wide as the Hub's: how long it is, and that nothing in it is wider than the column."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from cardproof.pages import figures
from helpers.chromium import BROWSER
from helpers.hub_like import WIDTH, page
from helpers.rendered_card import CLAIMS, rendered
from helpers.synthetic_run import record_all, write_run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="there is no Chromium to open the card with; make test-browser installs it"),
]
SHOTS = os.environ.get("CARDPROOF_SHOTS")
MOST = 6000
"""Pixels of height that a reader scrolls through."""


@pytest.mark.parametrize("scale", ["embedded", "published"])
def test_the_card_is_short_in_a_column_of_the_hubs_width(chromium: Any, tmp_path: Path, scale: str) -> None:
    from cardproof.claims.audit import run_audit, to_json
    from cardproof.claims.claims import judge
    from cardproof.files import write_json

    folder = write_run(tmp_path / "run", scale=scale, items=50)
    write_json(folder / "audit.json", to_json(run_audit(CLAIMS, count_parameters=False)))
    write_json(folder / "claims.json", judge(folder, CLAIMS))
    figures.draw(folder, folder / "figures")
    text = rendered(record_all(folder))
    for width in (WIDTH, 360):
        (tmp_path / "card.html").write_text(page(text, folder / "card", width=width), encoding="utf-8")
        tab = chromium.new_page(viewport={"width": width + 20, "height": 900})
        tab.goto((tmp_path / "card.html").as_uri())
        assert tab.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than the column"
        height = tab.evaluate("document.querySelector('article').scrollHeight")
        if SHOTS:
            tab.screenshot(path=f"{SHOTS}/card-{scale}-{width}.png", full_page=True)
        if width == WIDTH:
            assert 2000 < height < MOST
        tab.close()
