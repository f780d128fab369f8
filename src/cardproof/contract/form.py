"""The form of a reply under the contract, and what refuses."""

from __future__ import annotations

from collections.abc import Sequence

REFUSAL_PHRASES: tuple[str, ...] = ("INSUFFICIENT EVIDENCE",)

REASONING_TAG = "think|thinking|thought|reasoning|scratchpad"
"""Names of the tags that models and chat templates put around reasoning."""
REASONING_OPENS = rf"<(?:{REASONING_TAG})>|\[THINK\]"
"""What opens a reasoning block."""
OPENED = "<think>\n"
"""What stands for the opening that a chat template wrote, where only the reply is at hand."""

MAX_ID = 80
"""Longest document id in characters; longer bracketed text is prose."""


def format_reply(quotes: Sequence[tuple[str, str]], answer: str) -> str:
    """The canonical well-formed reply for `(doc_id, text)` quotes and an answer; without quotes the answer section alone."""
    evidence = ["EVIDENCE:", *(f'[{doc_id}] "{text}"' for doc_id, text in quotes)] if quotes else []
    return "\n".join([*evidence, f"ANSWER: {answer}"])
