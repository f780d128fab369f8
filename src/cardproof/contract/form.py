"""The form of a reply under the contract, and what refuses."""

from __future__ import annotations

from collections.abc import Sequence

REFUSAL_PHRASES: tuple[str, ...] = ("INSUFFICIENT EVIDENCE",)


HEADINGS: tuple[str, str] = ("EVIDENCE", "ANSWER")
"""What stands above the quotes, and before the answer."""


def format_reply(quotes: Sequence[tuple[str, str]], answer: str, headings: tuple[str, str] = HEADINGS) -> str:
    """The canonical well-formed reply for `(doc_id, text)` quotes and an answer; without quotes the answer section alone."""
    evidence = [f"{headings[0]}:", *(f'[{doc_id}] "{text}"' for doc_id, text in quotes)] if quotes else []
    return "\n".join([*evidence, f"{headings[1]}: {answer}"])
