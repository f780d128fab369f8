"""`cardproof diff`: two runs side by side, through the command line."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from click.testing import CliRunner, Result

from cardproof.claims.audit import run_audit, to_json
from cardproof.claims.claims import judge
from cardproof.cli.main import cli
from cardproof.errors import CardproofError
from cardproof.evaluation import evaluate
from cardproof.files import write_json
from helpers.chromium import BROWSER
from helpers.places import ROOT
from helpers.synthetic_run import ARMS, QUICK, record_all, write_run

CLAIMS = ROOT / "published/claims.yaml"
ITEM = 5
"""The item whose replies run B scores differently."""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs `a` and `b`; they differ in the strict grounding of one item's replies, by the grounded arm under clean prompts."""
    folder = tmp_path_factory.mktemp("two")
    finish(write_run(folder / "a", scale="published", items=12, n=4, synthetic=True))
    shutil.copytree(folder / "a", folder / "b")
    rescore(folder / "b", ITEM, strict=0.0)
    finish(folder / "b")
    return folder


def rescore(run: Path, item: int, **values: float) -> None:
    """Give all replies to one item other values (grounded, clean), and evaluate again."""
    path = run / "scores/grounded/clean.parquet"
    frame = pl.read_parquet(path)
    other = [pl.when(pl.col("item") == item).then(pl.lit(value)).otherwise(pl.col(name)).alias(name) for name, value in values.items()]
    frame.with_columns(other).write_parquet(path)
    frames = {c: {arm: pl.read_parquet(run / f"scores/{arm}/{c}.parquet") for arm in ARMS} for c in ("clean", "stress", "freeform")}
    results = evaluate.results(*frames.values(), support_margin=0.05, **QUICK)
    for name, content in results._asdict().items():
        write_json(run / "evaluation" / f"{name}.json", content)


def finish(run: Path) -> Path:
    """Judge the claims, and record every file."""
    shutil.rmtree(run / "provenance", ignore_errors=True)
    write_json(run / "audit.json", to_json(run_audit(CLAIMS, count_parameters=False)))
    write_json(run / "claims.json", judge(run, CLAIMS))
    return record_all(run)


@pytest.fixture
def runs(pair: Path, tmp_path: Path) -> Path:
    """Copies to change."""
    return Path(shutil.copytree(pair, tmp_path / "runs"))


def called(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["diff", *map(str, arguments)])


def markdown(*arguments: object) -> str:
    result = called(*arguments)
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.output


def data(*arguments: object) -> dict[str, Any]:
    return json.loads(markdown(*arguments, "--format", "json"))


def set_in(run: Path, **changed: Any) -> None:
    """Change settings of a run, by their dotted paths with `__` for dots."""
    path = run / "config.yaml"
    content = yaml.safe_load(path.read_text())
    for name, value in changed.items():
        *above, last = name.split("__")
        section = content
        for part in above:
            section = section[part]
        section[last] = value
    path.write_text(yaml.safe_dump(content))


def axis(found: dict[str, Any], name: str, arm: str = "grounded", condition: str = "clean") -> dict[str, Any]:
    return next(row for row in found["axes"] if (row["condition"], row["arm"], row["axis"]) == (condition, arm, name))


# --- what differs -----------------------------------------------------------------------------------------------------


def test_the_one_item_that_changed_is_named_with_both_values(pair: Path) -> None:
    found = data(pair / "a", pair / "b")
    scores = pl.read_parquet(pair / "a/scores/grounded/clean.parquet").filter((pl.col("item") == ITEM) & ~pl.col("refusal"))
    best = scores.filter(pl.col("composite") == pl.col("composite").max())
    changed = {item["axis"]: item for item in found["items"]}
    assert changed.keys() == {"strict", "gap"}
    assert {(i["condition"], i["arm"], i["item"]) for i in found["items"]} == {("clean", "grounded", ITEM)}
    assert changed["strict"]["first"] == pytest.approx(best["strict"].mean())
    assert changed["strict"]["second"] == 0
    assert changed["strict"]["question"] == f"What does the synthetic lease say about item {ITEM}?"
    text = markdown(pair / "a", pair / "b")
    assert re.search(rf"\| clean \| grounded \| {ITEM} \| .* \| strict verbatim grounding [\d.]+ → 0; near-miss gap", text)


def test_each_axis_has_both_values_and_the_paired_difference(pair: Path) -> None:
    found = data(pair / "a", pair / "b")
    for condition, file in (("clean", "axes"), ("stress", "stress"), ("freeform", "format_lock")):
        tables = [json.loads((pair / run / f"evaluation/{file}.json").read_text())["arms"] for run in "ab"]
        for arm in ARMS:
            row = axis(found, "support", arm, condition)
            assert [row["first"], row["second"]] == [table[arm]["support"] for table in tables]
    strict = axis(found, "strict")
    lost = next(i["first"] for i in found["items"] if i["axis"] == "strict")
    paired = strict["paired"]
    # One item of those that both runs answer lost its value, and nothing else changed.
    assert paired["difference"] == pytest.approx(-lost / paired["n"], abs=0.02)
    assert paired["low_holm"] <= paired["difference"] <= paired["high_holm"]
    assert (strict["items"], strict["changed"]) == (12, 1)
    assert axis(found, "strict", "base")["paired"]["difference"] == 0
    assert axis(found, "strict", "base")["changed"] == 0
    assert len({(row["condition"], row["arm"], row["axis"]) for row in found["axes"]}) == len(found["axes"]) == 3 * (10 + 10 + 3)


def test_verdicts_are_side_by_side(runs: Path) -> None:
    judged = json.loads((runs / "b/claims.json").read_text())
    row = judged["claims"][0]
    before, row["verdict"] = row["verdict"], "differs" if row["verdict"] != "differs" else "agrees"
    (runs / "b/claims.json").write_text(json.dumps(judged))
    record_all(runs / "b")
    found = data(runs / "a", runs / "b")
    assert len(found["verdicts"]) == len(judged["claims"])
    entry = next(v for v in found["verdicts"] if v["id"] == row["id"])
    assert (entry["first_verdict"], entry["second_verdict"], entry["changed"]) == (before, row["verdict"], True)
    others = [json.loads((runs / run / "claims.json").read_text())["claims"] for run in "ab"]
    assert sum(v["changed"] for v in found["verdicts"]) == sum(a["verdict"] != b["verdict"] for a, b in zip(*others, strict=True))
    assert f"1 from {before.replace('_', ' ')} to {row['verdict']}" in markdown(runs / "a", runs / "b")


def test_a_run_beside_itself_has_no_difference(pair: Path) -> None:
    found = data(pair / "a", pair / "a")
    assert found["same"] is True
    assert not found["items"] and not found["settings"] and not found["not_comparable"] and not found["notes"]
    assert {row["difference"] for row in found["axes"]} <= {0, None}
    assert not any(row["changed"] for row in found["verdicts"])
    assert "the digests of their chains are equal" in markdown(pair / "a", pair / "a")


def test_an_archive_is_read_as_its_run_is(pair: Path, tmp_path: Path) -> None:
    packed = tmp_path / "a.tar.zst"
    assert CliRunner().invoke(cli, ["archive", str(pair / "a"), "--out", str(packed)]).exit_code == 0
    assert data(packed, pair / "a")["same"] is True
    as_folder, as_archive = data(pair / "a", pair / "b"), data(packed, pair / "b")
    assert as_archive == as_folder


def test_settings_packages_and_steps_that_differ_are_listed(runs: Path) -> None:
    set_in(runs / "b", seed=7, evaluation__support_margin=0.1)
    for run, code in (("a", "1"), ("b", "2")):
        write_json(runs / run / "provenance/steps.json", {"sample": {"code": code * 64}, "train": {"code": "f" * 64}})
    record_all(runs / "a"), record_all(runs / "b")
    path = runs / "b/provenance/files/scores/base/clean.parquet.json"
    reseal(path, environment={"torch": "9.9"})
    found = data(runs / "a", runs / "b")
    assert {s["name"]: (s["first"], s["second"]) for s in found["settings"]} == {"seed": (0, 7), "evaluation.support_margin": (0.05, 0.1)}
    assert found["packages"] == [{"name": "torch", "first": "(not set)", "second": "9.9"}]
    assert [d["name"] for d in found["code"]] == ["sample"]


def reseal(path: Path, **changed: Any) -> None:
    from cardproof.evidence.sidecars import Record

    record = Record.model_validate(json.loads(path.read_text()) | changed)
    write_json(path, record.model_copy(update={"seal": record.sealed()}))


def test_places_are_told_by_name_alone(runs: Path) -> None:
    set_in(runs / "b", benchmark__source="folder", benchmark__path="/data/secret/corpus", sampling__python="/data/secret/python")
    text = markdown(runs / "a", runs / "b", "--html", runs / "page.html")
    assert "| benchmark.path | null | corpus |" in text
    for said in (text, (runs / "page.html").read_text(), markdown(runs / "a", runs / "b", "--format", "json")):
        assert "/data/secret" not in said and str(runs) not in said


def test_models_and_data_that_differ_are_listed(runs: Path) -> None:
    for run in "ab":
        path = runs / run / "models/base/source.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"name": run}))
        record_all(runs / run)
    assert [d["name"] for d in data(runs / "a", runs / "b")["made_from"]] == ["models/base/source.json"]


# --- what does not compare --------------------------------------------------------------------------------------------


def first_said(text: str) -> str:
    """What comes first below the title and the label of made-up runs."""
    return next(line for line in text.splitlines()[1:] if line and not line.startswith(">"))


def ladder(runs: Path) -> None:
    set_in(runs / "b", scoring__ladder=1)


def no_ladder(runs: Path) -> None:
    content = yaml.safe_load((runs / "b/config.yaml").read_text())
    del content["scoring"]["ladder"]
    (runs / "b/config.yaml").write_text(yaml.safe_dump(content))


def code(runs: Path) -> None:
    for run, digit in (("a", "1"), ("b", "2")):
        write_json(runs / run / "provenance/steps.json", {"score": {"code": digit * 64}})
        record_all(runs / run)


def phrases(runs: Path) -> None:
    set_in(runs / "b", contract__refusal_phrases=["I DO NOT KNOW"])


def tampered(runs: Path) -> None:
    path = runs / "b/evaluation/axes.json"
    content = json.loads(path.read_text())
    content["arms"]["grounded"]["strict"]["value"] = 0.123
    path.write_text(json.dumps(content))


def unrecorded(runs: Path) -> None:
    shutil.rmtree(runs / "a/provenance")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (ladder, "run A was scored with version 2 of the ladder, which tells near misses, and run B with version 1."),
        (no_ladder, "and run B with an earlier version."),
        (code, "the runs were scored by different code."),
        (phrases, "contract.refusal_phrases is"),
        (tampered, "the results of run B do not follow from its inputs: evaluation/axes.json was changed"),
        (unrecorded, "the results of run A have no records"),
    ],
    ids=["ladder", "no ladder", "code", "refusals", "tampered", "unrecorded"],
)
def test_what_does_not_compare_is_said_first_and_has_no_differences(runs: Path, change: Callable[[Path], None], said: str) -> None:
    change(runs)
    text = markdown(runs / "a", runs / "b", "--html", runs / "page.html")
    assert first_said(text).startswith("**Not comparable:**") and said in first_said(text)
    page = (runs / "page.html").read_text()
    assert page.index("Not comparable:") < page.index("<nav")
    found = data(runs / "a", runs / "b")
    assert all(row["difference"] is None and row["paired"] is None for row in found["axes"])
    assert axis(found, "strict")["first"]["value"] is not None
    assert not found["items"]


@pytest.mark.parametrize(
    ("changed", "withheld"),
    [
        ({"scoring__rouge_threshold": 0.5}, {"gold_rouge"}),
        ({"scoring__rouge_words": "unicode"}, {"gold_rouge", "rouge_l"}),
        ({"scoring__composite": ["strict"]}, {"composite"}),
        ({"verifier__max_tokens": 99}, {"support", "composite"}),
    ],
    ids=["threshold", "words", "composite", "verifier"],
)
def test_only_the_axes_that_were_measured_otherwise_are_withheld(runs: Path, changed: dict[str, Any], withheld: set[str]) -> None:
    set_in(runs / "b", **changed)
    found = data(runs / "a", runs / "b")
    assert {row["axis"] for row in found["axes"] if row["difference"] is None} == withheld
    assert len(found["not_comparable"]) == 1
    assert "This is about" in first_said(markdown(runs / "a", runs / "b"))


def test_another_verifier_is_said(runs: Path) -> None:
    for run in "ab":
        path = runs / run / "models/verifier"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(run)
        record_all(runs / run)
    assert "different verifiers measured support" in first_said(markdown(runs / "a", runs / "b"))


@pytest.mark.parametrize("broken", [tampered, unrecorded], ids=["tampered", "unrecorded"])
def test_a_run_whose_chain_does_not_hold_has_no_verdict(runs: Path, broken: Callable[[Path], None]) -> None:
    broken(runs)
    side = "second_verdict" if broken is tampered else "first_verdict"
    found = data(runs / "a", runs / "b")
    assert {row[side] for row in found["verdicts"]} == {None}
    assert [entry["answer"] is None for entry in found["runs"]] == [broken is unrecorded, broken is tampered]


def test_only_the_same_questions_are_paired(runs: Path) -> None:
    path = runs / "b/prompts/clean.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[3]["question"], rows[4]["prompt_hash"] = "Something else?", "d" * 64
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    record_all(runs / "b")
    found = data(runs / "a", runs / "b")
    assert axis(found, "false_refusals")["paired"]["n"] == 11
    assert "Under clean, 11 items are in both runs; A asked 12, B 12." in found["notes"]
    assert "Under clean, 1 of 11 shared items were asked with other prompts." in found["notes"]


def test_other_claims_and_missing_results_are_said(runs: Path) -> None:
    judged = json.loads((runs / "b/claims.json").read_text())
    (runs / "b/claims.json").write_text(json.dumps(judged | {"claims_sha256": "0" * 64}))
    (runs / "a/evaluation/compute.json").unlink()
    for run in "ab":
        shutil.rmtree(runs / run / "provenance")
        record_all(runs / run)
    notes = data(runs / "a", runs / "b")["notes"]
    assert any("judged against different claims files" in note for note in notes)
    assert "Run A is not evaluated: evaluation/compute.json does not exist." in notes


# --- from outside -----------------------------------------------------------------------------------------------------


def test_what_a_run_says_is_neither_markup_nor_control(runs: Path) -> None:
    hostile = "<script>alert(1)</script> | \x1b[31m \u202e x"
    for run in "ab":
        path = runs / run / "prompts/clean.jsonl"
        rows = [json.loads(line) | {"question": hostile} for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        record_all(runs / run)
    text = markdown(runs / "a", runs / "b", "--html", runs / "page.html")
    row = next(line for line in text.splitlines() if "alert(1)" in line)
    assert "<script>" not in row and "\x1b" not in row and "\u202e" not in row
    assert row.count(" | ") == 4
    page = (runs / "page.html").read_text()
    assert "<script" not in page and "\x1b" not in page and "\u202e" not in page


@pytest.mark.parametrize("content", [[2.0] * 12, [0.5] * 3], ids=["beyond one", "another number of items"])
def test_items_that_are_not_those_of_the_run_are_refused(runs: Path, content: list[float]) -> None:
    path = runs / "b/evaluation/axes.json"
    axes = json.loads(path.read_text())
    axes["per_item"]["/arms/base/strict"] = {"totals": content, "weights": [1.0] * len(content)}
    path.write_text(json.dumps(axes))
    record_all(runs / "b")
    result = called(runs / "a", runs / "b")
    assert isinstance(result.exception, CardproofError)
    assert "evaluation/axes.json does not hold /arms/base/strict for each of the 12 items" in str(result.exception)


def test_links_and_what_is_not_a_run_are_refused(runs: Path, tmp_path: Path) -> None:
    assert "config.yaml does not exist" in str(called(runs / "a", tmp_path).exception)
    assert "is not a whole archive" in str(called(runs / "a", runs / "b/config.yaml").exception)
    (runs / "b/claims.json").unlink()
    (runs / "b/claims.json").symlink_to(runs / "a/claims.json")
    result = called(runs / "a", runs / "b")
    assert isinstance(result.exception, CardproofError) and "is a link" in str(result.exception)


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_has_what_markdown_has(pair: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    found = data(pair / "a", pair / "b", "--html", page)
    text = page.read_text()
    assert "default-src 'none'" in text and "Synthetic." in text
    assert text.count("<tr>") >= len(found["axes"]) + len(found["verdicts"])
    assert "strict verbatim grounding" in text and f"{ITEM}: What does the synthetic lease say" in text


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium to open the page with; make test-browser installs it and runs this test")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_any_screen_and_asks_for_nothing(chromium: Any, pair: Path, tmp_path: Path, width: int, scheme: str) -> None:
    page = tmp_path / "page.html"
    markdown(pair / "a", pair / "b", "--html", page)
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    opened = context.new_page()
    asked: list[str] = []
    opened.on("request", lambda r: asked.append(r.url))
    opened.on("console", lambda m: asked.append(m.text))
    opened.goto(f"file://{page}")
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    opened.click("#items ~ details summary")
    assert opened.get_by_text(f"{ITEM}: What does the synthetic lease say").is_visible()
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert asked == [f"file://{page}"]
    context.close()


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium to open the page with; make test-browser installs it and runs this test")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_no_violation(chromium: Any, runs: Path, width: int, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    set_in(runs / "b", scoring__rouge_threshold=0.5, seed=3)
    page = runs / "page.html"
    markdown(runs / "a", runs / "b", "--html", page)
    # axe is a script of its own, which the page's policy would not let run.
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
    opened = context.new_page()
    opened.goto(f"file://{page}")
    opened.evaluate("for (const d of document.querySelectorAll('details')) d.open = true")
    found = Axe().run(opened)
    assert not found.response["violations"], found.generate_report()
    context.close()
