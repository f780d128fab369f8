"""Errors planted in true sentences."""

from __future__ import annotations

import random
import re

import pytest

from cardproof.benchmark.embedded import load_embedded
from cardproof.verifier.pairs import usable_sentences
from cardproof.verifier.planted import ERRORS, plant


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


def test_no_template_is_shared():
    """The train templates never turn a sentence into what the held-out templates turn it into."""
    for _, sentence in usable_sentences(load_embedded()[0])[:150]:
        for kind in ERRORS["train"]:
            seen = {plant(sentence, kind, random.Random(i), "train") for i in range(30)} - {None}
            unseen = {plant(sentence, kind, random.Random(i), "held_out") for i in range(30)} - {None}
            assert not seen & unseen, (kind, seen & unseen)
