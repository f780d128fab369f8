"""Document ids: which can be cited in square brackets at all, and how those of a corpus are built, learned from examples."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

MAX_ID = 80
"""Longest document id in characters; longer bracketed text is prose."""
JOINERS = "\u200c\u200d"
"""Between letters, some scripts need them."""
MOST_EXAMPLES = 40
"""Examples of the corpus' ids that a prompt carries at most."""

_REMARK = r"(?:emphasis|italics|underlining|bold|citations?|footnotes?|references?|quotations?|quotation marks|quotes|words|notes?)"
_EDITORIAL = re.compile(
    rf"sic|ibid|held|omitted|redacted|blank|\.{{2,4}}|\u2026|(?:my |our |his |her |internal |original )?{_REMARK} (?:is |are |was |were )?"
    r"(?:added|omitted|supplied|removed|mine|ours|altered|changed|in (?:the )?original)",
    re.IGNORECASE,
)
_FOOTNOTE = re.compile(r"\^.*")
_YEAR = re.compile(r"(?:1[6-9]|20)\d\d")


def unseen(ch: str) -> bool:
    """Whether a character is not seen: a control or format character, half of a character, or one that no script has."""
    return unicodedata.category(ch) in ("Cc", "Cf", "Cs", "Cn", "Zl", "Zp")


def same(doc_id: str) -> str:
    """What two ids have in common that a reader cannot tell apart: their form after NFKC, with each white space as one blank."""
    return " ".join(unicodedata.normalize("NFKC", doc_id).split())


def remark(text: str) -> str | None:
    """What a text in square brackets is in any legal prose: a footnote mark, a year or an editor's remark; None where it may be an id."""
    if _FOOTNOTE.fullmatch(text):
        return "a footnote mark"
    if _YEAR.fullmatch(text):
        return "a year"
    return "a remark of an editor" if _EDITORIAL.fullmatch(text) else None


def unfit(doc_id: str) -> str | None:
    """Why an id cannot be cited in square brackets, in words that go on from its name; None where it can."""
    if len(doc_id) > MAX_ID:
        return f"has {len(doc_id)} characters, more than the {MAX_ID} allowed"
    if any(ch in doc_id for ch in "[]\n\r"):
        return "has a square bracket or a line break in it"
    if doc_id != doc_id.strip():
        return "has a space at one end"
    if hidden := next((ch for at, ch in enumerate(doc_id) if unseen(ch) and not (ch in JOINERS and 0 < at < len(doc_id) - 1)), None):
        return f"has the character U+{ord(hidden):04X} in it, which no reader sees"
    if said := remark(doc_id):
        return f"is {said} in any text, which no reader could tell from a citation"
    if not any(ch.isalnum() for ch in doc_id):
        return "has no letter or digit"
    return None


class _Shape(NamedTuple):
    """How an id is built."""

    kind: str
    """`number` (3), `prefixed` (d1), `code` (7.3.2-c4-s2) or `words` (Conveyancing Act, s 3)."""
    letters: bool
    digits: bool
    marks: frozenset[str]
    capital: bool
    """Its first letter is a capital."""
    words: frozenset[str]
    """Words in small letters; of a prefixed id the prefix, of a code without marks its length."""


_PREFIXED = re.compile(r"([^\W\d_]+)\d+")
_SMALL_WORD = re.compile(r"[^\W\d_]+")


@lru_cache(maxsize=8192)
def _shape(doc_id: str) -> _Shape:
    letters, digits = any(ch.isalpha() for ch in doc_id), any(ch.isdecimal() for ch in doc_id)
    marks = frozenset(ch for ch in doc_id if not ch.isalnum() and not ch.isspace())
    if not digits or any(ch.isspace() for ch in doc_id):
        small = frozenset(w for w in _SMALL_WORD.findall(doc_id) if w.islower())
        return _Shape("words", letters, digits, marks, next((ch.isupper() for ch in doc_id if ch.isalpha()), False), small)
    if not letters and not marks:
        return _Shape("number", False, True, marks, False, frozenset())
    if prefixed := _PREFIXED.fullmatch(doc_id):
        return _Shape("prefixed", True, True, marks, False, frozenset({prefixed[1].casefold()}))
    return _Shape("code", letters, digits, marks, False, frozenset() if marks else frozenset({str(len(doc_id))}))


class Learned(NamedTuple):
    """What the ids of a corpus look like, by examples."""

    ids: frozenset[str]
    shapes: dict[str, list[_Shape]]
    """By kind."""

    def like(self, inside: str) -> bool:
        """Whether a text is built like the ids: of the same kinds of signs, with every mark that all of them have and none that no one has.

        Two kinds of their marks in one word will do, too, since prose has no such words. Where ids are several words, those in small
        letters must be among theirs, and the first letter is a capital where theirs are.
        """
        if inside in self.ids:
            return True
        if not inside or len(inside) > MAX_ID or remark(inside):
            return False
        found = _shape(inside)
        known = self.shapes.get(found.kind, [])
        if not known:
            return False
        marked = frozenset.intersection(*(k.marks for k in known)) <= found.marks or (found.kind == "code" and len(found.marks) > 1)
        return (
            marked
            and (bool(found.marks) or not all(k.marks for k in known))
            and found.marks <= frozenset.union(*(k.marks for k in known))
            and found.letters in {k.letters for k in known}
            and found.digits in {k.digits for k in known}
            and (found.capital or not all(k.capital for k in known))
            and found.words <= frozenset.union(*(k.words for k in known))
        )


@lru_cache(maxsize=4096)
def learned(ids: tuple[str, ...]) -> Learned:
    """What can be learned from some ids of a corpus."""
    shapes: dict[str, list[_Shape]] = {}
    for shape in dict.fromkeys(map(_shape, ids)):
        shapes.setdefault(shape.kind, []).append(shape)
    return Learned(frozenset(ids), shapes)


def examples(ids: Sequence[str]) -> list[str]:
    """One id for each shape that the ids of a corpus have, sorted, MOST_EXAMPLES at most: the others are known by them."""
    found: dict[_Shape, str] = {}
    for doc_id in sorted(ids):
        found.setdefault(_shape(doc_id), doc_id)
        if len(found) == MOST_EXAMPLES:
            break
    return list(found.values())
