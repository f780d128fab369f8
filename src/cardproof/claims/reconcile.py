"""Which reading of the printed recipe do the losses favour? The card's examples, batch, epochs and steps contradict each other.

Each reading is trained on the run's own examples; what it would make of the card's number of examples is arithmetic, what its loss is
compared with is the card's. At another scale the losses are reported and favour nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Literal, get_args

from cardproof.claims.claims_file import CLAIMS_PATH, ValueClaim, read_claims
from cardproof.claims.comparable import comparable, compared
from cardproof.config.settings import Config, optimizer_steps
from cardproof.errors import CardproofError
from cardproof.evaluation.printed import number
from cardproof.records import Result
from cardproof.runs import Run, metrics
from cardproof.training.results import TrainingMetrics

LossName = Literal["train_loss", "last_loss"]
EXAMPLES, STEPS, LOSS = "training.examples", "training.steps", "training.loss"
LOSSES: tuple[LossName, ...] = get_args(LossName)


class Published(Result):
    """What the card prints of its recipe."""

    examples: int
    """Training examples."""
    steps: int
    """Optimizer steps."""
    loss: str
    """Training loss as printed, in nats per reply token."""


class RecipeReading(Result):
    """One reading of the printed recipe, trained on the run's own examples."""

    run: str
    """The training run that it is: `training/RUN/`."""
    effective_batch: int
    """Examples in one optimizer step."""
    epochs: int
    """Times that each example is seen."""
    examples: int
    """Examples that the run trained on."""
    steps: int
    """Optimizer steps that the run made."""
    steps_at_published_examples: int
    """Optimizer steps that the reading would make of the card's number of examples."""
    steps_as_published: bool
    """True if these are the printed steps."""
    train_loss: float
    """Mean loss over all steps, in nats per reply token."""
    last_loss: float
    """Loss of the last step, in nats per reply token."""
    distance: float
    """Distance of the mean loss from the printed one."""
    prints_as_published: list[LossName]
    """The losses that round to the printed one."""


class Reconciliation(Result):
    """`evaluation/reconcile.json`: which reading of the contradictory recipe the losses favour."""

    scale: str
    """Scale of the run."""
    comparable: bool
    """True if the run compares with the card; only then can losses favour a reading."""
    published: Published
    """What the card prints."""
    readings: dict[str, RecipeReading]
    """Name of the reading -> what it makes."""
    nearest: str | None
    """The reading whose mean loss is nearest to the printed one; None if the run does not compare with the card."""
    favoured: str | None
    """The only reading with a loss that prints as published; None if there is not exactly one, or the run does not compare."""


def reconcile(config: Config, run_dir: Path, claims_path: Path = CLAIMS_PATH) -> Reconciliation:
    """Every reading's steps and losses beside the printed ones.

    Raises CardproofError if a training record or one of the three claims is missing.
    """
    file, run = read_claims(claims_path), Run(run_dir)
    claims = file.values()
    published = {name: _claim(claims, name, claims_path) for name in (EXAMPLES, STEPS, LOSS)}
    readings = {name: _reading(config, run, training, published) for name, training in config.reading_runs.items()}
    exact = [name for name, found in readings.items() if found.prints_as_published]
    compares = comparable(compared(file, run, finished=False))
    return Reconciliation(
        scale=config.scale,
        comparable=compares,
        published=Published(examples=int(published[EXAMPLES].exact), steps=int(published[STEPS].exact), loss=str(published[LOSS].value)),
        readings=readings,
        nearest=min(readings, key=lambda name: readings[name].distance) if compares and readings else None,
        favoured=exact[0] if compares and len(exact) == 1 else None,
    )


def _reading(config: Config, run: Run, training: str, published: Mapping[str, ValueClaim]) -> RecipeReading:
    found = run.read(metrics(training), TrainingMetrics)
    variant = config.training_runs[training].variant
    at_card = optimizer_steps(int(published[EXAMPLES].exact), variant)
    return RecipeReading(
        run=training,
        effective_batch=variant.effective_batch,
        epochs=variant.epochs,
        examples=found.examples,
        steps=found.steps,
        steps_at_published_examples=at_card,
        steps_as_published=at_card == int(published[STEPS].exact),
        train_loss=found.train_loss,
        last_loss=found.last_loss,
        distance=abs(found.train_loss - float(published[LOSS].exact)),
        prints_as_published=[loss for loss in LOSSES if published[LOSS].interval.holds(Fraction(getattr(found, loss)))],
    )


def _claim(claims: Mapping[str, ValueClaim], name: str, path: Path) -> ValueClaim:
    if name not in claims or claims[name].value is None:
        raise CardproofError(f"{path} has no value for {name}.", "the readings of the recipe are judged by it; add the claim.")
    return claims[name]


def render_text(found: Reconciliation) -> str:
    """The table of readings for a terminal."""
    published = found.published
    heads = ("reading", "batch", "epochs", "steps", f"at {published.examples}", "mean loss", "last loss")
    lines = [
        f"The card prints {published.steps} steps on {published.examples} examples and the loss {published.loss}.",
        "{:<10} {:>5} {:>6} {:>6} {:>6} {:>9} {:>9}".format(*heads),
    ]
    for name, row in found.readings.items():
        agrees = "  steps as printed" if row.steps_as_published else ""
        lines.append(
            f"{name:<10} {row.effective_batch:>5} {row.epochs:>6} {row.steps:>6} {row.steps_at_published_examples:>6}"
            f" {number(row.train_loss):>9} {number(row.last_loss):>9}{agrees}"
        )
    return "\n".join([*lines, conclusion(found)])


def conclusion(found: Reconciliation) -> str:
    """What the losses say, in one sentence."""
    if not found.comparable:
        return "The losses favour no reading: the run does not compare with the card."
    if found.favoured:
        return f"The evidence favours {found.favoured}: it alone has a loss that prints as {found.published.loss}."
    return f"No single reading has a loss that prints as {found.published.loss}; {found.nearest} is nearest."
