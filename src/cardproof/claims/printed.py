"""A printed number as what it is: an estimate on its own items, with its own uncertainty, to be compared with a run's.

A proportion is the count that GRIM recovers, a mean has the run's spread over items, tilted to the printed mean. Whether card and run share
their items is unknown, so the two are compared as if they did not: with the same items the test errs on the safe side. A loss has no
items; only its spread over training seeds says anything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from statistics import fmean, stdev

import numpy as np

from cardproof.claims.claims_file import FACTOR, ClaimsFile, ValueClaim
from cardproof.claims.grim import counts
from cardproof.claims.identities import Answered
from cardproof.evaluation.bounded import Items, stacked
from cardproof.evaluation.contrast import equal, limit, tilted
from cardproof.evaluation.noticed import Simulation, power_between, smallest
from cardproof.evaluation.statistics import Column

ALPHA = 0.05
"""Largest probability that a faithful rerun shows any `differs`, over all measured claims of a card."""
REPEATS = 200
"""Simulated pairs of card and run behind each statement of power: its standard error is 0.03 at 80%."""
SEED = 0


class OverItems:
    """A printed mean or proportion against a run's, as two samples of items."""

    def __init__(self, claim: ValueClaim, run: Column, n: int) -> None:
        self.run = run.items()
        self.n = n
        """Items the printed number is taken to be over."""
        factor = FACTOR.get(claim.unit, Fraction(1))
        self.printed = float(claim.exact / factor)
        span = claim.interval
        ends = [float(span.low / factor), float(span.high / factor)]
        found = counts(claim.value or "", n) if claim.kind == "proportion" else []
        self.half = (ends[1] - ends[0]) / 2
        self.counts = found
        if found:
            ends, self.half = [found[0] / n, found[-1] / n], 0.0
            self.printed = min(ends, key=lambda end: abs(end - self.printed))
        self.low, self.high = (self._sample(end) for end in ends)
        self.method = f"count recovered: {found[0]} of {n}" if found else f"mean over {n} items, spread as the run's"

    def _sample(self, mean: float) -> Items:
        if self.half == 0.0:
            return Items(np.array([0.0, 1.0]), np.ones(2), self.n * np.array([1 - mean, mean]))
        return tilted(self.run, mean, self.n)

    @property
    def nearest(self) -> Items:
        """The sample of the number that prints as the card's and is nearest to the run's; the run's own mean where that prints so."""
        value = float(self.run.value)
        if float(self.low.value) <= value <= float(self.high.value):
            return self._sample(value) if self.half else self.low
        return self.high if value > float(self.high.value) else self.low

    def noticed(self, alpha: float) -> float | None:
        """The smallest true deviation that this test at `alpha` finds with 80% power, whichever way it goes; None where it finds none.

        A way in which a share would leave [0, 1] is not asked about.
        """
        how = Simulation(alpha, REPEATS, SEED)
        room = {1.0: 1 - self.printed, -1.0: self.printed}
        found = {
            sign: smallest(lambda size, sign=sign: power_between(self.run, self.printed, self.n, self.half, sign * size, how), most)  # type: ignore[misc]
            for sign, most in room.items()
        }
        if all(size is None for size in found.values()):
            return None
        return max(room[sign] if size is None else size for sign, size in found.items())


def p_values(tests: Sequence[OverItems]) -> list[float]:
    """For each comparison the two-sided p that card and run have one mean; 1 where the run's value prints as the card's."""
    if not tests:
        return []
    found: list[float] = equal(stacked([t.nearest for t in tests]), stacked([t.run for t in tests])).tolist()
    return found


def intervals(tests: Sequence[OverItems], alphas: Sequence[float]) -> list[tuple[float, float]]:
    """For each comparison the interval of run - card at 1 - alpha, of every number that prints as the card's.

    It leaves 0 out exactly where p < alpha.
    """
    if not tests:
        return []
    runs, level = stacked([t.run for t in tests]), 1 - np.asarray(alphas)
    low = limit(stacked([t.high for t in tests]), runs, level, -1)
    high = limit(stacked([t.low for t in tests]), runs, level, 1)
    return list(zip(low.tolist(), high.tolist(), strict=True))


class OverSeeds:
    """A printed loss against those of a run's training seeds: one more draw of the same normal distribution."""

    method = "one training run among the run's training seeds, a prediction interval of Student's t"

    def __init__(self, claim: ValueClaim, values: Sequence[float]) -> None:
        factor = FACTOR.get(claim.unit, Fraction(1))
        self.printed = float(claim.exact / factor)
        self.half = float((claim.interval.high - claim.interval.low) / factor / 2)
        self.freedom = len(values) - 1
        self.difference = fmean(values) - self.printed
        self.error = stdev(values) * math.sqrt(1 + 1 / len(values))

    @property
    def p(self) -> float:
        """Two-sided p that the printed loss is one of the run's."""
        from scipy.stats import t as student

        away = max(0.0, abs(self.difference) - self.half)
        if away == 0:
            return 1.0
        return float(2 * student.sf(away / self.error, self.freedom)) if self.error > 0 else 0.0

    def interval(self, alpha: float) -> tuple[float, float]:
        """The interval of mean loss - printed loss at 1 - alpha."""
        from scipy.stats import t as student

        reach = float(student.isf(alpha / 2, self.freedom)) * self.error + self.half
        return self.difference - reach, self.difference + reach

    def noticed(self, alpha: float) -> float | None:
        """The smallest deviation found with 80% power: by the noncentral t distribution."""
        from scipy.stats import nct
        from scipy.stats import t as student

        if self.error <= 0:
            return self.half
        edge = float(student.isf(alpha / 2, self.freedom)) + self.half / self.error
        return smallest(lambda size: float(nct.sf(edge, self.freedom, size / self.error)), 1000 * self.error)


def printed_items(claim: ValueClaim, file: ClaimsFile, run: Column) -> int:
    """How many items a printed number is over.

    Where the card's false refusals say how many items an arm answered, that; else what the card states, less the share that the run does
    not count either.
    """
    values = file.values()
    stated = claim.n or len(run.weights)
    for rule in file.identities:
        if isinstance(rule, Answered) and claim.id in (*rule.proportions, *rule.means):
            items = int(values[rule.items].exact)
            refused = counts(values[rule.refusals].value or "", items)
            if len(refused) == 1 and refused[0] < items:
                return items - refused[0]
    share = float((run.weights > 0).mean()) if len(run.weights) else 1.0
    return max(1, round(stated * share))
