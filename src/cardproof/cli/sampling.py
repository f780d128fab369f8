"""Verbs that run or train a model, and those that score what it wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cardproof.cli.group import cli, with_gpus
from cardproof.cli.recording import FILE, FileArgument, FileOption, folder, itself, makes, reads

if TYPE_CHECKING:
    from cardproof.config.settings import Config


def _step_of_sample(values: dict[str, Any]) -> tuple[str, dict[str, str]]:
    return ("sample_train" if any(samples.name == "train.jsonl" for _, samples in values["work"]) else "sample"), {}


@cli.command(step=_step_of_sample)
@with_gpus
@click.option("--arm", required=True)
@reads("--model", "Base model folder.")
@reads("--adapter", "LoRA adapter folder; left out for the base arm.", required=False)
@click.option(
    "--work",
    cls=FileOption,
    type=(FILE, FILE),
    multiple=True,
    required=True,
    reads=[itself, None],
    makes=[None, itself],
    help="A prompts file and the samples file to write for it.",
)
@click.option("--shard", default="0/1", show_default=True, help="Which piece of each file's items: NUMBER/OF, counted from 0.")
@folder("--store", "Where finished items are kept as they come, so that a killed run repeats none.")
def sample(config: Config, arm: str, model: Path, adapter: Path | None, work: Any, shard: str, store: Path) -> None:
    """Draw N replies per item; one load of the model serves all files given."""
    from cardproof.sampling.sample import sample as run

    run(config, arm, dict(work), model, adapter, shard, store)


@cli.command()
@with_gpus
@reads("--model", "Base model folder.")
@makes("--out", "Model folder to write.")
def dequantise(config: Config, model: Path, out: Path) -> None:
    """Write a model's weights after a round trip through NF4, for vLLM, which has no NF4 of its own."""
    from cardproof.sampling.dequantise import dequantise as run

    run(model, out)


@cli.command()
@makes("--out", "Samples file to write.")
@click.argument("shards", cls=FileArgument, nargs=-1, type=FILE, required=True, reads=[itself])
def gather(out: Path, shards: tuple[Path, ...]) -> None:
    """Join the shards of one arm and condition, in order."""
    from cardproof.sampling.gather import gather as run

    run(shards, out)
