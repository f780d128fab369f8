"""Sampling: from prompts to rollouts, with a backend behind one protocol.

A rollout depends on (run seed, arm, condition, item, k) and on the model alone: each has its own counter-based random stream, so shards,
restarts and the order of work change nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from cardproof.files import seeded_hash
from cardproof.records import Prompt


@dataclass(frozen=True)
class Decoding:
    """How a reply is drawn."""

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
        """For each (prompt, seed of each rollout) yield (index into `work`, draws in the seeds' order) as soon as the item is finished."""
        ...


def rollout_seed(run_seed: int, arm: str, condition: str, item: int, k: int) -> int:
    """Seed of one rollout's own random stream: 53 bits of sha256 over what the rollout depends on (exact in JSON everywhere)."""
    return int(seeded_hash(run_seed, arm, condition, item, k)[:16], 16) >> 11
