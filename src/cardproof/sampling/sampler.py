"""The protocol of a sampler, and the seed of a rollout.

A rollout depends only on (run seed, arm, condition, item, k), its prompt and the model. Each rollout has its own counter-based random
stream, so shards, restarts and the order of work do not change it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from cardproof.files import seeded_hash
from cardproof.records import Prompt


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


class Sampler(Protocol):
    """Draws N replies to each prompt; results come item by item, in any order."""

    model_hash: str
    adapter_hash: str | None

    def sample(self, work: Sequence[tuple[Prompt, list[int]]], decoding: Decoding) -> Iterator[tuple[int, list[Draw]]]:
        """Yield (index into `work`, draws in the order of the seeds) for each (prompt, seeds of its rollouts), as items finish."""
        ...


def stop_tokens(configured: int | list[int] | None, own: int | None) -> list[int]:
    """Tokens that end a reply: those that the generation config names, and the tokenizer's own end-of-sequence token."""
    ids = configured if isinstance(configured, list) else [configured]
    return sorted({i for i in [*ids, own] if i is not None})


def rollout_seed(run_seed: int, arm: str, condition: str, item: int, k: int) -> int:
    """The seed of one rollout's random stream: 53 bits of sha256 over its identity, so that any JSON reader keeps it exact."""
    return int(seeded_hash(run_seed, arm, condition, item, k)[:16], 16) >> 11
