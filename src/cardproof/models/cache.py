"""Memory for keys and values while replies are decoded: one formula for the plan, for preflight and for the decoder itself.

An item's rollouts share one copy of its prompt's keys and values. Each living rollout adds those of its own reply, in blocks as it grows;
one that has ended gives its share back.
"""

from __future__ import annotations

from collections.abc import Iterable

BLOCK = 64
"""Tokens by which the memory of a reply grows."""
WIDTH = 400
"""The most keys of a prompt that are multiplied at once on a CPU; the last piece is filled up."""


def tokens_of_item(prompt: int, living: int, new: int) -> int:
    """Tokens whose keys and values an item may come to hold: its prompt, and `new` for each of its living rollouts."""
    return prompt + prompt // WIDTH + 1 + living * new


def budget_of(items: Iterable[tuple[int, int]], rows: int, new: int) -> int:
    """Tokens that a decoder of `rows` rows may hold at once: the most that as many whole items as fill the rows would.

    `items`: (prompt tokens, rollouts) of each; at least one item always fits.
    """
    return max((max(1, rows // n) * tokens_of_item(prompt, n, new) for prompt, n in items), default=0)
