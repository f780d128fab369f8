"""Checks that the verifier works: on errors planted in this run's own rollouts, and on RAGTruth."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from cardproof import outside
from cardproof.config.settings import Config
from cardproof.contract import form, reading
from cardproof.contract.reading import Parsed, Terms
from cardproof.errors import CardproofError
from cardproof.files import iter_rows, parse_json, read_json, read_rows, sha256_file, write_json
from cardproof.records import Prompt, Rollout, Support
from cardproof.verifier.answers import clean_answer
from cardproof.verifier.auc import MIN_COUPLES, auc
from cardproof.verifier.model import Verifier, load
from cardproof.verifier.planted import ERRORS, plant
from cardproof.verifier.results import Coverage, Planted, PlantedErrors, RagTruth, VerifierMetrics
from cardproof.verifier.sentences import split_sentences, without_marker
from cardproof.verifier.support import premises_of

MAX_COUPLES = 60
"""Most couples of a true and an altered claim that are scored, of each sort."""
MAX_RESPONSES = 60
"""Most responses of RAGTruth that are scored."""
RAGTRUTH_FILES = ("response", "source_info")
"""RAGTruth's two files; the file names of a subset may have more text around these words."""

Claim = tuple[str, tuple[str, ...]]
"""A claim, and the documents that were shown for it."""


def check_verifier(
    config: Config, model: Path, prompts: Path, samples: Path, support: Iterable[Path], training: Path | None, out: Path
) -> VerifierMetrics:
    """Measure the verifier on a run's rollouts, and on RAGTruth if the configuration names its folder; write and return the metrics.

    `support`: the run's support files, whose pairs and cut premises are counted. `training`: the metrics of the verifier's training in this
    run, which become part of the metrics.
    """
    verifier = load(config, model)
    phrases = config.contract.refusal_phrases
    planted = check_planted(read_rows(prompts, Prompt), read_rows(samples, Rollout), verifier, config.seed, phrases)
    ragtruth = ragtruth_auc(Path(config.verifier.ragtruth), verifier) if config.verifier.ragtruth else None
    trained = read_json(training) if training else {"auc": {}}
    aucs = {**trained["auc"], "planted_sentences": planted.sentences.auc, "planted_answers": planted.answers.auc}
    if ragtruth:
        aucs["ragtruth"] = ragtruth.auc
    covered = coverage(chain.from_iterable(iter_rows(path, Support) for path in support))
    metrics = VerifierMetrics.model_validate({**trained, "auc": aucs, "planted": planted, "ragtruth": ragtruth, "coverage": covered})
    write_json(out, metrics)
    return metrics


def coverage(rows: Iterable[Support]) -> Coverage:
    """How much of the answers the verifier saw."""
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update(rollouts=1, answered=int(row.support is not None), pairs=row.pairs, truncated=row.truncated)
    return Coverage(**{name: counts[name] for name in Coverage.model_fields})


# --- planted errors ---------------------------------------------------------------------------------------------------


class Couple(NamedTuple):
    """A claim, and the same claim with one error planted."""

    kind: str
    altered: str
    original: str
    documents: tuple[str, ...]


def check_planted(
    prompts: Sequence[Prompt],
    rollouts: Iterable[Rollout],
    verifier: Verifier,
    seed: int,
    refusal_phrases: Sequence[str] = form.REFUSAL_PHRASES,
    limit: int = MAX_COUPLES,
) -> Planted:
    """Check that support falls when an error is planted in what real rollouts saw and said.

    The original and the altered claim are both scored against the documents that the rollout's support rests on. `sentences` are claims
    copied from those documents, or from quotes found in them word for word, so the original is true. `answers` are the rollouts' own
    answers. Nobody knows whether they are true, so their AUC understates the verifier. The held-out templates plant the errors; the seed
    draws at most `limit` couples of each sort. An AUC from fewer than MIN_COUPLES couples is None.
    """
    by_item = {(p.item, p.condition): p for p in prompts}
    copied: dict[Claim, None] = {}
    said: dict[Claim, None] = {}
    for r in rollouts:
        if prompt := by_item.get((r.item, r.condition)):
            terms = Terms.of(prompt, refusal_phrases)
            reply = reading.read(r.text, terms)
            texts = {d.id: d.text for d in prompt.documents}
            shown = tuple(texts[i] for i in premises_of(reply.citations, prompt))
            copied.update(dict.fromkeys((s, shown) for s in _true_claims(reply, shown)))
            answer = clean_answer(reply.answer, terms.ids)
            if not reply.refusal and len(answer.split()) >= 4:
                said[answer, shown] = None
    rng = random.Random(f"{seed}/planted")
    return Planted(
        sentences=_planted(list(copied), verifier, rng, limit, "planted errors, sentences"),
        answers=_planted(list(said), verifier, rng, limit, "planted errors, answers"),
        templates="held_out",
        seed=seed,
    )


def _true_claims(reply: Parsed, shown: Sequence[str]) -> list[str]:
    """Sentences of the documents, and the reply's quotes that are word for word in them, if they are 6 to 60 words long."""
    whole = " ".join(" ".join(shown).split())
    sentences = [without_marker(s) for text in shown for s in split_sentences(text)]
    quotes = [quote for text, *_ in reply.quotes if (quote := " ".join(text.split())) in whole]
    return [claim for claim in sentences + quotes if 6 <= len(claim.split()) <= 60]


def _planted(claims: Sequence[Claim], verifier: Verifier, rng: random.Random, limit: int, progress: str) -> PlantedErrors:
    couples = _couples(claims, rng, limit)
    scored = verifier.support_all([(text, c.documents) for c in couples for text in (c.original, c.altered)], progress)
    true, altered = [s.support for s in scored[::2]], [s.support for s in scored[1::2]]
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in zip(true, altered, strict=True)]
    by_kind = {}
    for kind in ERRORS["held_out"]:
        at = [i for i, c in enumerate(couples) if c.kind == kind]
        by_kind[kind] = auc([true[i] for i in at], [altered[i] for i in at], minimum=MIN_COUPLES)
    return PlantedErrors(
        auc=auc(true, altered, minimum=MIN_COUPLES),
        paired=sum(wins) / len(wins) if len(wins) >= MIN_COUPLES else None,
        couples=len(couples),
        by_kind=by_kind,
    )


def _couples(claims: Sequence[Claim], rng: random.Random, limit: int) -> list[Couple]:
    """At most `limit` couples from the claims in random order; kinds of error take turns."""
    couples: list[Couple] = []
    kinds = list(ERRORS["held_out"])
    for claim, shown in rng.sample(claims, len(claims)):
        turn = len(couples) % len(kinds)
        planted = ((kind, plant(claim, kind, rng, "held_out")) for kind in kinds[turn:] + kinds[:turn])
        error = next(((kind, altered) for kind, altered in planted if altered), None)
        if error and len(couples) < limit:
            couples.append(Couple(*error, claim, shown))
    return couples


# --- RAGTruth ---------------------------------------------------------------------------------------------------------


class Response(NamedTuple):
    """One of RAGTruth's responses to a question."""

    text: str
    hallucinated: bool
    source: str
    """Id of the question."""
    passages: list[str]


def ragtruth_auc(folder: Path, verifier: Verifier, limit: int | None = MAX_RESPONSES) -> RagTruth:
    """AUC of support for responses without annotated hallucinations against responses with them (RAGTruth, Niu et al. 2024).

    `folder` holds RAGTruth's `response.jsonl` and `source_info.jsonl`, or subsets of them with longer names. Only answers to questions
    (task `QA`) of the test part count, because the published verifier was trained on RAGTruth. Of each sort, `limit` / 2 responses (None:
    all) evenly spaced in file order are scored, with their passages as premises; the share of each sort does not change an AUC.
    CardproofError if the folder, a file or a field is missing.
    """
    paths = [_ragtruth_file(folder, part) for part in RAGTRUTH_FILES]
    responses = _evenly_spaced(_ragtruth_responses(*paths), limit)
    scored = verifier.support_all([(r.text, r.passages) for r in responses], "RAGTruth")
    clean = [s.support for s, r in zip(scored, responses, strict=True) if not r.hallucinated]
    hallucinated = [s.support for s, r in zip(scored, responses, strict=True) if r.hallucinated]
    return RagTruth(
        auc=auc(clean, hallucinated, minimum=MIN_COUPLES),
        clean=len(clean),
        hallucinated=len(hallucinated),
        sources=len({r.source for r in responses}),
        pairs=sum(s.pairs for s in scored),
        truncated=sum(s.truncated for s in scored),
        files={path.name: sha256_file(path) for path in paths},
    )


def _ragtruth_responses(responses: Path, sources: Path) -> list[Response]:
    """The responses to questions of the test part. A subset may leave out the columns that say so."""
    rows = _ragtruth_rows(sources, ("source_id", "source_info"))
    passages = {row["source_id"]: _ragtruth_passages(row["source_info"]) for row in rows if row.get("task_type", "QA") == "QA"}
    return [
        Response(row["response"], bool(row["labels"]), row["source_id"], passages[row["source_id"]])
        for row in _ragtruth_rows(responses, ("source_id", "labels", "response"))
        if row["source_id"] in passages and row.get("split", "test") == "test"
    ]


def _evenly_spaced(responses: Sequence[Response], limit: int | None) -> list[Response]:
    """`limit` / 2 clean responses, then as many hallucinated ones; all of them if `limit` is None."""
    each = len(responses) if limit is None else limit // 2
    sorts = ([r for r in responses if r.hallucinated == sort] for sort in (False, True))
    return [sort[i * len(sort) // min(each, len(sort))] for sort in sorts for i in range(min(each, len(sort)))]


def _ragtruth_file(folder: Path, part: str) -> Path:
    """The file with exactly this name, or else the only file whose name contains it."""
    if not folder.is_dir():
        raise CardproofError(
            f"verifier.ragtruth: there is no folder {folder}.",
            "give the folder of RAGTruth's response.jsonl and source_info.jsonl, or null to leave RAGTruth out.",
        )
    exact = folder / f"{part}.jsonl"
    paths = [exact] if exact.is_file() else sorted(folder.glob(f"*{part}*.jsonl"))
    if len(paths) != 1:
        listed = f"several: {', '.join(p.name for p in paths)}" if paths else "none"
        raise CardproofError(f"verifier.ragtruth: of files named *{part}*.jsonl, {folder} has {listed}.", f"keep one, {part}.jsonl.")
    return paths[0]


def _ragtruth_passages(info: Mapping[str, Any] | str) -> list[str]:
    text = info if isinstance(info, str) else str(info.get("passages", ""))
    return [p.strip() for p in re.split(r"^passage \d+:", text, flags=re.MULTILINE) if p.strip()]


def _ragtruth_rows(path: Path, fields: Sequence[str]) -> list[dict[str, Any]]:
    with outside.opened(path, outside.MOST_ROWS_BYTES) as f:
        lines = ((number, line) for number, line in enumerate(outside.lines(f, path), 1) if not line.isspace())
        rows: list[Any] = [parse_json(line, f"{path}, line {number}", "fetch it again.") for number, line in lines]
    for number, row in enumerate(rows, 1):
        if missing := [f for f in fields if not (isinstance(row, dict) and f in row)]:
            raise CardproofError(f"{path}, line {number}: field {missing[0]!r} is missing.", "the file must keep RAGTruth's own schema.")
    return rows
