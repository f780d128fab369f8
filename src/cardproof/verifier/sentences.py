"""Splits legal text into sentences, and tells the end of a sentence from what only looks like one."""

from __future__ import annotations

import re

_CLOSERS = "\"'\u201d\u2019\u00bb)\\]*_"


_BREAK = re.compile(rf"[.!?][{_CLOSERS}]{{0,4}}(?:\[\^\w{{1,6}}\]){{0,3}}(?=\s)|;(?:\s{{1,3}}(?:and|or|and/or|then|but))?,?(?=\s)")


_OPENS = re.compile(r"[\"'\u201c\u2018\u00ab(\[*_#]{0,4}[A-Z0-9\u00c0-\u00de]")


_PARAGRAPH = re.compile(
    r"\n[ \t]*\n\s*|\n(?=[ \t]*(?:[-*\u2022][ \t]|\(?(?:\d{1,2}|[a-z]|[ivx]{1,4})[.)][ \t]|\d{1,2}\.\d{1,2}[ \t]|#{1,6} ))"
)


_MARKER = re.compile(
    r"(?:[-*\u2022#]{1,6}|\(?(?:\d{1,3}|[a-zA-Z]|[ivx]{1,4})[.)]|\d{1,3}(?:\.\d{1,3}){1,3}\.?|(?:[Ss]ection|Art(?:icle)?) \d{1,3}\.)\s+"
)


_NUMBERED = frozenset(
    ["no", "nos", "art", "arts", "sec", "secs", "s", "ss", "para", "paras", "cl", "reg", "regs", "ch", "pt", "vol", "p", "pp", "fig"]
)
"""Abbreviations that a number follows: `s 12`, `no 3`. Before anything else such a word ends its sentence."""
_ABBREVIATIONS = _NUMBERED | frozenset(
    [
        "e.g",
        "i.e",
        "cf",
        "vs",
        "v",
        "viz",
        "al",
        "etc",
        "inc",
        "ltd",
        "corp",
        "co",
        "ed",
        "eds",
        "approx",
        "mr",
        "mrs",
        "ms",
        "dr",
        "prof",
        "hon",
        "st",
        "jr",
        "sr",
        "u.s",
        "u.k",
        "jan",
        "feb",
        "mar",
        "apr",
        "jun",
        "jul",
        "aug",
        "sept",
        "sep",
        "oct",
        "nov",
        "dec",
    ]
)


MIN_WORDS = 4
"""Fewest words on each side of a semicolon that ends a sentence; shorter parts are a list within a sentence."""


REACH = 500
"""Characters read on either side of a possible end. The limit keeps the time linear, whatever a model writes."""


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, with single spaces between words. Together they have the words of the text, in order.

    A blank line, a list item, or a semicolon between two long parts ends a sentence. Abbreviations, initials and section numbers do not.
    """
    return [s for part in _PARAGRAPH.split(text) for s in _paragraph(" ".join(part.split()))]


def _paragraph(text: str) -> list[str]:
    sentences, start = [], 0
    for m in _BREAK.finditer(text):
        piece = text[max(start, m.end() - REACH) : m.end()].strip()
        rest = text[m.end() : m.end() + REACH].lstrip()
        if m[0][0] == ";":
            ends = min(len(piece.split()), len(rest.split(";", 1)[0].split())) >= MIN_WORDS
        else:
            ends = _OPENS.match(rest) is not None and not _abbreviated(piece, rest)
        if ends:
            sentences.append(text[start : m.end()].strip())
            start = m.end()
    last = text[start:].strip()
    return [*sentences, last] if last else sentences


def _abbreviated(piece: str, rest: str) -> bool:
    """Whether the dot that ends `piece` belongs to an abbreviation, an initial or a section number."""
    if piece.rstrip(_CLOSERS)[-1:] in "!?":
        return False
    words = piece.split()
    word = words[-1].lstrip("\"'\u201c\u2018(*_[").rstrip(_CLOSERS + ".").casefold()
    if len(words) == 1 and _MARKER.fullmatch(piece + " "):
        return True  # `6. Trademarks.`: the number belongs to its heading
    if word in {"no", "art", "s", "p", "v", "mar", "may", "st"} and len(words) == 1:
        return False  # the answer `No.`
    if word in {"etc", "al", "inc", "ltd", "corp", "co"}:
        return False  # the next word has a capital, so a sentence begins
    if word in _NUMBERED:
        return bool(re.match(r"[(\[]?\d", rest))
    return word in _ABBREVIATIONS or (len(word) == 1 and word.isalpha() and words[-1][:1].isupper() and word != "i")


def without_marker(sentence: str) -> str:
    """A sentence without the number, letter or bullet that begins its list item."""
    return sentence[m.end() :] if (m := _MARKER.match(sentence)) and sentence[m.end() :].strip() else sentence


def folded(text: str) -> str:
    """The words of a text, case-folded and without punctuation, for comparisons."""
    return " ".join(re.findall(r"\w+", text.casefold()))
