"""Quotes of the real gold passages: verbatim, altered in one way, and with another number. The counts are the benchmark's."""

from __future__ import annotations

import json
import random
import re
import textwrap
from collections import Counter
from collections.abc import Iterator

import pytest

from cardproof.contract.citing import Ids, citation_validity
from cardproof.contract.form import REFUSAL_PHRASES
from cardproof.contract.grounding import Match, match
from cardproof.contract.reading import Terms, parse
from helpers.places import SHARED

FOLDER = SHARED / "data/legal_rag_bench"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the benchmark is not here: set CARDPROOF_SHARED")


def passages() -> list[tuple[str, str]]:
    lines = (FOLDER / "corpus_gold_subset.jsonl").read_text(encoding="utf-8").splitlines()
    return [(row["id"], row["text"]) for row in map(json.loads, lines)]


def sentences() -> Iterator[tuple[str, str, str]]:
    """(id, passage, sentence) of every sentence of four words or more, as it stands in its passage."""
    for doc_id, text in passages():
        for part in re.split(r"(?<=[.!?;])\s+|\n\n+", text):
            if len(part.split()) >= 4 and text.count(part) == 1:
                yield doc_id, text, part


def without_markup(text: str) -> str:
    text = re.sub(r"\[([^\[\]]*)\]\(http[^()\s]*\)", r"\1", text)
    plain = re.sub(r"\[\^\d+\]|[*`]|\\(?=[^\w\s])", "", text)
    return re.sub(r"^(?:#{1,6}|>|-) +", "", plain, flags=re.MULTILINE)


def with_other_dashes(text: str) -> str:
    return text.translate({ord("-"): "–", ord("–"): "-"})


def with_other_quotes(text: str) -> str:
    return text.translate({ord('"'): "”", ord("'"): "’", ord("“"): '"', ord("”"): '"', ord("’"): "'", ord("‘"): "'"})


def with_other_spaces(text: str) -> str:
    return text.replace(" ", " \n ")


def rewrapped(text: str) -> str:
    return textwrap.fill(text, 40, break_long_words=False, break_on_hyphens="http" not in text)  # an address is not broken


def find(quote: str, doc_id: str, text: str) -> Match:
    return match(quote, doc_id, [(doc_id, text)])


def test_every_sentence_is_strict_verbatim(record_property) -> None:
    found = Counter(find(part, doc_id, text).kind for doc_id, text, part in sentences())
    record_property("sentences of gold passages, strict verbatim", found["strict"])
    assert set(found) == {"strict"} and found["strict"] > 1000


@pytest.mark.parametrize(
    ("change", "step"),
    [
        (without_markup, "markup"),
        (with_other_dashes, "typography"),
        (with_other_quotes, "typography"),
        (with_other_spaces, "whitespace"),
        (rewrapped, "whitespace"),
    ],
)
def test_a_sentence_altered_in_one_way_needs_that_step(change, step: str, record_property) -> None:
    others, count = [], 0
    for doc_id, text, part in sentences():
        quote = change(part)
        if quote in text:
            continue
        count += 1
        m = find(quote, doc_id, text)
        if (m.kind, m.steps) != ("near_miss", (step,)):
            others.append((m.kind, m.steps, quote, part))
    record_property(f"sentences of gold passages, {change.__name__}", count)
    assert others == []
    assert count >= 100


def test_a_sentence_with_another_number_is_fabricated(record_property) -> None:
    rng = random.Random(0)
    kinds: Counter[str] = Counter()
    for doc_id, text, part in sentences():
        for m in re.finditer(r"\d+", re.sub(r"\[\^\d+\]", lambda mark: " " * len(mark[0]), part)):
            other = str((int(m[0]) + rng.randrange(1, 9)) % 10 ** len(m[0])).zfill(len(m[0]))
            quote = without_markup(part[: m.start()] + other + part[m.end() :])
            if without_markup(part) in quote or quote in text:
                continue
            kinds[find(quote, doc_id, text).kind] += 1
    record_property("sentences of gold passages with another number", kinds.total())
    assert set(kinds) == {"fabricated"} and kinds.total() > 800


def test_marks_dropped_inside_numbers_are_fabricated(record_property) -> None:
    kinds: Counter[str] = Counter()
    for doc_id, text, part in sentences():
        for m in re.finditer(r"(?<=\d)[^\w\s]+(?=\d)", part):
            quote = part[: m.start()] + part[m.end() :]
            kinds[find(quote, doc_id, text).kind] += 1
    record_property("numbers of gold passages with a mark dropped", kinds.total())
    assert set(kinds) == {"fabricated"} and kinds.total() > 100


def test_an_answer_with_a_passages_own_brackets_cites_validly() -> None:
    ids = [doc_id for doc_id, _ in passages()]
    for shown in ([ids[0], ids[-1]], ids):
        for doc_id, text in passages():
            terms = Terms(Ids.of([doc_id], shown), True, REFUSAL_PHRASES)
            reply = parse(f'EVIDENCE:\n[{doc_id}] "x y"\nANSWER: {text} [{doc_id}].', terms)
            assert reply.citations == [doc_id]
            assert citation_validity(reply.citations, [doc_id]) == 1
