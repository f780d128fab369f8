"""Joins the shards of one arm and condition."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from cardproof.errors import CardproofError
from cardproof.files import iter_rows, write_rows
from cardproof.records import Rollout


def gather(shards: Sequence[Path], out: Path) -> int:
    """Join the shards in order, and return the number of rollouts."""
    rows = (row for path in shards for row in iter_rows(path, Rollout))
    first = next(rows, None)
    if first is None:
        raise CardproofError(f"{shards[0]} and its other shards have no rollouts.", "sample them again.")
    return write_rows(out, chain([first], rows))
