"""Data as a team has them: texts for ids, and every second question with two gold passages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

PLACES = ((1, "kept in the hall"), (2, "cleaned on Fridays"))


def passages(nouns: Sequence[str]) -> list[dict[str, Any]]:
    """Two passages about each noun, no two of them alike."""
    return [
        {
            "id": f"{noun}#{part}",
            "title": noun,
            "text": f"The {noun} is {what}: {' '.join(f'{noun}-{part}{x}' for x in 'stuvw')}.",
            "footnotes": None,
        }
        for noun in nouns
        for part, what in PLACES
    ]


def questions(nouns: Sequence[str], begins: str) -> list[dict[str, Any]]:
    """A question about each noun; its id begins with `begins`."""
    return [
        {
            "id": f"{begins}-{noun}",
            "question": f"Where is the {noun}, and when is it cleaned?",
            "answer": "In the hall, on Fridays.",
            "relevant_passage_id": [f"{noun}#1", f"{noun}#2"] if i % 2 else f"{noun}#1",
        }
        for i, noun in enumerate(nouns)
    ]
