"""Turns an answer into what the verifier reads: its sentences, without citations."""

from __future__ import annotations

import re

from cardproof.contract import reading
from cardproof.verifier.sentences import split_sentences


def clean_answer(answer: str) -> str:
    """An answer without its `[id]` citations and without the spaces they leave before punctuation."""
    ids = set(reading.parse(f"ANSWER: {answer}").citations)

    def cut(m: re.Match[str]) -> str:
        parts = [p.strip() for p in re.split(r"[,;]\s", m[1]) if p.strip()]
        return "" if parts and all(p in ids for p in parts) else m[0]

    text = " ".join(re.sub(r"\[([^\[\]\n]{1,80})\]", cut, answer).split())
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
