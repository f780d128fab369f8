"""The protocol of a sampler, and the seed of a rollout.

A rollout depends only on (run seed, arm, condition, item, k), its prompt and the model. Each rollout has its own counter-based random
stream, so shards, restarts and the order of work do not change it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from cardproof.errors import CardproofError
from cardproof.files import seeded_hash


@dataclass(frozen=True)
class Decoding:
    """The settings for drawing a reply."""

    temperature: float
    top_p: float
    max_new_tokens: int


@dataclass(frozen=True)
class Draw:
    """One reply as a backend returns it."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: Literal["stop", "length"]
    decoder: Literal["shared-prefix", "generate", "vllm"]
    guessed: int = 0
    """How many of its tokens were guessed before they were drawn: each saved a step."""


@dataclass(frozen=True)
class Task:
    """One prompt to reply to."""

    ids: list[int]
    """The prompt's tokens."""
    common: int
    """How many of them are a prefix shared with other prompts."""
    before: str
    """What the reply begins with: an opening of reasoning by the chat template, and the reply's prefix."""
    seeds: list[int]
    """One for each rollout."""
    name: str
    """What an error calls it."""


class Sampler(Protocol):
    """Draws N replies to each prompt; results come item by item, in any order."""

    model_hash: str
    adapter_hash: str | None

    def sample(self, work: Sequence[Task], decoding: Decoding) -> Iterator[tuple[int, list[Draw]]]:
        """Yield (index into `work`, draws in the order of the seeds) for each task, as they finish."""
        ...


def not_finite(name: str) -> CardproofError:
    """The error over logits that are no numbers; `name` is the item's."""
    return CardproofError(
        f"the model's logits for {name} are not finite numbers, so no token can be drawn.",
        "check the weights of model and adapter; a training that diverged leaves such an adapter.",
    )


def rollout_seed(run_seed: int, arm: str, condition: str, item: int, k: int) -> int:
    """The seed of one rollout's random stream: 53 bits of sha256 over its identity, so that any JSON reader keeps it exact."""
    return int(seeded_hash(run_seed, arm, condition, item, k)[:16], 16) >> 11
