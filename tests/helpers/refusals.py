"""Running the command in this process, and what a refusal must look like."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from cardproof.cli.main import main


def call(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Run the command with these arguments; returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["cardproof", *arguments])
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def refusal(said: str) -> tuple[str, str]:
    """The sentence and the hint of what was written to stderr, which must hold nothing else."""
    error, hint, *rest = said.strip().splitlines()
    assert rest == [], said
    assert re.fullmatch(r"cardproof: error: \S.*", error), error
    assert re.fullmatch(r"Hint: \S.*[.?)]", hint), hint
    assert len(error) < 700
    return error, hint


def tree(folder: Path) -> list[str]:
    """Every file and folder below a folder."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))
