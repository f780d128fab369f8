"""Verbs that say what a run will take, and whether this machine has it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from cardproof.cli.group import CLAIMS, OVERLAYS, ROOT, cli, overlaid
from cardproof.cli.recording import FILE, makes
from cardproof.errors import CardproofError

TEMPLATES = click.option("--templates", type=FILE, default=ROOT / "prompts", show_default=True, help="Prompt templates.")
PUBLISHED = click.option("--claims", type=FILE, default=CLAIMS, show_default=True, help="The card's numbers, as data.")
FORMAT = click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)


@cli.command()
@OVERLAYS
@FORMAT
@TEMPLATES
@PUBLISHED
@click.option("--rehearsal", type=FILE, default=None, help="What `cardproof rehearse` measured. [default: rehearsal.json, if it is there]")
def plan(files: tuple[Path, ...], form: str, templates: Path, claims: Path, rehearsal: Path | None) -> None:
    """Print the work before it is done: prompts, rollouts, tokens, downloads, memory, hours, jobs, and how each was derived."""
    import json

    from cardproof.machine import plan as planning
    from cardproof.machine import rates

    config = overlaid(files)
    found = rehearsal or (Path(rates.FILE) if Path(rates.FILE).is_file() else None)
    measured = rates.read(found) if found else None
    figures = planning.plan(config, Path("results") / config.run, templates, claims, ROOT / "Snakefile", measured)
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

    config = load(resolved) if resolved else overlaid(files)
    checks = checking.preflight(config, Path("results") / config.run, templates, claims)
    if out is None:
        click.echo(json.dumps(checking.as_json(config, checks), indent=2) if form == "json" else checking.as_text(checks))
    else:
        checking.warn(checks)
    checking.raise_for(config, checks)
    if out is not None:
        write_json(out, checking.as_json(config, checks))


@cli.command()
@click.option("--model", help="Base model: a folder, OWNER/NAME@REVISION on the Hub, or the name of an embedded one.")
@click.option("--adapter", help="LoRA adapter: a folder in PEFT's format, or OWNER/NAME@REVISION on the Hub.")
@click.option("--data", help="Data: a folder with corpus and questions (JSON Lines, Parquet or CSV), or OWNER/NAME@REVISION on the Hub.")
@click.option("--card", default=None, help="The published card to judge: Markdown, or its claims file. Without it nothing is compared.")
@click.option("--name", default="mine", show_default=True, help="Name of the run.")
@click.option("--out", type=FILE, default=None, help="Overlay to write. [default: config/NAME.yaml]")
@click.option("--force", is_flag=True, help="Replace files that are there.")
def init(model: str | None, adapter: str | None, data: str | None, card: str | None, name: str, out: Path | None, force: bool) -> None:
    """Write the overlay that evaluates your own adapter on your own data, and check each input first.

    In a terminal it asks for what is missing. A card in Markdown is drafted as a claims file beside the overlay, which states these inputs
    as what its numbers were measured with. Where a check fails, nothing is written and it exits with 1.
    """
    import yaml

    from cardproof.config import reading
    from cardproof.files import write_text
    from cardproof.machine import new_run
    from cardproof.machine import preflight as checking

    asked = {"model": model, "adapter": adapter, "data": data}
    missing = [option for option, value in asked.items() if not value]
    if missing and not sys.stdin.isatty():
        hint = "give them, or start it in a terminal, where it asks."
        raise CardproofError(f"Missing: {', '.join(f'--{option}' for option in missing)}.", hint)
    for option in missing:
        asked[option] = click.prompt(f"{option} ({new_run.ASKED[option]})")
    if missing and card is None:
        card = click.prompt("card (Markdown or a claims file; empty for none)", default="", show_default=False) or None
    overlay = out or Path("config", f"{name}.yaml")
    claims = overlay.with_suffix(".claims.yaml")
    if not force and (taken := next((path for path in (overlay, claims) if path.exists()), None)):
        raise CardproofError(f"{taken} is there already.", "choose another --name or --out, or add --force to replace it.")
    given = new_run.Given(name, str(asked["model"]), str(asked["adapter"]), str(asked["data"]), card)
    found = new_run.prepare(given, ROOT / "config" / "own-cpu.yaml", claims)
    checks = found.checks
    if not any(check.status == "failed" for check in checks):
        resolved = reading.validate(
            reading.merge(reading.parse((ROOT / "config.yaml").read_bytes(), "config.yaml"), found.overlay), str(overlay)
        )
        checks = [*checks, *checking.preflight(resolved, Path("results") / name, ROOT / "prompts", CLAIMS)]
    click.echo(checking.as_text(checks))
    if any(check.status == "failed" for check in checks):
        click.echo("\nNothing was written.")
        sys.exit(1)
    write_text(overlay, new_run.HEAD + yaml.safe_dump(found.overlay, sort_keys=False, allow_unicode=True, width=140))
    click.echo(f"\nWrote {overlay}.")
    if found.claims is not None:
        write_text(claims, found.claims)
        click.echo(f"Wrote {claims}: give each number its arm and its `result`, then `cardproof audit --claims {claims}`.")
    click.echo(f"Next: snakemake --cores all --configfile {overlay}")


@cli.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": ["--help"]})
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[SNAKEMAKE'S OPTIONS]...")
def run(options: tuple[str, ...]) -> None:
    """Run the workflow: `snakemake` with a look beforehand at what it needs.

    Snakemake ends in a traceback where a configuration file does not exist, or where its working folder or cache cannot be written. This
    says in a sentence which it is. Then it becomes Snakemake, with every option as it was given. In a folder that has no workflow, it runs
    this one:

    \b
      cardproof run --cores all --configfile config/mine.yaml
    """
    import os

    from cardproof.machine.start import command

    called = command(options, ROOT)
    os.execvp(called[0], called)


@cli.command()
@OVERLAYS
@click.option("--explain", is_flag=True, help="Print every setting with its meaning and origin.")
@click.option("--assumptions", is_flag=True, help="Print only what the card does not state.")
@click.option("--defaults", is_flag=True, help="Print config.yaml as the model's defaults give it.")
@click.option("--schema", is_flag=True, help="Print the JSON schema.")
def config(files: tuple[Path, ...], explain: bool, assumptions: bool, defaults: bool, schema: bool) -> None:
    """Check a configuration, and print it, its meaning, its assumptions or its schema."""
    import json

    from cardproof.config import settings as model
    from cardproof.config import texts

    if schema:
        click.echo(json.dumps(texts.schema(), indent=2))
        return
    if defaults:
        click.echo(texts.PUBLISHED_HEADER + texts.to_yaml(model.Config()), nl=False)
        return
    loaded = overlaid(files)
    if assumptions or explain:
        for path, value, text in texts.described(loaded):
            if explain or texts.mark(text) == texts.ASSUMED:
                click.echo(f"{path} = {json.dumps(value, ensure_ascii=False)}\n    {text}")
    else:
        click.echo(texts.to_yaml(loaded, comments=False), nl=False)


@cli.command()
@OVERLAYS
@click.option("--layers", type=int, default=None, help="Fewer layers than the published model: without a GPU, 2. [default: all]")
@click.option("--items", type=click.IntRange(4, 16), default=8, show_default=True, help="Questions of the benchmark.")
@click.option("--keep", type=FILE, default=None, help="Work in this folder, and keep it: stand-ins, the run, logs.")
@click.option("--only", multiple=True, metavar="PROBE", help="Of the probes above, run only this one; may be repeated.")
@click.option("--memory", type=click.FloatRange(min=0, min_open=True), default=None, help="GB: rehearse as if the device had no more.")
@click.option("--out", type=FILE, default=Path("rehearsal.json"), show_default=True, help="What was found, for `cardproof plan` (JSON).")
@click.pass_context
def rehearse(ctx: click.Context, /, files: tuple[Path, ...], out: Path, **options: Any) -> None:
    """Rehearse the published run on this machine, before anything is fetched.

    It writes stand-ins of all that the published run fetches: a model of Qwen3-14B's sizes that is zero but for a few million numbers and
    recites its replies; an adapter; a verifier of DeBERTa-v3-large's sizes; a few questions on long documents. They look like 32 GB and
    take little disk. Then the published workflow runs on them without a network, and probes measure it. The table sets what was measured
    beside what `cardproof plan` says, with a verdict and what to do. It exits with 1 if the published run would not work here.

    \b
    The probes, after the workflow itself:
      load        seconds until the model computes
      training    seconds of a step, tokens a second, peak memory
      verifying   pairs a second
      full        the worst case of sampling: all rows, longest prompts, endless replies; its speed and peak memory
      published   whether the device holds the published run
      greedy      greedy replies equal those of transformers' `generate`
      rows        the same samples with fewer rows decoded together
      neighbours  the same samples with other items beside them, in another order
      resume      the same samples after a job was killed and started again

    A rehearsal that was killed goes on where it stopped. Without a GPU, `--layers 2` rehearses the workflow in minutes, at smaller widths.
    """
    from cardproof.errors import CardproofError, did_you_mean
    from cardproof.files import write_json
    from cardproof.rehearsal import table
    from cardproof.rehearsal.probes import PROBES
    from cardproof.rehearsal.rehearse import Asked
    from cardproof.rehearsal.rehearse import rehearse as run

    for name in options["only"]:
        if name not in PROBES:
            raise CardproofError(f"--only: there is no probe {name!r}.", did_you_mean(name, PROBES, f"known: {', '.join(PROBES)}."))
    given = tuple(dict.fromkeys([ROOT / "config.yaml", *(f.resolve() for f in files)]))
    found = run(
        Asked(files=given, root=ROOT, claims=CLAIMS, offline=ctx.obj, **options), lambda text: click.echo(f"cardproof: {text}", err=True)
    )
    write_json(out, found)
    click.echo(f"{table.as_text(found)}\nWritten: {out}" + ("" if found.reduced else "; `cardproof plan` uses its rates") + ".")
    if any(line.fails for line in found.lines):
        sys.exit(1)


@cli.command()
@click.option("--log", type=FILE, required=True, help="File for all that Snakemake says.")
@PUBLISHED
def progress(log: Path, claims: Path) -> None:
    """Show how far the demo is, from Snakemake's output on standard input; first what the published card's own arithmetic says.

    In a terminal it is one line, rewritten; elsewhere a line for each job as it starts.
    """
    from cardproof.machine import progress as following

    run = following.of_demo(ROOT / "rules")  # first: the processor's speed is measured with one thread, before the audit loads numpy

    from cardproof.claims.answer import by_itself
    from cardproof.claims.audit import run_audit

    try:
        said = by_itself(run_audit(claims, count_parameters=False).findings)
        click.echo(f"{said[0].upper()}{said[1:]}.")
    except CardproofError as e:  # the run's own audit will stop it; here its output must still find a reader
        click.echo(f"cardproof: warning: {e.sentence}", err=True)
    with open(log, "wb") as file:
        following.follow(sys.stdin.fileno(), file, sys.stdout, run)
