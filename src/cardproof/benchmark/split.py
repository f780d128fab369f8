"""The leakage-disjoint split: it measures the text that questions share, and keeps questions that share text on one side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Set
from typing import Any, NamedTuple

from cardproof.benchmark.passages import document_of, documents_of, is_section_of, word_ngrams
from cardproof.benchmark.retrieval import retriever
from cardproof.config import settings as config
from cardproof.errors import CardproofError
from cardproof.files import sha256_text
from cardproof.records import Passage, Question

Grams = Set[tuple[str, ...]]
MOST_DISTRACTORS = 10
"""The largest K that `leakage.json` counts train-side distractors for. It lists every K, so that no setting of a condition changes it."""


class Overlap(NamedTuple):
    """How much text two rows share."""

    value: float
    """Containment: shared word n-grams over those of the shorter text, in [0, 1]."""
    a: str
    b: str


class Halves(NamedTuple):
    """The two halves, with questions in their original order, and what was measured (`split/leakage.json`)."""

    train: list[Question]
    eval: list[Question]
    leakage: dict[str, Any]


def split(passages: list[Passage], questions: list[Question], settings: config.Split, seed: int) -> Halves:
    """Questions in two halves that share no passage, no document and no near-duplicate text.

    Two questions are joined if they share a document, if one's document is a section of the other's, or if their own texts, oracle passages
    or documents share at least `near_duplicate_threshold` of the shorter one's word n-grams. Each component of joined questions goes to one
    side. The train side gets `train_share` of the questions, or as near to it as whole components come; the seed chooses among equally good
    splits. CardproofError if a side would be empty.
    """
    texts = _texts(passages, questions, settings.ngram)
    groups, edges = components(questions, texts, settings.near_duplicate_threshold)
    target = settings.train_share * len(questions)
    chosen = choose([len(g) for g in groups], target, [_draw(seed, g[0].id) for g in groups])
    train_ids = {q.id for i in chosen for q in groups[i]}
    train = [q for q in questions if q.id in train_ids]
    held_out = [q for q in questions if q.id not in train_ids]
    if not train or not held_out:
        raise CardproofError(
            f"No leakage-disjoint split: the largest of {len(groups)} components has {max(map(len, groups), default=0)}"
            f" of {len(questions)} questions.",
            "raise near_duplicate_threshold, or add questions on other documents.",
        )
    leakage = {
        "method": "union of questions that share a document, a section or near-duplicate text; whole components by subset sum",
        "ngram": settings.ngram,
        "near_duplicate_threshold": settings.near_duplicate_threshold,
        "seed": seed,
        "questions": len(questions),
        "passages": len({id for q in questions for id in q.oracles}),
        "documents": len(documents_of(questions)),
        "joined": edges,
        "components": len(groups),
        "component_sizes": sorted(map(len, groups), reverse=True),
        "train_share": settings.train_share,
        "target": {"train": target, "eval": (1 - settings.train_share) * len(questions)},
        "achieved": {"train": len(train), "eval": len(held_out)},
        **measure(train, held_out, texts),
        "distractors": distractors(passages, train, held_out, settings.held_out_distractors),
    }
    return Halves(train, held_out, leakage)


class _Texts(NamedTuple):
    """Word n-grams of the texts that may leak, by id."""

    questions: Mapping[int, Grams]
    oracles: Mapping[str, Grams]
    """By passage id; only oracle passages."""
    documents: Mapping[str, Grams]
    """By document id, over all passages of the document; only documents with an oracle passage."""


def _texts(passages: list[Passage], questions: list[Question], n: int) -> _Texts:
    by_id = {p.id: p for p in passages}
    for q in questions:
        for gold in q.oracles:
            if gold not in by_id:
                raise CardproofError(
                    f"Question {q.called}: passage {gold!r} is not in the corpus.", "split the benchmark that acquire wrote."
                )
    asked = documents_of(questions)
    documents: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for p in passages:
        if document_of(p.id) in asked:
            documents[document_of(p.id)] |= word_ngrams(p.text, n)
    return _Texts(
        {q.id: word_ngrams(q.question, n) for q in questions},
        {id: word_ngrams(by_id[id].text, n) for q in questions for id in q.oracles},
        documents,
    )


def components(questions: list[Question], texts: _Texts, threshold: float) -> tuple[list[list[Question]], dict[str, int]]:
    """Groups of questions that share nothing with each other, in order of first appearance, and how many pairs joined by what."""
    near_questions = [p for p in shared(texts.questions) if p.value >= threshold]
    near_oracles = [p for p in shared(texts.oracles) if p.value >= threshold and document_of(p.a) != document_of(p.b)]
    near_documents = [p for p in shared(texts.documents) if p.value >= threshold]
    joined = _Union()
    for q in questions:
        for id in q.oracles:
            joined.union(("question", str(q.id)), ("document", document_of(id)))
    for p in near_questions:
        joined.union(("question", p.a), ("question", p.b))
    for p in near_oracles:
        joined.union(("document", document_of(p.a)), ("document", document_of(p.b)))
    for p in near_documents:
        joined.union(("document", p.a), ("document", p.b))
    sections = [(a, b) for a in texts.documents for b in texts.documents if is_section_of(a, b)]
    for a, b in sections:
        joined.union(("document", a), ("document", b))
    groups: dict[Hashable, list[Question]] = defaultdict(list)
    for q in questions:
        groups[joined.find(("question", str(q.id)))].append(q)
    counts = {
        "near_duplicate_questions": len(near_questions),
        "near_duplicate_passages": len(near_oracles),
        "near_duplicate_documents": len(near_documents),
        "sections": len(sections),
    }
    return list(groups.values()), counts


def shared(texts: Mapping[Any, Grams]) -> list[Overlap]:
    """Every pair of texts that shares an n-gram, in order. An inverted index finds them, because most pairs share none."""
    holders: dict[tuple[str, ...], list[Any]] = defaultdict(list)
    for id, grams in texts.items():
        for g in grams:
            holders[g].append(id)
    place = {id: i for i, id in enumerate(texts)}
    counts: dict[tuple[Any, Any], int] = defaultdict(int)
    for ids in holders.values():
        for i, a in enumerate(ids):
            for b in ids[i + 1 :]:
                counts[a, b] += 1
    pairs = sorted(counts, key=lambda p: (place[p[0]], place[p[1]]))
    return [Overlap(counts[a, b] / min(len(texts[a]), len(texts[b])), str(a), str(b)) for a, b in pairs]


def measure(train: list[Question], held_out: list[Question], texts: _Texts) -> dict[str, Any]:
    """What train and eval still share: passages and documents (none, by construction), and the largest overlap of each kind of text."""

    def crossing(of: Mapping[Any, Grams], side: Mapping[str, bool]) -> dict[str, Any]:
        over = [p for p in shared(of) if side[p.a] != side[p.b]]
        if not over:
            return {"value": 0.0, "train": None, "eval": None}
        worst = max(over, key=lambda p: p.value)
        a, b = (worst.a, worst.b) if side[worst.a] else (worst.b, worst.a)
        return {"value": round(worst.value, 6), "train": a, "eval": b}

    sides = [(q, True) for q in train] + [(q, False) for q in held_out]
    passages = [{id for q in half for id in q.oracles} for half in (train, held_out)]
    documents = [documents_of(half) for half in (train, held_out)]
    return {
        "shared_passages": len(passages[0] & passages[1]),
        "shared_documents": len(documents[0] & documents[1]),
        "max_overlap": {
            "questions": crossing(texts.questions, {str(q.id): side for q, side in sides}),
            "oracle_passages": crossing(texts.oracles, {id: side for q, side in sides for id in q.oracles}),
            "documents": crossing(texts.documents, {document_of(id): side for q, side in sides for id in q.oracles}),
        },
    }


def distractors(passages: list[Passage], train: list[Question], held_out: list[Question], kept_out: bool) -> dict[str, Any]:
    """How many of the K passages nearest to each held-out question are of the train side, for K = 1, 2, ...

    `shown` counts all of them, `train_documents` those of a document with a question of the train side, `train_oracles` those that answer
    such a question. With `kept_out` none is drawn from those documents. K ends where the corpus has no more.
    """
    documents, oracles = documents_of(train), {id for q in train for id in q.oracles}
    pool = [p for p in passages if not kept_out or document_of(p.id) not in documents]
    by_id = {p.id: p for p in passages}
    # The oracle and what nearly repeats it are never drawn; a small corpus has fewer to give.
    most = min(MOST_DISTRACTORS, max(0, len(pool) - 1))
    found: dict[str, Any] = {"kept_out": kept_out, "by_k": {}}
    for k in range(most, 0, -1):
        try:
            nearest = retriever(pool, k)
            drawn = [nearest(q.question, [by_id[id] for id in q.oracles])[0] for q in held_out]
        except CardproofError:
            continue
        for n in range(1, k + 1):
            shown = [p.id for row in drawn for p in row[:n]]
            found["by_k"][str(n)] = {
                "shown": len(shown),
                "train_documents": sum(document_of(id) in documents for id in shown),
                "train_oracles": sum(id in oracles for id in shown),
            }
        break
    return found


def choose(sizes: list[int], target: float, draws: list[int]) -> list[int]:
    """Indices of components whose sizes sum to `target`, or as near to it as possible; `draws` decide between equally good choices.

    All sums are found first, as the bits of one number: with up to a hundred components, trying every choice is impossible.
    """
    order = sorted(range(len(sizes)), key=lambda i: (draws[i], i))
    # reach[k]: bit s is set if some of the first k components sum to s.
    reach = [1]
    for i in order:
        reach.append(reach[-1] | reach[-1] << sizes[i])
    total = sum(sizes)
    sums = [s for s in range(total + 1) if reach[-1] >> s & 1]
    # Take an empty or full side only if no other split exists.
    best = min([s for s in sums if 0 < s < total] or sums, key=lambda s: (abs(s - target), s if sum(draws) % 2 else -s))
    chosen = []
    for k in range(len(order), 0, -1):
        i = order[k - 1]
        without, with_it = reach[k - 1] >> best & 1, best >= sizes[i] and reach[k - 1] >> (best - sizes[i]) & 1
        if with_it and (not without or draws[i] & 1):
            chosen.append(i)
            best -= sizes[i]
    return sorted(chosen)


def _draw(seed: int, id: int) -> int:
    # A hash, not random.Random, gives the same split on every Python version.
    return int(sha256_text(f"{seed}/{id}")[:16], 16)


class _Union:
    """Disjoint sets of hashable things."""

    def __init__(self) -> None:
        self._up: dict[Hashable, Hashable] = {}

    def find(self, x: Hashable) -> Hashable:
        """The representative of x's set."""
        path: list[Hashable] = []
        while (up := self._up.setdefault(x, x)) != x:
            path.append(x)
            x = up
        self._up.update(dict.fromkeys(path, x))
        return x

    def union(self, a: Hashable, b: Hashable) -> None:
        """Join the sets of a and b."""
        self._up[self.find(a)] = self.find(b)
