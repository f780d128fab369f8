"""The reviewer's page: what is in it, what a model wrote in it, and how it is split where the rollouts are many."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import polars as pl
import pytest

from cardproof.claims.verdicts import verdicts_of
from cardproof.config import settings
from cardproof.errors import CardproofError
from cardproof.files import read_json, read_rows
from cardproof.pages import diff, inline_figures, items, report
from cardproof.pages.figures import FIGURES
from cardproof.records import Rollout
from cardproof.runs import Run
from helpers.page import data_of
from helpers.places import ROOT
from helpers.rendered_card import NUMBER_WORDS
from helpers.workflow import RUN, snakemake

TEMPLATES = ROOT / "report"


@pytest.fixture(scope="module")
def pages(ci_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report")
    report.write(ci_run / RUN, out, TEMPLATES)
    return out


@pytest.mark.slow
def test_every_claim_and_finding_is_on_the_page(ci_run: Path, pages: Path) -> None:
    text = (pages / "index.html").read_text(encoding="utf-8")
    claims, audit = read_json(ci_run / RUN / "claims.json"), read_json(ci_run / RUN / "audit.json")
    assert text.count('<tr class="claim">') == len(claims["claims"])
    assert text.count('<details class="finding ') == len(audit["findings"])
    for row in claims["claims"]:
        assert f"<code>{row['id']}</code>" in text
        if row["chain"]["file"]:
            assert row["chain"]["sha256"] in text
    assert "Not a reproduction" in text
    assert text.count('<svg role="img"') == 2 * len(FIGURES), "each also for a narrow screen"
    assert "http-equiv" in text
    # Nothing is fetched: no address of anything but namespaces.
    addresses = set(re.findall(r"https?://[^\s\"'<>)]+", text)) - set(re.findall(r'xmlns(?::\w+)?="([^"]+)"', text))
    loaded = re.findall(r"<(?:link|img|iframe|script[^>]+src)\b", text)
    assert not loaded
    assert not [a for a in addresses if f'src="{a}' in text or f"url({a}" in text]
    assert (pages / "index.html").stat().st_size < 3_000_000


@pytest.mark.slow
def test_the_explorer_holds_every_rollout_with_its_quotes(ci_run: Path, pages: Path) -> None:
    run = ci_run / RUN
    found = {item["id"]: item for item in data_of(pages / "index.html")["items"]}
    for arm in ("base", "hybrid", "grounded"):
        for condition in settings.CONDITIONS:
            scores = {(r["item"], r["k"]): r for r in pl.read_parquet(run / f"scores/{arm}/{condition}.parquet").iter_rows(named=True)}
            for rollout in read_rows(run / f"samples/{arm}/{condition}.jsonl", Rollout):
                shown = found[rollout.item]["conditions"][condition]["arms"][arm][rollout.k]
                assert shown["text"] == rollout.text
                row = scores[rollout.item, rollout.k]
                assert shown["scores"]["composite"] == row["composite"]
                assert [q["kind"] for q in shown["quotes"]] == [q["kind"] for q in row["quotes"]]
                for quote in shown["quotes"]:
                    assert of_units(rollout.text, *quote["at"]) == quote["text"]
                    if quote["kind"] in ("strict", "misattributed"):
                        documents = {d["id"]: d["text"] for d in found[rollout.item]["conditions"][condition]["documents"]}
                        assert of_units(documents[quote["doc"]], *quote["span"]) == quote["text"]
            for item in found.values():
                shown = item["conditions"][condition]["arms"][arm]
                best = max(r["scores"]["composite"] for r in shown)
                picked = [r["picked"] for r in shown if r["scores"]["composite"] == best]
                assert picked == pytest.approx([1 / len(picked)] * len(picked))
                assert sum(r["picked"] for r in shown) == pytest.approx(1)


def of_units(text: str, start: int, end: int) -> str:
    return text.encode("utf-16-le", "surrogatepass")[2 * start : 2 * end].decode("utf-16-le", "surrogatepass")


@pytest.mark.parametrize("text", ["plain", "a𝔘b𝔘c", "é🙂\u202eא"])
def test_offsets_are_in_utf16_units(text: str) -> None:
    for start in range(len(text)):
        for end in range(start, len(text) + 1):
            assert of_units(text, items.units(text, start), items.units(text, end)) == text[start:end]


def test_json_in_a_script_element_cannot_end_it() -> None:
    hostile = {"text": "</script><script>alert(1)</script><!-- \u2028 \ud800 ]]>"}
    text = items.to_json(hostile)
    assert "<" not in text
    assert text.isascii()
    assert json.loads(text) == hostile


@pytest.mark.slow
def test_many_rollouts_are_split_into_a_file_for_each_item(ci_run: Path, pages: Path, tmp_path: Path) -> None:
    written = report.write(ci_run / RUN, tmp_path, TEMPLATES, max_inline=1000)
    whole = data_of(pages / "index.html")["items"]
    listed = data_of(tmp_path / "index.html")["items"]
    assert [i["id"] for i in listed] == [i["id"] for i in whole]
    assert len(written) == 3 + len(whole)
    for entry, item in zip(listed, whole, strict=True):
        text = (tmp_path / entry["file"]).read_text(encoding="utf-8")
        assert json.loads(text.removeprefix("cardproofItem(").removesuffix(");\n")) == {k: v for k, v in item.items() if k != "marks"}
        assert entry["marks"] == item["marks"]
    assert (tmp_path / "index.html").stat().st_size < (pages / "index.html").stat().st_size


@pytest.mark.slow
def test_times_by_stage_are_sums_over_jobs(ci_run: Path) -> None:
    found = {c["stage"]: c for c in report.costs(ci_run / RUN)}
    assert found["sample"]["jobs"] >= 4
    assert found["train"]["seconds"] > 1
    assert found["train"]["memory"] > 100
    assert {"score", "support", "evaluate", "train_verifier"} <= found.keys()


def test_without_measurements_there_are_no_times(tmp_path: Path) -> None:
    assert report.costs(tmp_path) == []
    (tmp_path / "cost").mkdir()
    (tmp_path / "cost/sample_base_0.tsv").write_text("s\tmax_rss\n2.5\t10.5\n")
    (tmp_path / "cost/sample_train_0.tsv").write_text("s\tmax_rss\n1.5\t-\n")
    (tmp_path / "cost/train_verifier.tsv").write_text("s\tmax_rss\n1.0\tNA\n")
    assert report.costs(tmp_path) == [
        {"stage": "sample", "jobs": 2, "seconds": 4.0, "memory": 10.5},
        {"stage": "train_verifier", "jobs": 1, "seconds": 1.0, "memory": 0.0},
    ]


@pytest.mark.slow
def test_the_comparison_never_passes_a_demo_off_as_a_reproduction(ci_run: Path, pages: Path) -> None:
    claims = verdicts_of(Run(ci_run / RUN))
    for name in ("diff.md", "diff.html", "index.html"):
        text = (pages / name).read_text(encoding="utf-8")
        assert "beside the published card (not comparable)" in text
        assert "say nothing about whether the printed ones hold" in text
    rows = diff.rows(claims)
    assert len(rows) == len(claims.claims)
    assert not [r for r in rows if r["verdict"] in ("exact", "consistent", "differs")]
    assert all(r["difference"] is None for r in rows)
    table = [line for line in (pages / "diff.md").read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    assert len(table) == len(rows) + len({r["section"] for r in rows})


@pytest.mark.slow
def test_a_broken_chain_is_said_at_the_top(ci_run: Path, tmp_path: Path) -> None:
    shutil.copytree(ci_run / RUN, tmp_path / RUN, ignore=shutil.ignore_patterns("store", "logs"))
    axes = read_json(tmp_path / RUN / "evaluation/axes.json")
    (tmp_path / RUN / "evaluation/axes.json").write_text(json.dumps({**axes, "items": axes["items"]}), encoding="utf-8")
    report.write(tmp_path / RUN, tmp_path / "out", TEMPLATES)
    assert "The chain is broken." in (tmp_path / "out/index.html").read_text(encoding="utf-8")


def test_a_drawing_that_runs_something_is_refused() -> None:
    used = '<use href="#a" transform="translate(12.34567 0.5) scale(0.015625)"/>'
    svg = f'<svg width="1pt" height="1pt" viewBox="0 0 1 1"><path id="a" style="fill: #ffffff"/>{used}</svg>'
    inline = inline_figures.inline(svg, "axes", "f1")
    assert 'id="f1-a"' in inline and 'href="#f1-a"' in inline and "var(--paper)" in inline
    assert "width=" not in inline
    assert "translate(12.34 0.5) scale(0.015625)" in inline, "places are rounded, scales are not"
    for hostile in ("<script>1</script>", '<path onload="x()"/>', "<foreignObject/>"):
        with pytest.raises(CardproofError, match=r"axes\.svg is not a plain drawing"):
            inline_figures.inline(svg.replace("</svg>", f"{hostile}</svg>"), "axes", "f1")
    with pytest.raises(CardproofError, match="not a plain drawing"):
        inline_figures.inline("", "axes", "f1")


NUMERAL = re.compile(rf"\d|{NUMBER_WORDS}", re.IGNORECASE)


def printed_by(text: str) -> str:
    """What a template of the pages prints by itself: text between tags, texts of attributes, and strings of its expressions."""
    text = re.sub(r"\{#.*?#\}", "", text, flags=re.DOTALL)
    strings = " ".join(" ".join(re.findall(r'"([^"]*)"', part)) for part in re.findall(r"\{[{%].*?[%}]\}", text, re.DOTALL))
    bare = re.sub(r"\{[{%].*?[%}]\}", "", text, flags=re.DOTALL)
    attributes = " ".join(re.findall(r'\b(?:aria-label|placeholder|title|alt|value|data-label)="([^"]*)"', bare))
    return " ".join((re.sub(r"<[^>]*>", " ", bare), attributes, strings)).replace("its sha256", "")


def test_no_numeral_stands_in_the_pages_templates() -> None:
    for path in sorted((TEMPLATES / "page").glob("*.j2")):
        found = NUMERAL.search(printed_by(path.read_text(encoding="utf-8")))
        assert not found, f"{path.name} prints {found[0]!r}: every number must come from a result"


def test_no_numeral_stands_in_the_pages_script() -> None:
    """In its strings, that is; the name of an element, a filling digit and the width of a narrow screen aside."""
    texts = [(TEMPLATES / "page" / name).read_text(encoding="utf-8") for name in report.SCRIPTS]
    script = re.sub(r"^\s*//.*$", "", "".join(texts), flags=re.MULTILINE)
    strings = re.findall(r'"([^"\n]*)"', script) + [re.sub(r"\$\{[^}]*\}", "", s) for s in re.findall(r"`([^`]*)`", script)]
    assert len(strings) > 100
    assert not [s for s in strings if s not in ("h3", "0", "(max-width: 48rem)") and NUMERAL.search(s)]


def test_no_numeral_stands_in_the_captions_of_snakemakes_report() -> None:
    paths = [*sorted((TEMPLATES / "captions").glob("*.rst")), TEMPLATES / "workflow.rst"]
    assert {p.stem for p in paths} == {*FIGURES, "card", "page", "verdicts", "workflow"}
    for path in paths:
        assert not NUMERAL.search(re.sub(r"\{\{.*?\}\}", "", path.read_text(encoding="utf-8"))), path.name


@pytest.mark.parametrize("text", ["<p>14 steps</p>", '<input placeholder="0.962">', '{{ "two epochs" }}', '<td data-label="50 items">'])
def test_the_check_of_the_pages_templates_finds_numbers(text: str) -> None:
    assert NUMERAL.search(printed_by(text))


@pytest.mark.slow
def test_snakemakes_own_report_has_the_figures_with_captions(ci_run: Path, tmp_path: Path) -> None:
    """In a copy with its records of what was run, offline."""
    folder = tmp_path / "copy"
    shutil.copytree(ci_run, folder, ignore=shutil.ignore_patterns("store", "models"), symlinks=True)
    result = snakemake(folder, "--report", "report.html")
    assert result.returncode == 0, (result.stdout + result.stderr)[-3000:]
    text = (folder / "report.html").read_text(encoding="utf-8")
    for name in (n.replace("_", " ") for n in FIGURES):
        assert name in text
    assert "not a reproduction of the published card" in text
    assert "Strict verbatim grounding of every arm" in text
    assert "a hollow diamond at the printed number" in text
    for what in ("model card", "reviewer's page", "verdicts", "index.html", "diff.html", "README.md"):
        assert what in text
