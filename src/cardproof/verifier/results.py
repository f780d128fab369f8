"""What `verifier/metrics.json` holds: the source of its schema in `schemas/results/`."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from cardproof.records import Estimate, Result


def _only_if_trained() -> Any:
    """A field that only a verifier trained in the run has."""
    return Field(default=None, exclude_if=lambda value: value is None)


class ByTemplate(Result):
    """AUC of true against altered sentences, by what altered them."""

    all: Estimate
    """Against every altered sentence."""
    planted: Estimate
    """Against those altered by a template, without sentences of other documents."""
    by_kind: dict[str, Estimate]
    """Kind of error -> AUC against that kind."""


class PlantedErrors(Result):
    """Support of claims against that of the same claims with an error planted."""

    auc: Estimate
    """AUC of support, originals against altered claims; without a value from too few couples."""
    paired: float | None
    """Share of couples in which the original scores higher, ties counted half; None from too few couples."""
    couples: int
    """Couples of an original and an altered claim."""
    by_kind: dict[str, Estimate]
    """Kind of error -> AUC."""


class Planted(Result):
    """Errors planted in this run's own rollouts."""

    sentences: PlantedErrors
    """In sentences copied word for word from the documents shown, so that the original is true."""
    answers: PlantedErrors
    """In the rollouts' answers, which may themselves be false, so that the AUC understates the verifier."""
    templates: str
    """Which templates altered the claims: `held_out`, those not trained on."""
    seed: int
    """Seed of the draw."""


class RagTruth(Result):
    """The verifier on RAGTruth's test answers to questions."""

    auc: Estimate
    """AUC of support, responses without annotated hallucinations against those with."""
    clean: int
    """Responses without."""
    hallucinated: int
    """Responses with."""
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
    """Those with an answer to verify."""
    pairs: int
    """Pairs of premise and claim scored."""
    truncated: int
    """Pairs whose premise was cut to the verifier's length."""


class VerifierMetrics(Result):
    """`verifier/metrics.json`: how the verifier was trained, if this run trained it, and how well it tells true claims from others."""

    pairs: int | None = _only_if_trained()
    """Pairs of sentence and claim trained on."""
    entailed: int | None = _only_if_trained()
    """Pairs whose claim follows."""
    train_passages: int | None = _only_if_trained()
    """Passages that the pairs are from."""
    heldout_passages: int | None = _only_if_trained()
    """Passages that the AUCs are from."""
    epochs: int | None = _only_if_trained()
    """Times that each pair is seen."""
    steps: int | None = _only_if_trained()
    """Optimizer steps."""
    loss: list[float] | None = _only_if_trained()
    """Cross entropy of every step, in nats."""
    loss_by_epoch: list[float] | None = _only_if_trained()
    """Its mean over every epoch."""
    trainable_parameters: int | None = _only_if_trained()
    """Parameters trained."""
    auc: dict[str, Estimate | ByTemplate]
    """What it was tested on -> AUC of P(entailed)."""
    threads: int | None = _only_if_trained()
    """Threads it was trained with."""
    seed: int | None = _only_if_trained()
    """Training seed."""
    planted: Planted
    """Errors planted in this run's rollouts."""
    ragtruth: RagTruth | None
    """RAGTruth; None where the configuration names no copy of it."""
    coverage: Coverage
    """How much it saw of the answers of this run."""
