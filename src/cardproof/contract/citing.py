"""Which square brackets of a reply cite a document, and which are prose.

A bracket cites if it is the id of a document shown, or is built like the ids of the corpus; the second is an invalid citation. `at [34]`,
`[the tenant]`, `[emphasis added]` and the year of `[2019] VSCA 12` are prose. Every pattern is bounded, so the time is linear in the length
of a text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from cardproof.contract.ids import MAX_ID, learned, remark

MOST_PARTS = 12
"""Parts of a bracket from which ids with a separator in them are put together; more are taken one by one."""

_BRACKETED = re.compile(r"\[([^\[\]\n]{1,400})\]")
_PINPOINT = re.compile(r"(?:(?<![^\W_])(?:at|ibid|paras?|paragraphs?|pages?|pp?)\.?|\u00b6)\s{1,3}$|\][-\u2013]$", re.IGNORECASE)
_SEPARATOR = re.compile(r"(\s{0,3}[,;/&]\s{0,3}|\s{1,3}and\s{1,3})", re.IGNORECASE)


class Ids(NamedTuple):
    """What the replies to one prompt may cite."""

    provided: frozenset[str]
    """Ids of the documents shown."""
    examples: tuple[str, ...]
    """Ids of the corpus by which others are known, those of the documents shown among them."""

    @classmethod
    def of(cls, provided: Sequence[str], corpus: Sequence[str] = ()) -> Ids:
        """From the ids of the documents shown, and `examples` of the corpus' where they are known."""
        return cls(frozenset(provided), (*corpus, *provided))

    def like(self, inside: str) -> bool:
        """Whether a text is built like the ids of the corpus."""
        return learned(self.examples).like(inside)

    def cited(self, inside: str) -> list[str]:
        """The ids that a bracket cites, in order; none where it is prose.

        The whole is tried first, then what is between `,` `;` `/` `&` and `and`, longest first, since an id may have one of these in it.
        """
        whole = inside.strip()
        if whole in self.provided:
            return [whole]
        pieces = _SEPARATOR.split(whole)
        parts = pieces[::2]
        if len(parts) > MOST_PARTS:
            return [part for part in parts if part in self.provided or self.like(part)]
        found: list[str] = []
        at = 0
        while at < len(parts):
            doc_id, at = self._longest(pieces, at)
            if doc_id is not None:
                found.append(doc_id)
        return found

    def _longest(self, pieces: Sequence[str], at: int) -> tuple[str | None, int]:
        """The longest id that begins with part `at` (parts and separators take turns in `pieces`), and the part after it."""
        count = (len(pieces) + 1) // 2
        joined = {end: "".join(pieces[2 * at : 2 * end - 1]) for end in range(count, at, -1)}
        for end, text in joined.items():
            if text in self.provided:
                return text, end
        for end, text in joined.items():
            if self.like(text) and not any(part in self.provided for part in pieces[2 * at : 2 * end - 1 : 2]):
                return text, end
        return None, at + 1

    def named(self, inside: str) -> list[str]:
        """The ids that a bracket names where an id is expected, as before a quote: those it cites, or else itself unless it is too long."""
        return self.cited(inside) or ([inside.strip()] if len(inside) <= MAX_ID else [])

    def passes_over(self, inside: str) -> bool:
        """Whether a bracket is an editor's remark, a footnote mark or a year, and not the id of a document shown."""
        text = inside.strip()
        return text not in self.provided and remark(text) is not None


class Citation(NamedTuple):
    """A bracket that cites."""

    start: int
    end: int
    ids: list[str]


def citations(text: str, ids: Ids) -> Iterator[Citation]:
    """The brackets of a text that cite, in order.

    An editor's change (`inference[s]`, `[T]he`) and a link's text cite nothing, nor does a number after `at`, even where ids are numbers,
    unless it is the id of a document shown.
    """
    for m in _BRACKETED.finditer(text):
        inside = m[1]
        if inside in ids.provided and (len(inside) > 3 or not _is_edit(text, m)):
            yield Citation(m.start(), m.end(), [inside])
            continue
        if inside.isspace() or _is_edit(text, m) or (found := ids.cited(inside)) == []:
            continue
        provided = [doc_id for doc_id in found if doc_id in ids.provided]
        if provided or not (text.startswith("(http", m.end()) or _is_pinpoint(text, m)):
            yield Citation(m.start(), m.end(), found)


def citation_validity(cited: Sequence[str], provided: Collection[str]) -> float:
    """1.0 iff at least one document is cited and every cited id was provided."""
    return float(bool(cited) and frozenset(provided).issuperset(cited))  # a frozen set is not copied


def _is_edit(text: str, m: re.Match[str]) -> bool:
    inside, before, after = m[1], text[m.start() - 1 : m.start()], text[m.end() : m.end() + 1]
    return len(inside) <= 3 and inside.isalpha() and ((before.isalpha() and inside.islower()) or after.isalpha())


def _is_pinpoint(text: str, m: re.Match[str]) -> bool:
    """Whether a number in brackets says where in a judgment: `at [34]`, `[34]-[36]`."""
    if not m[1].isdecimal():
        return False
    return _PINPOINT.search(text[max(0, m.start() - 14) : m.start()]) is not None or text[m.end() : m.end() + 2] in ("-[", "\u2013[")
