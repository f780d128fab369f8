import re
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardproof.contract import form, reading
from cardproof.contract.asking import render
from cardproof.contract.citing import Ids
from cardproof.contract.form import format_reply
from cardproof.contract.reading import Terms
from cardproof.errors import CardproofError
from cardproof.records import Document, Reply
from helpers.places import PROMPTS

DOCUMENTS = [
    Document(id="a-1", text="Tea is served at *four*.", role="oracle"),
    Document(id="b-2", text="{{ question }}", role="distractor"),
]


def terms(*ids: str, contract: bool = True, phrases: Sequence[str] = form.REFUSAL_PHRASES) -> Terms:
    return Terms(Ids.of(ids), contract, tuple(phrases))


SHOWN = terms("a", "b", "c", "a-1", "b-2")


def parse(text: str, shown: Terms = SHOWN) -> Reply:
    return reading.parse(text, shown)


def quotes(reply: Reply) -> list[tuple[str | None, str]]:
    return [(q.doc_id, q.text) for q in reply.quotes]


WELL_FORMED = 'EVIDENCE:\n[a-1] "Tea is served at *four*."\nANSWER: At four [a-1].'


@pytest.mark.parametrize(
    "text",
    [
        WELL_FORMED,
        'evidence:\n[a-1] "Tea is served at *four*."\nanswer: At four [a-1].',
        '**EVIDENCE:**\n\n[a-1] "Tea is served at *four*."\n\n**ANSWER:** At four [a-1].',
        "## Evidence\n- [a-1] “Tea is served at *four*.”\n## Answer\nAt four [a-1].",
        '**Evidence**:\n1. **[a-1]**: "Tea is served at *four*."\n**Final Answer**: At four [a-1].',
        'EVIDENCE: [a-1] "Tea is served at *four*." ANSWER: At four [a-1].',
        'EVIDENCE:\n"Tea is served at *four*." [a-1]\nANSWER: At four [a-1].',
        "1. EVIDENCE:\n* “Tea is served at *four*.” — [a-1]\n2. ANSWER:\nAt four [a-1].",
        'EVIDENCE:\r\n[a-1]\r\n"Tea is served at *four*."\r\nANSWER:\r\nAt four [a-1].\r\n',
        '<think>\nEVIDENCE: hm\n</think>\n\nEVIDENCE:\n[a-1] "Tea is served at *four*."\nANSWER: At four [a-1].',
    ],
)
def test_one_reply_in_many_dresses(text: str) -> None:
    reply = parse(text)
    assert quotes(reply) == [("a-1", "Tea is served at *four*.")]
    assert (reply.answer, reply.citations, reply.refusal, reply.defects) == ("At four [a-1].", ["a-1"], False, [])
    for q in reply.quotes:
        assert text[q.start : q.end] == q.text


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        ('[a] "the "reasonable doubt" standard"', [("a", 'the "reasonable doubt" standard')]),
        ('[a] ""Reasonable doubt" is a phrase"', [("a", '"Reasonable doubt" is a phrase')]),
        ('[a] "he said "yes""', [("a", 'he said "yes"')]),
        ('[a] "a 5" pipe"', [("a", 'a 5" pipe')]),
        ('[a] "doubt" is a phrase"', [("a", 'doubt" is a phrase')]),
        ('[a] "a phrase "reasonable"', [("a", 'a phrase "reasonable')]),
        ('[a] "as in [3] and [sic] and [^2] here"', [("a", "as in [3] and [sic] and [^2] here")]),
        ('[a] "over\ntwo lines, it\'s long"', [("a", "over\ntwo lines, it's long")]),
        ('[a] "one" "two"', [("a", "one"), ("a", "two")]),
        ('[a] "one"; and "two"\n"three"', [("a", "one"), ("a", "two"), ("a", "three")]),
        ('[a] "one" [b] "two"', [("a", "one"), ("b", "two")]),
        ('[a] "one"\n[b] "two"\n- [a] "three"', [("a", "one"), ("b", "two"), ("a", "three")]),
        ('Quote 1: [a] "one"\nQuote 2: [b] "two"', [("a", "one"), ("b", "two")]),
        ('"one" [a]\n"two" [b]', [("a", "one"), ("b", "two")]),
        ('"one" [a], "two" [b]', [("a", "one"), ("b", "two")]),
        ('[a] "one", which names the "standard" in passing', [("a", "one")]),
        ("[a] ‘the jurors’ duty isn’t light’", [("a", "the jurors’ duty isn’t light")]),
        ("[a] 'the jury's role'", [("a", "the jury's role")]),
        ('[a] “straight end"', [("a", "straight end")]),
        ('[a] ""', [("a", "")]),
        ('[7.3.2-c4-s2] "x y"\n[GPL-3.0-only#6.2] "z"', [("7.3.2-c4-s2", "x y"), ("GPL-3.0-only#6.2", "z")]),
    ],
)
def test_quotes(evidence: str, expected: list[tuple[str | None, str]]) -> None:
    reply = parse(f"EVIDENCE:\n{evidence}\nANSWER: yes [a].")
    assert quotes(reply) == expected
    assert reply.defects == []


@pytest.mark.parametrize(
    ("text", "defects"),
    [
        ("ANSWER: At four [a].", ["no_evidence_section"]),
        ('[a] "one"\nANSWER: yes [a].', ["no_evidence_section"]),
        ('EVIDENCE:\n[a] "one"', ["no_answer_section"]),
        ('EVIDENCE:\n[a] "one"\nANSWER:', ["empty_answer"]),
        ("EVIDENCE:\nANSWER: yes", ["empty_evidence"]),
        ("EVIDENCE: none\nANSWER: yes", ["empty_evidence"]),
        ("EVIDENCE:\n[a] tea is at four\nANSWER: yes [a]", ["unquoted_evidence"]),
        ('EVIDENCE:\n[a] "one"\n[b] tea is at four\nANSWER: yes [a]', ["unquoted_evidence"]),
        ('EVIDENCE:\n"one"\nANSWER: yes [a]', ["uncited_quote"]),
        ('EVIDENCE:\n[a] "one', ["no_answer_section", "unterminated_quote"]),
        ('ANSWER: yes [a]\nEVIDENCE:\n[a] "one"', ["answer_before_evidence"]),
        (WELL_FORMED + "\n" + WELL_FORMED, ["repeated_section"]),
        ("Sure, here it is.\n" + WELL_FORMED, ["text_outside_sections"]),
        ('EVIDENCE:\n[a] "one"\nANSWER: INSUFFICIENT EVIDENCE', ["refusal_with_evidence"]),
        ("", ["no_evidence_section", "no_answer_section"]),
        ("<think> and then the limit came", ["no_evidence_section", "no_answer_section", "unfinished_reasoning"]),
    ],
)
def test_defects(text: str, defects: list[str]) -> None:
    assert parse(text).defects == defects


@pytest.mark.parametrize(
    ("text", "defects"),
    [
        ("ANSWER: INSUFFICIENT EVIDENCE", []),
        ("**ANSWER:** *Insufficient evidence.*", []),
        ("EVIDENCE:\nNone\nANSWER: Insufficient evidence: no document says so.", []),
        ("INSUFFICIENT EVIDENCE", ["no_answer_section"]),
        ("EVIDENCE: INSUFFICIENT EVIDENCE", ["no_answer_section"]),
    ],
)
def test_refusals(text: str, defects: list[str]) -> None:
    reply = parse(text)
    assert reply.refusal
    assert reply.defects == defects


def test_refusal_phrases_are_whole_words_and_configurable() -> None:
    assert not parse("ANSWER: Insufficient evidences were led [a].").refusal
    assert not parse("ANSWER: There was insufficient evidence [a].").refusal
    assert parse("ANSWER: I cannot answer.", terms("a", phrases=["I cannot answer"])).refusal
    assert not parse("ANSWER: yes", terms("a", phrases=["", "..."])).refusal


def test_free_form_text_is_its_own_answer() -> None:
    reply = parse("Tea is at four [a-1].\n\nSee also [b-2].")
    assert (reply.answer, reply.citations, reply.quotes) == ("Tea is at four [a-1].\n\nSee also [b-2].", ["a-1", "b-2"], [])


def test_citations_in_order_and_what_is_none() -> None:
    reply = parse(
        'EVIDENCE:\n[b] "see [x]"\nANSWER: No inference[s] [sic] may be drawn[^2] from [T]he case [1998] 2 VR 304 [a, c]; [b] [...] [link](https://x.org).'
    )
    assert reply.citations == ["b", "a", "c"]


def test_a_repeated_section_keeps_all_quotes_and_the_first_answer() -> None:
    reply = parse('EVIDENCE:\n[a] "one"\nANSWER:\n\nEVIDENCE:\n[b] "two"\nANSWER: yes [b]\nANSWER: no')
    assert quotes(reply) == [("a", "one"), ("b", "two")]
    assert reply.answer == "yes [b]"


@given(st.text(alphabet="[]\"“”'‘’«»ab1 \n*#:.,^-EVIDNCASWR", max_size=200) | st.text(max_size=100))
@settings(max_examples=300, deadline=None)
def test_never_raises_and_offsets_are_exact(text: str) -> None:
    for candidate in (text, f"EVIDENCE:\n{text}", f'EVIDENCE:\n[a] "{text}"\nANSWER: {text}'):
        for q in parse(candidate).quotes:
            assert candidate[q.start : q.end] == q.text


IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9.#-]{3,20}", fullmatch=True)
WORD = st.text(alphabet="abcXYZ019éß’'", min_size=1, max_size=8).filter(lambda w: w.casefold() not in {"evidence", "answer"})
SENTENCE = st.lists(
    WORD | WORD.map(lambda w: f'"{w}"') | st.sampled_from(["see [3] for", "so [sic] it", "*or*", "(a)", "–"]), min_size=1, max_size=12
).map(" ".join)


@given(st.lists(st.tuples(IDS, SENTENCE), min_size=1, max_size=4), st.lists(WORD, min_size=1, max_size=8).map(" ".join))
@settings(max_examples=300, deadline=None)
def test_format_and_parse_round_trip(pairs: list[tuple[str, str]], words: str) -> None:
    answer = f"{words} [{pairs[0][0]}]"
    reply = parse(format_reply(pairs, answer), terms(*(i for i, _ in pairs)))
    assert quotes(reply) == pairs
    assert reply.answer == answer
    assert reply.citations == list(dict.fromkeys(i for i, _ in pairs))
    assert reply.defects == []


@pytest.mark.parametrize(
    "unit",
    [
        "word ",
        "[",
        '"',
        '[a] "',
        '[a] "x"\n',
        '"x" ',
        '"x" [a]\n',
        '[a] "x \n',
        "[a] “x “",
        " ",
        "\n",
        "*",
        "EVIDENCE:\n",
        "[a] ",
        "<think>",
        "[a] 'x's ",
    ],
)
def test_time_is_linear(unit: str) -> None:
    def seconds(length: int) -> float:
        text = "EVIDENCE:\n" + unit * (length // len(unit))
        begin = time.process_time()
        parse(text)
        return time.process_time() - begin

    # A quadratic reader needs minutes here; the bound allows a busy processor (an idle one: 0.3 s at most).
    assert seconds(100_000) < 20


def test_render_contract() -> None:
    messages = render("When is tea?", DOCUMENTS, contract=True, templates_dir=PROMPTS)
    assert [m.role for m in messages] == ["system", "user"]
    assert "ANSWER: INSUFFICIENT EVIDENCE" in messages[0].content
    assert "[a-1] Tea is served at *four*.\n\n[b-2] {{ question }}" in messages[1].content
    assert messages[1].content.startswith("Question: When is tea?\n\nDocuments:\n\n[a-1]")
    assert len(messages[0].content.split()) <= 80


@pytest.mark.parametrize("demonstrations", sorted(path.stem for path in PROMPTS.glob("*.yaml")))
def test_worked_examples_keep_the_contract_themselves(demonstrations: str) -> None:
    messages = render("When is tea?", DOCUMENTS, contract=True, templates_dir=PROMPTS, demonstrations=demonstrations)
    examples = messages[1:-1]
    assert [m.role for m in messages] == ["system", *["user", "assistant"] * (len(examples) // 2), "user"]
    assert len(examples) >= 2
    for asked, answered in zip(examples[::2], examples[1::2], strict=True):
        reply = parse(answered.content, terms(*re.findall(r"^\[([^\]]+)\]", asked.content, re.MULTILINE)))
        assert reply.defects == []
        assert reply.quotes
        for q in reply.quotes:
            assert f"[{q.doc_id}]" in asked.content
            assert q.text in asked.content
    assert len(" ".join(m.content for m in examples).split()) < 450


def test_render_freeform_does_not_name_the_contract() -> None:
    for demonstrations in (None, "demonstrations"):
        text = "".join(m.content for m in render("When?", DOCUMENTS, contract=False, templates_dir=PROMPTS, demonstrations=demonstrations))
        assert "EVIDENCE:" not in text
        assert "ANSWER:" not in text


def test_render_names_what_is_wrong_with_a_template(tmp_path: Path) -> None:
    with pytest.raises(CardproofError, match=r"contract_system\.j2 does not exist"):
        render("q", [], True, tmp_path)
    (tmp_path / "contract_system.j2").write_text("be brief")
    (tmp_path / "contract_user.j2").write_text("{{ query }}")
    with pytest.raises(CardproofError, match="'query' is undefined"):
        render("q", [], True, tmp_path)
    with pytest.raises(CardproofError, match=r"demonstrations\.yaml does not exist"):
        render("q", [], True, tmp_path, demonstrations="demonstrations")


PIECE = st.sampled_from(
    [
        "word",
        " ",
        "\n",
        ".",
        "'",
        "-",
        "*",
        "(",
        "_",
        "answer",
        "Evidence:",
        "<think>",
        "</think>",
        "\t",
        "\r",
        ":",
        ">",
        "1.",
        "é",
        "”",
        '"',
    ]
)
PLAIN_TEXT = st.lists(PIECE, max_size=8).map("".join)


@given(
    st.lists(st.tuples(st.sampled_from(["A#1", "B 2", " C", "  "]), PLAIN_TEXT), max_size=3),
    PLAIN_TEXT,
    st.sampled_from(["", " [A#1].", "[b, c]"]),
)
@settings(max_examples=3000, deadline=None)
def test_a_reply_to_the_letter_is_read_the_same_by_the_short_way(quotes: list[tuple[str, str]], answer: str, cites: str) -> None:
    text = "\n".join(["EVIDENCE:", *(f'[{i}] "{quote}"' for i, quote in quotes), f"ANSWER: {answer}{cites}"])
    shown = terms("A#1", "B 2", "C", "b")
    short = reading._read_plain(text, shown)
    assert short is None or short == reading._read_any(text, shown)


def test_most_replies_to_the_letter_go_the_short_way() -> None:
    text = 'EVIDENCE:\n[A#1] "some words\nof a passage"\n[B#2] "more"\nANSWER: Some words [A#1], and more [C#3].'
    shown = terms("A#1", "B#2")
    short = reading._read_plain(text, shown)
    assert short is not None
    assert (short.citations, [q[0] for q in short.quotes]) == (["A#1", "B#2", "C#3"], ["some words\nof a passage", "more"])
    assert reading._read_plain('EVIDENCE:\n[A#1] "x"\nANSWER: INSUFFICIENT EVIDENCE', shown) is None
    for phrase in ("INSUFFICIENT EVIDENCE", "I cannot answer"):
        refusing = terms("A#1", phrases=[phrase])
        short = reading._read_plain(f"ANSWER: {phrase}", refusing)
        assert short is not None and short == reading._read_any(f"ANSWER: {phrase}", refusing)
