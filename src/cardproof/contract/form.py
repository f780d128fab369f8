"""The form of a reply under the contract, and what refuses."""

from __future__ import annotations

from collections.abc import Sequence

REFUSAL_PHRASES: tuple[str, ...] = ("INSUFFICIENT EVIDENCE",)


def format_reply(quotes: Sequence[tuple[str, str]], answer: str) -> str:
    """The canonical well-formed reply for `(doc_id, text)` quotes and an answer; without quotes the answer section alone."""
    evidence = ["EVIDENCE:", *(f'[{doc_id}] "{text}"' for doc_id, text in quotes)] if quotes else []
    return "\n".join([*evidence, f"ANSWER: {answer}"])
