"""What a run shows by itself, whether or not it can be compared with a published card: its primary tests, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import TypeAdapter

from cardproof.claims.findings import listed_words
from cardproof.config.settings import REFERENCE
from cardproof.evaluation.printed import p_text, stance
from cardproof.evaluation.results import Equivalence
from cardproof.records import Comparison
from cardproof.runs import Run, evaluation

WORDS = {
    "strict_clean": "strict grounding",
    "strict_stress": "strict grounding under stress",
    "gap_clean": "near-miss gap",
    "gap_stress": "near-miss gap under stress",
    "support_equivalence": "verifier support",
    "compute": "composite of a single rollout",
}
"""What each primary hypothesis is about."""


def shown_by(run: Run) -> str | None:
    """The sentence on the run's subject against the base model; None if the run has no such arm, or is not evaluated."""
    primary = run.json(evaluation("axes")).get("primary") if run.has(evaluation("axes")) else None
    subject = run.config.subject_arm if primary else None
    tests = primary.get(f"{subject}-{REFERENCE}") if primary else None
    return sentence(str(subject), TypeAdapter(dict[str, Comparison | Equivalence]).validate_python(tests)) if tests else None


def sentence(subject: str, tests: Mapping[str, Comparison | Equivalence]) -> str:
    """One family of primary tests in words: what differs, what is equal within its margin, and what stays open."""
    told: dict[str, list[str]] = {"higher": [], "lower": [], "equal": [], "open": []}
    for name, test in tests.items():
        outcome = _outcome(test)
        told[outcome].append(WORDS[name] + ("" if outcome == "open" else _numbers(test)))
    resolved = [f"is {direction} in {listed_words(told[direction])}" for direction in ("higher", "lower") if told[direction]]
    resolved += [f"equals it within a margin in {listed_words(told['equal'])}"] if told["equal"] else []
    n = max((test.n for test in tests.values()), default=0)
    family = f"primary tests on {n} items, corrected together" if len(tests) > 1 else f"primary test on {n} items"
    found = f"compared with {REFERENCE}, {subject} {' and '.join(resolved)}" if resolved else f"no difference of {subject} from {REFERENCE}"
    left = f"{'; not resolved: ' if resolved else ' is resolved: '}{listed_words(told['open'])}" if told["open"] else ""
    return f"By this run's own {family}: {found}{left}."


def _outcome(test: Comparison | Equivalence) -> str:
    if isinstance(test, Equivalence):
        return "equal" if test.equivalent else "open"
    found = stance(test)
    return found if found in ("higher", "lower") else "open"


def _numbers(test: Comparison | Equivalence) -> str:
    margin = f" within {test.margin:g}" if isinstance(test, Equivalence) else ""
    p = test.p if test.p_holm is None else test.p_holm
    return f" ({test.difference:+.2f}{margin}{'' if p is None else f', {p_text(p)}'})"
