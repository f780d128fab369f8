"""Decodes several items together; the N rollouts of an item share one copy of the prompt's keys and values.

A rollout's tokens must not depend on which other items are decoded at the same time. Three things ensure that. Linear layers are packed
(`cardproof.sampling.packed`), so a row's result is the same to the last bit for any number of rows from MIN_ROWS up. Attention is computed
item by item, always over all N rows of the item. And every rollout draws from its own counter-based random stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from cardproof.sampling.packed import pack
from cardproof.sampling.sampler import Decoding

MIN_ROWS = 4
"""Fewest rows of a decoding step. Copies fill it up, because a single row takes another kernel."""

WINDOW = 256
"""How many of the most probable tokens `choose` looks at first. Most nuclei fit."""

WIDTH = 400
"""The most keys of a prompt that are multiplied at once."""

ATTENTION = "cardproof_shared_prefix"


@dataclass
class Tokens:
    """One item's work: the prompt's tokens, how many of them are a prefix shared with other items, and a seed per rollout."""

    ids: list[int]
    common: int
    seeds: list[int]


@dataclass
class _Item:
    index: int
    prefix: list[tuple[torch.Tensor, torch.Tensor]]
    """Per layer: the prompt's keys as `_pieces` lays them out, and its values, (kv heads, prompt tokens, head dim)."""
    length: int
    uniforms: np.ndarray
    """(N, max_new_tokens) random numbers in [0, 1)."""
    n: int
    limit: int
    own_keys: torch.Tensor
    """Keys of the replies: (layers, kv heads, N, head dim, limit)."""
    own_values: torch.Tensor
    """Values of the replies: (layers, kv heads, N, limit, head dim)."""
    generated: list[list[int]] = field(default_factory=list)
    alive: list[int] = field(default_factory=list)
    last: list[int] = field(default_factory=list)
    step: int = 0


class _Step:
    """One decoding step of some items. transformers takes it for a cache; it stores the step's keys and values with their items.

    Attention is over slots, one for each of the N rollouts of each item even if it has ended, because a product of fewer rows may differ in
    its last bits. The slot of an ended rollout repeats some row, and nothing reads its result.
    """

    is_compileable = False

    def __init__(self, items: list[_Item], rows: int) -> None:
        """`rows`: number of rows in the step, fillers included."""
        self.items = items
        self.slots: torch.Tensor | None = None
        """(slots,) the row that each slot takes; None if slot and row are always the same."""
        self.rows: torch.Tensor | None = None
        """(rows,) the slot that each row's result is taken from."""
        self.own: list[tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]] = []
        """Per item: the keys and values of its replies, this step's included, each a tuple of layers."""
        device = items[0].own_keys.device
        rows_of_slots: list[int] = []
        slots_of_rows: list[int] = []
        first = 0
        for item in items:
            row = dict(zip(item.alive, range(len(slots_of_rows), rows), strict=False))
            rows_of_slots += [row.get(k, 0) for k in range(item.n)]
            slots_of_rows += [first + k for k in item.alive]
            first += item.n
            used = item.step + 1
            keys, values = item.own_keys[..., :used].flatten(1, 2), item.own_values[..., :used, :].flatten(1, 2)
            self.own.append((keys.unbind(), values.unbind()))
        if len(slots_of_rows) < max(rows, first):
            self.slots = torch.tensor(rows_of_slots, device=device)
            self.rows = torch.tensor(slots_of_rows + slots_of_rows[:1] * (rows - len(slots_of_rows)), device=device)

    def by_slot(self, x: torch.Tensor) -> torch.Tensor:
        """(rows, ...) -> (slots, ...)."""
        return x if self.slots is None else x.index_select(0, self.slots)

    def update(self, key: torch.Tensor, value: torch.Tensor, layer: int, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        keys, values = self.by_slot(key[:, :, 0]).transpose(0, 1), self.by_slot(value[:, :, 0]).transpose(0, 1)
        slot = 0
        for item in self.items:
            item.own_keys[layer, ..., item.step] = keys[:, slot : slot + item.n]
            item.own_values[layer, :, :, item.step] = values[:, slot : slot + item.n]
            slot += item.n
        return key, value

    def get_seq_length(self, layer: int = 0) -> int:
        return 0


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    step: _Step | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of one decoding step: for each item, one softmax over the shared prefix and each row's own suffix.

    query: (rows, heads, 1, head dim) -> (rows, 1, heads, head dim).
    """
    assert step is not None
    layer = cast(int, module.layer_idx)
    heads, dim = query.shape[1], query.shape[3]
    scaled = step.by_slot(query[:, :, 0] * scaling)
    results, slot = [], 0
    for item, (own_keys, own_values) in zip(step.items, step.own, strict=True):
        prefix_keys, prefix_values = item.prefix[layer]
        pieces, kv_heads, _, width = prefix_keys.shape
        n, length, group = item.n, item.length, heads // kv_heads
        together, alone = (kv_heads, n * group, -1), (kv_heads * n, group, -1)
        q = scaled[slot : slot + n].view(n, kv_heads, group, dim).transpose(0, 1)
        q = q.expand(pieces, -1, -1, -1, -1).reshape(-1, n * group, dim)
        slot += n
        # A row of scores for each head of each rollout: first those of the shared prefix, piece by piece, then those of its own reply.
        shared = torch.bmm(q, prefix_keys.view(-1, dim, width)).view(pieces, *together).unbind()
        own = torch.bmm(q[:kv_heads].view(*alone), own_keys[layer]).view(*together)
        scores = torch.cat((*shared[:-1], shared[-1][..., : length - (pieces - 1) * width], own), dim=-1)
        weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
        result = torch.bmm(weights[..., :length], prefix_values)
        result.view(*alone).baddbmm_(weights.view(*alone)[..., length:], own_values[layer])
        results.append(result.view(kv_heads, n, group, dim).transpose(0, 1))
    out = torch.cat(results).view(-1, 1, heads, dim)
    return out if step.rows is None else out.index_select(0, step.rows), None


def _pieces(keys: torch.Tensor) -> torch.Tensor:
    """(kv heads, tokens, head dim) -> (pieces, kv heads, head dim, width): keys laid out for the products; zeros pad the last.

    In pieces, because a product of few rows with a wide matrix reads the matrix a few numbers at a time, far apart in memory.
    """
    pieces = -(-keys.shape[1] // WIDTH)
    width = -(-keys.shape[1] // pieces)
    padded = torch.nn.functional.pad(keys, (0, 0, 0, pieces * width - keys.shape[1]))
    return padded.view(keys.shape[0], pieces, width, keys.shape[2]).permute(1, 0, 3, 2).contiguous()


ALL_ATTENTION_FUNCTIONS.register(ATTENTION, _attention)


def choose(logits: torch.Tensor, uniforms: np.ndarray, temperature: float, top_p: float) -> list[int]:
    """Draw one token per row by inverse CDF over the nucleus: the fewest most probable tokens whose mass reaches top_p.

    logits: (rows, vocabulary); uniforms: (rows,) in [0, 1). Temperature 0 is greedy. Exact, but without sorting the vocabulary: it looks
    only at as many of the most probable tokens as the nucleus needs.
    """
    if temperature == 0:
        return logits.argmax(dim=-1).tolist()
    probabilities = torch.softmax(logits.float().div(temperature), dim=-1)
    chosen = np.empty(len(uniforms), dtype=np.int64)
    rows = np.arange(len(uniforms))
    window = 0
    while len(rows):
        # Rows whose nucleus does not fit into the window are tried again with one sixteen times as wide.
        window = min(16 * window or WINDOW, logits.shape[-1])
        some = probabilities if len(rows) == len(uniforms) else probabilities[torch.from_numpy(rows)]
        top, ids = torch.topk(some, window, dim=-1)
        mass = top.double().cumsum(dim=-1).cpu().numpy()
        fits = (mass[:, -1] >= top_p) | (window == logits.shape[-1])
        last = np.minimum((mass < top_p).sum(axis=1), window - 1)
        aim = uniforms[rows] * np.take_along_axis(mass, last[:, None], axis=1)[:, 0]
        at = np.minimum((mass <= aim[:, None]).sum(axis=1), last)
        chosen[rows[fits]] = np.take_along_axis(ids.cpu().numpy(), at[:, None], axis=1)[fits, 0]
        rows = rows[~fits]
    return chosen.tolist()


class SharedPrefixDecoder:
    """Decodes items with one causal language model; see the module's docstring."""

    def __init__(self, model: Any, stop_ids: Sequence[int], rows: int) -> None:
        """`rows`: the most rollouts decoded together, but always at least one item. Packs the model's linear layers in place."""
        pack(model)
        self.model, self.stop_ids, self.rows = model, set(stop_ids), rows
        self.device = next(model.parameters()).device
        self._attention = ""
        self._common: tuple[tuple[int, ...], list[tuple[torch.Tensor, torch.Tensor]]] | None = None

    def _use(self, attention: str) -> None:
        if attention != self._attention:
            self.model.set_attn_implementation(attention)
            self._attention = attention

    @torch.inference_mode()
    def decode(self, work: Sequence[Tokens], decoding: Decoding) -> Iterator[tuple[int, list[list[int]]]]:
        """Yield (index into `work`, token ids of each rollout, stop token included) as items finish."""
        try:
            yield from self._decode(work, decoding)
        finally:
            self._use("sdpa")

    def _decode(self, work: Sequence[Tokens], decoding: Decoding) -> Iterator[tuple[int, list[list[int]]]]:
        waiting = list(enumerate(work))[::-1]
        active: list[_Item] = []
        while waiting or active:
            while waiting and (not active or sum(len(i.alive) for i in active) + len(waiting[-1][1].seeds) <= self.rows):
                index, tokens = waiting.pop()
                active.append(self._start(index, tokens, decoding))
            for item in [i for i in active if not i.alive]:
                yield item.index, item.generated
            active = [i for i in active if i.alive]
            if active:
                self._step(active, decoding)
                for item in [i for i in active if not i.alive]:
                    yield item.index, item.generated
                active = [i for i in active if i.alive]

    def _start(self, index: int, tokens: Tokens, decoding: Decoding) -> _Item:
        logits, prefix = self._prefill(tokens)
        n = len(tokens.seeds)
        # Philox is a counter-based generator: a stream is a pure function of its key.
        uniforms = np.stack([np.random.Generator(np.random.Philox(key=s)).random(decoding.max_new_tokens) for s in tokens.seeds])
        values, limit = prefix[0][1], decoding.max_new_tokens
        layers, heads, dim = len(prefix), values.shape[0], values.shape[2]
        own = values.new_zeros(layers, heads, n, dim, limit), values.new_zeros(layers, heads, n, limit, dim)
        item = _Item(index, prefix, len(tokens.ids), uniforms, n, limit, *own)
        item.generated, item.alive = [[] for _ in range(n)], list(range(n))
        self._accept(item, choose(logits.expand(n, -1), uniforms[:, 0], decoding.temperature, decoding.top_p))
        return item

    def _prefill(self, tokens: Tokens) -> tuple[torch.Tensor, list[tuple[torch.Tensor, torch.Tensor]]]:
        from transformers import DynamicCache

        self._use("sdpa")
        cache: Any = DynamicCache(config=self.model.config)
        head = tuple(tokens.ids[: tokens.common])
        if head:
            if self._common is None or self._common[0] != head:
                self.model(input_ids=torch.tensor([head], device=self.device), past_key_values=cache, use_cache=True, logits_to_keep=1)
                self._common = (head, [(layer.keys, layer.values) for layer in cache.layers])
                cache = DynamicCache(config=self.model.config)
            for number, (keys, values) in enumerate(self._common[1]):
                cache.update(keys, values, number)
        rest = torch.tensor([tokens.ids[tokens.common :]], device=self.device)
        logits = self.model(input_ids=rest, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1]
        return logits, [(_pieces(layer.keys[0]), layer.values[0].contiguous()) for layer in cache.layers]

    def _step(self, active: list[_Item], decoding: Decoding) -> None:
        ids = [item.last[r] for item in active for r in item.alive]
        positions = [item.length + item.step for item in active for _ in item.alive]
        real = len(ids)
        fill = max(0, MIN_ROWS - real)
        step = _Step(active, real + fill)
        self._use(ATTENTION)
        hidden = self.model.model(
            input_ids=torch.tensor(ids + ids[:1] * fill, device=self.device)[:, None],
            position_ids=torch.tensor(positions + positions[:1] * fill, device=self.device)[:, None],
            past_key_values=step,
            use_cache=True,
            step=step,
        ).last_hidden_state[:, 0]
        logits = self.model.lm_head(hidden)[:real]
        uniforms = np.concatenate([item.uniforms[item.alive, item.step + 1] for item in active])
        chosen = choose(logits, uniforms, decoding.temperature, decoding.top_p)
        row = 0
        for item in active:
            n = len(item.alive)
            item.step += 1
            self._accept(item, chosen[row : row + n])
            row += n

    def _accept(self, item: _Item, chosen: list[int]) -> None:
        if not item.last:
            item.last = [0] * item.n
        for r, token in zip(item.alive, chosen, strict=True):
            item.generated[r].append(token)
            item.last[r] = token
        item.alive = [r for r in item.alive if item.last[r] not in self.stop_ids and len(item.generated[r]) < item.limit]
