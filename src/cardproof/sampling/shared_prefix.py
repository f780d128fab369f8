"""Decoding of several items together, each item's N rollouts sharing one copy of the prompt's keys and values.

A rollout's tokens must not depend on which other items happen to be decoded beside it. Three things see to that: every linear layer is
given at least MIN_ROWS rows (from there on a row's result was measured to be the same to the last bit for any number of other rows);
attention is computed item by item over all N of its rows; and every rollout draws from its own counter-based random stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from cardproof.sampling import Decoding

MIN_ROWS = 16
"""Fewest rows a decoding step is run with; missing ones are filled with copies (below 12 rows, sgemm takes other kernels)."""

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
    """Per layer: keys and values of the prompt, (kv heads, prompt tokens, head dim)."""
    length: int
    uniforms: np.ndarray
    """(N, max_new_tokens) random numbers in [0, 1)."""
    n: int
    limit: int
    generated: list[list[int]] = field(default_factory=list)
    alive: list[int] = field(default_factory=list)
    last: list[int] = field(default_factory=list)
    step: int = 0
    suffix: list[tuple[torch.Tensor, torch.Tensor]] = field(default_factory=list)
    """Per layer: keys and values of the replies, (N, kv heads, limit, head dim)."""


class _StepCache:
    """Stands where transformers expects a cache: stores this step's keys and values with their items."""

    is_compileable = False

    def __init__(self, items: list[_Item]) -> None:
        self.items = items

    def update(self, key: torch.Tensor, value: torch.Tensor, layer: int, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        row = 0
        for item in self.items:
            rows = slice(row, row + len(item.alive))
            keys, values = item.suffix[layer]
            keys[item.alive, :, item.step] = key[rows, :, 0]
            values[item.alive, :, item.step] = value[rows, :, 0]
            row = rows.stop
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
    dropout: float = 0.0,
    step_items: list[_Item] | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of one decoding step: per item, one softmax over the shared prefix and each row's own suffix.

    query: (rows, heads, 1, head dim). Rows beyond the items' are fillers and get zeros.
    """
    assert step_items is not None
    layer: int = module.layer_idx  # type: ignore[assignment]
    heads, dim = query.shape[1], query.shape[3]
    out = torch.zeros(query.shape[0], 1, heads, dim, dtype=query.dtype, device=query.device)
    row = 0
    for item in step_items:
        rows = slice(row, row + len(item.alive))
        row = rows.stop
        prefix_k, prefix_v = item.prefix[layer]
        suffix_k, suffix_v = item.suffix[layer]
        kv_heads, length = prefix_k.shape[0], prefix_k.shape[1]
        group, used = heads // kv_heads, item.step + 1
        if len(item.alive) == item.n:
            q = query[rows, :, 0]
        else:
            q = query.new_zeros(item.n, heads, dim)
            q[item.alive] = query[rows, :, 0]
        q = (q * scaling).view(item.n, kv_heads, group, dim)
        by_head = q.transpose(0, 1).reshape(kv_heads, item.n * group, dim)
        scores = torch.empty(kv_heads, item.n * group, length + used, dtype=query.dtype, device=query.device)
        torch.matmul(by_head, prefix_k.transpose(1, 2), out=scores[:, :, :length])
        own = torch.matmul(q, suffix_k[:, :, :used].transpose(2, 3))
        scores[:, :, length:] = own.transpose(0, 1).reshape(kv_heads, item.n * group, used)
        weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
        result = torch.matmul(weights[:, :, :length], prefix_v).view(kv_heads, item.n, group, dim).transpose(0, 1)
        tail = weights[:, :, length:].reshape(kv_heads, item.n, group, used).transpose(0, 1)
        result = result + torch.matmul(tail, suffix_v[:, :, :used])
        out[rows, 0] = result.reshape(item.n, heads, dim)[item.alive]
    return out, None


ALL_ATTENTION_FUNCTIONS.register(ATTENTION, _attention)


def choose(logits: torch.Tensor, uniforms: np.ndarray, temperature: float, top_p: float) -> list[int]:
    """Draw one token per row by inverse CDF over the nucleus: the fewest most probable tokens whose mass reaches top_p.

    logits: (rows, vocabulary); uniforms: (rows,) in [0, 1). Temperature 0 is greedy. Exact: where the nucleus does not fit into the
    largest `window` tokens, the row is sorted in full.
    """
    if temperature == 0:
        return logits.argmax(dim=-1).tolist()
    logits = logits.float() / temperature
    total = torch.logsumexp(logits, dim=-1, keepdim=True)
    window = min(256, logits.shape[-1])
    top, ids = torch.topk(logits, window, dim=-1)
    mass = torch.exp(top - total).double().cumsum(dim=-1)
    chosen = []
    for row in range(logits.shape[0]):
        cumulative, candidates = mass[row], ids[row]
        if window < logits.shape[-1] and cumulative[-1] < top_p:
            ordered, candidates = torch.sort(logits[row], descending=True, stable=True)
            cumulative = torch.exp(ordered - total[row]).double().cumsum(dim=-1)
        last = min(int(torch.searchsorted(cumulative, top_p)), len(cumulative) - 1)
        at = int(torch.searchsorted(cumulative[: last + 1], float(uniforms[row]) * float(cumulative[last]), right=True))
        chosen.append(int(candidates[min(at, last)]))
    return chosen


class SharedPrefixDecoder:
    """Decodes items of one causal language model; see the module's docstring."""

    def __init__(self, model: Any, stop_ids: Sequence[int], rows: int) -> None:
        """`rows`: how many rollouts are decoded together at most (at least one item always is)."""
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
        item = _Item(index, prefix, len(tokens.ids), uniforms, n, decoding.max_new_tokens)
        item.generated, item.alive = [[] for _ in range(n)], list(range(n))
        for keys, values in prefix:
            shape = (n, keys.shape[0], decoding.max_new_tokens, keys.shape[2])
            item.suffix.append((keys.new_zeros(shape), values.new_zeros(shape)))
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
        return logits, [(layer.keys[0].contiguous(), layer.values[0].contiguous()) for layer in cache.layers]

    def _step(self, active: list[_Item], decoding: Decoding) -> None:
        ids = [item.last[r] for item in active for r in item.alive]
        positions = [item.length + item.step for item in active for _ in item.alive]
        real = len(ids)
        fill = max(0, MIN_ROWS - real)
        self._use(ATTENTION)
        hidden = self.model.model(
            input_ids=torch.tensor(ids + ids[:1] * fill, device=self.device)[:, None],
            position_ids=torch.tensor(positions + positions[:1] * fill, device=self.device)[:, None],
            past_key_values=_StepCache(active),
            use_cache=True,
            step_items=active,
        ).last_hidden_state[:, 0]
        # (W h^T)^T: two to three times faster than h W^T for a few rows of a large vocabulary.
        logits = (self.model.lm_head.weight @ hidden.T).T[:real]
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
