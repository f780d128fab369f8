"""The item explorer's data: every question with its documents and every rollout, where each quote is, and which candidate was picked.

Offsets are in UTF-16 units, as browsers count; text is passed on unchanged, and the page decides how to show it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from cardproof.config.settings import CONDITIONS, Config
from cardproof.contract import reading
from cardproof.contract.grounding import MAX_DIFF, near_miss_diff
from cardproof.evaluation.axes import COLUMNS
from cardproof.evaluation.rerank import ranked
from cardproof.files import read_rows
from cardproof.records import Grounding, Prompt, Reply, Rollout
from cardproof.runs import Run, prompts, samples
from cardproof.scoring.frames import read_scores

Item = dict[str, Any]
MARKS = ("near_miss", "misattributed", "fabricated", "refusal", "defect", "cut")
"""What the page can search items for: quotes that are not strict, by kind; refusals; departures from the contract; replies cut off."""


def items(run: Run) -> list[Item]:
    """Every item of the evaluation side, in the order of the clean prompts: question, documents and rollouts by condition and arm."""
    entries: dict[int, Item] = {}
    for condition in CONDITIONS:
        rows = read_rows(run.path(prompts(condition)), Prompt)
        by_item = {p.item: p for p in rows}
        for p in rows:
            item = entries.setdefault(
                p.item, {"id": p.item, **_name(p), "question": p.question, "reference": p.reference, "conditions": {}}
            )
            item["conditions"][condition] = {
                "contract": p.contract,
                "oracle": ", ".join([p.oracle_id, *p.further_oracle_ids]),
                "oracle_present": p.oracle_present,
                "documents": [{"id": d.id, "role": d.role, "text": d.text} for d in p.documents],
                "arms": {},
            }
        for arm in run.config.sampled_arms:
            for row, rollout in _scored(run, arm, condition):
                rollouts = entries[rollout.item]["conditions"][condition]["arms"].setdefault(arm, [])
                rollouts.append(_rollout(rollout, row, by_item[rollout.item], run.config.contract.refusal_phrases))
    return list(entries.values())


def _name(prompt: Prompt) -> dict[str, str]:
    """What a question is called in the data, if its id there is a text."""
    return {} if prompt.name is None else {"name": prompt.name}


def marks(item: Item) -> dict[str, dict[str, dict[str, list[int]]]]:
    """Mark -> condition -> arm -> the k of the rollouts that have it; marks that no rollout has are left out."""
    places: dict[str, dict[str, dict[str, list[int]]]] = {}
    for condition, entry in item["conditions"].items():
        for arm, rollouts in entry["arms"].items():
            for rollout in rollouts:
                its = {q["kind"] for q in rollout["quotes"]}
                its |= {"refusal"} if rollout["refusal"] else set()
                its |= {"defect"} if rollout["defects"] else set()
                its |= {"cut"} if rollout["finish"] == "length" else set()
                for mark in MARKS:
                    if mark in its:
                        places.setdefault(mark, {}).setdefault(condition, {}).setdefault(arm, []).append(rollout["k"])
    return places


def factors(config: Config) -> dict[str, list[str]]:
    """Condition -> the axes whose product is the composite there."""
    return {name: list(config.scoring.factors(getattr(config.conditions, name).contract)) for name in CONDITIONS}


def spent(entries: Iterable[Item]) -> list[dict[str, Any]]:
    """Rollouts and tokens generated, by arm and condition."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for item in entries:
        for condition, entry in item["conditions"].items():
            for arm, rollouts in entry["arms"].items():
                row = rows.setdefault((arm, condition), {"arm": arm, "condition": condition, "rollouts": 0, "tokens": 0, "cut": 0})
                row["rollouts"] += len(rollouts)
                row["tokens"] += sum(r["tokens"] for r in rollouts)
                row["cut"] += sum(r["finish"] == "length" for r in rollouts)
    return list(rows.values())


def to_json(value: Any) -> str:
    """JSON that is safe inside a script element: ASCII alone, and no `<`, whatever a model wrote."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c").replace(">", "\\u003e")


def _scored(run: Run, arm: str, condition: str) -> list[tuple[Mapping[str, Any], Rollout]]:
    """Each rollout of an arm with its row of scores, in the order of items and k; the row has its `rank` and how often it is `picked`."""
    table = ranked(read_scores(run.path("scores"), arm, condition))
    scores = table.rows.with_columns(pl.Series("picked", table.shares[:, :, -1].reshape(-1)))
    rows = {(row["item"], row["k"]): row for row in scores.iter_rows(named=True)}
    return [(rows[r.item, r.k], r) for r in read_rows(run.path(samples(arm, condition)), Rollout) if (r.item, r.k) in rows]


def _rollout(rollout: Rollout, row: Mapping[str, Any], prompt: Prompt, phrases: list[str]) -> dict[str, Any]:
    reply = reading.parse(rollout.text, reading.Terms.of(prompt, phrases))
    documents = {d.id: d.text for d in prompt.documents}
    return {
        "k": rollout.k,
        "rank": row["rank"],
        "picked": row["picked"],
        "text": rollout.text,
        "tokens": rollout.completion_tokens,
        "finish": rollout.finish_reason,
        "refusal": row["refusal"],
        "answer": row["answer"],
        "citations": row["citations"],
        "defects": row["defects"],
        "scores": {axis: row[axis] for axis in COLUMNS},
        "quotes": [_quote(Grounding.model_validate(q), i, reply, rollout.text, documents) for i, q in enumerate(row["quotes"])],
    }


def _quote(grounding: Grounding, index: int, reply: Reply, text: str, documents: Mapping[str, str]) -> dict[str, Any]:
    quote: dict[str, Any] = {
        "text": grounding.text,
        "cited": grounding.cited_id,
        "kind": grounding.kind,
        "steps": list(grounding.steps),
        "doc": grounding.doc_id,
    }
    if index < len(reply.quotes) and reply.quotes[index].text == grounding.text:
        at = reply.quotes[index]
        quote["at"] = [units(text, at.start), units(text, at.end)]
    document = documents.get(grounding.doc_id or "")
    if document is not None and grounding.start is not None and grounding.end is not None:
        quote["span"] = [units(document, grounding.start), units(document, grounding.end)]
        if grounding.kind == "near_miss" and len(grounding.text) <= MAX_DIFF:
            quote["diff"] = [list(part) for part in near_miss_diff(grounding.text, document[grounding.start : grounding.end])]
    return quote


def units(text: str, at: int) -> int:
    """A character offset in UTF-16 units."""
    return at if text.isascii() else at + sum(ord(ch) > 0xFFFF for ch in text[:at])
