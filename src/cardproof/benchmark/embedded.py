"""The embedded benchmark: passages of licence texts, and the project's own questions on them."""

from __future__ import annotations

from collections.abc import Set
from importlib.resources import files
from pathlib import Path

from cardproof.benchmark.folder import Rows, check
from cardproof.benchmark.licences import MAX_WORDS, licence_passages
from cardproof.benchmark.passages import document_of, fold, word_ngrams
from cardproof.errors import CardproofError
from cardproof.files import read_json, read_rows
from cardproof.records import Passage, Question

REPEAT = 0.5
"""A passage is left out if an earlier licence has this share of its word 8-grams (AGPL repeats GPL, CC-BY-SA repeats CC-BY). A quote from
it would be in two documents, and its attribution would depend on luck."""


def load_embedded(max_words: int = MAX_WORDS) -> Rows:
    """The licence benchmark: passages of at most `max_words` words, and the project's own questions on them.

    Passage ids depend on `max_words`, so each question looks for the passage with its key phrases. CardproofError if passages are so short
    that none has them all.
    """
    passages = licence_passages(max_words)
    phrases = key_phrases()
    questions = [_follow(q, phrases[q.id], passages, max_words) for q in embedded_questions()]
    passages = drop_repeats(passages, keep={q.relevant_passage_id for q in questions})
    check(passages, questions, "the embedded benchmark")
    return passages, questions


def embedded_questions() -> list[Question]:
    """The project's own questions as stored. Their passage ids are those of the default length."""
    return read_rows(Path(str(files("cardproof") / "data" / "licence_questions.jsonl")), Question)


def key_phrases() -> dict[int, list[str]]:
    """Question id -> phrases that its oracle passage must contain, compared after `fold`."""
    stored = read_json(Path(str(files("cardproof") / "data" / "licence_key_phrases.json")))
    return {int(id): phrases for id, phrases in stored.items()}


def drop_repeats(passages: list[Passage], keep: Set[str] = frozenset(), threshold: float = REPEAT, n: int = 8) -> list[Passage]:
    """The passages without those that share `threshold` or more of their word n-grams with an earlier document; ids in `keep` stay."""
    kept: list[Passage] = []
    earlier: set[tuple[str, ...]] = set()
    current: set[tuple[str, ...]] = set()
    document = None
    for p in passages:
        if document_of(p.id) != document:
            earlier |= current
            current, document = set(), document_of(p.id)
        grams = word_ngrams(p.text, n)
        current |= grams
        if p.id in keep or len(grams & earlier) < threshold * len(grams):
            kept.append(p)
    return kept


def _follow(question: Question, phrases: list[str], passages: list[Passage], max_words: int) -> Question:
    document = document_of(question.relevant_passage_id)
    candidates = [p.id for p in passages if document_of(p.id) == document and all(fold(x) in fold(p.text) for x in phrases)]
    if not candidates:
        raise CardproofError(
            f"With max_words {max_words}, no passage of {document} contains all that question {question.id} needs.",
            f"use {MAX_WORDS} or more: every question is answerable there.",
        )
    oracle = question.relevant_passage_id if question.relevant_passage_id in candidates else candidates[0]
    return question.model_copy(update={"relevant_passage_id": oracle})
