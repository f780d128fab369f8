"""The rows of every file of a run: the project's vocabulary.

Each class is one kind of row; the docstring under a field gives its unit and origin. The rest of the package uses these types. This module
imports nothing from the package.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Row(BaseModel):
    """A row of a file. It cannot change, and an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Result(Row):
    """A result file, or a part of one. Its schema describes each field by the docstring here."""

    model_config = ConfigDict(use_attribute_docstrings=True)


# --- benchmark/ -------------------------------------------------------------------------------------------------------


class Passage(Row):
    """One passage of the corpus (`benchmark/corpus.jsonl`)."""

    id: str = Field(min_length=1)
    """Unique in the corpus, e.g. `7.3.2-c4-s2` (document 7.3.2, chunk 4, split 2) or `GPL-3.0-only#6.2`."""
    title: str
    """Like `footnotes`, part of the format of Legal RAG Bench: kept so that its files load unchanged, but no prompt shows either."""
    text: str = Field(min_length=1)
    footnotes: str | None = None
    """See `title`."""


class Question(Row):
    """One benchmark item (`benchmark/questions.jsonl`, `split/{train,eval}.jsonl`)."""

    id: int = Field(ge=-(2**63), lt=2**63)
    """Unique. A table's column has 64 bits."""
    question: str = Field(min_length=1)
    answer: str = Field(min_length=1)
    """The reference answer: what a good reply says."""
    relevant_passage_id: str
    """The oracle passage: the one with what the answer needs."""
    further_passage_ids: list[str] = Field(default=[], exclude_if=lambda value: not value)
    """Further oracle passages, where the answer needs several: they are shown together, and left out together."""
    name: str | None = Field(default=None, exclude_if=lambda value: value is None)
    """Its id in the data, where the ids there are texts; `id` is then its place in them, from 1 on."""

    @property
    def oracles(self) -> list[str]:
        """Ids of all its oracle passages."""
        return [self.relevant_passage_id, *self.further_passage_ids]

    @property
    def called(self) -> str:
        """What a message calls it: its id in the data."""
        return repr(self.name) if self.name is not None else str(self.id)


# --- prompts/ ---------------------------------------------------------------------------------------------------------

Role = Literal["oracle", "distractor"]


class Document(Row):
    """One document as a prompt shows it."""

    id: str
    text: str
    role: Role


class Message(Row):
    """One turn of the conversation that the chat template renders."""

    role: Literal["system", "user", "assistant"]
    content: str


class Prompt(Row):
    """What a model is asked about one item under one condition (`prompts/{condition}.jsonl`)."""

    item: int
    """The question's id."""
    name: str | None = Field(default=None, exclude_if=lambda value: value is None)
    """The question's name, if it has one."""
    condition: str
    """`train`, `clean`, `stress` or `freeform`."""
    contract: bool
    """Whether the prompt asks for the quote-first contract."""
    question: str
    reference: str
    """The reference answer. The model never sees it."""
    oracle_id: str
    further_oracle_ids: list[str] = Field(default=[], exclude_if=lambda value: not value)
    """Further oracle passages of the same question."""
    oracle_present: bool
    """False if the oracle passages were dropped (stress)."""
    documents: list[Document]
    """In the order of the prompt."""
    messages: list[Message]
    id_examples: list[str] = []
    """Ids of the corpus, one for each shape they have: what else in square brackets is built like them is an invalid citation."""
    headings: tuple[str, str] | None = Field(default=None, exclude_if=lambda value: value is None)
    """What heads the quotes and the answer of a reply, where that is not `EVIDENCE` and `ANSWER`."""
    reply_prefix: str = ""
    """Text that the reply starts with; parsing counts it as part of the reply. Empty at published scale."""
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
    """Seed of this rollout's own random stream, derived from (run seed, arm, condition, item, k)."""
    text: str
    """The reply, with `reply_prefix` and an opening of a reasoning block that the chat template wrote, without special tokens."""
    prompt_tokens: int = Field(ge=0)
    completion_tokens: int = Field(ge=0)
    """Generated tokens, with the end-of-turn token."""
    finish_reason: Literal["stop", "length"]
    model: str
    """Id of the base model, as configured; of a local folder the name alone."""
    model_hash: str
    """Revision of the base model, or the sha256 of its weights."""
    adapter_hash: str | None
    """sha256 of the adapter's weights; None for the base arm."""
    prompt_hash: str
    token_hash: str = ""
    """sha256 over the prompt's token ids, as the model read them; empty in runs of earlier versions."""
    decoder: Literal["shared-prefix", "generate", "vllm", ""] = ""
    """What drew it: cardproof's own decoder, transformers' generation, or vLLM; empty in runs of earlier versions."""


# --- support/ ---------------------------------------------------------------------------------------------------------


class Support(Row):
    """What the verifier says about one rollout (`support/{arm}/{condition}.jsonl`)."""

    item: int
    k: int = Field(ge=0)
    support: float | None = Field(ge=0, le=1)
    """P(entailed) of the answer, given the documents that it cites, in [0, 1]; None for a refusal or an empty answer."""
    premises: list[str]
    """Ids of the documents used as premises."""
    pairs: int = Field(ge=0)
    """Number of (premise, hypothesis) pairs that were scored."""
    truncated: int = Field(ge=0)
    """Number of pairs whose premise was cut to the verifier's length."""


# --- distill/ ---------------------------------------------------------------------------------------------------------


class Turn(Row):
    """One training conversation: the messages, and the reply to learn."""

    messages: list[Message]
    reply: str


class Example(Row):
    """One self-distilled training example (`distill/raft.jsonl`), in contract form and, for hybrid training, free-form."""

    item: int
    k: int
    """The candidate that it comes from."""
    composite: float
    contract: Turn
    freeform: Turn
    """The same question without the contract; the reply is only the candidate's answer."""


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
    "unfinished_reasoning",
]
"""Ways to break the contract, by name. The parser reports them and goes on."""


class Quote(Row):
    """One quote as it is in a reply."""

    text: str
    """Between the quotation marks, unchanged."""
    doc_id: str | None
    """The id that it cites, or None."""
    start: int
    """Character offset of `text` in the reply."""
    end: int


class Reply(Row):
    """A parsed reply. The parser never raises an error on a model's text."""

    quotes: list[Quote]
    answer: str
    """The answer with its citations; empty if the reply has none."""
    citations: list[str]
    """Distinct ids cited in the answer or beside a quote, in order of first appearance."""
    refusal: bool
    defects: list[Defect]


Step = Literal["whitespace", "typography", "markup", "case", "punctuation"]
"""The steps of the normalisation ladder N(), in order. NFKC comes before all of them."""

QuoteKind = Literal["strict", "near_miss", "misattributed", "fabricated"]


class Grounding(Row):
    """The verdict on one quote."""

    text: str
    cited_id: str | None
    kind: QuoteKind
    """`strict`: an exact substring of the cited document, or of any provided one if it cites none. `misattributed`: an exact substring only
    of another provided document. `near_miss`: in a provided document only after the ladder. `fabricated`: in none."""
    strict: bool
    """Whether it is an exact substring of a provided document (true for `strict` and `misattributed`)."""
    content: bool
    """The same, after the full ladder."""
    attributed: bool
    """Whether it is an exact substring of the document that it cites."""
    steps: list[Step]
    """For a near miss: the smallest set of ladder steps that repairs it (fewest steps, then earliest); otherwise empty."""
    doc_id: str | None
    """The document that contains it; the cited one if it is there."""
    start: int | None
    """Start of its span in that document's original text, in characters, for highlighting."""
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
    """Strict verbatim grounding: share of the quotes that are exact substrings of a provided document; 0 without quotes (an assumption)."""
    content: float
    """Content verbatim: the same, after the full ladder."""
    attribution: float
    """Share of the quotes that are exact substrings of the document they cite."""
    citation_validity: float
    """1 if the reply cites at least one document and only provided ones, otherwise 0."""
    rouge_l: float
    """ROUGE-L F1 (stemmed) of the answer against the reference."""
    gold_rouge: float
    """1 if rouge_l reaches the threshold (card: 0.30), otherwise 0."""
    support: float | None
    composite: float
    """The score for reranking, without the reference answer; 0 for refusals."""
    completion_tokens: int
    finish_reason: str
    ladder: int
    """Version of the normalisation ladder behind the quotes: scores of different versions are not compared."""


# --- evaluation/ ------------------------------------------------------------------------------------------------------


class Estimate(Result):
    """A number of a run with its uncertainty. Every result on a card has this form."""

    value: float | None
    """The number, in the unit of the field that holds it; None if it is undefined (n = 0)."""
    n: int
    """Number of items in the mean."""
    low: float | None
    """Lower bound of the interval at `level`; None if there is no interval."""
    high: float | None
    """Upper bound."""
    level: float = 0.95
    """Level of the interval."""
    method: str
    """Method of the interval, e.g. `clopper-pearson`."""
    count: int | None = None
    """For proportions of whole items: the numerator."""


class Comparison(Result):
    """Two arms compared on the same items."""

    difference: float | None
    """Second arm minus first arm."""
    n: int
    """Number of items that both arms answered (for refusals: all items)."""
    low: float | None
    """Lower bound of the interval at `level`; None if there is no interval."""
    high: float | None
    """Upper bound."""
    level: float = 0.95
    """Level of the interval."""
    p: float | None
    """Two-sided p of the paired test; None without items."""
    p_holm: float | None = None
    """p after Holm's correction over its family."""
    divisor: float | None = None
    """What that correction divides 1 - level by for this test."""
    low_holm: float | None = None
    """Lower bound of the interval that goes with `p_holm`: it leaves 0 out exactly if `p_holm` is below 1 - level."""
    high_holm: float | None = None
    """Upper bound."""
    method: str
    """How interval and p were made."""
