"""A table of inputs that the command must refuse: rows for any part of the project, and the one check of them all.

A row is a name and a `Case`: what lies in an empty folder, which command is run there, what its sentence and its hint must say.
"""

from __future__ import annotations

import os
import re
import signal
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cardproof.cli.main import main

SECONDS = 10
"""Longest time until an input is refused, model libraries loaded."""


class Case(NamedTuple):
    """One input, and what must be said of it."""

    prepare: Callable[[Path], list[str]]
    """Writes the input into a folder, and returns the command that is run there."""
    sentence: tuple[str, ...]
    """Parts of the sentence."""
    hint: str = ""
    """Part of the hint."""
    code: int = 2
    """The exit code: 2 for bad input, 4 for a run whose chain is broken."""


def refused(case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> float:
    """Assert that the input is refused as it must be; returns the seconds it took.

    Exactly one sentence and one hint, nothing on standard output, no control character, nothing written and nothing removed.
    """
    monkeypatch.chdir(folder)
    arguments = case.prepare(folder)
    before = listed(folder)
    capsys.readouterr()
    began = time.monotonic()
    code = called(arguments, monkeypatch)
    seconds = time.monotonic() - began
    said = capsys.readouterr()
    assert code == case.code, said.err
    assert "Traceback" not in said.err
    lines = [line for line in said.err.strip().splitlines() if not line.startswith(("note: ", "  then: ", "  and "))]
    assert len(lines) == 2, said.err
    error, hint = lines
    assert re.fullmatch(r"cardproof: error: \S.*\.", error), error
    assert re.fullmatch(r"Hint: \S.*[.?)]", hint), hint
    assert len(error) < 2_500 and (error + hint).isprintable()
    for part in case.sentence:
        assert part in error
    assert case.hint in hint
    assert said.out == ""
    assert listed(folder) == before, "something was written or removed"
    return seconds


def called(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of a command run in this process, which is stopped after SECONDS."""
    monkeypatch.setattr(sys, "argv", ["cardproof", *arguments])
    with at_most(SECONDS):
        try:
            main()
        except SystemExit as ended:
            return int(ended.code or 0)
    return 0


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Raise where a block takes longer, also where it waits for a file."""

    def stop(*_: Any) -> None:
        raise TimeoutError(f"not refused within {seconds} seconds")

    kept = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, kept)


def listed(folder: Path) -> dict[str, object]:
    """Everything below a folder by its path: kind, size and, of small files, content. No link is followed, no pipe opened."""
    found: dict[str, object] = {}
    for here, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(here) / name
            kept = path.lstat()
            content: object = os.readlink(path) if stat.S_ISLNK(kept.st_mode) else None  # noqa: PTH115
            if stat.S_ISREG(kept.st_mode):
                content = path.read_bytes() if kept.st_size < 1_000_000 else kept.st_mtime_ns
            found[str(path.relative_to(folder))] = (stat.S_IFMT(kept.st_mode), kept.st_size * stat.S_ISREG(kept.st_mode), content)
    return found
