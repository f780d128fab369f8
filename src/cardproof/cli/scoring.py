"""The verb that scores rollouts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cardproof.cli.group import cli, with_config
from cardproof.cli.recording import makes, reads

if TYPE_CHECKING:
    from cardproof.config.settings import Config


@cli.command()
@with_config
@reads("--prompts", "Prompts file.")
@reads("--samples", "Samples file.")
@reads("--support", "Support file.")
@makes("--out", "Scores to write (Parquet).")
def score(config: Config, prompts: Path, samples: Path, support: Path, out: Path) -> None:
    """Compute every axis of every rollout."""
    import gc

    from cardproof.scoring.score import score_files
    from cardproof.scoring.table import write_scores

    gc.disable()  # rows hold no cycles, and looking for some among so many takes a tenth of the time
    arms = [*config.sampled_arms, "train"]
    write_scores(out, score_files(prompts, samples, support, config.scoring, config.contract.refusal_phrases, arms, config.rollouts))
