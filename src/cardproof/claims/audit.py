"""The audit: what a card's printed numbers say about each other, with no GPU, no data and no network."""

from __future__ import annotations

import textwrap
from collections import Counter
from pathlib import Path
from typing import Any, get_args

from cardproof.claims.checks import check, predicate
from cardproof.claims.claims_file import CLAIMS_PATH, ClaimsFile, read_claims
from cardproof.claims.denominators import proportions_of_n, stated_items
from cardproof.claims.findings import Finding, Severity, fitted
from cardproof.claims.ranges import gaps, more_rollouts, ranges
from cardproof.files import plain, sha256_file
from cardproof.records import Result

SEVERITIES: tuple[Severity, ...] = get_args(Severity)


class Audit(Result):
    """Everything an audit found (`audit.json`)."""

    card: str
    """Name of the published model."""
    claims_file: str
    """Name of the claims file audited."""
    claims_sha256: str
    """sha256 of that file."""
    claims: int
    """Claims in it."""
    parameters_counted: bool
    """True if the real modules were built and counted; else the sizes are arithmetic alone."""
    counts: dict[str, int]
    """Findings by severity."""
    findings: list[Finding]
    """Worst first, else in the order of the claims file."""


def run_audit(claims_path: Path = CLAIMS_PATH, count_parameters: bool = True) -> Audit:
    """Audit a claims file; `count_parameters` builds the real modules on the meta device (about 10 s, needs torch, transformers, peft)."""
    file = read_claims(claims_path)
    return Audit(
        card=file.card,
        claims_file=Path(claims_path).name,
        claims_sha256=sha256_file(claims_path),
        claims=len(file.claims),
        parameters_counted=count_parameters,
        **_found(file, count_parameters),
    )


def _found(file: ClaimsFile, count_parameters: bool) -> dict[str, Any]:
    values = file.values()
    findings = [check(identity, values, count_parameters) for identity in file.identities]
    for over_all in (ranges, gaps, more_rollouts, stated_items, proportions_of_n):
        findings += over_all(file)
    findings += [predicate(claim, values) for claim in file.predicates().values()]
    findings += [
        Finding(
            id=f"assumed.{claim.id}",
            severity="note",
            title=f"What {claim.shown} means had to be assumed.",
            claims=[claim.id],
            computation=[],
            readings=[f"assumed: {claim.assumed}", *(f"also possible: {r.text}" for r in claim.readings)],
        )
        for claim in values.values()
        if claim.assumed
    ]
    findings += [
        Finding(
            id=f"absent.{claim.id}",
            severity="note",
            title=f"The card prints no number for {claim.text}.",
            claims=[claim.id],
            computation=["recorded as absent, not as 0"],
        )
        for claim in values.values()
        if claim.value is None
    ]
    findings = sorted(map(fitted, findings), key=lambda f: SEVERITIES.index(f.severity))
    counted = Counter(f.severity for f in findings)
    return {"findings": findings, "counts": {s: counted[s] for s in SEVERITIES}}


FOUND_EXIT_CODE = 3


def exit_code(counts: dict[str, int], fail_on: str | None = None) -> int:
    """0; or 3 where the audit found an error, or with `fail_on` "warning" a warning."""
    asked = {"error": ("error",), "warning": ("error", "warning")}.get(fail_on or "", ())
    return FOUND_EXIT_CODE if any(counts.get(s) for s in asked) else 0


def to_json(audit: Audit) -> dict[str, Any]:
    """The audit as plain JSON types, the content of `audit.json`."""
    found: dict[str, Any] = plain(audit)
    return found


def render_text(audit: Audit, width: int = 100) -> str:
    """The audit for a terminal of `width` columns: findings in full, what agrees in one line each."""
    counts = ", ".join(f"{n} {s if n == 1 or s == 'ok' else s + 's'}" for s, n in audit.counts.items())
    how = "; parameters counted on the meta device" if audit.parameters_counted else "; parameters by arithmetic only"
    how = how if any("trainable" in f.data for f in audit.findings) else ""
    lines = [*textwrap.wrap(f"Audit of {audit.card}: {audit.claims} claims; {counts}{how}.", width)]
    for finding in audit.findings:
        label = finding.severity.upper().ljust(8)
        lines += ["", *_wrap(f"{finding.id}: {finding.title}", label, width)] if finding.severity != "ok" else []
        if finding.severity == "ok":
            continue
        if not finding.id.startswith(("assumed.", "absent.")):
            lines += _wrap(", ".join(finding.claims), "        claims    ", width)
        for i, line in enumerate(finding.computation):
            lines += _wrap(line, "        shown     " if i == 0 else " " * 18, width)
        for i, line in enumerate(finding.readings):
            lines += _wrap(f"- {line}", "        possible  " if i == 0 else " " * 18, width, hang=2)
    agreeing = [f for f in audit.findings if f.severity == "ok"]
    if agreeing:
        lines += ["", "These agree:"]
        for finding in agreeing:
            lines += _wrap(f"{finding.id}: {'; '.join(finding.computation[:1])}", "OK      ", width)
    return "\n".join(lines) + "\n"


def _wrap(text: str, label: str, width: int, hang: int = 0) -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=label, subsequent_indent=" " * (len(label) + hang), break_long_words=False, break_on_hyphens=False
    )
