"""Rows as small as a test can do with."""

from __future__ import annotations

from cardproof.records import Document, Message, Prompt, Rollout, Score
from cardproof.scoring.table import ScoreFields

DOCUMENTS = [
    Document(id="A#1", text="A loan may be renewed *twice*, unless\nanother reader has reserved the book.", role="oracle"),
    Document(id="B#2", text="Lost books must be paid for.", role="distractor"),
]


def prompt(contract: bool = True) -> Prompt:
    return Prompt(
        item=1,
        condition="clean",
        contract=contract,
        question="How often?",
        reference="Twice, unless another reader has reserved the book.",
        oracle_id="A#1",
        oracle_present=True,
        documents=DOCUMENTS,
        messages=[Message(role="user", content="How often?")],
        prompt_hash="h",
    )


def rollout(text: str, k: int = 0, prompt_hash: str = "h", item: int = 1) -> Rollout:
    return Rollout(
        item=item, k=k, arm="base", condition="clean", seed=1, text=text, prompt_tokens=9, completion_tokens=5, finish_reason="stop",
        model="m", model_hash="x", adapter_hash=None, prompt_hash=prompt_hash,
    )  # fmt: skip


def checked(fields: ScoreFields) -> Score:
    """A row of scores, held against the model of its file."""
    quotes = [{**v._asdict(), "steps": list(v.steps)} for v in fields.quotes]
    return Score.model_validate({**fields._asdict(), "quotes": quotes})
