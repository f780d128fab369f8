"""The quote-first contract: how documents and question are put to a model, and how its reply is read.

A well-formed reply is `EVIDENCE:`, one or more lines `[doc_id] "verbatim quote"`, then `ANSWER: answer text with [doc_id] citations`;
or a refusal, `ANSWER: INSUFFICIENT EVIDENCE`. The parser is tolerant and never raises: what departs from the contract is named in
`Reply.defects`.
Every pattern here is bounded, so the time to read a reply is linear in its length whatever a model writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, islice
from operator import itemgetter
from typing import NamedTuple

from cardproof.contract.form import MAX_ID, REFUSAL_PHRASES
from cardproof.records import Defect, Quote, Reply

# --- reading a reply --------------------------------------------------------------------------------------------------

_HEADING = re.compile(
    r"""^[ \t>\#*_~`-]{0,12}(?:\d{1,2}[.)][ \t]{0,3})?[*_`]{0,4}          # Markdown decoration, a number
        (?:final[ \t])?(?P<name>evidence|answer)[ \t*_~`]{0,6}
        (?:[:\uff1a][*_~`]{0,4}|[\r ]{0,4}$)                              # a colon, or nothing else on the line""",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
_INLINE_ANSWER = re.compile(r"(?<=[\"\u201d\u00bb'\u2019\].])[ \t]{1,4}[*_]{0,3}(?P<name>ANSWER)[*_]{0,3}[:\uff1a][*_]{0,3}")

_ID = rf"\[([^\[\]\n]{{1,{MAX_ID}}})\]"
_ANCHOR = re.compile(_ID + r"[\s:,.*_`>(\u2013\u2014-]{0,8}([\"\u201c\u201e\u00ab\u2018'])")
_TRAILING_ID = re.compile(r"[\s*_`\u2014\u2013,.:(-]{0,6}" + _ID)
_SEPARATOR = re.compile(r"[\s,;.*\u2022\u2026-]{0,8}(?:and|&)?[\s*\u2022-]{0,8}")
_LINE_ID = re.compile(r"^[ \t>*_`\u2022+-]{0,12}(?:\d{1,2}[.)][ \t]{0,3})?" + _ID, re.MULTILINE)
_LINE_QUOTE = re.compile(
    r"(?:^[ \t>*_`\u2022+-]{0,12}(?:\d{1,2}[.)][ \t]{0,3})?|(?<=\])[\s,;.]{1,4})([\"\u201c\u201e\u00ab])",
    re.MULTILINE,
)
# What may stand on a line before an id that begins a new item: bullets, a number, a short label such as `Quote 2:`.
_LEAD = re.compile(r"[\s>*_`~#\u2022+\-\d.)(]{0,24}(?:[A-Za-z]{1,12} ?\d{0,3}[:.)])?[\s*_`]{0,4}")
_LEAD_REACH = 44

# An opening mark -> its family: the marks that open (group 1) and those that close (group 2) a quote inside it. A straight mark is told
# apart by its neighbours; an apostrophe between two letters is neither.
_AFTER_WORD = r"(?<![^\W_])(?<![.,;:!?)\]}\u2026%])"
_BEFORE_WORD = r"(?=[^\s.,;:!?)\]}\u2026%])"
_NO_APOSTROPHE = r"(?!(?<=[^\W\d_].)[^\W\d_])"
# The first pattern finds where a mark may stand, which is quick; the second tells what it is.
_FAMILIES = {
    '"': (re.compile('"'), re.compile(rf'({_AFTER_WORD}"{_BEFORE_WORD})|(")')),
    "'": (re.compile("['\u2019]"), re.compile(rf"({_AFTER_WORD}'{_BEFORE_WORD})|(['\u2019]{_NO_APOSTROPHE})")),
    "\u2018": (re.compile("[\u2018\u2019]"), re.compile(rf"(\u2018)|(\u2019{_NO_APOSTROPHE})")),
    "\u201c": (re.compile("[\u201c\u201d]"), re.compile("(\u201c)|(\u201d)")),
    "\u201e": (re.compile("[\u201c-\u201e]"), re.compile("(\u201e)|([\u201c\u201d])")),
    "\u00ab": (re.compile("[\u00ab\u00bb]"), re.compile("(\u00ab)|(\u00bb)")),
}
_CLOSING_MARKS = ('"', "\u201d", "\u00bb")
_LOOSE = " \t,;.*_"
_DECORATION = " \t\r\n*_#`~>-"
_SAYS_NOTHING = frozenset({"", "none", "na", "n a", "nil", "no evidence", "no quotes", "not applicable"})

_BRACKETED = re.compile(_ID)
_NO_CITATION = re.compile(r"\^.*|sic|\.{2,4}|\u2026|\s+", re.IGNORECASE)
_YEAR = re.compile(r"(?:1[6-9]|20)\d\d")
_REPORT = re.compile(r"\s(?:\d{1,4}\s)?[A-Z]")
_SEVERAL_IDS = re.compile(r"[,;]\s")


class _Section(NamedTuple):
    name: str
    heading: int
    """Offset of its heading."""
    start: int
    end: int


class _Found(NamedTuple):
    """What a stretch of evidence holds; offsets count from its start."""

    quotes: list[tuple[str | None, int, int]]
    """(doc_id, start, end) of each quote."""
    end: int
    """Where its last quote, closing mark and trailing id included, ends; 0 without quotes."""
    unquoted: bool
    """It names a document without quoting it, or holds text and no quote at all."""
    unterminated: bool


class Parsed(NamedTuple):
    """The fields of a `Reply`, unchecked: scoring a million rollouts makes millions of them."""

    quotes: list[tuple[str, str | None, int, int]]
    """(text, doc_id, start, end) of each quote."""
    answer: str
    citations: list[str]
    refusal: bool
    defects: list[Defect]


def parse(text: str, refusal_phrases: Sequence[str] = REFUSAL_PHRASES) -> Reply:
    """A reply as quotes, answer, citations, refusal flag and named defects; never raises, linear in the length of `text`.

    `text[q.start:q.end] == q.text` for every quote. What stands before a closing `</think>` is not part of the reply. Where a section is
    repeated, all evidence counts, and the first answer that is not blank. Without any section the whole text is the answer, less the quotes
    it opens with. A refusal is an answer that equals or begins with one of `refusal_phrases`, letter case and punctuation aside.
    """
    found = read(text, tuple(refusal_phrases))
    quotes = [Quote(text=quote, doc_id=doc_id, start=start, end=end) for quote, doc_id, start, end in found.quotes]
    return Reply(quotes=quotes, answer=found.answer, citations=found.citations, refusal=found.refusal, defects=found.defects)


def read(text: str, refusal_phrases: tuple[str, ...]) -> Parsed:
    """What `parse` finds."""
    return _read_plain(text, refusal_phrases) or _read_any(text, refusal_phrases)


_PLAIN = re.compile(r'EVIDENCE:((?:\n\[[^\[\]\n]{1,80}\] "[^"\[\]]+")+)\nANSWER: ([^\n]+)')
_PLAIN_ITEM = re.compile(r'\n\[([^\[\]\n]{1,80})\] "([^"\[\]]+)"')


def _read_plain(text: str, refusal_phrases: tuple[str, ...]) -> Parsed | None:
    """A reply that keeps to the contract to the letter, as most do: what `_read_any` finds in it, in a third of the time.

    None for every other: where anything but the two headings could be one, a mark inside a quote could end it, or the answer refuses.
    """
    whole = _PLAIN.fullmatch(text) if text.isascii() else None
    if whole is None:
        return None
    lower = text.lower()
    answer = whole[2].strip()
    if lower.count("evidence") > 1 or lower.count("answer") > 1 or "</think>" in text or not answer or _refuses(answer, refusal_phrases):
        return None
    quotes: list[tuple[str, str | None, int, int]] = []
    cited: list[str] = []
    for item in _PLAIN_ITEM.finditer(text, whole.start(1), whole.end(1)):
        doc_id = item[1].strip()
        cited.append(doc_id)
        quotes.append((item[2], doc_id, item.start(2), item.end(2)))
    cited += [doc_id for _, doc_id in _citations(text[whole.start(2) - 1 :])]
    return Parsed(quotes, answer, list(dict.fromkeys(cited)), False, [])


def _read_any(text: str, refusal_phrases: tuple[str, ...]) -> Parsed:
    shift = _after_thinking(text)
    body = text[shift:]
    sections = _sections(body)
    evidence = [s for s in sections if s.name == "evidence"]
    answers = [s for s in sections if s.name == "answer"]
    lead_end = sections[0].heading if sections else len(body)
    lead_is_evidence = not evidence and _opens_with_item(body[:lead_end])

    stretches = [(0, lead_end)] if lead_is_evidence else [(s.start, s.end) for s in evidence]
    quotes: list[tuple[str, str | None, int, int]] = []
    tail, loose, unterminated = 0, False, False
    for a, b in stretches:
        segment = body[a:b]
        found = _evidence(segment)
        quotes += [(segment[start:end], doc_id, shift + a + start, shift + a + end) for doc_id, start, end in found.quotes]
        tail = max(tail, found.end)
        loose = loose or (found.unquoted and not _says_nothing(segment, refusal_phrases))
        unterminated = unterminated or found.unterminated

    if answers:
        chosen = next((s for s in answers if body[s.start : s.end].strip()), answers[0])
        answer_start, answer_end = chosen.start, chosen.end
    else:
        answer_start = len(body) if sections else tail
        answer_end = len(body)
    answer = body[answer_start:answer_end].strip()
    refusal = _refuses(answer, refusal_phrases)
    if not answer:
        refusal = any(_refuses(body[a:b], refusal_phrases) for a, b in stretches)
    cited = [(start, doc_id) for _, doc_id, start, _ in quotes if doc_id is not None]

    present: dict[Defect, bool] = {  # in the order of Defect
        "no_evidence_section": not evidence and not refusal,
        "no_answer_section": not answers,
        "empty_evidence": bool(evidence) and not quotes and not loose and not refusal,
        "empty_answer": bool(answers) and not answer,
        "unquoted_evidence": loose,
        "uncited_quote": len(cited) < len(quotes),
        "unterminated_quote": unterminated,
        "answer_before_evidence": bool(evidence and answers) and answers[0].start < evidence[0].start,
        "repeated_section": len(evidence) > 1 or len(answers) > 1,
        "text_outside_sections": bool(sections) and not lead_is_evidence and bool(body[:lead_end].strip(_DECORATION)),
        "refusal_with_evidence": refusal and bool(quotes),
    }
    cited += [(shift + answer_start + at, doc_id) for at, doc_id in _citations(body[answer_start:answer_end])]
    cited.sort(key=itemgetter(0))
    citations = list(dict.fromkeys([doc_id for _, doc_id in cited]))
    return Parsed(quotes, answer, citations, refusal, [defect for defect, there in present.items() if there])


def well_formed(reply: Reply) -> bool:
    """True where a reply keeps to the contract: no defect."""
    return not reply.defects


def _after_thinking(text: str) -> int:
    """Where the reply proper begins: after a reasoning block; at the end of the text where such a block was cut."""
    closing = text.find("</think>")
    if closing >= 0:
        return closing + len("</think>")
    return len(text) if text.lstrip().startswith("<think>") else 0


def _sections(body: str) -> list[_Section]:
    headings = []
    line = 0
    while line >= 0:  # only the beginnings of lines are tried, which is several times as fast as a search
        heading = _HEADING.match(body, line)
        if heading:
            headings.append(heading)
        line = body.find("\n", line) + 1 or -1
    if all(m["name"].lower() != "answer" for m in headings):
        inline = _INLINE_ANSWER.search(body)  # `ANSWER:` on the line of the last quote
        if inline:
            headings = sorted([*headings, inline], key=lambda m: m.start())
    ends = [*(m.start() for m in headings), len(body)][1:]
    return [_Section(m["name"].lower(), m.start(), m.end(), end) for m, end in zip(headings, ends, strict=True)]


def _opens_with_item(lead: str) -> bool:
    """Whether a text without a heading starts straight away with `[id] "`."""
    anchor = _ANCHOR.search(lead[: 2 * MAX_ID + _LEAD_REACH])
    return anchor is not None and _LEAD.fullmatch(lead, 0, anchor.start()) is not None


def _evidence(segment: str) -> _Found:
    """The quotes of one stretch of evidence, whose items are `[id] "quote"` or, where it begins so, `"quote" [id]`."""
    anchors = list(_ANCHOR.finditer(segment))
    quote_first = _LINE_QUOTE.search(segment, 0, anchors[0].start() if anchors else len(segment)) is not None
    items: list[tuple[str | None, int, int]]  # (id, where the item starts, where its opening mark stands)
    if quote_first:
        items = [(None, m.start(), m.start(1)) for m in _LINE_QUOTE.finditer(segment)]
    else:
        items = []
        for m in anchors:
            if not items or _begins_item(segment, m, items[-1][2]):
                items.append((m[1].strip(), m.start(), m.start(2)))

    quotes: list[tuple[str | None, int, int]] = []
    unquoted = bool(items) and _LINE_ID.search(segment, 0, items[0][1]) is not None
    unterminated = False
    tail = 0
    for i, (item_id, _, opening) in enumerate(items):
        end = items[i + 1][1] if i + 1 < len(items) else len(segment)
        spans, closed = _spans(segment, opening, end)
        own: list[tuple[str | None, int, int]] = []
        for n, (a, b) in enumerate(spans):
            tail = min(b + 1, end)
            trailing = None
            if quote_first or n:
                trailing = _TRAILING_ID.match(segment, tail, end)
                tail = trailing.end() if trailing else tail
            own.append((trailing[1].strip() if trailing else item_id, a, b))
        if quote_first:  # several quotes before one id share it
            own = [(doc_id or own[-1][0], a, b) for doc_id, a, b in own]
        quotes += own
        unterminated |= not closed
        unquoted |= _LINE_ID.search(segment, tail, end) is not None
    return _Found(quotes, tail, unquoted or (not quotes and bool(segment.strip(_DECORATION))), unterminated)


def _begins_item(segment: str, anchor: re.Match[str], opening: int) -> bool:
    """Whether an id followed by a quotation mark begins an item, rather than being part of the quote that opened at `opening`.

    It does at the start of a line, bullets and a short label aside, and directly after that quote's closing mark.
    """
    at = anchor.start()
    if segment[at - 1] == "\n":
        return True
    before = segment[max(0, at - _LEAD_REACH) : at]
    line = before.rfind("\n")
    if line >= 0 and _LEAD.fullmatch(before, line + 1):
        return True
    between = before.rstrip(_LOOSE).removesuffix("and").rstrip(_LOOSE)
    closed = between.endswith(_CLOSING_MARKS) and at - len(before) + len(between) - 1 > opening
    return closed and anchor.end(1) + 1 < anchor.start(2)  # `[3]"` without a gap ends a quote


def _spans(segment: str, opening: int, end: int) -> tuple[list[tuple[int, int]], bool]:
    """Spans of the quotes of one item, whose first opening mark stands at `opening`; and whether the last one is closed.

    Quotation marks inside a quote are balanced against each other. A closing mark too many shows that an earlier one was inside, so the
    quote runs on to it: the longest span that leaves nothing unbalanced, without swallowing a later, balanced remark.
    """
    sign, family = _FAMILIES[segment[opening]]
    found = (family.match(segment, m.start(), end) for m in sign.finditer(segment, opening + 1, end))
    marks = [(m.start(), 1 if m.lastindex == 1 else -1) for m in found if m]
    if len(marks) == 1 and marks[0][1] < 0:  # nearly every quote
        return [(opening + 1, marks[0][0])], True
    depths = list(accumulate((direction for _, direction in marks), initial=1))[1:]
    base = min(depths, default=1)
    if base > 0:
        last = marks[-1][0] if marks else _mixed_closing(segment, opening + 1, end)
        if last >= 0 and (not marks or _ends_item(segment, last + 1, end)):
            return [(opening + 1, last)], True
        return [(opening + 1, opening + 1 + len(segment[opening + 1 : end].rstrip()))], False
    i = depths.index(base)
    spans = [(opening + 1, marks[i][0])]
    while i + 1 < len(marks) and marks[i + 1][1] > 0 and _SEPARATOR.fullmatch(segment, marks[i][0] + 1, marks[i + 1][0]):
        start = marks[i + 1][0] + 1
        closing = next((j for j in range(i + 2, len(marks)) if depths[j] == base), None)
        if closing is None:
            return [*spans, (start, start + len(segment[start:end].rstrip()))], False
        spans.append((start, marks[closing][0]))
        i = closing
    return spans, True


def _mixed_closing(segment: str, start: int, end: int) -> int:
    """The last closing mark of any family, for a quote that opens straight and closes curly or the reverse; -1 where there is none."""
    return max(segment.rfind(mark, start, end) for mark in _CLOSING_MARKS)


def _ends_item(segment: str, at: int, end: int) -> bool:
    """Whether nothing but decoration, or an id, follows."""
    return not segment[at:end].strip(_DECORATION + ".,;") or _TRAILING_ID.match(segment, at, end) is not None


_WORD = re.compile(r"[^\W_]+")


def _words(text: str) -> Iterator[str]:
    return (m[0] for m in _WORD.finditer(text.casefold()))


@lru_cache(maxsize=64)
def _wanted(phrases: tuple[str, ...]) -> tuple[list[list[str]], frozenset[str], int]:
    """The words of each refusal phrase that has any, the first words among them, and how many words the longest has."""
    wanted = [words for phrase in phrases if (words := list(_words(phrase)))]
    return wanted, frozenset(words[0] for words in wanted), max(map(len, wanted), default=0)


def _refuses(text: str, phrases: tuple[str, ...]) -> bool:
    wanted, first_words, longest = _wanted(phrases)
    if text.isascii() and ((word := _WORD.search(text)) is None or word[0].lower() not in first_words):
        return False  # nearly every reply; elsewhere a case fold may join or part words
    first = list(islice(_words(text), longest))
    return any(first[: len(words)] == words for words in wanted)


def _says_nothing(evidence: str, phrases: tuple[str, ...]) -> bool:
    """Whether an evidence section only says that there is none."""
    return " ".join(islice(_words(evidence), 4)) in _SAYS_NOTHING or _refuses(evidence, phrases)


def _citations(answer: str) -> Iterator[tuple[int, str]]:
    """(offset, id) of every citation in an answer; `[a, b]` and `[a; b]` cite two documents.

    Square brackets also hold what cites nothing: footnote marks, `[sic]`, `[...]`, a link's text, an editor's change (`inference[s]`,
    `[T]he`) and the year of a law report (`[1998] 2 VR 304`).
    """
    for m in _BRACKETED.finditer(answer):
        inside, before, after = m[1], answer[m.start() - 1 : m.start()], answer[m.end() : m.end() + 1]
        edit = len(inside) <= 3 and inside.isalpha() and ((before.isalpha() and inside.islower()) or after.isalpha())
        report = _YEAR.fullmatch(inside) and _REPORT.match(answer, m.end())
        if edit or report or _NO_CITATION.fullmatch(inside) or answer.startswith("(http", m.end()):
            continue
        for part in _SEVERAL_IDS.split(inside):
            if part.strip():
                yield m.start(), part.strip()
