"""The one exception a user is meant to read: a sentence that names the place, and a hint what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class CardproofError(Exception):
    """Bad input, said in one sentence with a hint; the command line prints both and exits with `exit_code`."""

    exit_code = 2

    def __init__(self, sentence: str, hint: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.sentence}\nHint: {self.hint}"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word nearest to a misspelt one, or None where nothing is near."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return found[0] if found else None
