"""What a record says computed its result: packages, cardproof's version and commit, also where there is no git."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from cardproof import __version__
from cardproof.evidence import sidecars
from cardproof.evidence.provenance import STEPS
from helpers.places import ROOT

NAMED = {
    "sample": {"torch", "transformers", "peft", "tokenizers", "safetensors", "accelerate"},
    "train": {"torch", "transformers", "peft", "bitsandbytes", "tokenizers", "safetensors"},
    "support": {"torch", "transformers", "tokenizers"},
    "score": {"pyarrow"},
    "evaluate": {"numpy", "polars"},
}
"""Packages that compute a step's numbers."""


@pytest.fixture
def fresh() -> Iterator[None]:
    """Nothing remembered of git before, and nothing after."""
    for remembered in (sidecars._commit, sidecars.environment):
        remembered.cache_clear()
    yield
    for remembered in (sidecars._commit, sidecars.environment):
        remembered.cache_clear()


def git(*arguments: str) -> str:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("step", STEPS)
def test_every_step_names_version_commit_and_packages(step: str, fresh: None) -> None:
    found = sidecars.environment(step)
    assert found["cardproof"] == __version__
    assert found.keys() >= {"python", "machine", *NAMED.get(step, ())}
    if (ROOT / ".git").exists():
        assert found["commit"] == git("rev-parse", "HEAD")
        assert found["uncommitted changes"] in ("yes", "no")


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout")
def test_without_git_the_commit_is_read_from_its_files(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container image. Nobody looked for changes then, and the record says so."""
    commit = git("rev-parse", "HEAD")
    monkeypatch.setenv("PATH", "")
    found = sidecars.environment("score")
    assert (found["commit"], found["uncommitted changes"]) == (commit, "unknown")
