"""The verb that turns scores into the card's numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cardproof import runs
from cardproof.cli.group import cli, with_config
from cardproof.cli.recording import below, makes, reads

if TYPE_CHECKING:
    from cardproof.config.settings import Config


@cli.command()
@with_config
@reads("--scores", "Folder of the scores: ARM/CONDITION.parquet.", below("{arm}/{condition}.parquet"))
@reads(
    "--prompts", "Folder of the prompts, whose references ROUGE-L is checked with.", below("clean.jsonl", "stress.jsonl", "freeform.jsonl")
)
@makes("--out", "Folder for axes, stress, mechanism, compute and format_lock (JSON).", below(*(f"{name}.json" for name in runs.EVALUATION)))
def evaluate(config: Config, scores: Path, prompts: Path, out: Path) -> None:
    """Turn scores into the card's numbers, each with n and an interval; with several training seeds, also the spread between them.

    The ROUGE-L of the picked candidates is computed by the library rouge-score, and the scores must agree with it.
    """
    from cardproof.evaluation import between_seeds
    from cardproof.evaluation.evaluate import run
    from cardproof.evaluation.picked_rouge import PickedRouge

    settings = config.evaluation
    rouge = PickedRouge(prompts, config.scoring)
    run(
        scores,
        out,
        arms=list(config.arms),
        support_margin=settings.support_margin,
        level=settings.level,
        hypotheses=settings.primary,
        simulations=settings.simulations,
        seed=config.seed,
        rouge=rouge,
    )
    if config.replicas:
        between_seeds.add(scores, out, config.replicas, rouge)
