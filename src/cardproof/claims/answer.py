"""The answer to "does the card hold, and how sure are you?": a short sentence, and one with all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cardproof.claims.claims_file import MEASURED
from cardproof.claims.comparable import against, comparable
from cardproof.claims.findings import Finding, listed_words
from cardproof.claims.printed import ALPHA
from cardproof.claims.verdicts import Answer, Compared, Judgement


def answer(rows: Sequence[Judgement], findings: Sequence[Finding], checks: Sequence[Compared]) -> Answer:
    """The answer from the rows of `claims.json`, the audit's findings and what was held against the card."""
    compares = comparable(checks)
    measured = [row for row in rows if row.kind in MEASURED]
    numbers = {word: [row.id for row in measured if row.verdict == word] for word in ("agrees", "differs", "not_resolved")}
    predicates = [row for row in rows if row.kind == "predicate"]
    words = {word: [row.id for row in predicates if row.verdict == word] for word in ("shown", "refuted", "not_resolved")}
    shares = [row for row in measured if row.unit in ("share", "score") and row.p is not None]
    noticed = [row.noticed for row in shares if row.noticed is not None]
    errors, warnings = _found(findings)
    if compares:
        parts = [_numbers(numbers), *([_power(noticed)] if shares else []), *([_words(words)] if any(words.values()) else [])]
    else:
        parts = [_elsewhere(checks)]
    sentence = f"{'; '.join([*parts, by_itself(findings)])}."
    return Answer(
        lead=_lead(numbers, words) if compares else _apart(checks),
        sentence=sentence,
        measured=sum(map(len, numbers.values())) if compares else None,
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


def no_card() -> Answer:
    """The answer of a run that has no published card to compare with."""
    lead = "This run has no published card to compare with."
    nothing: dict[str, Any] = {"shown": [], "refuted": [], "open": [], "contradictions": []}
    none = {"noticed_least": None, "noticed_most": None, "measured": None}
    zero = dict.fromkeys(("agree", "differ", "not_resolved", "unnoticed", "warnings"), 0)
    return Answer(lead=lead, sentence=lead, alpha=ALPHA, **nothing, **none, **zero)


def _elsewhere(checks: Sequence[Compared]) -> str:
    """Why a run says nothing about its card: what differs, by name, and what nobody stated."""
    found = against(checks)
    differ = [check.what for check in found if check.holds is False]
    unknown = [check.what for check in found if check.holds is None]
    parts = [f"{listed_words(differ)} {'is' if len(differ) == 1 else 'are'} not the card's"] * bool(differ)
    parts += [f"whether its {listed_words(unknown)} {'is' if len(unknown) == 1 else 'are'} the card's is not known"] * bool(unknown)
    return f"This run cannot say whether the card holds: {'; '.join(parts)}"


def _apart(checks: Sequence[Compared]) -> str:
    """The same for a reader who reads a single line: another model and other data say it all."""
    differ = {check.what for check in against(checks) if check.holds is False}
    if {"model", "data"} <= differ:
        return "This run cannot say whether the card holds: it used another model and other data."
    return f"{_elsewhere(checks)}."


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


def by_itself(findings: Sequence[Finding]) -> str:
    """What the audit found, as part of a sentence."""
    errors, warnings = _found(findings)
    doubts = f"{warnings} warning{'' if warnings == 1 else 's'}"
    if not errors:
        return f"by its own arithmetic the card contradicts itself nowhere ({doubts})"
    places = "once" if len(errors) == 1 else f"{len(errors)} times"
    return f"by its own arithmetic the card contradicts itself {places} ({' '.join(errors).rstrip('.')}; {doubts})"


def _found(findings: Sequence[Finding]) -> tuple[list[str], int]:
    """Titles of the errors, and the number of warnings."""
    errors = [finding.title for finding in findings if finding.severity == "error"]
    return errors, sum(finding.severity == "warning" for finding in findings)


def _listed(ids: Sequence[str]) -> str:
    return f" ({', '.join(name.removeprefix('words.').replace('_', ' ') for name in ids)})" if ids else ""
