"""The audit of a claims file on generated files of known truth: every contradiction is found, blames its own numbers alone, and nothing
that is consistent in some reading is called wrong."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cardproof.claims.audit import Audit, run_audit
from cardproof.claims.findings import LONGEST, Finding
from claims.generated_claims import RAW, consistent, further, planted

EACH = 10


def audited(folder: Path, raw: dict[str, Any]) -> Audit:
    path = folder / "claims.yaml"
    path.write_text(json.dumps(raw), encoding="utf-8")
    return run_audit(path, count_parameters=False)


def test_every_planted_contradiction_is_found_and_blames_no_other_number(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    made: Counter[str] = Counter()
    found: Counter[str] = Counter()
    blamed: Counter[str] = Counter()
    for case in planted(EACH):
        errors = [f for f in audited(tmp_path, case.raw).findings if f.severity == "error"]
        made[case.kind] += 1
        found[case.kind] += any(case.blamed <= set(f.claims) for f in errors)
        # The number of items belongs to every proportion of them.
        blamed[case.kind] += bool({c for f in errors for c in f.claims} - case.blamed - {"eval.items"})
    print(f"\n{'planted contradiction':<40}{'planted':>8}{'found':>8}{'missed':>8}{'others blamed':>15}")
    for kind in made:
        print(f"{kind:<40}{made[kind]:>8}{found[kind]:>8}{made[kind] - found[kind]:>8}{blamed[kind]:>15}")
    record_property("planted contradictions, claims files", sum(made.values()))
    assert found == made
    assert sum(blamed.values()) == 0


def test_no_consistent_file_is_called_wrong(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    counted: dict[str, Counter[str]] = {}
    for case in consistent(EACH):
        findings = audited(tmp_path, case.raw).findings
        of = counted.setdefault(case.kind, Counter())
        of["cards"] += 1
        of["errors"] += any(f.severity == "error" for f in findings)
        # The published size is printed cut off, which is a warning of its own.
        of["warnings"] += any(f.severity == "warning" and f.id != "parameters" for f in findings)
        assert all(len(f.title) + sum(map(len, [*f.computation, *f.readings])) <= LONGEST for f in findings)
    print(f"\n{'consistent reading':<32}{'cards':>8}{'errors':>8}{'warnings':>9}")
    for kind, of in counted.items():
        print(f"{kind:<32}{of['cards']:>8}{of['errors']:>8}{of['warnings']:>9}")
    record_property("consistent claims files", sum(of["cards"] for of in counted.values()))
    assert sum(of["errors"] for of in counted.values()) == 0
    assert sum(of["warnings"] for of in counted.values()) <= 0.02 * sum(of["cards"] for of in counted.values())


def named(audit: Audit, name: str) -> Finding:
    """The finding of that id."""
    (found,) = [f for f in audit.findings if f.id == name]
    return found


def changed(values: dict[str, str], **more: Any) -> dict[str, Any]:
    raw: dict[str, Any] = json.loads(json.dumps(RAW))
    for claim in raw["claims"]:
        if claim["id"] in values:
            claim["value"] = values[claim["id"]]
    raw["claims"] += more.get("claims", [])
    raw["identities"] += more.get("identities", [])
    return raw


@pytest.mark.parametrize(
    "values", [{"eval.items": "50000"}, {"training.examples": "999999"}, {"eval.items": "999999", "training.batch": "999999"}]
)
def test_large_numbers_take_no_time(tmp_path: Path, values: dict[str, str]) -> None:
    audited(tmp_path, changed({}))  # imports
    start = time.process_time()
    audited(tmp_path, changed(values))
    assert time.process_time() - start < 2


@pytest.mark.parametrize(("p", "q", "severity"), [("0.936", "0.587", "error"), ("0.933", "0.511", "note"), ("0.936", "0.617", "note")])
def test_proportions_share_one_denominator(tmp_path: Path, p: str, q: str, severity: str) -> None:
    """0.1 leaves 43 to 47 of 50: 44/47 = 0.936 and 27/46 = 0.587 fit no one of them; 42/45 and 23/45 do, and so do 44/47 and 29/47."""
    audit = audited(tmp_path, changed({"refusals.base": "0.1", "citation.base": p, "rouge.base": q, "training.steps": "28"}))
    assert named(audit, "answered.base").severity == severity


def test_a_condition_is_named_where_a_reading_needs_one(tmp_path: Path) -> None:
    over_all = changed({"citation.base": "0.940", "rouge.base": "0.520"})
    assert "only if its axes are over all 50 items" in named(audited(tmp_path, over_all), "answered.base").title
    layers = changed({"training.trainable": "41.9"})
    assert "queries, keys and values" not in named(audited(tmp_path, layers), "parameters").title
    # rank x layers x (inputs + outputs): 32 x 40 x (2 x 5120 + 2 x (5120 + 1024) + 2 x 5120) = 41.94M
    assert "attention only (41,943,040)" in named(audited(tmp_path, layers), "parameters").title
    joined = changed({"training.batch": "12", "training.steps": "17"})
    assert named(audited(tmp_path, joined), "steps").severity == "note"


def test_a_broken_size_does_not_blame_the_share(tmp_path: Path) -> None:
    assert named(audited(tmp_path, changed({"training.trainable": "99.9"})), "parameters").claims == ["training.rank", "training.trainable"]
    assert named(audited(tmp_path, changed({"training.share": "0.42"})), "parameters").claims == ["training.rank", "training.share"]


def test_differences_between_arms_are_called_small_only_where_they_are(tmp_path: Path) -> None:
    assert "none of these differences" in named(audited(tmp_path, changed({})), "small_counts").title
    far = changed({"citation.base": "0.600", "citation.grounded": "1.000"})
    assert "1 of these 3 differences is larger" in named(audited(tmp_path, far), "small_counts").title


def test_a_card_of_other_sections_without_results_can_be_written(tmp_path: Path) -> None:
    raw = {"card": "other", "arms": [], "claims": [further("proportion", "a.b", "0.333", n=10)], "identities": []}
    assert named(audited(tmp_path, raw), "proportions.card.10").severity == "error"
    raw["claims"] = [further("proportion", "a.b", "0.300", n=10)]
    assert named(audited(tmp_path, raw), "proportions.card.10").severity == "ok"


def test_another_architecture_is_counted_from_its_config(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    small = {"vocab_size": 1000, "hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 3}
    config.write_text(json.dumps({"model_type": "llama", **small, "num_attention_heads": 4, "num_key_value_heads": 2}))
    # 3 blocks of q 64+64, k and v 64+32, o 64+64, gate, up, down 64+160
    size = 8 * 3 * (2 * 128 + 2 * 96 + 3 * 224)
    base = 2 * 64_000 + 3 * (2 * 4096 + 2 * 2048 + 3 * 64 * 160 + 2 * 64) + 64
    claims = [further("setting", "t.rank", "8", "count"), further("size", "t.size", f"{size:,}", "count")]
    claims.append(further("size", "t.share", f"{100 * size / (base + size):.2f}", "percent"))
    rule = {"rule": "lora_parameters", "id": "lora", "model": str(config), "rank": "t.rank", "trainable": "t.size", "share": "t.share"}
    audit = audited(tmp_path, {"card": "other", "arms": [], "claims": claims, "identities": [rule]})
    assert (named(audit, "lora").severity, named(audit, "lora").data["trainable"], named(audit, "lora").data["base"]) == ("ok", size, base)
