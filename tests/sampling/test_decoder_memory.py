"""What the decoder holds: never more than the plan's formula, whatever the replies' lengths; and full rows where memory allows."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from cardproof.models.cache import budget_of
from cardproof.sampling.sampler import Decoding
from cardproof.sampling.shared_prefix import SharedPrefixDecoder, Tokens
from helpers.decoding import random_model

N, ROWS, LIMIT, STOP = 8, 48, 96, 2
BYTES_PER_TOKEN = 3 * 2 * 2 * 32 * 4
"""Layers x (keys and values) x kv heads x head dim x float32, of the random model."""
DEMO = (
    (69, 71, 71, 72, 87, 89, 96, 96),
    (48, 51, 57, 57, 64, 64, 96, 96),
    (59, 96, 96, 96, 96, 96, 96, 96),
    (42, 60, 68, 72, 96, 96, 96, 96),
    (49, 51, 57, 58, 79, 89, 96, 96),
    (95, 96, 96, 96, 96, 96, 96, 96),
    (55, 58, 63, 64, 67, 72, 73, 87),
    (63, 68, 82, 85, 96, 96, 96, 96),
)
"""Lengths of replies to eight items, as the base model of a demo run wrote them."""


class Forced(SharedPrefixDecoder):
    """Replies of given lengths; it writes down, after every step, the rows that live and the bytes that are held."""

    def force(self, lengths: Sequence[Sequence[int]]) -> None:
        self.lengths, self.seen = lengths, list[tuple[int, int, int]]()

    def _accept(self, item: Any, drawn: list[list[int]]) -> None:
        ends = self.lengths[item.index]
        super()._accept(item, [[STOP if len(item.generated[r]) + 1 == ends[r] else 5] for r in item.alive])

    def _step(self, active: list[Any], decoding: Decoding) -> None:
        living = sum(len(item.alive) for item in active)
        held = sum(t.untyped_storage().nbytes() for item in active for pair in [*item.prefix, *item.own] for t in pair)
        super()._step(active, decoding)
        after = sum(t.untyped_storage().nbytes() for item in active for pair in [*item.prefix, *item.own] for t in pair)
        self.seen.append((living, max(held, after), max((item.index for item in active), default=0)))


def lengths_of(case: str, items: int) -> list[list[int]]:
    draw = random.Random(1)
    if case == "staggered":  # one rollout of each item goes on to the end: the worst for a decoder that keeps whole items
        return [[*(draw.randint(1, LIMIT // 2) for _ in range(N - 1)), LIMIT] for _ in range(items)]
    if case == "worst":
        return [[LIMIT] * N for _ in range(items)]
    return [list(DEMO[i % len(DEMO)]) for i in range(items)]


@pytest.mark.parametrize("case", ["staggered", "worst", "demo"])
@pytest.mark.parametrize("memory", [None, 3.0])
def test_the_peak_stays_within_the_formula_and_the_rows_full(case: str, memory: float | None) -> None:
    """`memory`: as a multiple of what the plan counts. With three times as much, nothing but the rows limits what is decoded at once."""
    draw = random.Random(0)
    prompts = [[3 + draw.randrange(200) for _ in range(draw.randint(150, 500))] for _ in range(40)]
    planned = budget_of(((len(p), N) for p in prompts), ROWS, LIMIT) * BYTES_PER_TOKEN
    decoder = Forced(random_model("qwen3"), [STOP], ROWS, memory=memory and memory * planned)
    lengths = lengths_of(case, len(prompts))
    decoder.force(lengths)
    drawn = dict(decoder.decode([Tokens(p, 0, list(range(N))) for p in prompts], Decoding(0, 1.0, LIMIT)))
    assert [[len(reply) for reply in drawn[i]] for i in range(len(prompts))] == lengths
    assert max(held for _, held, _ in decoder.seen) <= planned * (memory or 1)
    assert max(living for living, _, _ in decoder.seen) <= ROWS
    full = [living for living, _, last in decoder.seen if last < len(prompts) - 1]
    if memory or case != "staggered":
        assert sum(full) / len(full) >= 0.9 * ROWS
    print(
        f"{case}, memory {memory or 1} x the plan's: peak {max(h for _, h, _ in decoder.seen) / planned:.2f} of it,"
        f" rows {sum(full) / len(full):.1f} of {ROWS}"
    )


def test_a_gpu_decodes_steps_of_one_shape_to_the_same_replies() -> None:
    """On a CPU the padding changes no bit, so the two can be compared here; on a GPU it keeps the kernel the same."""
    draw = random.Random(0)
    work = [Tokens([3 + draw.randrange(200) for _ in range(40 + 9 * i)], 0, [10 * i + k for k in range(4)]) for i in range(5)]
    shapes: list[set[int]] = []
    replies = []
    for least in (None, 16):
        model = random_model("qwen3")
        seen: set[int] = set()
        decoder = SharedPrefixDecoder(model, list(range(0, 300, 7)), 16)
        decoder.least = least or decoder.least
        model.model.layers[0].register_forward_pre_hook(
            lambda module, args, seen=seen: seen.add(args[0].shape[0]) if args[0].shape[1] == 1 else None
        )
        replies.append(dict(decoder.decode(work, Decoding(1.0, 0.95, 24))))
        shapes.append(seen)
    assert replies[0] == replies[1]
    assert shapes[1] == {16}
    assert len(shapes[0]) > 3
