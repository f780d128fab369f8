"""Distractors: the passages nearest to a question, without its oracle and what nearly repeats it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cardproof.contract.ladder import normalise
from cardproof.errors import CardproofError
from cardproof.records import Passage

SHINGLE = 5
"""Two passages overlap where they share this many words in a row."""
NEAR_DUPLICATE = 0.5
"""Two passages are near-duplicates if they share this part of the smaller one's shingles (an assumption)."""


def near_duplicates(a: str, b: str) -> bool:
    """Whether two passages share at least `NEAR_DUPLICATE` of the smaller one's word `SHINGLE`-grams, after the full ladder."""
    first, second = _shingles(a), _shingles(b)
    return len(first & second) >= NEAR_DUPLICATE * min(len(first), len(second))


def _shingles(text: str) -> set[tuple[str, ...]]:
    words = normalise(text).split()
    return {tuple(words[i : i + SHINGLE]) for i in range(max(1, len(words) - SHINGLE + 1))}


def retriever(passages: Sequence[Passage], k: int) -> Callable[[str, Sequence[Passage]], tuple[list[Passage], int]]:
    """A function from (question, gold passages) to its K distractors and the number of near-duplicates of these that it skipped."""
    import bm25s  # here, because importing it would slow every other verb

    index = bm25s.BM25()
    words_of = bm25s.tokenize([p.text for p in passages], stopwords="en", show_progress=False)
    # bm25s cannot index texts of stop words alone.
    searchable = any(len(ids) for ids in words_of.ids)
    if searchable:
        index.index(words_of, show_progress=False)

    def distractors(question: str, oracles: Sequence[Passage]) -> tuple[list[Passage], int]:
        words = bm25s.tokenize([question], stopwords="en", return_ids=False, show_progress=False)[0]
        scores = index.get_scores(words).tolist() if words and searchable else [0.0] * len(passages)
        ranked = sorted(range(len(passages)), key=lambda i: (-scores[i], passages[i].id))  # equal scores: by id, not by place in the file
        chosen: list[Passage] = []
        skipped = 0
        for i in ranked:
            if len(chosen) == k:
                break
            if any(passages[i].id == oracle.id for oracle in oracles):
                continue
            if any(near_duplicates(passages[i].text, oracle.text) for oracle in oracles):
                skipped += 1
            else:
                chosen.append(passages[i])
        if len(chosen) < k:
            raise CardproofError(
                f"the corpus has {len(chosen)} distractors for oracle {oracles[0].id!r} (without {skipped} near-duplicates), not {k}.",
                "lower `distractors`, or use a larger corpus.",
            )
        return chosen, skipped

    return distractors
