"""The checks an audit makes of an evaluation, and the table of all checks: one function for each kind of identity.

Every check works on what the printed numbers can stand for (their rounding intervals), so a finding never rests on a rounding. Shown
computations use the printed numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import floor, log2
from typing import Any

from cardproof.claims import identities
from cardproof.claims.claims_file import PredicateClaim
from cardproof.claims.findings import Finding, Values, listed, listed_words, span
from cardproof.claims.grim import counts, decimals, denominators, rounded
from cardproof.claims.identities import Identity
from cardproof.claims.predicates import on_card
from cardproof.claims.recipe_checks import keep_top, lora_parameters, optimizer_steps

# --- differences and bounds --------------------------------------------------------------------------------------------


def difference(rule: identities.Difference, values: Values) -> Finding:
    """Printed difference against the difference of the printed numbers, each within its rounding."""
    a, b, d = values[rule.minuend], values[rule.subtrahend], values[rule.difference]
    possible = a.interval - b.interval
    agrees = possible.meets(d.interval)
    places = max(decimals(c.shown) for c in (a, b, d))
    return Finding(
        id=rule.id,
        severity="ok" if agrees else "error",
        title=f"The printed difference {d.shown} {'is' if agrees else 'is not'} {a.shown} - {b.shown}.",
        claims=[a.id, b.id, d.id],
        computation=[
            f"{a.shown} - {b.shown} = {rounded(a.exact - b.exact, places)}, printed {d.shown}",
            f"with rounding: {span(possible, places + 1)} {'meets' if agrees else 'misses'} {span(d.interval, places + 1)}",
        ],
        readings=[]
        if agrees
        else [
            f"{d.id} is {rounded(a.exact - b.exact, places)}",
            f"{a.id} is {rounded(b.exact + d.exact, places)}",
            f"{b.id} is {rounded(a.exact - d.exact, places)}",
        ],
    )


def implied_share(rule: identities.ImpliedShare, values: Values) -> Finding:
    """A share the card implies without printing it; it cannot exceed 1, and a gap cannot be negative."""
    base, gap = values[rule.base], values[rule.difference]
    reach = base.interval + gap.interval
    places = max(decimals(base.shown), decimals(gap.shown))
    possible = reach.low <= 1 and gap.interval.high >= 0
    found = rounded(base.exact + gap.exact, places)
    return Finding(
        id=rule.id,
        severity="note" if possible else "error",
        title=f"The card implies {rule.what}: {found}." if possible else f"The card implies an impossible {rule.what}: {found}.",
        claims=[base.id, gap.id],
        computation=[f"{base.shown} + {gap.shown} = {found}, with rounding {span(reach, places + 1)}, to lie in [0, 1]"],
        readings=[] if possible else [f"{gap.id} is at most {rounded(1 - base.exact, places)}", f"{base.id} is lower"],
        data={"implied": float(base.exact + gap.exact)},
    )


def ordered(rule: identities.Ordered, values: Values) -> Finding:
    """A number that cannot exceed another by definition."""
    small, large = values[rule.smaller], values[rule.larger]
    holds = small.interval.low <= large.interval.high
    return Finding(
        id=rule.id,
        severity="ok" if holds else "error",
        title=f"{small.id} {'does' if holds else 'must'} not exceed {large.id}: {rule.because}.",
        claims=[small.id, large.id],
        computation=[f"{small.shown} {'<=' if small.exact <= large.exact else '>'} {large.shown}"],
        readings=[] if holds else ["the two numbers are swapped", "they are over different items, so that neither bounds the other"],
    )


def same(rule: identities.Same, values: Values) -> Finding:
    """One quantity printed twice."""
    a, b = values[rule.first], values[rule.second]
    holds = a.interval.meets(b.interval)
    return Finding(
        id=rule.id,
        severity="ok" if holds else "error",
        title=f"{a.id} and {b.id} {'agree' if holds else 'are one quantity printed with two values'}.",
        claims=[a.id, b.id],
        computation=[f"{a.shown} {'=' if a.exact == b.exact else '!='} {b.shown}"],
        readings=[] if holds else [f"{a.id} is {b.shown}", f"{b.id} is {a.shown}", "they are over different items"],
    )


def harder_is_lower(rule: identities.HarderIsLower, values: Values) -> Finding:
    """Whether a score falls under the harder condition; where it rises beyond rounding, that asks for an explanation."""
    hard, easy = values[rule.harder], values[rule.easier]
    rises = hard.interval.low > easy.interval.high
    places = max(decimals(hard.shown), decimals(easy.shown))
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


def whole_items(rule: identities.WholeItems, values: Values) -> Finding:
    """A percentage of the items as a number of items."""
    share, n = values[rule.percent], values[rule.items]
    of_items = [k for k in range(int(n.exact) + 1) if share.interval.holds(Fraction(100 * k) / n.exact)]
    found = share.exact * n.exact / 100
    return Finding(
        id=rule.id,
        severity="ok" if of_items else "error",
        title=f"{share.shown} of {n.shown} items {'is a whole number of items' if of_items else 'cannot be a number of items'}.",
        claims=[share.id, n.id],
        computation=[
            f"{share.value}/100 x {n.shown} = {rounded(found, 1)}; items that print as {share.shown}: {listed(of_items) or 'none'}"
        ],
        readings=[] if of_items else ["each item drops its oracle by chance, and the percentage is the chance", "another number of items"],
        data={"items": of_items},
    )


def answered(rule: identities.Answered, values: Values) -> Finding:
    """GRIM: the denominators that false refusals leave; the arm's proportions must be possible over one of them, or over all items."""
    items, refusals = values[rule.items], values[rule.refusals]
    n = int(items.exact)
    refused = counts(refusals.value or "", n)
    left = [n - k for k in refused]
    shown = [f"false refusals {refusals.shown} of {n}: {listed(refused) or 'no number of'} items, so {listed(left) or 'none'} answered"]
    problems: list[str] = [] if refused else [f"{refusals.id} is over other items than {n}"]
    if refused and refusals.exact > 1:
        problems.append(f"{refusals.id} is a percentage")
    for claim in (values[i] for i in rule.proportions):
        text = claim.value or ""
        fits = {m: counts(text, m) for m in left if counts(text, m)}
        over_all = counts(text, n)
        every = denominators(text, n, least=n // 2 + 1)
        if fits:
            which = "; ".join(f"{listed(k)}/{m} = {claim.shown}" for m, k in fits.items())
            only = "every denominator does" if len(every) == n - n // 2 else f"of {n // 2 + 1} to {n} only {listed(list(every))}"
            shown.append(f"{claim.id}: {which} ({only})" + (f"; also {listed(over_all)}/{n}" if over_all else f"; not k/{n}"))
        else:
            shown.append(f"{claim.id}: {claim.shown} is no k/{listed(left) or n}")
            problems.append(f"{claim.id} is over another number of items: {listed(list(every)) or f'none up to {n} fits'}")
    never: list[Any] = []
    could: list[Any] = []
    for claim in (values[i] for i in rule.means):
        (could if any(counts(claim.value or "", m) for m in {*left, n}) else never).append(claim)
    if never:
        shown.append(
            f"{' and '.join(f'{c.id} {c.shown}' for c in never)}: no k/{listed(left)} and no k/{n}, so a mean of per-item ratios, "
            "to which GRIM does not apply"
        )
    if could:
        shown.append(f"{' and '.join(f'{c.id} {c.shown}' for c in could)}: could be a proportion; taken as a mean, GRIM is not applied")
    good = not problems
    return Finding(
        id=rule.id,
        severity="note" if good else "error",
        title=f"False refusals leave {listed(left)} of {n} items answered by {rule.arm}, and its proportions fit."
        if good
        else f"{rule.arm}: a printed proportion is impossible for the items its false refusals leave.",
        claims=[items.id, refusals.id, *rule.proportions, *rule.means],
        computation=shown,
        readings=problems,
        data={"arm": rule.arm, "answered": left, "not_proportions": [c.id for c in never], "could_be_proportions": [c.id for c in could]},
    )


def unknown_denominator(rule: identities.UnknownDenominator, values: Values) -> Finding:
    """Which means could be proportions of any number of items up to all of them."""
    items = values[rule.items]
    n = int(items.exact)
    found = {i: denominators(values[i].value or "", n) for i in rule.means}
    never = [i for i, fits in found.items() if not fits]
    shown = [
        f"{i} {values[i].shown}: " + (f"k/m for m = {listed(list(fits))}" if fits else f"no k/m for any m up to {n}")
        for i, fits in found.items()
    ]
    return Finding(
        id=rule.id,
        severity="note",
        title=f"{listed_words(never)} cannot be proportions of any number of items, so they are means of per-item ratios."
        if never
        else "Each of these means could also be a proportion of some number of items.",
        claims=[items.id, *rule.means],
        computation=[*shown, "the card does not say how many items were answered here, so no denominator is tested"],
        data={"not_proportions": never},
    )


def small_counts(rule: identities.SmallCounts, values: Values) -> Finding:
    """Differences between two arms as numbers of items, with Fisher's exact two-sided p (unpaired: the card does not say which items)."""
    from scipy.stats import fisher_exact

    n = int(values[rule.items].exact)
    refused = [counts(values[i].value or "", n) for i in rule.refusals]
    pairs: list[tuple[list[str], list[int]]] = [(rule.refusals, [n, n])]
    if all(refused):
        pairs += [(pair, [n - k[0] for k in refused]) for pair in rule.proportions]
    shown, data = [], []
    for (first, second), totals in pairs:
        k = [counts(values[i].value or "", m) for i, m in zip((first, second), totals, strict=True)]
        if not all(k):
            continue
        (a, b), (m, w) = (k[0][0], k[1][0]), totals
        p = float(fisher_exact([[a, m - a], [b, w - b]]).pvalue)
        shown.append(f"{first} {a}/{m} and {second} {b}/{w}: p = {p:.2f}")
        data.append({"claims": [first, second], "counts": [a, b], "of": [m, w], "p": p})
    return Finding(
        id=rule.id,
        severity="note",
        title="As counts of items, the differences between these proportions are small.",
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
    places = max(decimals(few.shown), decimals(more.shown))
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
    places = max(decimals(strict.shown), decimals(attribution.shown))
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
    """A claim of words, tested on the printed numbers; `warning` where it does not hold, since the reading is ours."""
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
