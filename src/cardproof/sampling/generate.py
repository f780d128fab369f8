"""Draws an item's replies with transformers' own generation: any model that it can generate with, one item at a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

Draw = Callable[[torch.Tensor, list[int], int], list[int]]
"""(logits of some rows, which rows these are, number of the token) -> the token drawn for each."""

EXPERTS = re.compile(r"moe|expert", re.IGNORECASE)
"""Names of modules that sort rows by expert, so that a row's sums depend on how many other rows went the same way."""


@torch.inference_mode()
def draw_with_generate(model: Any, ids: list[int], n: int, limit: int, draw: Draw, last: Callable[[list[int]], bool]) -> list[list[int]]:
    """Token ids of n replies of at most `limit` tokens. `last` says of a reply's tokens whether they end it.

    All rows are of one length at every step, and there are n of them until the last has ended, so positions and sums are the same
    whatever else is decoded. Rows of a model with experts go one by one.
    """
    if n > 1 and any(EXPERTS.search(type(module).__name__) for module in model.modules()):
        return [draw_with_generate(model, ids, 1, limit, _of_row(draw, k), last)[0] for k in range(n)]
    replies: list[list[int]] = [[] for _ in range(n)]
    alive = list(range(n))

    def choose(_: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        nonlocal alive
        chosen = [0] * n
        for row, token in zip(alive, draw(logits[alive], alive, len(replies[alive[0]])), strict=True):
            replies[row].append(token)
            chosen[row] = token
        alive = [row for row in alive if not last(replies[row])]
        only = torch.full_like(logits, -torch.inf)
        return only.scatter_(1, torch.tensor(chosen, device=logits.device)[:, None], 0.0)

    def ended(input_ids: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        living = set(alive)
        return torch.tensor([row not in living for row in range(n)], device=input_ids.device)

    prompt = torch.tensor([ids] * n, device=next(model.parameters()).device)
    with _fresh(model, limit):
        model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            generation_config=model.generation_config,
            logits_processor=[choose],
            stopping_criteria=[ended],
        )
    return replies


def _of_row(draw: Draw, row: int) -> Draw:
    return lambda logits, _, step: draw(logits, [row], step)


@contextmanager
def _fresh(model: Any, limit: int) -> Iterator[None]:
    """The model without its own ideas of how to choose tokens, and with the rotary frequencies that it was loaded with.

    Some grow them with the longest sequence they have seen, and would read a later, shorter one by them.
    """
    from transformers import GenerationConfig

    configured = model.generation_config
    model.generation_config = GenerationConfig(do_sample=False, pad_token_id=0, use_cache=True, max_new_tokens=limit)
    try:
        _reset_rotary(model)
        yield
    finally:
        _reset_rotary(model)
        model.generation_config = configured


def _reset_rotary(model: Any) -> None:
    for module in model.modules():
        if not hasattr(module, "max_seq_len_cached"):
            continue
        for name in [*vars(module), *module._buffers]:
            if name.endswith("original_inv_freq"):
                kind = name.removesuffix("original_inv_freq")  # of layers, where they differ
                setattr(module, f"{kind}inv_freq", getattr(module, name).to(getattr(module, f"{kind}inv_freq").device))
                setattr(module, f"{kind}max_seq_len_cached", module.original_max_seq_len)
