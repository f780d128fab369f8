"""Whether the verifier works: planted errors in this run's own rollouts, and RAGTruth."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from cardproof.config.settings import Config
from cardproof.contract import form, reading
from cardproof.errors import CardproofError
from cardproof.files import iter_rows, read_json, read_rows, sha256_file, write_json
from cardproof.records import Prompt, Rollout, Support
from cardproof.verifier.answers import clean_answer
from cardproof.verifier.auc import MIN_COUPLES, auc
from cardproof.verifier.model import Verifier, load
from cardproof.verifier.planted import ERRORS, plant
from cardproof.verifier.sentences import split_sentences, without_marker
from cardproof.verifier.support import premises_of


def check_verifier(
    config: Config, model: Path, prompts: Path, samples: Path, support: Iterable[Path], training: Path | None, out: Path
) -> dict[str, Any]:
    """Measure the verifier on a run's rollouts, and on RAGTruth where the configuration names its folder; writes and returns the metrics.

    `support`: the run's support files, whose pairs and cut premises are counted. `training`: the metrics of the verifier's training in this
    run, which are included.
    """
    verifier = load(config, model)
    phrases = config.contract.refusal_phrases
    planted = check_planted(read_rows(prompts, Prompt), read_rows(samples, Rollout), verifier, config.seed, phrases)
    metrics = read_json(training) if training else {"auc": {}}
    metrics["auc"] |= {f"planted_{sort}": planted[sort]["auc"] for sort in ("sentences", "answers")}
    ragtruth = ragtruth_auc(Path(config.verifier.ragtruth), verifier) if config.verifier.ragtruth else None
    if ragtruth:
        metrics["auc"]["ragtruth"] = ragtruth["auc"]
    seen = coverage(chain.from_iterable(iter_rows(path, Support) for path in support))
    metrics |= {"planted": planted, "ragtruth": ragtruth, "coverage": seen}
    write_json(out, metrics)
    return metrics


def coverage(rows: Iterable[Support]) -> dict[str, int]:
    """How much of the answers the verifier saw: rollouts, those with an answer to verify, their pairs, and pairs cut to its length."""
    found = {"rollouts": 0, "answered": 0, "pairs": 0, "truncated": 0}
    for row in rows:
        for name, count in zip(found, (1, row.support is not None, row.pairs, row.truncated), strict=True):
            found[name] += int(count)
    return found


def check_planted(
    prompts: Sequence[Prompt],
    rollouts: Iterable[Rollout],
    verifier: Verifier,
    seed: int,
    refusal_phrases: Sequence[str] = form.REFUSAL_PHRASES,
    limit: int = 60,
) -> dict[str, Any]:
    """Whether support falls when an error is planted, on what real rollouts saw and said.

    Original and altered claim are both scored against the documents the rollout's support rests on. `sentences`: claims copied from the
    documents shown or from quotes found in them word for word, so the original is true. `answers`: the rollouts' own answers, of which
    nobody knows that they are true, so its AUC understates the verifier. Errors are planted by the held-out templates, at most `limit`
    couples of each sort, drawn by the seed. Each holds `auc`, `paired` (share of couples in which the original scores higher, ties half),
    `couples`, and AUC by kind of error; AUCs from fewer than MIN_COUPLES couples are None.
    Costs some 2 x 2 x `limit` answers' scoring; rollouts of one condition with few documents are the cheapest.
    """
    by_item = {(p.item, p.condition): p for p in prompts}
    copied: dict[tuple[str, tuple[str, ...]], None] = {}
    said: dict[tuple[str, tuple[str, ...]], None] = {}
    for r in rollouts:
        prompt = by_item.get((r.item, r.condition))
        if prompt is None:
            continue
        reply = reading.parse(r.text, refusal_phrases)
        texts = {d.id: d.text for d in prompt.documents}
        shown = tuple(texts[i] for i in premises_of(reply.citations, prompt))
        whole = " ".join(" ".join(shown).split())
        verbatim = [without_marker(s) for t in shown for s in split_sentences(t)]
        verbatim += [q for q in (" ".join(q.text.split()) for q in reply.quotes) if q in whole]
        copied.update(dict.fromkeys((s, shown) for s in verbatim if 6 <= len(s.split()) <= 60))
        answer = clean_answer(reply.answer)
        if not reply.refusal and len(answer.split()) >= 4:
            said[answer, shown] = None
    rng = random.Random(f"{seed}/planted")
    return {
        "sentences": _planted(list(copied), verifier, rng, limit, "planted errors, sentences"),
        "answers": _planted(list(said), verifier, rng, limit, "planted errors, answers"),
        "templates": "held_out",
        "seed": seed,
    }


def _planted(
    claims: list[tuple[str, tuple[str, ...]]], verifier: Verifier, rng: random.Random, limit: int, progress: str
) -> dict[str, Any]:
    couples: list[tuple[str, str, str, tuple[str, ...]]] = []
    kinds = list(ERRORS["held_out"])
    for claim, shown in rng.sample(claims, len(claims)):
        turn = len(couples) % len(kinds)
        found = next(((k, new) for k in kinds[turn:] + kinds[:turn] if (new := plant(claim, k, rng, "held_out"))), None)
        if found and len(couples) < limit:
            couples.append((*found, claim, shown))
    scored = verifier.support_all([(c, s) for _, new, old, s in couples for c in (old, new)], progress)
    true, altered = [s.support for s in scored[::2]], [s.support for s in scored[1::2]]
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in zip(true, altered, strict=True)]
    by_kind = {}
    for kind in kinds:
        at = [i for i, c in enumerate(couples) if c[0] == kind]
        by_kind[kind] = auc([true[i] for i in at], [altered[i] for i in at], minimum=MIN_COUPLES)
    return {
        "auc": auc(true, altered, minimum=MIN_COUPLES),
        "paired": sum(wins) / len(wins) if len(wins) >= MIN_COUPLES else None,
        "couples": len(couples),
        "by_kind": by_kind,
    }


RAGTRUTH_FILES = ("response", "source_info")
"""What the names of RAGTruth's two files hold; a subset may be named otherwise around it."""


def ragtruth_auc(folder: Path, verifier: Verifier, limit: int | None = 60) -> dict[str, Any]:
    """AUC of support for responses without against those with annotated hallucinations (RAGTruth, Niu et al. 2024).

    `folder` holds RAGTruth's `response.jsonl` and `source_info.jsonl`, or subsets of them with more to their names. Taken are the answers
    to questions (task `QA`) of its test part: the published verifier was trained on RAGTruth. Of each sort, `limit` / 2 responses evenly
    spaced in file order, with their passages as premises (None: all); an AUC does not depend on the sorts' shares. `sources` says how many
    questions they answer, `files` the files' sha256. CardproofError where the folder, a file or a field is missing.
    """
    responses, infos = (_ragtruth_file(Path(folder), part) for part in RAGTRUTH_FILES)
    sources = {
        row["source_id"]: row["source_info"] for row in _rows(infos, ("source_id", "source_info")) if row.get("task_type", "QA") == "QA"
    }
    rows = _rows(responses, ("source_id", "labels", "response"))
    rows = [r for r in rows if r["source_id"] in sources and r.get("split", "test") == "test"]
    sorts = ([r for r in rows if not r["labels"]], [r for r in rows if r["labels"]])
    each = len(rows) if limit is None else limit // 2
    rows = [sort[i * len(sort) // min(each, len(sort))] for sort in sorts for i in range(min(each, len(sort)))]
    scored = verifier.support_all(
        [(r["response"], _ragtruth_passages(sources[r["source_id"]])) for r in rows],
        "RAGTruth",
    )
    clean = [s.support for s, r in zip(scored, rows, strict=True) if not r["labels"]]
    hallucinated = [s.support for s, r in zip(scored, rows, strict=True) if r["labels"]]
    return {
        "auc": auc(clean, hallucinated, minimum=MIN_COUPLES),
        "clean": len(clean),
        "hallucinated": len(hallucinated),
        "sources": len({r["source_id"] for r in rows}),
        "pairs": sum(s.pairs for s in scored),
        "truncated": sum(s.truncated for s in scored),
        "files": {path.name: sha256_file(path) for path in (responses, infos)},
    }


def _ragtruth_file(folder: Path, part: str) -> Path:
    """The file of one part: the one named so, else the only one whose name holds it."""
    if not folder.is_dir():
        raise CardproofError(
            f"verifier.ragtruth: there is no folder {folder}.",
            "give the folder of RAGTruth's response.jsonl and source_info.jsonl, or null to leave RAGTruth out.",
        )
    found = [folder / f"{part}.jsonl"] if (folder / f"{part}.jsonl").is_file() else sorted(folder.glob(f"*{part}*.jsonl"))
    if len(found) != 1:
        listed = f"several: {', '.join(p.name for p in found)}" if found else "none"
        raise CardproofError(f"verifier.ragtruth: of files named *{part}*.jsonl, {folder} holds {listed}.", f"keep one, {part}.jsonl.")
    return found[0]


def _ragtruth_passages(info: Mapping[str, Any] | str) -> list[str]:
    text = info if isinstance(info, str) else str(info["passages"])
    return [p.strip() for p in re.split(r"^passage \d+:", text, flags=re.MULTILINE) if p.strip()]


def _rows(path: Path, fields: Sequence[str]) -> list[dict[str, Any]]:
    import json

    try:
        rows: list[dict[str, Any]] = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    except ValueError as e:
        raise CardproofError(f"{path} is no valid JSON Lines: {e}.", "fetch it again.") from None
    for number, row in enumerate(rows, 1):
        if missing := [f for f in fields if f not in row]:
            raise CardproofError(f"{path}, line {number}: field {missing[0]!r} is missing.", "the file must keep RAGTruth's own schema.")
    return rows
