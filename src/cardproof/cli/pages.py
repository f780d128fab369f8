"""The verb that writes the reviewer's page."""

from __future__ import annotations

from pathlib import Path

import click

from cardproof import runs
from cardproof.cli.group import OF_RUN, ROOT, card_of_run, cli
from cardproof.cli.recording import EVALUATED, TRAINING, below, beside, makes, reads

ROWS = (runs.samples("{arm}", "{condition}"), runs.scores("{arm}", "{condition}"))
"""Files for each arm and condition that the page shows."""
ASKED = (runs.BASE_CARD, runs.prompts("clean"), runs.samples("{arm}", "clean"), runs.scores("{arm}", "clean"))
"""What the card's example is from."""
BESIDE_CARD = (runs.SELECTION, runs.LEAKAGE, runs.VERIFIER, runs.figure("*", "*"))
"""What the card reads besides the evaluation."""


@cli.command()
@reads("--run", "Folder of the run.", below(runs.CONFIG, runs.CLAIMS, *EVALUATED, TRAINING))
@makes("--out", "Folder for the figures.", below("*.*"))
def figures(run: Path, out: Path) -> None:
    """Draw the figures, each beside the data it shows."""
    from cardproof.pages.figures import draw

    draw(run, out)


@cli.command()
@reads(
    "--run",
    "Folder of the run.",
    below(runs.CONFIG, runs.AUDIT, runs.CLAIMS, runs.evaluation("*"), TRAINING, *BESIDE_CARD, *ASKED),
    is_eager=True,
)
@reads("--templates", "Templates of card, page and captions.", default=ROOT / "report", show_default=True)
@reads("--claims", OF_RUN, required=False, callback=card_of_run)
@makes("--out", "Card to write (Markdown).", beside(runs.EVAL_RESULTS, runs.PROMPT))
def card(run: Path, templates: Path, claims: Path | None, out: Path) -> None:
    """Render the model card from results alone."""
    from cardproof.pages.card import render

    render(run, templates, out, claims)


@cli.command()
@reads(
    "--run",
    "Folder of the run.",
    below(runs.CONFIG, runs.AUDIT, runs.CLAIMS, runs.evaluation("*"), runs.figure("*", "*"), runs.CARD, runs.prompts("*"), *ROWS),
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
