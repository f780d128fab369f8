"""The ladder of normalisations N(): NFKC, then white space, typography, markup, case and punctuation, each with its offsets.

No step changes a number or a negation. NFKC keeps raised and circled digits apart from the digits beside them, and markup never joins two
digits. The rule for marks: punctuation drops what only separates or encloses words, while currency, mathematical, percent and degree signs,
a sign or point before a number, and whatever is between two digits stay, except for the commas that group thousands.

Whoever changes a step raises the ladder's version, `scoring.ladder`: scores carry it, and those of different versions are not compared.
"""

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

BREAK = "\ufdd0"
"""What the whitespace step leaves where a line's end broke a word, which may then be read with or without its hyphen. A noncharacter."""


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
    out = _undressed_text(_seen_text(text) if "whitespace" in steps else text)
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
    if "whitespace" in steps:
        out = _seen(out)
    if not text.isascii():
        out = _nfkc(_replace(out, _DRESSED, _undressed))
    for step, apply in _STEPS:
        if step in steps:
            out = apply(out)
    return _nfkc(out) if steps else out


def says_something(text: str) -> bool:
    """Whether a letter or digit is left of a text after the whole ladder."""
    if text[:1].isalnum() and text[0].isascii():
        return True  # no step takes away what a text begins with, unless it is a mark
    plain = _undressed_text(text)
    # Steps take letters and digits away in footnote marks, and after square brackets (a link's target) only.
    if not _MAY_DROP_WORDS.search(plain) and _LETTER.search(plain):
        return True
    return any(ch.isalnum() for ch in normalise(text))


_LETTER = re.compile(r"[0-9A-Za-z]")
_MAY_DROP_WORDS = re.compile(r"[\[\]<]")


# --- texts with their offsets ------------------------------------------------------------------------------------------------------------


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


# --- what is not seen --------------------------------------------------------------------------------------------------------------------

# Control characters but white space, format characters (Cf), variation selectors and the grapheme joiner; the soft hyphen apart.
_INVISIBLE = (
    r"\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    r"\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    r"\U000e0001\U000e0020-\U000e007f\U000e0100-\U000e01ef"
)
_HIDDEN = re.compile(rf"[{_INVISIBLE}]+|\xad(?![\s{_INVISIBLE}])")


_EMPHASIS_MARK = re.compile("[*_`]+")


def seen(text: str) -> str:
    """A text without emphasis and what is not seen: what a reader sees beside a number."""
    return _EMPHASIS_MARK.sub("", _seen_text(text))


def _seen_text(text: str) -> str:
    return text if _all_seen(text) else _HIDDEN.sub("", text)


def _seen(n: Normalised) -> Normalised:
    """The first part of the whitespace step: without what is not seen, so that it hides no footnote mark or raised number."""
    return n if _all_seen(n.text) else _replace(n, _HIDDEN, _delete)


def _all_seen(text: str) -> bool:
    """Whether nothing is hidden in a text, where that can be told quickly."""
    return text.isascii() and text.replace("\n", "").isprintable()


# --- NFKC --------------------------------------------------------------------------------------------------------------------------------

# NFKC makes plain digits of these, and would put them beside the digits that they follow: `10\u00b2` would become 102.
_RAISED = "\u2070\xb9\xb2\xb3\u2074-\u2079"
_CIRCLED = "\u2460-\u249b\u24ea\u24f5-\u24fe\u2776-\u2793"
_APART = (  # fractions, lowered digits, and digits in signs of East Asian typography
    f"{_CIRCLED}\xbc-\xbe\u2080-\u2089\u2150-\u215f\u2189\u3251-\u325f\u32b1-\u32bf\u32c0-\u32cb\u3358-\u3370\u339f-\u33af\u33e0-\u33fe"
    "\U0001f100-\U0001f10a"
)
_DRESSED = re.compile(rf"(?P<raised>[\u207a\u207b]?[{_RAISED}]+)(?!\u2044)|(?P<circled>[{_CIRCLED}])|[{_APART}]+")
_EXPONENT = re.compile(r"(?:\d\)?|(?:^|[^\W_a-zA-Z]|[\W_])(?:[A-Za-z]|[cmk]m|ft|yd))$")


def _undressed(m: re.Match[str]) -> str:
    """Digits in dress as plain ones: a footnote mark as `[^2]`, an exponent as `^2`, others with a space between them and other digits.

    A raised number is an exponent after a digit, a single letter or a unit of length, and a footnote mark elsewhere. A circled one that
    hangs on a word is a footnote mark.
    """
    before = m.string[max(0, m.start() - 3) : m.start()]
    apart = " " if m.string[m.end() : m.end() + 1].isdecimal() else ""
    hangs = before[-1:] != "" and not before[-1].isspace()
    if m["circled"] and hangs and not before[-1].isdecimal() and before[-1] not in "([{":
        return f"[^{unicodedata.numeric(m[0]):.0f}]{apart}"
    plain = unicodedata.normalize("NFKC", m[0]).replace(_MINUS, "-")
    if m["raised"]:
        return f"[^{plain}]{apart}" if hangs and not _EXPONENT.search(before) else f"^{plain}{apart}"
    return (" " if before[-1:].isdecimal() else "") + plain + apart


def _undressed_text(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFKC", _DRESSED.sub(_undressed, text))


def _nfkc_text(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


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


# --- typography --------------------------------------------------------------------------------------------------------------------------

_SINGLE = "\u2018\u2019\u201a\u201b\u2032\u2035\u2039\u203a"
_DOUBLE = "\u201c\u201d\u201e\u201f\u2033\u2036\u00ab\u00bb"
_DASH = "\u2010\u2011\u2012\u2013\u2014\u2015\u2043\u2212\u2e3a\u2e3b\u30fb"
_SLASH = "\u2044\u2215"
_TYPOGRAPHY = {
    **dict.fromkeys(map(ord, _SINGLE), "'"),
    **dict.fromkeys(map(ord, _DOUBLE), '"'),
    **dict.fromkeys(map(ord, _DASH), "-"),
    **dict.fromkeys(map(ord, _SLASH), "/"),
}
_MINUS = "\u2212"
_MINUS_APART = re.compile(r"\u2212(?=\s+\d)")  # as a hyphen, it would be taken for a dash between words


def _typography_text(text: str) -> str:
    if text.isascii():
        return text
    return _MINUS.join(part.translate(_TYPOGRAPHY) for part in _MINUS_APART.split(text))


def _typography(n: Normalised) -> Normalised:
    return Normalised(_typography_text(n.text), n.starts, n.ends)


# --- markup ------------------------------------------------------------------------------------------------------------------------------

# List *numbers* stay: they are digits a reader sees, and a quote that folds a list onto one line keeps them.
_MARKUP = re.compile(
    r"""(?:
      ^[^\S\n]{0,8}(?:(?:>[^\S\n]?){1,6}|\#{1,6}[^\S\n]+|[-+*\u2022][^\S\n]+)   # blockquote, heading, bullet
    | \[\^[^\]\s]{1,20}\]                                                       # footnote mark
    | <(?<!\d<)(?i:sup)>\[?\d{1,3}\]?</(?i:sup)> | [\u2020\u2021](?<=\S.)[\u2020\u2021]?       # the same in HTML, as daggers
    | !?\[(?=[^\[\]\n]{0,300}\]\((?:https?:|mailto:|[./\#]))                    # a link's opening bracket ...
    | \]\((?:https?:|mailto:|[./\#])[^()\s]{0,500}\)                            # ... and its target
    | \\(?=[!-/:-@\[-`{-~\u2020\u2021])                                                     # a backslash escape
    | [*`]+ | ~~ | (?<![^\W_])_+ | _+(?![^\W_])                                 # emphasis and code; not the underscore in a_b
    )+""",
    re.MULTILINE | re.VERBOSE,
)
_MARKUP_SIGN = re.compile(r"[-+*\u2022>\#\[\]\\`~_<\u2020\u2021]")  # every alternative of _MARKUP needs one of these


def _unmarked(m: re.Match[str]) -> str:
    """Nothing, but a space where two digits would come together."""
    text, a, b = m.string, m.start(), m.end()
    return " " if text[a - 1 : a].isdecimal() and text[b : b + 1].isdecimal() else ""


def _markup_text(text: str) -> str:
    return _MARKUP.sub(_unmarked, text) if _MARKUP_SIGN.search(text) else text


def _markup(n: Normalised) -> Normalised:
    return _replace(n, _MARKUP, _unmarked)


# --- white space -------------------------------------------------------------------------------------------------------------------------

_LINE_END = r"\n\r\v\f\x1c-\x1e\x85\u2028\u2029"
_SPACE = re.compile(r"[\s\xad]{2,}|[^\S ]|\xad")  # a single plain space needs no work
_EDGES = re.compile(r"\A\s+|(?<!\s)\s+\Z")  # tried once in each run of spaces, so linear

# Between two letters: a hyphen, a soft hyphen, or the sign that some PDF extractors write for one, and the end of a line.
_BROKEN = re.compile(
    rf"(?<=[^\W\d_])(?:(?:[^\S{_LINE_END}]|\xad){{0,8}}[-\u2010\xac\xad](?:[^\S{_LINE_END}]|\xad){{0,40}}[{_LINE_END}][\s\xad]{{0,200}}"
    r"|\xad[\s\xad]{1,40})(?=[^\W\d_])"
)
_BROKEN_RANGE = re.compile(r"(?<=\d[-\u2010-\u2013])[\s\xad]{1,200}(?=\d)")
_HYPHEN_AT_END = re.compile(rf"[-\u2010\xac\xad][^\S{_LINE_END}]*[{_LINE_END}\xad]|\xad\s")


def _fold(m: re.Match[str]) -> str:
    return " " if any(ch.isspace() for ch in m[0]) else ""


def _broken(m: re.Match[str]) -> str:
    return BREAK


def _whitespace_text(text: str) -> str:
    if "-" in text or not text.isascii():
        if _HYPHEN_AT_END.search(text):
            text = _BROKEN.sub(_broken, text)
        text = _BROKEN_RANGE.sub(_delete, text)
    if text.isascii():
        return " ".join(text.split())
    return _SPACE.sub(_fold, text).strip()


def _whitespace(n: Normalised) -> Normalised:
    if "-" in n.text or not n.text.isascii():
        if _HYPHEN_AT_END.search(n.text):
            n = _replace(n, _BROKEN, _broken)
        n = _replace(n, _BROKEN_RANGE, _delete)
    return _replace(_replace(n, _SPACE, _fold), _EDGES, _delete)


# --- punctuation -------------------------------------------------------------------------------------------------------------------------

_DASHES = "-\u2010\u2011\u2012\u2013\u2212"
_POINTS = ".,\u00b7"
_RAISING = ("^", "^-")
_EMPHASIS = "*_`\\"
_ROUND = {"[": "(", "{": "(", "]": ")", "}": ")"}
_BEFORE_DIGIT = re.compile(r"[\0\x01]+(?=\d)")
_BEFORE_SYMBOL = re.compile(r"(?<![\0\x01])\0+(?=\x01)")
_AROUND_SYMBOLS = re.compile(r"[\s\0\x01]+")
_NOT_EQUAL = re.compile(r"[!/~](?==)")
_THOUSANDS = re.compile(r"(?<!\d)(?<!\d[.,])\d{1,3}(?:,\d{3})+(?!,?\d)")
_MARK_BEFORE_DIGIT = re.compile(r"\x00\d")


class _Kinds(dict[int, int]):
    """Code point -> 0 for a mark (categories P and S), 1 for one that always carries value, itself for others; filled as they are met."""

    def __missing__(self, code: int) -> int:
        ch = chr(code)
        category = unicodedata.category(ch)
        kind = code
        if category in ("Sc", "Sm") or ch in "%\u2030\u2031\u066a\xb0":
            kind = 0 if ch in "|~" else code if ch == _MINUS else 1  # a minus keeps its spaces, too
        elif category[0] in "PS":
            kind = 0
        self[code] = kind
        return kind


_KINDS = _Kinds()


def _masked(text: str) -> str:
    """`text` with NUL for each mark that punctuation drops, and for each space beside a symbol that stays; other characters in place."""
    kinds = text.translate(_KINDS)
    if "\1" not in kinds and not _MARK_BEFORE_DIGIT.search(kinds):
        return kinds
    out = list(kinds)
    if "\1" in kinds:
        _keep_symbols(text, kinds, out)
    for m in _BEFORE_DIGIT.finditer(kinds):
        a, b = m.span()
        if a and kinds[a - 1].isdecimal():
            out[a:b] = _between_digits(text[a:b])
        else:
            for i in _valued(text, kinds, a, b):
                out[i] = text[i]
    for m in _THOUSANDS.finditer(text):
        for i in range(m.start(), m.end()):
            if text[i] == ",":
                out[i] = "\0"
    return "".join(out)


def _keep_symbols(text: str, kinds: str, out: list[str]) -> None:
    """Put the symbols back into `out`, the signs before currencies too, and take away the spaces beside them."""
    for m in _AROUND_SYMBOLS.finditer(kinds):
        if "\1" in m[0]:
            a, b = m.span()
            for i in range(a, b):
                out[i] = text[i] if kinds[i] == "\1" and not (a == 0 and _is_line_mark(text, i)) else "\0"
    for m in _NOT_EQUAL.finditer(text):
        out[m.start()] = m[0]
    for m in _BEFORE_SYMBOL.finditer(kinds):
        i = m.end() - 1
        if _at_boundary(kinds, m.start()) and _is_sign(text, i, m.start()) and _is_currency(text[i + 1]):
            out[i] = text[i]
            i = m.start() - 1
            while i >= 0 and text[i].isspace():
                out[i] = text[i]
                i -= 1


def _is_line_mark(text: str, at: int) -> bool:
    """Whether a symbol at the start of a text is markup, as it is at the start of a line."""
    return text[at] == ">" or (text[at] == "+" and not text[at + 1 : at + 2].isdecimal())


def _between_digits(run: str) -> str:
    """What stays of the marks between two digits, one character for each: all but emphasis, which leaves a space where it is alone."""
    kept = "".join("\0" if m in _EMPHASIS or ("~~" in run and m == "~") else _ROUND.get(m, m) for m in run)
    return kept if kept.strip("\0") else " " + kept[1:]


def _valued(text: str, kinds: str, a: int, b: int) -> Collection[int]:
    """Which marks of the run `text[a:b]`, which ends before a digit and follows none, carry value: a sign, a point, a raising `^`."""
    kept: list[int] = []
    symbol = kinds.rfind("\1", a, b)
    i, first = b - 1, symbol + 1 if symbol >= 0 else a
    if symbol < 0 and not _at_boundary(kinds, a):
        return range(a, b) if text[a:b] in _RAISING else kept
    if i >= first and text[i] in _POINTS and (i == first or text[i - 1] not in ".,\u2026"):
        kept.append(i)
        i -= 1
    in_brackets = i == first and text[i] == "(" and symbol >= 0 and _is_currency(text[symbol])  # a loss, to accountants
    if i >= first and (_is_sign(text, i, first) or in_brackets or (i == first and text[i] == "~")):
        kept.append(i)
    return kept


def _at_boundary(kinds: str, at: int) -> bool:
    return at == 0 or kinds[at - 1].isspace() or kinds[at - 1] == _MINUS


def _is_currency(ch: str) -> bool:
    return unicodedata.category(ch) == "Sc"


def _is_sign(text: str, at: int, first: int) -> bool:
    """Whether the mark at `at` is a sign: a dash alone; two of them are a dash between words."""
    return text[at] in _DASHES and (at == first or text[at - 1] not in _DASHES)


def _punctuation(n: Normalised) -> Normalised:
    """Drop marks that carry no value, and the second of two spaces that this brings together; other spaces are the whitespace step's."""
    masked = _masked(n.text)
    kept: list[int] = []
    dropped = False  # whether a mark was dropped since the last character kept
    for i, ch in enumerate(masked):
        if ch == "\0":
            dropped = True
        elif not (dropped and ch.isspace() and (not kept or masked[kept[-1]].isspace())):
            dropped = False
            kept.append(i)
    while dropped and kept and masked[kept[-1]].isspace():
        kept.pop()
    return Normalised("".join([masked[i] for i in kept]), array("i", [n.starts[i] for i in kept]), array("i", [n.ends[i] for i in kept]))


_MARKED = re.compile(r"\0[\s\0]*")  # marks with the spaces after them


def _punctuation_text(text: str) -> str:
    masked = _masked(text)
    if "\0" not in masked:
        return masked
    kept = _MARKED.sub(_spaces_kept, masked)
    tail = masked[len(masked.replace("\0", " ").rstrip()) :]
    return kept.rstrip() if "\0" in tail and tail[0].isspace() else kept


def _spaces_kept(m: re.Match[str]) -> str:
    """What `_punctuation` keeps of marks (here NUL) and the spaces after them: the first spaces, unless there are some before the marks."""
    text, at, run = m.string, m.start(), m[0]
    if len(run) == 1 or at == 0 or text[at - 1].isspace():
        return ""
    after = run.lstrip("\0")
    rest = after.lstrip()
    return "" if rest and m.end() == len(text) else after[: len(after) - len(rest)]


# --- case --------------------------------------------------------------------------------------------------------------------------------


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
