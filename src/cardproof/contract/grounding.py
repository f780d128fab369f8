"""Grounding: whether a reply's quotes are in the documents, word for word or after a named ladder of normalisations.

The ladder N() is NFKC, then `whitespace`, `typography`, `markup`, `case`, `punctuation`. Any subset of the steps can be applied, so a quote
that is not verbatim can be told apart by *what* was altered. A match is a plain substring: no word boundary is asked for, since a quote may
rightly begin or end inside a compound, a bracket or a list mark. A near miss alone does not begin or end inside a number.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from cardproof.contract.ladder import BREAK, LADDER, SUBSETS, Normalised, normalise, normalised, says_something, seen
from cardproof.records import QuoteKind, Step


class Match(NamedTuple):
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


def match(text: str, cited_id: str | None, documents: Sequence[tuple[str, str]]) -> Match:
    """What became of one quote; `documents` are (id, text).

    Strict is a substring test on the raw text: no NFKC, no trimming. A quote without any letter or digit (empty, blank, bare punctuation)
    proves nothing and counts as fabricated. A near miss is looked for in the cited document first, then in the others; its `steps` are the
    fewest that repair it, ties broken by ladder order, and are empty where NFKC alone does (a ligature, a no-break space, an ellipsis).
    """
    if not says_something(text):
        return Match(text, cited_id, "fabricated", False, False, False, (), None, None, None)
    for doc_id, document in documents:
        if doc_id == cited_id and (start := document.find(text)) >= 0:
            return Match(text, cited_id, "strict", True, True, True, (), doc_id, start, start + len(text))
    for doc_id, document in documents:
        if doc_id != cited_id and (start := document.find(text)) >= 0:
            kind: QuoteKind = "strict" if cited_id is None else "misattributed"
            return Match(text, cited_id, kind, True, True, False, (), doc_id, start, start + len(text))
    return _near_miss(text, cited_id, documents) or Match(text, cited_id, "fabricated", False, False, False, (), None, None, None)


def _near_miss(text: str, cited_id: str | None, documents: Sequence[tuple[str, str]]) -> Match | None:
    cited = [d for d in documents if d[0] == cited_id]
    others = [d for d in documents if d[0] != cited_id] if cited else documents
    for widest in _WIDEST if not text[0].isalnum() else _WIDEST[:1]:
        needle = normalise(text, widest)
        for group in (cited, others):
            near = [d for d in group if needle in (shown := _document(d[1], widest)) or _found_broken(needle, shown, widest, False)]
            if near and (repair := _least_repair(text, near)):
                steps, doc_id, (start, end) = repair
                return Match(text, cited_id, "near_miss", False, True, False, steps, doc_id, start, end)
    return None


MAX_DIFF = 4_000
"""Longest quote that is compared with its document letter by letter, in characters: the comparison is quadratic."""


def near_miss_diff(quote: str, document_span: str) -> list[tuple[str, str, str]]:
    """How a quote departs from the passage it was found in: `(op, quote part, document part)`, op as in Levenshtein's edit script.

    op is `equal`, `replace`, `delete` (only in the quote) or `insert` (only in the document). The parts of each side join to the whole.
    """
    from rapidfuzz.distance import Levenshtein

    return [
        (op.tag, quote[op.src_start : op.src_end], document_span[op.dest_start : op.dest_end])
        for op in Levenshtein.opcodes(quote, document_span)
    ]


_WIDEST: tuple[tuple[Step, ...], ...] = (LADDER, tuple(step for step in LADDER if step != "punctuation"))
"""Where no near miss is found by one of these, no other subset finds one. What a mark means depends on what is before it, so a quote that
begins with a mark may need the second."""


def _least_repair(text: str, documents: Sequence[tuple[str, str]]) -> tuple[tuple[Step, ...], str, tuple[int, int]] | None:
    """The first subset of steps, fewest first, that makes `text` a substring of one of `documents`, which one, and where in it."""
    for steps in SUBSETS:
        needle = normalise(text, steps)
        for doc_id, document in documents:
            at = _found(needle, _document(document, steps), steps)
            if at and _cuts_no_number(document, *(span := _placed(document, steps).span(*at))):
                return steps, doc_id, span
    return None


@lru_cache(maxsize=8192)
def _document(text: str, steps: tuple[Step, ...]) -> str:
    """A document's normalised text, kept: all quotes of all rollouts of an item meet the same few documents."""
    return normalise(text, steps)


@lru_cache(maxsize=4096)
def _placed(text: str, steps: tuple[Step, ...]) -> Normalised:
    """The same with its offsets, which take eight times the memory."""
    return normalised(text, steps)


# --- where a normalised quote is in a normalised document --------------------------------------------------------------------------------

MOST = 100
"""Places tried at most where the first ones cut a number or differ at a broken word: a bound on what a hostile text can cost."""


def _found(needle: str, document: str, steps: tuple[Step, ...], whole_numbers: bool = True) -> tuple[int, int] | None:
    """The first place of a quote in a document, both normalised by `steps`, that cuts no number; None where there is none."""
    at = document.find(needle)
    for _ in range(MOST):
        if at < 0:
            break
        if not whole_numbers or _cuts_no_number(document, at, at + len(needle)):
            return at, at + len(needle)
        at = document.find(needle, at + 1)
    return _found_broken(needle, document, steps, whole_numbers)


_CONTINUES = frozenset(".,:/^-'\u00b7\u2010\u2011\u2012\u2013\u2014\u2212")
"""Marks that make one number, range, date or ratio of the digits on either side."""
_SIGNS = frozenset("-\u2010\u2011\u2012\u2013\u2212~")


_REACH = 12
"""Characters looked at on either side of a number."""


def _cuts_no_number(document: str, start: int, end: int) -> bool:
    """Whether a stretch neither begins nor ends inside a number, its sign, point and currency mark included."""
    first, last = document[start : start + 2], document[max(start, end - 2) : end]
    return not (_opens(first) and _number_before(document, start)) and not (_closes(last) and _number_after(document, end))


def _opens(first: str) -> bool:
    return first[:1].isdecimal() or (first[1:].isdecimal() and first[0] in _CONTINUES)


def _closes(last: str) -> bool:
    return last[-1:].isdecimal() or (last[:1].isdecimal() and last[-1] in _CONTINUES)


def _number_before(document: str, at: int) -> bool:
    """Whether what comes before `at` belongs to a number that begins there or goes on; emphasis and what is not seen aside."""
    left = seen(document[max(0, at - _REACH) : at])
    mark, before = left[-1:], left[-2:-1]
    if mark.isdecimal() or (mark in _CONTINUES and before.isdecimal()):
        return True
    if not document[at].isdecimal() or not mark:
        return False
    if unicodedata.category(mark) in ("Sc", "Sm"):
        return True
    return (mark in _SIGNS or (mark in ".," and before not in (".", ","))) and not before.isalnum()


def _number_after(document: str, at: int) -> bool:
    """Whether what comes after `at` belongs to the number that ends there; emphasis and what is not seen aside."""
    right = seen(document[at : at + _REACH])
    mark, after = right[:1], right[1:2]
    if not document[at - 1].isdecimal():
        return mark.isdecimal()
    return mark.isdecimal() or (mark in _CONTINUES and after.isdecimal()) or (mark != "" and _is_unit(mark))


def _is_unit(mark: str) -> bool:
    return mark in "%\u2030\u2031" or unicodedata.category(mark) == "Sc"


# --- words that a line's end broke -------------------------------------------------------------------------------------------------------

_GAPS = frozenset(f" -\u2010{BREAK}")


class _Solid(NamedTuple):
    """A text without spaces and hyphens, and what stood between its characters."""

    text: str
    places: list[int]
    """Where each character is in the whole text."""
    gaps: list[str]
    """What stood before each character, and after the last."""


@lru_cache(maxsize=1024)
def _solid(text: str) -> _Solid:
    places: list[int] = []
    gaps: list[str] = []
    gap = ""
    for i, ch in enumerate(text):
        if ch in _GAPS:
            gap += ch
        else:
            places.append(i)
            gaps.append(gap)
            gap = ""
    return _Solid("".join([text[i] for i in places]), places, [*gaps, gap])


def _found_broken(needle: str, document: str, steps: tuple[Step, ...], whole_numbers: bool) -> tuple[int, int] | None:
    """`_found` where a line's end broke a word of one of the two: there, and nowhere else, hyphens and spaces may differ."""
    if BREAK not in document and BREAK not in needle:
        return None
    punctuation = "punctuation" in steps
    ours, theirs = _solid(needle), _solid(document)
    length = len(ours.text)
    at = theirs.text.find(ours.text) if length else -1
    for _ in range(MOST):
        if at < 0:
            return None
        between = zip(ours.gaps[1:length], theirs.gaps[at + 1 : at + length], strict=True)
        start = theirs.places[at] - len(ours.gaps[0])
        end = theirs.places[at + length - 1] + 1 + len(ours.gaps[length])
        if (
            theirs.gaps[at].endswith(ours.gaps[0])
            and theirs.gaps[at + length].startswith(ours.gaps[length])
            and all(_same_gap(a, b, punctuation) for a, b in between if a != b)
            and (not whole_numbers or _cuts_no_number(document, start, end))
        ):
            return start, end
        at = theirs.text.find(ours.text, at + 1)
    return None


@lru_cache(maxsize=1024)
def _same_gap(one: str, other: str, punctuation: bool) -> bool:
    """Whether two gaps are the same if a broken word may be read as one word, with its hyphen, or with its hyphen and a space."""
    readings = f"(?:{BREAK}| ?[-\u2010] ?{'| ' if punctuation else ''}|)"
    for broken, whole in ((one, other), (other, one)):
        if BREAK in broken and re.fullmatch(readings.join(re.escape(part) for part in broken.split(BREAK)), whole):
            return True
    return False
