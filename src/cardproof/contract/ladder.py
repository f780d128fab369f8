"""The ladder of normalisations N(): NFKC, then white space, typography, markup, case and punctuation, each with its offsets."""

from __future__ import annotations

import itertools
import re
import unicodedata
from array import array
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import get_args

from cardproof.records import Step

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
    out = _nfkc_text(text)
    for step, apply in _TEXT_STEPS:
        if step in steps:
            out = apply(out)
    return _nfkc_text(out) if steps else out


def normalised(text: str, steps: Collection[Step] = LADDER) -> Normalised:
    """`normalise` with the offsets of every character in the original.

    The steps always run in one order, whatever order they are named in: markup before whitespace, because headings and list marks can only
    be told by their line; NFKC again at the end, because a deletion or a case fold may bring a letter and its accent together.
    """
    out = Normalised(text, array("i", range(len(text))), array("i", range(1, len(text) + 1)))
    out = _nfkc(out)
    for step, apply in _STEPS:
        if step in steps:
            out = apply(out)
    return _nfkc(out) if steps else out


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


_MARKUP_SIGN = re.compile(r"[-+*\u2022>\#\[\]\\`~_]")  # every alternative of _MARKUP needs one of these


_LETTER = re.compile(r"[0-9A-Za-z]")


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
    starts, ends = array("i"), array("i")
    for a, b in itertools.pairwise(cuts):
        piece = unicodedata.normalize("NFKC", text[a:b])
        pieces.append(piece)
        starts.extend([n.starts[a]] * len(piece))
        ends.extend([n.ends[b - 1]] * len(piece))
    return Normalised("".join(pieces), starts, ends)


def _replace(n: Normalised, pattern: re.Pattern[str], replacement: Callable[[re.Match[str]], str]) -> Normalised:
    """`pattern.sub`, with every replacement standing for the whole match it replaces."""
    pieces: list[str] = []
    starts, ends = array("i"), array("i")
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


def _nfkc_text(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


def _typography_text(text: str) -> str:
    return text if text.isascii() else text.translate(_TYPOGRAPHY)


def _markup_text(text: str) -> str:
    return _MARKUP.sub("", text) if _MARKUP_SIGN.search(text) else text


def _whitespace_text(text: str) -> str:
    return " ".join(text.split()) if text.isascii() else _SPACE.sub(_fold, text).strip()


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
    return Normalised("".join([n.text[i] for i in kept]), array("i", [n.starts[i] for i in kept]), array("i", [n.ends[i] for i in kept]))


class _Marks(dict[int, int]):
    """Code point -> 0 for a mark, itself for any other; filled as characters are met."""

    def __missing__(self, code: int) -> int:
        self[code] = found = 0 if _is_mark(chr(code)) else code
        return found


_MARKS = _Marks()


_MARKED = re.compile(r"(?:(?<!\s)\s+)?\0[\s\0]*")  # marks with the spaces around them; tried once in each run of spaces, so linear


def _punctuation_text(text: str) -> str:
    if "\0" in text:
        return _punctuation(Normalised(text, array("i", range(len(text))), array("i", range(len(text))))).text
    return _MARKED.sub(_spaces_kept, text.translate(_MARKS))


def _spaces_kept(m: re.Match[str]) -> str:
    """What `_punctuation` keeps of a stretch of marks (here NUL) and spaces: those before the first mark, or else the first ones after."""
    run, last = m[0], m.end() == len(m.string)
    rest = run.lstrip()
    if len(rest) < len(run):
        return "" if last else run[: len(run) - len(rest)]
    after = run.lstrip("\0")
    rest = after.lstrip()
    return "" if m.start() == 0 or (last and rest) else after[: len(after) - len(rest)]


def _case(n: Normalised) -> Normalised:
    folded = n.text.casefold()
    if len(folded) == len(n.text):  # folding never shortens, so equal length means one to one
        return Normalised(folded, n.starts, n.ends)
    counts = [len(ch.casefold()) for ch in n.text]
    starts = array("i", itertools.chain.from_iterable(itertools.repeat(s, c) for s, c in zip(n.starts, counts, strict=True)))
    ends = array("i", itertools.chain.from_iterable(itertools.repeat(e, c) for e, c in zip(n.ends, counts, strict=True)))
    return Normalised(folded, starts, ends)


_STEPS: tuple[tuple[Step, Callable[[Normalised], Normalised]], ...] = (
    ("typography", _typography),
    ("markup", _markup),
    ("whitespace", _whitespace),
    ("punctuation", _punctuation),
    ("case", _case),
)


# The same without offsets, several times as fast: a quote needs none, nor does a document until something is found in it.
_TEXT_STEPS: tuple[tuple[Step, Callable[[str], str]], ...] = (
    ("typography", _typography_text),
    ("markup", _markup_text),
    ("whitespace", _whitespace_text),
    ("punctuation", _punctuation_text),
    ("case", str.casefold),
)


def says_something(text: str) -> bool:
    """Whether a letter or digit is left of a text after the whole ladder."""
    plain = _nfkc_text(text)
    # Steps take letters and digits away in square brackets (footnote marks) and after them (a link's target) only.
    if "[" not in plain and "]" not in plain and _LETTER.search(plain):
        return True
    return any(ch.isalnum() for ch in normalise(text))
