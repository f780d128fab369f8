"""Where a sentence of legal text ends."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardproof.verifier.sentences import split_sentences, without_marker


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
