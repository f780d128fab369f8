"""The verdict on every claim: a run's results against the published card, each row with the chain it can be followed by.

`verdicts` says what each verdict means and what a row holds.
"""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Collection, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from cardproof.claims.answer import answer, no_card
from cardproof.claims.audit import Audit, run_audit
from cardproof.claims.claims_file import (
    CLAIMS_PATH,
    MEASURED,
    Claim,
    ClaimsFile,
    Greater,
    PredicateClaim,
    ValueClaim,
    read_claims,
    with_unit,
)
from cardproof.claims.comparable import against, comparable, compared, why_not
from cardproof.claims.family import judge_together
from cardproof.claims.found import decimal, lookup
from cardproof.claims.grim import decimals, rounded
from cardproof.claims.identities import Ordered, references
from cardproof.claims.own import shown_by
from cardproof.claims.pointers import rule_of, split_pointer
from cardproof.claims.predicates import pointer_of
from cardproof.claims.printed import OverItems, OverSeeds, printed_items
from cardproof.claims.verdicts import VERDICTS, Chain, Compared, Judgement, OtherReading, SettingsLink, Tier, VerdictName, Verdicts
from cardproof.claims.words import Measured, on_run
from cardproof.evaluation.printed import number
from cardproof.evaluation.statistics import Column, column
from cardproof.files import sha256_file
from cardproof.records import Estimate
from cardproof.runs import AUDIT, CONFIG, Run, metrics

DIFFERS_EXIT_CODE = 3
FAILING: tuple[VerdictName, ...] = ("differs", "refuted")
"""What `--fail-on differs` fails on."""
SAME_RECIPE = "the same recipe with seed"


class Ruling(NamedTuple):
    """What a claim comes to: the part of its row that the run decides. `Judgement` describes the fields."""

    verdict: VerdictName
    reason: str
    tier: Tier | None = None
    regenerated: Estimate | None = None
    regenerated_printed: str | None = None
    difference: float | None = None
    interval: tuple[float | None, float | None] | None = None
    computation: str | None = None
    remark: str | None = None
    readings: Sequence[OtherReading] = ()


def judge(run_dir: Path, claims_path: Path | None = CLAIMS_PATH) -> Verdicts:
    """The answer and one row per claim, the content of `claims.json`; without a claims file, that there is no card to compare with.

    The run's audit counts if it is one of this claims file; else the card is audited here, without building modules. Raises CardproofError
    for a bad claims file, a folder that is not a run, or a result that is not a number.
    """
    run = Run(run_dir)
    if claims_path is None:
        return _without_card(run)
    file, scale = read_claims(claims_path), run.scale
    audit = _audit(run, claims_path)
    checks = compared(file, run)
    rows = judged(file, run, audit, checks=checks)
    counts = Counter(row.verdict for row in rows)
    return Verdicts(
        answer=answer(rows, audit.findings, checks),
        card=file.card,
        run=run.settings.get("run"),
        scale=scale,
        comparable=comparable(checks),
        compared=checks,
        claims_sha256=audit.claims_sha256,
        counts={verdict: counts[verdict] for verdict in VERDICTS},
        central=file.central_claims(),
        claims=rows,
        own=shown_by(run),
    )


def _without_card(run: Run) -> Verdicts:
    return Verdicts(
        answer=no_card(),
        card=None,
        run=run.settings.get("run"),
        scale=run.scale,
        comparable=False,
        compared=[],
        claims_sha256=None,
        counts=dict.fromkeys(VERDICTS, 0),
        central=[],
        claims=[],
        own=shown_by(run),
    )


def judged(
    file: ClaimsFile, run: Run, audit: Audit, power: Collection[str] | None = None, checks: Sequence[Compared] | None = None
) -> list[Judgement]:
    """One row per claim, with its verdict; what would have been noticed is simulated for the claims in `power` (None: for all).

    `checks`: what was held against the card (`comparable.compared`), where the caller has it already.
    """
    checks = compared(file, run) if checks is None else checks
    contradictions: dict[str, list[str]] = {}
    for finding in audit.findings:
        if finding.severity == "error":
            for claim_id in finding.claims:
                contradictions.setdefault(claim_id, []).append(finding.title)
    elsewhere = None if comparable(checks) else f"{why_not(checks)}."
    rows = {claim.id: _row(claim, file, run, contradictions.get(claim.id, []), elsewhere) for claim in file.claims}
    items: dict[str, tuple[ValueClaim, OverItems]] = {}
    seeds: dict[str, tuple[ValueClaim, OverSeeds]] = {}
    for claim in file.values().values():
        if claim.kind not in MEASURED or rows[claim.id].verdict != "not_resolved":
            continue
        per_item = _column(run, claim.result)
        losses = _losses(run, claim) if claim.kind == "loss" else []
        if per_item is not None and (per_item.weights > 0).any():
            items[claim.id] = claim, OverItems(claim, per_item, printed_items(claim, file, per_item))
        elif len(losses) > 1:
            seeds[claim.id] = claim, OverSeeds(claim, losses)
    for claim_id, tested in judge_together(items, seeds, file.tolerance(), power).items():
        rows[claim_id] = rows[claim_id].model_copy(update=tested._asdict())
    return list(rows.values())


def _column(run: Run, result: str | None) -> Column | None:
    """A result item by item; None if its file has no items for it."""
    if result is None:
        return None
    file, pointer = split_pointer(result)
    if not run.has(file):
        return None
    content = run.settings if file == CONFIG else run.json(file)
    kept = content.get("per_item", {}).get(pointer) if isinstance(content, dict) else None
    return None if kept is None else column(kept["totals"], kept["weights"])


def _losses(run: Run, claim: ValueClaim) -> list[float]:
    """A loss under every training seed of its recipe."""
    others = [result for text, result in _recipe_variants(run, claim) if text.startswith(SAME_RECIPE)]
    found = [lookup(run, result, None)[0] for result in (claim.result, *others)]
    return [estimate.value for estimate in found if estimate is not None and estimate.value is not None]


def exit_code(found: Verdicts, fail_on: str | None = None) -> int:
    """0; or 3 if `fail_on` is `differs` and a number differs or the card's words are refuted."""
    return DIFFERS_EXIT_CODE if fail_on == "differs" and any(found.counts[verdict] for verdict in FAILING) else 0


def _audit(run: Run, claims_path: Path) -> Audit:
    if run.has(AUDIT):
        found = run.json(AUDIT)
        # An audit of another version of the claims would lend its contradictions to the wrong numbers.
        if isinstance(found, dict) and found.get("claims_sha256") == sha256_file(claims_path):
            return run.read(AUDIT, Audit)
    return run_audit(claims_path, count_parameters=False)


# --- one row -----------------------------------------------------------------------------------------------------------


def _row(claim: Claim, file: ClaimsFile, run: Run, contradictions: list[str], elsewhere: str | None) -> Judgement:
    """The row of a claim; `elsewhere` says why the run does not compare with the card, if it does not."""
    if isinstance(claim, ValueClaim):
        ruling = _judge_value(claim, run, contradictions, elsewhere)
        printed, unit, arm, result = claim.value, claim.unit, claim.arm, claim.result
    else:
        ruling = _judge_words(claim, file, run, elsewhere)
        printed, unit, arm, result = claim.phrase, None, None, pointer_of(claim.expression)
    return Judgement(
        id=claim.id,
        kind=claim.kind,
        text=claim.text,
        where=f"{claim.where.section}: {claim.where.place}",
        published=printed,
        unit=unit,
        arm=arm,
        assumed=claim.assumed,
        chain=_chain(claim, result, run),
        **ruling._asdict(),
    )


def _judge_value(claim: ValueClaim, run: Run, contradictions: list[str], elsewhere: str | None) -> Ruling:
    found, missing = lookup(run, claim.result, claim)
    value = None if found is None else found.value
    places = decimals(claim.value or "0.000")
    printed = None if value is None else rounded(decimal(value), places)
    tier = None if value is None else _tier(run, claim.result, [claim.arm])
    verdict: VerdictName
    remark = None
    if claim.value is None:
        verdict, reason = "absent", "the card prints no number here; what the run finds has nothing to be compared with."
    elif contradictions:
        has = f" The run has {printed}." if not elsewhere and printed else ""
        verdict, reason = "inconsistent_as_published", f"the card contradicts itself: {contradictions[0]}{has}"
        tier = tier if not elsewhere and tier else "audited"
    elif found is None or value is None:
        verdict, reason = "not_run" if found is None else "undefined", missing
    elif elsewhere:
        verdict, reason = "not_comparable", elsewhere
    else:
        verdict, reason, remark = compare(claim, value)
    compares = not elsewhere and claim.value is not None and value is not None
    return Ruling(
        verdict,
        reason,
        tier,
        regenerated=None if value is None else found,
        regenerated_printed=printed,
        difference=float(decimal(value) - claim.exact) if compares and value is not None else None,
        interval=_interval(found),
        readings=_readings(run, claim, places),
        remark=remark,
    )


def _interval(found: Estimate | None) -> tuple[float, float] | None:
    return None if found is None or found.value is None or found.low is None or found.high is None else (found.low, found.high)


def _readings(run: Run, claim: ValueClaim, places: int) -> list[OtherReading]:
    found = []
    for text, result in [*((r.text, r.result) for r in claim.readings), *_recipe_variants(run, claim)]:
        other, _ = lookup(run, result, claim)
        value = None if other is None else other.value
        printed = None if value is None else rounded(decimal(value), places)
        found.append(OtherReading(text=text, result=result, value=value, printed=printed))
    return found


def _recipe_variants(run: Run, claim: ValueClaim) -> list[tuple[str, str]]:
    """For a loss: the same result of every other training run that is the same recipe with another seed, or another reading of it."""
    if claim.kind != "loss" or claim.result is None:
        return []
    file, pointer = split_pointer(claim.result)
    arms = run.settings.get("arms")
    used = {a.get("variant") for a in arms.values() if isinstance(a, dict)} if isinstance(arms, dict) else set()
    names = sorted(path.parent.name for path in run.folder.glob(metrics("*")))
    results = []
    for name in names:
        recipe, _, seed = name.partition(".seed")
        if seed and file == metrics(recipe):
            results.append((f"{SAME_RECIPE} {seed}", f"{metrics(name)}#{pointer}"))
        elif not seed and name not in used:
            results.append((f"the recipe variant {name}", f"{metrics(name)}#{pointer}"))
    return [(text, result) for text, result in results if split_pointer(result)[0] != file]


def compare(claim: ValueClaim, value: float) -> tuple[VerdictName, str, str | None]:
    """What a run's value (in the claim's unit) says by itself: verdict, reason, and the remark that it prints as the card's number.

    A measured number is not resolved until it is tested with all others.
    """
    remark = _prints(claim, value)
    shown = _shown(claim, value)
    if claim.kind in MEASURED:
        why = "a single training seed has no spread" if claim.kind == "loss" else "the result has no items to test it with"
        return "not_resolved", f"{shown} against {claim.value}: {why}.", remark
    if remark is not None:
        return "as_set", f"{remark} It follows from settings and confirms nothing.", remark
    if claim.kind == "count":
        return "not_resolved", f"the run has {shown}, the card {claim.value}; how much a count varies between runs is not known.", None
    return "differs", f"the run has {shown}, the card {claim.value}; it follows from settings.", None


def _prints(claim: ValueClaim, value: float) -> str | None:
    """The remark that a value prints as the card's number; None if it does not."""
    if not claim.interval.holds(decimal(value)):
        return None
    nearest = rounded(decimal(value), decimals(claim.value or ""))
    if nearest == claim.value:
        return f"{_shown(claim, value)} prints as {claim.value}."
    why = "cut off" if claim.compare == "rounded_or_truncated" else "with its last half rounded the other way"
    return f"{_shown(claim, value)} prints as {claim.value} {why}, as {nearest} rounded."


def _shown(claim: ValueClaim, value: float) -> str:
    places = decimals(claim.value or "")
    return number(value, max(places + 2, 1)) if places else f"{value:g}"


def _judge_words(claim: PredicateClaim, file: ClaimsFile, run: Run, elsewhere: str | None) -> Ruling:
    values = file.values()
    found: dict[str, Measured] = {}
    named = references(claim.expression)
    for name in named:
        estimate, missing = lookup(run, values[name].result, None)
        if estimate is None or estimate.value is None:
            return Ruling("not_run" if estimate is None else "undefined", f"needs {name}: {missing}")
        found[name] = Measured(estimate, _column(run, values[name].result))
    pointer = pointer_of(claim.expression)
    result, missing = _pointed(run, pointer)
    if missing:
        return Ruling("not_run", missing)
    said = on_run(claim.expression, found, result, _ordered(claim, file))
    estimate = lookup(run, pointer, None)[0] if pointer else None
    verdict: VerdictName
    if elsewhere:
        verdict, reason = "not_comparable", f"{elsewhere} Here: {said.shown}."
    else:
        verdict, reason = said.verdict, f"{said.verdict.replace('_', ' ')}, as read here: {said.shown}."
    return Ruling(
        verdict,
        reason,
        _tier(run, pointer or values[named[0]].result, [values[name].arm for name in named]),
        regenerated=estimate if estimate is not None and estimate.value is not None else None,
        interval=said.span,
        computation=f"{said.shown}.",
    )


def _pointed(run: Run, pointer: str | None) -> tuple[Any, str]:
    """What an expression points to, whole (of a number of doublings, all that belongs to it); or the sentence why there is nothing."""
    if pointer is None:
        return None, ""
    file, place = split_pointer(pointer)
    if not run.has(file):
        return None, f"{file} is not in the run; the rule {rule_of(file)} makes it."
    try:
        return run.at(file, place.removesuffix("/doublings")), ""
    except KeyError:
        return None, f"{file} has nothing at {place}."


def _ordered(claim: PredicateClaim, file: ClaimsFile) -> bool:
    """True if by definition no item's right side exceeds its left, as the file's identities say."""
    expression = claim.expression
    if not isinstance(expression, Greater):
        return False
    return any(isinstance(rule, Ordered) and (rule.smaller, rule.larger) == (expression.right, expression.left) for rule in file.identities)


def _tier(run: Run, result: str | None, arms: list[str | None]) -> Tier | None:
    """How strong the evidence is: from training if an adapter involved was trained in the run; None for settings, which prove nothing."""
    if result is None:
        return None
    rule = rule_of(split_pointer(result)[0])
    if rule == "config":
        return None
    if run.steps.get("sample", {}).get("replayed"):
        return "replayed"
    if rule == "train":
        return "retrained"
    return "retrained" if any(run.adapter(arm) == "trained" for arm in arms) else "regenerated"


def _chain(claim: Claim, result: str | None, run: Run) -> Chain:
    """claim -> JSON pointer -> file and its sha256 -> rule -> code fingerprint -> configuration; None where a link is not there (yet)."""
    file, pointer = split_pointer(result) if result else (None, None)
    rule = rule_of(file) if file else None
    step = run.steps.get(rule or "", {})
    section = claim.config if isinstance(claim, ValueClaim) else None
    return Chain(
        claim=claim.id,
        pointer=pointer,
        file=file,
        sha256=run.hash(file) if file and run.has(file) else None,
        rule=rule,
        code=step.get("code"),
        config=SettingsLink(section=section, fingerprint=step.get("config"), sha256=run.hash(CONFIG)),
        over=references(claim.expression) if isinstance(claim, PredicateClaim) else None,
    )


# --- text --------------------------------------------------------------------------------------------------------------


def render_text(found: Verdicts, width: int = 100) -> str:
    """The answer and the verdicts for a terminal of `width` columns, grouped, worst first; a reason common to a group is said once."""
    counts = ", ".join(f"{n} {verdict.replace('_', ' ')}" for verdict, n in found.counts.items() if n)
    said = [line for text in (found.answer.sentence, found.own) if text for line in textwrap.wrap(text, width)]
    if found.card is None:
        return "\n".join(said) + "\n"
    title = f"Claims of {found.card} against run {found.run} (scale {found.scale}): {counts}."
    lines = [
        *said,
        "",
        *textwrap.wrap(title, width),
        *(line for check in against(found.compared) for line in _differing(check, width)),
        "A row is: claim, published -> regenerated, evidence tier.",
    ]
    rows = sorted(found.claims, key=lambda row: VERDICTS.index(row.verdict))
    longest = max((len(row.id) for row in rows), default=0)
    for verdict, group in groupby(rows, key=lambda row: row.verdict):
        members = list(group)
        # A first sentence that every reason of the group has is said once.
        first = {re.split(r"(?<=\.) (?=[A-Z])", row.reason)[0] for row in members}
        shared = first.pop() if len(first) == 1 and len(members) > 1 else ""
        lines += ["", f"{verdict.replace('_', ' ').upper()} ({len(members)})"]
        lines += textwrap.wrap(shared, width, initial_indent="  ", subsequent_indent="  ")
        for row in members:
            tier = f" ({row.tier})" if row.tier else ""
            text = f"{_pair(row)}{tier}  {row.reason.removeprefix(shared).strip()}".rstrip()
            indent = " " * (longest + 4)
            lines += textwrap.wrap(text, width, initial_indent=f"  {row.id.ljust(longest)}  ", subsequent_indent=indent)
    return "\n".join(lines) + "\n"


def _differing(check: Compared, width: int) -> list[str]:
    return textwrap.wrap(f"  {check.what}: the card's {check.card}; this run's {check.run}", width, subsequent_indent="    ")


def _pair(row: Judgement) -> str:
    if row.kind == "predicate":
        return f'"{row.published}"'
    published = with_unit(row.published, row.unit)
    return published if row.regenerated_printed is None else f"{published} -> {with_unit(row.regenerated_printed, row.unit)}"
