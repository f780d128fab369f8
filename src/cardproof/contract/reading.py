"""How a reply is read: its quotes, citations and answer, whether it refuses, and how it departs from the quote-first contract.

A well-formed reply is `EVIDENCE:`, one or more lines `[doc_id] "verbatim quote"`, then `ANSWER: answer text with [doc_id] citations`;
or a refusal, `ANSWER: INSUFFICIENT EVIDENCE`. The parser is tolerant and never raises: what departs from the contract is named in
`Reply.defects`. Every step that needs the answer of a reply takes it from here.
Every pattern here is bounded, so the time to read a reply is linear in its length whatever a model writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, islice
from typing import NamedTuple

from cardproof.contract.citing import Citation, Ids, citations
from cardproof.contract.form import HEADINGS, REFUSAL_PHRASES
from cardproof.contract.ids import MAX_ID
from cardproof.contract.reasoning import after_reasoning
from cardproof.records import Defect, Prompt, Quote, Reply

_HEADING = r"""^[ \t>\#*_~`-]{0,12}(?:\d{1,2}[.)][ \t]{0,3})?[*_`]{0,4}          # Markdown decoration, a number
        (?:final[ \t])?(?:(?P<evidence>%s)|(?P<answer>%s))[ \t*_~`]{0,6}
        (?:[:\uff1a][*_~`]{0,4}|[\r ]{0,4}$)                              # a colon, or nothing else on the line"""
_INLINE_ANSWER = r"(?<=[\"\u201d\u00bb'\u2019\].])[ \t]{1,4}[*_]{0,3}(?P<answer>%s)[*_]{0,3}[:\uff1a][*_]{0,3}"

_ID = rf"\[([^\[\]\n]{{1,{3 * MAX_ID}}})\]"  # or several ids
_ANCHOR = re.compile(_ID + r"[\s:,.*_`>(\u2013\u2014-]{0,8}([\"\u201c\u201e\u00ab\u2018'])")
_TRAILING_ID = re.compile(r"[\s*_`\u2014\u2013,.:(-]{0,6}" + _ID)
_SEPARATOR = re.compile(r"[\s,;.*\u2022\u2026-]{0,8}(?:and|&)?[\s*\u2022-]{0,8}")
_LINE_ID = re.compile(r"^[ \t>*_`\u2022+-]{0,12}(?:\d{1,2}[.)][ \t]{0,3})?" + _ID, re.MULTILINE)
_LINE_QUOTE = re.compile(
    r"(?:^[ \t>*_`\u2022+-]{0,12}(?:\d{1,2}[.)][ \t]{0,3})?|(?<=\])[\s,;.]{1,4})([\"\u201c\u201e\u00ab])",
    re.MULTILINE,
)
# What may be on a line before an id that begins a new item: bullets, a number, a short label such as `Quote 2:`.
_LEAD = re.compile(r"[\s>*_`~#\u2022+\-\d.)(]{0,24}(?:[A-Za-z]{1,12} ?\d{0,3}[:.)])?[\s*_`]{0,4}")
_LEAD_REACH = 44

# An opening mark -> its family: the marks that open (group 1) and those that close (group 2) a quote inside it. A straight mark is told
# apart by its neighbours; an apostrophe between two letters is neither.
_AFTER_WORD = r"(?<![^\W_])(?<![.,;:!?)\]}\u2026%])"
_BEFORE_WORD = r"(?=[^\s.,;:!?)\]}\u2026%])"
_NO_APOSTROPHE = r"(?!(?<=[^\W\d_].)[^\W\d_])"
# The first pattern finds where a mark may be, which is quick; the second tells what it is.
_FAMILIES = {
    '"': (re.compile('"'), re.compile(rf'({_AFTER_WORD}"{_BEFORE_WORD})|(")')),
    "'": (re.compile("['\u2019]"), re.compile(rf"({_AFTER_WORD}'{_BEFORE_WORD})|(['\u2019]{_NO_APOSTROPHE})")),
    "\u2018": (re.compile("[\u2018\u2019]"), re.compile(rf"(\u2018)|(\u2019{_NO_APOSTROPHE})")),
    "\u201c": (re.compile("[\u201c\u201d]"), re.compile("(\u201c)|(\u201d)")),
    "\u201e": (re.compile("[\u201c-\u201e]"), re.compile("(\u201e)|([\u201c\u201d])")),
    "\u00ab": (re.compile("[\u00ab\u00bb]"), re.compile("(\u00ab)|(\u00bb)")),
}
_CLOSING_MARKS = ('"', "\u201d", "\u00bb")
_ENDS_WORD = re.compile(r"[\s,;:!?)\]}]|\.(?!\.)|$")
_LOOSE = " \t,;.*_"
_DECORATION = " \t\r\n*_#`~>-"
_SAYS_NOTHING = frozenset({"", "none", "na", "n a", "nil", "no evidence", "no quotes", "not applicable"})


class _Section(NamedTuple):
    name: str
    heading: int
    """Offset of its heading."""
    start: int
    end: int


class _Cited(NamedTuple):
    """One quote; offsets count from the start of the text it was read from."""

    ids: list[str]
    """Ids named beside it: usually one, none where it cites nothing."""
    start: int
    end: int


class _Evidence(NamedTuple):
    """What a stretch of evidence has in it."""

    quotes: list[_Cited]
    end: int
    """Where its last quote, closing mark and trailing id included, ends; 0 without quotes."""
    unquoted: bool
    """It names a document without quoting it, or has text and no quote at all."""
    unterminated: bool


class Terms(NamedTuple):
    """What a prompt settles about the replies to it."""

    ids: Ids
    """What they may cite."""
    contract: bool
    """Whether the quote-first contract was asked for."""
    refusal_phrases: tuple[str, ...]
    headings: tuple[str, str] = HEADINGS
    """Of the quotes, and of the answer."""

    @classmethod
    def of(cls, prompt: Prompt, refusal_phrases: Sequence[str] = REFUSAL_PHRASES) -> Terms:
        """Those of one prompt."""
        ids = Ids.of([d.id for d in prompt.documents], prompt.id_examples)
        return cls(ids, prompt.contract, tuple(refusal_phrases), prompt.headings or HEADINGS)


class Parsed(NamedTuple):
    """The fields of a `Reply`, unchecked: scoring a million rollouts makes millions of them."""

    quotes: list[tuple[str, str | None, int, int]]
    """(text, doc_id, start, end) of each quote."""
    answer: str
    citations: list[str]
    refusal: bool
    defects: list[Defect]


def parse(text: str, terms: Terms) -> Reply:
    """A reply as quotes, answer, citations, refusal flag and named defects; never raises, linear in the length of `text`.

    `text[q.start:q.end] == q.text` for every quote. What comes before the end of a reasoning block is not part of the reply, and a reply
    whose reasoning was cut off is empty. Where a section is repeated, all evidence counts, and the first answer that is not blank. Without
    any section the whole text is the answer, less the quotes it opens with, unless it is quotes alone and no contract was asked for.
    A refusal is an answer that equals or begins with one of the refusal phrases, letter case and punctuation aside.
    """
    found = read(text, terms)
    quotes = [Quote(text=quote, doc_id=doc_id, start=start, end=end) for quote, doc_id, start, end in found.quotes]
    return Reply(quotes=quotes, answer=found.answer, citations=found.citations, refusal=found.refusal, defects=found.defects)


def read(text: str, terms: Terms) -> Parsed:
    """What `parse` finds."""
    return _read_plain(text, terms) or _read_any(text, terms)


_PLAIN = re.compile(r'EVIDENCE:((?:\n\[[^\[\]\n]{1,80}\] "[^"\[\]]+")+)\nANSWER: ([^\n]+)')
_WORDS_ALONE = re.compile(r"[A-Za-z]+(?: [A-Za-z]+)*")
_PLAIN_ITEM = re.compile(r'\n\[([^\[\]\n]{1,80})\] "([^"\[\]]+)"')


def _read_plain(text: str, terms: Terms) -> Parsed | None:
    """A reply that keeps to the contract to the letter, as most do: what `_read_any` finds in it, in a third of the time.

    A refusal that is one of the phrases to the letter is read here, too. None for every other reply: where anything but the two headings
    could be one, a mark inside a quote could end it, or the answer begins with a refusal.
    """
    if terms.headings != HEADINGS:
        return None
    if text[8:] in terms.refusal_phrases and text[:8] == "ANSWER: " and _WORDS_ALONE.fullmatch(text, 8):
        return Parsed([], text[8:], [], True, [])
    whole = _PLAIN.fullmatch(text) if text.isascii() else None
    if whole is None or "<" in text or "THINK]" in text:
        return None
    lower = text.lower()
    answer = whole[2].strip()
    if lower.count("evidence") > 1 or lower.count("answer") > 1 or not answer or _refuses(answer, terms.refusal_phrases):
        return None
    provided = terms.ids.provided
    quotes: list[tuple[str, str | None, int, int]] = []
    cited: list[str] = []
    for item in _PLAIN_ITEM.finditer(text, whole.start(1), whole.end(1)):
        doc_id = item[1].strip()
        if doc_id not in provided:
            return None
        cited.append(doc_id)
        quotes.append((item[2], doc_id, item.start(2), item.end(2)))
    for _, _, found in citations(text[whole.start(2) - 1 :], terms.ids):
        cited += found
    return Parsed(quotes, answer, list(dict.fromkeys(cited)) if len(cited) > 1 else cited, False, [])


class _Layout(NamedTuple):
    """Where in a reply, its reasoning taken off, the parts of it are."""

    sections: list[_Section]
    evidence: list[_Section]
    answers: list[_Section]
    lead_end: int
    """Where the text before the first section ends."""
    stretches: list[tuple[int, int]]
    """Stretches of evidence; the text before the first section is one where there is no other and it opens with a quote."""


def _read_any(text: str, terms: Terms) -> Parsed:
    begin, cut = after_reasoning(text)
    body = text[begin:]
    layout = _layout(body, terms.headings)
    read_stretches = [(a, b, _evidence(body[a:b], terms.ids)) for a, b in layout.stretches]
    quotes = [_Cited(q.ids, a + q.start, a + q.end) for a, _, found in read_stretches for q in found.quotes]
    start, end = _answer_span(body, layout, max((found.end for _, _, found in read_stretches), default=0))
    answer = body[start:end].strip()
    if not answer and not terms.contract:
        start, end, answer = 0, len(body), body.strip()
    refusal = _refuses(answer, terms.refusal_phrases)
    if not answer:
        refusal = any(_refuses(body[a:b], terms.refusal_phrases) for a, b, _ in read_stretches)
    loose = any(found.unquoted and not _says_nothing(body[a:b], terms.refusal_phrases) for a, b, found in read_stretches)
    unterminated = any(found.unterminated for _, _, found in read_stretches)
    return Parsed(
        [(body[q.start : q.end], q.ids[0] if q.ids else None, begin + q.start, begin + q.end) for q in quotes],
        answer,
        _all_cited(quotes, start, citations(body[start:end], terms.ids)),
        refusal,
        _defects(body, layout, quotes, answer, refusal, loose, unterminated, cut),
    )


def _layout(body: str, headings: tuple[str, str]) -> _Layout:
    sections = _sections(body, headings)
    evidence = [s for s in sections if s.name == "evidence"]
    lead_end = sections[0].heading if sections else len(body)
    lead_is_evidence = not evidence and _opens_with_item(body[:lead_end])
    stretches = [(0, lead_end)] if lead_is_evidence else [(s.start, s.end) for s in evidence]
    return _Layout(sections, evidence, [s for s in sections if s.name == "answer"], lead_end, stretches)


def _answer_span(body: str, layout: _Layout, after_quotes: int) -> tuple[int, int]:
    """Where the answer is: the first answer section that is not blank; without any section, what follows the quotes."""
    if layout.answers:
        chosen = next((s for s in layout.answers if body[s.start : s.end].strip()), layout.answers[0])
        return chosen.start, chosen.end
    return len(body) if layout.sections else after_quotes, len(body)


def _all_cited(quotes: Sequence[_Cited], answer_start: int, in_answer: Iterable[Citation]) -> list[str]:
    """Distinct ids cited beside a quote or in the answer, in order of first appearance."""
    places = [(q.start, q.ids) for q in quotes] + [(answer_start + c.start, c.ids) for c in in_answer]
    places.sort(key=lambda place: place[0])
    return list(dict.fromkeys(doc_id for _, ids in places for doc_id in ids))


def _defects(
    body: str, layout: _Layout, quotes: Sequence[_Cited], answer: str, refusal: bool, loose: bool, unterminated: bool, cut: bool
) -> list[Defect]:
    """Departures from the contract, in the order of Defect."""
    sections, evidence, answers = layout.sections, layout.evidence, layout.answers
    leads = bool(layout.stretches) and not evidence
    present: dict[Defect, bool] = {
        "no_evidence_section": not evidence and not refusal,
        "no_answer_section": not answers,
        "empty_evidence": bool(evidence) and not quotes and not loose and not refusal,
        "empty_answer": bool(answers) and not answer,
        "unquoted_evidence": loose,
        "uncited_quote": any(not q.ids for q in quotes),
        "unterminated_quote": unterminated,
        "answer_before_evidence": bool(evidence and answers) and answers[0].start < evidence[0].start,
        "repeated_section": len(evidence) > 1 or len(answers) > 1,
        "text_outside_sections": bool(sections) and not leads and bool(body[: layout.lead_end].strip(_DECORATION)),
        "refusal_with_evidence": refusal and bool(quotes),
        "unfinished_reasoning": cut,
    }
    return [defect for defect, there in present.items() if there]


@lru_cache(maxsize=8)
def _patterns(names: tuple[str, str]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """What finds a heading at the start of a line, and an answer's on the line of the last quote; the group says which of the two it is."""
    # Blanks count in a heading; the pattern is verbose, which would drop them.
    evidence, answer = (re.escape(name).replace("\\ ", "[ ]") for name in names)
    return re.compile(_HEADING % (evidence, answer), re.IGNORECASE | re.MULTILINE | re.VERBOSE), re.compile(_INLINE_ANSWER % answer)


def _sections(body: str, names: tuple[str, str]) -> list[_Section]:
    at_start, inline_answer = _patterns(names)
    headings = []
    line = 0
    while line >= 0:  # only the beginnings of lines are tried, which is several times as fast as a search
        heading = at_start.match(body, line)
        if heading:
            headings.append(heading)
        line = body.find("\n", line) + 1 or -1
    if all(m.lastgroup != "answer" for m in headings):
        inline = inline_answer.search(body)  # `ANSWER:` on the line of the last quote
        if inline:
            headings = sorted([*headings, inline], key=lambda m: m.start())
    ends = [*(m.start() for m in headings), len(body)][1:]
    return [_Section(str(m.lastgroup), m.start(), m.end(), end) for m, end in zip(headings, ends, strict=True)]


def _opens_with_item(lead: str) -> bool:
    """Whether a text without a heading starts straight away with `[id] "`."""
    anchor = _ANCHOR.search(lead[: 4 * MAX_ID + _LEAD_REACH])
    return anchor is not None and _LEAD.fullmatch(lead, 0, anchor.start()) is not None


def _evidence(segment: str, ids: Ids) -> _Evidence:
    """The quotes of one stretch of evidence, whose items are `[id] "quote"` or, where it begins so, `"quote" [id]`."""
    anchors = [m for m in _ANCHOR.finditer(segment) if not _closes_a_quote(segment, m.end(1) + 1, m.start(2))]
    quote_first = _LINE_QUOTE.search(segment, 0, anchors[0].start() if anchors else len(segment)) is not None
    items: list[tuple[list[str], int, int]]  # (ids, where the item starts, where its opening mark is)
    if quote_first:
        items = [([], m.start(), m.start(1)) for m in _LINE_QUOTE.finditer(segment) if not _closes_a_quote(segment, m.start(), m.start(1))]
    else:
        items = []
        for m in anchors:
            named = ids.named(m[1])
            if named and (not items or _begins_item(segment, m, items[-1][2])):
                items.append((named, m.start(), m.start(2)))

    quotes: list[_Cited] = []
    unquoted = bool(items) and _LINE_ID.search(segment, 0, items[0][1]) is not None
    unterminated = False
    tail = 0
    for i, (item_ids, _, opening) in enumerate(items):
        end = items[i + 1][1] if i + 1 < len(items) else len(segment)
        spans, closed = _spans(segment, opening, end)
        own: list[_Cited] = []
        for n, (a, b) in enumerate(spans):
            tail = min(b + 1, end)
            named = item_ids
            if quote_first or n:
                trailing, tail = _trailing_ids(segment, tail, end, ids)
                named = trailing or item_ids
            own.append(_Cited(named, a, b))
        if quote_first:  # several quotes before one id share it
            own = [_Cited(q.ids or own[-1].ids, q.start, q.end) for q in own]
        quotes += own
        unterminated |= not closed
        unquoted |= _LINE_ID.search(segment, tail, end) is not None
    return _Evidence(quotes, tail, unquoted or (not quotes and bool(segment.strip(_DECORATION))), unterminated)


def _closes_a_quote(segment: str, after_id: int, mark: int) -> bool:
    """Whether the mark after an id ends a quote with the id in it, as in `... under the licence [A#1]."`, rather than opening one."""
    attached = segment[after_id - 1 : after_id] == "]" and not any(ch.isspace() for ch in segment[after_id:mark])
    return attached and segment[mark] in "\"'" and _ENDS_WORD.match(segment, mark + 1) is not None


def _trailing_ids(segment: str, at: int, end: int, ids: Ids) -> tuple[list[str], int]:
    """The ids of the bracket after a quote, an editor's remarks passed over, and where it ends; none and `at` without one."""
    where = at
    while m := _TRAILING_ID.match(segment, where, end):
        if not ids.passes_over(m[1]):
            return ids.named(m[1]), m.end()
        where = m.end()
    return [], at


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
    """Spans of the quotes of one item, whose first opening mark is at `opening`; and whether the last one is closed.

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
