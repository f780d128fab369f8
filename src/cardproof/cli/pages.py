"""The verb that writes the reviewer's page."""

from __future__ import annotations

from pathlib import Path

import click

from cardproof.cli.group import FILE, ROOT, cli, given


@cli.command()
@given("--run", "Folder of the run.")
@click.option("--templates", type=FILE, default=ROOT / "report", show_default=True)
@given("--out", "Folder for index.html, diff.html and diff.md.")
def report(run: Path, templates: Path, out: Path) -> None:
    """Write the reviewer's page: verdicts with their evidence, audit, figures, every rollout with its quotes, assumptions, costs.

    Open index.html in a browser; it needs no network. diff.html and diff.md set the published card beside the run, claim by claim.
    """
    from cardproof.pages import report as reporter

    pages = reporter.write(run, out, templates)
    size = sum(p.stat().st_size for p in pages)
    click.echo(f"{out / 'index.html'}: {len(pages)} files, {size / 1e6:.2f} MB", err=True)
