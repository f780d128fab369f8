"""A synthetic run's folder: scores and replies drawn from a seed, evaluated by the package itself, beside hand-written training files."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from cardproof.claims import reconcile
from cardproof.config import reading, texts
from cardproof.config.settings import Config, Scoring, TrainingRun, optimizer_steps
from cardproof.evaluation import between_seeds, evaluate
from cardproof.evidence import sidecars
from cardproof.files import write_json, write_rows, write_text
from cardproof.records import Document, Message, Prompt, Rollout
from cardproof.runs import prompts, samples, scores
from cardproof.scoring.table import parquet_schema

ITEMS, CANDIDATES = 24, 8
QUICK = {"simulations": 40, "seed": 0}
QUOTE = pl.DataFrame(parquet_schema().empty_table()).schema["quotes"].inner
SCHEMA = {"quotes": pl.List(QUOTE), "support": pl.Float64, "citations": pl.List(pl.String), "defects": pl.List(pl.String)}
REPAIRS = (("markup",), ("markup",), ("whitespace",), ("typography", "markup"), ("case",), ("punctuation",))


class Profile(NamedTuple):
    """How an arm behaves: weights of the kinds of its quotes, and shares of refusals and valid citations."""

    strict: float
    near_miss: float
    misattributed: float
    fabricated: float
    refusal: float = 0.1
    valid: float = 0.85
    support: float = 0.7


ARMS = {
    "base": Profile(0.5, 0.25, 0.1, 0.15),
    "hybrid": Profile(0.55, 0.2, 0.1, 0.15, refusal=0.12),
    "grounded": Profile(0.9, 0.02, 0.04, 0.04, refusal=0.06, valid=0.97),
}


TEXTS = {
    "d1": 'The tenant keeps the *garden* in order, and may not "lend" the *key* to a guest.',
    "d2": "The keeper closes the gate at sunset, whatever the weather.",
}
"""The two documents that every synthetic question shows."""
ORDER, KEY = "The tenant keeps the *garden* in order", 'may not "lend" the *key*'
ALTERED = {
    ("markup",): (ORDER, "The tenant keeps the garden in order"),
    ("whitespace",): (ORDER, "The tenant keeps  the *garden* in order"),
    ("typography", "markup"): (KEY, "may not “lend” the key"),
    ("case",): (ORDER, "the tenant keeps the *garden* in order"),
    ("punctuation",): (f"{ORDER}, and", f"{ORDER} and"),
}
"""Steps that repair a near miss -> the words of the document, and the quote."""


def quote(kind: str, steps: Sequence[str] = ()) -> dict[str, Any]:
    doc_id = {"fabricated": None, "misattributed": "d2"}.get(kind, "d1")
    of_document = {"fabricated": "", "misattributed": "The keeper closes the gate at sunset"}.get(kind, ORDER)
    text = of_document or "The landlord lives next door"
    if kind == "near_miss":
        of_document, text = ALTERED.get(tuple(steps), (ORDER, text))
    start = TEXTS[doc_id].index(of_document) if doc_id else None
    return {
        "text": text,
        "cited_id": "d1",
        "kind": kind,
        "strict": kind in ("strict", "misattributed"),
        "content": kind != "fabricated",
        "attributed": kind == "strict",
        "steps": list(steps),
        "doc_id": doc_id,
        "start": start,
        "end": None if start is None else start + len(of_document),
    }


def row(draw: random.Random, arm: str, profile: Profile, condition: str, item: int, k: int, oracle: bool) -> dict[str, Any]:
    """One Score row as a dictionary."""
    contract = condition != "freeform"
    refusal = draw.random() < profile.refusal + (0.0 if oracle else 0.5)
    # Every third item invites altered quotes in each of its candidates; else best-of-N would pick every near miss away.
    hard = 20 if item % 3 == 0 else 1
    weights = (profile.strict, profile.near_miss * hard, profile.misattributed, profile.fabricated)
    kinds = draw.choices(("strict", "near_miss", "misattributed", "fabricated"), weights, k=draw.choice((1, 1, 2, 3)))
    quotes = [quote(kind, draw.choice(REPAIRS) if kind == "near_miss" else ()) for kind in kinds] if contract and not refusal else []
    share = {name: sum(q[name] for q in quotes) / len(quotes) if quotes else 0.0 for name in ("strict", "content", "attributed")}
    support = None if refusal else min(1.0, max(0.0, draw.gauss(profile.support, 0.15)))
    valid = float(not refusal and draw.random() < profile.valid)
    rouge = 0.0 if refusal else min(1.0, max(0.0, draw.gauss(0.3, 0.12)))
    composite = 0.0 if support is None else support * (share["strict"] * valid if contract else 1.0)
    return {
        "item": item,
        "k": k,
        "arm": arm,
        "condition": condition,
        "oracle_present": oracle,
        "refusal": refusal,
        "answer": "" if refusal else "an answer",
        "citations": ["d1"] if valid else [],
        "defects": [],
        "quotes": quotes,
        "strict": share["strict"],
        "content": share["content"],
        "attribution": share["attributed"],
        "citation_validity": valid,
        "rouge_l": rouge,
        "gold_rouge": float(rouge >= 0.3),
        "support": support,
        "composite": composite,
        "completion_tokens": 40,
        "finish_reason": "stop",
        "ladder": Scoring().ladder,
    }


def frames(condition: str, arms: dict[str, Profile], seed: int, items: int, n: int, dropped: int = 0) -> dict[str, pl.DataFrame]:
    """Score rows of every arm under one condition; the first `dropped` items have no oracle."""
    found = {}
    for arm, profile in arms.items():
        draw = random.Random(f"{seed}/{arm}/{condition}")
        rows = [row(draw, arm, profile, condition, item, k, item >= dropped) for item in range(items) for k in range(n)]
        found[arm] = pl.DataFrame(rows, schema_overrides=SCHEMA)
    return found


def metrics(variant: str, run: TrainingRun) -> dict[str, Any]:
    """A `training/{variant}/metrics.json`."""
    draw = random.Random(variant)
    examples = 49
    steps = optimizer_steps(examples, run.variant)
    losses = [round(2.4 * 0.88**step + 0.4 + draw.uniform(-0.08, 0.08), 4) for step in range(steps)]
    contract = round(examples * run.variant.contract_share)
    return {
        "variant": variant,
        "model": "smollm2-135m",
        "model_hash": "a" * 64,
        "adapter_hash": "b" * 64,
        "quantization": "nf4",
        "examples": examples,
        "contract_examples": contract,
        "freeform_examples": examples - contract,
        "seed": run.seed,
        "epochs": run.variant.epochs,
        "effective_batch": run.variant.effective_batch,
        "steps": steps,
        "rank": 32,
        "alpha": 64,
        "learning_rate": 0.001,
        "loss_per_step": losses,
        "train_loss": sum(losses) / steps,
        "last_loss": losses[-1],
        "tokens": 51_234,
        "reply_tokens": 9_876,
        "trainable_parameters": 9_768_960,
        "base_parameters": 134_515_008,
        "total_parameters": 144_283_968,
        "trainable_share_of_base": 9_768_960 / 134_515_008,
        "trainable_share_of_total": 9_768_960 / 144_283_968,
        "device": "cpu",
        "environment": {"python": "3.11.9", "torch": "2.13.0", "transformers": "5.19.0", "peft": "0.21.2", "bitsandbytes": "0.50.2"},
    }


SELECTION = {
    "items": 30,
    "candidates": 240,
    "kept": 49,
    "keep_top": 3,
    "threshold": 0.0,
    "items_with_examples": 21,
    "fallen": {"refusal": 40, "below threshold": 120, "not among the best": 31},
}
LEAKAGE = {
    "ngram": 8,
    "near_duplicate_threshold": 0.05,
    "questions": 60,
    "achieved": {"train": 30, "eval": 30},
    "shared_passages": 0,
    "shared_documents": 0,
    "max_overlap": {
        "questions": {"value": 0.0, "train": None, "eval": None},
        "oracle_passages": {"value": 0.0, "train": None, "eval": None},
        "documents": {"value": 0.031, "train": "MPL-2.0", "eval": "EPL-2.0"},
    },
    "distractors": {"kept_out": False, "by_k": {"4": {"shown": 120, "train_documents": 45, "train_oracles": 11}}},
}


def auc(value: float, low: float, high: float, n: int = 200) -> dict[str, Any]:
    return {"value": value, "n": n, "low": low, "high": high, "level": 0.95, "method": "Mann-Whitney", "count": None}


def planted(found: dict[str, Any]) -> dict[str, Any]:
    return {"auc": found, "paired": 0.6, "couples": 30, "by_kind": {"negation": found}}


PLANTED = auc(0.55, 0.41, 0.69, 60)
VERIFIER = {
    "pairs": 1200,
    "entailed": 600,
    "train_passages": 90,
    "heldout_passages": 80,
    "epochs": 2,
    "steps": 2,
    "loss": [0.7, 0.4],
    "loss_by_epoch": [0.7, 0.4],
    "trainable_parameters": 10_993_538,
    "auc": {
        "seen_templates": {"all": auc(0.97, 0.94, 0.99), "planted": auc(0.96, 0.93, 0.98), "by_kind": {}},
        "unseen_templates": {
            "all": auc(0.81, 0.74, 0.87),
            "planted": auc(0.8, 0.73, 0.86),
            "by_kind": {"negation": auc(0.9, 0.8, 0.95)},
        },
        "planted_sentences": auc(0.8, 0.7, 0.9, 60),
        "planted_answers": PLANTED,
    },
    "threads": 2,
    "seed": 0,
    "planted": {"sentences": planted(auc(0.8, 0.7, 0.9, 60)), "answers": planted(PLANTED), "templates": "held_out", "seed": 0},
    "ragtruth": None,
    "coverage": {"rollouts": 1440, "answered": 1310, "pairs": 5240, "truncated": 37},
}


def settings(scale: str, training_seeds: Sequence[int] = (), synthetic: bool = False) -> Config:
    """The resolved configuration of a synthetic run."""
    if scale == "published":
        return reading.validate({"run": "synthetic" if synthetic else "published", "synthetic": synthetic})
    embedded = {
        "run": "demo",
        "scale": scale,
        "benchmark": {"source": "embedded"} if scale == "embedded" else {"source": "folder", "path": "data/legal_rag_bench"},
        "model": {"source": "embedded", "id": "smollm2-135m", "revision": None},
        "verifier": {"source": "embedded", "id": "minilm-l6", "granularity": "sentence", "max_tokens": 128},
        "contract": {"demonstration": True, "reply_prefix": "EVIDENCE:\n["},
        "training": {"variants": {"grounded": {}, "hybrid": {"contract_share": 0.5}}, "seeds": list(training_seeds)},
        "arms": {"hybrid": {"adapter": "trained", "variant": "hybrid", "id": None}},
    }
    return reading.load(overrides=reading.merge({"arms": Config().model_dump()["arms"]}, embedded))


def asked(condition: str, item: int, oracle: bool) -> Prompt:
    """A synthetic question with its documents."""
    documents = [Document(id=name, text=text, role="oracle" if name == "d1" and oracle else "distractor") for name, text in TEXTS.items()]
    question = f"What does the synthetic lease say about item {item}?"
    shown = "\n\n".join(f"[{d.id}] {d.text}" for d in documents)
    return Prompt(
        item=item,
        condition=condition,
        contract=condition != "freeform",
        question=question,
        reference="The tenant keeps the garden in order.",
        oracle_id="d1",
        oracle_present=oracle,
        documents=documents,
        messages=[
            Message(role="system", content="Answer from the documents given."),
            Message(role="user", content=f"Question: {question}\n\nDocuments:\n\n{shown}"),
        ],
        prompt_hash="c" * 64,
    )


def reply(row: dict[str, Any]) -> str:
    """A reply that has what a row of scores says."""
    if row["refusal"]:
        return "ANSWER: INSUFFICIENT EVIDENCE"
    answer = row["answer"] + "".join(f" [{name}]" for name in row["citations"])
    quotes = "".join(f'[{q["cited_id"]}] "{q["text"]}"\n' for q in row["quotes"])
    return f"EVIDENCE:\n{quotes}ANSWER: {answer}" if row["condition"] != "freeform" else answer


def write_replies(folder: Path, condition: str, found: dict[str, pl.DataFrame]) -> None:
    """Prompts, samples and scores of one condition."""
    first = next(iter(found.values()))
    oracles = dict(zip(first["item"], first["oracle_present"], strict=True))
    write_rows(folder / prompts(condition), [asked(condition, item, oracle) for item, oracle in oracles.items()])
    for arm, frame in found.items():
        rollouts = [
            Rollout(
                **{key: r[key] for key in ("item", "k", "arm", "condition", "completion_tokens", "finish_reason")},
                seed=0,
                text=reply(r),
                prompt_tokens=100,
                model="synthetic",
                model_hash="a" * 64,
                adapter_hash=None,
                prompt_hash="c" * 64,
            )
            for r in frame.iter_rows(named=True)
        ]
        write_rows(folder / samples(arm, condition), rollouts)
        (folder / scores(arm, condition)).parent.mkdir(parents=True, exist_ok=True)
        frame.write_parquet(folder / scores(arm, condition))


def write_scores(folder: Path, name: str, profile: Profile, seed: int, items: int, n: int) -> None:
    """The scores of one arm under the contract's conditions, drawn for each training seed."""
    folder.mkdir(parents=True, exist_ok=True)
    for condition, kept, dropped in (("clean", n, 0), ("stress", max(1, n // 2), items // 3)):
        frames(condition, {name: profile}, seed, items, kept, dropped)[name].write_parquet(folder / f"{condition}.parquet")


def write_run(
    folder: Path,
    scale: str = "embedded",
    arms: dict[str, Profile] | None = None,
    items: int = ITEMS,
    n: int = CANDIDATES,
    training_seeds: Sequence[int] = (),
    synthetic: bool = False,
) -> Path:
    """Write everything the figures and the card read into `folder`; the figures themselves are not drawn."""
    arms = arms or ARMS
    resolved = settings(scale, training_seeds, synthetic)
    write_text(folder / "config.yaml", texts.to_yaml(resolved))
    clean = frames("clean", arms, 1, items, n)
    stress = frames("stress", arms, 2, items, max(1, n // 2), dropped=items // 3)
    freeform = frames("freeform", arms, 3, items, max(1, n // 2))
    for condition, found in (("clean", clean), ("stress", stress), ("freeform", freeform)):
        write_replies(folder, condition, found)
    out = folder / "evaluation"
    results = evaluate.results(clean, stress, freeform, support_margin=resolved.evaluation.support_margin, **QUICK)
    for name, content in results._asdict().items():
        write_json(out / f"{name}.json", content)
    for arm, by_seed in resolved.replicas.items():
        for seed, copy in by_seed.items():
            write_scores(folder / "scores" / copy, copy, arms[arm], seed, items, n)
    if resolved.replicas:
        between_seeds.add(folder / "scores", out, resolved.replicas)
    for name, run in resolved.training_runs.items():
        write_json(folder / "training" / name / "metrics.json", metrics(name, run))
    write_json(out / "reconcile.json", reconcile.reconcile(resolved, folder))
    write_json(folder / "distill" / "selection.json", SELECTION)
    write_json(folder / "split" / "leakage.json", LEAKAGE)
    if resolved.verifier.source == "embedded":
        write_json(folder / "verifier" / "metrics.json", VERIFIER)
    return folder


def record_all(folder: Path) -> Path:
    """Give every file of a synthetic run a record, as if a step had just made it."""
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "config.yaml"):
        name = path.relative_to(folder).as_posix()
        values: dict[str, Any] = {"file": name, "step": "synthetic", "wildcards": {}, "sha256": sidecars.hashes(path), "inputs": {}}
        found = sidecars.Record(**values, code=None, settings=None, config={}, environment={}, command=[name])
        write_json(sidecars.record_path(folder, name), found.model_copy(update={"seal": found.sealed()}))
    return folder
