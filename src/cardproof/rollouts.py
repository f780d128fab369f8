"""Reading a samples file with suspicion: every row of one arm and condition, each (item, k) once, N rollouts of every item."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path

from cardproof.errors import CardproofError, nearest
from cardproof.files import iter_rows
from cardproof.records import Rollout

AGAIN = "sample these prompts again; finished items are kept."


def read_rollouts(path: Path, arms: Collection[str], n: dict[str, int]) -> list[Rollout]:
    """The rollouts of one samples file; `n` is condition -> rollouts per item.

    CardproofError names file and row where an arm or condition is unknown, where rows of two arms or conditions are mixed, where a rollout
    stands twice, and the item where rollouts are missing.
    """
    rows: list[Rollout] = []
    lines: dict[tuple[int, int], int] = {}
    for number, row in enumerate(iter_rows(path, Rollout), 1):
        where = f"{path}, row {number}"
        for field, found, known in (("arm", row.arm, arms), ("condition", row.condition, n)):
            if found not in known:
                near = nearest(found, known)
                hint = f"did you mean {near!r}?" if near else f"this run has: {', '.join(known)}."
                raise CardproofError(f"{where}: field {field!r}: {found!r} is not in this run's configuration.", hint)
            if rows and found != getattr(rows[0], field):
                raise CardproofError(
                    f"{where}: field {field!r}: found {found!r} in a file that began with {getattr(rows[0], field)!r}.",
                    "a samples file holds one arm under one condition.",
                )
        if (row.item, row.k) in lines:
            first = lines[row.item, row.k]
            raise CardproofError(f"{where}: item {row.item}, k {row.k} stands twice; the first is row {first}.", AGAIN)
        if not 0 <= row.k < n[row.condition]:
            raise CardproofError(f"{where}: field 'k': found {row.k}, but this run draws {n[row.condition]} rollouts per item.", AGAIN)
        lines[row.item, row.k] = number
        rows.append(row)
    if not rows:
        raise CardproofError(f"{path} holds no rollout.", AGAIN)
    wanted = n[rows[0].condition]
    for item, count in Counter(row.item for row in rows).items():
        if count < wanted:
            raise CardproofError(f"{path}: item {item} has {count} rollouts, but this run draws {wanted} per item.", AGAIN)
    return rows
