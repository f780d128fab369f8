"""Choosing some of many, evenly and by seed: the same choice for any order of the input."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeVar

from cardproof.benchmark.folder import document_of
from cardproof.records import Passage, Question

T = TypeVar("T")


def subset(items: Sequence[T], most: int | None, seed: int, name: Callable[[T], object]) -> list[T]:
    """At most `most` items, those of lowest sha256 over (seed, name), in their given order; a larger subset holds the smaller one."""
    if most is None or most >= len(items):
        return list(items)
    ranked = sorted(items, key=lambda item: hashlib.sha256(f"{seed}|{name(item)}".encode()).digest())
    chosen = {name(item) for item in ranked[:most]}
    return [item for item in items if name(item) in chosen]


def passages_of(passages: Sequence[Passage], questions: Sequence[Question]) -> list[Passage]:
    """All passages of the documents that hold one side's oracle passages."""
    documents = {document_of(q.relevant_passage_id) for q in questions}
    return [p for p in passages if document_of(p.id) in documents]
