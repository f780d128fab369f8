"""Verbs that need no model: evaluation, claims, figures, card."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cardproof import runs
from cardproof.cli.group import CLAIMS, cli, show, with_config
from cardproof.cli.recording import EVALUATED, TRAINING, below, makes, reads

if TYPE_CHECKING:
    from cardproof.config.settings import Config


@cli.command()
@with_config
@reads("--run", "Folder of the run.", below(TRAINING))
@reads("--claims", "The card's numbers, as data.", default=CLAIMS, show_default=True)
@makes("--out", "Write reconcile.json there.", required=False)
def reconcile(config: Config, run: Path, claims: Path, out: Path | None) -> None:
    """Compare the readings of the printed recipe, which contradicts itself, by their steps and training losses."""
    from cardproof.claims import reconcile as judge
    from cardproof.files import write_json

    found = judge.reconcile(config, run, claims)
    if out:
        write_json(out, found)
    click.echo(judge.render_text(found))


@cli.command()
@reads("--claims", "The card's numbers, as data.", default=CLAIMS, show_default=True)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--count/--no-count", default=True, show_default=True, help="Build the architecture on the meta device and count.")
@makes("--out", "Write JSON there as well.", required=False)
def audit(claims: Path, form: str, count: bool, out: Path | None) -> None:
    """Check the published card against itself: identities, counts, possible proportions. No GPU, no network, seconds."""
    from cardproof.claims import audit as auditor
    from cardproof.files import write_json

    result = auditor.run_audit(claims, count)
    if out:
        write_json(out, auditor.to_json(result))
    show(form, auditor.to_json(result), partial(auditor.render_text, result))


@cli.command()
@reads("--run", "Folder of the run.", below(runs.CONFIG, runs.AUDIT, *EVALUATED, TRAINING, runs.SELECTION, runs.STEPS))
@reads("--claims", "The card's numbers, as data.", default=CLAIMS, show_default=True)
@makes("--out", "Write claims.json there.", required=False)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--fail-on", type=click.Choice(["differs"]), default=None, help="Exit with 3 when a comparable claim differs.")
def claims(run: Path, claims: Path, out: Path | None, form: str, fail_on: str | None) -> None:
    """Judge every number on the published card by a run's results."""
    from cardproof.claims import claims as judge
    from cardproof.files import plain, write_json

    report = judge.judge(run, claims)
    if out:
        write_json(out, report)
    show(form, plain(report), partial(judge.render_text, report))
    sys.exit(judge.exit_code(report, fail_on))
