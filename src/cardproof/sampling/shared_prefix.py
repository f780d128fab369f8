"""Decoding of several items together, each item's N rollouts sharing one copy of the prompt's keys and values.

A rollout's tokens must not depend on which other items happen to be decoded beside it. Three things see to that: linear layers are packed
(`cardproof.sampling.packed`), so that a row's result is the same to the last bit for any number of other rows, MIN_ROWS or more;
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
from cardproof.sampling.packed import pack

MIN_ROWS = 4
"""Fewest rows a decoding step is run with; missing ones are filled with copies (a single row takes another kernel)."""

WINDOW = 256
"""How many of the most probable tokens are looked at first; most nuclei fit."""

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
    """Per layer: keys of the prompt, (kv heads, head dim, prompt tokens), and values, (kv heads, prompt tokens, head dim)."""
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
    """Per layer: keys of the replies, (kv heads, N, head dim, limit), and values, (kv heads, N, limit, head dim)."""

    @property
    def which(self) -> list[int] | slice:
        """The rollouts still decoded, as an index into all N: while none has ended a slice, which copies nothing."""
        return self.alive if len(self.alive) < self.n else slice(None)


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
            keys[:, item.which, :, item.step] = key[rows, :, 0].transpose(0, 1)
            values[:, item.which, item.step] = value[rows, :, 0].transpose(0, 1)
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
    out = query.new_zeros(query.shape[0], heads, dim)
    scaled = query[:, :, 0] * scaling
    row = 0
    for item in step_items:
        rows = slice(row, row + len(item.alive))
        row = rows.stop
        prefix_k, prefix_v = item.prefix[layer]
        kv_heads, length = prefix_v.shape[0], prefix_v.shape[1]
        n, group, used = item.n, heads // kv_heads, item.step + 1
        q = scaled[rows]
        if len(q) < n:  # products are of all N rows, whichever have ended: of fewer they may have other last bits
            q = scaled.new_zeros(n, heads, dim)
            q[item.which] = scaled[rows]
        by_head = q.view(n, kv_heads, group, dim).transpose(0, 1).reshape(kv_heads, n * group, dim)
        by_rollout = by_head.view(kv_heads * n, group, dim)
        own_keys, own_values = (part.flatten(0, 1) for part in item.suffix[layer])
        # A row of scores for each head of each rollout: first the shared prefix's, then the rollout's own.
        own = torch.bmm(by_rollout, own_keys[:, :, :used]).view(kv_heads, n * group, used)
        scores = torch.cat((torch.bmm(by_head, prefix_k), own), dim=-1)
        weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
        result = torch.bmm(weights[:, :, :length], prefix_v)
        result.view(kv_heads * n, group, dim).baddbmm_(weights.view(kv_heads * n, group, -1)[:, :, length:], own_values[:, :used])
        result = result.view(kv_heads, n, group, dim).transpose(0, 1)
        out[rows].view(-1, kv_heads, group, dim).copy_(result[item.which])
    return out[:, None], None


ALL_ATTENTION_FUNCTIONS.register(ATTENTION, _attention)


def choose(logits: torch.Tensor, uniforms: np.ndarray, temperature: float, top_p: float) -> list[int]:
    """Draw one token per row by inverse CDF over the nucleus: the fewest most probable tokens whose mass reaches top_p.

    logits: (rows, vocabulary); uniforms: (rows,) in [0, 1). Temperature 0 is greedy. Exact, without sorting the vocabulary: only as many of
    the most probable tokens are looked at as the nucleus needs.
    """
    if temperature == 0:
        return logits.argmax(dim=-1).tolist()
    probabilities = torch.softmax(logits.float().div(temperature), dim=-1)
    chosen = np.empty(len(uniforms), dtype=np.int64)
    rows = np.arange(len(uniforms))
    window = 0
    while len(rows):
        # Rows whose nucleus does not fit into the window are looked at again through one sixteen times as wide.
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
    """Decodes items of one causal language model; see the module's docstring."""

    def __init__(self, model: Any, stop_ids: Sequence[int], rows: int) -> None:
        """`rows`: how many rollouts are decoded together at most (at least one item always is). The model's linear layers are packed."""
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
        item = _Item(index, prefix, len(tokens.ids), uniforms, n, decoding.max_new_tokens)
        item.generated, item.alive = [[] for _ in range(n)], list(range(n))
        for _, values in prefix:
            heads, dim, limit = values.shape[0], values.shape[2], decoding.max_new_tokens
            item.suffix.append((values.new_zeros(heads, n, dim, limit), values.new_zeros(heads, n, limit, dim)))
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
        # Keys are kept transposed: scores are then a plain product.
        return logits, [(layer.keys[0].transpose(1, 2).contiguous(), layer.values[0].contiguous()) for layer in cache.layers]

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
