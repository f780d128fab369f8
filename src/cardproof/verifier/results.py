"""What `verifier/metrics.json` holds: the source of its schema in `schemas/results/`."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from cardproof.records import Estimate, Result


def _only_if_trained() -> Any:
    """A field that only a verifier trained in the run has."""
    return Field(default=None, exclude_if=lambda value: value is None)


class ByTemplate(Result):
    """AUC of true sentences against altered ones, by kind of error."""

    all: Estimate
    """Against every altered sentence."""
    planted: Estimate
    """Against sentences altered by a template, without sentences from other documents."""
    by_kind: dict[str, Estimate]
    """Kind of error -> AUC against that kind."""


class PlantedErrors(Result):
    """How much more support claims get than the same claims with an error planted."""

    auc: Estimate
    """AUC of support, original against altered claims; its value is None with too few couples."""
    paired: float | None
    """Share of couples in which the original scores higher, ties counted half; None with too few couples."""
    couples: int
    """Couples of an original and an altered claim."""
    by_kind: dict[str, Estimate]
    """Kind of error -> AUC."""


class Planted(Result):
    """Errors planted in this run's own rollouts."""

    sentences: PlantedErrors
    """In sentences copied word for word from the documents shown, so that the original is true."""
    answers: PlantedErrors
    """In the rollouts' answers. They may be false themselves, so the AUC understates the verifier."""
    templates: str
    """The templates that altered the claims: `held_out`, which training does not use."""
    seed: int
    """Seed of the draw."""


class RagTruth(Result):
    """The verifier on RAGTruth's test answers to questions."""

    auc: Estimate
    """AUC of support, responses without annotated hallucinations against responses with them."""
    clean: int
    """Responses without annotated hallucinations."""
    hallucinated: int
    """Responses with annotated hallucinations."""
    sources: int
    """Questions answered."""
    pairs: int
    """Pairs of premise and claim scored."""
    truncated: int
    """Pairs whose premise was cut to the verifier's length."""
    files: dict[str, str]
    """File -> sha256."""


class Coverage(Result):
    """How much of the answers the verifier saw, over all arms and conditions."""

    rollouts: int
    """Rollouts."""
    answered: int
    """Rollouts with an answer to verify."""
    pairs: int
    """Pairs of premise and claim scored."""
    truncated: int
    """Pairs whose premise was cut to the verifier's length."""


class VerifierMetrics(Result):
    """`verifier/metrics.json`: how the verifier was trained, if this run trained it, and how well it tells true claims from others."""

    pairs: int | None = _only_if_trained()
    """Training pairs of sentence and claim."""
    entailed: int | None = _only_if_trained()
    """Training pairs whose claim follows from the sentence."""
    train_passages: int | None = _only_if_trained()
    """Passages that the training pairs come from."""
    heldout_passages: int | None = _only_if_trained()
    """Passages that the test pairs come from."""
    epochs: int | None = _only_if_trained()
    """Passes over the pairs."""
    steps: int | None = _only_if_trained()
    """Optimizer steps."""
    loss: list[float] | None = _only_if_trained()
    """Cross entropy of every step, in nats."""
    loss_by_epoch: list[float] | None = _only_if_trained()
    """Mean loss of every epoch."""
    trainable_parameters: int | None = _only_if_trained()
    """Parameters trained."""
    auc: dict[str, Estimate | ByTemplate]
    """Test -> AUC of P(entailed)."""
    threads: int | None = _only_if_trained()
    """CPU threads of the training."""
    seed: int | None = _only_if_trained()
    """Training seed."""
    planted: Planted
    """Errors planted in this run's rollouts."""
    ragtruth: RagTruth | None
    """RAGTruth; None if the configuration does not name a copy of it."""
    coverage: Coverage
    """How much it saw of the answers of this run."""
