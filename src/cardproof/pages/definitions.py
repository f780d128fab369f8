"""What the numbers on card and page mean, each said once."""

from __future__ import annotations

DEFINITIONS = {
    "strict": "share of a reply's quotes that are in a document it was shown, character for character",
    "content": "the same, ignoring form: Unicode, white space, typographic marks, Markdown and footnote marks, case, punctuation",
    "gap": "content verbatim minus strict: quotes altered in form alone",
    "attribution": "share of its quotes that are in the very document they cite, character for character",
    "citation_validity": "share of replies that cite at least one document, and only documents they were shown",
    "gold_rouge": "share of answers whose overlap with the reference answer (ROUGE-L) reaches the threshold",
    "rouge_l": "that overlap itself: F1 of the longest common subsequence of stemmed words",
    "false_refusals": "share of refusals among the items that show the passage with the answer (the oracle)",
    "support": "the verifier's probability that the answer follows from the documents it cites",
    "composite": "the score that picks among an item's rollouts; it does not use the reference answer",
}
"""Axis (and `gap`) -> its meaning. Templates print it where they first name the axis."""
