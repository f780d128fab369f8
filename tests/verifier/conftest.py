"""A verifier trained once for all of this folder's tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cardproof.acquire.wheels import unpack
from cardproof.benchmark.embedded import load_embedded
from cardproof.verifier.train_verifier import train
from helpers.verifiers import training


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder with an encoder in `encoder` and a verifier trained from it in `out`, and the training's metrics."""
    folder = tmp_path_factory.mktemp("verifier")
    unpack("minilm-l6", folder / "encoder")
    passages = load_embedded()[0]
    return folder, train(training(), folder / "encoder", passages[:60], passages[60:75], folder / "out")
