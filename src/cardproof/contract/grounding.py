"""Grounding: whether a reply's quotes stand in the documents, word for word or after a named ladder of normalisations.

The ladder N() is NFKC, then `whitespace`, `typography`, `markup`, `case`, `punctuation`. Any subset of the steps can be applied, so a quote
that is not verbatim can be told apart by *what* was altered. A match is a plain substring: no word boundary is asked for, since a quote may
rightly begin or end inside a compound, a bracket or a list mark.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from cardproof.contract.ladder import LADDER, SUBSETS, Normalised, normalise, normalised, says_something
from cardproof.records import Document, Grounding, Quote, QuoteKind, Step


class Verdict(NamedTuple):
    """The fields of a `Grounding`, unchecked: scoring a million rollouts makes millions of them."""

    text: str
    cited_id: str | None
    kind: QuoteKind
    strict: bool
    content: bool
    attributed: bool
    steps: tuple[Step, ...]
    doc_id: str | None
    start: int | None
    end: int | None


def ground(quotes: Sequence[Quote], documents: Sequence[Document]) -> list[Grounding]:
    """What became of each quote, in order.

    Strict is a substring test on the raw text: no NFKC, no trimming. A quote without any letter or digit (empty, blank, bare punctuation)
    proves nothing and counts as fabricated. A near miss is looked for in the cited document first, then in the others; its `steps` are the
    fewest that repair it, ties broken by ladder order, and are empty where NFKC alone does (a ligature, a no-break space, an ellipsis).
    """
    shown = [(d.id, d.text) for d in documents]
    found = [verdict(q.text, q.doc_id, shown) for q in quotes]
    return [Grounding.model_validate({**v._asdict(), "steps": list(v.steps)}) for v in found]


def verdict(text: str, cited_id: str | None, documents: Sequence[tuple[str, str]]) -> Verdict:
    """What became of one quote; `documents` are (id, text). See `ground`."""
    if not says_something(text):
        return Verdict(text, cited_id, "fabricated", False, False, False, (), None, None, None)
    cited = [d for d in documents if d[0] == cited_id]
    others = [d for d in documents if d[0] != cited_id] if cited else documents
    for group in (cited, others):
        for doc_id, document in group:
            start = document.find(text)
            if start >= 0:
                attributed = doc_id == cited_id
                kind: QuoteKind = "strict" if attributed or cited_id is None else "misattributed"
                return Verdict(text, cited_id, kind, True, True, attributed, (), doc_id, start, start + len(text))
    needle = normalise(text)
    for group in (cited, others):
        near = [d for d in group if needle in _document(d[1], LADDER)]
        if near:
            steps, doc_id, (start, end) = _least_repair(text, near)
            return Verdict(text, cited_id, "near_miss", False, True, False, steps, doc_id, start, end)
    return Verdict(text, cited_id, "fabricated", False, False, False, (), None, None, None)


def _least_repair(text: str, documents: Sequence[tuple[str, str]]) -> tuple[tuple[Step, ...], str, tuple[int, int]]:
    """The first subset of steps, fewest first, that makes `text` a substring of one of `documents`, which one, and where in it."""
    for steps in SUBSETS:
        needle = normalise(text, steps)
        for doc_id, document in documents:
            at = _document(document, steps).find(needle)
            if at >= 0:
                return steps, doc_id, _placed(document, steps).span(at, at + len(needle))
    raise AssertionError("unreachable: the caller found the quote with the full ladder, which is the last subset")


def near_miss_diff(quote: str, document_span: str) -> list[tuple[str, str, str]]:
    """How a quote departs from the passage it was found in: `(op, quote part, document part)`, op as in Levenshtein's edit script.

    op is `equal`, `replace`, `delete` (only in the quote) or `insert` (only in the document). The parts of each side join to the whole.
    """
    from rapidfuzz.distance import Levenshtein

    return [
        (op.tag, quote[op.src_start : op.src_end], document_span[op.dest_start : op.dest_end])
        for op in Levenshtein.opcodes(quote, document_span)
    ]


@lru_cache(maxsize=8192)
def _document(text: str, steps: tuple[Step, ...]) -> str:
    """A document's normalised text, kept: all quotes of all rollouts of an item meet the same few documents."""
    return normalise(text, steps)


@lru_cache(maxsize=4096)
def _placed(text: str, steps: tuple[Step, ...]) -> Normalised:
    """The same with its offsets, which take eight times the memory."""
    return normalised(text, steps)
