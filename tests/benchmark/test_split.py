import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardproof.benchmark.embedded import load_embedded
from cardproof.benchmark.folder import load_folder
from cardproof.benchmark.passages import document_of, is_section_of, word_ngrams
from cardproof.benchmark.prompts import build_prompts
from cardproof.benchmark.split import Overlap, _draw, choose, shared
from cardproof.benchmark.split import split as split_questions
from cardproof.config import reading
from cardproof.config.settings import Condition, Contract
from cardproof.errors import CardproofError
from cardproof.records import Passage, Question
from helpers.places import ROOT, SHARED

REAL = SHARED / "data" / "legal_rag_bench"
needs_real = pytest.mark.skipif(not (REAL / "qa.jsonl").exists(), reason=f"Legal RAG Bench is not at {REAL} (set CARDPROOF_SHARED)")


@pytest.fixture(scope="module")
def embedded():
    return load_embedded()


def split(passages, questions, seed=0, **changes):
    """Both halves, by the configuration's defaults but for `changes`."""
    return split_questions(passages, questions, reading.validate({"split": changes}).split, seed)


def benchmark(documents):
    """One passage and one question per entry; entries are document numbers. No two texts share a word."""
    passages = [Passage(id=f"{d}-c{i}-s1", title="", text=f"p{i}") for i, d in enumerate(documents)]
    return passages, [Question(id=i, question=f"q{i}", answer="a", relevant_passage_id=p.id) for i, p in enumerate(passages)]


# --- subset sum -------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 9), min_size=2, max_size=9), st.floats(0.05, 0.95), st.data())
def test_choose_is_as_near_as_brute_force(sizes, share, data):
    draws = data.draw(st.lists(st.integers(0, 2**64 - 1), min_size=len(sizes), max_size=len(sizes)))
    target = share * sum(sizes)
    got = sum(sizes[i] for i in choose(sizes, target, draws))
    sums = {sum(c) for n in range(1, len(sizes)) for c in itertools.combinations(sizes, n)}
    assert got in sums
    assert abs(got - target) == min(abs(s - target) for s in sums)


def test_choose_spreads_over_the_solutions():
    found = {tuple(choose([1] * 6, 3, [_draw(seed, i) for i in range(6)])) for seed in range(60)}
    assert len(found) > 10


# --- properties of a split --------------------------------------------------------------------------------------------

documents = st.lists(st.integers(0, 12), min_size=2, max_size=30).filter(lambda d: len(set(d)) > 1)


@settings(deadline=None)
@given(documents, st.floats(0.1, 0.9), st.integers(0, 5))
def test_no_document_is_cut_and_sizes_add_up(docs, share, seed):
    passages, questions = benchmark(docs)
    train, held_out, leakage = split(passages, questions, seed, train_share=share)
    assert sorted([*train, *held_out], key=lambda q: q.id) == questions
    assert not {document_of(q.relevant_passage_id) for q in train} & {document_of(q.relevant_passage_id) for q in held_out}
    assert leakage["shared_passages"] == leakage["shared_documents"] == 0
    assert leakage["components"] == len(set(docs))
    assert leakage["achieved"] == {"train": len(train), "eval": len(held_out)}
    assert train == sorted(train, key=lambda q: q.id)


@settings(deadline=None)
@given(documents, st.integers(0, 3))
def test_half_is_exact_where_a_subset_sum_exists(docs, seed):
    sizes = [docs.count(d) for d in set(docs)]
    sums = {sum(c) for n in range(1, len(sizes)) for c in itertools.combinations(sizes, n)}
    train = split(*benchmark(docs), seed).train
    assert abs(len(train) - len(docs) / 2) == min(abs(s - len(docs) / 2) for s in sums)


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=3, max_size=8), min_size=4, max_size=10), st.sampled_from([0.1, 0.3, 0.6]))
def test_no_near_duplicate_crosses(words, threshold):
    passages = [Passage(id=f"{i}-c1-s1", title="", text=" ".join(w)) for i, w in enumerate(words)]
    questions = [Question(id=i, question=f"q{i}", answer="a", relevant_passage_id=p.id) for i, p in enumerate(passages)]
    try:
        train, held_out, leakage = split(passages, questions, near_duplicate_threshold=threshold, ngram=2)
    except CardproofError as e:
        assert "No leakage-disjoint split" in e.sentence
        return
    assert all(v["value"] < threshold for v in leakage["max_overlap"].values())
    text = {p.id: word_ngrams(p.text, 2) for p in passages}
    for a, b in itertools.product(train, held_out):
        x, y = text[a.relevant_passage_id], text[b.relevant_passage_id]
        assert len(x & y) / min(len(x), len(y)) < threshold


@given(documents, st.integers(0, 3))
@settings(deadline=None, max_examples=30)
def test_deterministic_and_independent_of_passage_order(docs, seed):
    passages, questions = benchmark(docs)
    assert split(passages, questions, seed) == split(passages[::-1], questions, seed)


def test_seed_chooses_among_equals():
    b = benchmark(list(range(20)))
    splits = {tuple(q.id for q in split(*b, seed).train) for seed in range(10)}
    assert len(splits) == 10
    assert {len(s) for s in splits} == {10}


# --- joins ------------------------------------------------------------------------------------------------------------

LINE = "the quick brown fox jumps over the lazy dog near the river"


def test_near_duplicate_questions_stay_together():
    passages, questions = benchmark([0, 1, 2, 3])
    questions = [q.model_copy(update={"question": LINE + f" {q.id}"}) if q.id in (0, 3) else q for q in questions]
    train, held_out, leakage = split(passages, questions)
    assert {0, 3} in ({q.id for q in train}, {q.id for q in held_out})
    assert leakage["joined"] == {"near_duplicate_questions": 1, "near_duplicate_passages": 0, "near_duplicate_documents": 0, "sections": 0}


def test_near_duplicate_passages_join_their_documents():
    passages, questions = benchmark([0, 0, 1, 2, 3])
    passages = [p.model_copy(update={"text": LINE}) if p.id in ("0-c1-s1", "1-c2-s1") else p for p in passages]
    leakage = split(passages, questions).leakage
    assert leakage["component_sizes"] == [3, 1, 1]


def test_other_passages_of_a_document_count():
    passages, questions = benchmark([0, 1, 2])
    extra = [Passage(id="0-c9-s1", title="", text=LINE), Passage(id="1-c9-s1", title="", text=LINE)]
    leakage = split([*passages, *extra], questions).leakage
    assert leakage["joined"]["near_duplicate_documents"] == 1
    assert leakage["component_sizes"] == [2, 1]


def test_shared_counts_containment_over_the_shorter_text():
    grams = {"a": word_ngrams("x y z", 1), "b": word_ngrams("y z u v w", 1), "c": word_ngrams("k", 1)}
    assert shared(grams) == [Overlap(2 / 3, "a", "b")]


# --- errors -----------------------------------------------------------------------------------------------------------


def test_one_component_cannot_be_split():
    with pytest.raises(CardproofError, match="the largest of 1 components has 3 of 3 questions") as e:
        split(*benchmark([0, 0, 0]))
    assert "near_duplicate_threshold" in e.value.hint


@pytest.mark.parametrize("bad", [{"train_share": 0.0}, {"train_share": 1.0}, {"near_duplicate_threshold": 0.0}, {"ngram": 0}])
def test_settings_that_cannot_split_are_refused(bad):
    with pytest.raises(CardproofError, match=rf"split\.{next(iter(bad))}"):
        split(*benchmark([0, 1]), **bad)


def test_unknown_passage():
    passages, questions = benchmark([0, 1])
    with pytest.raises(CardproofError, match="Question 1: passage '1-c1-s1' is not in the corpus"):
        split(passages[:1], questions)


@pytest.mark.parametrize(
    ("document", "other", "inside"),
    [("4.12.2", "4.12", True), ("4.12.2.1", "4.12", True), ("4.12", "4.12.2", False), ("4.1", "4.12", False), ("4.12", "4.1", False)],
)
def test_a_section_is_told_by_its_number(document, other, inside):
    assert is_section_of(document, other) == inside
    assert not is_section_of("GPL-3.0-only", "GPL-3.0")


def test_a_section_and_its_subsections_stay_on_one_side():
    names = ["4.12", "4.12.2", "5", "6", "7", "8"]
    passages = [Passage(id=f"{name}-c1-s1", title="", text=f"text {name} " + " ".join(f"{name}w{i}" for i in range(30))) for name in names]
    questions = [Question(id=i, question=f"q{i}", answer="a", relevant_passage_id=p.id) for i, p in enumerate(passages)]
    for seed in range(8):
        found = split(passages, questions, seed=seed)
        assert ({0, 1} <= {q.id for q in found.train}) or ({0, 1} <= {q.id for q in found.eval})
    assert found.leakage["joined"]["sections"] == 1
    assert found.leakage["component_sizes"] == [2, 1, 1, 1, 1]


def test_train_side_distractors_are_counted_and_can_be_kept_out(embedded):
    train, held_out, leakage = split(*embedded)
    counted = leakage["distractors"]
    assert not counted["kept_out"]
    assert list(counted["by_k"]) == [str(k) for k in range(1, 11)]
    shown = counted["by_k"]["4"]
    assert shown["shown"] == 4 * len(held_out)
    assert 0 < shown["train_oracles"] <= shown["train_documents"] < shown["shown"]
    # The same passages as the stress prompts show.
    prompts, _ = build_prompts("stress", Condition(distractors=4), Contract(), embedded[0], held_out, 0, ROOT / "prompts")
    drawn = [d.id for p in prompts for d in p.documents if d.role == "distractor"]
    documents = {document_of(q.relevant_passage_id) for q in train}
    assert sum(document_of(id) in documents for id in drawn) == shown["train_documents"]
    kept_out = split(*embedded, held_out_distractors=True).leakage["distractors"]
    assert kept_out["kept_out"]
    assert {row["train_documents"] for row in kept_out["by_k"].values()} == {0}


# --- the two benchmarks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_embedded_splits_in_exact_halves(embedded, seed):
    train, held_out, leakage = split(*embedded, seed=seed)
    assert len(train) == len(held_out) == len(embedded[1]) // 2
    assert leakage["component_sizes"][0] <= len(embedded[1]) // 2
    assert all(v["value"] < 0.05 for v in leakage["max_overlap"].values())
    json.dumps(leakage, allow_nan=False)


def test_licence_families_are_found_by_measuring(embedded):
    train = {document_of(q.relevant_passage_id) for q in split(*embedded).train}
    for family in (
        {"GPL-2.0-only", "GPL-3.0-only", "LGPL-2.1-only", "LGPL-3.0-only", "AGPL-3.0-only"},
        {"CC-BY-4.0", "CC-BY-SA-4.0"},
        {"MPL-2.0", "CDDL-1.0"},
    ):
        assert family <= train or not family & train


@needs_real
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_real_benchmark_splits_50_50(seed):
    train, held_out, leakage = split(*load_folder(REAL), seed=seed)
    assert (len(train), len(held_out)) == (50, 50)
    assert (leakage["questions"], leakage["passages"], leakage["documents"]) == (100, 95, 60)
    assert leakage["shared_passages"] == leakage["shared_documents"] == 0
    assert leakage["max_overlap"]["oracle_passages"]["value"] < 0.05
    sides = [{document_of(q.relevant_passage_id) for q in half} for half in (train, held_out)]
    assert not [(a, b) for a in sides[0] for b in sides[1] if is_section_of(a, b) or is_section_of(b, a)]
    # 4.12 and 4.12.2 are on one subject.
    assert any({"4.12", "4.12.2"} <= side for side in sides)
