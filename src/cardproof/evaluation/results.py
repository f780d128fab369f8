"""What the five result files of an evaluation hold: the source of their schemas in `schemas/results/`.

All numbers are about the candidate that best-of-N picks for each item, unless a field says otherwise.
"""

from __future__ import annotations

from pydantic import Field

from cardproof.records import Comparison, Estimate, QuoteKind, Result, Step

Count = int | float
"""A number of things: whole, or an expected number if candidates that tie split it."""

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


class Choices(Result):
    """On how many items the composite chose among an arm's candidates."""

    items: int
    """Items asked."""
    unique: int
    """Items that have a single best candidate."""
    some: int
    """Items whose candidates do not all tie."""


class PerItem(Result):
    """What each item adds to a number: the number is sum(totals) / sum(weights)."""

    totals: list[float]
    """The axis times the weight, item by item, in the order of item ids."""
    weights: list[float]
    """How often the item counts: 0 or 1, or between them if only some of the candidates that tie do."""


class AllItems(Result):
    """The quality axes over all items: a refusal counts 0."""

    strict: Estimate
    """As in the arm's axes, over all items; so are the others."""
    content: Estimate
    """Content verbatim."""
    attribution: Estimate
    """Attribution."""
    citation_validity: Estimate
    """Citation validity."""
    gold_rouge: Estimate
    """Items that reach the ROUGE-L threshold."""
    rouge_l: Estimate
    """ROUGE-L."""
    support: Estimate
    """Verifier support."""
    composite: Estimate
    """Reranking score."""


class AxesOfArm(Result):
    """The axes of one arm under one condition. Quality axes are over the items that the arm answers.

    An item is answered if its picked candidate is not a refusal; a reply without answer text has support 0. If candidates tie in the
    composite, each is picked equally often, and the item counts in part.
    """

    answered: Count
    """Items whose picked candidate is not a refusal: an expected number, which is whole unless candidates tie."""
    oracle_present: int
    """Items that show the oracle passage."""
    choices: Choices
    """On how many items there was anything to pick."""
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
    all_items: AllItems
    """The quality axes over all items."""


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
    """Pair of arms `SECOND-FIRST` -> axis -> paired difference over the items that count for both. Holm corrects p over the axes of the
    table that are not primary hypotheses; those are corrected together (`primary` of axes.json)."""
    minimal_detectable: dict[str, dict[str, float | None]]
    """Pair -> axis -> smallest difference that this very test, its correction included, finds with 80% power, by simulation; None if it
    finds none."""
    differs: dict[str, list[str]]
    """Pair -> the axes whose corrected p is below 1 - level."""
    per_item: dict[str, PerItem]
    """JSON pointer of an estimate in this file -> what each item adds to it."""


class Equivalence(Result):
    """Whether the mean paired difference of two arms lies within a margin: two one-sided tests (TOST)."""

    difference: float | None
    """Second arm minus first; None without items."""
    n: int
    """Items that count for both arms."""
    margin: float
    """The difference held to be none, in the unit of the axis."""
    low: float | None
    """Lower bound at `level`; None without items."""
    high: float | None
    """Upper bound at `level`."""
    level: float
    """Level of the interval that decides the test: 1 - 2 alpha, alpha being corrected if the test is one of a family."""
    p: float | None
    """The larger of the two one-sided p values."""
    p_holm: float | None = Field(default=None, exclude_if=lambda value: value is None)
    """p after Holm's correction over its family; left out if it is in none."""
    equivalent: bool
    """True if the interval lies inside the margin."""
    method: str
    """The test in words."""


class RougeCheck(Result):
    """The picked candidates' ROUGE-L: computed by the library `rouge_score`, and compared with the fast one that scores in bulk."""

    library: str
    """Name and version of the library."""
    rows: int
    """Picked candidates that were compared: those of all arms and training seeds that answer."""
    too_long: int
    """Picked candidates that were not, because answer and reference are so long that the library takes seconds for one of them."""
    largest_difference: float
    """Largest difference between the two; evaluation ends with an error where it is more than rounding."""


class Axes(AxisTable):
    """`evaluation/axes.json`: every axis under clean prompts."""

    primary: dict[str, dict[str, Comparison | Equivalence]] = Field(default_factory=dict)
    """Pair of arms `SECOND-FIRST` -> primary hypothesis (`evaluation.primary`) -> its test; all of a pair are one family."""

    seeds: dict[str, dict[str, Spread]] | None = Field(default=None, exclude_if=lambda value: value is None)
    """Arm -> axis -> spread between training seeds; left out if each arm was trained once."""
    rouge_check: RougeCheck | None = Field(default=None, exclude_if=lambda value: value is None)
    """How the file's ROUGE-L was checked; left out where there were no prompts to check it with."""


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
    quotes: Count
    """Quotes of the answered items, as an expected number."""
    slips: Count
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
    rouge_check: RougeCheck | None = Field(default=None, exclude_if=lambda value: value is None)
    """How the file's ROUGE-L was checked; left out where there were no prompts to check it with."""


# --- mechanism.json ---------------------------------------------------------------------------------------------------


class Share(Result):
    """A number of quotes, and what share it is. Over picked candidates it is an expected number, whole unless candidates tie."""

    count: Count
    """Quotes."""
    share: float | None
    """Share of all quotes or near misses that this part of the file is about; None if there are none."""


class Repair(Result):
    """A least set of ladder steps that makes near misses verbatim."""

    steps: list[Step]
    """The steps; empty for Unicode NFKC alone, which comes before the ladder."""
    count: Count
    """Near misses that these steps repair."""
    share: float | None
    """Share of all near misses."""


class Ladder(Result):
    """Which steps of the normalisation ladder repair the near misses."""

    near_misses: Count
    """Quotes found in a document only after the ladder."""
    repairs: list[Repair]
    """Every set of steps that occurs, most frequent first."""
    involves: dict[Step, Share]
    """Step -> near misses whose repair needs it."""


class QuoteCounts(Result):
    """The quotes of an arm's answers and the near-miss gap."""

    answered: Count
    """Items (or, over all candidates, replies) that are not refusals."""
    gap: Estimate
    """Near-miss gap: mean of content verbatim minus strict verbatim grounding."""
    quotes: Count
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
    per_item: dict[str, PerItem]
    """JSON pointer of an estimate in this file -> what each item adds to it."""


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
    """Level of the interval, which goes with the corrected p of `single`."""
    share_below: float
    """Probability that the target lies below N = 1."""
    share_above: float
    """Probability that the target lies above the largest N."""
    doublings: float | None
    """log2 of the N: doublings of inference compute; None if there is no N."""
    single: Comparison
    """The other arm's single rollout against the reference's: whether training is worth anything at all."""
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
    per_item: dict[str, PerItem]
    """JSON pointer of an estimate in this file -> what each item adds to it."""


# --- format_lock.json -------------------------------------------------------------------------------------------------


class FreeformArm(Result):
    """An arm asked without the contract."""

    answered: Count
    """Items whose picked candidate is not a refusal, as an expected number."""
    choices: Choices
    """On how many items there was anything to pick."""
    support: Estimate
    """Mean verifier support over the answered items."""
    rouge_l: Estimate
    """Mean ROUGE-L F1 over the answered items."""
    gold_rouge: Estimate
    """Share of answered items whose ROUGE-L reaches the threshold."""
    strict_rate_contract: Estimate
    """Share of all picked replies that quote although nobody asked for quotes."""


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
    per_item: dict[str, PerItem]
    """JSON pointer of an estimate in this file -> what each item adds to it."""
    rouge_check: RougeCheck | None = Field(default=None, exclude_if=lambda value: value is None)
    """How the file's ROUGE-L was checked; left out where there were no prompts to check it with."""


MODELS: dict[str, type[Result]] = {"axes": Axes, "stress": Stress, "mechanism": Mechanism, "compute": Compute, "format_lock": FormatLock}
"""File of `evaluation/` -> what it holds."""
