"""The verifier's support for the answer of each rollout."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from cardproof.config.settings import Config
from cardproof.contract import form, reading
from cardproof.contract.reading import Terms
from cardproof.errors import CardproofError
from cardproof.files import read_rows, write_rows
from cardproof.records import Prompt, Rollout, Support
from cardproof.verifier.answers import clean_answer
from cardproof.verifier.model import Verifier, load


def support(config: Config, model: Path, work: Iterable[tuple[Path, Path, Path]]) -> None:
    """For each (prompts, samples, support) of `work`, let the verifier score the samples, and write the support file."""
    verifier = load(config, model)
    for prompts, samples, out in work:
        phrases = config.contract.refusal_phrases
        write_rows(out, support_rollouts(read_rows(prompts, Prompt), read_rows(samples, Rollout), verifier, phrases))


def support_rollouts(
    prompts: Sequence[Prompt], rollouts: Iterable[Rollout], verifier: Verifier, refusal_phrases: Sequence[str] = form.REFUSAL_PHRASES
) -> list[Support]:
    """The verifier's support for each rollout, in order (`support/{arm}/{condition}.jsonl`).

    The premises are the provided documents that a reply cites. If it cites none of them, they are all provided documents. This is an
    assumption: support asks whether the answer is true to the documents; citation validity already asks whether it names them. A refusal or
    an empty answer has no support. CardproofError if a rollout has no prompt.
    """
    by_item = {(p.item, p.condition): p for p in prompts}
    rows: list[tuple[Rollout, list[str]]] = []
    answers: list[tuple[str, list[str]]] = []
    for r in rollouts:
        prompt = by_item.get((r.item, r.condition))
        if prompt is None:
            raise CardproofError(
                f"Rollout k={r.k} of item {r.item} ({r.arm}, {r.condition}) has no prompt.",
                "give the prompts these rollouts were sampled from.",
            )
        terms = Terms.of(prompt, refusal_phrases)
        reply = reading.read(r.text, terms)
        answer = clean_answer(reply.answer, terms.ids)
        answered = not reply.refusal and re.search(r"\w", answer) is not None
        shown = premises_of(reply.citations, prompt) if answered else []
        texts = {d.id: d.text for d in prompt.documents}
        rows.append((r, shown))
        answers.append((answer if answered else "", [texts[i] for i in shown]))
    scored = verifier.support_all(answers, progress="verifier")
    return [
        Support(item=r.item, k=r.k, support=s.support if s.pairs else None, premises=shown, pairs=s.pairs, truncated=s.truncated)
        for (r, shown), s in zip(rows, scored, strict=True)
    ]


def premises_of(citations: Sequence[str], prompt: Prompt) -> list[str]:
    """Ids of the provided documents that are cited, in the order shown; the ids of all provided documents if none is cited."""
    ids = [d.id for d in prompt.documents]
    return [i for i in ids if i in set(citations)] or ids
