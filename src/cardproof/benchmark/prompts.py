"""The prompts of each condition. Clean shows only the oracle; stress adds distractors and drops some oracles. A question's oracle is all
of its gold passages.

Every choice is a rank by sha256 over (seed, condition, item), not a draw from a generator. So it depends on neither the order of the items
nor the Python version, and a larger share of dropped oracles includes the smaller one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any

from cardproof.benchmark.passages import document_of, documents_of
from cardproof.benchmark.retrieval import retriever
from cardproof.benchmark.subset import subset
from cardproof.config.settings import TRAIN, Condition, Config, Contract
from cardproof.contract.asking import render
from cardproof.contract.form import HEADINGS
from cardproof.contract.ids import examples, unfit
from cardproof.errors import CardproofError, did_you_mean
from cardproof.files import sha256_text
from cardproof.records import Document, Message, Passage, Prompt, Question, Role


def build_prompts(
    condition: str,
    settings: Condition,
    contract: Contract,
    passages: Sequence[Passage],
    questions: Sequence[Question],
    seed: int,
    templates: Path,
    kept_out: Set[str] = frozenset(),
) -> tuple[list[Prompt], dict[str, Any]]:
    """One prompt per question, in their order, and a summary of what was shown.

    Each item gets the `settings.distractors` passages that BM25 ranks nearest to its question, except its oracle, near-duplicates of it,
    and passages of the documents in `kept_out`. The `round(settings.oracle_drop * n)` items of lowest rank lose their oracle. Without
    `settings.shuffle` the oracle comes first, then the distractors as ranked. CardproofError if a question's oracle is not in the corpus,
    an id cannot be shown as `[doc_id]`, or the corpus has too few distractors.
    """
    _check_ids(passages, questions)
    _check_counts(condition, settings, len(passages))
    demonstrations = contract.examples(condition == TRAIN) if settings.contract else None
    reply_prefix = contract.reply_prefix if settings.contract else ""
    by_id = {p.id: p for p in passages}
    dropped = _dropped(condition, [q.id for q in questions], settings.oracle_drop, seed)
    pool = [p for p in passages if document_of(p.id) not in kept_out]
    nearest_passages = retriever(pool, settings.distractors) if settings.distractors else None

    id_examples = examples([p.id for p in passages])
    prompts: list[Prompt] = []
    duplicates = 0
    for q in questions:
        oracles = [by_id[id] for id in q.oracles]
        distractors, skipped = nearest_passages(q.question, oracles) if nearest_passages else ([], 0)
        duplicates += skipped
        documents = _documents([] if q.id in dropped else oracles, distractors)
        if settings.shuffle:
            documents.sort(key=lambda d: _rank(seed, condition, "order", q.id, d.id))
        messages = render(
            q.question, documents, settings.contract, templates, demonstrations, contract.refusal_phrases[0], contract.headings
        )
        prompts.append(
            Prompt(
                item=q.id,
                name=q.name,
                condition=condition,
                contract=settings.contract,
                question=q.question,
                reference=q.answer,
                oracle_id=q.relevant_passage_id,
                further_oracle_ids=q.further_passage_ids,
                oracle_present=q.id not in dropped,
                documents=documents,
                messages=messages,
                id_examples=id_examples,
                headings=None if contract.headings == HEADINGS else contract.headings,
                reply_prefix=reply_prefix,
                prompt_hash=prompt_hash(messages, reply_prefix),
            )
        )
    return prompts, _summary(prompts, settings, dropped, demonstrations, duplicates)


def _summary(
    prompts: Sequence[Prompt], settings: Condition, dropped: Set[int], demonstrations: str | None, duplicates: int
) -> dict[str, Any]:
    return {
        "items": len(prompts),
        **settings.model_dump(exclude={"n"}),
        "oracle_dropped": sorted(dropped),
        "demonstration": demonstrations is not None,
        "near_duplicates_skipped": duplicates,
        "documents_shown": sum(len(p.documents) for p in prompts),
    }


def _documents(oracles: Sequence[Passage], distractors: Sequence[Passage]) -> list[Document]:
    return [*(_document(p, "oracle") for p in oracles), *(_document(p, "distractor") for p in distractors)]


def prompts_of(
    config: Config,
    condition: str,
    passages: Sequence[Passage],
    questions: Sequence[Question],
    templates: Path,
    train_side: Sequence[Question] = (),
) -> tuple[list[Prompt], dict[str, Any]]:
    """The prompts of one condition over one side of the split, by a configuration; `train` asks under the plain contract.

    With `split.held_out_distractors`, no distractor comes from a document of the `train_side`.
    """
    train = condition == TRAIN
    settings: Condition = Condition() if train else getattr(config.conditions, condition)
    most = config.distill.max_items if train else config.conditions.max_items
    asked = subset(questions, most, config.seed, lambda q: q.id)
    kept_out = documents_of(train_side) if config.split.held_out_distractors else frozenset()
    return build_prompts(condition, settings, config.contract, passages, asked, config.seed, templates, kept_out)


def prompt_hash(messages: Sequence[Message], reply_prefix: str) -> str:
    """sha256 over the canonical JSON (sorted keys, no spaces, UTF-8) of messages and reply prefix."""
    content = {"messages": [m.model_dump() for m in messages], "reply_prefix": reply_prefix}
    return sha256_text(json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False))


def _document(passage: Passage, role: Role) -> Document:
    return Document(id=passage.id, text=passage.text, role=role)


def _dropped(condition: str, items: Sequence[int], share: float, seed: int) -> set[int]:
    ranked = sorted(items, key=lambda item: _rank(seed, condition, "oracle-drop", item))
    return set(ranked[: round(share * len(ranked))])


def _rank(*parts: object) -> str:
    return sha256_text(json.dumps(parts, ensure_ascii=False))


def _check_ids(passages: Sequence[Passage], questions: Sequence[Question]) -> None:
    ids = [p.id for p in passages]
    known = set(ids)
    if len(known) < len(ids):
        twice = next(i for i in ids if ids.count(i) > 1)
        raise CardproofError(f"passage id {twice!r} is twice in the corpus.", "make passage ids unique.")
    items = [q.id for q in questions]
    if len(set(items)) < len(items):
        again = next(i for i in items if items.count(i) > 1)
        raise CardproofError(f"question id {again} is there twice.", "make question ids unique.")
    for i in ids:
        if why := unfit(i):
            raise CardproofError(f"passage id {i!r} cannot be shown as [doc_id]: it {why}.", "give the passage another id.")
    for q in questions:
        for gold in q.oracles:
            if gold not in known:
                hint = did_you_mean(gold, ids, "add the passage, or leave out the question.")
                raise CardproofError(f"question {q.called}: its passage {gold!r} is not in the corpus.", hint)


def _check_counts(condition: str, settings: Condition, corpus: int) -> None:
    if settings.distractors > max(0, corpus - 1):
        raise CardproofError(
            f"condition {condition!r}: {settings.distractors} distractors, but the corpus has {corpus} passages.",
            f"one of them is the oracle: set `distractors` to a number from 0 to {max(0, corpus - 1)}.",
        )
    if settings.oracle_drop > 0 and settings.distractors == 0:
        raise CardproofError(
            f"condition {condition!r}: it drops oracles but shows no distractors, so some items would have no document.",
            "set `distractors` to 1 or more, or `oracle_drop` to 0.",
        )
