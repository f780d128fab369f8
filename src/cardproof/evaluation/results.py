"""What the five result files of an evaluation hold: the source of their schemas in `schemas/results/`.

All numbers are about the candidate that best-of-N picks for each item, unless a field says otherwise.
"""

from __future__ import annotations

from pydantic import Field

from cardproof.records import Comparison, Estimate, QuoteKind, Result, Step

# --- axes.json and stress.json ----------------------------------------------------------------------------------------


class Spread(Result):
    """How far one number moves between training seeds."""

    values: dict[str, float | None]
    """Training seed -> value; None if it is undefined."""
    n: int
    """Seeds that have a value."""
    mean: float | None
    """Mean over the seeds; None if no seed has a value."""
    sd: float | None
    """Standard deviation (divided by n - 1); None with fewer than two values."""
    low: float | None
    """Least value."""
    high: float | None
    """Greatest value."""


class AxesOfArm(Result):
    """The axes of one arm under one condition. Quality axes are over the items that the arm answers."""

    answered: int
    """Items whose picked candidate is not a refusal."""
    oracle_present: int
    """Items that show the oracle passage."""
    strict: Estimate
    """Strict verbatim grounding: mean share of quotes that are exact substrings of a document shown."""
    content: Estimate
    """Content verbatim: the same after the normalisation ladder."""
    attribution: Estimate
    """Mean share of quotes that are exact substrings of the document they cite."""
    citation_validity: Estimate
    """Share of items that cite at least one document, and only documents shown."""
    gold_rouge: Estimate
    """Share of items whose ROUGE-L against the reference reaches the threshold (`scoring.rouge_threshold`)."""
    rouge_l: Estimate
    """Mean ROUGE-L F1 against the reference, in [0, 1]."""
    false_refusals: Estimate
    """Share of refusals among the items that show the oracle passage."""
    support: Estimate
    """Mean P(entailed) of the answer given the documents it cites, in [0, 1]."""
    composite: Estimate
    """Mean reranking score, in [0, 1]."""
    strict_n1: Estimate
    """Strict verbatim grounding of a single rollout (N = 1): over all candidates that answer."""
    composite_n1: Estimate
    """Composite of a single rollout (N = 1): over all candidates that answer."""


class AxisTable(Result):
    """The axes of every arm under one condition, and what differs between arms."""

    condition: str
    """The prompts' condition: `clean` or `stress`."""
    best_of: int
    """N, the candidates per item."""
    items: int
    """Items asked."""
    arms: dict[str, AxesOfArm]
    """Arm -> its axes."""
    paired: dict[str, dict[str, Comparison]]
    """Pair of arms `SECOND-FIRST` -> axis -> paired difference over the items that count for both; Holm corrects p over the axes."""
    minimal_detectable: dict[str, dict[str, float | None]]
    """Pair -> axis -> smallest difference found with 80% power at alpha 0.05, uncorrected; None if it cannot be told."""
    differs: dict[str, list[str]]
    """Pair -> the axes whose corrected p is below 0.05."""


class Axes(AxisTable):
    """`evaluation/axes.json`: every axis under clean prompts."""

    seeds: dict[str, dict[str, Spread]] | None = Field(default=None, exclude_if=lambda value: value is None)
    """Arm -> axis -> spread between training seeds; left out if each arm was trained once."""


class StressSettings(Result):
    """What the stress condition showed."""

    items: int
    """Items asked."""
    oracle_dropped: int
    """Items from which the oracle passage was left out."""


class Residual(Result):
    """What strict grounding an arm still lacks under stress."""

    strict: Estimate
    """As in `arms`."""
    attribution: Estimate
    """As in `arms`."""
    quotes: int
    """Quotes of the answered items."""
    slips: int
    """Quotes that are verbatim in a document shown, but not in the one they cite."""


class Stress(AxisTable):
    """`evaluation/stress.json`: every axis with distractors beside the oracle passage, which is left out of some items."""

    settings: StressSettings
    """How many items had their oracle passage left out."""
    residual: dict[str, Residual]
    """Arm -> what is left."""
    correct_refusals: dict[str, Estimate]
    """Arm -> share of refusals among the items without the oracle passage."""
    seeds: dict[str, dict[str, Spread]] | None = Field(default=None, exclude_if=lambda value: value is None)
    """Arm -> axis -> spread between training seeds; left out if each arm was trained once."""


# --- mechanism.json ---------------------------------------------------------------------------------------------------


class Share(Result):
    """A number of quotes, and what share it is."""

    count: int
    """Quotes."""
    share: float | None
    """Share of all quotes or near misses that this part of the file is about; None if there are none."""


class Repair(Result):
    """A least set of ladder steps that makes near misses verbatim."""

    steps: list[Step]
    """The steps; empty for Unicode NFKC alone, which comes before the ladder."""
    count: int
    """Near misses that these steps repair."""
    share: float | None
    """Share of all near misses."""


class Ladder(Result):
    """Which steps of the normalisation ladder repair the near misses."""

    near_misses: int
    """Quotes found in a document only after the ladder."""
    repairs: list[Repair]
    """Every set of steps that occurs, most frequent first."""
    involves: dict[Step, Share]
    """Step -> near misses whose repair needs it."""


class QuoteCounts(Result):
    """The quotes of an arm's answers and the near-miss gap."""

    answered: int
    """Items (or, over all candidates, replies) that are not refusals."""
    gap: Estimate
    """Near-miss gap: mean of content verbatim minus strict verbatim grounding."""
    quotes: int
    """Quotes."""
    kinds: dict[QuoteKind, Share]
    """Kind -> share of all quotes."""
    ladder: Ladder
    """What repairs the near misses."""


class GapOfArm(QuoteCounts):
    """The picked candidates of an arm, and beside them all of its candidates."""

    candidates: QuoteCounts
    """The same over every candidate that answers, where selection hides nothing."""


class Mechanism(Result):
    """`evaluation/mechanism.json`: what becomes of the quotes, and how much grounding is lost to changes of form alone."""

    conditions: dict[str, dict[str, GapOfArm]]
    """Condition -> arm -> its quotes."""
    paired: dict[str, dict[str, Comparison]]
    """Condition -> pair of arms `SECOND-FIRST` -> paired difference of the near-miss gap."""


# --- compute.json -----------------------------------------------------------------------------------------------------


class Curves(Result):
    """An arm's metrics at N = 1, 2, ..., max_n, over all items; a refusal counts 0."""

    composite: list[Estimate]
    """Composite of the candidate that best-of-N picks."""
    strict: list[Estimate]
    """Strict verbatim grounding of that candidate."""
    support: list[Estimate]
    """Verifier support of that candidate."""


class EquivalentN(Result):
    """The N at which best-of-N of the reference arm reaches another arm's single rollout."""

    target: float
    """The other arm's mean composite at N = 1."""
    n_equivalent: float | None
    """The N, interpolated in log2 N; None beyond the ends of the curve."""
    reason: str | None
    """Beyond which end it lies: `below N=1` or `above N=...`; None if there is an N."""
    low: float | None
    """Lower bound; None if it lies beyond the curve."""
    high: float | None
    """Upper bound; None if it lies beyond the curve."""
    level: float
    """Level of the interval, e.g. 0.95."""
    share_below: float
    """Share of resamples whose target lies below N = 1."""
    share_above: float
    """Share of resamples whose target lies above the largest N."""
    doublings: float | None
    """log2 of the N: doublings of inference compute; None if there is no N."""
    method: str
    """How N and interval were found."""


class Compute(Result):
    """`evaluation/compute.json`: what more candidates are worth, and how many of them a trained arm is worth."""

    condition: str
    """The prompts' condition: `clean`."""
    metric: str
    """What the equivalence is about: `composite`."""
    max_n: int
    """Candidates per item, the largest N."""
    arms: dict[str, Curves]
    """Arm -> its curves."""
    equivalence: dict[str, EquivalentN]
    """Arm other than the reference -> the N it is worth."""


# --- format_lock.json -------------------------------------------------------------------------------------------------


class FreeformArm(Result):
    """An arm asked without the contract."""

    answered: int
    """Items whose picked candidate is not a refusal."""
    support: Estimate
    """Mean verifier support over the answered items."""
    rouge_l: Estimate
    """Mean ROUGE-L F1 over the answered items."""
    gold_rouge: Estimate
    """Share of answered items whose ROUGE-L reaches the threshold."""
    strict_rate_contract: Estimate
    """Share of all picked replies that quote although nobody asked for quotes."""


class Equivalence(Result):
    """Whether the mean paired difference of two arms lies within a margin: two one-sided tests (TOST)."""

    difference: float | None
    """Second arm minus first; None without items."""
    n: int
    """Items that count for both arms."""
    margin: float
    """The difference held to be none, in the unit of the axis."""
    low: float | None
    """Lower bound at `level`; None with fewer than two items."""
    high: float | None
    """Upper bound at `level`."""
    level: float
    """Level of the interval that decides the test: 1 - 2 alpha."""
    p_above_lower: float | None
    """One-sided p that the difference lies below -margin."""
    p_below_upper: float | None
    """One-sided p that the difference lies above +margin."""
    p: float | None
    """The larger of the two."""
    equivalent: bool
    """True where p < alpha."""
    method: str
    """The test in words."""


class FormatLock(Result):
    """`evaluation/format_lock.json`: whether the arms still answer as well without the contract."""

    condition: str
    """The prompts' condition: `freeform`."""
    best_of: int
    """N, the candidates per item."""
    items: int
    """Items asked."""
    arms: dict[str, FreeformArm]
    """Arm -> its answers without the contract."""
    paired: dict[str, dict[str, Comparison]]
    """Pair of arms `SECOND-FIRST` -> `support` -> paired difference without the contract."""
    equivalence: dict[str, Equivalence]
    """Pair -> whether support is the same within `evaluation.support_margin`."""
    contract_paired: dict[str, dict[str, Comparison]]
    """Pair -> `support` -> paired difference under the contract (clean prompts)."""


MODELS: dict[str, type[Result]] = {"axes": Axes, "stress": Stress, "mechanism": Mechanism, "compute": Compute, "format_lock": FormatLock}
"""File of `evaluation/` -> what it holds."""
