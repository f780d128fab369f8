"""Self-distillation: the base model's best contract replies to the train items become RAFT-style training examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from cardproof.config.settings import Config, Distill
from cardproof.contract import asking, reading
from cardproof.errors import CardproofError
from cardproof.files import read_rows, write_json, write_rows
from cardproof.records import Example, Prompt, Rollout, Turn
from cardproof.scoring.frames import read_frame

Candidate = dict[str, Any]
"""Columns of one scored rollout: item, k, refusal, composite, and the axes whose product the composite is."""


def distill(config: Config, prompts: Path, samples: Path, scores: Path, templates: Path, out: Path, selection: Path) -> dict[str, Any]:
    """Write the training examples and `selection.json`, and return what the latter says; see `select`."""
    examples, summary = select(config, read_rows(prompts, Prompt), read_rows(samples, Rollout), read_frame(scores), templates)
    write_rows(out, examples)
    write_json(selection, summary)
    return summary


def select(
    config: Config, prompts: Sequence[Prompt], rollouts: Sequence[Rollout], scores: pl.DataFrame, templates: Path
) -> tuple[list[Example], dict[str, Any]]:
    """Keep the `keep_top` candidates of each train item with the highest composite above the threshold; the smaller k wins a tie.

    Returns the examples in item order and the content of `selection.json`: how many candidates were kept, and the first reason against each
    of the others. `templates` is the folder of prompt templates. CardproofError if a scored candidate has no prompt or no rollout.
    """
    by_key = {(r.item, r.k): r for r in rollouts}
    ranked = _ranked(scores, {p.item for p in prompts}, by_key, config.scoring.composite)
    examples: list[Example] = []
    rejected: Counter[str] = Counter()
    for prompt in prompts:
        kept: dict[str, Example] = {}
        for candidate in ranked.get(prompt.item, []):
            rollout = by_key[candidate["item"], candidate["k"]]
            if reason := _reason(candidate, rollout, config, kept):
                rejected[reason] += 1
            else:
                kept[rollout.text] = _example(config, prompt, rollout, candidate["composite"], templates)
        examples += kept.values()
    return examples, _summary(config.distill, prompts, examples, rejected)


def _ranked(
    scores: pl.DataFrame, items: Container[int], rollouts: Container[tuple[int, int]], factors: Sequence[str]
) -> dict[int, list[Candidate]]:
    """The scored candidates of each item, best first."""
    by_item: dict[int, list[Candidate]] = {}
    columns = dict.fromkeys(["item", "k", "refusal", "composite", *factors])
    for row in scores.select(list(columns)).iter_rows(named=True):
        if row["item"] not in items or (row["item"], row["k"]) not in rollouts:
            missing = "rollout" if row["item"] in items else "prompt"
            raise CardproofError(
                f"Item {row['item']}, k {row['k']} has scores but no {missing}.", "give the prompts and samples that were scored."
            )
        by_item.setdefault(row["item"], []).append(row)
    return {item: sorted(rows, key=lambda row: (-row["composite"], row["k"])) for item, rows in by_item.items()}


def _reason(candidate: Candidate, rollout: Rollout, config: Config, kept: Mapping[str, Example]) -> str | None:
    """Why a candidate is not kept, or None if it is. `kept`: the item's better candidates by text."""
    if candidate["refusal"]:
        return "refusal"
    if rollout.finish_reason == "length":
        return "cut at the token limit"
    if not candidate["composite"] > config.distill.threshold:
        zero = next((axis for axis in config.scoring.composite if not candidate[axis]), None)
        return f"{zero} is zero" if zero else "composite not above the threshold"
    if rollout.text in kept:
        return "the same text as a better candidate"
    return "not among the best" if len(kept) >= config.distill.keep_top else None


def _example(config: Config, prompt: Prompt, rollout: Rollout, composite: float, templates: Path) -> Example:
    """A kept candidate in both forms: the whole reply under the contract, and its answer to the question asked without it."""
    phrases = config.contract.refusal_phrases
    under_contract = asking.render(
        prompt.question, prompt.documents, True, templates, config.trained_examples, phrases[0], config.contract.headings
    )
    without_it = asking.render(prompt.question, prompt.documents, False, templates, None, phrases[0])
    answer = reading.read(rollout.text, reading.Terms.of(prompt, phrases)).answer
    return Example(
        item=prompt.item,
        k=rollout.k,
        composite=composite,
        contract=Turn(messages=under_contract, reply=rollout.text.strip()),
        freeform=Turn(messages=without_it, reply=answer.strip()),
    )


def _summary(settings: Distill, prompts: Sequence[Prompt], examples: Sequence[Example], rejected: Counter[str]) -> dict[str, Any]:
    per_item = Counter(e.item for e in examples)
    return {
        "items": len(prompts),
        "candidates": len(examples) + rejected.total(),
        "candidates_per_item": settings.n,
        "keep_top": settings.keep_top,
        "threshold": settings.threshold,
        "kept": len(examples),
        "items_with_examples": len(per_item),
        "kept_per_item": {str(k): sum(1 for p in prompts if per_item[p.item] == k) for k in range(settings.keep_top + 1)},
        "fallen": dict(sorted(rejected.items())),
    }
