"""A card rendered from a synthetic run."""

from __future__ import annotations

import re

from cardproof.pages import card
from cardproof.pages.figures import FIGURES
from helpers.places import ROOT

REPORT = ROOT / "report"


CLAIMS = ROOT / "published" / "claims.yaml"


NUMBER_WORDS = r"\b(zero|two|three|four|five|six|seven|eight|nine|ten|twenty|thirty|fifty|hundred|half|twice|third|quarter|doubled?)\b"


def with_figures(folder):
    for name in FIGURES:
        path = folder / "figures" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return folder


def unlinked(text):
    """The card's text with each number that links to its rows as the number alone."""
    return re.sub(r"\[([^\[\]]+)\]\(\.\./report/index\.html#rows=[^)]*\)", r"\1", text)


def rendered(folder, claims=None):
    """The card; judging the claims takes most of a second, so only tests about them ask for it."""
    out = folder / "card" / "README.md"
    card.render(folder, REPORT, out, claims)
    return out.read_text(encoding="utf-8")
