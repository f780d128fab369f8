"""What `claims.json` holds: a row for each claim of the published card, with its verdict and the chain of evidence behind it.

The models here are the source of `schemas/results/claims.schema.json`.
"""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field

from cardproof.records import Estimate, Result
from cardproof.runs import CLAIMS, Run

VerdictName = Literal[
    "differs",
    "inconsistent_as_published",
    "refuted",
    "not_resolved",
    "undefined",
    "agrees",
    "shown",
    "as_set",
    "not_comparable",
    "not_run",
    "absent",
]
"""Measured numbers, tested all together: `agrees` (no significant difference, and a deviation of the claim's tolerance would have been
noticed), `not_resolved` (no significant difference, but it would not have been), `differs` (a significant one). Claims in words: `shown`,
`refuted` (the interval lies wholly where the words say, or wholly outside), `not_resolved`. `as_set`: a setting, or what follows from
settings, is the card's; that confirms nothing. `inconsistent_as_published`: the card contradicts itself here, whatever a run finds;
`undefined`: a number over no items; `not_comparable`: the run used something that is not the card's; `not_run`: there is no result yet;
`absent`: the card prints no number."""
Tier = Literal["audited", "replayed", "regenerated", "retrained"]
VERDICTS: tuple[VerdictName, ...] = get_args(VerdictName)
"""Worst first."""


class OtherReading(Result):
    """Another result that the printed number might mean."""

    text: str
    """What that result is, in words."""
    result: str
    """File of the run, #, JSON pointer."""
    value: float | None
    """The result in the claim's unit; None if the run does not have it."""
    printed: str | None
    """The result rounded to the printed decimals."""


class SettingsLink(Result):
    """Which settings a result depends on."""

    section: str | None
    """The section of the configuration that decides the claim, as the claims file names it."""
    fingerprint: str | None
    """sha256 over the settings of the rule; None before they are recorded."""
    sha256: str
    """sha256 of the run's `config.yaml`."""


class Chain(Result):
    """What a verdict rests on: claim, JSON pointer, file and its hash, rule, code, settings. None for a link that is not there (yet)."""

    claim: str
    """Id of the claim."""
    pointer: str | None
    """JSON pointer into the file."""
    file: str | None
    """File of the run."""
    sha256: str | None
    """sha256 of the file."""
    rule: str | None
    """The rule that makes the file."""
    code: str | None
    """Fingerprint of the code that made it (`provenance/steps.json`)."""
    config: SettingsLink
    """The settings it was made with."""
    over: list[str] | None = Field(default=None, exclude_if=lambda value: value is None)
    """For a claim of words: ids of the claims it compares."""


class Judgement(Result):
    """One claim of the card against the run. Numbers are in the claim's own unit: percent, millions, else as they are."""

    id: str
    """Id in the claims file."""
    kind: str
    """`proportion`, `mean`, `difference`, `count`, `setting`, `loss`, `size` or `predicate`, as in the claims file."""
    text: str
    """What the claim says, in the project's words."""
    where: str
    """Where the card prints it: section and place."""
    published: str | None
    """The number as printed, or the words of a predicate; None if the card prints no number."""
    unit: str | None
    """Unit of the printed number, as in the claims file."""
    arm: str | None
    """The arm it is about."""
    assumed: str | None
    """What the card leaves open and the claims file assumes."""
    regenerated: Estimate | None
    """What the run has; None if it has no result yet."""
    regenerated_printed: str | None
    """The same rounded to the printed decimals, halves away from zero."""
    difference: float | None
    """Regenerated minus published; None if the two do not compare."""
    interval: tuple[float | None, float | None] | None
    """Bounds of the regenerated interval, or of the one that a claim of words is tested by; None for a bound that is open."""
    p: float | None = None
    """For a measured number: two-sided p that card and run have one mean, both being estimates over their own items."""
    p_holm: float | None = None
    """The same after Holm's correction over all measured numbers."""
    difference_interval: tuple[float, float] | None = None
    """Bounds of `difference`, at the level that goes with `p_holm`: they leave 0 out exactly if the verdict is `differs`."""
    tolerance: float | None = None
    """How far the number may be off before it matters, as the claims file assumes."""
    noticed: float | None = None
    """Smallest true deviation that this comparison, its correction included, would have found with 80% power; None if none."""
    method: str | None = None
    """What the printed number is taken to be an estimate over."""
    remark: str | None = None
    """That the run's number prints as the card's, if it does: no verdict rests on it."""
    verdict: VerdictName
    """The verdict."""
    reason: str
    """Why, in a sentence."""
    computation: str | None = Field(default=None, exclude_if=lambda value: value is None)
    """For a claim of words with results: its test, worked out on the run's numbers."""
    tier: Tier | None
    """How strong the evidence is: `audited` (the card alone), `replayed` (an archived run's samples), `regenerated` (an adapter taken as it
    is), `retrained` (an adapter that this run trained); None for settings, which prove nothing."""
    readings: list[OtherReading]
    """Other results that the number might mean."""
    chain: Chain
    """What the verdict rests on."""


class Answer(Result):
    """What a run says about the card as a whole."""

    lead: str
    """The outcome in one short sentence."""
    sentence: str
    """All of it in words, for a reader who reads nothing else."""
    measured: int | None
    """Measured numbers that the run has a verdict on; None if it does not compare with the card."""
    agree: int
    """Of these, how many agree."""
    differ: int
    """How many differ."""
    not_resolved: int
    """How many cannot be resolved."""
    alpha: float
    """Largest probability that a faithful rerun shows any `differs` by chance."""
    noticed_least: float | None
    """Smallest deviation that any comparison of a share or score would have noticed with 80% power."""
    noticed_most: float | None
    """The same for the weakest comparison."""
    unnoticed: int
    """Comparisons that would have noticed no deviation at all."""
    shown: list[str]
    """Ids of the card's words that the run shows."""
    refuted: list[str]
    """Ids of those it refutes."""
    open: list[str]
    """Ids of those it leaves open."""
    contradictions: list[str]
    """What the card contradicts by itself: the titles of the audit's errors."""
    warnings: int
    """The audit's warnings."""


class Compared(Result):
    """One thing that a card's numbers depend on: what the card used, and what the run used."""

    what: str
    """What it is, in words: model, data, verifier, the adapter of an arm, a number of the card, or a setting."""
    card: str
    """The card's."""
    run: str
    """The run's."""
    holds: bool | None
    """True if the two are the same; None if that cannot be told."""


class Verdicts(Result):
    """`claims.json`: every claim of the published card, judged by a run."""

    answer: Answer
    """Does the card hold, and how sure is that?"""

    card: str | None
    """Name of the published model; None if the run has no card to compare with."""
    run: str | None
    """Name of the run."""
    scale: str
    """Scale of the run."""
    comparable: bool
    """True if nothing that the card's numbers depend on differs, and model and data are known to be the card's."""
    compared: list[Compared]
    """What the card's numbers depend on, each held against the run's."""
    claims_sha256: str | None
    """sha256 of the claims file; None without a card."""
    counts: dict[VerdictName, int]
    """Claims by verdict."""
    central: list[str]
    """Ids of the claims that a reader sees first, as the claims file names them."""
    claims: list[Judgement]
    """A row for each claim, in the order of the claims file."""
    own: str | None = None
    """What the run's primary tests show of its subject and the base model, which needs no card; None if the run is not evaluated."""


def verdicts_of(run: Run) -> Verdicts:
    """The verdicts of a run; CardproofError if its claims are not judged yet."""
    return run.read(CLAIMS, Verdicts, "judge the claims first: `cardproof claims`.")
