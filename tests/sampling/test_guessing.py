"""Tokens guessed from the prompt: what is drawn stays the same, in fewer steps, whatever else is decoded."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cardproof.models.cache import places_of
from cardproof.sampling.lookup import MATCH, Prompt, Reply
from cardproof.sampling.sampler import Decoding
from cardproof.sampling.shared_prefix import SharedPrefixDecoder, Tokens
from helpers.decoding import random_model
from helpers.recording import Recorder

TOKENS = st.integers(0, 3)
WORDS = 24
"""So few that a random model often draws what was guessed."""


@given(st.lists(TOKENS, min_size=1, max_size=30), st.lists(TOKENS, max_size=30), st.integers(1, MATCH), st.integers(0, 5))
def test_a_guess_is_what_followed_the_same_tokens_last(prompt: list[int], drawn: list[int], least: int, most: int) -> None:
    """Against a search through all earlier places, the latest first."""
    reply = Reply(Prompt(prompt))
    for token in drawn:
        reply.add(token)
    text = prompt + drawn
    for length in range(MATCH, least - 1, -1):
        places = [end for end in range(length, len(text)) if text[end - length : end] == text[len(text) - length :]]
        if places and length <= len(text):
            assert reply.guess(most, least) == text[places[-1] : places[-1] + most]
            return
    assert reply.guess(most, least) == []


def test_a_quote_is_guessed_from_its_document() -> None:
    reply = Reply(Prompt([10, 11, 12, 13, 14, 15, 99]))
    for token in (10, 11, 12):
        reply.add(token)
    assert reply.guess(2, 3) == [13, 14]
    assert reply.guess(9, 3) == [13, 14, 15, 99, 10, 11, 12]
    reply.add(7)
    assert reply.guess(2, 1) == []


def items() -> list[Tokens]:
    """Items of unlike lengths and numbers of rollouts; prompts say half of it twice, and one has more rollouts than there are rows."""
    of = torch.Generator().manual_seed(3)
    lengths = [(40, 4), (23, 4), (61, 2), (35, 11), (52, 4), (29, 1), (80, 2)]
    said = [torch.randint(3, WORDS, (length,), generator=of).tolist() for length, _ in lengths]
    return [
        Tokens(ids + ids[: len(ids) // 2], 0, [100 * i + k for k in range(n)])
        for i, (ids, (_, n)) in enumerate(zip(said, lengths, strict=True))
    ]


def ended(reply: list[int]) -> bool:
    """Replies end at unlike lengths, and not before there was something to guess."""
    return len(reply) > 25 and reply[-1] in (2, 3, 5, 7)


def decoder(kind: str, guesses: int, rows: int = 8, dtype: torch.dtype = torch.float64) -> SharedPrefixDecoder:
    """Of a random model. In double precision, last bits, which guesses may change, decide no draw."""
    window = {"sliding_window": 32} if kind in {"gemma2", "mistral"} else {}
    model = random_model(kind, num_hidden_layers=2, vocab_size=WORDS, **window).to(dtype)
    made = SharedPrefixDecoder(model, [], rows, ended, guesses=guesses)
    made.match = 1
    return made


def drawn(of: SharedPrefixDecoder, work: list[Tokens], temperature: float) -> tuple[dict[int, list[list[int]]], int]:
    """Replies, and how many tokens were guessed."""
    found = dict(of.decode(work, Decoding(temperature, 0.95, 70)))
    return found, sum(len(reply) - steps for i in found for reply, steps in zip(found[i], of.steps[i], strict=True))


@pytest.mark.parametrize("temperature", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("kind", ["llama", "qwen3", "gemma2", "mistral"])
def test_guesses_change_no_reply(kind: str, temperature: float) -> None:
    plain, none = drawn(decoder(kind, 0), items(), temperature)
    assert none == 0
    for guesses in (1, 2, 5):
        guessing = decoder(kind, guesses)
        guessing.match = 1
        found, kept = drawn(guessing, items(), temperature)
        assert found == plain
        assert kept > 10, "guesses come true"


def test_a_rollout_does_not_depend_on_its_neighbours_while_tokens_are_guessed() -> None:
    """In single precision: a rollout's numbers are the same to the last bit."""
    together, kept = drawn(decoder("qwen3", 3, 64, torch.float32), items(), 0.3)
    assert kept > 10
    for rows in (1, 8, 17):
        assert drawn(decoder("qwen3", 3, rows, torch.float32), items(), 0.3)[0] == together
    alone = decoder("qwen3", 3, dtype=torch.float32)
    for i, item in enumerate(items()):
        assert drawn(alone, [item], 0.3)[0][0] == together[i]


def test_logits_at_a_guessed_place_are_the_models_own() -> None:
    """Also where the guess is wrong: it was computed beside the others, and must not have changed them."""
    guessing = decoder("gemma2", 3)
    ids, replies = items()[2].ids, [[9, 8, 7, 6, 5], [3, 4, 9, 9, 3], [11, 12, 13, 14, 15]]
    with torch.inference_mode():
        _, item = guessing._open(Tokens(ids, 0, [0] * 3), 8)
        item.generated = [reply[:1] for reply in replies]
        wrong = guessing._advance([item], [[[20, 21], [], [22]]])
        first = [wrong[0], wrong[3], wrong[4]]
        item.generated = [reply[:2] for reply in replies]
        found = guessing._advance([item], [[replies[0][2:4], [], replies[2][2:5]]])
        guessing._use(guessing.own)
        whole = [guessing.model(input_ids=torch.tensor([ids + reply])).logits[0, len(ids) :] for reply in replies]
    expected = [whole[0][1], whole[0][2], whole[0][3], whole[1][1], whole[2][1], whole[2][2], whole[2][3], whole[2][4]]
    torch.testing.assert_close(torch.stack(first), torch.stack([logits[0] for logits in whole]), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["qwen3", "gemma2"])
def test_a_gpu_guesses_in_steps_of_one_shape(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As on a GPU: steps are recorded, have a row for every place, and even one token is looked up."""
    plain, _ = drawn(decoder(kind, 0), items(), 0.3)
    shapes: set[int] = set()
    guessing: Any = decoder(kind, 2)
    guessing.least, guessing.recorder = guessing.places, Recorder
    advance = guessing._compute
    guessing._compute = lambda ids, *rest: (shapes.add(len(ids)), advance(ids, *rest))[1]
    found, kept = drawn(guessing, items(), 0.3)
    assert found == plain and kept
    assert guessing._recorded is not None, capsys.readouterr().err
    assert shapes == {24}


def test_guesses_take_no_more_rows_and_room_than_the_plan_counts() -> None:
    """All but the item with more rollouts than rows, which is decoded by itself."""
    guessing: Any = decoder("qwen3", 5)
    guessing.ended = None  # all replies go on to the limit
    seen: list[tuple[int, int]] = []
    compute, accept = guessing._compute, guessing._accept
    guessing._compute = lambda ids, *rest: (seen.append((len(ids), 0)), compute(ids, *rest))[1]
    guessing._accept = lambda item, *rest: (seen.append((0, item.own[0][0].shape[3])), accept(item, *rest))[1]
    work = [item for item in items() if len(item.seeds) <= 8]
    list(guessing.decode(work, Decoding(0.3, 0.95, 70)))
    rows, room = (max(of) for of in zip(*seen, strict=True))
    assert 8 < rows <= places_of(8, 5)
    assert room == 70
