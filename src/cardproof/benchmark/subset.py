"""Choosing some of many by seed: the same choice for any order of the input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from cardproof.files import seeded_hash

T = TypeVar("T")


def subset(items: Sequence[T], most: int | None, seed: int, name: Callable[[T], object]) -> list[T]:
    """At most `most` items, in their order: those with the lowest sha256 over (seed, name). A larger subset includes the smaller one."""
    if most is None or most >= len(items):
        return list(items)
    ranked = sorted(items, key=lambda item: seeded_hash(seed, name(item)))
    chosen = {name(item) for item in ranked[:most]}
    return [item for item in items if name(item) in chosen]
