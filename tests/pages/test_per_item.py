"""The per-item table: every number is made of the rows that it opens, and the downloads hold them."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cardproof.claims.verdicts import verdicts_of
from cardproof.config.settings import REFERENCE
from cardproof.files import write_json
from cardproof.pages import over, per_item, publish
from cardproof.pages.over import Over
from cardproof.runs import EVALUATION, Run, evaluation
from helpers.rendered_card import CLAIMS, rendered, unlinked, with_figures
from helpers.synthetic_run import ARMS, write_run

NAMES = list(ARMS)
OFTEN_REFUSING = {name: profile._replace(refusal=0.5) for name, profile in ARMS.items()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from cardproof.claims.claims import judge

    folder = write_run(tmp_path_factory.mktemp("per-item") / "run", scale="published", items=12, n=2, arms=OFTEN_REFUSING)
    write_json(folder / "claims.json", judge(folder, CLAIMS))
    return folder


@pytest.fixture(scope="module")
def run(made: Path) -> Run:
    return Run(made)


@pytest.fixture(scope="module")
def table(run: Run) -> per_item.PerItem:
    return per_item.per_item(run, NAMES)


def weights(view: dict[str, Any], number: Over, arm: str | None) -> list[float]:
    """How often each item counts in a number, as the table says it."""
    oracle = view["oracle"]
    if number.counts == "all" or (arm is None and number.counts == "answered"):
        return [1.0] * len(oracle)
    if number.counts in ("oracle", "no_oracle"):
        return [float(shown == (number.counts == "oracle")) for shown in oracle]
    return view["arms"][arm].get(f"answered@{number.draws}", view["arms"][arm]["answered"])


def totals(view: dict[str, Any], number: Over, arm: str | None) -> list[float]:
    w = weights(view, number, arm)
    if number.column is None or arm is None:
        return w
    columns = view["arms"][arm]
    if number.column == "refused":
        return [(1 - a) * x for a, x in zip(columns["answered"], w, strict=True)]
    return columns.get(f"{number.column}@{number.draws}", columns.get(number.column))


def value_of(view: dict[str, Any], number: Over) -> float:
    """A number from the rows of the table alone."""
    arms = number.arms or (None,)
    ws, ts = ([of(view, number, arm) for arm in arms] for of in (weights, totals))
    if number.kind == "sum":
        return sum(ts[0])
    if len(arms) == 1:
        return sum(ts[0]) / sum(ws[0])
    pairs = list(zip(*ws, *ts, strict=True))
    return sum(w * u - v * t for w, v, t, u in pairs) / sum(w * v for w, v, _, _ in pairs)


def test_every_number_is_made_of_the_rows_that_it_opens(run: Run, table: per_item.PerItem) -> None:
    """The result files say each number; the table's rows must give the same."""
    found = over.numbers(run, NAMES, REFERENCE)
    checked = 0
    for address, (number, _) in found.items():
        assert address == number.address == f"#rows={number.file}{number.pointer}"
        content = run.at(number.file, number.pointer)
        named = [content[k] for k in ("value", "difference", "count") if k in content] if isinstance(content, dict) else [content]
        said = named[0] if named else None
        if number.kind == "other" or said is None or isinstance(said, dict):
            continue
        assert value_of(table.data["conditions"][number.condition], number) == pytest.approx(said, abs=1e-5), address
        checked += 1
    assert checked > 300


def test_the_rows_are_those_that_count_in_the_result_file(run: Run, table: per_item.PerItem) -> None:
    """`per_item` of a result file says which items count; it is another module's word than the table's."""
    seen = 0
    for name in EVALUATION:
        for pointer, entry in run.json(evaluation(name)).get("per_item", {}).items():
            number = over.over(evaluation(name), pointer, NAMES, REFERENCE)
            if number is None:
                assert "/strict/" in pointer or "/support/" in pointer, pointer
                continue
            view = table.data["conditions"][number.condition]
            ours = [i for i, w in zip(view["items"], weights(view, number, number.arms[0]), strict=True) if w > 0]
            theirs = [i for i, w in zip(view["items"], entry["weights"], strict=True) if w > 0]
            assert ours == theirs, pointer
            seen += len(ours) < len(view["items"])
    assert seen > 10, "some numbers leave items out"


def test_every_number_over_items_on_page_and_card_has_rows(made: Path, run: Run) -> None:
    known = over.numbers(run, NAMES, REFERENCE)
    text = rendered(with_figures(made), CLAIMS)
    links = re.findall(r"\]\(\.\./report/index\.html(#[^)]*)\)", text)
    assert len(links) > 120
    assert not set(links) - set(known)
    for arm in NAMES:
        for axis in ("strict", "content", "attribution", "support", "rouge_l"):
            assert f"#rows=evaluation/axes.json/arms/{arm}/{axis}" in links
    for row in verdicts_of(run).claims:
        where = over.over(row.chain.file, row.chain.pointer, NAMES, REFERENCE)
        measured = (row.chain.file or "").startswith("evaluation/")
        assert (where is not None) == measured, row.id
        assert where is None or where.address in known


def test_a_published_card_links_to_the_page_only_where_the_page_is(made: Path) -> None:
    text = rendered(with_figures(made), CLAIMS)
    there = publish.moved(text)
    assert "](../" not in there
    assert there.count("](report/index.html#rows=") == text.count("](../report/index.html#rows=") > 0
    alone = publish.without_page(text)
    assert "report/index.html" not in alone
    assert alone == unlinked(text).replace("[Reviewer's page](../report/index.html)", "Reviewer's page (not published)")


@pytest.mark.parametrize(
    ("file", "pointer"),
    [
        ("evaluation/axes.json", "/arms/nobody/strict"),
        ("evaluation/axes.json", "/arms/base/strictly"),
        ("evaluation/axes.json", "/paired/base-base2/strict"),
        ("training/grounded/metrics.json", "/train_loss"),
        ("config.yaml", "/evaluation/level"),
        (None, None),
    ],
)
def test_what_is_not_over_items_has_no_rows(file: str | None, pointer: str | None) -> None:
    assert over.over(file, pointer, NAMES, REFERENCE) is None


def test_a_field_of_an_estimate_leads_to_the_estimate_and_names_with_hyphens_are_told_apart() -> None:
    found = over.over("evaluation/axes.json", "/arms/base/strict/n", NAMES, REFERENCE)
    assert found is not None and found.pointer == "/arms/base/strict" and found.title == "strict verbatim grounding, base, clean"
    pair = over.over("evaluation/stress.json", "/paired/lora-r8-base/strict", ["base", "lora", "lora-r8", "r8-base"], REFERENCE)
    assert pair is not None and pair.arms == ("base", "lora-r8")


def test_the_parquet_file_holds_every_row_with_its_scores(made: Path, table: per_item.PerItem) -> None:
    frame = pl.read_parquet(io.BytesIO(table.parquet))
    assert frame.height == 3 * 12
    assert set(frame["condition"]) == {"clean", "stress", "freeform"}
    for arm in NAMES:
        scores = pl.read_parquet(made / f"scores/{arm}/stress.parquet")
        for row in frame.filter(pl.col("condition") == "stress").iter_rows(named=True):
            candidates = scores.filter(pl.col("item") == row["item"])
            best = candidates.filter(pl.col("composite") >= candidates["composite"].max() - 1e-9)
            assert row[f"picked.{arm}"] == best.sort("k")["k"].to_list()
            assert row[f"had_choice.{arm}"] == (best.height < candidates.height)
            assert row[f"refused.{arm}"] == pytest.approx(best["refusal"].mean())
            answered = best.filter(~pl.col("refusal"))
            for axis in ("strict", "citation_validity", "rouge_l", "support", "gold_rouge"):
                wanted = answered[axis].mean() if answered.height else None
                assert row[f"{axis}.{arm}"] == (None if wanted is None else pytest.approx(wanted, abs=1e-12))
        assert frame.filter(pl.col("condition") == "stress")["oracle_present"].to_list() == (
            scores.filter(pl.col("k") == 0).sort("item")["oracle_present"].to_list()
        )


def test_the_same_run_gives_the_same_bytes(run: Run, table: per_item.PerItem) -> None:
    assert per_item.per_item(run, NAMES) == table
