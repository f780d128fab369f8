"""Grounding: whether a reply's quotes stand in the documents, word for word or after a named ladder of normalisations.

The ladder N() is NFKC, then `whitespace`, `typography`, `markup`, `case`, `punctuation`. Any subset of the steps can be applied, so a quote
that is not verbatim can be told apart by *what* was altered. A match is a plain substring: no word boundary is asked for, since a quote may
rightly begin or end inside a compound, a bracket or a list mark.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from array import array
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import get_args

from cardproof.records import Document, Grounding, Quote, QuoteKind, Step

LADDER: tuple[Step, ...] = get_args(Step)
"""All steps, in the order in which ties between repairs are broken."""

SUBSETS: tuple[tuple[Step, ...], ...] = tuple(s for n in range(len(LADDER) + 1) for s in itertools.combinations(LADDER, n))
"""All subsets of the ladder: fewest steps first, then earliest steps first; the empty one is NFKC alone."""


@dataclass(frozen=True, slots=True)
class Normalised:
    """A normalised text and where each of its characters comes from: character i stands for `original[starts[i]:ends[i]]`."""

    text: str
    starts: array[int]
    ends: array[int]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Character span of the original text behind `text[start:end]`; needs start < end."""
        return self.starts[start], self.ends[end - 1]


def normalise(text: str, steps: Collection[Step] = LADDER) -> str:
    """`text` after NFKC and the given steps; the whole ladder is idempotent."""
    return normalised(text, steps).text


def normalised(text: str, steps: Collection[Step] = LADDER) -> Normalised:
    """`normalise` with the offsets of every character in the original.

    The steps always run in one order, whatever order they are named in: markup before whitespace, because headings and list marks can only
    be told by their line; NFKC again at the end, because a deletion or a case fold may bring a letter and its accent together.
    """
    out = Normalised(text, array("l", range(len(text))), array("l", range(1, len(text) + 1)))
    out = _nfkc(out)
    for step, apply in _STEPS:
        if step in steps:
            out = apply(out)
    return _nfkc(out) if steps else out


def ground(quotes: Sequence[Quote], documents: Sequence[Document]) -> list[Grounding]:
    """What became of each quote, in order.

    Strict is a substring test on the raw text: no NFKC, no trimming. A quote without any letter or digit (empty, blank, bare punctuation)
    proves nothing and counts as fabricated. A near miss is looked for in the cited document first, then in the others; its `steps` are the
    fewest that repair it, ties broken by ladder order, and are empty where NFKC alone does (a ligature, a no-break space, an ellipsis).
    """
    return [_ground(q, documents) for q in quotes]


def _ground(quote: Quote, documents: Sequence[Document]) -> Grounding:
    needle = normalise(quote.text)
    if not any(ch.isalnum() for ch in needle):
        return _verdict(quote, "fabricated")
    cited = [d for d in documents if d.id == quote.doc_id]
    others = [d for d in documents if d.id != quote.doc_id]
    for document in cited + others:
        start = document.text.find(quote.text)
        if start >= 0:
            attributed = document.id == quote.doc_id
            kind: QuoteKind = "strict" if attributed or quote.doc_id is None else "misattributed"
            return _verdict(quote, kind, document, (start, start + len(quote.text)))
    for group in (cited, others):
        near = [d for d in group if needle in _document(d.text, LADDER).text]
        if near:
            steps, document, span = _least_repair(quote.text, near)
            return _verdict(quote, "near_miss", document, span, steps)
    return _verdict(quote, "fabricated")


def _least_repair(text: str, documents: Sequence[Document]) -> tuple[tuple[Step, ...], Document, tuple[int, int]]:
    """The first subset of steps, fewest first, that makes `text` a substring of one of `documents`, and where."""
    for steps in SUBSETS:
        needle = normalise(text, steps)
        for document in documents:
            haystack = _document(document.text, steps)
            at = haystack.text.find(needle)
            if at >= 0:
                return steps, document, haystack.span(at, at + len(needle))
    raise AssertionError("unreachable: the caller found the quote with the full ladder, which is the last subset")


def _verdict(
    quote: Quote,
    kind: QuoteKind,
    document: Document | None = None,
    span: tuple[int, int] | None = None,
    steps: Iterable[Step] = (),
) -> Grounding:
    strict = kind in ("strict", "misattributed")
    return Grounding(
        text=quote.text,
        cited_id=quote.doc_id,
        kind=kind,
        strict=strict,
        content=kind != "fabricated",
        attributed=kind == "strict" and quote.doc_id is not None,
        steps=list(steps),
        doc_id=document.id if document else None,
        start=span[0] if span else None,
        end=span[1] if span else None,
    )


def near_miss_diff(quote: str, document_span: str) -> list[tuple[str, str, str]]:
    """How a quote departs from the passage it was found in: `(op, quote part, document part)`, op as in Levenshtein's edit script.

    op is `equal`, `replace`, `delete` (only in the quote) or `insert` (only in the document). The parts of each side join to the whole.
    """
    from rapidfuzz.distance import Levenshtein

    return [
        (op.tag, quote[op.src_start : op.src_end], document_span[op.dest_start : op.dest_end])
        for op in Levenshtein.opcodes(quote, document_span)
    ]


@lru_cache(maxsize=1024)
def _document(text: str, steps: tuple[Step, ...]) -> Normalised:
    """A document's normalised text, kept: all quotes of all rollouts of an item meet the same few documents."""
    return normalised(text, steps)


# --- the steps --------------------------------------------------------------------------------------------------------

_INVISIBLE = "\u00ad\u200b\u200c\u200d\u2060\ufeff"  # soft hyphen, zero-width space and (non-)joiners, byte order mark
_SPACE = re.compile(rf"[\s{_INVISIBLE}]{{2,}}|[^\S ]|[{_INVISIBLE}]")  # a single plain space needs no work
_EDGES = re.compile(r"\A\s+|(?<!\s)\s+\Z")  # tried once in each run of spaces, so linear

_SINGLE = "\u2018\u2019\u201a\u201b\u2032\u2035\u2039\u203a"
_DOUBLE = "\u201c\u201d\u201e\u201f\u2033\u2036\u00ab\u00bb"
_DASH = "\u2010\u2011\u2012\u2013\u2014\u2015\u2043\u2212\u2e3a\u2e3b\u30fb"
_TYPOGRAPHY = {**dict.fromkeys(map(ord, _SINGLE), "'"), **dict.fromkeys(map(ord, _DOUBLE), '"'), **dict.fromkeys(map(ord, _DASH), "-")}

# List *numbers* stay: they are digits a reader sees, and a quote that folds a list onto one line keeps them.
_MARKUP = re.compile(
    r"""
      ^[^\S\n]{0,8}(?:(?:>[^\S\n]?){1,6}|\#{1,6}[^\S\n]+|[-+*\u2022][^\S\n]+)   # blockquote, heading, bullet
    | \[\^[^\]\s]{1,20}\]                                                       # footnote mark
    | !?\[(?=[^\[\]\n]{0,300}\]\((?:https?:|mailto:|[./\#]))                    # a link's opening bracket ...
    | \]\((?:https?:|mailto:|[./\#])[^()\s]{0,500}\)                            # ... and its target
    | \\(?=[!-/:-@\[-`{-~])                                                     # a backslash escape
    | [*`]+ | ~~ | (?<![^\W_])_+ | _+(?![^\W_])                                 # emphasis and code; not the underscore in a_b
    """,
    re.MULTILINE | re.VERBOSE,
)


@lru_cache(maxsize=8192)
def _joins(ch: str) -> bool:
    """True where NFKC may merge this character into the one before it."""
    first = unicodedata.normalize("NFKC", ch)[:1]
    return unicodedata.category(first)[0] == "M" or "\u1160" <= first <= "\u11ff" if first else True


def _nfkc(n: Normalised) -> Normalised:
    """NFKC, one base character with what joins it at a time, so that each result keeps its place in the original."""
    text = n.text
    if unicodedata.is_normalized("NFKC", text):
        return n
    cuts = [i for i, ch in enumerate(text) if i == 0 or ch.isascii() or not _joins(ch)] + [len(text)]
    pieces: list[str] = []
    starts, ends = array("l"), array("l")
    for a, b in itertools.pairwise(cuts):
        piece = unicodedata.normalize("NFKC", text[a:b])
        pieces.append(piece)
        starts.extend([n.starts[a]] * len(piece))
        ends.extend([n.ends[b - 1]] * len(piece))
    return Normalised("".join(pieces), starts, ends)


def _replace(n: Normalised, pattern: re.Pattern[str], replacement: Callable[[re.Match[str]], str]) -> Normalised:
    """`pattern.sub`, with every replacement standing for the whole match it replaces."""
    pieces: list[str] = []
    starts, ends = array("l"), array("l")
    last = 0
    for m in pattern.finditer(n.text):
        a, b = m.span()
        new = replacement(m)
        pieces += (n.text[last:a], new)
        starts += n.starts[last:a]
        ends += n.ends[last:a]
        starts.extend([n.starts[a]] * len(new))
        ends.extend([n.ends[b - 1]] * len(new))
        last = b
    if not last:
        return n
    return Normalised("".join(pieces) + n.text[last:], starts + n.starts[last:], ends + n.ends[last:])


def _delete(m: re.Match[str]) -> str:
    return ""


def _fold(m: re.Match[str]) -> str:
    return " " if any(ch.isspace() for ch in m[0]) else ""


def _typography(n: Normalised) -> Normalised:
    return Normalised(n.text.translate(_TYPOGRAPHY), n.starts, n.ends)


def _markup(n: Normalised) -> Normalised:
    return _replace(n, _MARKUP, _delete)


def _whitespace(n: Normalised) -> Normalised:
    return _replace(_replace(n, _SPACE, _fold), _EDGES, _delete)


@lru_cache(maxsize=8192)
def _is_mark(ch: str) -> bool:
    """True for punctuation and symbols (Unicode categories P* and S*)."""
    return unicodedata.category(ch)[0] in "PS"


def _punctuation(n: Normalised) -> Normalised:
    """Drop punctuation and symbols, and the second of two spaces that this brings together; other spaces are the whitespace step's."""
    kept: list[int] = []
    dropped = False  # whether a mark was dropped since the last character kept
    for i, ch in enumerate(n.text):
        if _is_mark(ch):
            dropped = True
        elif not (dropped and ch.isspace() and (not kept or n.text[kept[-1]].isspace())):
            dropped = False
            kept.append(i)
    while dropped and kept and n.text[kept[-1]].isspace():
        kept.pop()
    return Normalised("".join([n.text[i] for i in kept]), array("l", [n.starts[i] for i in kept]), array("l", [n.ends[i] for i in kept]))


def _case(n: Normalised) -> Normalised:
    folded = n.text.casefold()
    if len(folded) == len(n.text):  # folding never shortens, so equal length means one to one
        return Normalised(folded, n.starts, n.ends)
    counts = [len(ch.casefold()) for ch in n.text]
    starts = array("l", itertools.chain.from_iterable(itertools.repeat(s, c) for s, c in zip(n.starts, counts, strict=True)))
    ends = array("l", itertools.chain.from_iterable(itertools.repeat(e, c) for e, c in zip(n.ends, counts, strict=True)))
    return Normalised(folded, starts, ends)


_STEPS: tuple[tuple[Step, Callable[[Normalised], Normalised]], ...] = (
    ("typography", _typography),
    ("markup", _markup),
    ("whitespace", _whitespace),
    ("punctuation", _punctuation),
    ("case", _case),
)
