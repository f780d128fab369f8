"""The shared-prefix decoder: it agrees with transformers' own generate, and a rollout does not depend on its neighbours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cardproof.config.settings import Model
from cardproof.models.chat import Chat
from cardproof.models.loading import load_plain
from cardproof.sampling.shared_prefix import choose
from helpers.decoding import decode, make_prompt, random_model


@pytest.fixture(scope="module")
def decoder_parts(tiny_lm: Path):
    model, chat = load_plain(tiny_lm).eval(), Chat(tiny_lm, Model())
    encoded = [chat.prompt(make_prompt(i).messages) for i in range(7)]
    return model, chat.tokenizer, [(prompt.ids, prompt.common) for prompt in encoded]


def test_greedy_equals_generate(decoder_parts) -> None:
    model, _, ids = decoder_parts
    ours = decode(model, ids, [[1]] * len(ids), rows=4, temperature=0)
    for i, (tokens, _) in enumerate(ids):
        theirs = model.generate(torch.tensor([tokens]), max_new_tokens=24, do_sample=False, eos_token_id=2, pad_token_id=0)[0]
        assert ours[i][0] == theirs[len(tokens) :].tolist()


def test_a_rollout_does_not_depend_on_its_neighbours(decoder_parts) -> None:
    model, _, ids = decoder_parts
    seeds = [[100 * i + k for k in range(4)] for i in range(len(ids))]
    together = decode(model, ids, seeds, rows=64)
    assert len({tuple(r) for replies in together.values() for r in replies}) > len(ids)
    for rows in (1, 8, 17):
        assert decode(model, ids, seeds, rows=rows) == together
    for i in (3, 0):
        assert decode(model, [ids[i]], [seeds[i]], rows=4)[0] == together[i]


@pytest.mark.parametrize("length", [5, 399, 400, 401, 901])
@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
def test_prompts_of_any_length_are_decoded_as_generate_does(kind: str, length: int) -> None:
    """Lengths around 400, the most keys in one piece."""
    model, other = random_model(kind), random_model(kind)
    ids = torch.randint(3, 300, (1, length), generator=torch.Generator().manual_seed(length))
    theirs = model.generate(ids, max_new_tokens=24, do_sample=False, eos_token_id=2, pad_token_id=0)[0]
    assert decode(other, [(ids[0].tolist(), 0)], [[1]], rows=4, temperature=0)[0][0] == theirs[length:].tolist()


def test_another_seed_gives_other_rollouts(decoder_parts) -> None:
    model, _, ids = decoder_parts
    first, second = (decode(model, ids[:1], [[s, s + 1]], rows=4)[0] for s in (1, 50))
    assert first != second


def test_common_prefix_changes_nothing_but_time(decoder_parts) -> None:
    model, _, ids = decoder_parts
    seeds = [[7, 8]] * len(ids)
    assert all(0 < common < len(tokens) for tokens, common in ids)
    plain = decode(model, [(tokens, 0) for tokens, _ in ids], seeds, rows=8, temperature=0)
    assert decode(model, ids, seeds, rows=8, temperature=0) == plain


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.05, 0.99), st.sampled_from([0.3, 1.0, 3.0]), st.sampled_from([5, 300, 1000]))
def test_choose_draws_from_the_nucleus(seed: int, top_p: float, spread: float, vocabulary: int) -> None:
    """Against a plain sort-everything reference: the same token for the same random number."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, spread, (3, vocabulary))
    uniforms = rng.random(3)
    chosen = choose(torch.tensor(logits, dtype=torch.float64), uniforms, 0.7, top_p)
    for row in range(3):
        p = np.exp(np.float32(logits[row]) / np.float32(0.7), dtype=np.float64)
        p /= p.sum()
        order = np.argsort(-p, kind="stable")
        mass = p[order].cumsum()
        last = min(int(np.searchsorted(mass, top_p)), vocabulary - 1)
        edges = mass[: last + 1] / mass[last]
        at = int(np.searchsorted(edges, uniforms[row], side="right"))
        near_edge = np.min(np.abs(edges - uniforms[row])) < 1e-4 or np.min(np.abs(mass - top_p)) < 1e-5
        assert chosen[row] == order[min(at, last)] or near_edge
