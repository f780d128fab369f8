"""Decodes several items together; the N rollouts of an item share one copy of the prompt's keys and values.

A rollout's tokens must not depend on which other items are decoded at the same time. Three things ensure that. Linear layers are packed
(`cardproof.sampling.packed`), so a row's result is the same to the last bit for any number of rows from MIN_ROWS up. Attention is computed
item by item (`cardproof.sampling.step`). And every rollout draws from its own counter-based random stream.

The next tokens of a reply may be guessed from its prompt (`cardproof.sampling.lookup`). A step then computes the guessed places, too, and
draws a token at each with the random number of that place. A guess is kept if it is the token drawn there, so guessing changes how many
steps a reply takes, and not what is drawn.

Logits are what the model's own forward pass returns, scaled and capped as it does. Models and items that this decoder does not know go
through transformers' own generation, an item at a time: see `cardproof.sampling.kinds`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from cardproof.errors import CardproofError, brief
from cardproof.models.cache import BLOCK, WIDTH, budget_of, places_of, tokens_of_item
from cardproof.models.device import attention_of
from cardproof.sampling import kinds
from cardproof.sampling.generate import draw_with_generate
from cardproof.sampling.lookup import MATCH, Prompt, Reply
from cardproof.sampling.packed import pack
from cardproof.sampling.recorded import CudaRecorder, RecordedStep, Recorder
from cardproof.sampling.sampler import Decoding, not_finite
from cardproof.sampling.step import ATTENTION, Guesses, Item, Step, pieces, rows_of

MIN_ROWS = 4
"""Fewest rows of a decoding step. Copies fill it up, because a single row takes another kernel."""

WINDOW = 256
"""How many of the most probable tokens `choose` looks at first. Most nuclei fit."""


@dataclass
class Tokens:
    """One item's work: the prompt's tokens, how many of them are a prefix shared with other items, and a seed per rollout."""

    ids: list[int]
    common: int
    seeds: list[int]
    name: str = "a prompt"
    """What an error calls the item."""


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
        self,
        model: Any,
        stop_ids: Sequence[int],
        rows: int,
        ended: Callable[[list[int]], bool] | None = None,
        memory: float | None = None,
        guesses: int = 0,
    ) -> None:
        """`rows`: the most rollouts decoded together, but always at least one item. Packs the model's linear layers in place.

        `memory`: bytes for keys and values, but always enough for one item; None: what as many whole items as fill the rows may need.
        A reply ends with a token of `stop_ids`, or where `ended` says so of its tokens. `guesses`: the most tokens that are guessed for
        each rollout in a step. CardproofError if the packed model computes something else on this machine.
        """
        self.model, self.stop_ids, self.rows, self.ended, self.memory = model, set(stop_ids), rows, ended, memory
        self.guesses, self.places = guesses, places_of(rows, guesses)
        self.steps: dict[int, list[int]] = {}
        """Of each item of the work at hand that is finished: the steps that each rollout took, reading the prompt included."""
        self.device = next(model.parameters()).device
        # On a GPU the kernel, and with it the last bits, depends on the number of rows, so that number stays the same. Rows that no token
        # needs are computed anyway, and so even a poor guess is free.
        self.least, self.match = (self.places, 1) if self.device.type == "cuda" else (MIN_ROWS, MATCH)
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
        other.generated = [[1], [2]]
        logits, item = self._open(Tokens(ids, 0, [0] * len(replies)), 4)
        found = [*logits.expand(len(replies), -1)]
        step = 0
        while step < len(replies[0]):
            item.generated = [reply[: step + 1] for reply in replies]
            guesses = [reply[step + 1 : step + 3] if self.guesses else [] for reply in replies]
            rows = self._advance([other, item], [[[], []], guesses])[other.n :]
            places = 1 + len(guesses[0])
            found += [rows[places * k + j] for j in range(places) for k in range(len(replies))]
            other.generated = [[*reply, 3] for reply in other.generated]
            step += places
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
        self.steps = {}
        shared: list[tuple[int, Tokens]] = []
        rest: list[tuple[int, Tokens]] = []
        for index, tokens in enumerate(work):
            (shared if self.decoder_of(tokens, decoding.max_new_tokens) == "shared-prefix" else rest).append((index, tokens))
        try:
            yield from self._decode(shared, decoding)
            self._use(self.own)
            for index, tokens in rest:
                replies = self._generate(tokens, decoding)
                self.steps[index] = [len(reply) for reply in replies]
                yield index, replies
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
        active: list[Item] = []
        while waiting or active:
            while waiting and (not active or self._fits(active, waiting[-1][1], decoding.max_new_tokens, budget)):
                index, tokens = waiting.pop()
                active.append(self._start(index, tokens, decoding))
            if any(item.alive for item in active):
                self._step([item for item in active if item.alive], decoding)
            for item in active:
                if not item.alive:
                    self.steps[item.index] = item.steps
                    yield item.index, item.generated
            active = [item for item in active if item.alive]

    def _fits(self, active: Sequence[Item], tokens: Tokens, limit: int, budget: int) -> bool:
        """Whether an item can be decoded beside the others: within the rows, and within the memory even if no rollout ends early."""
        held = sum(item.tokens for item in active)
        if self.memory is not None:
            budget = int(self.memory // _bytes_per_token(active[0]))
        fits = held + tokens_of_item(len(tokens.ids), len(tokens.seeds), limit) <= budget
        return fits and sum(len(i.alive) for i in active) + len(tokens.seeds) <= self.rows

    def _start(self, index: int, tokens: Tokens, decoding: Decoding) -> Item:
        logits, item = self._open(tokens, decoding.max_new_tokens)
        item.index, item.name, item.uniforms = index, tokens.name, _uniforms(tokens.seeds, decoding.max_new_tokens)
        if self.guesses:
            prompt = Prompt(tokens.ids)
            item.replies = [Reply(prompt) for _ in range(item.n)]
        chosen = self._choose(logits.expand(item.n, -1), item.uniforms[:, 0], decoding, [item.name] * item.n)
        self._accept(item, [[token] for token in chosen])
        return item

    def _open(self, tokens: Tokens, limit: int) -> tuple[torch.Tensor, Item]:
        """Read a prompt: the logits of its replies' first token, (1, vocabulary), and the item with room for `limit` tokens each."""
        logits, prefix = self._prefill(tokens)
        n = len(tokens.seeds)
        room = min(BLOCK, limit)
        own = [(v.new_zeros(v.shape[0], n, k.shape[2], room), v.new_zeros(v.shape[0], n, room, v.shape[2])) for k, v in prefix]
        item = Item(prefix, len(tokens.ids), n, limit, own)
        item.generated, item.alive, item.steps = [[] for _ in range(n)], list(range(n)), [0] * n
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
            prefix.append((pieces(layer.keys[0], WIDTH if self.device.type == "cpu" else sys.maxsize), layer.values[0].contiguous()))
            layer.keys = layer.values = None
        return logits, prefix

    def _guess(self, active: list[Item]) -> list[Guesses]:
        """What is guessed for each living rollout: no more than makes `places` rows, and no more than the longest reply needs.

        Only an item with more rollouts than `rows`, which is alone, meets the first bound, so other items never change what is guessed.
        """
        left = self.places - sum(len(item.alive) for item in active)
        guesses: list[Guesses] = []
        for item in active:
            guesses.append([])
            for rollout in item.alive:
                most = min(self.guesses, left, item.limit - len(item.generated[rollout]) - 1)
                guesses[-1].append(item.replies[rollout].guess(most, self.match) if most > 0 else [])
                left -= len(guesses[-1][-1])
        return guesses

    def _advance(self, active: list[Item], guesses: list[Guesses]) -> torch.Tensor:
        """Compute one step: the logits of every row, item by item and rollout by rollout, (rows, vocabulary)."""
        step = rows_of(active, guesses)
        ids, positions = [row.token for row in step], [row.item.length + row.at for row in step]
        real = len(ids)
        fill = max(0, self.least - real)
        row_ids, row_positions = (torch.tensor(one + one[:1] * fill, device=self.device)[:, None] for one in (ids, positions))
        self._use(ATTENTION)
        return self._compute(row_ids, row_positions, Step(active, guesses, real + fill))[:real]

    def _compute(self, ids: torch.Tensor, positions: torch.Tensor, step: Step) -> torch.Tensor:
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

    def _record(self, recorder: Callable[[], Recorder], ids: torch.Tensor, positions: torch.Tensor, step: Step) -> torch.Tensor:
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

    def _step(self, active: list[Item], decoding: Decoding) -> None:
        guesses = self._guess(active)
        logits = self._advance(active, guesses)
        step = rows_of(active, guesses)
        uniforms = np.array([row.item.uniforms[row.rollout, row.at + 1] for row in step])
        drawn = iter(self._choose(logits, uniforms, decoding, [row.item.name for row in step]))
        for item, some in zip(active, guesses, strict=True):
            self._accept(item, [_kept([next(drawn) for _ in range(1 + len(guessed))], guessed) for guessed in some])

    def _choose(self, logits: torch.Tensor, uniforms: np.ndarray, decoding: Decoding, names: list[str]) -> list[int]:
        try:
            return choose(logits, uniforms, decoding.temperature, decoding.top_p)
        except NotFinite as e:
            raise not_finite(names[e.args[0]]) from None

    def is_last(self, reply: list[int]) -> bool:
        """Whether a reply ends with its last token."""
        return reply[-1] in self.stop_ids or (self.ended is not None and self.ended(reply))

    def _accept(self, item: Item, drawn: list[list[int]]) -> None:
        """Add tokens to the living rollouts, up to where a reply ends."""
        ended = set()
        for rollout, tokens in zip(item.alive, drawn, strict=True):
            reply = item.generated[rollout]
            item.steps[rollout] += 1
            for token in tokens:
                reply.append(token)
                if item.replies:
                    item.replies[rollout].add(token)
                if len(reply) == item.limit or self.is_last(reply):
                    ended.add(rollout)
                    break
        item.keep([rollout for rollout in item.alive if rollout not in ended])


def _kept(drawn: list[int], guessed: list[int]) -> list[int]:
    """The drawn tokens that count: those after guesses that came true, and the one after them."""
    right = next((j for j, (token, guess) in enumerate(zip(drawn, guessed, strict=False)) if token != guess), len(guessed))
    return drawn[: right + 1]


def _bytes_per_token(item: Item) -> int:
    return sum((keys.shape[0] * keys.shape[2] + values.shape[0] * values.shape[3]) * keys.element_size() for keys, values in item.own)


def _uniforms(seeds: Sequence[int], limit: int) -> np.ndarray:
    """(seeds, limit) random numbers: Philox is a counter-based generator, a stream is a pure function of its key."""
    return np.stack([np.random.Generator(np.random.Philox(key=s)).random(limit) for s in seeds])
