"""The verb that writes the reviewer's page."""

from __future__ import annotations

import json
from pathlib import Path

import click

from cardproof import runs
from cardproof.cli.group import OF_RUN, ROOT, card_of_run, cli
from cardproof.cli.recording import EVALUATED, FILE, TRAINING, below, beside, makes, reads

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


@cli.command()
@click.argument("first", metavar="RUN_A", type=FILE)
@click.argument("second", metavar="RUN_B", type=FILE)
@makes("--html", "Write the comparison as a page there as well.", required=False)
@reads("--templates", "Templates of card, page and captions.", default=ROOT / "report", show_default=True)
@click.option("--format", "form", type=click.Choice(["markdown", "json"]), default="markdown", show_default=True)
def diff(first: Path, second: Path, html: Path | None, templates: Path, form: str) -> None:
    """Set two runs side by side: verdicts, axes, items that changed, settings, packages, inputs. Prints Markdown.

    A run is a folder (results/NAME) or an archive made by `cardproof archive`. Both chains of evidence are checked first: where one is
    broken, or the runs were scored in different ways, that is said first and no differences are given. Differences over the items that
    both runs asked are paired.
    """
    from cardproof.evidence.unpack import unpacked
    from cardproof.files import plain
    from cardproof.pages import two_runs_text
    from cardproof.pages.two_runs import diff as side_by_side

    with unpacked(first) as folder, unpacked(second) as other:
        found = side_by_side(folder, other)
    if html:
        two_runs_text.write_page(found, html, templates)
    if form == "json":
        click.echo(json.dumps(plain(found), indent=2, ensure_ascii=False))
    else:
        click.echo(two_runs_text.markdown(found), nl=False)
