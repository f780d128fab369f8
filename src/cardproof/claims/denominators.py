"""Over how many items? GRIM on an arm's proportions together, the items its false refusals leave, and stated numbers of items."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from cardproof.claims import identities
from cardproof.claims.claims_file import ClaimsFile, ValueClaim
from cardproof.claims.findings import Finding, Number, Values, listed, listed_words, on_scale
from cardproof.claims.grim import ExactInterval, counts_in, denominators

MOST_LISTED = 100
"""Of the numbers of items that false refusals leave, so many are listed."""


class Reading(NamedTuple):
    """One way to read an arm's proportions: all of them over m items, rounded or cut off."""

    items: int
    cut: bool
    failing: list[ValueClaim]

    def span(self, number: Number) -> ExactInterval:
        """What a printed number can stand for in this reading."""
        return number.cut if self.cut else number.interval


def readings(proportions: list[ValueClaim], candidates: Iterable[int]) -> list[Reading]:
    """Readings over one of the candidate numbers of items, rounded first, up to the first that all proportions fit; they share it."""
    numbers = [(c, on_scale(c)) for c in proportions]
    found = []
    for cut in (False, True):
        for m in candidates:
            found.append(Reading(m, cut, [c for c, n in numbers if not counts_in(n.cut if cut else n.interval, m)]))
            if not found[-1].failing:
                return found
    return found


def answered(rule: identities.Answered, values: Values) -> Finding:
    """GRIM: the denominators that false refusals leave; the arm's proportions must all be possible over one of them, or over all items."""
    items, refusals = values[rule.items], values[rule.refusals]
    n = int(items.exact)
    refused = counts_in(on_scale(refusals).interval, n)
    cut_refusals = not refused
    refused = refused or counts_in(on_scale(refusals).cut, n)
    left = [n - k for k in refused]
    shown = [f"false refusals {refusals.shown} of {n}: {listed(refused) or 'no number of'} items, so {listed(left) or 'none'} answered"]
    proportions = [values[i] for i in rule.proportions]
    tried = readings(proportions, [*left, *([n] if n not in left else [])]) if refused else []
    best = min(tried, key=lambda r: len(r.failing), default=None)
    shown += [_counts_of(c, best, n) for c in proportions] if best else []
    means, data = _means(rule, values, left, n)
    if best is None:
        failing, title = [], f"{refusals.shown} false refusals are not a whole number of {n} items."
        possible = [f"{refusals.id} is over another number of items", f"{refusals.id} has another value"]
    elif best.failing:
        # Where each fits some number of items, but no two the same, all of them contradict each other.
        alone = [c for c in proportions if all(c in r.failing for r in tried)]
        failing = alone or proportions
        names = listed_words([c.id for c in failing])
        what = "a proportion of the" if alone else "proportions of one number of"
        title = f"{rule.arm}: {names} cannot be {what} items left."
        possible = [f"{c.id} is over {_others(c, n)}" for c in failing] + ["another number of false refusals"]
    else:
        failing, possible = [], _conditions(best, left, n, cut_refusals)
        title = f"False refusals leave {listed(left)} of {n} items answered by {rule.arm}, and its proportions fit"
        title += f" only if {' and '.join(possible)}." if possible else "."
    good = best is not None and not best.failing
    return Finding(
        id=rule.id,
        severity="note" if good else "error",
        title=title,
        claims=[items.id, refusals.id, *([*rule.proportions, *rule.means] if good else [c.id for c in failing])],
        computation=[*shown, *means] if good else shown,
        readings=possible,
        data={"arm": rule.arm, "answered": left[:MOST_LISTED], **data},
    )


def _conditions(reading: Reading, left: list[int], n: int, cut_refusals: bool) -> list[str]:
    """What a consistent reading asks for beyond the usual."""
    found = [f"its axes are over all {n} items"] if reading.items not in left else []
    found += ["its proportions are cut off, not rounded"] if reading.cut else []
    found += ["its false refusals are cut off, not rounded"] if cut_refusals else []
    return found


def _counts_of(claim: ValueClaim, reading: Reading, most: int) -> str:
    """A proportion as counts in a reading, and whether it is none over all items."""
    k = counts_in(reading.span(on_scale(claim)), reading.items)
    other = "" if counts_in(on_scale(claim).interval, most) or reading.items == most else f"; no k/{most}"
    found = f"{listed(k)}/{reading.items} = {claim.shown}" if k else f"{claim.shown} is not k/{reading.items}"
    return f"{claim.id}: {found}{other}"


def _others(claim: ValueClaim, n: int) -> str:
    """The denominators over half the items and more that a proportion fits."""
    some, always = denominators(on_scale(claim).interval, n, least=n // 2 + 1)
    if always:
        some = [*some, always]
    return f"{listed(some)} items" if some else f"no number of items up to {n}"


def _means(rule: identities.Answered, values: Values, left: list[int], n: int) -> tuple[list[str], dict[str, list[str]]]:
    """Which of an arm's means cannot be proportions of its items; GRIM does not apply to them."""
    never: list[ValueClaim] = []
    could: list[ValueClaim] = []
    for claim in (values[i] for i in rule.means):
        (could if any(counts_in(on_scale(claim).interval, m) for m in {*left, n}) else never).append(claim)
    shown = []
    if never:
        names = " and ".join(f"{c.id} {c.shown}" for c in never)
        shown.append(f"{names}: no k/{listed(left)} and no k/{n}, so a mean of per-item ratios, to which GRIM does not apply")
    if could:
        names = " and ".join(f"{c.id} {c.shown}" for c in could)
        shown.append(f"{names}: could be a proportion; taken as a mean, GRIM is not applied")
    return shown, {"not_proportions": [c.id for c in never], "could_be_proportions": [c.id for c in could]}


def unknown_denominator(rule: identities.UnknownDenominator, values: Values) -> Finding:
    """Which means could be proportions of any number of items up to all of them."""
    items = values[rule.items]
    n = int(items.exact)
    found = {i: denominators(on_scale(values[i]).interval, n) for i in rule.means}
    never = [i for i, (some, always) in found.items() if not some and always is None]
    shown = []
    for i, (some, always) in found.items():
        fits = " and ".join(filter(None, [listed(some), f"every m from {always}" if always else ""]))
        shown.append(f"{i} {values[i].shown}: " + (f"k/m for m = {fits}" if fits else f"no k/m for any m up to {n}"))
    return Finding(
        id=rule.id,
        severity="note",
        title=f"{listed_words(never)} cannot be {'a proportion' if len(never) == 1 else 'proportions'} of any number of items up to {n}."
        if never
        else "Each of these means could also be a proportion of some number of items.",
        claims=[items.id, *rule.means],
        computation=[*shown, "the card does not say how many items were answered here, so no denominator is tested"],
        data={"not_proportions": never},
    )


def whole_items(rule: identities.WholeItems, values: Values) -> Finding:
    """A percentage of the items as a number of items; a rate that is none of them can only be a chance for each item."""
    share, n = values[rule.percent], values[rule.items]
    number = on_scale(share)
    of_items = list(counts_in(number.interval, int(n.exact)))
    found = number.value * n.exact
    return Finding(
        id=rule.id,
        severity="ok" if of_items else "note",
        title=f"{share.shown} of {n.shown} items {'is a whole number of items' if of_items else 'fits only as a chance for each item'}.",
        claims=[share.id, n.id],
        computation=[f"{share.shown} of {n.shown} is {float(found):g}; items that print as {share.shown}: {listed(of_items) or 'none'}"],
        readings=[] if of_items else ["each item is dropped by chance, and the percentage is the chance", "another number of items"],
        data={"items": of_items},
    )


# --- stated numbers of items ------------------------------------------------------------------------------------------------


def headings(file: ClaimsFile) -> set[str]:
    """The claims that say over how many items a card's numbers are."""
    return {str(i.items) for i in file.identities if hasattr(i, "items")}


def stated_items(file: ClaimsFile) -> Iterator[Finding]:
    """The n of a row against the number of items the heading states; a row may also be over the items that an arm answered."""
    values = file.values()
    heads = headings(file)
    if len(heads) != 1:
        return
    head = values[next(iter(heads))]
    n = int(head.exact)
    left: dict[str | None, set[int]] = defaultdict(set)
    for rule in file.identities:
        if isinstance(rule, identities.Answered):
            left[rule.arm] |= {n - k for k in counts_in(on_scale(values[rule.refusals]).cut, n)}
    own = [c for c in values.values() if c.n is not None and c.value is not None]
    # A section of its own, all of whose numbers state one other n, is another evaluation.
    sections: dict[str, set[int | None]] = defaultdict(set)
    for claim in own:
        sections[claim.where.section].add(claim.n)
    others = {s for s, found in sections.items() if len(found) == 1 and s not in {head.where.section, *head.where.again}}
    bad = [c for c in own if c.n != n and c.n not in left[c.arm] and c.where.section not in others]
    if bad:
        yield Finding(
            id="stated_items",
            severity="error",
            title=f"{listed_words([c.id for c in bad[:3]])}{' and others' if len(bad) > 3 else ''} "
            f"state another number of items than {head.id}.",
            claims=[head.id, *(c.id for c in bad)],
            computation=[f"{head.id} {n}; " + ", ".join(f"{c.id} n = {c.n}" for c in bad[:6])],
            readings=[f"{head.id} is {bad[0].n}", "these rows are over other items"],
        )
    elif own:
        yield Finding(
            id="stated_items",
            severity="ok",
            title=f"The stated numbers of items agree with {head.id}.",
            claims=[head.id],
            computation=[f"{len(own)} numbers over {n} items or the answered ones of them"],
        )


def proportions_of_n(file: ClaimsFile) -> Iterator[Finding]:
    """GRIM where no false refusals are printed: the proportions of one arm with a stated n, together."""
    covered = {i for rule in file.identities if isinstance(rule, identities.Answered) for i in (rule.refusals, *rule.proportions)}
    groups: dict[tuple[str | None, int], list[ValueClaim]] = defaultdict(list)
    for claim in file.values().values():
        if claim.kind == "proportion" and claim.n and claim.value is not None and claim.id not in covered:
            groups[(claim.arm, claim.n)].append(claim)
    for (arm, n), claims in groups.items():
        best = min(readings(claims, [n]), key=lambda r: len(r.failing))
        name = f"{arm or 'card'}.{n}"
        if best.failing:
            yield Finding(
                id=f"proportions.{name}",
                severity="error",
                title=f"{listed_words([c.id for c in best.failing])} cannot be a proportion of {n} items.",
                claims=[c.id for c in best.failing],
                computation=[_counts_of(c, best, n) for c in best.failing],
                readings=[f"{c.id} is over {_others(c, n)}" for c in best.failing[:3]] + ["it is a mean of per-item ratios"],
            )
        else:
            yield Finding(
                id=f"proportions.{name}",
                severity="note" if best.cut else "ok",
                title=f"The proportions over {n} items fit{' only if they are cut off, not rounded' if best.cut else ''}.",
                claims=[c.id for c in claims],
                computation=[_counts_of(c, best, n) for c in claims],
                readings=["cut off, not rounded"] if best.cut else [],
            )
