"""Choosing some of many, evenly and by seed: the same choice for any order of the input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from cardproof.files import seeded_hash

T = TypeVar("T")


def subset(items: Sequence[T], most: int | None, seed: int, name: Callable[[T], object]) -> list[T]:
    """At most `most` items, those of lowest sha256 over (seed, name), in their given order; a larger subset holds the smaller one."""
    if most is None or most >= len(items):
        return list(items)
    ranked = sorted(items, key=lambda item: seeded_hash(seed, name(item)))
    chosen = {name(item) for item in ranked[:most]}
    return [item for item in items if name(item) in chosen]
