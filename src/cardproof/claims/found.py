"""Results of a run as estimates, in the unit of the claim that they are held against."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from cardproof.claims.claims_file import FACTOR, ValueClaim
from cardproof.claims.pointers import rule_of, split_pointer
from cardproof.errors import CardproofError
from cardproof.records import Estimate
from cardproof.runs import Run

SCALAR = "a single number; no interval"


def lookup(run: Run, result: str | None, claim: ValueClaim | None) -> tuple[Estimate | None, str]:
    """A result as an Estimate in the claim's unit; or None and the sentence why there is none."""
    if result is None:
        return None, f"{(claim and claim.unmeasured) or 'it has no result'}."
    file, pointer = split_pointer(result)
    if not run.has(file):
        return None, f"{file} is not in the run; the rule {rule_of(file)} makes it."
    try:
        found = run.at(file, pointer)
    except KeyError:
        return None, f"{file} has nothing at {pointer}."
    if claim is not None and isinstance(found, str) and found in claim.words:
        found = float(claim.words[found])
    estimate = as_estimate(found, f"{run.path(file)}#{pointer}")
    if estimate.value is None:
        return estimate, f"{file}#{pointer} is undefined in this run (n = {estimate.n})."
    return _scaled(estimate, FACTOR.get(claim.unit, Fraction(1)) if claim else Fraction(1)), ""


def as_estimate(found: Any, where: str) -> Estimate:
    """A result as an Estimate: an Estimate or Comparison as stored, or a single number; CardproofError for anything else."""
    if isinstance(found, dict) and ("value" in found or "difference" in found):
        value = found.get("value", found.get("difference"))
        if value is None or _is_number(value):
            return Estimate(
                value=value,
                n=int(found.get("n") or 0),
                low=found.get("low"),
                high=found.get("high"),
                level=found.get("level", 0.95),
                method=str(found.get("method", "")),
                count=found.get("count"),
            )
    if found is None or _is_number(found):
        return Estimate(value=found, n=0 if found is None else 1, low=None, high=None, method=SCALAR)
    raise CardproofError(
        f"{where} is not a number but {found!r:.60}.", "let the claim point to a number, an estimate or a paired difference."
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _scaled(estimate: Estimate, factor: Fraction) -> Estimate:
    if factor == 1:
        return estimate
    return estimate.model_copy(
        update={key: float(decimal(v) * factor) for key in ("value", "low", "high") if (v := getattr(estimate, key)) is not None}
    )


def decimal(value: float) -> Fraction:
    """A float as the decimal it prints as, so that 0.8235 is on the edge of 0.824 and not a hair below it."""
    return Fraction(repr(value))
