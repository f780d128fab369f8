"""Verbs on what cards claim: audit, draft, reconcile, claims."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from cardproof import runs
from cardproof.cli.group import CLAIMS, OF_RUN, ask_the_hub, card_of_run, cli, show, with_config
from cardproof.cli.recording import EVALUATED, TRAINING, below, following, makes, reads
from cardproof.errors import CardproofError

if TYPE_CHECKING:
    from cardproof.config.settings import Config

JUDGED_BY = below(runs.CONFIG, runs.AUDIT, *EVALUATED, TRAINING, runs.SELECTION, runs.STEPS, runs.samples("*", "clean"))
"""What verdicts rest on."""


@cli.command()
@with_config
@reads("--run", "Folder of the run.", below(TRAINING))
@reads("--claims", "The card's numbers, as data.", default=CLAIMS, show_default=True)
@makes("--out", "Write reconcile.json there.", required=False)
def reconcile(config: Config, run: Path, claims: Path, out: Path | None) -> None:
    """Compare the readings of the printed recipe, which contradicts itself, by their steps and training losses.

    The chain of evidence behind the losses is checked first; exits with 4 where it is broken.
    """
    from cardproof.claims import reconcile as judge
    from cardproof.files import write_json

    with following(run, [run / runs.metrics(name) for name in dict.fromkeys(config.reading_runs.values())]):
        found = judge.reconcile(config, run, claims)
    if out:
        write_json(out, found)
    click.echo(judge.render_text(found))


@cli.command()
@click.argument("card", required=False)
@reads("--claims", "The published card's numbers, as data; audited where no CARD is given.", default=CLAIMS, show_default=True)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--count/--no-count", default=True, show_default=True, help="Build the architecture on the meta device and count.")
@reads("--architecture", "config.json of CARD's model: count its parameters as well.", required=False)
@click.option("--jobs", type=click.IntRange(1), default=None, help="Processes for a folder of cards.  [default: one a CPU core]")
@makes("--out", "Write JSON there as well; for a folder, the findings (JSON Lines), with a summary beside them.", required=False)
@click.option("--fail-on", type=click.Choice(["error", "warning"]), default=None, help="Exit with 3 on an error (warning: or a warning).")
@click.pass_context
def audit(
    ctx: click.Context,
    card: str | None,
    claims: Path,
    form: str,
    count: bool,
    architecture: Path | None,
    jobs: int | None,
    out: Path | None,
    fail_on: str | None,
) -> None:
    """Check a card against itself: identities, counts, possible proportions. No GPU, no network, seconds.

    CARD is a model card (CARD.md), a folder of them, or the Hub id of a model (OWNER/NAME, which needs a network). Without it, the
    published card is audited, from the claims file that holds its numbers.
    """
    from cardproof.claims import audit as auditor
    from cardproof.files import write_json

    if card is not None and Path(card).is_dir():
        counts = _audit_folder(Path(card), out, jobs, form)
    elif card is not None:
        counts = _audit_card(ctx, card, architecture, out, form)
    else:
        result = auditor.run_audit(claims, count)
        if out:
            write_json(out, auditor.to_json(result))
        show(form, auditor.to_json(result), partial(auditor.render_text, result))
        counts = result.counts
    if code := auditor.exit_code(counts, fail_on):
        sys.exit(code)


def _audit_card(ctx: click.Context, card: str, architecture: Path | None, out: Path | None, form: str) -> dict[str, int]:
    from cardproof.cards import audit_card
    from cardproof.files import write_json

    with _card_file(ctx, card) as path:
        result = audit_card.audit_file(path, architecture)
    result.card = card
    if out:
        write_json(out, result.row())
    show(form, result.row(), partial(audit_card.render, result))
    return result.counts()


def _audit_folder(folder: Path, out: Path | None, jobs: int | None, form: str) -> dict[str, int]:
    from cardproof.cards import survey

    if out is None:
        raise CardproofError(f"{folder} is a folder, and no file for the findings is given.", "add --out FINDINGS.jsonl.")
    summary = survey.survey(folder, out, jobs or 0)
    show(form, summary, lambda width: survey.markdown(summary))
    return {"error": summary["cards_with_an_error"], "warning": summary["cards_with_a_warning"]}


@contextmanager
def _card_file(ctx: click.Context, card: str) -> Iterator[Path]:
    """The file of a card: the one named, or the one fetched from the Hub into a folder that is then removed."""
    from cardproof.cards.source import fetch_card, is_hub_id

    if not is_hub_id(card):
        yield Path(card)
        return
    ask_the_hub(ctx)
    with TemporaryDirectory() as folder:
        yield fetch_card(card, Path(folder))


@cli.command()
@click.argument("card")
@makes("--out", "Write the claims file there, instead of printing it.", required=False)
@reads("--against", "A claims file: say which numbers it and the card do not share.", required=False)
@click.pass_context
def draft(ctx: click.Context, card: str, out: Path | None, against: Path | None) -> None:
    """Write a model card's numbers and relations as a claims file, to complete by hand.

    CARD is a model card (CARD.md) or the Hub id of a model.
    """
    from cardproof.claims import draft as drafts
    from cardproof.files import write_text

    with _card_file(ctx, card) as path:
        raw = drafts.draft(path)
    if against:
        found = drafts.compare(raw, against)
        click.echo("\n".join(found) if found else f"{card} and {against} hold the same numbers.")
    if out:
        write_text(out, drafts.to_yaml(raw, card))
        click.echo(f"{out}: {len(raw['claims'])} claims and {len(raw['identities'])} identities to check by hand.")
    elif not against:
        click.echo(drafts.to_yaml(raw, card), nl=False)


@cli.command()
@reads("--run", "Folder of the run.", JUDGED_BY, is_eager=True)
@reads("--claims", OF_RUN, required=False, callback=card_of_run)
@makes("--out", "Write claims.json there.", required=False)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--fail-on", type=click.Choice(["differs"]), default=None, help="Exit with 3 when a comparable claim differs.")
def claims(run: Path, claims: Path | None, out: Path | None, form: str, fail_on: str | None) -> None:
    """Judge every number on the published card by a run's results, if they compare; say what keeps them from that if they do not.

    The chain of evidence behind the results is checked first. Exits with 4, and judges nothing, where it is broken; where a run has no
    records, a note says that nobody checked it.
    """
    from cardproof.claims import claims as judge
    from cardproof.files import plain, write_json

    with following(run, JUDGED_BY(run, None)):
        report = judge.judge(run, claims)
    if out:
        write_json(out, report)
    show(form, plain(report), partial(judge.render_text, report))
    sys.exit(judge.exit_code(report, fail_on))
