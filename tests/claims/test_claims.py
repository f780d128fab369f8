"""The claims cover the card, every verdict flips when its number is changed, and bad input is said in one sentence."""

from __future__ import annotations

import copy
import hashlib
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from cardproof.claims import claims as judging
from cardproof.claims import printed
from cardproof.claims.audit import Audit, run_audit, to_json
from cardproof.claims.claims import exit_code, render_text
from cardproof.claims.claims_file import FACTOR, MEASURED, ClaimsFile, ValueClaim, parse_claims, read_claims
from cardproof.claims.found import as_estimate
from cardproof.claims.pointers import split_pointer
from cardproof.claims.predicates import pointer_of
from cardproof.claims.verdicts import Verdicts
from cardproof.config.settings import Config
from cardproof.errors import CardproofError
from cardproof.files import plain
from cardproof.runs import Run
from helpers.places import ROOT, SHARED

CLAIMS = ROOT / "published" / "claims.yaml"
FILE = read_claims(CLAIMS)
RAW = yaml.safe_load(CLAIMS.read_text(encoding="utf-8"))
CONTRADICTORY = {"training.examples", "training.batch", "training.epochs", "training.steps"}
HAVE_RESULTS = [c for c in FILE.values().values() if c.result and c.value is not None]
OVER_ITEMS = [c for c in HAVE_RESULTS if c.kind in MEASURED and c.kind != "loss"]
HALF_WIDTH = 0.02
"""Half the interval of every synthetic estimate."""
ITEMS = 50


NOTICED = printed.OverItems.noticed


@pytest.fixture(autouse=True)
def no_power(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a comparison would have noticed takes most of the time; only the module's `report` says it."""
    monkeypatch.setattr(printed.OverItems, "noticed", lambda self, alpha: None)


# --- a run whose results are the card's numbers -----------------------------------------------------------------------


def put(tree: Any, pointer: str, value: Any) -> None:
    """Set what a JSON pointer leads to; lists grow as needed."""
    parts = pointer.strip("/").split("/")
    for part, after in zip(parts, [*parts[1:], None], strict=True):
        key: Any = int(part) if isinstance(tree, list) else part
        if isinstance(tree, list):
            tree.extend([None] * (key + 1 - len(tree)))
        if after is None:
            tree[key] = value
        elif (tree[key] if isinstance(tree, list) else tree.get(key)) is None:
            tree[key] = [] if after.isdecimal() else {}
        tree = tree[key]


def estimate(value: float, n: int = 50) -> dict[str, Any]:
    return {
        "value": value,
        "n": n,
        "low": value - HALF_WIDTH,
        "high": value + HALF_WIDTH,
        "level": 0.95,
        "method": "made up",
        "count": None,
    }


def comparison(difference: float) -> dict[str, Any]:
    low, high = difference - HALF_WIDTH, difference + HALF_WIDTH
    return {"difference": difference, "n": 44, "low": low, "high": high, "level": 0.95, "p": 0.5, "p_holm": None, "method": "made up"}


def equivalent_n(low: float | None, high: float | None) -> dict[str, Any]:
    ends = {"low": low, "high": high, "level": 0.95, "share_below": 0.001, "share_above": 0.001}
    return {"n_equivalent": 2.0, "doublings": 1.0, "reason": None, **ends}


def per_item(value: float) -> dict[str, Any]:
    """Items around a mean, all of them in [0, 1] and none whole: half of them a little above it, half as much below."""
    reach = 0.2 * min(value, 1 - value)
    totals = [value + (reach if i % 2 else -reach) for i in range(ITEMS)]
    return {"totals": totals, "weights": [1.0] * ITEMS}


def make_run(folder: Path, scale: str = "published", results: dict[str, Any] | None = None) -> Path:
    """A run folder whose results print as the card; `results` replaces single ones."""
    files: dict[str, Any] = {}
    for claim in HAVE_RESULTS:
        file, pointer = split_pointer(claim.result or "")
        if file != "config.yaml":
            number = float(claim.exact / FACTOR.get(claim.unit, 1))
            plain = file.startswith(("training/", "distill/")) or claim.unit == "count"
            put(files.setdefault(file, {}), pointer, (int(number) if number.is_integer() else number) if plain else estimate(number))
            if claim.kind in MEASURED and not plain:
                files[file].setdefault("per_item", {})[pointer] = per_item(number)
    for predicate in FILE.predicates().values():
        if (result := pointer_of(predicate.expression)) is not None:
            file, pointer = split_pointer(result)
            if pointer.endswith("doublings"):
                put(files.setdefault(file, {}), pointer.removesuffix("/doublings"), equivalent_n(1.9, 2.2))
            else:
                put(files.setdefault(file, {}), pointer, comparison(0.1 if predicate.expression.test == "greater" else 0.01))
    put(files["training/grounded/metrics.json"], "/last_loss", 0.21)
    put(files["training/grounded/metrics.json"], "/quantization", "nf4")
    config = Config(run="made-up").model_dump(mode="json") | {"scale": scale}
    for result, value in (results or {}).items():
        file, pointer = split_pointer(result)
        put(config if file == "config.yaml" else files[file], pointer, value)
        if isinstance(value, dict) and pointer in files.get(file, {}).get("per_item", {}):
            files[file]["per_item"][pointer] = per_item(value["value"])
    for file, content in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(json.dumps(content), encoding="utf-8")
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return folder


def write_claims(path: Path, changes: dict[str, Any]) -> Path:
    """The card's claims with some printed values replaced."""
    raw = copy.deepcopy(RAW)
    for claim in raw["claims"]:
        if claim["id"] in changes:
            claim["value"] = changes[claim["id"]]
    path.write_text(json.dumps(raw), encoding="utf-8")
    return path


def quiet_audit(run: Path, claims: Path) -> None:
    """An audit in the run that finds nothing, so that a verdict shows what the comparison alone says."""
    audit = to_json(run_audit(CLAIMS, count_parameters=False)) | {"findings": []}
    audit["claims_sha256"] = hashlib.sha256(claims.read_bytes()).hexdigest()
    (run / "audit.json").write_text(json.dumps(audit), encoding="utf-8")


def judge(run: Path, claims: Path) -> dict[str, Any]:
    """The content of `claims.json`."""
    found: dict[str, Any] = plain(judging.judge(run, claims))
    return found


def rows(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in report["claims"]}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="module")
def report(published: Path) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(printed, "REPEATS", 40)
        patch.setattr(printed.OverItems, "noticed", NOTICED)
        return judge(published, CLAIMS)


# --- what a card prints and its claims ---------------------------------------------------------------------------------


def numerals(text: str, names: Iterable[str] = ()) -> list[str]:
    """Every number printed in a text, in order, as printed; digits inside words (`F1`) and inside the given names do not count."""
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(name, " ")
    return re.findall(r"(?<![\w.])\d+(?:\.\d+)?", text)


def uncovered(sections: dict[str, str], file: ClaimsFile) -> list[str]:
    """What a card's sections print and the claims do not hold, and the reverse: one sentence each, empty if they agree."""
    covered: dict[str, Counter[str]] = {section: Counter() for section in ("training", "evaluation", "mechanism", "limitations")}
    for claim in file.values().values():
        for place in (claim.where.section, *claim.where.again):
            covered[place].update(filter(None, [claim.value, claim.rollouts]))
    problems = []
    for section, text in sections.items():
        found = Counter(numerals(text, (n.text for n in file.names)))
        for number, times in (found - covered[section]).items():
            problems.append(f"{section}: {number} is printed {times} more times than claims hold it.")
        for number, times in (covered[section] - found).items():
            problems.append(f"{section}: {number} is claimed {times} more times than it is printed.")
    return problems


# --- the file and the card --------------------------------------------------------------------------------------------


def test_every_number_of_the_facts_has_a_claim() -> None:
    parts = re.split(r"^## (\w+)$", (ROOT / "published" / "facts.md").read_text(encoding="utf-8"), flags=re.M)
    sections = {name.lower(): text for name, text in zip(parts[1::2], parts[2::2], strict=True)}
    assert set(sections) == {"training", "evaluation", "mechanism", "limitations"}
    assert uncovered(sections, FILE) == []


def test_every_number_of_the_published_card_has_a_claim() -> None:
    card = SHARED / "published" / "card.txt"
    if not card.is_file():
        pytest.skip(f"no copy of the published card at {card}; set CARDPROOF_SHARED to a folder that has published/card.txt")
    text = card.read_text(encoding="utf-8")
    starts = {"training": "- Data: ", "evaluation": "Evaluation (", "mechanism": "Mechanism: ", "limitations": "Intended use & limitations"}
    ends = [*list(starts.values())[1:], "Siblings"]
    sections = {name: text[text.index(start) : text.index(end)] for (name, start), end in zip(starts.items(), ends, strict=True)}
    assert uncovered(sections, FILE) == []


def test_a_number_without_claim_is_named() -> None:
    assert uncovered({"training": "3 and 98"}, parse_claims({"card": "x", "arms": [], "claims": [RAW["claims"][0]]}, "x")) == [
        "training: 3 is printed 1 more times than claims hold it."
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Qwen3-14B in 4-bit NF4, keep-top-3", ["4", "3"]),
        ("128.4M (0.86%); r=32. 14 steps; 0.163 -> 0.033.", ["128.4", "0.86", "32", "14", "0.163", "0.033"]),
        ("N=1 ~= best-of-8, F1, ROUGE-L >= 0.30", ["1", "8", "0.30"]),
    ],
)
def test_numerals(text: str, found: list[str]) -> None:
    assert numerals(text, ["Qwen3-14B"]) == found


def test_arms_and_cells_are_complete() -> None:
    values = FILE.values()
    for axis in ("strict", "content", "citation", "rouge", "refusals", "stress.strict"):
        assert {f"{axis}.{arm}" for arm in ("base", "hybrid", "grounded")} <= set(values)
    assert [c.id for c in values.values() if c.value is None] == ["rouge.hybrid"]
    assert [c.id for c in values.values() if c.unmeasured] == [], "every number of this card has a result"


def test_config_sections_exist() -> None:
    for claim in FILE.values().values():
        if claim.config:
            Config().fingerprint(claim.config)


# --- verdicts ---------------------------------------------------------------------------------------------------------


def test_every_claim_has_a_row_and_equal_numbers_do_not_differ(report: dict[str, Any]) -> None:
    assert [row["id"] for row in report["claims"]] == [c.id for c in FILE.claims]
    found = rows(report)
    for claim in HAVE_RESULTS:
        row = found[claim.id]
        if claim.id in CONTRADICTORY:
            assert row["verdict"] == "inconsistent_as_published"
        else:
            assert row["verdict"] in ("agrees", "not_resolved") if claim.kind in MEASURED else row["verdict"] == "as_set", row
            assert row["remark"].endswith(f"prints as {claim.value}."), row
        assert row["difference"] == pytest.approx(0, abs=1e-12)
    assert found["rouge.hybrid"]["verdict"] == "absent"
    assert sum(report["counts"].values()) == len(FILE.claims)
    assert all(row["reason"].endswith(".") for row in report["claims"])


def test_every_measured_number_says_what_it_was_tested_by(report: dict[str, Any]) -> None:
    found = rows(report)
    for claim in OVER_ITEMS:
        row = found[claim.id]
        assert (row["p"], row["p_holm"]) == pytest.approx((1.0, 1.0))
        low, high = row["difference_interval"]
        assert low < 0 < high
        assert row["tolerance"] == float(FILE.tolerance()[claim.id])
        assert (row["verdict"] == "agrees") == (row["noticed"] is not None and row["noticed"] <= row["tolerance"])
    assert {found[i]["verdict"] for i in ("stress.strict.grounded", "residual.strict")} == {"agrees"}
    assert "45 of" not in found["citation.base"]["method"]
    assert found["citation.base"]["method"] == "count recovered: 42 of 45"
    assert found["refusals.base"]["method"] == "count recovered: 5 of 50"
    assert found["strict.base"]["method"] == "mean over 45 items, spread as the run's"
    assert found["composite.base_n2"]["method"] == "mean over 50 items, spread as the run's"
    loss = found["training.loss"]
    assert (loss["verdict"], loss["p"]) == ("not_resolved", None)
    assert "a single training seed has no spread" in loss["reason"]


def test_a_loss_is_judged_by_its_spread_over_seeds(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    for seed, loss in ((1, 0.364), (2, 0.359), (3, 0.363)):
        (run / f"training/grounded.seed{seed}").mkdir()
        (run / f"training/grounded.seed{seed}/metrics.json").write_text(json.dumps({"train_loss": loss}))
    row = rows(judge(run, CLAIMS))["training.loss"]
    assert (row["verdict"], row["p_holm"]) == ("not_resolved", pytest.approx(1.0))
    far = write_claims(tmp_path / "far.yaml", {"training.loss": "0.562"})
    row = rows(judge(run, far))["training.loss"]
    # Four losses with mean 0.362 and sd 0.00216; 0.2 is 83 prediction errors away.
    assert (row["verdict"], row["p"]) == ("differs", pytest.approx(4e-6, rel=0.9))
    low, high = row["difference_interval"]
    assert low < row["difference"] < high < 0


DECISIVE = FILE.measured_with.claims if FILE.measured_with else []
"""Numbers that a run has to share with the card before any other is compared."""


@pytest.mark.parametrize("claim", [c for c in HAVE_RESULTS if c.id in DECISIVE], ids=lambda c: c.id)
def test_where_what_all_numbers_depend_on_differs_nothing_is_compared(claim: ValueClaim, published: Path, tmp_path: Path) -> None:
    report = judge(published, write_claims(tmp_path / "claims.yaml", {claim.id: perturbed(claim)}))
    assert not report["comparable"]
    assert [check["what"] for check in report["compared"] if not check["holds"]] == [claim.text]
    assert claim.text in report["answer"]["lead"]
    assert not {row["verdict"] for row in report["claims"]} & {"agrees", "differs", "not_resolved", "as_set", "shown", "refuted"}


def perturbed(claim: ValueClaim) -> str:
    """The printed value, moved well beyond what its items allow, and kept a possible one."""
    assert claim.value is not None
    step = {"count": "3", "percent": "5", "million": "5", "nats": "0.1"}.get(claim.unit, "0.40")
    value = Decimal(claim.value)
    return str(value - Decimal(step) if claim.unit == "share" and value > Decimal("0.5") else value + Decimal(step))


@pytest.mark.parametrize("claim", [c for c in HAVE_RESULTS if c.id not in DECISIVE], ids=lambda c: c.id)
def test_a_changed_value_flips_its_verdict_and_no_other(claim: ValueClaim, published: Path, tmp_path: Path) -> None:
    claims = write_claims(tmp_path / "claims.yaml", {claim.id: perturbed(claim)})
    quiet = run_audit(CLAIMS, count_parameters=False).model_copy(update={"findings": []})
    found = {row.id: row for row in judging.judged(read_claims(claims), Run(published), quiet, power=())}
    # Nothing says how much a count, or the loss of a single seed, varies.
    expected = "not_resolved" if claim.kind in ("count", "loss") else "differs"
    assert found[claim.id].verdict == expected
    assert found[claim.id].remark is None
    others = {found[c.id].verdict for c in HAVE_RESULTS if c.id != claim.id}
    assert others == {"not_resolved", "as_set"}
    low, high = found[claim.id].difference_interval or (-1, 1)
    assert (low > 0 or high < 0) == (expected == "differs" and claim.kind in MEASURED)


def test_a_difference_is_tested_as_one_of_two_estimates(tmp_path: Path) -> None:
    # 0.835 lies outside what prints as 0.824, and inside what 50 items of either could give.
    run = make_run(tmp_path, results={"evaluation/axes.json#/arms/base/strict": estimate(0.835)})
    row = rows(judge(run, CLAIMS))["strict.base"]
    assert (row["regenerated_printed"], row["difference"], row["remark"]) == ("0.835", pytest.approx(0.011), None)
    assert row["interval"] == pytest.approx([0.815, 0.855])
    assert row["verdict"] in ("agrees", "not_resolved")
    assert row["p"] > 0.5


@pytest.mark.parametrize("value", [0.8235, 0.8244999, 0.8245])
def test_either_way_of_rounding_a_half_prints_as_the_card(tmp_path: Path, value: float) -> None:
    run = make_run(tmp_path, results={"evaluation/axes.json#/arms/base/strict": estimate(value)})
    row = rows(judge(run, CLAIMS))["strict.base"]
    assert "prints as 0.824" in row["remark"]
    assert row["p"] == 1.0


def test_a_number_without_items_is_not_resolved(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    path = run / "evaluation/axes.json"
    axes = json.loads(path.read_text())
    del axes["per_item"]
    path.write_text(json.dumps(axes))
    row = rows(judge(run, CLAIMS))["strict.base"]
    assert (row["verdict"], row["p"], row["noticed"]) == ("not_resolved", None, None)
    assert row["reason"].endswith("the result has no items to test it with.")


def test_a_size_may_be_cut_off(tmp_path: Path) -> None:
    metrics = "training/grounded/metrics.json#"
    run = make_run(
        tmp_path,
        results={metrics + "/trainable_parameters": 128_450_560, metrics + "/trainable_share_of_total": 128_450_560 / 14_896_757_760},
    )
    found = rows(judge(run, CLAIMS))
    assert found["training.trainable"]["verdict"] == "as_set"
    assert "cut off, as 128.5 rounded" in found["training.trainable"]["reason"]
    assert (found["training.share"]["verdict"], found["training.share"]["regenerated_printed"]) == ("as_set", "0.86")


@pytest.mark.parametrize("scale", ["embedded", "benchmark"])
def test_stand_ins_are_never_compared_whatever_they_share(tmp_path: Path, scale: str) -> None:
    run = make_run(tmp_path, scale, {"evaluation/axes.json#/arms/base/strict": estimate(0.1)})
    report = judge(run, CLAIMS)
    found = rows(report)
    assert {found[c.id]["verdict"] for c in HAVE_RESULTS} == {"not_comparable", "inconsistent_as_published"}
    assert {c.id for c in HAVE_RESULTS if found[c.id]["verdict"] == "inconsistent_as_published"} == CONTRADICTORY
    assert {found[p]["verdict"] for p in FILE.predicates()} == {"not_comparable"}
    assert found["strict.base"]["regenerated"]["value"] == 0.1
    assert all(row["difference"] is None for row in report["claims"])
    assert not report["comparable"] and exit_code(Verdicts.model_validate(report), "differs") == 0
    answer = report["answer"]
    assert answer["measured"] is None
    assert answer["lead"] == "This run cannot say whether the card holds: scale is not the card's."
    assert answer["sentence"].startswith(f"{answer['lead'].rstrip('.')}; ")
    assert "The printed recipe makes 28 optimizer steps, not 14" in answer["sentence"]


def test_a_claim_without_result_says_why(tmp_path: Path) -> None:
    raw = copy.deepcopy(RAW)
    raw["measured_with"]["claims"].remove("eval.rouge_threshold")
    (claim,) = [c for c in raw["claims"] if c["id"] == "eval.rouge_threshold"]
    claim |= {"result": None, "unmeasured": "a definition"}
    path = tmp_path / "claims.yaml"
    path.write_text(json.dumps(raw))
    row = rows(judge(make_run(tmp_path / "run"), path))["eval.rouge_threshold"]
    assert (row["verdict"], row["reason"], row["tier"]) == ("not_run", "a definition.", None)


def test_what_was_not_run_says_which_rule_makes_it(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    (run / "evaluation/compute.json").unlink()
    axes = json.loads((run / "evaluation/axes.json").read_text())
    del axes["arms"]["hybrid"]
    axes["arms"]["base"]["support"] = estimate(0.5) | {"value": None, "low": None, "high": None, "n": 0}
    (run / "evaluation/axes.json").write_text(json.dumps(axes))
    found = rows(judge(run, CLAIMS))
    assert found["composite.base_n2"]["verdict"] == "not_run" and "the rule evaluate makes it" in found["composite.base_n2"]["reason"]
    assert found["words.one_doubling"]["verdict"] == "not_run"
    assert found["strict.hybrid"]["reason"] == "evaluation/axes.json has nothing at /arms/hybrid/strict."
    assert found["support.base"]["verdict"] == "undefined" and "n = 0" in found["support.base"]["reason"]
    assert found["words.flat_support"]["verdict"] == "undefined"


AXES, STRESS = "evaluation/axes.json#", "evaluation/stress.json#"
GAP, COMPUTE = "evaluation/mechanism.json#/conditions", "evaluation/compute.json#"


@pytest.mark.parametrize(
    ("claim", "result", "value", "verdict"),
    [
        ("improves_strict", f"{AXES}/paired/grounded-base/strict", comparison(0.1), "shown"),
        ("improves_strict", f"{AXES}/paired/grounded-base/strict", comparison(0.01), "not_resolved"),
        ("improves_strict", f"{AXES}/paired/grounded-base/strict", comparison(-0.1), "refuted"),
        # The corrected interval decides if there is one.
        ("improves_strict", f"{AXES}/paired/grounded-base/strict", comparison(0.1) | {"low_holm": -0.1, "high_holm": 0.3}, "not_resolved"),
        ("improves_citation", f"{AXES}/paired/grounded-base/citation_validity", comparison(-0.03), "refuted"),
        ("improves_rouge", f"{AXES}/paired/grounded-base/gold_rouge", comparison(0.0), "not_resolved"),
        # 0.01 - 0.25 x 0.5 and 0.4 - 0.25 x 0.163.
        ("eliminates_clean", f"{GAP}/clean/base/gap", estimate(0.8), "shown"),
        ("eliminates_clean", f"{GAP}/clean/grounded/gap", estimate(0.4), "refuted"),
        ("eliminates_clean", f"{GAP}/clean/grounded/gap", estimate(0.04), "not_resolved"),
        ("eliminates_stress", f"{GAP}/stress/grounded/gap", estimate(0.0), "shown"),
        ("eliminates_stress", f"{GAP}/stress/grounded/gap", estimate(0.04), "not_resolved"),
        ("eliminates_stress", f"{GAP}/stress/grounded/gap", estimate(0.2), "refuted"),
        ("flat_support", f"{AXES}/paired/grounded-base/support", comparison(0.01), "shown"),
        ("flat_support", f"{AXES}/paired/grounded-base/support", comparison(-0.04), "not_resolved"),
        ("flat_support", f"{AXES}/paired/grounded-base/support", comparison(-0.09), "refuted"),
        ("composites_match", f"{COMPUTE}/arms/grounded/composite/0", estimate(0.9), "refuted"),
        ("composites_match", f"{COMPUTE}/arms/grounded/composite/0", estimate(0.57), "not_resolved"),
        ("one_doubling", f"{COMPUTE}/equivalence/grounded", equivalent_n(1.9, 2.2), "shown"),
        ("one_doubling", f"{COMPUTE}/equivalence/grounded", equivalent_n(1.0, 2.2), "not_resolved"),
        ("one_doubling", f"{COMPUTE}/equivalence/grounded", equivalent_n(3.0, None), "refuted"),
        ("one_doubling", f"{COMPUTE}/equivalence/grounded", equivalent_n(None, None), "not_resolved"),
        (
            "one_doubling",
            f"{COMPUTE}/equivalence/grounded",
            equivalent_n(None, None) | {"doublings": None, "reason": "above N=8", "share_above": 0.99},
            "refuted",
        ),
        ("freeform_matches", "evaluation/format_lock.json#/equivalence/grounded-base", comparison(0.06), "not_resolved"),
        ("citation_slips", f"{STRESS}/residual/grounded/attribution", estimate(0.959), "shown"),
        ("citation_slips", f"{STRESS}/residual/grounded/attribution", estimate(0.984), "not_resolved"),
    ],
)
def test_words_are_decided_by_intervals(tmp_path: Path, claim: str, result: str, value: Any, verdict: str) -> None:
    run = Run(make_run(tmp_path, results={result: value}))
    found = {row.id: row for row in judging.judged(FILE, run, run_audit(CLAIMS, count_parameters=False), power=())}
    row = found[f"words.{claim}"]
    assert row.verdict == verdict, row.reason
    assert row.reason.startswith(verdict.replace("_", " "))


def test_words_over_nothing_are_undefined(tmp_path: Path) -> None:
    none = {f"{GAP}/clean/{arm}/gap": estimate(0.0) for arm in ("base", "grounded")}
    run = Run(make_run(tmp_path, results=none))
    found = {row.id: row for row in judging.judged(FILE, run, run_audit(CLAIMS, count_parameters=False), power=())}
    row = found["words.eliminates_clean"]
    assert (row.verdict, row.computation) == ("undefined", "0 / 0: neither has any.")


# --- the answer -------------------------------------------------------------------------------------------------------


def test_the_answer_counts_what_the_rows_say(report: dict[str, Any]) -> None:
    answer = report["answer"]
    counts = Counter(row["verdict"] for row in report["claims"] if row["kind"] in MEASURED and row["published"] is not None)
    assert (answer["agree"], answer["differ"], answer["not_resolved"]) == (counts["agrees"], counts["differs"], counts["not_resolved"])
    assert answer["measured"] == sum(counts.values()) == len(OVER_ITEMS) + 1
    words = [row for row in report["claims"] if row["kind"] == "predicate"]
    for verdict in ("shown", "refuted"):
        assert answer[verdict] == [row["id"] for row in words if row["verdict"] == verdict]
    assert len(answer["contradictions"]) == 1
    assert report["central"] == RAW["central"]
    little = f": {answer['agree']} of {answer['measured']} measured numbers agree, {answer['not_resolved']} cannot be resolved."
    assert answer["lead"] == f"This run does not contradict the card, but it confirms little{little}"
    said = answer["sentence"]
    assert said.startswith(f"Of the card's {answer['measured']} measured numbers this run agrees with {answer['agree']}, differs from 0 ")
    assert "in at most 1 case of 20" in said
    assert "contradicts itself once (The printed recipe makes 28 optimizer steps, not 14; " in said
    assert said.count(".") == said.count("0.") + 1, "one sentence"


def test_the_answer_names_what_differs(tmp_path: Path) -> None:
    worse = {f"{AXES}/arms/grounded/strict": estimate(0.4), f"{AXES}/paired/grounded-base/strict": comparison(-0.4)}
    run = make_run(tmp_path, results=worse)
    answer = judge(run, CLAIMS)["answer"]
    assert answer["differ"] == 1
    words = "1 of its statements in words is refuted"
    assert answer["lead"] == f"This run contradicts the card: 1 of {answer['measured']} measured numbers differs and {words}."
    assert "differs from 1 (strict.grounded)" in answer["sentence"]
    assert "refutes 1 (improves strict)" in answer["sentence"]


def test_an_audit_of_other_claims_is_not_believed(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    quiet_audit(run, write_claims(tmp_path / "other.yaml", {"strict.base": "0.111"}))
    assert rows(judge(run, CLAIMS))["training.steps"]["verdict"] == "inconsistent_as_published"
    quiet_audit(run, CLAIMS)
    assert rows(judge(run, CLAIMS))["training.steps"]["verdict"] == "as_set"
    assert Audit.model_validate_json((run / "audit.json").read_text()).findings == []


def cardproof(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "cardproof", *arguments], capture_output=True, text=True, timeout=120)


def test_exit_codes_of_the_command(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", results={"evaluation/axes.json#/arms/base/strict": estimate(0.1)})
    other_scale = make_run(tmp_path / "demo", "embedded", {"evaluation/axes.json#/arms/base/strict": estimate(0.1)})
    same = make_run(tmp_path / "same")
    found = cardproof("claims", "--run", str(run), "--fail-on", "differs", "--out", str(tmp_path / "claims.json"))
    assert found.returncode == 3
    assert "DIFFERS (1)" in found.stdout and "strict.base" in found.stdout
    assert found.stdout.startswith("Of the card's 30 measured numbers this run agrees with")
    assert rows(json.loads((tmp_path / "claims.json").read_text()))["strict.base"]["verdict"] == "differs"
    assert cardproof("claims", "--run", str(run)).returncode == 0, "nothing was said about failing"
    for unharmed in (other_scale, same):
        assert cardproof("claims", "--run", str(unharmed), "--fail-on", "differs").returncode == 0
    bad = write_claims(tmp_path / "bad.yaml", {"strict.base": "high"})
    for verb in (["claims", "--run", str(run)], ["audit", "--no-count"]):
        found = cardproof(*verb, "--claims", str(bad))
        assert (found.returncode, found.stdout) == (2, "")
        error, hint = found.stderr.splitlines()
        assert error == f"cardproof: error: {bad}, claim 'strict.base': the value 'high' is not a number."
        assert hint.startswith("Hint: ")


# --- evidence ---------------------------------------------------------------------------------------------------------


def test_tiers_follow_the_adapters(tmp_path: Path, report: dict[str, Any]) -> None:
    found = rows(report)
    assert found["training.loss"]["tier"] == "retrained"
    assert found["strict.grounded"]["tier"] == "retrained"
    assert {found[i]["tier"] for i in ("strict.base", "strict.hybrid", "eval.items", "training.keep_top")} == {"regenerated"}
    assert found["words.flat_support"]["tier"] == "retrained"
    assert found["stress.drop"]["tier"] is None, "a setting read from the configuration is no evidence"
    hub = make_run(tmp_path, results={"config.yaml#/arms/grounded/adapter": "hub"})
    assert rows(judge(hub, CLAIMS))["strict.grounded"]["tier"] == "regenerated"
    embedded = rows(judge(make_run(tmp_path / "embedded", "embedded"), CLAIMS))
    assert embedded["training.steps"]["tier"] == "audited"


def test_the_chain_can_be_followed_by_hand(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    (run / "provenance").mkdir()
    (run / "provenance/steps.json").write_text(json.dumps({"evaluate": {"code": "c0de", "config": "c0f1"}, "sample": {"replayed": True}}))
    row = rows(judge(run, CLAIMS))["strict.base"]
    chain = row["chain"]
    content = (run / chain["file"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == chain["sha256"]
    found: Any = json.loads(content)
    for part in chain["pointer"].strip("/").split("/"):
        found = found[part]
    assert found["value"] == row["regenerated"]["value"]
    assert (chain["claim"], chain["rule"], chain["code"]) == ("strict.base", "evaluate", "c0de")
    assert chain["config"] == {
        "section": "scoring",
        "fingerprint": "c0f1",
        "sha256": hashlib.sha256((run / "config.yaml").read_bytes()).hexdigest(),
    }
    assert row["tier"] == "replayed"


def test_the_loss_is_read_both_ways(report: dict[str, Any]) -> None:
    assert rows(report)["training.loss"]["readings"] == [
        {
            "text": "the loss of the last step alone",
            "result": "training/grounded/metrics.json#/last_loss",
            "value": 0.21,
            "printed": "0.210",
        }
    ]


def test_other_recipe_variants_are_readings_of_the_loss(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    for variant, loss in (("one-epoch", 0.5), ("hybrid", 0.6)):
        (run / "training" / variant).mkdir()
        (run / "training" / variant / "metrics.json").write_text(json.dumps({"train_loss": loss}))
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["arms"]["hybrid"] |= {"adapter": "trained", "variant": "hybrid"}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    found = {r["result"]: r["printed"] for r in rows(judge(run, CLAIMS))["training.loss"]["readings"]}
    assert found == {"training/grounded/metrics.json#/last_loss": "0.210", "training/one-epoch/metrics.json#/train_loss": "0.500"}


@pytest.mark.parametrize("width", [70, 100])
def test_text_fits_the_terminal_and_names_every_claim(report: dict[str, Any], width: int) -> None:
    text = render_text(Verdicts.model_validate(report), width)
    assert max(map(len, text.splitlines())) <= width
    assert all(row["id"] in text for row in report["claims"])


# --- bad input --------------------------------------------------------------------------------------------------------

STRICT = next(c for c in RAW["claims"] if c["id"] == "strict.base")
FLAT = next(c for c in RAW["claims"] if c["id"] == "words.flat_support")


def with_claim(claim: Any, **more: Any) -> dict[str, Any]:
    others = [c for c in RAW["claims"] if c["id"] in {"strict.grounded", "support.base", "support.grounded", "rouge.hybrid"}]
    return {"card": "x", "arms": ["base", "hybrid", "grounded"], "claims": [*others, claim], **more}


@pytest.mark.parametrize(
    ("raw", "sentence", "hint"),
    [
        (with_claim(STRICT | {"valeu": "1"}), "claim 'strict.base': unknown key 'valeu'", "'value'"),
        (with_claim(STRICT | {"where": {"section": "training", "plaec": "x"}}), "claim 'strict.base': ", "place"),
        (with_claim(STRICT | {"id": "strict.grounded"}), "claim 'strict.grounded': the id is used twice", "once"),
        (with_claim(STRICT | {"value": "high"}), "claim 'strict.base': the value 'high' is not a number", "0.860"),
        (with_claim(STRICT | {"value": "0.86%"}), "claim 'strict.base': the value '0.86%' is not a number", "without its unit"),
        (with_claim(STRICT | {"value": 0.1}), "claim 'strict.base': the value 0.1 is not quoted", "in quotes"),
        (with_claim(STRICT | {"value": ["0.1"]}), "claim 'strict.base': the value ['0.1'] is not a number", "in quotes"),
        (with_claim(STRICT | {"value": ""}), "claim 'strict.base': the value '' is not a number", "in quotes"),
        (with_claim(STRICT | {"result": "evaluation/axis.json#/arms/base/strict"}), "'strict.base': 'evaluation/axis.json#", "axes.json"),
        (with_claim(STRICT | {"result": "evaluation/axes.json#/arms/base/strikt"}), "points to nothing", "AXIS"),
        (with_claim(STRICT | {"result": "evaluation/axes.json"}), "points to nothing", "/arms/ARM/AXIS"),
        (with_claim(STRICT | {"result": "evaluation/axes.json#/arms/bose/strict"}), "the arm 'bose' is not listed", "'base'"),
        (with_claim(STRICT | {"result": "config.yaml#/conditions/stress/distractor"}), "points to nothing", "'distractors'"),
        (with_claim(STRICT | {"unmeasured": "no run has it"}), "has a result and a reason why it is unmeasured", "leave one"),
        (with_claim(STRICT | {"arm": "bse"}), "the arm 'bse' is not listed", "'base'"),
        (with_claim(STRICT | {"kind": "proportoin"}), "the kind 'proportoin' is unknown", "'proportion'"),
        (with_claim(STRICT | {"unit": "shares"}), "'strict.base': the key 'unit'", "schema"),
        (with_claim({k: v for k, v in STRICT.items() if k != "text"}), "claim 'strict.base': the key 'text' is missing", "known keys"),
        (with_claim({k: v for k, v in STRICT.items() if k != "id"}), "claim number 5: the key 'id' is missing", "known keys"),
        (with_claim("strict"), "claim number 5 is not a mapping", "- id"),
        (
            with_claim(FLAT | {"expression": FLAT["expression"] | {"left": "suport.base"}}),
            "names the claim 'suport.base'",
            "'support.base'",
        ),
        (with_claim(FLAT | {"expression": FLAT["expression"] | {"left": "rouge.hybrid"}}), "prints no number", "leave it out"),
        (with_claim(FLAT | {"expression": FLAT["expression"] | {"margin": "small"}}), "margin 'small' is not a number", "0.05"),
        (
            with_claim(FLAT | {"expression": FLAT["expression"] | {"test": "within"}}),
            "the expression 'within' is unknown",
            "_within'",
        ),
        (with_claim(FLAT | {"expression": FLAT["expression"] | {"margn": "1"}}), "unknown key 'margn'", "'margin'"),
        (
            with_claim(STRICT, identities=[{"rule": "same", "id": "twice", "first": "strict.base", "second": "strict.bse"}]),
            "identity 'twice': names the claim 'strict.bse'",
            "'strict.base'",
        ),
        (with_claim(STRICT | {"rollouts": "1.5"}), "claim 'strict.base': the rollouts '1.5' are not a count", "from 1 on"),
        (with_claim(STRICT | {"words": {"all": "1.0", "most": "many"}}), "the word 'most' means 'many', which is not a number", "'4'"),
        (
            with_claim(STRICT, identities=[{"rule": "whole_items", "id": "part", "percent": "support.base", "items": "strict.base"}]),
            "identity 'part': items is the claim 'strict.base', whose value '0.824' is not a count",
            "from 1 to 999999",
        ),
        (with_claim(STRICT, identities=[{"rule": "sum", "id": "x"}]), "identity 'x': the rule 'sum' is unknown", "same"),
        (with_claim(STRICT, identities=[{"rule": ["sum"], "id": "x"}]), "identity 'x': the rule ['sum'] is unknown", "same"),
        (with_claim(STRICT, claimz=[]), "unknown key 'claimz'", "'claims'"),
        ([], "is not a mapping", "claims"),
        ({"card": "x", "arms": [], "claims": {}}, "claims is not a list", "- id"),
    ],
)
def test_a_bad_claims_file_is_one_sentence_with_a_hint(tmp_path: Path, raw: Any, sentence: str, hint: str) -> None:
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    with pytest.raises(CardproofError) as e:
        read_claims(path)
    assert sentence in e.value.sentence and hint in e.value.hint, str(e.value)
    assert str(path) in e.value.sentence
    assert e.value.sentence.endswith(".") and "\n" not in str(e.value).replace("\nHint: ", "")
    assert e.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("claims: [", "not valid YAML"),
        ("card: a\ncard: b\n", "line 2: not valid YAML: the key 'card' is given twice"),
        ("a: b: c", "line 1: not valid YAML"),
        ("a: " + "[" * 200_000, "nested too deeply"),
        ("", "is not a mapping"),
    ],
)
def test_broken_yaml_names_the_line(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "claims.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CardproofError, match=re.escape(sentence)):
        read_claims(path)


def test_a_missing_file_and_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(CardproofError, match="does not exist"):
        read_claims(tmp_path / "none.yaml")
    with pytest.raises(CardproofError, match="the scale of the run is unknown"):
        judge(tmp_path, CLAIMS)
    (tmp_path / "config.yaml").write_text("run: x\n")
    with pytest.raises(CardproofError, match="names no scale"):
        judge(tmp_path, CLAIMS)


@pytest.mark.parametrize("found", ["0.5", True, [1], {"n": 3}, float("nan")])
def test_a_result_that_is_no_number_is_refused(found: Any) -> None:
    with pytest.raises(CardproofError, match="is not a number"):
        as_estimate(found, "evaluation/axes.json#/x")
