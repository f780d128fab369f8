import json
import re
import string
from collections import Counter

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cardproof.contract.grounding import Match, match, near_miss_diff
from cardproof.contract.ladder import LADDER, SUBSETS, normalise, normalised
from cardproof.records import Document, Grounding, Step
from helpers.places import SHARED


def document(text: str, doc_id: str = "a") -> Document:
    return Document(id=doc_id, text=text, role="oracle")


def one(text: str, *documents: Document, cites: str | None = "a") -> Grounding:
    found = match(text, cites, [(d.id, d.text) for d in documents])
    return Grounding.model_validate({**found._asdict(), "steps": list(found.steps)})


DOC = document("The **jury** must not\nconvict the “accused”, unless - beyond doubt - it's sure.[^2]")


@pytest.mark.parametrize(
    ("quote", "steps"),
    [
        ("must not convict the", ["whitespace"]),
        ("  must not\nconvict", ["whitespace"]),
        ("must\u200b not", ["whitespace"]),
        ('the "accused"', ["typography"]),
        ("it’s sure", ["typography"]),
        ("The jury must", ["markup"]),
        ("it's sure.[^3]", ["markup"]),
        ("the jury", ["markup", "case"]),
        ("THE **JURY** MUST", ["case"]),
        ("unless beyond doubt it's", ["punctuation"]),
        ("beyond doubt.", ["punctuation"]),
        ("THE JURY MUST NOT CONVICT THE ACCUSED", ["whitespace", "case", "punctuation"]),  # dropping `*` takes the emphasis too
        ("beyo\u00adnd", ["whitespace"]),
        ("beyond\u00a0doubt", []),
    ],
)
def test_least_repair(quote: str, steps: list[Step]) -> None:
    found = one(quote, DOC)
    assert (found.kind, found.steps, found.strict, found.content, found.attributed) == ("near_miss", steps, False, True, False)
    assert normalise(quote, steps) in normalise(DOC.text[found.start : found.end], steps)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# A\n\n- *one*\n- `two`\n> three [x](https://y.org/z) snake_case _em_", "A one two three x snake_case em"),
        ("(*Juries Act 2000 *s 32(2)).[^12]", "(Juries Act 2000 s 32(2))."),
        ("[1998] 2 VR 304, [3](a)", "[1998] 2 VR 304, [3](a)"),
        ("1. first\n2. second", "1. first 2. second"),
    ],
)
def test_markup(text: str, expected: str) -> None:
    assert normalise(text, ("markup", "whitespace")) == expected


def test_kinds() -> None:
    a, b = document("alpha beta gamma", "a"), document("Delta epsilon", "b")
    assert one("beta gam", a, b).model_dump(exclude={"text", "cited_id"}) == {
        "kind": "strict", "strict": True, "content": True, "attributed": True, "steps": [], "doc_id": "a", "start": 6, "end": 14,
    }  # fmt: skip
    assert (one("epsilon", a, b).kind, one("epsilon", a, b).doc_id, one("epsilon", a, b).attributed) == ("misattributed", "b", False)
    assert one("epsilon", a, b).strict and one("epsilon", a, b).content
    assert (one("epsilon", a, b, cites=None).kind, one("epsilon", a, b, cites=None).attributed) == ("strict", False)
    assert one("epsilon", a, b, cites="nowhere").kind == "misattributed"
    assert (one("delta", a, b).kind, one("delta", a, b).doc_id, one("delta", a, b).steps) == ("near_miss", "b", ["case"])
    lost = one("zeta", a, b)
    assert (lost.kind, lost.content, lost.doc_id, lost.start, lost.end) == ("fabricated", False, None, None, None)


def test_the_cited_document_comes_first() -> None:
    twin, cited = document("Alpha beta", "b"), document("ALPHA, beta", "a")
    assert one("alpha beta", twin, cited).doc_id == "a"
    assert one("alpha beta", twin, cited, cites=None).steps == ["case"]  # uncited: the least repair in any document
    assert one("x", document("x", "b"), document("x", "a")).doc_id == "a"


@pytest.mark.parametrize("nothing", ["", "  \n", ".", "“”", "***", "\u200b", "—", "🙂"])
def test_a_quote_without_letters_or_digits_is_fabricated(nothing: str) -> None:
    assert one(nothing, document(f"x {nothing} y")).kind == "fabricated"


def test_no_documents() -> None:
    assert one("anything").kind == "fabricated"


def test_subsets_go_from_none_to_all() -> None:
    assert len(SUBSETS) == 32
    assert SUBSETS[0] == ()
    assert SUBSETS[1:6] == tuple((s,) for s in LADDER)
    assert SUBSETS[-1] == LADDER


def test_spans_survive_characters_that_grow_and_shrink() -> None:
    text = "Der ﬁnale Straßen\u00adname, Cafe\u0301 İzmir … ½ ㌔ 각 end"
    whole = normalised(text)
    for word, original in [("finale", "ﬁnale"), ("strassenname", "Straßen\u00adname"), ("café", "Cafe\u0301"), ("end", "end")]:
        at = whole.text.index(word)
        start, end = whole.span(at, at + len(word))
        assert text[start:end] == original


def test_diff() -> None:
    diff = near_miss_diff("the Jury must", "the *jury* must")
    assert "".join(q for _, q, _ in diff) == "the Jury must"
    assert "".join(d for _, _, d in diff) == "the *jury* must"
    assert {op for op, _, _ in diff} == {"equal", "replace", "insert"}


# --- properties -------------------------------------------------------------------------------------------------------

MIXED = st.text(alphabet="aAbßéİ1ﬁ\u0301 \n\u00a0\u200b*_`#>-–—.,'\"“”‘’…[^2]()", max_size=60) | st.text(max_size=40)
WORDS = st.lists(st.text(alphabet=string.ascii_letters, min_size=2, max_size=8), min_size=4, max_size=14)


@given(MIXED, st.data())
@settings(max_examples=200, deadline=None)
def test_a_raw_substring_is_strict(text: str, data: st.DataObject) -> None:
    a = data.draw(st.integers(0, len(text)))
    b = data.draw(st.integers(a, len(text)))
    found = one(text[a:b], document(text))
    if not any(ch.isalnum() for ch in normalise(text[a:b])):
        assert found.kind == "fabricated", "what says nothing proves nothing"
        return
    assert found.kind == "strict"
    assert found.content
    assert text[found.start : found.end] == text[a:b]


@given(MIXED)
@settings(max_examples=300, deadline=None)
def test_the_full_ladder_is_idempotent(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@given(MIXED, st.sampled_from(SUBSETS))
@settings(max_examples=200, deadline=None)
def test_offsets_fit_the_text(text: str, steps: tuple[Step, ...]) -> None:
    out = normalised(text, steps)
    assert len(out.text) == len(out.starts) == len(out.ends)
    assert all(0 <= a < b <= len(text) for a, b in zip(out.starts, out.ends, strict=True))
    assert list(out.starts) == sorted(out.starts)


@given(MIXED, MIXED)
@settings(max_examples=300, deadline=None)
def test_any_quote_gets_a_consistent_verdict(quote: str, text: str) -> None:
    found = one(quote, document(text))
    assert found.content >= found.strict >= found.attributed
    assert bool(found.steps) <= (found.kind == "near_miss")
    assert (found.start is None) == (found.kind == "fabricated")


def alter(text: str, step: Step) -> str:
    """A quote altered in one way only."""
    match step:
        case "whitespace":
            return text.replace(" ", " \n ", 1)
        case "typography":
            return text.replace("'", "’", 1)
        case "markup":
            return "*" + text.replace(" ", "* ", 1)
        case "case":
            return text.swapcase()
        case "punctuation":
            return text.replace(",", "", 1)


@given(WORDS, st.sampled_from(LADDER), WORDS)
@settings(max_examples=250, deadline=None)
def test_one_alteration_needs_exactly_its_step(words: list[str], step: Step, around: list[str]) -> None:
    original = f"{words[0]}, {words[1]}'s {' '.join(words[2:])}"
    text = f"{' '.join(around)}. {original}; {' '.join(around)}"
    quote = alter(original, step)
    assume(quote not in text)
    found = one(quote, document(text))
    assert (found.kind, found.steps) == ("near_miss", [step])
    assert normalise(quote, found.steps) in normalise(text[found.start : found.end], found.steps)


@given(WORDS, st.sets(st.sampled_from(LADDER), min_size=1))
@settings(max_examples=150, deadline=None)
def test_several_alterations_need_no_more_than_their_steps(words: list[str], steps: set[Step]) -> None:
    text = f"{words[0]}, {words[1]}'s {' '.join(words[2:])}"
    quote = text
    for step in LADDER:
        quote = alter(quote, step) if step in steps else quote
    assume(quote not in text)
    found = one(quote, document(text))
    assert found.kind == "near_miss"
    assert len(found.steps) <= len(steps)  # not a subset: dropping punctuation repairs typography and markup at once


# --- real quotes ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not (SHARED / "data/legal_rag_bench").is_dir(), reason="the benchmark is not here: set CARDPROOF_SHARED")
def test_quotes_in_real_reference_answers() -> None:
    folder = SHARED / "data/legal_rag_bench"
    questions = [json.loads(line) for line in (folder / "qa.jsonl").read_text(encoding="utf-8").splitlines()]
    rows = [json.loads(line) for line in (folder / "corpus_gold_subset.jsonl").read_text(encoding="utf-8").splitlines()]
    passages = {r["id"]: r["text"] for r in rows}
    spans = [
        (m[1], q["relevant_passage_id"])
        for q in questions
        for m in re.finditer(r'[“"]([^“”"]*)[”"]', q["answer"])
        if len(m[1].split()) >= 4
    ]
    assert len(spans) == 48

    def kinds(trim: str) -> Counter[str]:
        return Counter(one(s.rstrip(trim), document(passages[i], i), cites=i).kind for s, i in spans)

    # As printed, the answer's own full stop or comma stands inside the marks and spoils 16 quotes that are otherwise exact.
    assert kinds("") == {"strict": 6, "near_miss": 35, "fabricated": 7}
    assert kinds(".,") == {"strict": 22, "near_miss": 19, "fabricated": 7}


AWKWARD = st.text(
    st.sampled_from(list("aB1 .-*_`[]()\\\n\t\"'#>~!\0") + list("\u00ad\u200b’“–éﬁİß\u00a0…\u3000\u0345\u0301［］Ⅳ")), max_size=40
)


@given(st.one_of(AWKWARD, st.text(max_size=40)), st.sampled_from(SUBSETS))
@settings(max_examples=1500)
def test_a_text_without_its_offsets_is_normalised_to_the_same(text: str, steps: tuple[Step, ...]) -> None:
    assert normalise(text, steps) == normalised(text, steps).text


def test_a_match_has_the_fields_of_a_grounding() -> None:
    assert Match._fields == tuple(Grounding.model_fields)
