"""The verdicts on measured numbers: all of a card's are tested as one family, and each says what it would have noticed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from fractions import Fraction
from typing import NamedTuple

from cardproof.claims.claims_file import FACTOR, ValueClaim
from cardproof.claims.grim import decimals
from cardproof.claims.printed import ALPHA, OverItems, OverSeeds, intervals, p_values
from cardproof.claims.verdicts import VerdictName
from cardproof.evaluation.printed import number
from cardproof.evaluation.statistics import Step, holm_steps


class Tested(NamedTuple):
    """What testing a measured number together with all others comes to; `Judgement` describes the fields."""

    verdict: VerdictName
    reason: str
    p: float
    p_holm: float
    difference_interval: tuple[float, float]
    tolerance: float | None
    noticed: float | None
    method: str


def judge_together(
    over_items: Mapping[str, tuple[ValueClaim, OverItems]],
    over_seeds: Mapping[str, tuple[ValueClaim, OverSeeds]],
    tolerances: Mapping[str, Fraction],
    power: Collection[str] | None = None,
) -> dict[str, Tested]:
    """Claim id -> what its test comes to; all claims are one family.

    `differs`: p after Holm's correction is below 5%. `agrees`: it is not, and a deviation of the claim's tolerance would have been noticed
    with 80% power, at the level of the strictest step (5% over all claims). `not_resolved`: neither. What would have been
    noticed is simulated for the claims in `power` alone (None: for all); no other number agrees.
    """
    items, seeds = [test for _, test in over_items.values()], [test for _, test in over_seeds.values()]
    ps = [*p_values(items), *(test.p for test in seeds)]
    steps = holm_steps(ps)
    alphas = [ALPHA / step.divisor for step in steps]
    spans = intervals(items, alphas[: len(items)])
    spans += [test.interval(alpha) for test, alpha in zip(seeds, alphas[len(items) :], strict=True)]
    strictest = ALPHA / max(1, len(ps))
    tested: dict[str, tuple[ValueClaim, OverItems | OverSeeds]] = {**over_items, **over_seeds}
    found = {}
    for (name, (claim, test)), p, step, span in zip(tested.items(), ps, steps, spans, strict=True):
        noticed = test.noticed(strictest) if power is None or name in power else None
        found[name] = _tested(claim, test.method, p, step, span, noticed, tolerances.get(name))
    return found


def _tested(
    claim: ValueClaim,
    method: str,
    p: float,
    step: Step,
    span: tuple[float, float],
    noticed: float | None,
    tolerance: Fraction | None,
) -> Tested:
    factor = float(FACTOR.get(claim.unit, Fraction(1)))
    low, high = (bound * factor for bound in span)
    noticed = None if noticed is None else noticed * factor
    places = max(decimals(claim.value or ""), 2)
    least = (
        "no deviation would have been noticed" if noticed is None else f"a deviation of {number(noticed, places)} would have been noticed"
    )
    wanted = "no tolerance is stated" if tolerance is None else f"the tolerance is {float(tolerance):g}"
    shown = f"[{low:+.{places}f}, {high:+.{places}f}]"
    verdict: VerdictName
    if step.p < ALPHA:
        verdict, reason = "differs", f"the difference lies in {shown}, p {shown_p(step.p)} over all measured numbers; {least}."
    elif tolerance is not None and noticed is not None and noticed <= tolerance:
        verdict, reason = "agrees", f"no difference is shown ({shown}); {least}, and {wanted}."
    else:
        verdict, reason = "not_resolved", f"no difference is shown ({shown}), but only {least}, and {wanted}."
        reason = reason.replace("but only no", "but no")
    return Tested(verdict, reason, p, step.p, (low, high), None if tolerance is None else float(tolerance), noticed, method)


def shown_p(p: float) -> str:
    """A p value as text, with its sign."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
