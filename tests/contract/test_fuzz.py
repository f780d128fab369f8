"""Hostile model text: whatever a model writes, nothing raises, spans are true, scores stay in their bounds, and time stays linear."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from cardproof.config.settings import Scoring
from cardproof.contract import citing, form, grounding, ids, ladder, reading, reasoning
from cardproof.pages import formats
from cardproof.records import Defect, Document, Message, Prompt, Rollout, Score
from cardproof.scoring import score
from cardproof.scoring.rouge import Rouge
from cardproof.verifier import answers
from helpers.rows import checked

DOCUMENTS = [
    Document(id="A#1", text="A loan may be renewed *twice*, unless\nanother reader has reserved the book.", role="oracle"),
    Document(id="B-2", text='He said: "Lost books must be paid for" [3]. See §\u00a012 (ﬁnes) — “quote’s end”.', role="distractor"),
    Document(id="C", text="  ", role="distractor"),
]
TERMS = reading.Terms(citing.Ids.of([d.id for d in DOCUMENTS]), True, form.REFUSAL_PHRASES)
FRAGMENTS = [
    *("EVIDENCE:", "ANSWER:", "evidence", "**Answer**：", "## EVIDENCE", "final answer:", "INSUFFICIENT EVIDENCE", "<think>", "</think>"),
    *("[A#1]", "[B-2]", "[C]", "[D9]", "[A#1; B-2]", "[]", "[[", "]", "[" + "x" * 81 + "]", "[^1]", "[sic]", "[1998] 2 VR 304"),
    *('"', "“", "”", "„", "«", "»", "'", "‘", "’", "`", "*", "_", "~~", "\\", "(", ")", ":", ".", ",", ";", "-", "–", "…", "•", ">", "#"),
    *(" ", "\n", "\r\n", "\t", "\u00a0", "\u200b", "\u2028", "\x00", "\x1b[31m", "\ufeff", "\u0301", "\U0001f469\u200d\U0001f680"),
    *(
        "A loan may be renewed twice",
        "a LOAN may be renewed *twice*",
        "Lost books must be paid for",
        "fines",
        "quote's end",
        "word ",
        "İ",
        "ß",
    ),
    *("<script>alert(1)</script>", "<img src=x onerror=a>", "](javascript:a)", "{{ 7 * 7 }}", "{% raw %}", "|---|", "<!--", "&lt;", "$x$"),
]
HOSTILE = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=8), max_size=24).map("".join)
DRESSED = HOSTILE | HOSTILE.map(lambda t: f"EVIDENCE:\n{t}") | HOSTILE.map(lambda t: f'EVIDENCE:\n[A#1] "{t}"\nANSWER: {t} [B-2]')
RAN: Counter[str] = Counter()
LEAST = 20_000
READ = 6
"""Tests that count their examples."""


def fuzz(examples: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The same examples in every run; a failure found by chance elsewhere becomes a test of its own."""
    silent = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=silent)


@fuzz(7000)
@given(DRESSED)
def test_the_parser_never_raises_and_its_spans_are_true(text: str) -> None:
    RAN["parse"] += 1
    reply = reading.parse(text, TERMS)
    assert all(text[q.start : q.end] == q.text for q in reply.quotes)
    assert [q.start for q in reply.quotes] == sorted(q.start for q in reply.quotes)
    assert all(a.end <= b.start for a, b in zip(reply.quotes, reply.quotes[1:], strict=False)), "quotes overlap"
    assert reply.answer in text
    assert set(reply.defects) <= set(get_args(Defect))
    assert len(set(reply.citations)) == len(reply.citations)
    assert all(f"{cited}" in text and len(cited) <= ids.MAX_ID for cited in reply.citations)
    assert reading.parse(text, TERMS) == reply


@fuzz(3000)
@given(HOSTILE, st.sampled_from(ladder.SUBSETS))
def test_the_normaliser_never_raises_and_is_idempotent(text: str, steps: tuple) -> None:
    RAN["normalise"] += 1
    whole = ladder.normalise(text)
    assert ladder.normalise(whole) == whole
    out = ladder.normalised(text, steps)
    assert len(out.text) == len(out.starts) == len(out.ends)
    assert all(0 <= a < b <= len(text) for a, b in zip(out.starts, out.ends, strict=True))
    assert list(out.starts) == sorted(out.starts)


@fuzz(4000)
@given(HOSTILE, st.sampled_from([None, "A#1", "B-2", "D9"]), HOSTILE)
def test_grounding_never_raises_and_its_verdicts_are_true(text: str, cited: str | None, passage: str) -> None:
    RAN["ground"] += 1
    documents = [*DOCUMENTS, Document(id="E", text=passage, role="distractor")]
    found = grounding.match(text, cited, [(d.id, d.text) for d in documents])
    assert found.content >= found.strict >= found.attributed
    assert (found.kind == "fabricated") == (found.doc_id is None) == (found.start is None)
    if found.doc_id is None:
        assert not found.content
        return
    whole = {d.id: d.text for d in documents}[found.doc_id]
    shown = whole[found.start : found.end]
    # In the whole document: a mark at the beginning of a line is markup, and a piece cut out of a line begins one.
    assert shown and ((shown == text) if found.strict else (ladder.normalise(text, found.steps) in ladder.normalise(whole, found.steps)))
    assert found.attributed == (found.strict and found.doc_id == cited)


PROMPT = Prompt(
    item=1,
    condition="clean",
    contract=True,
    question="How often?",
    reference="Twice, unless another reader has reserved the book.",
    oracle_id="A#1",
    oracle_present=True,
    documents=DOCUMENTS,
    messages=[Message(role="user", content="How often?")],
    prompt_hash="h",
)
ROUGE = Rouge()


def scored(text: str, in_contract: bool, support: float | None) -> Score:
    rollout = Rollout(
        item=1, k=0, arm="base", condition="clean", seed=1, text=text, prompt_tokens=9, completion_tokens=5, finish_reason="length",
        model="m", model_hash="x", adapter_hash=None, prompt_hash="h",
    )  # fmt: skip
    shown = score.Shown.of(PROMPT.model_copy(update={"contract": in_contract}), form.REFUSAL_PHRASES)
    return checked(score.score(shown, rollout, support, Scoring(), ROUGE))


@fuzz(4000)
@given(DRESSED, st.booleans(), st.none() | st.floats(0, 1))
def test_scores_stay_in_their_bounds(text: str, in_contract: bool, support: float | None) -> None:
    RAN["score"] += 1
    s = scored(text, in_contract, support)
    assert 0 <= s.attribution <= s.strict <= s.content <= 1
    assert 0 <= s.composite <= 1
    assert 0 <= s.rouge_l <= 1
    assert s.citation_validity == float(bool(s.citations) and set(s.citations) <= {d.id for d in DOCUMENTS})
    if s.refusal or support is None:
        assert s.composite == 0
    if not s.quotes:
        assert (s.strict, s.content, s.attribution) == (0, 0, 0)
    assert Score.model_validate_json(s.model_dump_json()) == s, "a row is read as it was written"


@fuzz(1500)
@given(DRESSED)
def test_the_verifier_is_asked_about_sentences_of_the_answer(text: str) -> None:
    RAN["sentences"] += 1
    cleaned = answers.clean_answer(text, TERMS.ids)
    assert cleaned == " ".join(cleaned.split())
    letters = Counter(re.findall(r"\w", text))
    for sentence in answers.answer_sentences(cleaned):
        assert re.search(r"\w", sentence)
        assert not Counter(re.findall(r"\w", sentence)) - letters, "a letter that the model did not write"


MARKDOWN = MarkdownIt("gfm-like", {"html": True, "linkify": False})


@fuzz(1500)
@given(HOSTILE)
def test_text_on_the_card_stays_text(text: str) -> None:
    """In a cell and in a code span of a table: no tag, link, image or column of its own, under a Markdown reader that lets HTML pass."""
    RAN["card"] += 1
    tokens = MARKDOWN.parse(f"| a | b |\n|---|---|\n| {formats.cell(text)} | {formats.code(text)} |\n")
    kinds = Counter(t.type for t in tokens)
    assert kinds["td_open"] == 2
    inside = {child.type for t in tokens for child in t.children or []}
    assert not inside & {"html_inline", "link_open", "image"}
    assert "html_block" not in kinds
    assert "<script" not in re.sub(r"<code>.*?</code>", "", MARKDOWN.renderer.render(tokens, MARKDOWN.options, {}))


def test_enough_examples_ran(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> None:
    """Test files are handed to workers whole, so all of them ran in this process, unless only some were asked for."""
    asked = {item.originalname for item in request.session.items if item.path == request.path}
    if asked < {name for name in globals() if name.startswith("test_")}:
        pytest.skip("counts the examples of this whole file")
    assert len(RAN) == READ, "each of them counts its examples"
    record_property("fuzz examples of hostile model text", sum(RAN.values()))
    assert sum(RAN.values()) >= LEAST


# --- time -------------------------------------------------------------------------------------------------------------

UNITS = [
    *("word ", " ", "\n", "[", "]", '"', "'", "*", "_", "> ", "- ", "1.", "\\", "`", "\u200b", "x\u0301"),
    *(
        '[a] "',
        '[a] "x"\n',
        '"x" [a]\n',
        "[a] “x “",
        "[a] 'x's ",
        "EVIDENCE:\n",
        "<think>",
        "[x](http://",
        " ,;.",
        "[a; b] ",
        "Dr. A. ",
        "? ! ",
    ),
]
MODULES = (reading, grounding, citing, ids, ladder, reasoning)
LONG = 1_000_000
QUICK = 0.2
"""Seconds below which nothing is measured."""
GROWTH = 12
"""Four times the text may take this many times as long: linear is 4, quadratic is 16, and a machine is busy at times."""


def patterns() -> Iterator[tuple[str, re.Pattern[str]]]:
    """Every compiled pattern of the modules that read a whole reply."""
    for module in MODULES:
        for name, found in vars(module).items():
            for value in found.values() if isinstance(found, dict) else [found]:
                if isinstance(value, re.Pattern) and isinstance(value.pattern, str):
                    yield f"{module.__name__}.{name}", value


def seconds(read: Callable[[str], object], text: str) -> float:
    begin = time.process_time()
    read(text)
    return time.process_time() - begin


def slow(read: Callable[[str], object], unit: str, longest: int) -> str | None:
    """What is wrong with the time `read` takes, if anything; shorter texts first, so that a quadratic reader is found in seconds."""
    before = 0.0
    for size in (longest // 64, longest // 16, longest // 4, longest):
        text = f"x{unit * (size // len(unit))}\0"  # what runs on to the end fails there
        took = seconds(read, text)
        for _ in range(4):
            if took > GROWTH * max(before, QUICK):
                took = min(took, seconds(read, text))
        if took > GROWTH * max(before, QUICK):
            return f"{len(text)} characters of {unit!r} take {took:.1f} s, a quarter of them {before:.1f} s"
        before = took
    return None


@pytest.mark.slow
def test_every_pattern_reads_a_megabyte_in_linear_time() -> None:
    assert len(list(patterns())) >= 20
    problems = [
        f"{name}: {problem}"
        for name, pattern in patterns()
        for unit in UNITS
        if (problem := slow(lambda text, p=pattern: sum(1 for _ in p.finditer(text)), unit, LONG))
    ]
    assert problems == []


READERS: dict[str, Callable[[str], object]] = {
    "parse": lambda text: reading.parse(text, TERMS),
    "parse evidence": lambda text: reading.parse(f"EVIDENCE:\n{text}", TERMS),
    "parse answer": lambda text: reading.parse(f"ANSWER: {text}", TERMS),
    "normalise": ladder.normalise,
    "clean_answer": lambda text: answers.clean_answer(text, TERMS.ids),
    "answer_sentences": answers.answer_sentences,
    "card.cell": formats.cell,
    "card.code": formats.code,
}


@pytest.mark.parametrize("name", READERS)
def test_reading_is_linear(name: str) -> None:
    assert [problem for unit in UNITS if (problem := slow(READERS[name], unit, LONG // 4))] == []


def test_a_megabyte_is_scored() -> None:
    text = "EVIDENCE:\n" + "".join(unit * 40 for unit in UNITS) * (LONG // sum(len(u) * 40 for u in UNITS))
    assert scored(text, True, 0.5).composite == 0
