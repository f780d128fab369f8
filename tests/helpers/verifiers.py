"""An embedded verifier trained for tests, and a prompt for it to judge answers to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cardproof.config.settings import Config
from cardproof.records import Document, Prompt
from cardproof.verifier.model import Verifier
from helpers import rows

DOCUMENTS = [
    Document(
        id="A#1", text="You may copy the Work in any medium. You must keep intact all notices that refer to this licence.", role="oracle"
    ),
    Document(
        id="B#2", text="The Licensor shall not be liable for damages. Rights terminate 30 days after a breach is found.", role="distractor"
    ),
]


def training(pairs: int = 48, seed: int = 1) -> Config:
    """A configuration of the smallest training, on one thread."""
    verifier = {"source": "embedded", "embedded": {"pairs": pairs, "epochs": 1}}
    return Config.model_validate({"scale": "embedded", "seed": seed, "verifier": verifier, "runtime": {"threads": 1}})


def reopen(trained: tuple[Path, Any], **how: Any) -> Verifier:
    """The verifier of the fixture `trained`, without the scores it keeps."""
    return Verifier(trained[0] / "out", threads=1, **{"granularity": "sentence", "max_tokens": 128, **how})


def prompt() -> Prompt:
    """A prompt that shows DOCUMENTS."""
    return rows.prompt().model_copy(update={"documents": DOCUMENTS})
