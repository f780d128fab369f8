"""The checks an audit makes of a training recipe: optimizer steps, kept examples, parameters."""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from typing import NamedTuple

from cardproof.claims import identities
from cardproof.claims.findings import Finding, Severity, Values, listed
from cardproof.claims.grim import decimals, rounded, rounding_interval, truncation_interval
from cardproof.models import sizes as parameters


class StepReading(NamedTuple):
    """One number of the recipe that, changed alone, makes it consistent; `values` all work."""

    name: str
    printed: int
    values: list[int]


def step_readings(examples: int, batch: int, epochs: int, steps: int) -> list[StepReading]:
    """Every change of a single number that satisfies steps = ceil(examples / batch) x epochs, found by trying all."""
    recipe = {"examples": examples, "batch": batch, "epochs": epochs, "steps": steps}
    found = []
    for name, printed in recipe.items():
        tried = ({**recipe, name: value} for value in range(1, max(4 * printed, 2 * examples) + 1))
        working = [r[name] for r in tried if ceil(r["examples"] / r["batch"]) * r["epochs"] == r["steps"]]
        if working:
            found.append(StepReading(name, printed, working))
    return found


def optimizer_steps(rule: identities.OptimizerSteps, values: Values) -> Finding:
    """The steps that examples, batch and epochs make, against the printed steps; where they differ, every one-number repair."""
    claims = {name: values[getattr(rule, name)] for name in ("examples", "batch", "epochs", "steps")}
    e, b, p, s = (int(c.exact) for c in claims.values())
    per_epoch, whole = ceil(e / b), e // b
    made = {per_epoch * p, whole * p}
    shown = [f"ceil({e} / {b}) x {p} = {per_epoch} x {p} = {per_epoch * p}, printed {s}"]
    if whole == per_epoch:
        shown.append(f"{e} / {b} leaves no partial batch, so dropping or keeping the last one changes nothing")
    else:
        shown.append(f"without the last, partial batch: floor({e} / {b}) x {p} = {whole * p}")
    agrees = s in made
    readings = [] if agrees else [_step_sentence(r, e, b, p) for r in step_readings(e, b, p, s)]
    return Finding(
        id=rule.id,
        severity="ok" if agrees else "error",
        title=f"The printed recipe makes {per_epoch * p} optimizer steps{'' if agrees else f', not {s}'}.",
        claims=[c.id for c in claims.values()],
        computation=shown,
        readings=readings,
        data={
            "made": per_epoch * p,
            "printed": s,
            "readings": [] if agrees else [{"change": r.name, "from": r.printed, "to": r.values} for r in step_readings(e, b, p, s)],
        },
    )


def _step_sentence(reading: StepReading, examples: int, batch: int, epochs: int) -> str:
    """A reading with its arithmetic; of several values, the one that is a whole multiple or part of the printed one is worked out."""
    printed, found = reading.printed, reading.values
    plain = next((v for v in found if v % printed == 0 or printed % v == 0), found[0])
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
    other = f"; {listed(found)} all work" if len(found) > 1 else ""
    return f"{what}: ceil({recipe['examples']} / {recipe['batch']}) x {recipe['epochs']} = {made}{other}"


def keep_top(rule: identities.KeepTop, values: Values) -> Finding:
    """Examples kept against the most that keep-top can keep, the train half being as large as the held-out half."""
    e, k, n = (values[i] for i in (rule.examples, rule.keep, rule.items))
    most = int(k.exact * n.exact)
    holds = e.exact <= most
    least = ceil(e.exact / k.exact)
    return Finding(
        id=rule.id,
        severity="ok" if holds else "error",
        title=f"{e.shown} examples are {'possible' if holds else 'impossible'} with {k.shown} kept of each of {n.shown} training items.",
        claims=[e.id, k.id, n.id],
        computation=[
            f"at most {k.shown} x {n.shown} = {most}; {e.shown} {'<=' if holds else '>'} {most} (each half of the split holds {n.shown})",
            f"at least ceil({e.shown} / {k.shown}) = {least} items gave an example; {rounded(e.exact / n.exact, 2)} of each on average",
        ],
        readings=[]
        if holds
        else ["more training questions than held-out items", "more candidates kept for each question", "fewer examples"],
        data={"most": most, "least_questions": least},
    )


def lora_parameters(rule: identities.LoraParameters, values: Values, count: bool) -> Finding:
    """The adapter's size, computed and (if `count`) counted on real modules, against the printed size and share."""
    rank, trainable, share = values[rule.rank], values[rule.trainable], values[rule.share]
    sizes = parameters.computed(rule.model, int(rank.exact))
    shown = [
        f"computed from the layer sizes of {rule.model}: LoRA r={rank.shown} on all linear layers {sizes.trainable:,}, base {sizes.base:,}"
    ]
    real = parameters.counted(rule.model, int(rank.exact)) if count else None
    if real:
        agree = "the same" if (real.trainable, real.base) == (sizes.trainable, sizes.base) else "not the same"
        shown.append(f"counted on the meta device (transformers, peft): {real.trainable:,} trainable, base {real.base:,}: {agree}")
        sizes = real
    printed, millions = trainable.value or "", Fraction(sizes.trainable, 10**6)
    nearest, cut = rounding_interval(printed).holds(millions), truncation_interval(printed).holds(millions)
    shown.append(
        f"{sizes.trainable:,} / 10^6 = {rounded(millions, 3)}: rounded {rounded(millions, decimals(printed))}M, printed {trainable.shown}"
    )
    shares = {"base": Fraction(100 * sizes.trainable, sizes.base), "total": Fraction(100 * sizes.trainable, sizes.total)}
    means = [name for name, value in shares.items() if share.interval.holds(value)]
    which = {"base": "of the base", "total": "of base and adapter"}
    shown.append(
        f"share of the base {rounded(shares['base'], 4)}%, of base and adapter ({sizes.total:,}) {rounded(shares['total'], 4)}%; "
        f"printed {share.shown}: " + (" or ".join(which[m] for m in means) or "neither")
    )
    readings = []
    if not nearest and cut:
        readings.append(f"{trainable.shown} is {sizes.trainable:,} with its decimals cut off, not rounded")
    if not nearest:
        fits = [
            s
            for s, size in parameters.subsets(rule.model, int(rank.exact)).items()
            if rounding_interval(printed).holds(Fraction(size, 10**6))
        ]
        readings.append(
            f"LoRA on {', '.join(fits[0])} only" if fits else f"no other choice of linear layers gives {trainable.shown} rounded"
        )
    if not means:
        places = decimals(share.value or "")
        readings.append(f"{share.id} is {rounded(shares['total'], places)}% of all or {rounded(shares['base'], places)}% of the base")
    good = (nearest or cut) and bool(means)
    severity: Severity = "error" if not good else "ok" if nearest else "warning"
    title = f"LoRA r={rank.shown} on all linear layers of {rule.model} has {sizes.trainable:,} trainable parameters"
    title += {"error": ", which the card's size or share does not print.", "ok": ".", "warning": f": printed cut off, {trainable.shown}."}[
        severity
    ]
    return Finding(
        id=rule.id,
        severity=severity,
        title=title,
        claims=[rank.id, trainable.id, share.id],
        computation=shown,
        readings=readings,
        data={
            "trainable": sizes.trainable,
            "base": sizes.base,
            "total": sizes.total,
            "how": sizes.how,
            "share_of_base": float(shares["base"]),
            "share_of_total": float(shares["total"]),
            "printed_share_is_of": means,
        },
    )
