"""A recorded step gives the same bits as the model's own forward pass, while items come, grow and go around it.

A CUDA graph needs a GPU; see `helpers.recording` for what takes its place here.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from cardproof.sampling.recorded import Piece
from cardproof.sampling.sampler import Decoding
from cardproof.sampling.shared_prefix import SharedPrefixDecoder, Tokens
from helpers.decoding import random_model
from helpers.recording import Recorder

ROWS = 12
DECODING = Decoding(temperature=1.0, top_p=0.95, max_new_tokens=70)


def work() -> list[Tokens]:
    """Seven items of unlike lengths and two numbers of rollouts; one has more rollouts than there are rows."""
    of = torch.Generator().manual_seed(3)
    lengths = [(40, 4), (23, 4), (61, 2), (35, ROWS + 3), (52, 4), (29, 4), (80, 2)]
    return [
        Tokens(torch.randint(3, 300, (length,), generator=of).tolist(), 0, [100 * i + k for k in range(n)])
        for i, (length, n) in enumerate(lengths)
    ]


def decoder(kind: str, recorder: Any) -> SharedPrefixDecoder:
    window = {"sliding_window": 32} if kind in {"gemma2", "mistral"} else {}
    made = SharedPrefixDecoder(random_model(kind, num_hidden_layers=2, **window), [2, 5, 6, 7], ROWS)
    made.least, made.recorder = ROWS, recorder
    return made


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gemma2", "mistral"])
def test_a_recorded_step_gives_the_same_rollouts(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    Recorder.kept.clear()
    expected = dict(decoder(kind, None).decode(work(), DECODING))
    recorded = decoder(kind, Recorder)
    assert dict(recorded.decode(work(), DECODING)) == expected
    assert recorded._recorded is not None, capsys.readouterr().err
    layers = recorded.model.config.num_hidden_layers
    assert len(recorded._recorded.pieces) == layers + 1 == len(Recorder.kept), "recorded once, in pieces around each attention"
    assert len({len(reply) for replies in expected.values() for reply in replies}) > 5, "rollouts end at different times"


def test_what_cannot_be_recorded_is_computed_as_before(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken(Recorder):
        def end(self) -> Piece:
            super().end()
            raise RuntimeError("operation not permitted when stream is capturing")

    expected = dict(decoder("qwen3", None).decode(work(), DECODING))
    assert dict(decoder("qwen3", Broken).decode(work(), DECODING)) == expected
    said = capsys.readouterr().err
    assert "a step cannot be recorded (" in said and "stream is capturing" in said
    assert said.count("warning") == 1, "tried once"


def test_a_recording_that_computes_something_else_is_not_used(capsys: pytest.CaptureFixture[str]) -> None:
    class Forgetful(Recorder):
        def end(self) -> Piece:
            piece = super().end()
            self.kept[-1].kept.clear()
            return piece

    expected = dict(decoder("qwen3", None).decode(work(), DECODING))
    assert dict(decoder("qwen3", Forgetful).decode(work(), DECODING)) == expected
    assert "it computes other logits" in capsys.readouterr().err
