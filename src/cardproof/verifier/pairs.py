"""Builds labelled (premise, claim) pairs from sentences of legal text, as FactCC does.

Kryscinski et al. (2020), "Evaluating the Factual Consistency of Abstractive Text Summarization": a claim is a true sentence, lightly
rephrased, or the same sentence with one planted error. Labels are right by construction, except if a planted error happens to keep the
meaning: no rule notices that.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import NamedTuple

from cardproof.records import Passage
from cardproof.verifier.planted import ERRORS, FOREIGN, Edit, Templates, lower_first, plant, table
from cardproof.verifier.sentences import folded, split_sentences, without_marker

# --- true claims ------------------------------------------------------------------------------------------------------


_PREFIXES: dict[Templates, tuple[str, ...]] = {
    "train": (
        "The licence says that",
        "Yes.",
        "No.",
        "According to the licence,",
        "The document states that",
        "Yes, because",
        "Under the licence,",
    ),
    "held_out": ("As the text puts it,", "In other words,", "The rule is that", "That is so:", "The wording is clear:", "We read that"),
}


_REWORD: dict[Templates, Edit] = {
    "train": table(
        *((f"{a} not", "{be} not allowed to") for a in ("may", "must", "shall")),
        ("may", "{be} allowed to|can"),
        ("must", "{have} to|{be} required to"),
        ("shall", "will|must"),
        ("need not", "{do} not have to"),
        ("cannot", "can not"),
        ("this license", "the licence"),
        ("this licence", "the license"),
        ("prior to", "before"),
    ),
    "held_out": table(
        *((f"{a} not", "{be} forbidden to") for a in ("may", "must", "shall")),
        ("may", "{be} free to|{be} entitled to"),
        ("must", "{be} obliged to"),
        ("shall", "{have} a duty to"),
        ("need not", "{be} under no duty to"),
        ("this license", "the present licence"),
        ("in order to", "to"),
        ("provided that", "as long as"),
        ("all", "every one of the"),
    ),
}


# A clause may be cut from the end unless it limits what comes before it, or what comes before it is not a sentence by itself.
_LIMITS = ("unless", "except", "provided", "if", "but", "only", "other than", "subject to", "to the extent", "where", "when", "so long")


_CONDITION = re.compile(r"(?:if|unless|where|when|except|although|in the event|to the extent|provided)\b", re.IGNORECASE)


_LEAD = re.compile(
    r"(?:however|in addition|moreover|for the avoidance of doubt|for example|accordingly|therefore|furthermore|otherwise), ", re.IGNORECASE
)


def _truncated(sentence: str, rng: random.Random) -> str | None:
    """Cut the sentence at a clause boundary."""
    if _CONDITION.match(sentence):
        return None
    cuts = [
        m.start()
        for m in re.finditer(r"[,;:] | (?=(?:and|or|which|who|provided|so that|because)\s)", sentence)
        if m.start() >= 0.4 * len(sentence)
        and len(sentence[: m.start()].split()) >= 5
        and not sentence[m.end() :].casefold().lstrip().startswith(_LIMITS)
    ]
    return sentence[: rng.choice(cuts)].rstrip(" ,;:") + "." if cuts else None


def _clause_dropped(sentence: str, rng: random.Random) -> str | None:
    """Remove the opening adverbial, or else one bracketed remark."""
    new = _LEAD.sub("", sentence, count=1)
    if new == sentence:
        new = re.sub(r"\s*\((?:[^()]{2,80})\)", "", sentence, count=1)
    return new[:1].upper() + new[1:] if new != sentence else None


def _wrapped(sentence: str, prefix: str, quoted: bool) -> str:
    if quoted:
        return f"{prefix} \u201c{sentence}\u201d" if '"' in sentence else f'{prefix} "{sentence}"'
    return f"{prefix} {sentence if prefix.endswith(('.', ':')) else lower_first(sentence)}"


class Pair(NamedTuple):
    """One training or test pair for an entailment model."""

    premise: str
    """A sentence of a passage."""
    claim: str
    label: int
    """1: the premise entails the claim; 0: it contradicts or does not support it."""
    kind: str
    """How the claim was derived: a kind of error (see `KINDS`), or `identical`, `prefix`, `quoted`, `truncated`, `clause_dropped`,
    `reworded`."""


def _overlap(a: str, b: str) -> float:
    x, y = (set(re.findall(r"\w{3,}", t.casefold())) for t in (a, b))
    return len(x & y) / max(1, min(len(x), len(y)))


def usable_sentences(passages: Sequence[Passage], min_words: int = 6, max_words: int = 26) -> list[tuple[str, str]]:
    """(passage id, sentence) of every sentence of at least `min_words` words, in order, each text once.

    A sentence of more than `max_words` words is cut at the last comma, semicolon or colon within them, or left out if it has none: a small
    encoder learns from short pairs, and they cost less.
    """
    seen: dict[str, tuple[str, str]] = {}
    for p in passages:
        for s in split_sentences(p.text):
            words = s.split()
            if len(words) > max_words:
                ends = [i for i, w in enumerate(words[:max_words], 1) if w[-1] in ",;:"]
                words = words[: ends[-1]] if ends else []
                s = " ".join(words).rstrip(",;:")
            if len(without_marker(s).split()) >= min_words:
                seen.setdefault(folded(s), (p.id, s))
    return list(seen.values())


def build_pairs(passages: Sequence[Passage], count: int, seed: int, templates: Templates = "train") -> list[Pair]:
    """At most `count` distinct pairs from the sentences of `passages`, half of them true, in an order that the seed fixes.

    Every sentence with a planted error also serves as a true claim, and both are wrapped in the same ways, so the claim alone does not give
    the label away. Kinds of error take turns. A kind is left out once no sentence admits it, so few passages may give fewer than `count`
    pairs. The templates `held_out` use phrasings and word lists that `train` does not.
    """
    rng = random.Random(f"{seed}/{templates}")
    pool = usable_sentences(passages)
    pairs: dict[tuple[str, str], Pair] = {}
    turns = [*ERRORS[templates], FOREIGN, FOREIGN]
    misses = dict.fromkeys(turns, 0)
    queue: list[tuple[str, str]] = []
    turn = 0
    while pool and len(pairs) < count and turns:
        kind = turns[turn % len(turns)]
        turn += 1
        if not queue:
            queue = rng.sample(pool, len(pool))
        error = _next_error(queue, kind, pool, rng, templates)
        if error is None or (error[1], error[2]) in pairs:
            misses[kind] += 1
            if misses[kind] > 20:  # this kind is used up
                turns = [k for k in turns if k != kind]
            if error is None:
                queue = rng.sample(pool, len(pool))
            continue
        sentence, premise, wrong = error
        pairs[premise, wrong] = Pair(premise, wrong, 0, kind)
        for _ in range(10):  # the same true claim may have come up before; draw another wording
            right = _true(sentence, premise, rng, templates)
            if (premise, right.claim) not in pairs:
                pairs[premise, right.claim] = right
                break
    chosen = list(pairs.values())[:count]
    rng.shuffle(chosen)
    return chosen


def _next_error(
    queue: list[tuple[str, str]], kind: str, pool: list[tuple[str, str]], rng: random.Random, templates: Templates
) -> tuple[str, str, str] | None:
    """(sentence, premise, wrong claim) of the first sentence in the queue that admits the error, or None; takes it off the queue."""
    for i, (passage_id, premise) in enumerate(queue):
        sentence = without_marker(premise)
        wrong = _foreign(passage_id, sentence, pool, rng, templates) if kind == FOREIGN else plant(sentence, kind, rng, templates)
        if wrong is not None:
            del queue[i]
            return sentence, premise, _styled(wrong, rng, templates)
    return None


def _foreign(passage_id: str, sentence: str, pool: list[tuple[str, str]], rng: random.Random, templates: Templates) -> str | None:
    """A sentence of another passage that does not repeat this one; of 20, the one most like it if templates are held out."""
    others = [without_marker(s) for i, s in rng.sample(pool, min(20, len(pool))) if i != passage_id]
    others = [s for s in others if _overlap(s, sentence) < 0.6]
    if not others:
        return None
    # In training, half of them are the most alike as well: the model must not learn that shared words mean entailed.
    alike = templates == "held_out" or rng.random() < 0.5
    return max(others, key=lambda s: _overlap(s, sentence)) if alike else others[0]


def _styled(claim: str, rng: random.Random, templates: Templates) -> str:
    """A claim as an answer might put it: plain, after a prefix, or quoted."""
    draw = rng.random()
    if draw < 0.25:
        return _wrapped(claim, rng.choice(_PREFIXES[templates]), quoted=False)
    if draw < 0.40:
        return _wrapped(claim, rng.choice(_PREFIXES[templates]), quoted=True)
    return claim


def _true(sentence: str, premise: str, rng: random.Random, templates: Templates) -> Pair:
    edits: list[tuple[str, Edit | None]] = [
        ("identical", None),
        ("truncated", _truncated),
        ("clause_dropped", _clause_dropped),
        ("reworded", _REWORD[templates]),
        ("reworded", _REWORD[templates]),
    ]
    kind, edit = rng.choice(edits)
    claim = edit(sentence, rng) if edit else sentence
    if claim is None:
        kind, claim = "identical", sentence
    styled = _styled(claim, rng, templates)
    if kind == "identical" and styled != claim:
        kind = "quoted" if styled[-1] in '"\u201d' and not claim.endswith(styled[-1]) else "prefix"
    return Pair(premise, styled, 1, kind)
