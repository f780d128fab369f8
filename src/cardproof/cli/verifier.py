"""Verbs of the verifier: its training, its word on each answer, its check."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cardproof.cli.group import cli, with_config, with_gpus
from cardproof.cli.recording import FILE, FileOption, itself, makes, reads

if TYPE_CHECKING:
    from cardproof.config.settings import Config


@cli.command("train-verifier")
@with_config
@reads("--encoder", "Pretrained encoder folder.")
@reads("--corpus", "Passages.")
@reads("--train", "Train side of the split.")
@reads("--eval", "Held-out side of the split.")
@makes("--out", "Verifier folder to write.")
@makes("--metrics", "Its metrics to write (JSON).")
def train_verifier(config: Config, encoder: Path, corpus: Path, train: Path, eval: Path, out: Path, metrics: Path) -> None:
    """Train the embedded verifier on (sentence, claim) pairs built from the train side's documents."""
    from cardproof.verifier.train_verifier import train_verifier as run

    run(config, encoder, corpus, (train, eval), out, metrics)


@cli.command()
@with_gpus
@reads("--model", "Verifier folder.")
@click.option(
    "--work",
    cls=FileOption,
    type=(FILE, FILE, FILE),
    multiple=True,
    required=True,
    reads=[itself, itself, None],
    makes=[None, None, itself],
    help="Prompts, samples, and the support file to write.",
)
def support(config: Config, model: Path, work: Any) -> None:
    """Let the verifier judge each answer by the documents it cites."""
    from cardproof.verifier.support import support as run

    run(config, model, work)


@cli.command("check-verifier")
@with_gpus
@reads("--model", "Verifier folder.")
@reads("--prompts", "Prompts file.")
@reads("--samples", "Samples file.")
@reads("--support", "Support files of this run, whose pairs and cut premises are counted.", multiple=True, required=False)
@reads("--training", "Metrics of its training in this run, to be included.", required=False)
@makes("--out", "Metrics to write (JSON).")
def check_verifier(
    config: Config, model: Path, prompts: Path, samples: Path, support: tuple[Path, ...], training: Path | None, out: Path
) -> None:
    """Measure how well the verifier tells true from altered claims, on this run's own rollouts."""
    from cardproof.verifier.check_verifier import check_verifier as run

    run(config, model, prompts, samples, support, training, out)
