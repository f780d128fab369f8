"""Reasoning before a reply, whoever opened it."""

from __future__ import annotations

from typing import Any

import pytest

from cardproof.contract.citing import Ids
from cardproof.contract.form import REFUSAL_PHRASES
from cardproof.contract.reading import Terms, parse
from cardproof.contract.reasoning import OPENED
from cardproof.models.tokens import opened_reasoning
from cardproof.records import Message, Turn
from cardproof.training.train import tokenise

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


class Tokenizer:
    """A tokenizer that only knows its template and counts letters."""

    eos_token_id = 0

    def __init__(self, opening: str) -> None:
        self.opening = opening

    def apply_chat_template(self, turns: list[dict[str, str]], **options: Any) -> str:
        text = "".join(f"<|{turn['role']}|>{turn['content']}\n" for turn in turns)
        return text + (f"<|assistant|>{self.opening}" if options.get("add_generation_prompt") else "")

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        return {"input_ids": [ord(ch) for ch in text]}


ASKED = [Message(role="user", content="<think> about it")]


@pytest.mark.parametrize(
    ("opening", "expected"),
    [("", ""), ("\n<think>\n", "<think>\n"), ("<think>", "<think>"), ("<think>\n\n</think>\n\n", ""), ("[THINK]", "[THINK]")],
)
def test_what_a_template_opens_is_known(opening: str, expected: str) -> None:
    assert opened_reasoning(Tokenizer(opening), ASKED, True) == expected


def test_a_reply_that_begins_with_the_templates_opening_is_taught_without_it() -> None:
    turn = Turn(messages=ASKED, reply=f"<think>\nhm</think>\n{REPLY}")
    rows = tokenise(Tokenizer("<think>\n"), turn, True, 4096, "x")
    assert "".join(map(chr, rows["input_ids"][:-1])) == f"<|user|><think> about it\n<|assistant|><think>\nhm</think>\n{REPLY}"
    plain = tokenise(Tokenizer(""), turn, False, 4096, "x")
    assert "".join(map(chr, plain["input_ids"][:-1])).endswith(f"<|assistant|><think>\nhm</think>\n{REPLY}")
