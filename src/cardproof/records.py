"""The rows of every file of a run: the project's vocabulary.

Each class is one kind of row; a docstring under a field says its unit and origin. Everything else in the package
speaks in these types. Nothing here imports from the package.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Row(BaseModel):
    """A row of a file: immutable, and an unknown field is an error, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Result(Row):
    """A result file, or a part of one; its schema tells what stands under each field here."""

    model_config = ConfigDict(use_attribute_docstrings=True)


# --- benchmark/ -------------------------------------------------------------------------------------------------------


class Passage(Row):
    """One passage of the corpus (`benchmark/corpus.jsonl`)."""

    id: str = Field(min_length=1)
    """Unique in the corpus, e.g. `7.3.2-c4-s2` (document 7.3.2, chunk 4, split 2) or `GPL-3.0-only#6.2`."""
    title: str
    """Part of Legal RAG Bench's format, as `footnotes` is. Both are accepted and kept, so that its files load unchanged; no prompt shows
    them."""
    text: str = Field(min_length=1)
    footnotes: str | None = None
    """See `title`."""


class Question(Row):
    """One benchmark item (`benchmark/questions.jsonl`, `split/{train,eval}.jsonl`)."""

    id: int
    question: str = Field(min_length=1)
    answer: str = Field(min_length=1)
    """The reference answer: what a good reply says."""
    relevant_passage_id: str
    """The oracle passage: the one that holds what the answer needs."""


# --- prompts/ ---------------------------------------------------------------------------------------------------------

Role = Literal["oracle", "distractor"]


class Document(Row):
    """One document as shown in a prompt."""

    id: str
    text: str
    role: Role


class Message(Row):
    """One turn of the conversation given to the chat template."""

    role: Literal["system", "user", "assistant"]
    content: str


class Prompt(Row):
    """What a model is asked about one item under one condition (`prompts/{condition}.jsonl`)."""

    item: int
    """The question's id."""
    condition: str
    """`train`, `clean`, `stress` or `freeform`."""
    contract: bool
    """True where the quote-first contract is asked for."""
    question: str
    reference: str
    """The reference answer; never shown to the model."""
    oracle_id: str
    oracle_present: bool
    """False where the oracle passage was dropped (stress)."""
    documents: list[Document]
    """In the order shown."""
    messages: list[Message]
    reply_prefix: str = ""
    """Text the reply is made to begin with (part of the reply when it is parsed); empty at paper scale."""
    prompt_hash: str
    """sha256 over messages and reply_prefix."""


# --- samples/ ---------------------------------------------------------------------------------------------------------


class Rollout(Row):
    """One sampled reply (`samples/{arm}/{condition}.jsonl`), sorted by item order, then k."""

    item: int
    k: int = Field(ge=0)
    """Candidate index, 0 <= k < N."""
    arm: str
    condition: str
    seed: int
    """The seed of this rollout's own random stream, derived from (run seed, arm, condition, item, k)."""
    text: str
    """The reply, `reply_prefix` included, special tokens removed."""
    prompt_tokens: int = Field(ge=0)
    completion_tokens: int = Field(ge=0)
    """Tokens generated, end-of-turn token included."""
    finish_reason: Literal["stop", "length"]
    model: str
    """Base model id or path as configured."""
    model_hash: str
    """Revision of the base model, or the sha256 of its weights."""
    adapter_hash: str | None
    """sha256 of the adapter's weights; None for the base arm."""
    prompt_hash: str


# --- support/ ---------------------------------------------------------------------------------------------------------


class Support(Row):
    """The verifier's word on one rollout (`support/{arm}/{condition}.jsonl`)."""

    item: int
    k: int = Field(ge=0)
    support: float | None = Field(ge=0, le=1)
    """P(entailed) of the answer given the documents it cites, in [0, 1]; None for a refusal or an empty answer."""
    premises: list[str]
    """Ids of the documents that served as premises."""
    pairs: int = Field(ge=0)
    """Number of (premise, hypothesis) pairs scored."""
    truncated: int = Field(ge=0)
    """Pairs whose premise had to be cut to the verifier's length."""


# --- distill/ ---------------------------------------------------------------------------------------------------------


class Turn(Row):
    """One training conversation: what is asked, and the reply to learn."""

    messages: list[Message]
    reply: str


class Example(Row):
    """One self-distilled training example (`distill/raft.jsonl`), in contract form and, for hybrid training, free-form."""

    item: int
    k: int
    """The candidate it was taken from."""
    composite: float
    contract: Turn
    freeform: Turn
    """The same question asked without the contract, answered with the candidate's answer alone."""


# --- contract and grounding -------------------------------------------------------------------------------------------

Defect = Literal[
    "no_evidence_section",
    "no_answer_section",
    "empty_evidence",
    "empty_answer",
    "unquoted_evidence",
    "uncited_quote",
    "unterminated_quote",
    "answer_before_evidence",
    "repeated_section",
    "text_outside_sections",
    "refusal_with_evidence",
]
"""Named departures from the contract; the parser reports them and goes on."""


class Quote(Row):
    """One quote as a reply presents it."""

    text: str
    """Between the quotation marks, unchanged."""
    doc_id: str | None
    """The id it cites; None where it cites none."""
    start: int
    """Character offset of `text` in the reply."""
    end: int


class Reply(Row):
    """A reply, parsed. The parser never raises on model text."""

    quotes: list[Quote]
    answer: str
    """The answer text with its citations; empty where there is none."""
    citations: list[str]
    """Distinct ids cited in the answer or beside a quote, in order of first appearance."""
    refusal: bool
    defects: list[Defect]


Step = Literal["whitespace", "typography", "markup", "case", "punctuation"]
"""Steps of the normalisation ladder N(), in order; NFKC comes before all of them."""

QuoteKind = Literal["strict", "near_miss", "misattributed", "fabricated"]


class Grounding(Row):
    """What became of one quote."""

    text: str
    cited_id: str | None
    kind: QuoteKind
    """`strict`: exact substring of the cited document, or of any provided one where none is cited; `misattributed`: exact
    substring of another provided document only; `near_miss`: found after the ladder only; `fabricated`: not found."""
    strict: bool
    """Exact substring of some provided document (true for `strict` and `misattributed`)."""
    content: bool
    """The same after the full ladder."""
    attributed: bool
    """Exact substring of the document it cites."""
    steps: list[Step]
    """For a near miss: the least set of ladder steps that repairs it (fewest steps, then earliest); else empty."""
    doc_id: str | None
    """The document it was found in; the cited one where it is found there."""
    start: int | None
    """Character span in that document's original text, for highlighting."""
    end: int | None


class Score(Row):
    """Every axis of one rollout (`scores/{arm}/{condition}.parquet`)."""

    item: int
    k: int
    arm: str
    condition: str
    oracle_present: bool
    refusal: bool
    answer: str
    citations: list[str]
    defects: list[str]
    quotes: list[Grounding]
    strict: float
    """Strict verbatim grounding: share of quotes that are exact substrings of a provided document; 0 without quotes (assumption)."""
    content: float
    """Content verbatim: the same after the full ladder."""
    attribution: float
    """Share of quotes that are exact substrings of the document they cite."""
    citation_validity: float
    """1 iff it cites at least one document and every cited id was provided."""
    rouge_l: float
    """ROUGE-L F1 (stemmed) of the answer against the reference."""
    gold_rouge: float
    """1 iff rouge_l reaches the threshold (card: 0.30)."""
    support: float | None
    composite: float
    """The reranking score; gold-free; 0 for refusals."""
    completion_tokens: int
    finish_reason: str


# --- evaluation/ ------------------------------------------------------------------------------------------------------


class Estimate(Result):
    """A number of a run with its uncertainty: the only form in which a result reaches a card."""

    value: float | None
    """The number, in the unit of the field that holds it; None if it is undefined (n = 0)."""
    n: int
    """Items it is a mean over."""
    low: float | None
    """Lower bound of the interval at `level`; None if there is no interval."""
    high: float | None
    """Upper bound."""
    level: float = 0.95
    """Level of the interval."""
    method: str
    """How the interval was made, e.g. `wilson`, `bca bootstrap over items, 10000 resamples, seed 0`."""
    count: int | None = None
    """For proportions: the numerator."""


class Comparison(Result):
    """Two arms on the same items, paired."""

    difference: float | None
    """Second arm minus first."""
    n: int
    """Items both arms answered (or all items, for refusals)."""
    low: float | None
    """Lower bound of the interval at `level`; None if there is no interval."""
    high: float | None
    """Upper bound."""
    level: float = 0.95
    """Level of the interval."""
    p: float | None
    """Two-sided p of the paired test; None without items."""
    p_holm: float | None = None
    """p after Holm's correction over the axes of one table."""
    method: str
    """How interval and p were made."""
