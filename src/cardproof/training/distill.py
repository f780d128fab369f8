"""Self-distillation: the base model's best contract replies to the train items become RAFT-style training examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from cardproof.config.settings import Config, Distill
from cardproof.contract import asking, reading
from cardproof.errors import CardproofError
from cardproof.files import read_rows, write_json, write_rows
from cardproof.records import Example, Message, Prompt, Rollout, Turn
from cardproof.scoring.frames import read_frame


def distill(config: Config, prompts: Path, samples: Path, scores: Path, templates: Path, out: Path, selection: Path) -> dict[str, Any]:
    """Write the training examples and, for `selection.json`, what was kept and why others fell; returns the latter."""

    def ask(prompt: Prompt, in_contract: bool) -> list[Message]:
        demonstration = in_contract and config.contract.demonstration and config.distill.demonstration
        return asking.render(prompt.question, prompt.documents, in_contract, templates, demonstration, config.contract.refusal_phrases[0])

    examples, summary = select(
        read_rows(prompts, Prompt),
        read_rows(samples, Rollout),
        read_frame(scores),
        config.distill,
        config.contract.refusal_phrases,
        ask,
        config.scoring.composite,
    )
    write_rows(out, examples)
    write_json(selection, summary)
    return summary


Ask = Callable[[Prompt, bool], list[Message]]


def select(
    prompts: Sequence[Prompt],
    rollouts: Sequence[Rollout],
    scores: pl.DataFrame,
    settings: Distill,
    refusal_phrases: Sequence[str],
    ask: Ask,
    factors: Sequence[str] = ("strict", "citation_validity", "support"),
) -> tuple[list[Example], dict[str, Any]]:
    """Keep, per train item, the `keep_top` candidates of highest composite above the threshold; ties go to the smaller k.

    Returns the examples in item order, and for `selection.json` how many were kept and the first reason why each other one fell.
    `ask` renders a prompt's question and documents for training, under the contract or (for hybrid training) without it;
    `factors`: the axes whose product the composite is.
    """
    texts = {(r.item, r.k): r for r in rollouts}
    table: dict[int, list[dict[str, Any]]] = {}
    items = {p.item for p in prompts}
    for row in scores.select(list(dict.fromkeys(["item", "k", "refusal", "composite", *factors]))).iter_rows(named=True):
        if row["item"] not in items or (row["item"], row["k"]) not in texts:
            lacks = "rollout" if row["item"] in items else "prompt"
            raise CardproofError(
                f"Item {row['item']}, k {row['k']} was scored, and has no {lacks}.", "give the prompts and samples these scores are of."
            )
        table.setdefault(row["item"], []).append(row)
    examples: list[Example] = []
    fallen: Counter[str] = Counter()
    for prompt in prompts:
        seen: set[str] = set()
        kept = 0
        for row in sorted(table.get(prompt.item, []), key=lambda r: (-r["composite"], r["k"])):
            rollout = texts[row["item"], row["k"]]
            reason = _reason(row, rollout, settings, factors, seen, kept)
            if reason:
                fallen[reason] += 1
                continue
            kept += 1
            seen.add(rollout.text)
            reply = reading.parse(rollout.text, refusal_phrases)
            examples.append(
                Example(
                    item=prompt.item,
                    k=row["k"],
                    composite=row["composite"],
                    contract=Turn(messages=ask(prompt, True), reply=rollout.text.strip()),
                    freeform=Turn(messages=ask(prompt, False), reply=reply.answer.strip()),
                )
            )
    per_item = Counter(e.item for e in examples)
    summary = {
        "items": len(prompts),
        "candidates": sum(len(rows) for rows in table.values()),
        "candidates_per_item": settings.n,
        "keep_top": settings.keep_top,
        "threshold": settings.threshold,
        "kept": len(examples),
        "items_with_examples": len(per_item),
        "kept_per_item": {str(k): sum(1 for p in prompts if per_item[p.item] == k) for k in range(settings.keep_top + 1)},
        "fallen": dict(sorted(fallen.items())),
    }
    return examples, summary


def _reason(row: dict[str, Any], rollout: Rollout, settings: Distill, factors: Sequence[str], seen: set[str], kept: int) -> str | None:
    """Why a candidate is not kept, or None where it is."""
    if row["refusal"]:
        return "refusal"
    if rollout.finish_reason == "length":
        return "cut at the token limit"
    if not row["composite"] > settings.threshold:
        for axis in factors:
            if not row[axis]:
                return f"{axis} is zero"
        return "composite not above the threshold"
    if rollout.text in seen:
        return "the same text as a better candidate"
    return "not among the best" if kept >= settings.keep_top else None
