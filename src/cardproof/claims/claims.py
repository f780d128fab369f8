"""The verdict on every claim: a run's results against the published card, each row with the chain it can be followed by.

A verdict is one of `exact` (the regenerated value, rounded as printed, is the printed one), `consistent` (the published value lies
inside the regenerated interval), `differs`, `inconsistent_as_published` (the card contradicts itself here, whatever a run finds),
`not_comparable` (a run at another scale), `not_run` (no result yet) and `absent` (the card prints no number).
"""

from __future__ import annotations

import math
import re
import textwrap
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from cardproof.claims.audit import Audit, run_audit
from cardproof.claims.claims_file import CLAIMS_PATH, FACTOR, Claim, PredicateClaim, ValueClaim, read_claims
from cardproof.claims.grim import decimals, rounded
from cardproof.claims.identities import references
from cardproof.claims.pointers import rule_of, split_pointer
from cardproof.claims.predicates import on_run, pointer_of
from cardproof.errors import CardproofError
from cardproof.files import read_json, sha256_file
from cardproof.records import Estimate

Verdict = Literal["differs", "inconsistent_as_published", "exact", "consistent", "not_comparable", "not_run", "absent"]
Tier = Literal["audited", "replayed", "regenerated", "retrained"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
COMPARABLE_SCALE = "published"
DIFFERS_EXIT_CODE = 3
SCALAR = "a single number; no interval"


@dataclass
class Run:
    """The files of one run, each read once."""

    folder: Path
    config: dict[str, Any]
    steps: dict[str, Any]
    """Rule -> {code, config}: the fingerprints a step recorded (`provenance/steps.json`); empty where there is no such file."""
    _read: dict[str, Any] = field(default_factory=dict)
    _hashes: dict[str, str] = field(default_factory=dict)

    @property
    def scale(self) -> str:
        """The scale of the run's resolved configuration."""
        return str(self.config.get("scale"))

    @property
    def comparable(self) -> bool:
        """True where the run was made at the card's own scale."""
        return self.scale == COMPARABLE_SCALE

    def has(self, file: str) -> bool:
        """True where the run holds the file."""
        return (self.folder / file).is_file()

    def hash(self, file: str) -> str:
        """sha256 of one of the run's files."""
        if file not in self._hashes:
            self._hashes[file] = sha256_file(self.folder / file)
        return self._hashes[file]

    def at(self, file: str, pointer: str) -> Any:
        """What a JSON pointer leads to; KeyError where it leads nowhere."""
        if file not in self._read:
            self._read[file] = self.config if file == "config.yaml" else read_json(self.folder / file)
        found = self._read[file]
        for part in pointer.strip("/").split("/"):
            if isinstance(found, list) and part.isdecimal() and int(part) < len(found):
                found = found[int(part)]
            elif isinstance(found, dict) and part in found:
                found = found[part]
            else:
                raise KeyError(pointer)
        return found

    def adapter(self, arm: str | None) -> str | None:
        """Where an arm's adapter comes from in this run: `none`, `trained`, `hub` or `folder`."""
        arms = self.config.get("arms")
        entry = arms.get(arm) if isinstance(arms, dict) else None
        return str(entry.get("adapter", "none")) if isinstance(entry, dict) else None


def open_run(run_dir: Path) -> Run:
    """The run in a folder; CardproofError where it holds no resolved configuration."""
    folder = Path(run_dir)
    path = folder / "config.yaml"
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError:
        raise CardproofError(
            f"{path} does not exist, so the scale of the run is unknown.", "give the folder of a run: results/NAME."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise CardproofError(f"{path} is no valid YAML.", "delete it and run the workflow again; it writes the file anew.") from None
    if not isinstance(config, dict) or "scale" not in config:
        raise CardproofError(f"{path} names no scale.", "give the resolved configuration of a run; it has the keys run and scale.")
    steps = folder / "provenance" / "steps.json"
    found = read_json(steps) if steps.is_file() else {}
    if not isinstance(found, dict):
        raise CardproofError(f"{steps} is no mapping of rules.", "delete it and run the workflow again; it writes the file anew.")
    return Run(folder, config, found)


def judge(run_dir: Path, claims_path: Path = CLAIMS_PATH) -> dict[str, Any]:
    """One row per claim, the content of `claims.json`.

    Regenerated values and intervals are in the claim's own unit (percent, millions); `difference` is regenerated - published.
    The audit is read from the run where it is one of this claims file, else made anew without building modules.
    Raises CardproofError for a bad claims file, a folder that is no run, or a result that is no number.
    """
    file = read_claims(claims_path)
    run = open_run(run_dir)
    audit = _audit(run, claims_path)
    contradictions: dict[str, list[str]] = {}
    for finding in audit.findings:
        if finding.severity == "error":
            for claim_id in finding.claims:
                contradictions.setdefault(claim_id, []).append(finding.title)
    values = file.values()
    rows = [_row(claim, values, run, contradictions.get(claim.id, [])) for claim in file.claims]
    counts = Counter(row["verdict"] for row in rows)
    return {
        "card": file.card,
        "run": run.config.get("run"),
        "scale": run.scale,
        "comparable": run.comparable,
        "claims_sha256": audit.claims_sha256,
        "counts": {verdict: counts[verdict] for verdict in VERDICTS},
        "claims": rows,
    }


def exit_code(report: dict[str, Any], fail_on: str | None = None) -> int:
    """0; or 3 where a claim differs and `fail_on` is `differs`."""
    return DIFFERS_EXIT_CODE if fail_on == "differs" and any(row["verdict"] == "differs" for row in report["claims"]) else 0


def _audit(run: Run, claims_path: Path) -> Audit:
    if run.has("audit.json"):
        found = read_json(run.folder / "audit.json")
        # An audit of another version of the claims would lend its contradictions to the wrong numbers.
        if isinstance(found, dict) and found.get("claims_sha256") == sha256_file(claims_path):
            return Audit.model_validate(found)
    return run_audit(claims_path, count_parameters=False)


# --- one row -----------------------------------------------------------------------------------------------------------


def _row(claim: Claim, values: dict[str, ValueClaim], run: Run, contradictions: list[str]) -> dict[str, Any]:
    value = claim if isinstance(claim, ValueClaim) else None
    pointer = value.result if value else pointer_of(claim.expression) if isinstance(claim, PredicateClaim) else None
    row: dict[str, Any] = {
        "id": claim.id,
        "kind": claim.kind,
        "text": claim.text,
        "where": f"{claim.where.section}: {claim.where.place}",
        "published": value.value if value else claim.phrase if isinstance(claim, PredicateClaim) else None,
        "unit": value.unit if value else None,
        "arm": value.arm if value else None,
        "assumed": claim.assumed,
        "regenerated": None,
        "regenerated_printed": None,
        "difference": None,
        "interval": None,
        "verdict": "not_run",
        "reason": "",
        "tier": None,
        "readings": [],
        "chain": _chain(claim, pointer, run),
    }
    if isinstance(claim, ValueClaim):
        _judge_value(row, claim, run, contradictions)
    else:
        _judge_words(row, claim, values, run)
    return row


def _judge_value(row: dict[str, Any], claim: ValueClaim, run: Run, contradictions: list[str]) -> None:
    found, missing = _lookup(run, claim.result, claim)
    places = decimals(claim.value or "0.000")
    if found is not None and found.value is not None:
        row["regenerated"] = found.model_dump(mode="json")
        row["regenerated_printed"] = rounded(_exact(found.value), places)
        row["interval"] = [found.low, found.high] if found.low is not None and found.high is not None else None
        row["tier"] = _tier(run, claim.result, [claim.arm])
    for text, result in [*((r.text, r.result) for r in claim.readings), *_recipe_variants(run, claim)]:
        other, _ = _lookup(run, result, claim)
        number = None if other is None else other.value
        printed = None if number is None else rounded(_exact(number), places)
        row["readings"].append({"text": text, "result": result, "value": number, "printed": printed})
    if claim.value is None:
        row |= {"verdict": "absent", "reason": "the card prints no number here; what the run finds has nothing to be compared with."}
    elif contradictions:
        has = f" The run has {row['regenerated_printed']}." if run.comparable and row["regenerated_printed"] else ""
        row |= {"verdict": "inconsistent_as_published", "reason": f"the card contradicts itself: {contradictions[0]}{has}"}
        row["tier"] = row["tier"] if run.comparable and row["tier"] else "audited"
    elif found is None or found.value is None:
        row |= {"verdict": "not_run", "reason": missing}
    elif not run.comparable:
        row |= {"verdict": "not_comparable", "reason": _other_scale(run)}
    else:
        verdict, reason = compare(claim, found)
        row |= {"verdict": verdict, "reason": reason}
    if run.comparable and claim.value is not None and found is not None and found.value is not None:
        row["difference"] = float(_exact(found.value) - claim.exact)


def _recipe_variants(run: Run, claim: ValueClaim) -> list[tuple[str, str]]:
    """For a loss: the same result of every other training run that is the same recipe with another seed, or another reading of it."""
    if claim.kind != "loss" or claim.result is None:
        return []
    file, pointer = split_pointer(claim.result)
    arms = run.config.get("arms")
    used = {a.get("variant") for a in arms.values() if isinstance(a, dict)} if isinstance(arms, dict) else set()
    names = sorted(path.parent.name for path in run.folder.glob("training/*/metrics.json"))
    results = []
    for name in names:
        recipe, _, seed = name.partition(".seed")
        if seed and file == f"training/{recipe}/metrics.json":
            results.append((f"the same recipe with seed {seed}", f"training/{name}/metrics.json#{pointer}"))
        elif not seed and name not in used:
            results.append((f"the recipe variant {name}", f"training/{name}/metrics.json#{pointer}"))
    return [(text, result) for text, result in results if split_pointer(result)[0] != file]


def compare(claim: ValueClaim, found: Estimate) -> tuple[Verdict, str]:
    """Verdict and reason for a published number and the regenerated estimate (with a value, in the claim's unit)."""
    assert found.value is not None
    value, places = _exact(found.value), decimals(claim.value or "")
    shown = f"{found.value:.{max(places + 2, 1)}f}" if places else f"{found.value:g}"
    if claim.interval.holds(value):
        nearest = rounded(value, places)
        if nearest == claim.value:
            return "exact", f"{shown} prints as {claim.value}."
        why = "cut off" if claim.compare == "rounded_or_truncated" else "with its last half rounded the other way"
        return "exact", f"{shown} prints as {claim.value} {why}, as {nearest} rounded."
    if found.low is None or found.high is None:
        return "differs", f"the run has {shown} where the card prints {claim.value}."
    span = f"the {found.level:.0%} interval [{found.low:.{places + 1}f}, {found.high:.{places + 1}f}]"
    if _exact(found.low) <= claim.interval.high and claim.interval.low <= _exact(found.high):
        return "consistent", f"{shown} prints otherwise, but {span} holds {claim.value}."
    return "differs", f"{shown}: {span} excludes {claim.value}."


def _judge_words(row: dict[str, Any], claim: PredicateClaim, values: dict[str, ValueClaim], run: Run) -> None:
    found: dict[str, Estimate] = {}
    named = references(claim.expression)
    for name in named:
        estimate, missing = _lookup(run, values[name].result, values[name])
        if estimate is None or estimate.value is None:
            row["reason"] = f"needs {name}: {missing}"
            return
        found[name] = estimate
    pointer = pointer_of(claim.expression)
    result, missing = _lookup(run, pointer, None) if pointer else (None, "")
    if pointer and result is None:
        row["reason"] = missing
        return
    outcome = on_run(claim.expression, found, result)
    if result is not None and result.value is not None:
        row["regenerated"] = result.model_dump(mode="json")
        row["interval"] = [result.low, result.high] if result.low is not None and result.high is not None else None
    row["tier"] = _tier(run, pointer or values[named[0]].result, [values[name].arm for name in named])
    if not run.comparable:
        row |= {"verdict": "not_comparable", "reason": f"{_other_scale(run)} Here: {outcome.shown}."}
    else:
        row |= {
            "verdict": "consistent" if outcome.holds else "differs",
            "reason": f"{'holds' if outcome.holds else 'does not hold'} as read here: {outcome.shown}.",
        }


def _other_scale(run: Run) -> str:
    return f"the run's scale is {run.scale!r}; only a run at scale {COMPARABLE_SCALE!r} compares with the card."


def _tier(run: Run, result: str | None, arms: list[str | None]) -> Tier | None:
    """How strong the evidence is: from training if an adapter involved was trained in the run; None for settings, which prove nothing."""
    if result is None:
        return None
    rule = rule_of(split_pointer(result)[0])
    if rule == "config":
        return None
    if _step(run, "sample").get("replayed"):
        return "replayed"
    if rule == "train":
        return "retrained"
    return "retrained" if any(run.adapter(arm) == "trained" for arm in arms) else "regenerated"


def _step(run: Run, rule: str | None) -> dict[str, Any]:
    found = run.steps.get(rule or "")
    return found if isinstance(found, dict) else {}


def _chain(claim: Claim, result: str | None, run: Run) -> dict[str, Any]:
    """claim -> JSON pointer -> file and its sha256 -> rule -> code fingerprint -> configuration; None where a link is not there (yet)."""
    file, pointer = split_pointer(result) if result else (None, None)
    rule = rule_of(file) if file else None
    step = _step(run, rule)
    chain: dict[str, Any] = {
        "claim": claim.id,
        "pointer": pointer,
        "file": file,
        "sha256": run.hash(file) if file and run.has(file) else None,
        "rule": rule,
        "code": step.get("code"),
        "config": {
            "section": claim.config if isinstance(claim, ValueClaim) else None,
            "fingerprint": step.get("config"),
            "sha256": run.hash("config.yaml"),
        },
    }
    if isinstance(claim, PredicateClaim):
        chain["over"] = references(claim.expression)
    return chain


# --- results as estimates ----------------------------------------------------------------------------------------------


def _lookup(run: Run, result: str | None, claim: ValueClaim | None) -> tuple[Estimate | None, str]:
    """A result as an Estimate in the claim's unit; or None and the sentence why there is none."""
    if result is None:
        return None, f"{claim.unmeasured if claim else 'it has no result'}."
    file, pointer = split_pointer(result)
    if not run.has(file):
        return None, f"{file} is not in the run; the rule {rule_of(file)} makes it."
    try:
        found = run.at(file, pointer)
    except KeyError:
        return None, f"{file} holds nothing at {pointer}."
    if claim is not None and isinstance(found, str) and found in claim.words:
        found = float(claim.words[found])
    estimate = as_estimate(found, f"{run.folder / file}#{pointer}")
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
    raise CardproofError(f"{where} is no number but {found!r:.60}.", "let the claim point to a number, an estimate or a paired difference.")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _scaled(estimate: Estimate, factor: Fraction) -> Estimate:
    if factor == 1:
        return estimate
    return estimate.model_copy(
        update={key: float(_exact(v) * factor) for key in ("value", "low", "high") if (v := getattr(estimate, key)) is not None}
    )


def _exact(value: float) -> Fraction:
    """A float as the decimal it prints as, so that 0.8235 is on the edge of 0.824 and not a hair below it."""
    return Fraction(repr(value))


# --- text --------------------------------------------------------------------------------------------------------------


def render_text(report: dict[str, Any], width: int = 100) -> str:
    """The verdicts for a terminal of `width` columns, grouped, worst first; a reason common to a group stands once."""
    counts = ", ".join(f"{n} {verdict.replace('_', ' ')}" for verdict, n in report["counts"].items() if n)
    title = f"Claims of {report['card']} against run {report['run']} (scale {report['scale']}): {counts}."
    lines = [*textwrap.wrap(title, width), "A row is: claim, published -> regenerated, evidence tier."]
    rows = sorted(report["claims"], key=lambda row: VERDICTS.index(row["verdict"]))
    longest = max((len(row["id"]) for row in rows), default=0)
    for verdict, group in groupby(rows, key=lambda row: row["verdict"]):
        members = list(group)
        # A first sentence that every reason of the group has is said once.
        first = {re.split(r"(?<=\.) (?=[A-Z])", row["reason"])[0] for row in members}
        shared = first.pop() if len(first) == 1 and len(members) > 1 else ""
        lines += ["", f"{verdict.replace('_', ' ').upper()} ({len(members)})"]
        lines += textwrap.wrap(shared, width, initial_indent="  ", subsequent_indent="  ")
        for row in members:
            tier = f" ({row['tier']})" if row["tier"] else ""
            text = f"{_pair(row)}{tier}  {row['reason'].removeprefix(shared).strip()}".rstrip()
            indent = " " * (longest + 4)
            lines += textwrap.wrap(text, width, initial_indent=f"  {row['id'].ljust(longest)}  ", subsequent_indent=indent)
    return "\n".join(lines) + "\n"


def _pair(row: dict[str, Any]) -> str:
    if row["kind"] == "predicate":
        return f'"{row["published"]}"'
    unit = {"percent": "%", "million": "M"}.get(row["unit"], "")
    published = "–" if row["published"] is None else row["published"] + unit
    if row["regenerated_printed"] is None:
        return published
    return f"{published} -> {row['regenerated_printed']}{unit}"
