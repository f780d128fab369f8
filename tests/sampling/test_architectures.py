"""Every kind of architecture is decoded as transformers generates: the same greedy tokens, and the model's own logits at every step.

`pytest -s` prints the table.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from cardproof.sampling import kinds, shared_prefix
from cardproof.sampling.sampler import Decoding
from cardproof.sampling.shared_prefix import SharedPrefixDecoder, Tokens
from helpers.architectures import KINDS, tiny

LENGTHS = (40, 60, 90, 26)
"""Tokens of the prompts: longer than any window, and on both sides of where positions change."""
NEW = 6


class Row(NamedTuple):
    """What was found for one kind."""

    name: str
    drawn_by: str
    difference: float
    size: float


@pytest.fixture(scope="module")
def table() -> Iterator[list[Row]]:
    rows: list[Row] = []
    yield rows
    print(f"\n{'architecture':<40} {'drawn by':<26} {'logits differ by':>16} {'of':>6}   greedy   neighbours")
    for row in rows:
        print(f"{row.name:<40} {row.drawn_by:<26} {row.difference:>16.1e} {row.size:>6.1f}   equal    change nothing")


def prompts() -> list[list[int]]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randint(3, 199, (length,), generator=generator).tolist() for length in LENGTHS]


def own_logits(model: Any, ids: list[int], reply: list[int]) -> torch.Tensor:
    """(tokens of the reply, vocabulary): by the whole forward pass, or by `generate` where frequencies grow as it goes on."""
    if (getattr(model.config, "rope_parameters", None) or {}).get("rope_type") in {"dynamic", "longrope"}:
        forced = iter(reply)
        chosen = model.generate(
            torch.tensor([ids]),
            max_new_tokens=len(reply),
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
            return_dict_in_generate=True,
            output_logits=True,
            prefix_allowed_tokens_fn=lambda *_: [next(forced)],
        )
        assert chosen.sequences[0, len(ids) :].tolist() == reply
        return torch.cat(chosen.logits)
    with torch.inference_mode():
        logits: torch.Tensor = model(input_ids=torch.tensor([ids + reply])).logits[0, len(ids) - 1 : -1]
    return logits


@pytest.mark.parametrize("name", KINDS)
def test_tokens_and_logits_are_the_models_own(name: str, table: list[Row], monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    model = tiny(name)
    theirs = copy.deepcopy(model)
    if type(theirs).__name__.startswith("Gemma2"):  # transformers' fast attention leaves out its cap
        theirs.set_attn_implementation("eager")
    asked = prompts()
    # What `generate` says first: its model must not have seen a longer prompt.
    greedy = [
        copy.deepcopy(theirs).generate(torch.tensor([ids]), max_new_tokens=NEW, do_sample=False, eos_token_id=None, pad_token_id=0)
        for ids in asked
    ]
    seen: list[torch.Tensor] = []
    choose = shared_prefix.choose
    monkeypatch.setattr(shared_prefix, "choose", lambda logits, *rest: (seen.append(logits.float().clone()), choose(logits, *rest))[1])
    decoder = SharedPrefixDecoder(model, [], 8)
    assert not seen, "looking at the model draws nothing"

    alone, worst, size, drawn_by = [], 0.0, 0.0, []
    for ids in asked:
        seen.clear()
        tokens = Tokens(ids, 0, [1])
        [[reply]] = dict(decoder.decode([tokens], Decoding(1.0, 1.0, NEW))).values()
        expected = own_logits(copy.deepcopy(theirs), ids, reply)
        worst = max(worst, float((torch.cat([logits[:1] for logits in seen]) - expected).abs().max()))
        size = max(size, float(expected.abs().max()))
        drawn_by.append(decoder.decoder_of(tokens, NEW))
        alone.append(dict(decoder.decode([Tokens(ids, 0, [1, 2])], Decoding(1.0, 1.0, NEW)))[0])
    guessing = SharedPrefixDecoder(copy.deepcopy(theirs), [], 8, guesses=2)
    guessing.match = 1
    assert guessing.kind == decoder.kind, "logits at guessed places are the model's own, too"
    for ids, expected in zip(asked, greedy, strict=True):
        for one in (decoder, guessing):
            assert dict(one.decode([Tokens(ids, 0, [1])], Decoding(0.0, 1.0, NEW)))[0] == [expected[0, len(ids) :].tolist()]
    beside = dict(decoder.decode([Tokens(ids, 0, [1, 2]) for ids in asked], Decoding(1.0, 1.0, NEW)))
    assert [beside[i] for i in range(len(asked))] == alone
    assert worst <= 1e-4
    table.append(Row(name, " / ".join(dict.fromkeys(drawn_by)), worst, size))


def test_at_least_twenty_architectures_are_tried() -> None:
    assert len({kind for kind, _ in KINDS.values()}) >= 20
    assert {kind for kind, _ in KINDS.values()} >= kinds.KNOWN, "the decoder claims to know a kind that no test shows it"


@pytest.mark.parametrize("name", ["bloom, alibi", "gpt_oss, sinks, experts", "mamba, states", "deepseek_v3, latent attention"])
def test_a_layer_that_the_decoder_does_not_know_after_all_is_left_to_transformers(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kinds, "KNOWN", frozenset({KINDS[name][0]}))
    decoder = SharedPrefixDecoder(tiny(name), [], 4)
    assert "drawn with transformers' own generation" in capsys.readouterr().err
    assert decoder.decoder_of(Tokens([3, 4], 0, [1]), 4) == "generate"
    assert len(dict(decoder.decode([Tokens([3, 4], 0, [1])], Decoding(1.0, 1.0, NEW)))[0][0]) == NEW


def test_wrong_logits_are_noticed_before_the_first_token(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A decoder that left out a model's scale, as this one once did, is not used."""
    advance = SharedPrefixDecoder._advance
    monkeypatch.setattr(SharedPrefixDecoder, "_advance", lambda self, *step: advance(self, *step) * 8)
    decoder = SharedPrefixDecoder(tiny("granite, scales"), [], 4)
    assert not decoder.kind.shared
    assert "other logits than the model's own" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["llama", "gpt2, learned positions", "mixtral, experts"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_no_numbers_stop_with_the_items_name(name: str, temperature: float) -> None:
    from cardproof.errors import CardproofError

    model = tiny(name)
    model.get_output_embeddings().weight.data[5] = float("nan")
    with pytest.raises(CardproofError, match="logits for item 7 of clean are not finite"):
        list(SharedPrefixDecoder(model, [], 4).decode([Tokens([3, 4, 5], 0, [1], "item 7 of clean")], Decoding(temperature, 0.9, 4)))


def test_a_reply_ends_where_the_caller_says_whatever_draws_it(tmp_path: Path) -> None:
    for name in ("llama", "gpt_neox"):
        decoder = SharedPrefixDecoder(tiny(name), [], 4, ended=lambda reply: len(reply) == 3)
        assert [len(r) for r in dict(decoder.decode([Tokens([3, 4, 5], 0, [1, 2])], Decoding(1.0, 1.0, 9)))[0]] == [3, 3]
