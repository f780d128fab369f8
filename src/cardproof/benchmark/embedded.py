"""The embedded benchmark: licence passages and the project's own questions on them."""

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
"""A licence passage is left out where this share of its word 8-grams stands in an earlier licence (AGPL repeats GPL, CC-BY-SA repeats
CC-BY): a quote from it could be found in two documents, and attribution would be a matter of luck."""


def load_embedded(max_words: int = MAX_WORDS) -> Rows:
    """The licence benchmark: passages of at most `max_words` words, and the project's own questions on them.

    Passage ids depend on `max_words`; a question follows its key phrases to the passage that holds them. CardproofError where
    passages are so short that no single one does.
    """
    passages = licence_passages(max_words)
    phrases = key_phrases()
    questions = [_follow(q, phrases[q.id], passages, max_words) for q in embedded_questions()]
    passages = drop_repeats(passages, keep={q.relevant_passage_id for q in questions})
    check(passages, questions, "the embedded benchmark")
    return passages, questions


def embedded_questions() -> list[Question]:
    """The project's own questions as stored, with passage ids for the default length."""
    return read_rows(Path(str(files("cardproof") / "data" / "licence_questions.jsonl")), Question)


def key_phrases() -> dict[int, list[str]]:
    """By question id: phrases the oracle passage must hold, compared after `fold`."""
    stored = read_json(Path(str(files("cardproof") / "data" / "licence_key_phrases.json")))
    return {int(id): phrases for id, phrases in stored.items()}


def drop_repeats(passages: list[Passage], keep: Set[str] = frozenset(), threshold: float = REPEAT, n: int = 8) -> list[Passage]:
    """The passages without those of which `threshold` or more of the word n-grams stand in an earlier document; ids in `keep` stay."""
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
    holds = [p.id for p in passages if document_of(p.id) == document and all(fold(x) in fold(p.text) for x in phrases)]
    if not holds:
        raise CardproofError(
            f"With max_words {max_words}, no passage of {document} holds all that question {question.id} needs.",
            f"use {MAX_WORDS} or more: every question is answerable there.",
        )
    oracle = question.relevant_passage_id if question.relevant_passage_id in holds else holds[0]
    return question.model_copy(update={"relevant_passage_id": oracle})
