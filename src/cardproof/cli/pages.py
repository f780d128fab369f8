"""The verb that writes the reviewer's page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cardproof.cli.group import CLAIMS, ROOT, cli
from cardproof.cli.recording import CONFIG, EVALUATED, TRAINING, below, makes, reads

if TYPE_CHECKING:
    from cardproof.config.settings import Config

ROWS = ("samples/{arm}/{condition}.jsonl", "scores/{arm}/{condition}.parquet")
"""Files for each arm and condition that the page shows."""
BESIDE_CARD = ("distill/selection.json", "split/leakage.json", "verifier/metrics.json", "figures/*")
"""What the card reads besides the evaluation."""


def _with_metadata(card: Path, config: Config | None) -> list[Path]:
    from cardproof.runs import EVAL_RESULTS

    return [card, card.parent / EVAL_RESULTS]


@cli.command()
@reads("--run", "Folder of the run.", below(CONFIG, "claims.json", *EVALUATED, TRAINING))
@makes("--out", "Folder for the figures.", below("*.*"))
def figures(run: Path, out: Path) -> None:
    """Draw the figures, each beside the data it shows."""
    from cardproof.pages.figures import draw

    draw(run, out)


@cli.command()
@reads(
    "--run",
    "Folder of the run.",
    below(CONFIG, "audit.json", "claims.json", "evaluation/*.json", TRAINING, *BESIDE_CARD),
)
@reads("--templates", "Templates of card, page and captions.", default=ROOT / "report", show_default=True)
@reads("--claims", "The card's numbers, as data.", default=CLAIMS, show_default=True)
@makes("--out", "Card to write (Markdown).", _with_metadata)
def card(run: Path, templates: Path, claims: Path, out: Path) -> None:
    """Render the model card from results alone."""
    from cardproof.pages.card import render

    render(run, templates, out, claims)


@cli.command()
@reads(
    "--run",
    "Folder of the run.",
    below(CONFIG, "audit.json", "claims.json", "evaluation/*.json", "figures/*", "card/README.md", "prompts/*.jsonl", *ROWS),
)
@reads("--templates", "Templates of card, page and captions.", default=ROOT / "report", show_default=True)
@makes("--out", "Folder for index.html, diff.html and diff.md.")
def report(run: Path, templates: Path, out: Path) -> None:
    """Write the reviewer's page: verdicts with their evidence, audit, figures, every rollout with its quotes, assumptions, costs.

    Open index.html in a browser; it needs no network. diff.html and diff.md set the published card beside the run, claim by claim.
    """
    from cardproof.pages import report as reporter

    pages = reporter.write(run, out, templates)
    size = sum(p.stat().st_size for p in pages)
    click.echo(f"{out / 'index.html'}: {len(pages)} files, {size / 1e6:.2f} MB", err=True)
