"""Scores: every axis of one rollout, from its text, its prompt and its support."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from cardproof.config.settings import Scoring
from cardproof.contract import reading
from cardproof.contract.citing import citation_validity
from cardproof.contract.grounding import Match, match
from cardproof.contract.reading import Terms
from cardproof.errors import CardproofError
from cardproof.files import InStep, iter_rows
from cardproof.records import Prompt, Rollout, Support
from cardproof.scoring.rollouts import read_rollouts
from cardproof.scoring.rouge import Rouge
from cardproof.scoring.table import ScoreFields


def composite(axes: dict[str, float | None], factors: Sequence[str], refusal: bool) -> float:
    """Product of the named axes; 0.0 for a refusal or if an axis is undefined."""
    product = 0.0 if refusal else 1.0
    for factor in factors:
        product *= axes[factor] or 0.0
    return product


class Shown(NamedTuple):
    """What scoring needs of a prompt, for all of its rollouts."""

    prompt: Prompt
    documents: list[tuple[str, str]]
    """(id, text), in the order shown."""
    terms: Terms

    @classmethod
    def of(cls, prompt: Prompt, refusal_phrases: Sequence[str]) -> Shown:
        """Of one prompt."""
        return cls(prompt, [(d.id, d.text) for d in prompt.documents], Terms.of(prompt, refusal_phrases))


def _shares(quotes: Sequence[Match]) -> tuple[float, float, float]:
    """Shares of the quotes that are strict, are there after the ladder, and are in the document they cite; 0 without quotes."""
    if not quotes:
        return 0.0, 0.0, 0.0
    strict = content = attributed = 0
    for quote in quotes:
        strict += quote.strict
        content += quote.content
        attributed += quote.attributed
    return strict / len(quotes), content / len(quotes), attributed / len(quotes)


def score(shown: Shown, rollout: Rollout, support: float | None, settings: Scoring, rouge: Rouge) -> ScoreFields:
    """Every axis of one rollout."""
    prompt = shown.prompt
    reply = reading.read(rollout.text, shown.terms)
    quotes = [match(text, doc_id, shown.documents) for text, doc_id, _, _ in reply.quotes]
    rouge_l = 0.0 if reply.refusal else rouge(reply.answer, prompt.reference)
    strict, content, attribution = _shares(quotes)
    validity = citation_validity(reply.citations, shown.terms.ids.provided)
    axes = {"strict": strict, "content": content, "attribution": attribution, "citation_validity": validity, "support": support}
    factors = settings.factors(prompt.contract)
    return ScoreFields(
        item=rollout.item,
        k=rollout.k,
        arm=rollout.arm,
        condition=rollout.condition,
        oracle_present=prompt.oracle_present,
        refusal=reply.refusal,
        answer=reply.answer,
        citations=reply.citations,
        defects=reply.defects,
        quotes=quotes,
        strict=strict,
        content=content,
        attribution=attribution,
        citation_validity=validity,
        rouge_l=rouge_l,
        gold_rouge=float(rouge_l >= settings.rouge_threshold),
        support=support,
        composite=composite(axes, factors, reply.refusal),
        completion_tokens=rollout.completion_tokens,
        finish_reason=rollout.finish_reason,
        ladder=settings.ladder,
    )


def score_files(
    prompts_path: Path,
    samples_path: Path,
    support_path: Path,
    settings: Scoring,
    refusal_phrases: Sequence[str],
    arms: Collection[str],
    n: dict[str, int],
) -> Iterator[ScoreFields]:
    """Scores of a samples file, row by row; CardproofError if prompts, samples and support do not belong together.

    `arms` are those of the run, `n` is condition -> rollouts per item; see `read_rollouts`. The three files are in one order, as the steps
    write them, and are read in step, so the memory needed does not grow with them. Any other order only costs memory.
    """
    prompts = InStep(iter_rows(prompts_path, Prompt), lambda p: p.item)
    supports = InStep(iter_rows(support_path, Support), lambda s: (s.item, s.k))
    rouge = Rouge(settings.rouge_words)
    unfinished: dict[int, tuple[Shown, int]] = {}  # item -> its prompt, and rollouts still to come
    for rollout in read_rollouts(samples_path, arms, n):
        item, k = rollout.item, rollout.k
        if item in unfinished:
            shown, left = unfinished.pop(item)
        else:
            prompt = prompts.take(item)
            if prompt is None:
                raise CardproofError(f"{samples_path}: item {item} is not in {prompts_path}.", "sample these prompts again.")
            shown, left = Shown.of(prompt, refusal_phrases), n[rollout.condition]
        if left > 1:
            unfinished[item] = shown, left - 1
        if shown.prompt.prompt_hash != rollout.prompt_hash:
            raise CardproofError(
                f"{samples_path}: item {item}, k {k}: sampled from another prompt than the one in {prompts_path}.",
                "sample these prompts again.",
            )
        support = supports.take((item, k))
        if support is None:
            raise CardproofError(f"{support_path}: item {item}, k {k} is missing.", "verify these samples again.")
        yield score(shown, rollout, support.support, settings, rouge)
    if without := prompts.finish():
        raise CardproofError(f"{samples_path}: item {min(without)} of {prompts_path} has no rollouts.", "sample these prompts again.")
    supports.finish()
