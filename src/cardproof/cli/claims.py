"""Verbs that need no model: evaluation, claims, figures, card."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cardproof.cli.group import CLAIMS, FILE, ROOT, cli, given, show, with_config

if TYPE_CHECKING:
    from cardproof.config.settings import Config


@cli.command()
@with_config
@given("--scores", "Folder of the scores: ARM/CONDITION.parquet.")
@given("--out", "Folder for axes, stress, mechanism, compute and format_lock (JSON).")
def evaluate(config: Config, scores: Path, out: Path) -> None:
    """Turn scores into the card's numbers, each with n and an interval; with several training seeds, the spread between them, too."""
    from cardproof.evaluation import between_seeds
    from cardproof.evaluation.evaluate import run
    from cardproof.evaluation.statistics import How

    settings = config.evaluation
    run(
        scores,
        out,
        arms=list(config.arms),
        support_margin=settings.support_margin,
        level=settings.level,
        resamples=settings.resamples,
        seed=config.seed,
    )
    if config.replicas:
        between_seeds.add(scores, out, config.replicas, How(level=settings.level, resamples=settings.resamples, seed=config.seed))


@cli.command()
@with_config
@given("--run", "Folder of the run.")
@click.option("--claims", type=FILE, default=CLAIMS, show_default=True, help="The card's numbers, as data.")
@click.option("--out", type=FILE, default=None, help="Write reconcile.json there.")
def reconcile(config: Config, run: Path, claims: Path, out: Path | None) -> None:
    """Compare the readings of the printed recipe, which contradicts itself, by their steps and training losses."""
    from cardproof.claims import reconcile as judge
    from cardproof.files import write_json

    found = judge.reconcile(config, run, claims)
    if out:
        write_json(out, found)
    click.echo(judge.render_text(found))


@cli.command()
@with_config
@given("--out", "steps.json to write.")
def provenance(config: Config, out: Path) -> None:
    """Record which code and which settings each step of a run depends on."""
    from cardproof.evidence.provenance import steps
    from cardproof.files import write_json

    write_json(out, steps(config))


@cli.command()
@click.option("--claims", type=FILE, default=CLAIMS, show_default=True, help="The card's numbers, as data.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--count/--no-count", default=True, show_default=True, help="Build the architecture on the meta device and count.")
@click.option("--out", type=FILE, default=None, help="Write JSON there as well.")
def audit(claims: Path, form: str, count: bool, out: Path | None) -> None:
    """Check the published card against itself: identities, counts, possible proportions. No GPU, no network, seconds."""
    from cardproof.claims import audit as auditor
    from cardproof.files import write_json

    result = auditor.run_audit(claims, count)
    if out:
        write_json(out, auditor.to_json(result))
    show(form, auditor.to_json(result), partial(auditor.render_text, result))


@cli.command()
@given("--run", "Folder of the run.")
@click.option("--claims", type=FILE, default=CLAIMS, show_default=True, help="The card's numbers, as data.")
@click.option("--out", type=FILE, default=None, help="Write claims.json there.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--fail-on", type=click.Choice(["differs"]), default=None, help="Exit with 3 when a comparable claim differs.")
def claims(run: Path, claims: Path, out: Path | None, form: str, fail_on: str | None) -> None:
    """Judge every number on the published card by a run's results."""
    from cardproof.claims import claims as judge
    from cardproof.files import write_json

    report = judge.judge(run, claims)
    if out:
        write_json(out, report)
    show(form, report, partial(judge.render_text, report))
    sys.exit(judge.exit_code(report, fail_on))


@cli.command()
@given("--run", "Folder of the run.")
@given("--out", "Folder for the figures.")
def figures(run: Path, out: Path) -> None:
    """Draw the figures, each beside the data it shows."""
    from cardproof.pages.figures import draw

    draw(run, out)


@cli.command()
@given("--run", "Folder of the run.")
@click.option("--templates", type=FILE, default=ROOT / "report", show_default=True)
@click.option("--claims", type=FILE, default=CLAIMS, show_default=True, help="The card's numbers, as data.")
@given("--out", "Card to write (Markdown).")
def card(run: Path, templates: Path, claims: Path, out: Path) -> None:
    """Render the model card from results alone."""
    from cardproof.pages.card import render

    render(run, templates, out, claims)
