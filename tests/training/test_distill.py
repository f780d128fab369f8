"""Selection of training examples: by composite, above the threshold, and a reason against each candidate that is left out."""

from __future__ import annotations

import polars as pl
import pytest

from cardproof.config.settings import Config
from cardproof.contract import asking
from cardproof.errors import CardproofError
from cardproof.training.distill import select
from helpers.places import PROMPTS
from helpers.rows import DOCUMENTS, prompt, rollout

GOOD = 'EVIDENCE:\n[A#1] "A loan may be renewed *twice*"\nANSWER: Twice [A#1].'


def row(k: int, composite: float, **more):
    values = {"strict": 1.0, "citation_validity": 1.0, "support": composite}
    return {"item": 1, "k": k, "refusal": False, "composite": composite, **values, **more}


def run(rows, texts, keep_top=2, cut=(), **sections):
    rollouts = [rollout(t, k).model_copy(update={"finish_reason": "length" if k in cut else "stop"}) for k, t in enumerate(texts)]
    distill = {"n": 8, "keep_top": keep_top, **sections.pop("distill", {})}
    config = Config.model_validate({"distill": distill, **sections})
    return select(config, [prompt()], rollouts, pl.DataFrame(rows), PROMPTS)


def test_the_best_are_kept_and_each_other_is_left_out_for_a_reason() -> None:
    rows = [
        row(0, 0.2),
        row(1, 0.9),
        row(2, 0.9),
        row(3, 0.0, strict=0.0),
        row(4, 0.0, refusal=True),
        row(5, 0.8),
        row(6, 0.7),
        row(7, 0.0, citation_validity=0.0),
    ]
    texts = [f"{GOOD} {k}" for k in range(8)]
    texts[2] = texts[1]
    examples, summary = run(rows, texts, cut=(5,))
    assert [e.k for e in examples] == [1, 6]
    assert summary["kept"] == 2
    assert summary["fallen"] == {
        "citation_validity is zero": 1,
        "cut at the token limit": 1,
        "not among the best": 1,
        "refusal": 1,
        "strict is zero": 1,
        "the same text as a better candidate": 1,
    }
    assert summary["kept"] + sum(summary["fallen"].values()) == summary["candidates"]


def test_an_example_has_both_forms_and_ties_go_to_the_smaller_k() -> None:
    examples, summary = run([row(0, 0.5), row(1, 0.5)], [GOOD, GOOD + " So."], keep_top=1)
    (example,) = examples
    assert example.k == 0
    assert (example.contract.reply, example.freeform.reply) == (GOOD, "Twice [A#1].")
    for turn, contract in ((example.contract, True), (example.freeform, False)):
        assert turn.messages == asking.render("How often?", DOCUMENTS, contract, PROMPTS)
    assert summary["kept_per_item"] == {"0": 0, "1": 1}


def test_nothing_good_gives_nothing() -> None:
    examples, summary = run([row(0, 0.0, strict=0.0)], [GOOD])
    assert examples == []
    assert summary["items_with_examples"] == 0


@pytest.mark.parametrize(("asked", "trained"), [(True, True), ("candidates", True), (True, False), (False, True)])
def test_worked_examples_are_trained_on_only_if_asked_for_and_only_under_the_contract(asked: bool | str, trained: bool) -> None:
    (example,), _ = run([row(0, 0.5)], [GOOD], contract={"demonstration": asked}, distill={"demonstration": trained})
    assert (len(example.contract.messages) > 2) == (bool(asked) and trained)
    assert len(example.freeform.messages) == 2


@pytest.mark.parametrize(("scored", "message"), [({"item": 2}, "Item 2, k 0 has scores but no prompt"), ({"k": 1}, "no rollout")])
def test_scores_of_other_samples_are_refused(scored: dict[str, int], message: str) -> None:
    with pytest.raises(CardproofError, match=message):
        run([row(0, 0.5) | scored], [GOOD])
