"""Which reading of the printed recipe do the losses favour? The card's examples, batch, epochs and steps contradict each other.

Each reading is trained on the run's own examples; what it would make of the card's number of examples is arithmetic, what its loss is
compared with is the card's. At another scale the losses are reported and favour nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from cardproof.claims.claims_file import CLAIMS_PATH, ValueClaim, read_claims
from cardproof.config.settings import Config, optimizer_steps
from cardproof.errors import CardproofError
from cardproof.files import read_json

EXAMPLES, STEPS, LOSS = "training.examples", "training.steps", "training.loss"
LOSSES = ("train_loss", "last_loss")
COMPARABLE_SCALE = "published"


def reconcile(config: Config, run_dir: Path, claims_path: Path = CLAIMS_PATH) -> dict[str, Any]:
    """Every reading's steps and losses beside the printed ones: the content of `evaluation/reconcile.json`.

    Losses in nats per reply token. `prints_as_published` names the losses that round to the printed one. At published scale `nearest` is
    the reading with the smallest distance of its mean loss, and `favoured` the only one with a loss that prints as published, if there is
    exactly one; elsewhere both are None. Raises CardproofError where a training record or one of the three claims is missing.
    """
    claims = read_claims(claims_path).values()
    published = {name: _claim(claims, name, claims_path) for name in (EXAMPLES, STEPS, LOSS)}
    examples, steps = int(published[EXAMPLES].exact), int(published[STEPS].exact)
    comparable = config.scale == COMPARABLE_SCALE
    readings = {}
    for name, run in config.reading_runs.items():
        metrics = read_json(run_dir / "training" / run / "metrics.json")
        variant = config.training_runs[run].variant
        at_card = optimizer_steps(examples, variant)
        readings[name] = {
            "run": run,
            "effective_batch": variant.effective_batch,
            "epochs": variant.epochs,
            "examples": metrics["examples"],
            "steps": metrics["steps"],
            "steps_at_published_examples": at_card,
            "steps_as_published": at_card == steps,
            **{loss: metrics[loss] for loss in LOSSES},
            "distance": abs(metrics["train_loss"] - float(published[LOSS].exact)),
            "prints_as_published": [loss for loss in LOSSES if published[LOSS].interval.holds(Fraction(metrics[loss]))],
        }
    exact = [name for name, found in readings.items() if found["prints_as_published"]]
    return {
        "scale": config.scale,
        "comparable": comparable,
        "published": {"examples": examples, "steps": steps, "loss": published[LOSS].value},
        "readings": readings,
        "nearest": min(readings, key=lambda name: readings[name]["distance"]) if comparable and readings else None,
        "favoured": exact[0] if comparable and len(exact) == 1 else None,
    }


def _claim(claims: Mapping[str, ValueClaim], name: str, path: Path) -> ValueClaim:
    if name not in claims or claims[name].value is None:
        raise CardproofError(f"{path} has no value for {name}.", "the readings of the recipe are judged by it; add the claim.")
    return claims[name]


def render_text(found: Mapping[str, Any]) -> str:
    """The table of readings for a terminal."""
    published = found["published"]
    heads = ("reading", "batch", "epochs", "steps", f"at {published['examples']}", "mean loss", "last loss")
    lines = [
        f"The card prints {published['steps']} steps on {published['examples']} examples and the loss {published['loss']}.",
        "{:<10} {:>5} {:>6} {:>6} {:>6} {:>9} {:>9}".format(*heads),
    ]
    for name, row in found["readings"].items():
        agrees = "  steps as printed" if row["steps_as_published"] else ""
        lines.append(
            f"{name:<10} {row['effective_batch']:>5} {row['epochs']:>6} {row['steps']:>6} {row['steps_at_published_examples']:>6}"
            f" {row['train_loss']:>9.3f} {row['last_loss']:>9.3f}{agrees}"
        )
    return "\n".join([*lines, conclusion(found)])


def conclusion(found: Mapping[str, Any]) -> str:
    """What the losses say, in one sentence."""
    if not found["comparable"]:
        return f"At {found['scale']} scale the losses favour no reading: they are another model's on other examples."
    if found["favoured"]:
        return f"The evidence favours {found['favoured']}: it alone has a loss that prints as {found['published']['loss']}."
    return f"No single reading has a loss that prints as {found['published']['loss']}; {found['nearest']} is nearest."
