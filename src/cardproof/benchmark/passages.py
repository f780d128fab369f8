"""The document of a passage, and its words for comparing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from cardproof.records import Passage, Question


def document_of(passage_id: str) -> str:
    """The document a passage belongs to: `7.3.2-c4-s2` -> `7.3.2`, `GPL-3.0-only#6.1` -> `GPL-3.0-only`, any other id -> itself."""
    if "#" in passage_id:
        return passage_id.split("#", 1)[0]
    return re.sub(r"-c\d+(?:-s\d+)?$", "", passage_id)


def documents_of(questions: Iterable[Question]) -> frozenset[str]:
    """The documents that hold the oracle passages of some questions."""
    return frozenset(document_of(id) for q in questions for id in q.oracles)


def is_section_of(document: str, other: str) -> bool:
    """True if a document is a subsection of another by its number: `4.12.2` of `4.12`, at any depth."""
    return re.fullmatch(r"\d+(\.\d+)*", other) is not None and re.match(rf"{re.escape(other)}(\.\d+)+$", document) is not None


def fold(text: str) -> str:
    """A text for comparing: with case folded, and each run of whitespace as one space."""
    return " ".join(text.split()).casefold()


def word_ngrams(text: str, n: int) -> frozenset[tuple[str, ...]]:
    """The distinct word n-grams of a text, with case folded and without punctuation. A text shorter than n words is one n-gram."""
    words = re.findall(r"\w+", text.casefold())
    return frozenset(tuple(words[i : i + n]) for i in range(max(1, len(words) - n + 1))) if words else frozenset()


def passages_of(passages: Sequence[Passage], questions: Sequence[Question]) -> list[Passage]:
    """All passages of the documents with an oracle passage of these questions."""
    documents = documents_of(questions)
    return [p for p in passages if document_of(p.id) in documents]
