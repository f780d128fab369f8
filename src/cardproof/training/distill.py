"""Self-distillation: the base model's best contract replies to the train items become RAFT-style training examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from cardproof.config.settings import Distill
from cardproof.contract import reading
from cardproof.errors import CardproofError
from cardproof.records import Example, Message, Prompt, Rollout, Turn

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


def write(out: Path, summary_path: Path, examples: Sequence[Example], summary: dict[str, Any]) -> None:
    """Write `raft.jsonl` and `selection.json`."""
    from cardproof.files import write_json, write_rows

    write_rows(out, examples)
    write_json(summary_path, summary)
