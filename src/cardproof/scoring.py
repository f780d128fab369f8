"""Scores: every axis of one rollout, from its text, its prompt and the verifier's word."""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

from cardproof import contract
from cardproof.config import Scoring
from cardproof.errors import CardproofError
from cardproof.files import atomic, read_rows
from cardproof.grounding import ground
from cardproof.records import Prompt, Rollout, Score, Support
from cardproof.rollouts import read_rollouts


class Rouge:
    """ROUGE-L F1 with Porter stemming (Lin 2004), the value `rouge_score` computes from its own tokens, with the same arithmetic.

    Its tokenizer is used with stems kept (a few thousand words make all replies), and the longest common subsequence is rapidfuzz's.
    """

    def __init__(self) -> None:
        from nltk.stem.porter import PorterStemmer

        self.stem = lru_cache(maxsize=200_000)(PorterStemmer().stem)
        self._numbers: dict[str, int] = {}
        self._reference = lru_cache(maxsize=10_000)(self._tokens)

    def _tokens(self, text: str) -> list[int]:
        """A text's stems, each as a number of its own: numbers are compared exactly."""
        from rouge_score.tokenize import tokenize

        return [self._numbers.setdefault(token, len(self._numbers)) for token in tokenize(text, self)]

    def __call__(self, answer: str, reference: str) -> float:
        """F1 in [0, 1]."""
        from rapidfuzz.distance import LCSseq

        ours, theirs = self._tokens(answer), self._reference(reference)
        if not ours or not theirs:
            return 0.0
        common = LCSseq.similarity(ours, theirs)
        precision, recall = common / len(ours), common / len(theirs)
        return 2 * precision * recall / (precision + recall) if common else 0.0


def citation_validity(citations: Sequence[str], provided: Sequence[str]) -> float:
    """1.0 iff at least one document is cited and every cited id was provided."""
    return float(bool(citations) and set(citations) <= set(provided))


def share(flags: Sequence[bool]) -> float:
    """Share of true flags; 0.0 where there is none (a reply without quotes shows no grounding)."""
    return sum(flags) / len(flags) if flags else 0.0


def composite(axes: dict[str, float | None], factors: Sequence[str], refusal: bool) -> float:
    """Product of the named axes; 0.0 for a refusal or where an axis is undefined."""
    values = [axes[f] for f in factors]
    if refusal or any(v is None for v in values):
        return 0.0
    return math.prod(v for v in values if v is not None)


def score(prompt: Prompt, rollout: Rollout, support: Support, settings: Scoring, refusal_phrases: Sequence[str], rouge: Rouge) -> Score:
    """Every axis of one rollout."""
    reply = contract.parse(rollout.text, refusal_phrases)
    # Free-form replies carry no sections: the whole text is the answer.
    answer = reply.answer if prompt.contract or reply.answer else rollout.text.strip()
    quotes = ground(reply.quotes, prompt.documents)
    rouge_l = 0.0 if reply.refusal else rouge(answer, prompt.reference)
    axes: dict[str, float | None] = {
        "strict": share([q.strict for q in quotes]),
        "content": share([q.content for q in quotes]),
        "attribution": share([q.attributed for q in quotes]),
        "citation_validity": citation_validity(reply.citations, [d.id for d in prompt.documents]),
        "support": support.support,
    }
    factors = settings.composite if prompt.contract else settings.composite_freeform
    return Score.model_validate(
        {
            **axes,
            "item": rollout.item,
            "k": rollout.k,
            "arm": rollout.arm,
            "condition": rollout.condition,
            "oracle_present": prompt.oracle_present,
            "refusal": reply.refusal,
            "answer": answer,
            "citations": reply.citations,
            "defects": reply.defects,
            "quotes": quotes,
            "rouge_l": rouge_l,
            "gold_rouge": float(rouge_l >= settings.rouge_threshold),
            "composite": composite(axes, factors, reply.refusal),
            "completion_tokens": rollout.completion_tokens,
            "finish_reason": rollout.finish_reason,
        }
    )


def score_files(
    prompts_path: Path,
    samples_path: Path,
    support_path: Path,
    settings: Scoring,
    refusal_phrases: Sequence[str],
    arms: Collection[str],
    n: dict[str, int],
) -> Iterator[Score]:
    """Scores of a samples file, row by row; CardproofError where prompts, samples and support do not belong together.

    `arms` are those of the run, `n` is condition -> rollouts per item; see `read_rollouts`.
    """
    prompts = {p.item: p for p in read_rows(prompts_path, Prompt)}
    supports = {(s.item, s.k): s for s in read_rows(support_path, Support)}
    rouge = Rouge()
    for rollout in read_rollouts(samples_path, arms, n):
        prompt = prompts.get(rollout.item)
        if prompt is None:
            raise CardproofError(f"{samples_path}: item {rollout.item} is not in {prompts_path}.", "sample these prompts again.")
        if prompt.prompt_hash != rollout.prompt_hash:
            raise CardproofError(
                f"{samples_path}: item {rollout.item}, k {rollout.k}: sampled from another prompt than the one in {prompts_path}.",
                "sample these prompts again.",
            )
        support = supports.get((rollout.item, rollout.k))
        if support is None:
            raise CardproofError(f"{support_path}: item {rollout.item}, k {rollout.k} is missing.", "verify these samples again.")
        yield score(prompt, rollout, support, settings, refusal_phrases, rouge)


def parquet_schema() -> dict[str, Any]:
    """Column -> polars type of a scores file, from the fields of Score."""
    import polars as pl

    quote = pl.Struct(
        {
            "text": pl.String,
            "cited_id": pl.String,
            "kind": pl.String,
            "strict": pl.Boolean,
            "content": pl.Boolean,
            "attributed": pl.Boolean,
            "steps": pl.List(pl.String),
            "doc_id": pl.String,
            "start": pl.Int64,
            "end": pl.Int64,
        }
    )
    kinds: dict[Any, Any] = {bool: pl.Boolean, int: pl.Int64, float: pl.Float64, str: pl.String, float | None: pl.Float64}
    return {
        name: pl.List(quote) if name == "quotes" else kinds.get(field.annotation, pl.List(pl.String))
        for name, field in Score.model_fields.items()
    }


def write_scores(path: Path, scores: Iterator[Score]) -> int:
    """Write scores as Parquet (columns = fields of Score), atomically and with the same bytes for the same rows; returns how many."""
    import polars as pl

    frame = pl.DataFrame([s.model_dump() for s in scores], schema=parquet_schema(), orient="row")
    content = BytesIO()  # written at once: of a full disk, the library would not say more than that something failed
    frame.write_parquet(content, compression="zstd", statistics=False)
    with atomic(path) as tmp:
        tmp.write_bytes(content.getvalue())
    print(f"{path}: {frame.height} rollouts scored", file=sys.stderr)
    return frame.height
