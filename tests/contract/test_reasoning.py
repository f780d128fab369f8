"""Reasoning before a reply, whoever opened it."""

from __future__ import annotations

import pytest

from cardproof.contract.citing import Ids
from cardproof.contract.form import REFUSAL_PHRASES
from cardproof.contract.reading import Terms, parse
from cardproof.contract.reasoning import OPENED

TERMS = Terms(Ids.of(["d1"]), True, REFUSAL_PHRASES)
DRAFT = 'Let me look.\nEVIDENCE:\n[d1] "a draft"\nANSWER: perhaps [d1]\n'
REPLY = 'EVIDENCE:\n[d1] "a person must not"\nANSWER: No [d1].'


@pytest.mark.parametrize(
    "text",
    [
        f"{DRAFT}</think>\n{REPLY}",
        f"<think>\n{DRAFT}</think>\n{REPLY}",
        f"<think>\nfirst\n</think>\n<think>\n{DRAFT}</think>\n{REPLY}",
        f"{DRAFT}</think>\n\n  <think>{DRAFT}</think>{REPLY}",
        f"<thinking>{DRAFT}</thinking>\n{REPLY}",
        f"[THINK]{DRAFT}[/THINK]{REPLY}",
        f"<seed:think>{DRAFT}</seed:think>{REPLY}",
        f"<|START_THINKING|>{DRAFT}<|END_THINKING|>{REPLY}",
        f"◁think▷{DRAFT}◁/think▷{REPLY}",
        f"<|channel|>analysis<|message|>{DRAFT}assistant<|channel|>final<|message|>{REPLY}",
        f"Sure.\n<reasoning>\n{DRAFT}</reasoning>\n{REPLY}",
    ],
)
def test_nothing_before_the_end_of_reasoning_is_a_reply(text: str) -> None:
    reply = parse(text, TERMS)
    assert [q.text for q in reply.quotes] == ["a person must not"]
    assert (reply.answer, reply.citations, reply.defects) == ("No [d1].", ["d1"], [])
    assert all(text[q.start : q.end] == q.text for q in reply.quotes)


@pytest.mark.parametrize("text", [f"{OPENED}{DRAFT}", f"<think>\nfirst</think>\n<think>\n{DRAFT}", f"{DRAFT}</think>", f"[THINK] {DRAFT}"])
def test_reasoning_that_was_cut_off_leaves_no_reply(text: str) -> None:
    for terms in (TERMS, TERMS._replace(contract=False)):
        reply = parse(text, terms)
        assert (reply.quotes, reply.answer, reply.citations, reply.refusal) == ([], "", [], False)
        assert ("unfinished_reasoning" in reply.defects) == (not text.endswith("</think>"))


def test_a_tag_inside_a_sentence_opens_nothing() -> None:
    assert parse("ANSWER: The tag <think> is meant [d1].", TERMS).answer == "The tag <think> is meant [d1]."
