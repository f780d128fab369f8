"""The checks an audit makes of an evaluation, and the table of all checks: one function for each kind of identity.

Every check works on what the printed numbers can mean (their rounding intervals), so a finding never rests on a rounding. Computations are
shown with the printed numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import floor, log2
from typing import Any

from cardproof.claims import identities
from cardproof.claims.claims_file import PredicateClaim
from cardproof.claims.denominators import answered, unknown_denominator, whole_items
from cardproof.claims.findings import Finding, Values, alike, at_most, on_scale, span
from cardproof.claims.grim import counts_in, decimals, rounded
from cardproof.claims.identities import Identity
from cardproof.claims.predicates import on_card
from cardproof.claims.recipe_checks import keep_top, lora_parameters, optimizer_steps

LEVEL = 0.05
"""A difference with a smaller p is called larger than chance alone makes."""

# --- differences and bounds --------------------------------------------------------------------------------------------


def difference(rule: identities.Difference, values: Values) -> Finding:
    """Printed difference against the difference of the printed numbers, each within its rounding; else taken the other way, or cut off."""
    a, b, d = values[rule.minuend], values[rule.subtrahend], values[rule.difference]
    x, y, z = (on_scale(c) for c in (a, b, d))
    possible = x.interval - y.interval
    found = {
        "": possible.meets(z.interval),
        "the difference is taken the other way round": (y.interval - x.interval).meets(z.interval),
        "some of the three are cut off, not rounded": (x.cut - y.cut).meets(z.cut),
    }
    how = next((name for name, fits in found.items() if fits), None)
    places = max(decimals(c.value or "") for c in (a, b, d)) + (2 if "percent" in {a.unit, b.unit, d.unit} else 0)
    return Finding(
        id=rule.id,
        severity="error" if how is None else "note" if how else "ok",
        title=f"The printed difference {d.shown} {'is not' if how is None else 'is'} {a.shown} - {b.shown}"
        + (f" only if {how}." if how else "."),
        claims=[a.id, b.id, d.id],
        computation=[
            f"{a.shown} - {b.shown} = {rounded(x.value - y.value, places)}, printed {d.shown}",
            f"with rounding: {span(possible, places + 1)} {'meets' if how == '' else 'misses'} {span(z.interval, places + 1)}",
        ],
        readings=[how]
        if how
        else []
        if how == ""
        else [
            f"{d.id} is {rounded(x.value - y.value, places)}",
            f"{a.id} is {rounded(y.value + z.value, places)}",
            f"{b.id} is {rounded(x.value - z.value, places)}",
        ],
    )


def implied_share(rule: identities.ImpliedShare, values: Values) -> Finding:
    """A share the card implies without printing it; it cannot exceed 1, and a gap cannot be negative."""
    base, gap = values[rule.base], values[rule.difference]
    x, z = on_scale(base), on_scale(gap)
    reach = x.interval + z.interval
    places = max(decimals(base.value or ""), decimals(gap.value or ""))
    possible = reach.low <= 1 and gap.exact >= 0
    found = rounded(x.value + z.value, places)
    return Finding(
        id=rule.id,
        severity="note" if possible else "error",
        title=f"The card implies {rule.what}: {found}." if possible else f"The card implies an impossible {rule.what}: {found}.",
        claims=[base.id, gap.id],
        computation=[f"{base.shown} + {gap.shown} = {found}, with rounding {span(reach, places + 1)}, to lie in [0, 1]"],
        readings=[] if possible else [f"{gap.id} is between 0 and {rounded(1 - x.value, places)}", f"{base.id} is lower"],
        data={"implied": float(x.value + z.value)},
    )


def ordered(rule: identities.Ordered, values: Values) -> Finding:
    """A number that cannot exceed another by definition; rounding cannot turn them round."""
    small, large = values[rule.smaller], values[rule.larger]
    holds = at_most(on_scale(small), on_scale(large))
    return Finding(
        id=rule.id,
        severity="ok" if holds else "error",
        title=f"{small.id} {'does' if holds else 'must'} not exceed {large.id}: {rule.because}.",
        claims=[small.id, large.id],
        computation=[f"{small.shown} {'<=' if on_scale(small).value <= on_scale(large).value else '>'} {large.shown}"],
        readings=[] if holds else ["the two numbers are swapped", "they are over different items, so that neither bounds the other"],
    )


def same(rule: identities.Same, values: Values) -> Finding:
    """One quantity printed twice; with equally many decimals it is printed alike."""
    a, b = values[rule.first], values[rule.second]
    holds = alike(on_scale(a), on_scale(b))
    return Finding(
        id=rule.id,
        severity="ok" if holds else "error",
        title=f"{a.id} and {b.id} {'agree' if holds else 'are one quantity printed with two values'}.",
        claims=[a.id, b.id],
        computation=[f"{a.shown} {'=' if holds else '!='} {b.shown}"],
        readings=[] if holds else [f"{a.id} is {b.shown}", f"{b.id} is {a.shown}", "they are over different items"],
    )


def harder_is_lower(rule: identities.HarderIsLower, values: Values) -> Finding:
    """Whether a score falls under the harder condition; a rise beyond rounding needs an explanation."""
    hard, easy = values[rule.harder], values[rule.easier]
    rises = on_scale(hard).interval.low > on_scale(easy).interval.high
    places = max(decimals(hard.value or ""), decimals(easy.value or ""))
    change = rounded(hard.exact - easy.exact, places)
    return Finding(
        id=rule.id,
        severity="warning" if rises else "ok",
        title=f"{easy.id} {'rises' if rises else 'does not rise'} under the harder condition: {easy.shown} -> {hard.shown}.",
        claims=[easy.id, hard.id],
        computation=[f"{hard.shown} - {easy.shown} = {change}"],
        readings=[
            "the two are over different items: stress makes other items refuse, and refusals do not count",
            "the difference is chance; the card gives no interval",
        ]
        if rises
        else [],
    )


# --- counts ------------------------------------------------------------------------------------------------------------


def small_counts(rule: identities.SmallCounts, values: Values) -> Finding:
    """Differences between two arms as numbers of items, with Fisher's exact two-sided p (unpaired: the card does not say which items)."""
    from scipy.stats import fisher_exact

    n = int(values[rule.items].exact)
    refused = [counts_in(on_scale(values[i]).interval, n) for i in rule.refusals]
    pairs: list[tuple[list[str], list[int]]] = [(rule.refusals, [n, n])]
    if all(refused):
        pairs += [(pair, [n - k[0] for k in refused]) for pair in rule.proportions]
    shown, data = [], []
    for (first, second), totals in pairs:
        k = [counts_in(on_scale(values[i]).interval, m) for i, m in zip((first, second), totals, strict=True)]
        if not all(k):
            continue
        (a, b), (m, w) = (k[0][0], k[1][0]), totals
        p = float(fisher_exact([[a, m - a], [b, w - b]]).pvalue)
        shown.append(f"{first} {a}/{m} and {second} {b}/{w}: p = {p:.2g}")
        data.append({"claims": [first, second], "counts": [a, b], "of": [m, w], "p": p})
    far = [t for t in data if float(str(t["p"])) < LEVEL]
    title = "As counts of items, none of these differences is larger than chance alone makes."
    if far:
        verb = "is" if len(far) == 1 else "are"
        title = f"As counts of items, {len(far)} of these {len(data)} differences {verb} larger than chance alone makes."
    return Finding(
        id=rule.id,
        severity="note",
        title=title if data else "These proportions are not counts of items, so their differences cannot be tested.",
        claims=[rule.items, *rule.refusals, *(i for pair in rule.proportions for i in pair)],
        computation=[*shown, "Fisher's exact test, two-sided, unpaired: the card does not say which items the arms answered"],
        data={"tests": data},
    )


# --- compute and the residual ------------------------------------------------------------------------------------------


def doublings(rule: identities.Doublings, values: Values) -> Finding:
    """How many doublings of rollouts lie between two printed scores, and which of them is the higher."""
    few, more = values[rule.fewer], values[rule.more]
    n, m = int(few.rollouts or 0), int(more.rollouts or 0)
    steps = log2(m / n) if n and m else float("nan")
    exact = steps == float(rule.printed)
    short = few.interval.high <= more.interval.low
    places = max(decimals(few.value or ""), decimals(more.value or ""))
    less = "reaches" if not short else "stays below"
    close = abs(few.exact - more.exact) <= 3 * (few.interval.high - few.interval.low)
    good = exact and close
    return Finding(
        id=rule.id,
        # Two scores that only come near each other are a matter of words; other N than the words say is a contradiction.
        severity="ok" if good else "warning" if exact else "error",
        title=f"{few.id} and {more.id} are {steps:g} doubling{'' if steps == 1 else 's'} apart, at "
        + ("the same score but for the last digit." if close else "different scores."),
        claims=[few.id, more.id],
        computation=[
            f"log2({m} / {n}) = {steps:g}, the card says {rule.printed} in words",
            f"{few.shown} - {more.shown} = {rounded(few.exact - more.exact, places)}: N={n} {less} N={m}"
            + (
                f", so the equivalent N is just under {m}, at most {steps:g} doubling{'' if steps == 1 else 's'}" if short and close else ""
            ),
        ],
        readings=[] if good else [f"other N than {n} and {m}", "another pair of scores"],
        data={"doublings": steps},
    )


def zero_gap(rule: identities.ZeroGap, values: Values) -> Finding:
    """What a gap printed as zero says about single quotes, and how the quotes that fail are divided."""
    gap, items, strict, attribution = (values[i] for i in (rule.gap, rule.items, rule.strict, rule.attribution))
    n = int(items.exact)
    top = gap.interval.high
    quotes = floor(1 / (n * top)) if top > 0 else 0
    lost, slips = 1 - attribution.exact, strict.exact - attribution.exact
    places = max(decimals(strict.value or ""), decimals(attribution.value or ""))
    zero = gap.exact == 0
    shown = [
        f"one near miss among the m quotes of one of {n} items is a gap of 1/({n} m): above {gap.shown} as printed for every m < {quotes}"
        if zero
        else f"the gap is {gap.shown}, not zero",
        f"not attributed: 1 - {attribution.shown} = {rounded(lost, places)}; of it {rounded(slips, places)} verbatim elsewhere (slips)",
        f"and 1 - {strict.shown} - {gap.shown} = {rounded(1 - strict.exact - gap.exact, places)} in no document even after normalisation"
        + (f"; less than 1/{n}, so no whole reply is lost" if 0 < 1 - strict.interval.low < Fraction(1, n) else ""),
    ]
    return Finding(
        id=rule.id,
        severity="note",
        title="A gap printed as zero leaves no near miss at all, and slips are not the only failure left."
        if zero and strict.exact < 1
        else "The gap divides the quotes that fail.",
        claims=[gap.id, items.id, strict.id, attribution.id],
        computation=shown,
        readings=[f"slips are {rounded(100 * slips / lost, 0)}% of the residual, quotes found nowhere the rest"] if lost > 0 else [],
        data={"slips": float(slips), "not_found": float(1 - strict.exact - gap.exact)},
    )


# --- words -------------------------------------------------------------------------------------------------------------


def predicate(claim: PredicateClaim, values: Values) -> Finding:
    """A claim of words, tested on the printed numbers; `warning` if it does not hold, since the reading is ours."""
    found = on_card(claim.expression, values)
    return Finding(
        id=f"reading.{claim.id}",
        severity="ok" if found.holds else "warning",
        title=f'"{claim.phrase}" {"holds" if found.holds else "does not hold"} in the reading assumed here.',
        claims=[claim.id, *identities.references(claim.expression)],
        computation=[found.shown],
        readings=[f"assumed: {claim.assumed}"],
    )


# --- all ---------------------------------------------------------------------------------------------------------------

CHECKS: dict[str, Callable[[Any, Values], Finding]] = {
    "difference": difference,
    "implied_share": implied_share,
    "ordered": ordered,
    "same": same,
    "harder_is_lower": harder_is_lower,
    "optimizer_steps": optimizer_steps,
    "keep_top": keep_top,
    "whole_items": whole_items,
    "answered": answered,
    "unknown_denominator": unknown_denominator,
    "small_counts": small_counts,
    "doublings": doublings,
    "zero_gap": zero_gap,
}


def check(identity: Identity, values: Values, count_parameters: bool) -> Finding:
    """The finding of one identity."""
    if isinstance(identity, identities.LoraParameters):
        return lora_parameters(identity, values, count_parameters)
    return CHECKS[identity.rule](identity, values)
