"""What a printed number can be at all: ranges by kind and unit, gaps below 0, and scores that fall with more rollouts."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise

from cardproof.claims.claims_file import ClaimsFile, ValueClaim
from cardproof.claims.findings import Finding, at_most, on_scale
from cardproof.claims.identities import Difference, Ordered

SCALES = {"share": (Fraction(1), "0 to 1"), "percent": (Fraction(100), "0 to 100")}
SIGNED = {"share": "-1 to 1", "percent": "-100 to 100"}


def limits(claim: ValueClaim) -> tuple[Fraction | None, Fraction | None, str]:
    """The least and the most a claim's number can be, in its own unit, and the range in words; (None, None, "") where it has none."""
    if claim.unit in SCALES:
        top, words = SCALES[claim.unit]
        return (-top, top, SIGNED[claim.unit]) if claim.kind == "difference" else (Fraction(0), top, words)
    if claim.kind == "setting" and claim.unit == "count":
        least = Fraction(0 if claim.zero else 1)
        return least, None, f"{least} or more"
    if claim.kind in {"loss", "count", "size", "setting", "proportion"} or claim.unit in {"count", "million"}:
        return Fraction(0), None, "0 or more"
    return None, None, ""


def ranges(file: ClaimsFile) -> Iterator[Finding]:
    """One finding a number out of its range, or one that says that all lie within."""
    checked = [(c, *limits(c)) for c in file.values().values() if c.value is not None]
    bad = [(c, words) for c, low, high, words in checked if (low is not None and c.exact < low) or (high is not None and c.exact > high)]
    for claim, words in bad:
        yield Finding(
            id=f"range.{claim.id}",
            severity="error",
            title=f"{claim.id} is printed as {claim.shown}, which is impossible: it lies in {words}.",
            claims=[claim.id],
            computation=[f"{claim.shown} is outside {words}, the range of a {claim.kind} given as a {claim.unit}"],
            readings=["the number has another unit", "a digit or the decimal point is wrong"],
        )
    if checked and not bad:
        bounded = [c for c, low, high, _ in checked if low is not None or high is not None]
        yield Finding(
            id="ranges",
            severity="ok",
            title="Every number lies in the range of its kind and unit.",
            claims=[c.id for c in bounded],
            computation=[f"{len(bounded)} numbers lie in their ranges"],
        )


def gaps(file: ClaimsFile) -> Iterator[Finding]:
    """A difference of two numbers of which one cannot exceed the other is not negative."""
    values = file.values()
    orders = {(i.larger, i.smaller) for i in file.identities if isinstance(i, Ordered)}
    for rule in file.identities:
        if not isinstance(rule, Difference) or (rule.minuend, rule.subtrahend) not in orders:
            continue
        gap = values[rule.difference]
        if gap.exact < 0:
            a, b = values[rule.minuend], values[rule.subtrahend]
            yield Finding(
                id=f"negative.{rule.id}",
                severity="error",
                title=f"{gap.id} is printed as {gap.shown}, but {b.id} cannot exceed {a.id}.",
                claims=[gap.id, a.id, b.id],
                computation=[f"{a.shown} - {b.shown} is 0 or more by definition, printed {gap.shown}"],
                readings=["the two numbers are swapped", f"{gap.id} is positive"],
            )


def more_rollouts(file: ClaimsFile) -> Iterator[Finding]:
    """The best of more rollouts cannot score lower: claims of one arm and one score, at different numbers of rollouts."""
    groups: dict[tuple[str | None, str, str], list[ValueClaim]] = defaultdict(list)
    for claim in file.values().values():
        if claim.rollouts is not None and claim.value is not None and claim.kind in {"mean", "proportion"}:
            stem = claim.result.rpartition("/")[0] if claim.result else re.sub(r"[._]?n?[0-9]+$", "", claim.id)
            groups[(claim.arm, claim.unit, stem)].append(claim)
    for claims in groups.values():
        ordered = sorted(claims, key=lambda c: int(c.rollouts or 0))
        for few, more in pairwise(ordered):
            if int(few.rollouts or 0) < int(more.rollouts or 0) and not at_most(on_scale(few), on_scale(more)):
                yield Finding(
                    id=f"rollouts.{more.id}",
                    severity="error",
                    title=f"The best of {more.rollouts} rollouts scores lower than that of {few.rollouts}.",
                    claims=[few.id, more.id],
                    computation=[
                        f"{few.shown} at N = {few.rollouts} > {more.shown} at N = {more.rollouts}; the best of more cannot be lower"
                    ],
                    readings=["the two numbers are swapped", "the choice is made by another score than the printed one"],
                )
