"""Turns an answer into what the verifier reads: its sentences, without citations."""

from __future__ import annotations

import re

from cardproof.contract.citing import Ids, citations
from cardproof.verifier.sentences import split_sentences


def clean_answer(answer: str, ids: Ids) -> str:
    """An answer without its `[id]` citations and without the spaces they leave before punctuation; other brackets are its words."""
    kept: list[str] = []
    end = 0
    for citation in citations(answer, ids):
        kept.append(answer[end : citation.start])
        end = citation.end
    text = " ".join("".join([*kept, answer[end:]]).split())
    return re.sub(r" (?=[.,;:!?](?: |$))", "", text)


def answer_sentences(answer: str) -> list[str]:
    """The sentences of a cleaned answer. One of fewer than three words, such as `Yes.`, joins the next one, or else the one before."""
    sentences: list[str] = []
    short = ""
    for s in split_sentences(answer):
        s = f"{short} {s}".strip()
        short = ""
        if len(re.findall(r"\w+", s)) < 3:
            short = s
        else:
            sentences.append(s)
    if short:
        sentences = [*sentences[:-1], f"{sentences[-1]} {short}"] if sentences else [short]
    return [s for s in sentences if re.search(r"\w", s)]
