"""Verbs that say what a run will take, and whether this machine has it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cardproof.cli.group import CLAIMS, ROOT, cli
from cardproof.cli.recording import FILE, makes

if TYPE_CHECKING:
    from cardproof.config.settings import Config


TEMPLATES = click.option("--templates", type=FILE, default=ROOT / "prompts", show_default=True, help="Prompt templates.")
PUBLISHED = click.option("--claims", type=FILE, default=CLAIMS, show_default=True, help="The card's numbers, as data.")
FORMAT = click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
OVERLAYS = click.option("--configfile", "files", type=FILE, multiple=True, help="Overlays on config.yaml, later ones win.")


def _resolved(files: tuple[Path, ...]) -> Config:
    """The published recipe with overlays on it, as the Snakefile merges them."""
    from cardproof.config.reading import load

    return load(*dict.fromkeys([ROOT / "config.yaml", *(f.resolve() for f in files)]))


@cli.command()
@OVERLAYS
@FORMAT
@TEMPLATES
@PUBLISHED
def plan(files: tuple[Path, ...], form: str, templates: Path, claims: Path) -> None:
    """Print the work before it is done: prompts, rollouts, tokens, downloads, memory, hours, jobs, and how each was derived."""
    import json

    from cardproof.machine import plan as planning

    config = _resolved(files)
    figures = planning.plan(config, Path("results") / config.run, templates, claims, ROOT / "Snakefile")
    click.echo(json.dumps(planning.as_json(config, figures), indent=2) if form == "json" else planning.as_text(config, figures))


@cli.command()
@OVERLAYS
@click.option("--config", "resolved", type=FILE, default=None, help="Resolved configuration of a run, instead of overlays.")
@FORMAT
@TEMPLATES
@PUBLISHED
@makes("--out", "Checks to write where all passed (JSON); then only warnings are printed.", required=False)
def preflight(files: tuple[Path, ...], resolved: Path | None, form: str, templates: Path, claims: Path, out: Path | None) -> None:
    """Check that this machine has what a run needs: GPU, memory, disk, revisions, cache, token, container, versions."""
    import json

    from cardproof.config.reading import load
    from cardproof.files import write_json
    from cardproof.machine import preflight as checking

    config = load(resolved) if resolved else _resolved(files)
    checks = checking.preflight(config, Path("results") / config.run, templates, claims)
    if out is None:
        click.echo(json.dumps(checking.as_json(config, checks), indent=2) if form == "json" else checking.as_text(checks))
    else:
        checking.warn(checks)
    checking.raise_for(config, checks)
    if out is not None:
        write_json(out, checking.as_json(config, checks))


@cli.command()
@click.option("--configfile", "files", type=FILE, multiple=True, help="YAML files, later ones win; default: config.yaml.")
@click.option("--explain", is_flag=True, help="Print every setting with its meaning and origin.")
@click.option("--assumptions", is_flag=True, help="Print only what the card does not state.")
@click.option("--defaults", is_flag=True, help="Print config.yaml as the model's defaults give it.")
@click.option("--schema", is_flag=True, help="Print the JSON schema.")
def config(files: tuple[Path, ...], explain: bool, assumptions: bool, defaults: bool, schema: bool) -> None:
    """Check a configuration, and print it, its meaning, its assumptions or its schema."""
    import json

    from cardproof.config import reading, texts
    from cardproof.config import settings as model

    if schema:
        click.echo(json.dumps(texts.schema(), indent=2))
        return
    if defaults:
        click.echo(texts.PUBLISHED_HEADER + texts.to_yaml(model.Config()), nl=False)
        return
    loaded = reading.load(*(files or (ROOT / "config.yaml",)))
    if assumptions or explain:
        for path, value, text in texts.described(loaded):
            if explain or texts.mark(text) == texts.ASSUMED:
                click.echo(f"{path} = {json.dumps(value, ensure_ascii=False)}\n    {text}")
    else:
        click.echo(texts.to_yaml(loaded, comments=False), nl=False)
