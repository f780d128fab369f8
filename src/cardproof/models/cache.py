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


def places_of(rows: int, guesses: int) -> int:
    """The most tokens that a step computes: each of the rows its last one, and those guessed after it."""
    return rows * (1 + guesses)


MARGIN = 0.1
"""Share of a GPU's free memory that stays free: for fragmentation and for what the libraries take for themselves. Assumed."""
FLOAT = 4


def temporaries(prompt: int, widest: int, hidden: int, vocabulary: int, places: int, width: int) -> int:
    """Bytes that sampling takes for moments: one layer's activations while a prompt is read, or the logits of a step and their softmax.

    While a prompt is read, three tensors of the feed-forward layer (the activated gate, its other half, their product) and four of the
    residual stream are there at once. `widest`: features of the widest linear layer; `places`: tokens that a step
    computes; `width`: bytes of a number in the compute type.
    """
    reading = prompt * (3 * widest + 4 * hidden) * width
    return max(reading, places * vocabulary * (width + 2 * FLOAT))


def room(free: float, of_moments: int) -> float:
    """Bytes for keys and values on a GPU with so many bytes free beside the weights."""
    return free * (1 - MARGIN) - of_moments
