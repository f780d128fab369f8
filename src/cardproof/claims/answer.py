"""The answer to "does the card hold, and how sure are you?": a short sentence, and one with all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cardproof.claims.claims_file import MEASURED
from cardproof.claims.findings import Finding
from cardproof.claims.printed import ALPHA
from cardproof.claims.verdicts import Answer, Judgement

OTHER = {"benchmark": "another model", "embedded": "another model and other data"}
"""Scale -> what such a run used instead of the card's."""


def answer(rows: Sequence[Judgement], findings: Sequence[Finding], comparable: bool, scale: str) -> Answer:
    """The answer from the rows of `claims.json` and the audit's findings."""
    measured = [row for row in rows if row.kind in MEASURED]
    numbers = {word: [row.id for row in measured if row.verdict == word] for word in ("agrees", "differs", "not_resolved")}
    predicates = [row for row in rows if row.kind == "predicate"]
    words = {word: [row.id for row in predicates if row.verdict == word] for word in ("shown", "refuted", "not_resolved")}
    shares = [row for row in measured if row.unit in ("share", "score") and row.p is not None]
    noticed = [row.noticed for row in shares if row.noticed is not None]
    errors = [finding.title for finding in findings if finding.severity == "error"]
    warnings = sum(finding.severity == "warning" for finding in findings)
    if comparable:
        parts = [_numbers(numbers), *([_power(noticed)] if shares else []), *([_words(words)] if any(words.values()) else [])]
    else:
        parts = [_elsewhere(scale)]
    sentence = f"{'; '.join([*parts, _alone(errors, warnings)])}."
    return Answer(
        lead=_lead(numbers, words) if comparable else f"{_elsewhere(scale)}.",
        sentence=sentence,
        measured=sum(map(len, numbers.values())) if comparable else None,
        agree=len(numbers["agrees"]),
        differ=len(numbers["differs"]),
        not_resolved=len(numbers["not_resolved"]),
        alpha=ALPHA,
        noticed_least=min(noticed, default=None),
        noticed_most=max(noticed, default=None),
        unnoticed=len(shares) - len(noticed),
        shown=words["shown"],
        refuted=words["refuted"],
        open=words["not_resolved"],
        contradictions=errors,
        warnings=warnings,
    )


def _elsewhere(scale: str) -> str:
    return f"This run cannot say whether the card holds: it used {OTHER.get(scale, 'another model or other data')}"


def _lead(numbers: Mapping[str, Sequence[str]], words: Mapping[str, Sequence[str]]) -> str:
    """What a reader takes away who reads a single line."""
    total, agree = sum(map(len, numbers.values())), len(numbers["agrees"])
    if not total:
        return "This run has no measured number to compare with the card."
    differ, refuted = len(numbers["differs"]), len(words["refuted"])
    against = [f"{differ} of {total} measured numbers {'differs' if differ == 1 else 'differ'}"] * bool(differ)
    against += [f"{refuted} of its statements in words {'is' if refuted == 1 else 'are'} refuted"] * bool(refuted)
    if against:
        return f"This run contradicts the card: {' and '.join(against)}."
    if agree == total:
        return f"The card holds in this run: all {total} measured numbers agree."
    little = "" if 2 * agree > total else ", but it confirms little"
    left = total - agree
    return f"This run does not contradict the card{little}: {agree} of {total} measured numbers agree, {left} cannot be resolved."


def _numbers(numbers: Mapping[str, Sequence[str]]) -> str:
    total = sum(map(len, numbers.values()))
    agree, unresolved = len(numbers["agrees"]), len(numbers["not_resolved"])
    differ = f"{len(numbers['differs'])}{_listed(numbers['differs'])}"
    verdicts = f"agrees with {agree}, differs from {differ} and cannot resolve {unresolved}"
    chance = f"by chance a faithful rerun differs from any of them in at most 1 case of {round(1 / ALPHA)}"
    return f"Of the card's {total} measured numbers this run {verdicts}, where {chance}"


def _power(noticed: Sequence[float]) -> str:
    if not noticed:
        return "it has too few items to notice any deviation"
    return f"it would have noticed deviations from {min(noticed):.2f} on where it is sharpest and from {max(noticed):.2f} on where bluntest"


def _words(words: Mapping[str, Sequence[str]]) -> str:
    shown, refuted, still_open = (f"{len(words[key])}{_listed(words[key])}" for key in ("shown", "refuted", "not_resolved"))
    return f"of its {sum(map(len, words.values()))} statements in words it shows {shown}, refutes {refuted} and leaves open {still_open}"


def _alone(errors: Sequence[str], warnings: int) -> str:
    doubts = f"{warnings} warning{'' if warnings == 1 else 's'}"
    if not errors:
        return f"by its own arithmetic the card contradicts itself nowhere ({doubts})"
    places = "once" if len(errors) == 1 else f"{len(errors)} times"
    return f"by its own arithmetic the card contradicts itself {places} ({' '.join(errors).rstrip('.')}; {doubts})"


def _listed(ids: Sequence[str]) -> str:
    return f" ({', '.join(name.removeprefix('words.').replace('_', ' ') for name in ids)})" if ids else ""
