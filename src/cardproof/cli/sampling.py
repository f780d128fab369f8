"""Verbs that run or train a model, and those that score what it wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cardproof.cli.group import FILE, ROOT, cli, given, with_config

if TYPE_CHECKING:
    from cardproof.config.settings import Config


@cli.command()
@with_config
@click.option("--arm", required=True)
@given("--model", "Base model folder.")
@click.option("--adapter", type=FILE, default=None, help="LoRA adapter folder; left out for the base arm.")
@click.option("--work", type=(FILE, FILE), multiple=True, required=True, help="A prompts file and the samples file to write for it.")
@click.option("--shard", default="0/1", show_default=True, help="Which piece of each file's items: NUMBER/OF, counted from 0.")
@given("--store", "Where finished items are kept as they come, so that a killed run repeats none.")
def sample(config: Config, arm: str, model: Path, adapter: Path | None, work: Any, shard: str, store: Path) -> None:
    """Draw N replies per item; one load of the model serves all files given."""
    from cardproof.sampling.sample import sample as run

    run(config, arm, dict(work), model, adapter, shard, store)


@cli.command()
@given("--out", "Samples file to write.")
@click.argument("shards", nargs=-1, type=FILE, required=True)
def gather(out: Path, shards: tuple[Path, ...]) -> None:
    """Join the shards of one arm and condition, in order."""
    from cardproof.sampling.gather import gather as run

    run(shards, out)


@cli.command("train-verifier")
@with_config
@given("--encoder", "Pretrained encoder folder.")
@given("--corpus", "Passages.")
@given("--train", "Train side of the split.")
@given("--eval", "Held-out side of the split.")
@given("--out", "Verifier folder to write.")
@given("--metrics", "Its metrics to write (JSON).")
def train_verifier(config: Config, encoder: Path, corpus: Path, train: Path, eval: Path, out: Path, metrics: Path) -> None:
    """Train the embedded verifier on (sentence, claim) pairs built from the train side's documents."""
    from cardproof.verifier.train_verifier import train_verifier as run

    run(config, encoder, corpus, (train, eval), out, metrics)


@cli.command()
@with_config
@given("--model", "Verifier folder.")
@click.option("--work", type=(FILE, FILE, FILE), multiple=True, required=True, help="Prompts, samples, and the support file to write.")
def support(config: Config, model: Path, work: Any) -> None:
    """Let the verifier judge each answer by the documents it cites."""
    from cardproof.verifier.support import support as run

    run(config, model, work)


@cli.command("check-verifier")
@with_config
@given("--model", "Verifier folder.")
@given("--prompts", "Prompts file.")
@given("--samples", "Samples file.")
@click.option("--support", type=FILE, multiple=True, help="Support files of this run, whose pairs and cut premises are counted.")
@click.option("--training", type=FILE, default=None, help="Metrics of its training in this run, to be included.")
@given("--out", "Metrics to write (JSON).")
def check_verifier(
    config: Config, model: Path, prompts: Path, samples: Path, support: tuple[Path, ...], training: Path | None, out: Path
) -> None:
    """Measure how well the verifier tells true from altered claims, on this run's own rollouts."""
    from cardproof.verifier.check_verifier import check_verifier as run

    run(config, model, prompts, samples, support, training, out)


@cli.command()
@with_config
@given("--prompts", "Prompts file.")
@given("--samples", "Samples file.")
@given("--support", "Support file.")
@given("--out", "Scores to write (Parquet).")
def score(config: Config, prompts: Path, samples: Path, support: Path, out: Path) -> None:
    """Compute every axis of every rollout."""
    import gc

    from cardproof.scoring.score import score_files
    from cardproof.scoring.table import write_scores

    gc.disable()  # rows hold no cycles, and looking for some among so many takes a tenth of the time
    arms = [*config.sampled_arms, "train"]
    write_scores(out, score_files(prompts, samples, support, config.scoring, config.contract.refusal_phrases, arms, config.rollouts))


@cli.command()
@with_config
@given("--prompts", "Train prompts.")
@given("--samples", "Their samples.")
@given("--scores", "Their scores.")
@click.option("--templates", type=FILE, default=ROOT / "prompts", show_default=True)
@given("--out", "Training examples to write.")
@given("--selection", "What was kept and why others fell, to write (JSON).")
def distill(config: Config, prompts: Path, samples: Path, scores: Path, templates: Path, out: Path, selection: Path) -> None:
    """Keep each train item's best candidates as RAFT-style training examples."""
    from cardproof.training.distill import distill as run

    summary = run(config, prompts, samples, scores, templates, out, selection)
    click.echo(f"{out}: {summary['kept']} of {summary['candidates']} candidates kept", err=True)


@cli.command()
@with_config
@click.option("--variant", required=True, help="Name of the training run: a variant, a replica of it (NAME.seedN), or a reading.")
@given("--examples", "Training examples.")
@given("--model", "Base model folder.")
@given("--out", "Adapter folder to write.")
@given("--metrics", "Its metrics to write (JSON).")
@given("--work", "Folder for checkpoints while it runs.")
def train(config: Config, variant: str, examples: Path, model: Path, out: Path, metrics: Path, work: Path) -> None:
    """Train one LoRA adapter on the NF4 base."""
    from cardproof.training.train import Paths
    from cardproof.training.train import train as run

    run(config, variant, Paths(examples, model, out, metrics, work))
