"""Selection of training examples: by composite, above the threshold, each fallen candidate with a reason."""

from __future__ import annotations

import polars as pl

from cardproof.config.settings import Distill
from cardproof.records import Message
from cardproof.training.distill import select
from helpers.rows import prompt, rollout

GOOD = 'EVIDENCE:\n[A#1] "A loan may be renewed *twice*"\nANSWER: Twice [A#1].'


def row(k: int, composite: float, **more):
    values = {"strict": 1.0, "citation_validity": 1.0, "support": composite}
    return {"item": 1, "k": k, "refusal": False, "composite": composite, **values, **more}


def run(rows, texts, keep_top=2, cut=()):
    rollouts = [rollout(t, k).model_copy(update={"finish_reason": "length" if k in cut else "stop"}) for k, t in enumerate(texts)]

    def ask(p, contract):
        return [Message(role="user", content="contract" if contract else "freeform")]

    return select([prompt()], rollouts, pl.DataFrame(rows), Distill(n=8, keep_top=keep_top), ["INSUFFICIENT EVIDENCE"], ask)


def test_the_best_are_kept_and_each_other_falls_for_a_reason() -> None:
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
    assert (example.contract.messages[0].content, example.contract.reply) == ("contract", GOOD)
    assert (example.freeform.messages[0].content, example.freeform.reply) == ("freeform", "Twice [A#1].")
    assert summary["kept_per_item"] == {"0": 0, "1": 1}


def test_nothing_good_gives_nothing() -> None:
    examples, summary = run([row(0, 0.0, strict=0.0)], [GOOD])
    assert examples == []
    assert summary["items_with_examples"] == 0
