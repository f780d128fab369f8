"""Labelled pairs built from the sentences of passages."""

from __future__ import annotations

import re

import pytest

from cardproof.benchmark.embedded import load_embedded
from cardproof.records import Passage
from cardproof.verifier.pairs import build_pairs, usable_sentences
from cardproof.verifier.planted import KINDS
from cardproof.verifier.sentences import without_marker

PASSAGES = [
    Passage(
        id="A#1",
        title="t",
        text="1. Grant. The Licensor grants You a licence for 30 days. You may copy the Work, and you must keep this notice.",
    ),
    Passage(
        id="A#2",
        title="t",
        text="Each Contributor shall give every Recipient the source code within five years. You may not sell the fonts.",
    ),
    Passage(
        id="B#1",
        title="t",
        text="The court must not excuse a juror before the trial begins. A witness is permitted to read written notes aloud.",
    ),
]


@pytest.fixture(scope="module")
def licences():
    return load_embedded()[0]


@pytest.mark.parametrize("templates", ["train", "held_out"])
def test_pairs_depend_only_on_the_seed(licences, templates):
    first = build_pairs(licences, 200, 3, templates)
    assert first == build_pairs(licences, 200, 3, templates)
    assert first != build_pairs(licences, 200, 4, templates)
    assert len(first) == 200 == len({(p.premise, p.claim) for p in first})


@pytest.mark.parametrize("templates", ["train", "held_out"])
def test_labels_are_right_by_construction(licences, templates):
    pairs = build_pairs(licences, 400, 0, templates)
    assert 0.45 <= sum(p.label for p in pairs) / len(pairs) <= 0.55
    premises = {s for _, s in usable_sentences(licences)}
    for p in pairs:
        assert p.premise in premises
        assert (p.kind in KINDS) == (p.label == 0)
        folded = " ".join(re.findall(r"\w+", p.claim.casefold()))
        source = " ".join(re.findall(r"\w+", without_marker(p.premise).casefold()))
        if p.label == 0 and p.kind != "foreign" and not re.search(r"(?i)it is not true|it is wrong|nothing in the text", p.claim):
            assert source not in folded, p  # a claim with a planted error must not contain the true sentence
        if p.kind in {"identical", "prefix", "quoted"}:
            assert source in folded, p
    assert {p.kind for p in pairs if p.label == 0} == set(KINDS)


def test_true_and_false_claims_are_wrapped_alike(licences):
    """The beginning of a claim must not reveal its label."""
    pairs = build_pairs(licences, 1000, 0, "train")
    share = {label: [p.claim.startswith(("Yes", "No.", "The licence says")) for p in pairs if p.label == label] for label in (0, 1)}
    assert abs(sum(share[0]) / len(share[0]) - sum(share[1]) / len(share[1])) < 0.08


def test_few_passages_give_fewer_pairs_and_none_give_none():
    pairs = build_pairs(PASSAGES, 5000, 0)
    assert 10 < len(pairs) < 5000
    assert build_pairs([], 10, 0) == []
    assert build_pairs([Passage(id="x", title="t", text="Too short.")], 10, 0) == []
