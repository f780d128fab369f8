"""Which brackets cite: ids of the documents shown, what is built like the corpus' ids, and nothing else."""

from __future__ import annotations

import pytest

from cardproof.contract.citing import Ids, citation_validity, citations
from cardproof.contract.form import REFUSAL_PHRASES
from cardproof.contract.ids import MOST_EXAMPLES, examples, learned, unfit
from cardproof.contract.reading import Terms, parse

LEGAL = ["7.3.2-c4-s2", "1.2-c2-s2", "4.25-c10-s1"]
LICENCES = ["GPL-2.0-only#0.1", "MIT#1", "Apache-2.0#4"]
STATUTES = ["Conveyancing Act, s 3", "Act 1958; s 3", "Doe v. Roe, 41 U.S. 3"]


def cited(answer: str, provided: list[str], corpus: list[str] | None = None) -> list[str]:
    return [doc_id for citation in citations(answer, Ids.of(provided, corpus or [])) for doc_id in citation.ids]


@pytest.mark.parametrize(
    "prose",
    [
        *("at [34]", "Hall [2019] VSCA 12, [34]", "[34]-[36]", "[34]–[36]", "ibid [34] (Lee JA)", "[1998] 2 VR 304", "[1]", "[2010]"),
        *("[the tenant]", "The [tenant] must", "[T]he", "inference[s]", "[or she]", "[his/her]", "[*if relevant*]", "[held]", "[ ]"),
        *("[emphasis added]", "[Emphasis in original]", "[citation omitted]", "[footnotes omitted]", "[sic]", "[...]", "[…]", "[^2]"),
        *("[s 32(2)]", "[cl 4.2]", "[No 2]"),
    ],
)
@pytest.mark.parametrize("corpus", [LEGAL, LICENCES, STATUTES], ids=["legal", "licences", "statutes"])
def test_brackets_of_legal_prose_cite_nothing(prose: str, corpus: list[str]) -> None:
    assert cited(f"So it is {prose}. See [{corpus[0]}].", [corpus[0]], corpus) == [corpus[0]]


@pytest.mark.parametrize(
    ("provided", "invented"),
    [
        (["7.3.2-c4-s2"], "7.3.2-c5-s1"),
        (["7.3.2-c4-s2"], "2.1-c1-s1"),
        (["GPL-2.0-only#0.1"], "GPL-3.0-only#6"),
        (["GPL-2.0-only#0.1"], "Apache-2.0#4"),
        (["d1"], "d9"),
        (["3", "5"], "7"),
        (["A#1"], "b#2"),
        (["Conveyancing Act, s 3"], "Property Law Act, s 9"),
    ],
)
def test_what_is_built_like_the_ids_is_an_invalid_citation(provided: list[str], invented: str) -> None:
    found = cited(f"Yes [{provided[0]}], and [{invented}].", provided)
    assert found == [provided[0], invented]
    assert citation_validity(found, provided) == 0


def test_ids_of_the_corpus_are_known_by_examples_of_it() -> None:
    assert cited("Yes [MIT#1] [GPL-3.0-only#6].", ["MIT#1"], examples(LICENCES)) == ["MIT#1", "GPL-3.0-only#6"]
    assert cited("Yes [MIT#1] [GPL-3.0-only#6].", ["MIT#1"]) == ["MIT#1"], "one id alone does not tell of other marks"


@pytest.mark.parametrize("separator", [", ", ",", "; ", ";", " / ", "/", " & ", "&", " and "])
def test_several_ids_in_one_bracket(separator: str) -> None:
    assert cited(f"Yes [d1{separator}d2].", ["d1", "d2"]) == ["d1", "d2"]
    assert cited(f"Yes [{separator.join(STATUTES)}].", STATUTES) == STATUTES
    assert cited(f"Yes [d1{separator}at 34].", ["d1", "d2"]) == ["d1"]
    assert cited(f"Yes [d1{separator}d9].", ["d1", "d2"]) == ["d1", "d9"]


@pytest.mark.parametrize("doc_id", [*STATUTES, "A/B#1", "R&D-3", "a and b, 1"])
def test_an_id_with_a_separator_in_it_is_matched_whole(doc_id: str) -> None:
    reply = parse(f'EVIDENCE:\n[{doc_id}] "x y"\nANSWER: Yes [{doc_id}].', Terms(Ids.of([doc_id]), True, REFUSAL_PHRASES))
    assert [q.doc_id for q in reply.quotes] == [doc_id]
    assert reply.citations == [doc_id]


def test_quotes_that_cite_several_documents_cite_the_first() -> None:
    terms = Terms(Ids.of(["d1", "d2"]), True, REFUSAL_PHRASES)
    reply = parse('EVIDENCE:\n[d1; d2] "x y"\nANSWER: Yes.', terms)
    assert [(q.text, q.doc_id) for q in reply.quotes] == [("x y", "d1")]
    assert reply.citations == ["d1", "d2"]


def test_a_remark_between_a_quote_and_its_id_is_passed_over() -> None:
    reply = parse('EVIDENCE:\n"z w" [emphasis added] [d2]\nANSWER: Yes.', Terms(Ids.of(["d1", "d2"]), True, REFUSAL_PHRASES))
    assert [(q.text, q.doc_id) for q in reply.quotes] == [("z w", "d2")]
    assert reply.citations == ["d2"]


@pytest.mark.parametrize("doc_id", ["1998", "sic", "^3", "...", "…", "Emphasis added", "---", "a]", " a", "x" * 81])
def test_ids_that_cannot_be_told_from_prose_are_unfit(doc_id: str) -> None:
    assert unfit(doc_id)


@pytest.mark.parametrize("doc_id", [*LEGAL, *LICENCES, *STATUTES, "3", "d1", "a", "1599", "x" * 80, "пункт 1"])
def test_other_ids_can_be_cited(doc_id: str) -> None:
    assert unfit(doc_id) is None
    assert cited(f"Yes [{doc_id}].", [doc_id]) == [doc_id]


def test_examples_are_few_and_tell_all_there_is() -> None:
    corpus = [f"{a}.{b}-c{c}-s1" for a in range(1, 9) for b in range(1, 9) for c in range(9)]
    assert len(examples(corpus)) == 1
    assert all(learned(tuple(examples(corpus))).like(doc_id) for doc_id in corpus)
    assert len(examples([f"{chr(97 + i % 26) * (1 + i // 26)}{i}" for i in range(500)])) == MOST_EXAMPLES
