"""The checks an audit makes of a training recipe: optimizer steps, kept examples, parameters."""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import NamedTuple

from cardproof.cards.architecture import choices, read_architecture
from cardproof.claims import identities
from cardproof.claims.claims_file import FACTOR, ValueClaim
from cardproof.claims.findings import Finding, Values, listed
from cardproof.claims.grim import ExactInterval, rounded, rounding_interval, truncation_interval
from cardproof.models import sizes as parameters

MOST_VALUES = 100
"""Of the values that mend a recipe, so many are listed."""


class StepReading(NamedTuple):
    """One number of the recipe that, changed alone, makes it consistent; `values` all work."""

    name: str
    printed: int
    values: range


def step_readings(examples: int, batch: int, epochs: int, steps: int) -> list[StepReading]:
    """Every change of a single number that satisfies steps = ceil(examples / batch) x epochs.

    ceil(x / batch) = q holds for (q - 1) batch < x <= q batch, and ceil(examples / x) = q for examples / q <= x < examples / (q - 1).
    """
    q, rest = divmod(steps, epochs)
    per_epoch = ceil(examples / batch)
    found = []
    if not rest and q:
        found.append(StepReading("examples", examples, range((q - 1) * batch + 1, q * batch + 1)))
        last = (examples - 1) // (q - 1) if q > 1 else max(examples, 2 * batch)
        found.append(StepReading("batch", batch, range(ceil(examples / q), last + 1)))
    if steps % per_epoch == 0:
        found.append(StepReading("epochs", epochs, range(steps // per_epoch, steps // per_epoch + 1)))
    found.append(StepReading("steps", steps, range(per_epoch * epochs, per_epoch * epochs + 1)))
    return [r for r in found if r.values]


def optimizer_steps(rule: identities.OptimizerSteps, values: Values) -> Finding:
    """The steps that examples, batch and epochs make, against the printed steps; where they differ, every one-number repair."""
    claims = {name: values[getattr(rule, name)] for name in ("examples", "batch", "epochs", "steps")}
    e, b, p, s = (int(c.exact) for c in claims.values())
    per_epoch, whole = ceil(e / b), e // b
    ways = {
        "": per_epoch * p,
        "the last, partial batch of an epoch is dropped": whole * p,
        "batches go on over the ends of epochs": ceil(e * p / b),
        "batches go on over the ends of epochs and the last is dropped": e * p // b,
    }
    how = next((name for name, made in ways.items() if made == s), None)
    shown = [f"ceil({e} / {b}) x {p} = {per_epoch} x {p} = {per_epoch * p}, printed {s}"]
    if whole == per_epoch:
        shown.append(f"{e} / {b} leaves no partial batch, so dropping or keeping the last one changes nothing")
    else:
        others = sorted(set(ways.values()) - {per_epoch * p})
        shown.append(f"last batches dropped, or batches joined over epochs: {listed(others) or per_epoch * p}")
    found = step_readings(e, b, p, s) if how is None else []
    return Finding(
        id=rule.id,
        severity="error" if how is None else "note" if how else "ok",
        title=f"The printed recipe makes {per_epoch * p} optimizer steps"
        + (f", not {s}." if how is None else f", or {s} if {how}." if how else "."),
        claims=[c.id for c in claims.values()],
        computation=shown,
        readings=[_step_sentence(r, e, b, p) for r in found] if how is None else [how] if how else [],
        data={
            "made": per_epoch * p,
            "printed": s,
            "readings": [{"change": r.name, "from": r.printed, "to": list(r.values[:MOST_VALUES])} for r in found],
        },
    )


def _step_sentence(reading: StepReading, examples: int, batch: int, epochs: int) -> str:
    """A reading with its arithmetic; if several values work, it is shown for a multiple or divisor of the printed one."""
    printed, found = reading.printed, reading.values
    plain = next((v for v in found[:MOST_VALUES] if v % printed == 0 or printed % v == 0), found[0])
    recipe = {"examples": examples, "batch": batch, "epochs": epochs} | {reading.name: plain}
    made = ceil(recipe["examples"] / recipe["batch"]) * recipe["epochs"]
    what = {
        "examples": f"{plain} examples in an epoch instead of {printed}",
        "batch": f"an effective batch of {plain} instead of {printed}",
        "epochs": f"{plain} epoch{'s' if plain > 1 else ''} instead of {printed}",
        "steps": f"{plain} steps instead of {printed}",
    }[reading.name]
    if plain != printed and plain % printed == 0:
        what += f" (= {plain // printed} x the printed)"
    elif plain != printed and printed % plain == 0:
        what += f" (= the printed / {printed // plain})"
    other = f"; {f'{found[0]} to {found[-1]}' if len(found) > 3 else listed(found)} all work" if len(found) > 1 else ""
    return f"{what}: ceil({recipe['examples']} / {recipe['batch']}) x {recipe['epochs']} = {made}{other}"


def keep_top(rule: identities.KeepTop, values: Values) -> Finding:
    """Examples kept against the most that keep-top can keep, the train half being as large as the held-out half."""
    e, k, n = (values[i] for i in (rule.examples, rule.keep, rule.items))
    most = int(k.exact * n.exact)
    larger = most < e.exact <= most + k.exact
    holds = e.exact <= most or larger
    least = ceil(e.exact / k.exact)
    return Finding(
        id=rule.id,
        severity="note" if larger else "ok" if holds else "error",
        title=f"{e.shown} examples are {'possible' if holds else 'impossible'} with {k.shown} kept of each of {n.shown} training items"
        + (" only if the training half is one item larger." if larger else "."),
        claims=[e.id, k.id, n.id],
        computation=[
            f"at most {k.shown} x {n.shown} = {most}; {e.shown} {'<=' if holds else '>'} {most} (each half of the split holds {n.shown})",
            f"at least ceil({e.shown} / {k.shown}) = {least} items gave an example; {rounded(e.exact / n.exact, 2)} of each on average",
        ],
        readings=[f"{int(n.exact) + 1} training items: {k.shown} x {int(n.exact) + 1} = {most + int(k.exact)}"]
        if larger
        else []
        if holds
        else ["more training questions than held-out items", "more candidates kept for each question", "fewer examples"],
        data={"most": most, "least_questions": least},
    )


def lora_parameters(rule: identities.LoraParameters, values: Values, count: bool) -> Finding:
    """The adapter's size, computed and (if `count`) counted on real modules, against the printed size and share."""
    rank, trainable, share = values[rule.rank], values[rule.trainable], values[rule.share]
    r = int(rank.exact)
    sizes, shown = _sizes(rule.model, r, count)
    size = _size_reading(rule.model, r, trainable, sizes.trainable)
    shown.append(f"{sizes.trainable:,} trainable, printed {trainable.shown}{'' if size.fits else '; no usual choice of layers prints so'}")
    shares = {"base": Fraction(sizes.trainable, sizes.base), "total": Fraction(sizes.trainable, sizes.total)}
    which = {"base": "of the base", "total": "of base and adapter"}
    means, condition = _share_reading(share, shares)
    shown.append(
        f"{rounded(100 * shares['base'], 4)}% of the base, {rounded(100 * shares['total'], 4)}% of base and adapter ({sizes.total:,}); "
        f"printed {share.shown}: " + (" or ".join(which[m] for m in means) or "neither")
    )
    conditions = [c for c in (size.condition, condition) if c]
    good = size.fits and bool(means)
    # Of the size and the share, only what does not fit is contradicted.
    blamed = [rank.id, *([] if size.fits else [trainable.id]), *([] if means else [share.id])]
    cut = conditions == [CUT]
    title = f"LoRA r={rank.shown} on all linear layers of {rule.model} has {sizes.trainable:,} trainable parameters"
    if not good:
        title += ", which the card's size or share does not print."
    elif cut:
        title += f": printed cut off, {trainable.shown}."
    else:
        title += f"; the printed {trainable.shown} and {share.shown} fit only if {' and '.join(conditions)}." if conditions else "."
    readings = [f"{trainable.shown} is {sizes.trainable:,} with its decimals cut off, not rounded"] if cut else list(conditions)
    if not size.fits:
        readings.append("another rank, other layers, or layers trained whole beside the adapter")
    if not means:
        readings.append(f"{share.id} is {rounded(100 * shares['total'], 2)}% of all or {rounded(100 * shares['base'], 2)}% of the base")
    return Finding(
        id=rule.id,
        severity="error" if not good else "warning" if cut else "note" if conditions else "ok",
        title=title,
        claims=[rank.id, trainable.id, share.id] if good else blamed,
        computation=shown,
        readings=readings,
        data={
            "trainable": sizes.trainable,
            "base": sizes.base,
            "total": sizes.total,
            "how": sizes.how,
            "share_of_base": float(100 * shares["base"]),
            "share_of_total": float(100 * shares["total"]),
            "printed_share_is_of": means,
        },
    )


CUT = "the size is cut off, not rounded"


class _Size(NamedTuple):
    fits: bool
    condition: str
    """What the printed size asks for; empty where it is all linear layers, rounded."""


def _sizes(model: str, rank: int, count: bool) -> tuple[parameters.Parameters, list[str]]:
    """The sizes by arithmetic, or counted on real modules, and how they were found; any other model's by its `config.json`."""
    if model.endswith(".json"):
        modules = read_architecture(Path(model))
        sizes = parameters.Parameters(modules.lora(rank), modules.base, "counted on the meta device")
        return sizes, [f"counted on the modules of {modules.name}: LoRA on all linear layers {sizes.trainable:,}, base {sizes.base:,}"]
    computed = parameters.computed(model, rank)
    real = parameters.counted(model, rank) if count else None
    shown = [f"from the layer sizes: LoRA on all linear layers {computed.trainable:,}, base {computed.base:,}"]
    if real is None:
        return computed, shown
    agree = "the same" if (real.trainable, real.base) == (computed.trainable, computed.base) else "not the same"
    return real, [*shown, f"counted on the meta device: {real.trainable:,} trainable, base {real.base:,}: {agree}"]


def _size_reading(model: str, rank: int, trainable: ValueClaim, size: int) -> _Size:
    """The choice of layers that prints as the card's size: all linear ones first, then the usual others."""
    factor = FACTOR.get(trainable.unit, Fraction(1))
    text = trainable.value or ""
    nearest = ExactInterval(trainable.exact, trainable.exact) if trainable.unit == "count" else rounding_interval(text)
    if nearest.holds(size * factor):
        return _Size(True, "")
    if trainable.unit != "count" and truncation_interval(text).holds(size * factor):
        return _Size(True, CUT)
    others = choices(read_architecture(Path(model)), rank, set()) if model.endswith(".json") else parameters.usual(model, rank)
    for name, other in others.items():
        if nearest.holds(other * factor):
            return _Size(True, f"LoRA is on {name} ({other:,})")
    return _Size(False, "")


def _share_reading(share: ValueClaim, shares: dict[str, Fraction]) -> tuple[list[str], str]:
    """What the printed share is of, and the condition it asks for: a percentage given as a share, or decimals cut off."""
    text, percent = share.value or "", share.unit == "percent"
    for span, cut in ((rounding_interval(text), ""), (truncation_interval(text), "the share is cut off, not rounded")):
        for factor in (100, 1) if percent else (1, 100):
            means = [name for name, value in shares.items() if span.holds(value * factor)]
            if means:
                other = "" if (factor == 100) == percent else f"{text} is a {'percentage' if factor == 100 else 'share of 1'}"
                return means, " and ".join(filter(None, [other, cut]))
    return [], ""
