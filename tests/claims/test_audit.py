"""The audit finds what is wrong with the card, by itself, and notices when any identity is broken."""

from __future__ import annotations

import copy
import json
import random
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml

from cardproof.claims import grim
from cardproof.claims.audit import Audit, render_text, run_audit, to_json
from cardproof.claims.claims_file import read_claims, references
from cardproof.claims.findings import Finding
from cardproof.claims.recipe_checks import step_readings
from cardproof.errors import CardproofError
from cardproof.models import sizes
from helpers.places import CLAIMS

RAW = yaml.safe_load(CLAIMS.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def audit() -> Audit:
    return run_audit(CLAIMS, count_parameters=False)


def finding(audit: Audit, name: str) -> Finding:
    """The finding of that id."""
    return next(f for f in audit.findings if f.id == name)


def audit_with(tmp_path: Path, changes: dict[str, Any]) -> Audit:
    """The audit of the card with some printed values (or a claim's `rollouts`, as `id/rollouts`) replaced."""
    raw = copy.deepcopy(RAW)
    for name, value in changes.items():
        claim_id, _, key = name.partition("/")
        (claim,) = [c for c in raw["claims"] if c["id"] == claim_id]
        claim[key or "value"] = value
    path = tmp_path / "claims.yaml"
    path.write_text(json.dumps(raw), encoding="utf-8")
    return run_audit(path, count_parameters=False)


# --- what the published card holds ------------------------------------------------------------------------------------


def test_the_only_contradiction_is_the_number_of_steps(audit: Audit) -> None:
    assert [f.id for f in audit.findings if f.severity == "error"] == ["steps"]
    steps = finding(audit, "steps")
    assert (steps.data["made"], steps.data["printed"]) == (28, 14)
    assert {r["change"]: r["to"] for r in steps.data["readings"]} == {
        "examples": list(range(43, 50)),
        "batch": [14, 15, 16],
        "epochs": [1],
        "steps": [28],
    }
    assert any("an effective batch of 14 instead of 7" in r for r in steps.readings)
    assert any("1 epoch instead of 2" in r for r in steps.readings)


def test_a_consistent_recipe_has_no_contradiction(tmp_path: Path) -> None:
    for change in ({"training.steps": "28"}, {"training.epochs": "1"}, {"training.batch": "14"}):
        found = audit_with(tmp_path, change)
        assert finding(found, "steps").severity == "ok"
        assert found.counts["error"] == 0


def test_step_readings_are_all_and_only_the_repairs() -> None:
    rng = random.Random(0)
    for _ in range(100):
        e, b, p, s = (rng.randint(1, 60), rng.randint(1, 12), rng.randint(1, 4), rng.randint(1, 60))
        for reading in step_readings(e, b, p, s):
            recipe = {"examples": e, "batch": b, "epochs": p, "steps": s}
            for value in range(1, 2 * e + 4):
                r = recipe | {reading.name: value}
                made = -(-r["examples"] // r["batch"]) * r["epochs"]
                assert (made == r["steps"]) == (value in reading.values) or value > max(4 * reading.printed, 2 * e)


def test_false_refusals_imply_45_45_and_46(audit: Audit) -> None:
    found = {f.data["arm"]: f.data["answered"] for f in audit.findings if f.id.startswith("answered.")}
    assert found == {"base": [45], "hybrid": [45], "grounded": [46]}


def test_grim_says_which_means_cannot_be_proportions_and_never_tests_them(audit: Audit) -> None:
    assert finding(audit, "answered.base").data["not_proportions"] == ["strict.base", "content.base"]
    assert finding(audit, "answered.hybrid").data["could_be_proportions"] == ["content.hybrid"]
    assert finding(audit, "denominators.stress").data["not_proportions"] == ["stress.strict.hybrid", "stress.strict.grounded"]
    assert {finding(audit, f"answered.{arm}").severity for arm in ("base", "hybrid", "grounded")} == {"note"}


def test_parameters_by_arithmetic_and_which_share_is_printed(audit: Audit) -> None:
    data = finding(audit, "parameters").data
    assert (data["trainable"], data["base"], data["total"]) == (128_450_560, 14_768_307_200, 14_896_757_760)
    assert (round(data["share_of_base"], 4), round(data["share_of_total"], 4)) == (0.8698, 0.8623)
    assert data["printed_share_is_of"] == ["total"]
    assert finding(audit, "parameters").severity == "warning", "128.45M printed as 128.4M is cut off, not rounded"


def test_what_the_card_implies(audit: Audit) -> None:
    assert finding(audit, "implied_content.base").data["implied"] == pytest.approx(0.917)
    assert finding(audit, "doublings").data["doublings"] == 1
    assert finding(audit, "stress_is_harder.grounded").severity == "warning"
    assert finding(audit, "oracle_drop").data["items"] == [15]
    assert [t["counts"] for t in finding(audit, "small_counts").data["tests"]] == [[5, 4], [42, 46], [23, 27]]


def test_assumptions_and_the_empty_cell_are_listed(audit: Audit) -> None:
    assert {f.id for f in audit.findings if f.id.startswith("assumed.")} == {
        "assumed.training.loss",
        "assumed.freeform.grounded",
        "assumed.freeform.base",
    }
    assert finding(audit, "absent.rouge.hybrid").severity == "note"


def test_counted_on_real_modules() -> None:
    found = run_audit(CLAIMS)
    data = finding(found, "parameters").data
    assert (data["trainable"], data["total"], data["how"]) == (128_450_560, 14_896_757_760, "counted on the meta device")
    assert found.parameters_counted


# --- every identity notices -------------------------------------------------------------------------------------------

CONSISTENT = {"training.steps": "28"}
"""The card with its one contradiction repaired, so that a broken recipe shows."""

BREAKS: dict[str, list[dict[str, str]]] = {
    "steps": [{"training.examples": "120"}, {"training.batch": "9"}, {"training.epochs": "3"}, {"training.steps": "29"}],
    "keep_top": [{"training.examples": "154"}, {"training.keep_top": "1"}, {"eval.items": "31"}],
    "parameters": [{"training.rank": "16"}, {"training.trainable": "128.6"}, {"training.trainable": "128.3"}, {"training.share": "0.88"}],
    "difference_clean.base": [{"content.base": "0.990"}, {"strict.base": "0.821"}, {"gap.clean.base": "0.166"}],
    "difference_clean.grounded": [{"content.grounded": "0.992"}, {"strict.grounded": "0.965"}, {"gap.clean.grounded": "0.030"}],
    "implied_content.base": [{"stress.strict.base": "0.789"}, {"gap.stress.base": "0.328"}],
    "implied_content.grounded": [{"gap.stress.grounded": "0.020"}, {"stress.strict.grounded": "1.002"}],
    "order.base": [{"strict.base": "0.989"}, {"content.base": "0.822"}],
    "order.hybrid": [{"strict.hybrid": "0.982"}, {"content.hybrid": "0.817"}],
    "order.grounded": [{"strict.grounded": "0.997"}, {"content.grounded": "0.960"}],
    "order.residual": [{"residual.strict": "0.957"}, {"residual.attribution": "0.986"}],
    "residual_repeats": [{"residual.strict": "0.982"}, {"stress.strict.grounded": "0.986"}],
    "answered.base": [{"refusals.base": "0.12"}, {"citation.base": "0.938"}, {"rouge.base": "0.515"}, {"eval.items": "48"}],
    "answered.hybrid": [{"refusals.hybrid": "0.13"}, {"citation.hybrid": "0.915"}],
    "answered.grounded": [{"refusals.grounded": "0.10"}, {"rouge.grounded": "0.583"}, {"citation.grounded": "0.995"}],
    "oracle_drop": [{"stress.drop": "31"}, {"eval.items": "52"}],
    "doublings": [{"composite.base_n2/rollouts": "4"}, {"composite.grounded_n1/rollouts": "2"}, {"composite.base_n2": "0.569"}],
    "stress_is_harder.base": [{"stress.strict.base": "0.834"}, {"strict.base": "0.679"}],
    "stress_is_harder.hybrid": [{"stress.strict.hybrid": "0.829"}, {"strict.hybrid": "0.651"}],
}
OBSERVATIONS = {"denominators.stress", "zero_gap", "small_counts", "stress_is_harder.grounded"}
"""Identities that only derive numbers (or are already broken as published): there is nothing left to break."""
CASES = [(name, change) for name, changes in BREAKS.items() for change in changes]


def test_every_identity_is_broken_once_by_each_of_its_claims() -> None:
    assert set(BREAKS) | OBSERVATIONS == {i["id"] for i in RAW["identities"]}
    for identity in read_claims(CLAIMS).identities:
        if identity.id in BREAKS and identity.rule != "answered":
            broken = {name.partition("/")[0] for change in BREAKS[identity.id] for name in change}
            assert broken == set(references(identity)) or identity.id in {"doublings"}


@pytest.mark.parametrize(("identity", "change"), CASES, ids=[f"{n}-{next(iter(c))}" for n, c in CASES])
def test_a_broken_identity_is_found(tmp_path: Path, identity: str, change: dict[str, str]) -> None:
    before = finding(audit_with(tmp_path, CONSISTENT), identity)
    after = finding(audit_with(tmp_path, CONSISTENT | change), identity)
    assert before.severity in {"ok", "note", "warning"}
    order = ["ok", "note", "warning", "error"]
    assert order.index(after.severity) > order.index(before.severity)
    if identity == "oracle_drop":
        assert (after.severity, after.readings[0][:35]) == ("note", "each item is dropped by chance, and"), "a rate may be a chance"
        return
    assert after.severity == "error" or identity.startswith("stress_is_harder") or change == {"composite.base_n2": "0.569"}
    assert {c.partition("/")[0] for c in change} <= set(after.claims)
    assert after.computation and after.readings


OUT_OF_RANGE = {"share": ("1.200", "-0.100"), "percent": ("120", "-3"), "million": ("-128.4",), "nats": ("-0.362",), "count": ("-4",)}
COUNTED_CLAIMS = {
    i["id"] for i in RAW["claims"] if i["id"] in {"eval.items", *(f"training.{x}" for x in ("examples", "batch", "epochs", "steps"))}
}
COUNTED_CLAIMS |= {"training.keep_top", "training.rank"}
"""Claims that arithmetic counts with: a value that is not a count is refused before the audit."""


def out_of_range() -> list[tuple[str, str]]:
    values = [(c["id"], v) for c in RAW["claims"] if c.get("value") for v in OUT_OF_RANGE.get(c["unit"], ())]
    values = [(name, v) for name, v in values if name not in COUNTED_CLAIMS and not (name.startswith("gap.") and v.startswith("-"))]
    return [*values, ("eval.best_of", "0"), ("training.bits", "0"), ("eval.rouge_threshold", "1.30")]


@pytest.mark.parametrize(("claim", "value"), out_of_range(), ids=lambda x: x)
def test_every_number_has_a_range_that_is_named(tmp_path: Path, claim: str, value: str) -> None:
    found = finding(audit_with(tmp_path, CONSISTENT | {claim: value}), f"range.{claim}")
    assert (found.severity, found.claims) == ("error", [claim])
    assert re.search(r"impossible: it lies in (-?1(00)?|0|1) (to 1(00)?|or more)", found.title)


@pytest.mark.parametrize(("claim", "other"), [("citation.base", 49), ("strict.grounded", 60), ("support.base", 51)])
def test_the_n_of_a_row_is_the_headings(tmp_path: Path, claim: str, other: int) -> None:
    assert finding(audit_with(tmp_path, CONSISTENT), "stated_items").severity == "ok"
    found = finding(audit_with(tmp_path, CONSISTENT | {f"{claim}/n": other}), "stated_items")
    assert (found.severity, found.claims) == ("error", ["eval.items", claim])


def test_a_row_may_state_the_answered_items(tmp_path: Path) -> None:
    assert finding(audit_with(tmp_path, CONSISTENT | {"citation.base/n": 45}), "stated_items").severity == "ok"


@pytest.mark.parametrize(
    ("change", "identity"),
    [
        ({"strict.hybrid": "0.981"}, "order.hybrid"),
        ({"residual.strict": "0.983"}, "residual_repeats"),
        ({"content.grounded": "0.995", "strict.grounded": "0.996", "gap.clean.grounded": "-0.001"}, "negative.difference_clean.grounded"),
        ({"content.grounded": "0.995", "strict.grounded": "0.996", "gap.clean.grounded": "-0.001"}, "order.grounded"),
    ],
)
def test_one_digit_is_enough(tmp_path: Path, change: dict[str, str], identity: str) -> None:
    assert finding(audit_with(tmp_path, CONSISTENT | change), identity).severity == "error"


def observed() -> list[tuple[str, str]]:
    return [(i.id, claim) for i in read_claims(CLAIMS).identities if i.id in OBSERVATIONS for claim in references(i)]


@pytest.mark.parametrize(("identity", "claim"), observed(), ids=lambda name: name)
def test_what_only_derives_numbers_derives_others_from_others(tmp_path: Path, audit: Audit, identity: str, claim: str) -> None:
    value = next(c["value"] for c in RAW["claims"] if c["id"] == claim)
    other = "40" if claim == "eval.items" else f"{float(value) + (0.04 if float(value) < 0.5 else -0.04):.{len(value) - 2}f}"
    before, after = finding(audit, identity), finding(audit_with(tmp_path, {claim: other}), identity)
    assert after.computation != before.computation


@pytest.mark.parametrize("value", ["0", "-2", "1.5", "100000000000000000000"])
@pytest.mark.parametrize("claim", ["training.examples", "training.batch", "training.epochs", "training.rank", "eval.items"])
def test_what_cannot_be_counted_with_is_refused(tmp_path: Path, claim: str, value: str) -> None:
    with pytest.raises(CardproofError, match=f"is the claim '{claim}', whose value '{value}' is not a count"):
        audit_with(tmp_path, {claim: value})


@pytest.mark.parametrize(
    ("claim", "change"),
    [
        ("words.improves_strict", {"strict.grounded": "0.824"}),
        ("words.improves_citation", {"citation.grounded": "0.913"}),
        ("words.improves_rouge", {"rouge.grounded": "0.500"}),
        ("words.eliminates_clean", {"gap.clean.grounded": "0.050"}),
        ("words.eliminates_stress", {"gap.stress.grounded": "0.051"}),
        ("words.flat_support", {"support.grounded": "0.780"}),
        ("words.composites_match", {"composite.grounded_n1": "0.500"}),
        ("words.one_doubling", {"composite.base_n2/rollouts": "4"}),
        ("words.freeform_matches", {"freeform.grounded": "0.800"}),
        ("words.citation_slips", {"residual.attribution": "0.984"}),
    ],
)
def test_words_are_tested_on_the_numbers(tmp_path: Path, audit: Audit, claim: str, change: dict[str, str]) -> None:
    assert finding(audit, f"reading.{claim}").severity == "ok"
    assert finding(audit_with(tmp_path, change), f"reading.{claim}").severity == "warning"


# --- how it reads ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [60, 100])
def test_text_fits_the_terminal_and_names_every_finding(audit: Audit, width: int) -> None:
    text = render_text(audit, width)
    assert max(map(len, text.splitlines())) <= width
    assert all(f.id in text for f in audit.findings)
    assert text.index("ERROR") < text.index("WARNING") < text.index("NOTE") < text.index("These agree")
    assert "128,450,560" in text


def test_json_round_trips(audit: Audit) -> None:
    assert Audit.model_validate(json.loads(json.dumps(to_json(audit)))) == audit


# --- arithmetic of printed numbers --------------------------------------------------------------------------------------


def test_counts_agree_with_printing_every_proportion() -> None:
    for n in range(1, 61):
        printed = {k: {f"{k / n:.3f}", grim.rounded(Fraction(k, n), 3)} for k in range(n + 1)}
        for text in ("0.511", "0.587", "0.933", "0.911", "1.000", "0.000", "0.500", "0.980"):
            assert [k for k in range(n + 1) if text in printed[k]] == [k for k in grim.counts(text, n) if text in printed[k]]
            assert all(abs(Fraction(k, n) - Fraction(text)) <= Fraction(1, 2000) for k in grim.counts(text, n))


def test_rounding_halves_and_signs() -> None:
    assert grim.rounded(Fraction("0.8235"), 3) == "0.824"
    assert grim.rounded(Fraction("-0.8235"), 3) == "-0.824"
    assert grim.rounded(Fraction("-0.0001"), 3) == "0.000"
    assert grim.rounded(Fraction("13.5"), 0) == "14"
    assert grim.rounding_interval("0.10") == grim.ExactInterval(Fraction("0.095"), Fraction("0.105"))
    assert grim.truncation_interval("128.4").holds(Fraction("128.45056"))
    assert not grim.rounding_interval("128.4").holds(Fraction("128.45056"))


def test_sizes_of_an_unknown_model_are_refused() -> None:
    with pytest.raises(CardproofError, match="unknown") as e:
        sizes.computed("Qwen/Qwen3-14b", 32)
    assert "Qwen/Qwen3-14B" in e.value.hint
