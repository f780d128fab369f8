"""Verbs that choose training examples and train on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cardproof.cli.group import ROOT, cli, with_config, with_gpus
from cardproof.cli.recording import beside, folder, makes, reads

if TYPE_CHECKING:
    from cardproof.config.settings import Config


@cli.command()
@with_config
@reads("--prompts", "Train prompts.")
@reads("--samples", "Their samples.")
@reads("--scores", "Their scores.")
@reads("--templates", "Prompt templates.", default=ROOT / "prompts", show_default=True)
@makes("--out", "Training examples to write.")
@makes("--selection", "What was kept and why others fell, to write (JSON).")
def distill(config: Config, prompts: Path, samples: Path, scores: Path, templates: Path, out: Path, selection: Path) -> None:
    """Keep each train item's best candidates as RAFT-style training examples."""
    from cardproof.training.distill import distill as run

    summary = run(config, prompts, samples, scores, templates, out, selection)
    click.echo(f"{out}: {summary['kept']} of {summary['candidates']} candidates kept", err=True)


@cli.command(step=lambda values: ("train", {"variant": values["variant"]}))
@with_gpus
@click.option("--variant", required=True, help="Name of the training run: a variant, a replica of it (NAME.seedN), or a reading.")
@reads("--examples", "Training examples.")
@reads("--model", "Base model folder.")
@makes("--out", "Adapter folder to write.")
@makes("--metrics", "Its metrics to write (JSON); what the training cost is written beside them.", beside("cost.json"))
@folder("--work", "Folder for checkpoints while it runs.")
def train(config: Config, variant: str, examples: Path, model: Path, out: Path, metrics: Path, work: Path) -> None:
    """Train one LoRA adapter on the NF4 base."""
    from cardproof.training.train import Paths
    from cardproof.training.train import train as run

    run(config, variant, Paths(examples, model, out, metrics, work))
