"""What the verifier reads of an answer: its sentences, without citations and markup."""

from __future__ import annotations

import re

from cardproof.contract import reading
from cardproof.verifier.sentences import split_sentences


def clean_answer(answer: str) -> str:
    """An answer without its `[id]` citations, spaces before punctuation closed up."""
    ids = set(reading.parse(f"ANSWER: {answer}").citations)

    def cut(m: re.Match[str]) -> str:
        parts = [p.strip() for p in re.split(r"[,;]\s", m[1]) if p.strip()]
        return "" if parts and all(p in ids for p in parts) else m[0]

    text = " ".join(re.sub(r"\[([^\[\]\n]{1,80})\]", cut, answer).split())
    return re.sub(r" (?=[.,;:!?](?: |$))", "", text)


def answer_sentences(answer: str) -> list[str]:
    """The sentences of a cleaned answer; one of fewer than three words, such as `Yes.`, goes with the next, or the one before."""
    found: list[str] = []
    short = ""
    for s in split_sentences(answer):
        s = f"{short} {s}".strip()
        short = ""
        if len(re.findall(r"\w+", s)) < 3:
            short = s
        else:
            found.append(s)
    if short:
        found = [*found[:-1], f"{found[-1]} {short}"] if found else [short]
    return [s for s in found if re.search(r"\w", s)]
