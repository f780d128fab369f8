"""Support of each rollout of an arm."""

from __future__ import annotations

import pytest

from cardproof.errors import CardproofError
from cardproof.verifier.support import premises_of, support_rollouts
from helpers.rows import rollout
from helpers.verifiers import prompt, reopen


def test_premises_are_the_cited_documents_that_were_shown():
    assert premises_of(["B#2"], prompt()) == ["B#2"]
    assert premises_of(["B#2", "A#1", "C#9"], prompt()) == ["A#1", "B#2"]
    assert premises_of(["C#9"], prompt()) == premises_of([], prompt()) == ["A#1", "B#2"]


def test_support_is_in_the_order_of_the_rollouts(trained):
    texts = [
        'EVIDENCE:\n[A#1] "You may copy the Work"\nANSWER: You may copy it [A#1].',
        "ANSWER: You may copy it.",
        "ANSWER: INSUFFICIENT EVIDENCE",
        "ANSWER: [A#1]",
        "",
    ]
    rows = support_rollouts([prompt()], [rollout(t, k) for k, t in enumerate(texts)], reopen(trained))
    assert [r.k for r in rows] == [0, 1, 2, 3, 4]
    assert [r.premises for r in rows] == [["A#1"], ["A#1", "B#2"], [], [], []]
    assert [r.pairs for r in rows] == [2, 4, 0, 0, 0]
    assert [r.support is None for r in rows] == [False, False, True, True, True]
    with pytest.raises(CardproofError, match="item 9"):
        support_rollouts([prompt()], [rollout("x", item=9)], reopen(trained))
