"""The verb that shows how one reply is read."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from cardproof.cli.group import cli
from cardproof.cli.recording import reads

COLOURS = {"strict": "green", "near_miss": "yellow", "misattributed": "magenta", "fabricated": "red", "quote": "red", "document": "green"}


@cli.command()
@click.option("--reply", required=True, metavar="FILE|-", help="The reply; - reads it from standard input.")
@reads("--documents", "The documents shown: JSON Lines whose rows have `id` and `text`.")
@click.option("--freeform", is_flag=True, help="The contract was not asked for: the whole reply is the answer.")
@click.option("--thinking", is_flag=True, help="The chat template opened a reasoning block before the reply.")
@click.option("--refusal", "phrases", multiple=True, help="A phrase that refuses; default: INSUFFICIENT EVIDENCE.")
@click.option("--headings", nargs=2, default=None, metavar="QUOTES ANSWER", help="Headings of quotes and answer; default: EVIDENCE ANSWER.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def ground(
    reply: str, documents: Path, freeform: bool, thinking: bool, phrases: tuple[str, ...], headings: tuple[str, str] | None, form: str
) -> None:
    """Show how a reply is read: its quotes, where each is in the documents and what repairs it, its citations, answer and defects."""
    import json

    from cardproof.contract import explain
    from cardproof.contract.citing import Ids
    from cardproof.contract.form import HEADINGS, REFUSAL_PHRASES
    from cardproof.contract.reading import Terms
    from cardproof.contract.reasoning import OPENED

    known = explain.read_documents(documents)
    terms = Terms(Ids.of([doc_id for doc_id, _ in known]), not freeform, phrases or REFUSAL_PHRASES, headings or HEADINGS)
    told = explain.explain(OPENED * thinking + explain.read_reply(reply), known, terms)
    if form == "json":
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
        return
    width = max(40, min(100, shutil.get_terminal_size((100, 24)).columns))

    def style(text: str, kind: str) -> str:
        return click.style(text, fg=COLOURS.get(kind), bold=kind == "heading")

    click.echo(explain.as_text(told, known, style, width), nl=False)
