"""Decodes several items together; the N rollouts of an item share one copy of the prompt's keys and values.

A rollout's tokens must not depend on which other items are decoded at the same time. Three things ensure that. Linear layers are packed
(`cardproof.sampling.packed`), so a row's result is the same to the last bit for any number of rows from MIN_ROWS up. Attention is computed
item by item, always over all N rows of the item. And every rollout draws from its own counter-based random stream.

Logits are what the model's own forward pass returns, scaled and capped as it does. Models and items that this decoder does not know go
through transformers' own generation, an item at a time: see `cardproof.sampling.kinds`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from cardproof.errors import CardproofError, brief
from cardproof.models.cache import BLOCK, WIDTH, budget_of, tokens_of_item
from cardproof.models.device import attention_of
from cardproof.sampling import kinds
from cardproof.sampling.generate import draw_with_generate
from cardproof.sampling.packed import pack
from cardproof.sampling.recorded import CudaRecorder, RecordedStep, Recorder, Step
from cardproof.sampling.sampler import Decoding, not_finite

MIN_ROWS = 4
"""Fewest rows of a decoding step. Copies fill it up, because a single row takes another kernel."""

WINDOW = 256
"""How many of the most probable tokens `choose` looks at first. Most nuclei fit."""

ATTENTION = "cardproof_shared_prefix"

HARMLESS = frozenset({"dropout", "is_causal", "position_ids", "position_embeddings", "use_cache", "logits_to_keep", "return_dict"})
"""What a layer may hand its attention without changing what one new token attends to."""


@dataclass
class Tokens:
    """One item's work: the prompt's tokens, how many of them are a prefix shared with other items, and a seed per rollout."""

    ids: list[int]
    common: int
    seeds: list[int]
    name: str = "a prompt"
    """What an error calls the item."""


@dataclass
class _Item:
    prefix: list[tuple[torch.Tensor, torch.Tensor]]
    """Per layer: the prompt's keys as `_pieces` lays them out, and its values, (kv heads, prompt tokens, head dim). A layer with a sliding
    window has only the prompt's last tokens."""
    length: int
    n: int
    limit: int
    own: list[tuple[torch.Tensor, torch.Tensor]]
    """Per layer, of the living rollouts: keys of their replies, (kv heads, living, head dim, room), and values, (kv heads, living, room,
    head dim)."""
    generated: list[list[int]] = field(default_factory=list)
    alive: list[int] = field(default_factory=list)
    last: list[int] = field(default_factory=list)
    step: int = 0
    index: int = 0
    name: str = ""
    uniforms: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    """(N, max_new_tokens) random numbers in [0, 1)."""

    @property
    def tokens(self) -> int:
        """Tokens whose keys and values it may still come to hold."""
        return tokens_of_item(self.length, len(self.alive), self.limit)

    def grow(self) -> None:
        """Make room for the next token of each reply, a block at a time."""
        if self.step < self.own[0][0].shape[3]:
            return
        more = min(BLOCK, self.limit - self.step)
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


class _Step(Step):
    """One decoding step of some items: it stores the step's keys and values with their items.

    A prompt's keys are multiplied with the queries of slots, one for each of the N rollouts of its item even if it has ended, because a
    product of fewer rows may differ in its last bits. The slot of an ended rollout repeats some row, and nothing reads its result.
    """

    def __init__(self, items: list[_Item], rows: int) -> None:
        """`rows`: number of rows in the step, fillers included."""
        self.items, self.fill = items, rows - sum(len(item.alive) for item in items)
        self.slots: list[torch.Tensor | None] = []
        """Per item: (N,) the living row that each slot takes; None if all N live."""
        self.places: list[torch.Tensor | None] = []
        """Per item: (living,) the slot of each living row; None if all N live."""
        self.own: list[tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]] = []
        """Per item: the keys and values of its replies, this step's included, each a tuple of layers."""
        device = items[0].own[0][0].device
        for item in items:
            item.grow()
            row = {k: at for at, k in enumerate(item.alive)}
            all_live = len(row) == item.n
            self.slots.append(None if all_live else torch.tensor([row.get(k, 0) for k in range(item.n)], device=device))
            self.places.append(None if all_live else torch.tensor(item.alive, device=device))
            used = item.step + 1
            keys = tuple(keys[..., :used].flatten(0, 1) for keys, _ in item.own)
            self.own.append((keys, tuple(values[:, :, :used].flatten(0, 1) for _, values in item.own)))

    def update(self, key: torch.Tensor, value: torch.Tensor, layer: int, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        keys, values = key[:, :, 0].transpose(0, 1), value[:, :, 0].transpose(0, 1)
        row = 0
        for item in self.items:
            own_keys, own_values = item.own[layer]
            living = slice(row, row + len(item.alive))
            own_keys[..., item.step], own_values[:, :, item.step] = keys[:, living], values[:, living]
            row = living.stop
        return key, value

    def attend(self, layer: int, query: torch.Tensor, scaling: float, sliding_window: int | None, softcap: float | None) -> torch.Tensor:
        """For each item, one softmax over the shared prefix and each row's own suffix."""
        heads, dim = query.shape[1], query.shape[3]
        scaled = query[:, :, 0] * scaling
        results, row = [], 0
        for item, slots, places, (own_keys, own_values) in zip(self.items, self.slots, self.places, self.own, strict=True):
            prefix_keys, prefix_values = item.prefix[layer]
            pieces, kv_heads, _, width = prefix_keys.shape
            n, living, length, group = item.n, len(item.alive), prefix_values.shape[1], heads // kv_heads
            together, alone = (kv_heads, n * group, -1), (kv_heads * living, group, -1)
            mine = scaled[row : row + living].reshape(living, kv_heads, group, dim).transpose(0, 1)
            row += living
            q = mine if slots is None else mine.index_select(1, slots)
            q = q.expand(pieces, -1, -1, -1, -1).reshape(-1, n * group, dim)
            # A row of scores for each head of each slot: first those of the shared prefix, piece by piece, then those of its own reply.
            shared = torch.bmm(q, prefix_keys.view(-1, dim, width)).view(pieces, *together).unbind()
            own = torch.bmm(mine.reshape(*alone[:2], dim), own_keys[layer])
            own = (own if slots is None else own.view(kv_heads, living, group, -1).index_select(1, slots)).view(*together)
            scores = torch.cat((*shared[:-1], shared[-1][..., : length - (pieces - 1) * width], own), dim=-1)
            if softcap is not None:
                scores = torch.tanh(scores / softcap) * softcap
            if sliding_window and length + item.step >= sliding_window:
                scores[..., : length + item.step + 1 - sliding_window] = -torch.inf
            weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
            result, apart = torch.bmm(weights[..., :length], prefix_values), weights[..., length:]
            if places is not None:
                result, apart = (x.unflatten(1, (n, group)).index_select(1, places) for x in (result, apart))
            result = result.view(*alone).baddbmm_(apart.reshape(*alone), own_values[layer])
            results.append(result.view(kv_heads, living, group, dim).transpose(0, 1))
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
    step: Step | None = None,
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


def _pieces(keys: torch.Tensor, most: int = WIDTH) -> torch.Tensor:
    """(kv heads, tokens, head dim) -> (pieces, kv heads, head dim, width): keys laid out for the products; zeros pad the last.

    In pieces of at most `most` keys, because a product of few rows with a wide matrix reads the matrix a few numbers at a time, far apart
    in memory, on a CPU.
    """
    pieces = -(-keys.shape[1] // most)
    width = -(-keys.shape[1] // pieces)
    padded = torch.nn.functional.pad(keys, (0, 0, 0, pieces * width - keys.shape[1]))
    return padded.view(keys.shape[0], pieces, width, keys.shape[2]).permute(1, 0, 3, 2).contiguous()


ALL_ATTENTION_FUNCTIONS.register(ATTENTION, _attention)


class NotFinite(Exception):
    """A row of logits with a number that is not finite; the argument is the row."""


def _check_finite(values: np.ndarray, rows: np.ndarray | None = None) -> None:
    """One value of each row that no number which is not finite leaves finite, such as its largest logit. NaN counts as the largest."""
    if not np.isfinite(values).all():
        at = int(np.flatnonzero(~np.isfinite(values))[0])
        raise NotFinite(at if rows is None else int(rows[at]))


def choose(logits: torch.Tensor, uniforms: np.ndarray, temperature: float, top_p: float) -> list[int]:
    """Draw one token per row by inverse CDF over the nucleus: the fewest most probable tokens whose mass reaches top_p.

    logits: (rows, vocabulary); uniforms: (rows,) in [0, 1). Temperature 0 is greedy. Exact, but without sorting the vocabulary: it looks
    only at as many of the most probable tokens as the nucleus needs. NotFinite if a row's logits are no distribution.
    """
    if temperature == 0:
        greedy = logits.argmax(dim=-1)
        _check_finite(logits.gather(-1, greedy[:, None])[:, 0].float().cpu().numpy())
        return greedy.tolist()
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
        _check_finite(mass[:, -1], rows)
        fits = (mass[:, -1] >= top_p) | (window == logits.shape[-1])
        last = np.minimum((mass < top_p).sum(axis=1), window - 1)
        aim = uniforms[rows] * np.take_along_axis(mass, last[:, None], axis=1)[:, 0]
        at = np.minimum((mass <= aim[:, None]).sum(axis=1), last)
        chosen[rows[fits]] = np.take_along_axis(ids.cpu().numpy(), at[:, None], axis=1)[fits, 0]
        rows = rows[~fits]
    return chosen.tolist()


class SharedPrefixDecoder:
    """Decodes items with one causal language model; see the module's docstring."""

    def __init__(
        self, model: Any, stop_ids: Sequence[int], rows: int, ended: Callable[[list[int]], bool] | None = None, memory: float | None = None
    ) -> None:
        """`rows`: the most rollouts decoded together, but always at least one item. Packs the model's linear layers in place.

        `memory`: bytes for keys and values, but always enough for one item; None: what as many whole items as fill the rows may need.
        A reply ends with a token of `stop_ids`, or where `ended` says so of its tokens. CardproofError if the packed model computes
        something else on this machine.
        """
        self.model, self.stop_ids, self.rows, self.ended, self.memory = model, set(stop_ids), rows, ended, memory
        self.device = next(model.parameters()).device
        # On a GPU the kernel, and with it the last bits, depends on the number of rows, so that number stays the same.
        self.least = rows if self.device.type == "cuda" else MIN_ROWS
        self.own = attention_of(model.config) or self._loaded_with()
        self._attention = str(model.config._attn_implementation)
        self._common: tuple[tuple[int, ...], list[tuple[torch.Tensor, torch.Tensor]]] | None = None
        self.kind = kinds.kind_of(model.config)
        self.recorder: Callable[[], Recorder] | None = None
        """What records a step; None: each step goes through the model's own forward pass."""
        self._recorded: RecordedStep | None = None
        if self.kind.shared:
            self._prepare()
            if self.device.type == "cuda":
                self.recorder = CudaRecorder

    def decoder_of(self, tokens: Tokens, limit: int) -> kinds.Decoder:
        """Which decoder draws an item's replies of at most `limit` tokens: it depends on the model and the item alone."""
        return self.kind.decoder(len(tokens.ids) + limit)

    @torch.inference_mode()
    def _prepare(self) -> None:
        """Compare the decoder with the model's own forward pass on a few tokens, pack the model, and compare again."""
        try:
            expected = self._try(self._forward)
            if not all(torch.isfinite(logits).all() for logits in expected):
                return pack(self.model)  # what is drawn from them stops the job, and names the item
            if not kinds.alike(self._try(self._decoded), expected):
                raise ValueError("other logits than the model's own")
        except Exception as e:  # whatever an unknown layer does with what it is given
            self.kind = kinds.Kind(0, f"cardproof's decoder does not fit this model ({brief(e, 120)})")
            print(f"cardproof: warning: {self.kind.why}; replies are drawn with transformers' own generation.", file=sys.stderr)
            return None
        finally:
            self._use(self.own)
        pack(self.model)
        if not kinds.alike(self._try(self._decoded), expected):
            raise CardproofError(
                "packed for this processor, the model computes other logits than before.",
                "use the pinned versions of torch and transformers.",
            )
        return None

    def _try(self, logits_of: Callable[[list[int], list[list[int]]], list[torch.Tensor]]) -> list[torch.Tensor]:
        """Logits of two prompts of unlike lengths and their given replies, however they are computed."""
        size = self.model.get_input_embeddings().weight.shape[0]
        token = iter((7 * i + 3) % size for i in range(100))

        def some(n: int) -> list[int]:
            return [next(token) for _ in range(n)]

        return [*logits_of(some(19), [some(3), some(3)]), *logits_of(some(12), [some(3)])]

    def _forward(self, ids: list[int], replies: list[list[int]]) -> list[torch.Tensor]:
        self._use(self.own)
        whole = [self.model(input_ids=torch.tensor([ids + reply], device=self.device), use_cache=False).logits[0] for reply in replies]
        return [logits[at] for at in range(len(ids) - 1, len(ids) + len(replies[0])) for logits in whole]

    def _decoded(self, ids: list[int], replies: list[list[int]]) -> list[torch.Tensor]:
        """The same by decoding, beside another item."""
        logits, other = self._open(Tokens(ids[3:], 0, [0, 0]), 4)
        other.last = [1, 2]
        logits, item = self._open(Tokens(ids, 0, [0] * len(replies)), 4)
        found = [*logits.expand(len(replies), -1)]
        for step in range(len(replies[0])):
            item.last = [reply[step] for reply in replies]
            found += self._advance([other, item])[other.n :]
        return found

    def _loaded_with(self) -> str:
        attention = str(self.model.config._attn_implementation)
        return attention if attention != ATTENTION else "sdpa"

    def _use(self, attention: str) -> None:
        if attention != self._attention:
            self.model.set_attn_implementation(attention)
            self._attention = attention

    @torch.inference_mode()
    def decode(self, work: Sequence[Tokens], decoding: Decoding) -> Iterator[tuple[int, list[list[int]]]]:
        """Yield (index into `work`, token ids of each rollout, stop token included) as items finish.

        CardproofError names the item whose logits are not finite.
        """
        shared: list[tuple[int, Tokens]] = []
        rest: list[tuple[int, Tokens]] = []
        for index, tokens in enumerate(work):
            (shared if self.decoder_of(tokens, decoding.max_new_tokens) == "shared-prefix" else rest).append((index, tokens))
        try:
            yield from self._decode(shared, decoding)
            self._use(self.own)
            for index, tokens in rest:
                yield index, self._generate(tokens, decoding)
        finally:
            self._use(self.own)

    def _generate(self, tokens: Tokens, decoding: Decoding) -> list[list[int]]:
        uniforms = _uniforms(tokens.seeds, decoding.max_new_tokens)

        def draw(logits: torch.Tensor, rows: list[int], step: int) -> list[int]:
            return self._choose(logits, uniforms[rows, step], decoding, [tokens.name] * len(rows))

        return draw_with_generate(self.model, tokens.ids, len(tokens.seeds), decoding.max_new_tokens, draw, self.is_last)

    def _decode(self, work: Sequence[tuple[int, Tokens]], decoding: Decoding) -> Iterator[tuple[int, list[list[int]]]]:
        waiting = list(work)[::-1]
        budget = budget_of(((len(t.ids), len(t.seeds)) for _, t in work), self.rows, decoding.max_new_tokens)
        active: list[_Item] = []
        while waiting or active:
            while waiting and (not active or self._fits(active, waiting[-1][1], decoding.max_new_tokens, budget)):
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

    def _fits(self, active: Sequence[_Item], tokens: Tokens, limit: int, budget: int) -> bool:
        """Whether an item can be decoded beside the others: within the rows, and within the memory even if no rollout ends early."""
        held = sum(item.tokens for item in active)
        if self.memory is not None:
            budget = int(self.memory // _bytes_per_token(active[0]))
        fits = held + tokens_of_item(len(tokens.ids), len(tokens.seeds), limit) <= budget
        return fits and sum(len(i.alive) for i in active) + len(tokens.seeds) <= self.rows

    def _start(self, index: int, tokens: Tokens, decoding: Decoding) -> _Item:
        logits, item = self._open(tokens, decoding.max_new_tokens)
        item.index, item.name, item.uniforms = index, tokens.name, _uniforms(tokens.seeds, decoding.max_new_tokens)
        self._accept(item, self._choose(logits.expand(item.n, -1), item.uniforms[:, 0], decoding, [item.name] * item.n))
        return item

    def _open(self, tokens: Tokens, limit: int) -> tuple[torch.Tensor, _Item]:
        """Read a prompt: the logits of its replies' first token, (1, vocabulary), and the item with room for `limit` tokens each."""
        logits, prefix = self._prefill(tokens)
        n = len(tokens.seeds)
        room = min(BLOCK, limit)
        own = [(v.new_zeros(v.shape[0], n, k.shape[2], room), v.new_zeros(v.shape[0], n, room, v.shape[2])) for k, v in prefix]
        item = _Item(prefix, len(tokens.ids), n, limit, own)
        item.generated, item.alive = [[] for _ in range(n)], list(range(n))
        return logits, item

    def _prefill(self, tokens: Tokens) -> tuple[torch.Tensor, list[tuple[torch.Tensor, torch.Tensor]]]:
        from transformers import DynamicCache

        self._use(self.own)
        cache: Any = DynamicCache(config=self.model.config)
        # A layer with a window forgets what is before it, so a longer prompt cannot be put after what it kept.
        head = () if any(cache.is_sliding) else tuple(tokens.ids[: tokens.common])
        if head:
            if self._common is None or self._common[0] != head:
                self.model(input_ids=torch.tensor([head], device=self.device), past_key_values=cache, use_cache=True, logits_to_keep=1)
                self._common = (head, [(layer.keys, layer.values) for layer in cache.layers])
                cache = DynamicCache(config=self.model.config)
            for number, (keys, values) in enumerate(self._common[1]):
                cache.update(keys, values, number)
        rest = torch.tensor([tokens.ids[len(head) :]], device=self.device)
        logits = self.model(input_ids=rest, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1]
        prefix = []
        for layer in cache.layers:  # one at a time, so that the keys are in memory twice for one layer only
            prefix.append((_pieces(layer.keys[0], WIDTH if self.device.type == "cpu" else sys.maxsize), layer.values[0].contiguous()))
            layer.keys = layer.values = None
        return logits, prefix

    def _advance(self, active: list[_Item]) -> torch.Tensor:
        """Compute one step: the logits of every living row, item by item, (rows, vocabulary)."""
        ids = [item.last[r] for item in active for r in item.alive]
        positions = [item.length + item.step for item in active for _ in item.alive]
        real = len(ids)
        fill = max(0, self.least - real)
        row_ids, row_positions = (torch.tensor(one + one[:1] * fill, device=self.device)[:, None] for one in (ids, positions))
        self._use(ATTENTION)
        logits = self._compute(row_ids, row_positions, _Step(active, real + fill))
        for item in active:
            item.step += 1
        return logits[:real]

    def _compute(self, ids: torch.Tensor, positions: torch.Tensor, step: _Step) -> torch.Tensor:
        """The logits of a step, recorded if it has the shape that all steps have: (rows, 1) twice -> (rows, vocabulary)."""
        if self.recorder is None or len(ids) != self.least:
            return self._call(ids, positions, step)
        if self._recorded is None:
            return self._record(self.recorder, ids, positions, step)
        return self._recorded(ids, positions, step)

    def _call(self, ids: torch.Tensor, positions: torch.Tensor, step: Any) -> torch.Tensor:
        asked = {"input_ids": ids, "position_ids": positions, "past_key_values": step, "use_cache": True, "step": step}
        logits: torch.Tensor = self.model(**asked).logits[:, -1]
        return logits

    def _record(self, recorder: Callable[[], Recorder], ids: torch.Tensor, positions: torch.Tensor, step: _Step) -> torch.Tensor:
        """Compute a step, record it for those that follow, and compare the two to the last bit; without success, record none."""
        expected = self._call(ids, positions, step)
        try:
            recorded = RecordedStep(self._call, len(ids), self.device, recorder())
            if not torch.equal(recorded(ids, positions, step), expected):
                raise ValueError("it computes other logits")
            self._recorded = recorded
            return expected
        except Exception as e:  # whatever a layer does that cannot be recorded
            self.recorder = None
            print(f"cardproof: warning: a step cannot be recorded ({brief(e, 120)}); replies take longer.", file=sys.stderr)
            return self._call(ids, positions, step)  # the failed one stored keys and values of its own

    def _step(self, active: list[_Item], decoding: Decoding) -> None:
        logits = self._advance(active)
        uniforms = np.concatenate([item.uniforms[item.alive, item.step] for item in active])
        chosen = self._choose(logits, uniforms, decoding, [item.name for item in active for _ in item.alive])
        row = 0
        for item in active:
            n = len(item.alive)
            self._accept(item, chosen[row : row + n])
            row += n

    def _choose(self, logits: torch.Tensor, uniforms: np.ndarray, decoding: Decoding, names: list[str]) -> list[int]:
        try:
            return choose(logits, uniforms, decoding.temperature, decoding.top_p)
        except NotFinite as e:
            raise not_finite(names[e.args[0]]) from None

    def is_last(self, reply: list[int]) -> bool:
        """Whether a reply ends with its last token."""
        return reply[-1] in self.stop_ids or (self.ended is not None and self.ended(reply))

    def _accept(self, item: _Item, chosen: list[int]) -> None:
        if not item.last:
            item.last = [0] * item.n
        for r, token in zip(item.alive, chosen, strict=True):
            item.generated[r].append(token)
            item.last[r] = token
        item.keep([r for r in item.alive if len(item.generated[r]) < item.limit and not self.is_last(item.generated[r])])


def _bytes_per_token(item: _Item) -> int:
    return sum((keys.shape[0] * keys.shape[2] + values.shape[0] * values.shape[3]) * keys.element_size() for keys, values in item.own)


def _uniforms(seeds: Sequence[int], limit: int) -> np.ndarray:
    """(seeds, limit) random numbers: Philox is a counter-based generator, a stream is a pure function of its key."""
    return np.stack([np.random.Generator(np.random.Philox(key=s)).random(limit) for s in seeds])
