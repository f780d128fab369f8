"""A benchmark of a few questions on long documents: texts of the embedded licences, as long as the published benchmark's passages."""

from __future__ import annotations

from cardproof.benchmark.embedded import load_embedded
from cardproof.benchmark.folder import Rows
from cardproof.benchmark.passages import document_of
from cardproof.errors import CardproofError
from cardproof.files import seeded_hash
from cardproof.records import Passage, Question
from cardproof.rehearsal.shapes import Documents

WORDS = 450
"""Longest passage in words: about 2,700 characters."""
DISTRACTORS = 24
QUOTED = 34
"""Words of a passage in its question; the answer takes as many."""


def benchmark(items: int, lengths: Documents, seed: int = 0) -> Rows:
    """`items` questions on passages of that many licences, one of them the longest there is, and passages to distract from them.

    A question is made of its passage's own words: a common frame would be shared text, and the split would join all questions. Raises
    CardproofError if there are too few licences.
    """
    fitting = [p for p in load_embedded(WORDS if lengths.longest > 1200 else 110)[0] if lengths.shortest <= len(p.text) <= lengths.longest]
    longest = max(fitting, key=lambda p: len(p.text))
    chosen = {document_of(longest.id): longest}
    for passage in sorted(fitting, key=lambda p: (abs(len(p.text) - lengths.mean), p.id)):
        if len(chosen) < items:
            chosen.setdefault(document_of(passage.id), passage)
    if len(chosen) < items:
        raise CardproofError(f"--items is {items}, but there are texts for only {len(chosen)}.", f"give a number up to {len(chosen)}.")
    oracles = list(chosen.values())
    others = [p for p in fitting if p not in oracles]
    others.sort(key=lambda p: seeded_hash(seed, p.id))
    return [*oracles, *others[:DISTRACTORS]], [_question(number, passage) for number, passage in enumerate(oracles, 1)]


def _question(number: int, passage: Passage) -> Question:
    words = passage.text.split()
    asked, told = words[4 : 4 + QUOTED], words[4 + QUOTED : 4 + 2 * QUOTED]
    return Question(
        id=number,
        question=f"What does {document_of(passage.id)} say of this: {' '.join(asked)}?",
        answer=f"{' '.join(told)}.",
        relevant_passage_id=passage.id,
    )
