"""What the verifier reads of an answer."""

from __future__ import annotations

from cardproof.contract.citing import Ids
from cardproof.verifier.answers import answer_sentences, clean_answer

IDS = Ids.of(["GPL-3.0-only#6", "7.3.2-c4-s2", "A#1"])


def test_citations_are_cleaned_and_other_brackets_stay():
    assert clean_answer("Yes [GPL-3.0-only#6]. It may [7.3.2-c4-s2, A#1], says [T]he court.", IDS) == "Yes. It may, says [T]he court."
    assert clean_answer("It holds [sic] that, at [34].", IDS) == "It holds [sic] that, at [34]."
    assert clean_answer(" [a#1] ", IDS) == ""


def test_short_sentences_join_a_neighbour():
    assert answer_sentences("Yes. You may copy it. You may sell it.") == ["Yes. You may copy it.", "You may sell it."]
    assert answer_sentences("You may copy it. No.") == ["You may copy it. No."]
    assert answer_sentences("Yes.") == ["Yes."]
    assert answer_sentences("") == answer_sentences("...") == []
