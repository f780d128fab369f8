"""Read a samples file and check it: all rows of one arm and condition, each (item, k) once, N rollouts of every item."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from cardproof.errors import CardproofError, did_you_mean
from cardproof.files import iter_rows
from cardproof.records import Rollout

AGAIN = "sample these prompts again; finished items are kept."


def read_rollouts(path: Path, arms: Collection[str], n: dict[str, int]) -> Iterator[Rollout]:
    """The rollouts of one samples file, one at a time; `n` is condition -> rollouts per item.

    CardproofError names file and row if an arm or condition is unknown, rows of two arms or conditions are mixed or a rollout comes twice,
    and in the end the item whose rollouts are not complete. Only one number for each item is in memory.
    """
    first: Rollout | None = None
    # Item -> its rollouts so far, bit k for candidate k: a set for each item would take gigabytes in a large run.
    seen: dict[int, int] = {}
    for number, row in enumerate(iter_rows(path, Rollout), 1):
        if first is None or row.arm != first.arm or row.condition != first.condition:
            _check_origin(row, first, f"{path}, row {number}", arms, n)
            first = row
        ks, k = seen.get(row.item, 0), row.k
        if not 0 <= k < n[row.condition]:
            raise CardproofError(
                f"{path}, row {number}: field 'k': found {k}, but this run draws {n[row.condition]} rollouts per item.", AGAIN
            )
        if ks >> k & 1:
            before = next(i for i, r in enumerate(iter_rows(path, Rollout), 1) if (r.item, r.k) == (row.item, k))
            raise CardproofError(f"{path}, row {number}: item {row.item}, k {k} comes twice; the first is row {before}.", AGAIN)
        seen[row.item] = ks | 1 << k
        yield row
    if first is None:
        raise CardproofError(f"{path} has no rollouts.", AGAIN)
    wanted = n[first.condition]
    for item, ks in seen.items():
        if ks.bit_count() < wanted:
            raise CardproofError(f"{path}: item {item} has {ks.bit_count()} rollouts, but this run draws {wanted} per item.", AGAIN)


def _check_origin(row: Rollout, first: Rollout | None, where: str, arms: Collection[str], n: dict[str, int]) -> None:
    for field, found, known in (("arm", row.arm, arms), ("condition", row.condition, n)):
        if found not in known:
            hint = did_you_mean(found, known, f"this run has: {', '.join(known)}.")
            raise CardproofError(f"{where}: field {field!r}: {found!r} is not in this run's configuration.", hint)
        if first and found != getattr(first, field):
            raise CardproofError(
                f"{where}: field {field!r}: found {found!r} in a file that began with {getattr(first, field)!r}.",
                "a samples file is of one arm under one condition.",
            )
