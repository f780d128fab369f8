"""One decoding step of several items: where their keys and values are, and the attention over them.

A step computes rows. A rollout has a row for its last token, and one for each token that is guessed after it. Attention goes item by item:
the rows of an item share the prompt's keys and values, and a rollout's rows share those of its reply.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from cardproof.models.cache import BLOCK, WIDTH, tokens_of_item
from cardproof.sampling import recorded
from cardproof.sampling.lookup import Reply

ATTENTION = "cardproof_shared_prefix"

HARMLESS = frozenset({"dropout", "is_causal", "position_ids", "position_embeddings", "use_cache", "logits_to_keep", "return_dict"})
"""What a layer may hand its attention without changing what one new token attends to."""

Guesses = list[list[int]]
"""Of an item's living rollouts, in their order: the tokens that are guessed to follow the last one."""


@dataclass
class Item:
    """One prompt and the rollouts that reply to it."""

    prefix: list[tuple[torch.Tensor, torch.Tensor]]
    """Per layer: the prompt's keys as `pieces` lays them out, and its values, (kv heads, prompt tokens, head dim). A layer with a sliding
    window has only the prompt's last tokens."""
    length: int
    n: int
    limit: int
    own: list[tuple[torch.Tensor, torch.Tensor]]
    """Per layer, of the living rollouts: keys of their replies, (kv heads, living, head dim, room), and values, (kv heads, living, room,
    head dim)."""
    generated: list[list[int]] = field(default_factory=list)
    alive: list[int] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    """Of every rollout, what its guesses are looked up in; empty where nothing is guessed."""
    steps: list[int] = field(default_factory=list)
    """Of every rollout: how many steps it has taken."""
    index: int = 0
    name: str = ""
    uniforms: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    """(N, max_new_tokens) random numbers in [0, 1)."""

    @property
    def tokens(self) -> int:
        """Tokens whose keys and values it may still come to hold."""
        return tokens_of_item(self.length, len(self.alive), self.limit)

    def written(self, rollout: int) -> int:
        """How many tokens of a reply have their keys and values stored: all but the last."""
        return len(self.generated[rollout]) - 1

    def grow(self, tokens: int) -> None:
        """Make room for so many tokens of each reply, by whole blocks and up to the longest reply."""
        more = min(-(-tokens // BLOCK) * BLOCK, self.limit) - self.own[0][0].shape[3]
        if more > 0:
            pad = torch.nn.functional.pad
            for layer, (keys, values) in enumerate(self.own):
                self.own[layer] = pad(keys, (0, more)), pad(values, (0, 0, 0, more))

    def keep(self, living: list[int]) -> None:
        """Give back the memory of rollouts that ended."""
        if len(living) < len(self.alive):
            at = torch.tensor([self.alive.index(k) for k in living], dtype=torch.long, device=self.own[0][0].device)
            for layer, (keys, values) in enumerate(self.own):
                self.own[layer] = keys.index_select(1, at), values.index_select(1, at)
        self.alive = living


class Row(NamedTuple):
    """One row of a step."""

    item: Item
    rollout: int
    token: int
    at: int
    """Where in the reply the token is."""


def rows_of(items: Sequence[Item], guesses: Sequence[Guesses]) -> list[Row]:
    """The rows of a step, item by item and rollout by rollout: each one's last token, and those guessed to follow it."""
    return [
        Row(item, rollout, token, item.written(rollout) + j)
        for item, of_item in zip(items, guesses, strict=True)
        for rollout, guessed in zip(item.alive, of_item, strict=True)
        for j, token in enumerate([item.generated[rollout][-1], *guessed])
    ]


class _Part:
    """An item's part of a step: its rows, and how they are laid out for the products.

    A rollout has as many *seats* as the one with the most rows needs; a seat too many repeats the rollout's last row. The prompt's keys are
    multiplied with the queries of N rollouts even if some have ended, because a product of fewer rows may differ in its last bits: another
    one is repeated in the place of each that ended. Nothing reads what is repeated. Indices are None where they would change nothing.
    """

    def __init__(self, item: Item, guesses: Guesses) -> None:
        self.item, self.living = item, len(item.alive)
        counts = [1 + len(some) for some in guesses]
        self.rows, self.seats = sum(counts), max(counts)
        self.at = [row.at for row in rows_of([item], [guesses])]
        """Per row: where in its reply its token is."""
        self.used = max(self.at) + 1
        item.grow(self.used)
        self._device = item.own[0][0].device
        first = [0, *accumulate(counts)][:-1]
        row_of_seat = [row + min(j, count - 1) for row, count in zip(first, counts, strict=True) for j in range(self.seats)]
        seat_of_row = [self.seats * rollout + j for rollout, count in enumerate(counts) for j in range(count)]
        self.row_of_seat, self.seat_of_row = self._index(row_of_seat, self.rows), self._index(seat_of_row, len(row_of_seat))
        rank = {k: at for at, k in enumerate(item.alive)}
        ranks = [rank.get(k, 0) for k in range(item.n)]
        self.ranks, self.places = self._index(ranks, self.living), self._index(item.alive, item.n)
        """Of each of N rollouts, or one that takes its place, which of the living it is; and of each living one, which of the N."""
        self._last = [self.at[row_of_seat[self.seats * at + j]] for at in ranks for j in range(self.seats)]
        self._hidden: dict[tuple[int, int | None], torch.Tensor] = {}
        self.even = len(set(self.at)) == 1
        """Whether each rollout has one row, at the same place of its reply as the others."""
        if not self.even:
            rollouts = [at for at, count in enumerate(counts) for _ in range(count)]
            self.cells = tuple(torch.tensor(x, device=self._device) for x in (rollouts, self.at))
        self.own = tuple((keys[..., : self.used].flatten(0, 1), values[:, :, : self.used].flatten(0, 1)) for keys, values in item.own)
        """Per layer: the keys and values of the replies, this step's included."""

    def _index(self, order: list[int], of: int) -> torch.Tensor | None:
        return None if order == list(range(of)) else torch.tensor(order, device=self._device)

    def store(self, layer: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Keep a layer's keys and values of the rows, (kv heads, rows, head dim)."""
        own_keys, own_values = self.item.own[layer]
        if self.even:
            own_keys[..., self.used - 1], own_values[:, :, self.used - 1] = keys, values
            return
        rollouts, at = self.cells
        own_keys.transpose(2, 3)[:, rollouts, at], own_values[:, rollouts, at] = keys, values

    def hidden(self, length: int, window: int | None) -> torch.Tensor | None:
        """(N x seats, 1, length + used): which keys a row does not see, after `length` of the prompt; None if all rows see all."""
        if self.even and (not window or length + self.used <= window):
            return None
        if (length, window) not in self._hidden:
            last = torch.tensor(self._last, device=self._device)[:, None, None] + length
            place = torch.arange(length + self.used, device=self._device)
            self._hidden[length, window] = (place > last) | (place <= last - window if window else False)
        return self._hidden[length, window]

    def attend(self, layer: int, query: torch.Tensor, window: int | None, softcap: float | None) -> torch.Tensor:
        """One softmax over the shared prefix and each rollout's own reply: scaled queries, (rows, heads, head dim), and results alike."""
        prefix_keys, prefix_values = self.item.prefix[layer]
        own_keys, own_values = self.own[layer]
        (pieces, kv_heads, _, width), (heads, dim) = prefix_keys.shape, query.shape[1:]
        n, living, length, group = self.item.n, self.living, prefix_values.shape[1], heads // kv_heads
        each = self.seats * group
        together, alone = (kv_heads, n * each, -1), (kv_heads * living, each, -1)
        mine = _picked(query.reshape(self.rows, kv_heads, group, dim).transpose(0, 1), self.row_of_seat)
        mine = mine.reshape(kv_heads, living, each, dim)
        q = _picked(mine, self.ranks).expand(pieces, -1, -1, -1, -1).reshape(-1, n * each, dim)
        # A row of scores for each head of each seat: first those of the shared prefix, piece by piece, then those of its own reply.
        shared = torch.bmm(q, prefix_keys.view(-1, dim, width)).view(pieces, *together).unbind()
        own = torch.bmm(mine.reshape(*alone[:2], dim), own_keys)
        own = _picked(own.view(kv_heads, living, each, -1), self.ranks).view(*together)
        scores = torch.cat((*shared[:-1], shared[-1][..., : length - (pieces - 1) * width], own), dim=-1)
        if softcap is not None:
            scores = torch.tanh(scores / softcap) * softcap
        if (unseen := self.hidden(length, window)) is not None:
            scores.view(kv_heads, n * self.seats, group, -1).masked_fill_(unseen, -torch.inf)
        weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
        result, apart = torch.bmm(weights[..., :length], prefix_values), weights[..., length:]
        if self.places is not None:
            result, apart = (_picked(x.unflatten(1, (n, each)), self.places) for x in (result, apart))
        result = result.view(*alone).baddbmm_(apart.reshape(*alone), own_values)
        return _picked(result.view(kv_heads, living * self.seats, group, dim), self.seat_of_row).transpose(0, 1)


def _picked(x: torch.Tensor, index: torch.Tensor | None) -> torch.Tensor:
    return x if index is None else x.index_select(1, index)


class Step(recorded.Step):
    """One decoding step of some items: it stores the step's keys and values with their items."""

    def __init__(self, items: Sequence[Item], guesses: Sequence[Guesses], rows: int) -> None:
        """`rows`: number of rows in the step, fillers included."""
        self.parts = [_Part(item, some) for item, some in zip(items, guesses, strict=True)]
        self.fill = rows - sum(part.rows for part in self.parts)

    def update(self, key: torch.Tensor, value: torch.Tensor, layer: int, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """See `recorded.Step`."""
        keys, values = key[:, :, 0].transpose(0, 1), value[:, :, 0].transpose(0, 1)
        row = 0
        for part in self.parts:
            part.store(layer, keys[:, row : row + part.rows], values[:, row : row + part.rows])
            row += part.rows
        return key, value

    def attend(self, layer: int, query: torch.Tensor, scaling: float, sliding_window: int | None, softcap: float | None) -> torch.Tensor:
        """See `recorded.Step`."""
        heads, dim = query.shape[1], query.shape[3]
        scaled = query[:, :, 0] * scaling
        results, row = [], 0
        for part in self.parts:
            results.append(part.attend(layer, scaled[row : row + part.rows], sliding_window, softcap))
            row += part.rows
        if self.fill:
            results.append(results[0][:1].expand(self.fill, -1, -1, -1))
        return torch.cat(results).view(-1, 1, heads, dim)


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    step: recorded.Step | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of one decoding step, as transformers calls it: (rows, heads, 1, head dim) -> (rows, 1, heads, head dim).

    A layer with a `sliding_window` sees that many positions, its own included; `softcap` bounds the scores (Gemma 2). TypeError if a layer
    asks for something else.
    """
    if step is None:
        raise TypeError("the layer does not pass on what its attention needs")
    if unknown := [name for name, value in kwargs.items() if name not in HARMLESS and value is not None]:
        raise TypeError(f"attention with {', '.join(unknown)}")
    layer = cast(int, module.layer_idx)
    return step.attend(layer, query, scaling, sliding_window, softcap), None


def pieces(keys: torch.Tensor, most: int = WIDTH) -> torch.Tensor:
    """(kv heads, tokens, head dim) -> (pieces, kv heads, head dim, width): keys laid out for the products; zeros pad the last.

    In pieces of at most `most` keys, because a product of few rows with a wide matrix reads the matrix a few numbers at a time, far apart
    in memory, on a CPU.
    """
    count = -(-keys.shape[1] // most)
    width = -(-keys.shape[1] // count)
    padded = torch.nn.functional.pad(keys, (0, 0, 0, count * width - keys.shape[1]))
    return padded.view(keys.shape[0], count, width, keys.shape[2]).permute(1, 0, 3, 2).contiguous()


ALL_ATTENTION_FUNCTIONS.register(ATTENTION, _attention)
