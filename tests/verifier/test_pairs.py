import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardproof.benchmark.embedded import load_embedded
from cardproof.records import Passage
from cardproof.verifier.pairs import build_pairs, usable_sentences
from cardproof.verifier.planted import ERRORS, KINDS, plant
from cardproof.verifier.sentences import split_sentences, without_marker

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


@given(st.text(alphabet=st.sampled_from(list("abcIV .;:!?,()[]\"'“”*_^\n\t-1290§é")), max_size=200))
@settings(max_examples=300, deadline=None)
def test_splitter_keeps_every_word_in_order(text):
    sentences = split_sentences(text)
    assert " ".join(sentences).split() == text.split()
    assert all(s == " ".join(s.split()) and s for s in sentences)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It ends. It begins.", ["It ends.", "It begins."]),
        ("See e.g. Smith v. Jones and s. 32(2). Next one.", ["See e.g. Smith v. Jones and s. 32(2).", "Next one."]),
        ("6. Trademarks. No licence is given.", ["6. Trademarks.", "No licence is given."]),
        ("Acme Inc. may copy it.", ["Acme Inc. may copy it."]),
        ("He said “Stop.” Then he left.", ["He said “Stop.”", "Then he left."]),
        ("*Emphasis here.*[^2] Then more.", ["*Emphasis here.*[^2]", "Then more."]),
        ("wrapped\nline here", ["wrapped line here"]),
        ("one paragraph\n\nanother", ["one paragraph", "another"]),
        ("do this:\n  a) keep the whole notice\n  b) keep the source", ["do this:", "a) keep the whole notice", "b) keep the source"]),
        ("keep all the old notices; and give away the source code.", ["keep all the old notices; and", "give away the source code."]),
        ("copy; modify; sell it to them.", ["copy; modify; sell it to them."]),
        ("Under section 2.1. Nothing else counts here.", ["Under section 2.1.", "Nothing else counts here."]),
        ("No. The font may not be sold.", ["No.", "The font may not be sold."]),
        ("", []),
    ],
)
def test_splitter(text, expected):
    assert split_sentences(text) == expected


def test_markers_go_and_sentences_stay():
    assert without_marker("(a) keep the notice") == "keep the notice"
    assert without_marker("2.1. Grant of rights") == "Grant of rights"
    assert without_marker("I agree") == "I agree"
    assert without_marker("a)") == "a)"


@pytest.mark.parametrize("templates", ["train", "held_out"])
def test_pairs_depend_on_the_seed_alone(licences, templates):
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
            assert source not in folded, p  # a planted error leaves no true copy of the sentence behind it
        if p.kind in {"identical", "prefix", "quoted"}:
            assert source in folded, p
    assert {p.kind for p in pairs if p.label == 0} == set(KINDS)


def test_true_and_false_claims_are_wrapped_alike(licences):
    """The claim's opening must not tell the label."""
    pairs = build_pairs(licences, 1000, 0, "train")
    share = {label: [p.claim.startswith(("Yes", "No.", "The licence says")) for p in pairs if p.label == label] for label in (0, 1)}
    assert abs(sum(share[0]) / len(share[0]) - sum(share[1]) / len(share[1])) < 0.08


@pytest.mark.parametrize(
    ("sentence", "kind", "expected"),
    [
        ("You must keep it.", "negation", {"You must not keep it."}),
        ("It does not apply.", "negation", {"It does apply."}),
        ("You may not sell it.", "permission", {"You may sell it."}),
        ("You must keep it.", "permission", {"You need not keep it."}),
        ("The Licensor pays.", "party", {"The Licensee pays."}),
        ("Sold with a notice.", "antonym", {"Sold without a notice."}),
        ("You may or may not sell it.", "negation", {None}),
        ("Nothing here.", "number", {None}),
    ],
)
def test_train_errors(sentence, kind, expected):
    assert {plant(sentence, kind, random.Random(i), "train") for i in range(10)} == expected


@pytest.mark.parametrize(
    ("sentence", "kind", "expected"),
    [
        (
            "You may sell it.",
            "permission",
            {"You are forbidden to sell it.", "You are obliged to sell it.", "You have no right to sell it."},
        ),
        ("He may not go.", "permission", {"He is free to go.", "He is entitled to go."}),
        ("Within 30 days.", "number", {"Within 30 months."}),
        ("Kept permanently.", "antonym", {"Kept temporarily."}),
    ],
)
def test_held_out_errors(sentence, kind, expected):
    assert {plant(sentence, kind, random.Random(i), "held_out") for i in range(40)} == expected


def test_a_planted_number_keeps_its_style_and_changes_its_value():
    for i in range(50):
        new = plant("Cure it within 30 days, or five years.", "number", random.Random(i), "train")
        assert new and re.fullmatch(r"Cure it within (\d+) days, or ([a-z]+) years\.", new)
        assert (new.split()[3] != "30") != (new.split()[6] != "five")


def test_no_template_is_shared(licences):
    """What an error of the held-out templates makes of a sentence, the train templates never make."""
    for _, sentence in usable_sentences(licences)[:150]:
        for kind in ERRORS["train"]:
            seen = {plant(sentence, kind, random.Random(i), "train") for i in range(30)} - {None}
            unseen = {plant(sentence, kind, random.Random(i), "held_out") for i in range(30)} - {None}
            assert not seen & unseen, (kind, seen & unseen)


def test_few_passages_give_fewer_pairs_and_none_give_none():
    pairs = build_pairs(PASSAGES, 5000, 0)
    assert 10 < len(pairs) < 5000
    assert build_pairs([], 10, 0) == []
    assert build_pairs([Passage(id="x", title="t", text="Too short.")], 10, 0) == []
