"""ROUGE-L by the library `rouge_score` itself: for the few numbers that a card prints, which the fast one is checked against."""

from __future__ import annotations

import importlib.metadata
from typing import Literal

from cardproof.scoring.rouge import mostly_latin, unicode_words

MOST_CELLS = 1_000_000
"""Words of the answer times words of the reference: the library fills a table of this size, at about 0.3 microseconds a cell."""


def version() -> str:
    """Name and version of the library."""
    return f"rouge-score {importlib.metadata.version('rouge-score')}"


class _UnicodeWords:
    """A tokenizer in the library's form."""

    def tokenize(self, text: str) -> list[str]:
        return unicode_words(text)


class LibraryRouge:
    """ROUGE-L F1 as the library computes it. `words` chooses what it compares, by the same rule as `rouge.Rouge`."""

    def __init__(self, words: Literal["latin", "unicode"] = "latin") -> None:
        from rouge_score.rouge_scorer import RougeScorer
        from rouge_score.tokenizers import DefaultTokenizer

        self._words = words
        tokenizers = {True: DefaultTokenizer(use_stemmer=True), False: _UnicodeWords()}
        self._scorers = {latin: (t.tokenize, RougeScorer(["rougeL"], tokenizer=t)) for latin, t in tokenizers.items()}

    def __call__(self, answer: str, reference: str) -> float | None:
        """F1 in [0, 1]; None for texts so long that the library would need more than MOST_CELLS."""
        tokenize, scorer = self._scorers[self._words == "latin" and mostly_latin(reference)]
        if len(tokenize(answer)) * len(tokenize(reference)) > MOST_CELLS:
            return None
        return float(scorer.score(reference, answer)["rougeL"].fmeasure)
